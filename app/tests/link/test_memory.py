"""In-memory lines, under virtual time."""

import asyncio
from random import Random

import looptime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dcu.errors import LinkClosed
from dcu.link.memory import datagram_pair, stream_pair


async def collected(stream):
    parts = []
    while part := await stream.read(100):
        parts.append(part)
    return b"".join(parts)


@given(st.lists(st.binary(max_size=500), max_size=20), st.sampled_from((0.0, 0.2)), st.integers(1, 600))
@settings(max_examples=30)
def test_bytes_arrive_whole_and_in_order_however_small_the_line(parts, delay, limit):
    async def run():
        near, far = stream_pair(delay=delay, limit=limit)
        reading = asyncio.create_task(collected(far))
        for part in parts:
            await near.write(part)
        await near.close()
        return await reading

    loop = looptime.new_event_loop(start=0, idle_step=0.01, idle_timeout=60)
    try:
        assert loop.run_until_complete(run()) == b"".join(parts)
    finally:
        loop.close()


@pytest.mark.looptime
async def test_delay_is_virtual():
    near, far = stream_pair(delay=3600)
    await near.write(b"late")
    assert await far.read() == b"late"
    assert asyncio.get_running_loop().time() == 3600


async def test_a_writer_waits_for_its_reader():
    near, far = stream_pair(limit=10)
    await near.write(bytes(10))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await near.write(b"more")
    await far.read()
    await near.write(b"more")
    assert await far.read() == b"more"


async def test_the_end_is_seen_after_the_last_byte_and_writing_then_fails():
    near, far = stream_pair()
    await near.write(b"last")
    await near.close()
    await near.close()
    assert await far.read() == b"last"
    assert await far.read() == b""
    with pytest.raises(LinkClosed, match="other side"):
        await far.write(b"x")
    with pytest.raises(LinkClosed, match="closed"):
        await near.write(b"x")


async def test_a_cancelled_read_loses_nothing():
    near, far = stream_pair()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await far.read()
    await near.write(b"kept")
    assert await far.read() == b"kept"


async def received(endpoint):
    got = []
    try:
        while True:
            async with asyncio.timeout(10):
                got.append(await endpoint.receive())
    except TimeoutError:
        return got


@pytest.mark.looptime
async def test_fair_weather_delivers_every_datagram_once():
    near, far = datagram_pair(delay=0.1)
    for n in range(10):
        await near.send(bytes((n,)))
        await asyncio.sleep(0.01)
    assert await received(far) == [bytes((n,)) for n in range(10)]


@pytest.mark.looptime
async def test_bad_weather_loses_repeats_and_reorders_and_the_same_seed_does_the_same():
    async def once():
        near, far = datagram_pair(random=Random(7), loss=0.2, duplicate=0.2, reorder=0.3, delay=0.1)
        for n in range(200):
            await near.send(bytes((n,)))
            await asyncio.sleep(0.05)
        return await received(far), far.weather

    first, weather = await once()
    assert (await once())[0] == first
    assert len(first) == 200 - weather.lost + weather.duplicated
    assert len(set(first)) <= 200 - weather.lost
    assert first != sorted(first)
    assert min(weather.lost, weather.duplicated, weather.reordered) > 10


async def test_a_full_queue_drops_and_counts():
    near, far = datagram_pair(queue=2)
    for n in range(5):
        await near.send(bytes((n,)))
    assert far.dropped == 3
    assert [await far.receive(), await far.receive()] == [b"\x00", b"\x01"]


async def test_a_closed_endpoint_says_so():
    near, far = datagram_pair()
    waiting = asyncio.create_task(far.receive())
    await asyncio.sleep(0)
    await far.close()
    with pytest.raises(LinkClosed):
        await waiting
    with pytest.raises(LinkClosed):
        await far.send(b"x")
    await near.send(b"into the void")
