"""The collector's lines to optical heads: a meter that was left in HDLC is looked for where it was spoken with last."""

import asyncio

import pytest

from dcu.collect.links import Links
from dcu.collect.settings import MediumTable
from dcu.errors import LinkTimeout
from dcu.link import sign_on
from dcu.link.hdlc_server import Station
from neighbourhood.optical import State
from tests.collect.rig import family
from tests.link.optics import NUMBER, Optics

HDLC = {"timeout": 0.2, "retries": 1}


@pytest.fixture
async def meter(monkeypatch):
    """One with two logical devices, at 2400 baud; answers say which of them."""
    monkeypatch.setattr(sign_on, "REACTION", 0.1)
    monkeypatch.setattr(sign_on, "_BITS", 1)  # ten times as fast as the speed says
    station = Station(lambda client, server, apdu: bytes((server,)) + apdu, physical=17)
    made = Optics(hear=lambda data: station.feed(data, asyncio.get_running_loop().time()), baud=2400)
    yield made
    made.close()


def links_to(meter, *, baud=9600):
    return Links([MediumTable(name="head", device=meter.line.path, baud=baud, mode_e=True)])


async def spoken_with(links, address):
    """The channel, over which the meter has answered."""
    channel = await links.connect(f"hdlc+serial://head/17{address}", 1, family(hdlc=HDLC))
    await channel.send(b"read me")
    logical = int(address.partition("#")[2] or 1)
    assert await channel.receive() == bytes((logical,)) + b"read me"
    return channel


@pytest.mark.parametrize("number", ["", f"@{NUMBER}"])
async def test_a_line_that_was_lost_finds_its_meter_at_the_speed_of_before(meter, number):
    links = links_to(meter)
    await spoken_with(links, number)
    await links.close()  # nobody says DISC: the cable is out
    assert (meter.head.state, meter.head.speed) == (State.HDLC, 2400)
    meter.heard.clear()
    channel = await spoken_with(links, number)
    assert meter.heard == [300, 2400]
    await channel.close()
    await links.close()


async def test_after_a_restart_every_speed_that_the_line_may_have_is_looked_at(meter):
    links = links_to(meter)
    await spoken_with(links, "")
    await links.close()
    meter.heard.clear()
    links = links_to(meter)
    channel = await spoken_with(links, "")
    assert meter.heard == [300, 9600, 4800, 2400]
    await channel.close()
    await links.close()


async def test_the_second_logical_device_is_reached_in_the_hdlc_of_the_first(meter):
    links = links_to(meter)
    first = await spoken_with(links, "")
    meter.heard.clear()
    second = await spoken_with(links, "#2")
    assert meter.heard == [300, 2400]
    await first.send(b"and I?")
    assert await first.receive() == b"\x01and I?"
    await second.close()
    await first.close()
    await links.close()


async def test_a_meter_that_is_away_says_which_speeds_were_tried_and_leaves_the_line(meter):
    links = links_to(meter, baud=1200)
    meter.deaf = 1000
    with pytest.raises(LinkTimeout, match=r"no meter identifies itself .*\(1200, 600, 300 baud\)"):
        await spoken_with(links, "")
    meter.deaf = 0
    channel = await spoken_with(links, "")  # signed on, at the line's most
    assert meter.head.speed == 1200
    await channel.close()
    await links.close()
