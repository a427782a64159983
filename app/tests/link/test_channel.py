"""Channels: whole APDUs between two addresses."""

import asyncio

import pytest

from dcu.errors import LinkClosed, LinkError
from dcu.link import wrapper
from dcu.link.channel import DatagramChannel, StreamChannel
from dcu.link.listen import serve_datagram, serve_stream
from dcu.link.memory import datagram_pair, stream_pair
from dcu.streams import Channel


def echo(client, server, apdu):
    return None if apdu == b"hush" else bytes((client, server)) + apdu


async def test_an_exchange_over_a_stream_counts_its_bytes():
    near, far = stream_pair()
    serving = asyncio.create_task(serve_stream(far, echo))
    channel: Channel = StreamChannel(near, 16, 1)
    await channel.send(b"ask")
    assert await channel.receive() == b"\x10\x01ask"
    assert (channel.sent, channel.received, channel.lossy) == (11, 13, False)
    await channel.close()
    await serving


async def test_an_exchange_over_datagrams_counts_its_bytes():
    near, far = datagram_pair()
    serving = asyncio.create_task(serve_datagram(far, echo))
    channel: Channel = DatagramChannel(near, 16, 1)
    await channel.send(b"hush")
    await channel.send(b"ask")
    assert await channel.receive() == b"\x10\x01ask"
    assert (channel.sent, channel.received, channel.lossy) == (23, 13, True)
    await far.close()
    await serving
    await channel.close()
    with pytest.raises(LinkClosed):
        await channel.receive()


@pytest.mark.parametrize(("source", "destination"), [(2, 16), (1, 17), (16, 1)])
async def test_frames_for_other_addresses_are_dropped_and_counted(source, destination):
    stray = wrapper.encode(source, destination, b"not ours")
    wanted = wrapper.encode(1, 16, b"ours")
    near, far = stream_pair()
    stream = StreamChannel(near, 16, 1)
    await far.write(stray + wanted)
    assert await stream.receive() == b"ours"
    here, there = datagram_pair()
    datagrams = DatagramChannel(here, 16, 1)
    for datagram in (stray, b"noise", wanted):
        await there.send(datagram)
    assert await datagrams.receive() == b"ours"
    assert (stream.dropped, datagrams.dropped, datagrams.malformed) == (1, 1, 1)


async def test_several_apdus_in_one_read_come_one_by_one():
    near, far = stream_pair()
    channel = StreamChannel(near, 16, 1)
    await far.write(wrapper.encode(1, 16, b"one") + wrapper.encode(1, 16, b"two")[:9])
    assert await channel.receive() == b"one"
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await channel.receive()
    await far.write(wrapper.encode(1, 16, b"two")[9:])
    assert await channel.receive() == b"two"


async def test_a_stream_that_is_not_the_wrapper_is_a_link_error_that_says_what_to_check():
    near, far = stream_pair()
    channel = StreamChannel(near, 16, 1)
    await far.write(b"HTTP/1.1 400 Bad Request\r\n")
    with pytest.raises(LinkError, match=r"version 4854.*check that this port speaks the DLMS wrapper"):
        await channel.receive()
    with pytest.raises(LinkClosed):
        await channel.send(b"more")


async def test_good_apdus_before_a_bad_header_are_still_delivered():
    near, far = stream_pair()
    channel = StreamChannel(near, 16, 1)
    await far.write(wrapper.encode(1, 16, b"good") + b"\xff\xff")
    assert await channel.receive() == b"good"
    with pytest.raises(LinkError):
        await channel.receive()


async def test_an_end_in_the_middle_of_a_frame_says_so():
    near, far = stream_pair()
    channel = StreamChannel(near, 16, 1)
    await far.write(wrapper.encode(1, 16, b"half")[:-2])
    await far.close()
    with pytest.raises(LinkClosed, match=r"middle of a frame \(10 bytes"):
        await channel.receive()
    with pytest.raises(LinkClosed):
        await channel.receive()
