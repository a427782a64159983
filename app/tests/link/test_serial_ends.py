"""How a serial line ends: an adapter that is pulled out, a line that breaks, who closes it while others wait."""

import asyncio
import errno
import os
import termios

import pytest

from dcu.errors import LinkClosed
from dcu.link.serial import Port, SerialStream, open_serial

from .pty import Pty


@pytest.fixture
def line():
    made = Pty()
    yield made
    made.unplug()


async def test_an_adapter_that_is_pulled_out_ends_the_stream_with_a_reason(line):
    stream = await open_serial(Port(line.path))
    reading = asyncio.create_task(stream.read())
    await asyncio.sleep(0.01)
    line.unplug()
    with pytest.raises(LinkClosed, match=r"is the adapter plugged in"):
        await reading
    with pytest.raises(LinkClosed, match=r"is the adapter plugged in"):
        await stream.write(b"anybody?")
    with pytest.raises(LinkClosed):
        await stream.drain()
    assert not asyncio.get_running_loop().remove_reader(stream._descriptor)  # which would wake the loop all the time
    await stream.close()
    await stream.close()
    with pytest.raises(LinkClosed, match=r"is the adapter plugged in"):
        await stream.read()  # which was the reason, and still is


@pytest.mark.parametrize("deed", ["write", "drain", "change"])
async def test_who_notices_first_that_the_adapter_is_gone_says_so(line, deed):
    stream = await open_serial(Port(line.path))
    line.unplug()
    deeds = {"write": (b"anybody?",), "drain": (), "change": (19200, "8N1")}
    with pytest.raises(LinkClosed, match="is the adapter plugged in"):
        async with asyncio.timeout(2):
            await getattr(stream, deed)(*deeds[deed])
    with pytest.raises(LinkClosed, match="is the adapter plugged in"):
        await stream.read()
    await stream.close()


async def test_a_read_that_fails_ends_the_stream_with_a_reason():
    """As of an adapter that is gone; a pseudo-terminal's own end fails so when its terminal is closed."""
    master, terminal = os.openpty()
    os.set_blocking(master, False)
    stream = SerialStream(Port("vport"), master, None)
    reading = asyncio.create_task(stream.read())
    await asyncio.sleep(0)
    os.close(terminal)
    with pytest.raises(LinkClosed, match=r"vport: the line is gone \(Input/output error\): is the adapter plugged in"):
        async with asyncio.timeout(2):
            await reading
    await stream.close()


async def test_a_line_that_breaks_while_it_is_drained_has_ended(line, monkeypatch):
    stream = await open_serial(Port(line.path))

    def broken(descriptor):
        raise termios.error(errno.EIO, "Input/output error")

    monkeypatch.setattr(termios, "tcdrain", broken)
    with pytest.raises(LinkClosed, match=r"Input/output error.*: is the adapter plugged in"):
        await stream.drain()
    with pytest.raises(LinkClosed, match="is the adapter plugged in"):
        await stream.write(b"anybody?")
    await stream.close()


async def test_what_came_in_the_moment_of_the_end_is_not_lost(line):
    stream = await open_serial(Port(line.path))
    reading = asyncio.create_task(stream.read())
    await asyncio.sleep(0)
    line.write(b"last word")
    stream._arrive()
    await stream.close()
    assert await reading == b"last word"


async def test_a_line_that_is_closed_tells_who_reads_and_who_writes(line):
    stream = await open_serial(Port(line.path))
    reading, writing = asyncio.create_task(stream.read()), asyncio.create_task(stream.write(bytes(200_000)))
    await asyncio.sleep(0.02)
    await stream.close()
    other = os.dup2(line.far, stream._descriptor)  # somebody has that number now, and waits
    asyncio.get_running_loop().add_writer(other, asyncio.Event().set)
    for each in (reading, writing):
        with pytest.raises(LinkClosed, match="the line is closed"):
            async with asyncio.timeout(2):
                await each
    assert asyncio.get_running_loop().remove_writer(other)
    os.close(other)
    with pytest.raises(LinkClosed, match="the line is closed"):
        await stream.write(b"anybody?")


async def test_what_had_come_before_the_end_is_still_to_be_had(line):
    stream = await open_serial(Port(line.path))
    line.write(b"last words")
    await asyncio.sleep(0.02)
    await stream.close()
    assert await stream.read(4) == b"last"
    assert await stream.read() == b" words"
    with pytest.raises(LinkClosed, match="the line is closed"):
        await stream.read()


async def test_closing_drops_what_the_line_does_not_take_and_leaves_nothing_open(line):
    """A driver waits half a minute for a stuck line, if it is left to."""
    held = sorted(os.listdir("/proc/self/fd"))
    stream = await open_serial(Port(line.path))
    writing = asyncio.create_task(stream.write(bytes(200_000)))
    await asyncio.sleep(0.02)
    writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)
    await stream.close()
    await stream.close()
    left = 0
    while data := line.read():
        left += len(data)
    assert left <= 4096, left
    assert sorted(os.listdir("/proc/self/fd")) == held


async def test_a_writer_that_waits_is_told_of_the_loss(line):
    stream = await open_serial(Port(line.path))
    writing = asyncio.create_task(stream.write(bytes(200_000)))
    await asyncio.sleep(0.02)
    line.unplug()
    with pytest.raises(LinkClosed, match="is the adapter plugged in"):
        async with asyncio.timeout(5):
            await writing
    await stream.close()
