"""Serial ports, on pseudo-terminals: opened, locked, set, lost."""

import array
import asyncio
import errno
import fcntl
import os
import termios

import pytest

from dcu.errors import LinkClosed, LinkError
from dcu.link.serial import Port, SerialStream, open_serial
from dcu.streams import ByteStream

from .pty import Pty


@pytest.fixture
def line():
    made = Pty()
    yield made
    made.unplug()


async def test_bytes_go_both_ways(line):
    stream = await open_serial(Port(line.path))
    typed: ByteStream = stream
    await typed.write(b"\x00\x7e\r\n\x11\x13\xff")
    await asyncio.sleep(0.01)
    assert line.read() == b"\x00\x7e\r\n\x11\x13\xff"
    line.write(bytes(range(256)))
    assert await typed.read() == bytes(range(256))
    await typed.close()


async def test_a_read_that_was_cancelled_loses_nothing(line):
    stream = await open_serial(Port(line.path))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            await stream.read()
    line.write(b"late")
    assert await stream.read(3) == b"lat"
    assert await stream.read() == b"e"
    await stream.close()


async def test_what_nobody_takes_is_not_hoarded(line):
    stream = await open_serial(Port(line.path))
    sent = 0
    for _ in range(400):
        try:
            sent += os.write(line.far, bytes(4096))
        except BlockingIOError:
            await asyncio.sleep(0.001)
    assert len(stream._buffer) <= (1 << 16) + 4096
    got = 0
    while got < sent:
        got += len(await stream.read())
    assert got == sent
    await stream.close()


async def test_a_writer_waits_for_a_line_that_does_not_take_its_bytes(line):
    stream = await open_serial(Port(line.path))
    writing = asyncio.create_task(stream.write(bytes(200_000)))
    await asyncio.sleep(0.05)
    assert not writing.done()
    got = 0
    while got < 200_000:
        got += len(line.read())
        await asyncio.sleep(0)
    await writing
    await stream.close()


async def test_a_port_has_one_owner(line):
    stream = await open_serial(Port(line.path))
    with pytest.raises(LinkError, match="another program has locked it"):
        await open_serial(Port(line.path))
    await stream.close()
    await (await open_serial(Port(line.path))).close()


@pytest.mark.parametrize(
    ("device", "told"),
    [
        ("/dev/ttyDCU-none", "there is no such device: is the adapter plugged in?"),
        ("/dev/null", "it is no serial port"),
        ("/proc/version", "it is no serial port|access denied"),
    ],
)
async def test_what_is_no_port_is_told(device, told):
    with pytest.raises(LinkError, match=told):
        await open_serial(Port(device))


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
    await stream.close()
    await stream.close()


async def test_a_writer_that_waits_is_told_of_the_loss(line):
    stream = await open_serial(Port(line.path))
    writing = asyncio.create_task(stream.write(bytes(200_000)))
    await asyncio.sleep(0.02)
    line.unplug()
    with pytest.raises(LinkClosed, match="is the adapter plugged in"):
        async with asyncio.timeout(5):
            await writing
    await stream.close()


@pytest.mark.parametrize("baud", [300, 2400, 9600, 19200, 115200])
async def test_the_speed_is_set_and_changed(line, baud):
    stream = await open_serial(Port(line.path, 300, "7E1"))
    await stream.write(b"/?!\r\n")
    await stream.change(baud, "8N1")
    speeds = termios.tcgetattr(stream._descriptor)[4:6]
    assert speeds == [getattr(termios, f"B{baud}")] * 2
    assert (stream.port.baud, stream.port.format) == (baud, "8N1")
    await stream.close()


def test_a_byte_takes_its_bits_and_those_around_it():
    assert Port("x", 9600).byte_time == pytest.approx(10 / 9600)
    assert Port("x", 300, "7E1").byte_time == pytest.approx(10 / 300)
    assert Port("x", 300, "8E1").byte_time == pytest.approx(11 / 300)
    assert Port("x", 300, "8N2").byte_time == pytest.approx(11 / 300)


# RS-485: the kernel's own structure, which a pseudo-terminal does not know

TIOCGRS485, TIOCSRS485 = 0x542E, 0x542F
ENABLED, RTS_ON_SEND, RTS_AFTER_SEND = 1, 2, 4


@pytest.mark.parametrize(("mode", "flags"), [("rts", RTS_ON_SEND), ("rts-inverted", RTS_AFTER_SEND)])
async def test_the_driver_is_told_to_switch_the_transmitter(line, monkeypatch, mode, flags):
    told = []
    real = fcntl.ioctl

    def driver(descriptor, request, *arguments):
        if request == TIOCSRS485:
            told.append(array.array("i", arguments[0])[0])
            return 0
        return 0 if request == TIOCGRS485 else real(descriptor, request, *arguments)

    monkeypatch.setattr(fcntl, "ioctl", driver)
    stream = await open_serial(Port(line.path, rs485=mode))
    assert set(told) == {ENABLED | flags}
    await stream.change(19200, "8N1")
    assert set(told) == {ENABLED | flags}
    await stream.close()


async def test_a_driver_without_rs485_mode_is_told_and_the_port_is_free_again(line):
    with pytest.raises(LinkError, match="no RS-485 mode: leave rs485 out"):
        await open_serial(Port(line.path, rs485="rts"))
    await (await open_serial(Port(line.path))).close()


async def test_a_port_that_breaks_while_it_is_set_says_so(line, monkeypatch):
    def broken(*_):
        raise termios.error(errno.EIO, "Input/output error")

    monkeypatch.setattr(termios, "tcsetattr", broken)
    with pytest.raises(LinkError, match="is the adapter plugged in"):
        await open_serial(Port(line.path))


async def test_a_port_without_settings_is_used_as_it_is(tmp_path):
    """A virtio port: no tty. A socket pair stands for it."""
    import socket

    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    stream = SerialStream(Port("vport"), os.dup(ours.fileno()), None)
    ours.close()
    await stream.write(b"out")
    assert theirs.recv(10) == b"out"
    theirs.send(b"in")
    assert await stream.read() == b"in"
    await stream.drain()
    await stream.change(300, "7E1")
    theirs.close()
    with pytest.raises(LinkClosed):
        await stream.read()
    await stream.close()
