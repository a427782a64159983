"""What one client says to all meters of a line: heard whole by each, answered by none."""

import asyncio

import pytest

from dcu.collect.reach import every_meter
from dcu.errors import ConfigError, LinkClosed
from dcu.link.hdlc import Address
from dcu.link.hdlc_broadcast import BroadcastChannel
from dcu.link.hdlc_multidrop import Multidrop
from dcu.link.hdlc_server import Station
from dcu.link.memory import stream_pair
from dcu.streams import Channel

METERS = (16, 17, 18)


def line(heard):
    def handler(physical):
        return lambda client, server, apdu: heard.append((physical, client, server, apdu)) or b"answer"

    return Multidrop({physical: Station(handler(physical), physical=physical) for physical in METERS})


@pytest.mark.parametrize("size", [2, 4])
@pytest.mark.parametrize("sap", [1, 16])
async def test_every_meter_hears_all_of_it_and_none_answers(sap, size):
    near, far = stream_pair()
    heard = []
    bus = line(heard)
    channel = BroadcastChannel(near, Address(103), every_meter(sap, size))
    typed: Channel = channel
    for length in (1, 125, 126, 5000):  # of 128 bytes of information three are the LLC header
        await typed.send(bytes(length))
        assert bus.feed(await far.read(), 0.0) == b""
        assert heard == [(physical, 103, sap, bytes(length)) for physical in METERS]
        heard.clear()
    assert channel.sent > 5252
    with pytest.raises(LinkClosed, match="nobody answers"):
        await channel.receive()


@pytest.mark.looptime
async def test_sending_lasts_until_the_last_byte_is_out():
    """Who closes a serial port throws away what waits in it."""
    near, _ = stream_pair()
    channel = BroadcastChannel(near, Address(103), every_meter(1), byte_time=10 / 9600)
    began = asyncio.get_running_loop().time()
    await channel.send(bytes(960))
    assert 1.0 < asyncio.get_running_loop().time() - began < 1.2


@pytest.mark.parametrize(
    ("sap", "size", "address"),
    [(1, 0, Address(1, 0x7F, 2)), (1, 4, Address(1, 0x3FFF, 4)), (0x80, 0, Address(0x80, 0x3FFF, 4))],
)
def test_the_address_of_all_meters(sap, size, address):
    assert every_meter(sap, size) == address


def test_one_byte_cannot_say_all_meters():
    with pytest.raises(ConfigError, match="2 or 4"):
        every_meter(1, 1)
