"""What people read of an application packet: every APDU has its layer, and its values are words."""

import asyncio

import pytest

from neighbourhood.g3 import clockwork
from neighbourhood.g3.decoded import Layers, kind_of
from neighbourhood.g3.street import Scene, Street, collected, collecting
from neighbourhood.meter import Event

LINE = {"IPv6", "UDP", "DLMS wrapper"}
OBJECTS = ["8,0-0:1.0.0*255,2", "7,1-0:99.1.0*255,3", "15,0-0:40.0.0*255,2"]


@pytest.fixture(scope="module")
def packets(tmp_path_factory):
    """(kind, layers) of every packet of a first collection, its associations and an alarm, in their order."""
    street, sent = Street.build(Scene(meters=2, joined=True)), {}
    street.line.channel.reports.append(
        lambda frame, *_: sent.setdefault(id(frame.tag), frame.tag) if frame.tag.kind is None and frame.raw else None
    )

    async def main(loop):
        async with collecting(street, tmp_path_factory.mktemp("street"), loop.enter) as house:
            await house.up()
            await house.register()
            await collected(house)
            await house.call("read", meter=street.fleet.meters[0].serial, objects=OBJECTS, timeout=100.0)
            loop.enter(street.homes.push, 2, Event.POWER_UP)
            await asyncio.sleep(5)
            layers = Layers(street.fleet, house.collector.services.client_title)
            layers.home_of = street.line.number_of
            return [(kind_of(tag.data), layers.of(tag.data)) for tag in sent.values()]

    return clockwork.run(main, street.line.scheduler)


def test_every_packet_has_its_apdu(packets):
    assert {kind for kind, _ in packets} >= {"AARQ", "AARE", "GET", "RESPONSE", "ACTION", "PUSH"}
    for kind, layers in packets:
        inside = [title for title, _ in layers if title not in LINE]
        assert inside, kind
        assert "APDU" not in inside  # what is there when it cannot be decoded


def test_a_block_that_is_not_the_last_says_so(packets):
    pieces = [layers for _, layers in packets if layers[-1][0] == "get-response-with-datablock"]
    assert pieces
    assert all(layers[-2][0] == "ciphering" for layers in pieces)
    assert all(["block", "more follow: the value stands with the last one"] in layers[-1][1] for layers in pieces)


def test_values_are_words_and_no_programmers_notation(packets):
    said = [str(value) for _, layers in packets for _, rows in layers for _, value in rows]
    assert any("null" in value for value in said)
    assert [value for value in said if any(mark in value for mark in ("{'", "['", "None", "': "))] == []
