"""Serial ports, on pseudo-terminals: opened, locked, set, lost."""

import array
import asyncio
import errno
import fcntl
import os
import termios
import time

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


async def test_what_the_line_brought_before_it_was_opened_is_nobodys(line):
    line.write(b"the end of somebody else's answer")
    stream = await open_serial(Port(line.path))
    line.write(b"ours")
    assert await stream.read() == b"ours"
    await stream.close()


async def test_a_line_has_one_reader(line):
    stream = await open_serial(Port(line.path))
    reading = asyncio.create_task(stream.read())
    await asyncio.sleep(0)
    with pytest.raises(RuntimeError, match="two readers"):
        async with asyncio.timeout(1):
            await stream.read()
    line.write(b"for the first")
    assert await reading == b"for the first"
    await stream.close()


async def test_a_wake_up_without_a_byte_is_no_hang_up(line):
    stream = await open_serial(Port(line.path))
    stream._arrive()  # the kernel said so, and another took it, or it was damaged
    line.write(b"still there")
    assert await stream.read() == b"still there"
    await stream.close()


async def test_what_nobody_takes_is_not_hoarded(line):
    stream = await open_serial(Port(line.path))
    sent = 0
    for _ in range(400):
        try:
            sent += os.write(line.far, bytes(4096))
        except BlockingIOError:
            await asyncio.sleep(0.001)
    assert 1 << 16 <= len(stream._buffer) <= (1 << 16) + 4096  # as much as that is: a driver keeps 4 kB
    got = 0
    for _ in range(20):  # nor where it is taken by the byte
        got += len(await stream.read(1))
        await asyncio.sleep(0.001)
    assert len(stream._buffer) <= (1 << 16) + 4096
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
    assert not asyncio.get_running_loop().remove_writer(stream._descriptor)  # which would wake the loop for nothing
    await stream.close()


async def test_a_port_has_one_owner(line):
    stream = await open_serial(Port(line.path))
    with pytest.raises(LinkError, match="another program has locked it"):
        await open_serial(Port(line.path))
    await stream.close()
    await (await open_serial(Port(line.path))).close()


@pytest.mark.parametrize("rs485", ["", "rts"])
@pytest.mark.parametrize(
    ("device", "told"),
    [
        ("/dev/ttyRS485-none", "there is no such device: is the adapter plugged in?"),
        ("/dev/ttyDCU-none", "there is no such device: is the adapter plugged in?"),
        ("/dev/null", "it is no serial port"),
        ("/proc/version", "it is no serial port|access denied"),
    ],
)
async def test_what_is_no_port_is_told(device, told, rs485):
    with pytest.raises(LinkError, match=told):
        await open_serial(Port(device, rs485=rs485))


@pytest.mark.parametrize("baud", [300, 2400, 9600, 19200, 115200])
async def test_the_speed_is_set_and_changed(line, baud):
    stream = await open_serial(Port(line.path, 300, "7E1"))
    await stream.write(b"/?!\r\n")
    await stream.change(baud, "8N1")
    speeds = termios.tcgetattr(stream._descriptor)[4:6]
    assert speeds == [getattr(termios, f"B{baud}")] * 2
    assert (stream.port.baud, stream.port.format) == (baud, "8N1")
    await stream.close()


@pytest.mark.parametrize(
    ("form", "size", "more"),
    [
        ("8N1", termios.CS8, 0),
        ("8N2", termios.CS8, termios.CSTOPB),
        ("8E1", termios.CS8, termios.PARENB),
        ("8O1", termios.CS8, termios.PARENB | termios.PARODD),
        ("7E1", termios.CS7, termios.PARENB),
        ("7O1", termios.CS7, termios.PARENB | termios.PARODD),
    ],
)
async def test_the_format_is_set_on_a_port_that_has_one(line, monkeypatch, form, size, more):
    """Which a pseudo-terminal has not: what the kernel would be told is looked at."""
    told = []
    monkeypatch.setattr("dcu.link.serial._PTYS", ())
    monkeypatch.setattr(termios, "tcsetattr", lambda descriptor, when, attributes: told.append(attributes[2]))
    stream = await open_serial(Port(line.path, 300, form))
    flags = told[-1]
    assert flags & termios.CSIZE == size
    assert flags & (termios.CSTOPB | termios.PARENB | termios.PARODD) == more
    await stream.close()


async def test_the_speed_is_changed_when_what_was_written_is_out(line, monkeypatch):
    """An acknowledgement that the meter hears half at another speed is none."""
    stream, done = await open_serial(Port(line.path, 300, "7E1")), []
    drain, attributes = termios.tcdrain, termios.tcsetattr

    def slow(descriptor):
        drain(descriptor)
        time.sleep(0.05)
        done.append("out")

    monkeypatch.setattr(termios, "tcdrain", slow)
    monkeypatch.setattr(termios, "tcsetattr", lambda *how: (done.append("set"), attributes(*how)))
    await stream.write(b"\x06252\r\n")
    await stream.change(9600, "8N1")
    assert done == ["out", "set"]
    await stream.close()


async def test_a_speed_that_the_port_does_not_take_is_told_and_the_old_one_stays(line, monkeypatch):
    stream = await open_serial(Port(line.path, 300, "7E1"))

    def refused(*_):
        raise termios.error(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(termios, "tcsetattr", refused)
    with pytest.raises(LinkError, match="the port cannot be set so"):
        await stream.change(9600, "8N1")
    assert stream.port == Port(line.path, 300, "7E1")
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
    with pytest.raises(LinkClosed, match="nobody is at the other end any more"):
        await stream.read()
    await stream.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(stream._descriptor)
    other = os.dup2(1, stream._descriptor)
    await stream.close()
    os.close(other)  # it was not closed for whoever has it now


async def test_a_virtio_port_is_opened_as_it_is_and_has_one_owner(line, monkeypatch, tmp_path):
    """A pseudo-terminal of which the kernel says that it is a virtio port."""
    real = os.path.realpath
    monkeypatch.setattr(
        os.path, "realpath", lambda path: "/sys/class/virtio-ports" if "/sys/dev/char" in path else real(path)
    )
    before = termios.tcgetattr(line._near)
    stream = await open_serial(Port(line.path, 115200, "8E1"))
    assert termios.tcgetattr(line._near) == before
    held = sorted(os.listdir("/proc/self/fd"))
    with pytest.raises(LinkError, match="another program has locked it"):
        await open_serial(Port(line.path))
    assert sorted(os.listdir("/proc/self/fd")) == held
    line.write(b"in")
    assert await stream.read() == b"in"
    writing = asyncio.create_task(stream.write(bytes(200_000)))
    await asyncio.sleep(0.02)
    assert not writing.done()  # and the loop goes on
    await stream.close()
    await asyncio.gather(writing, return_exceptions=True)
    (tmp_path / "file").touch()
    with pytest.raises(LinkError, match="it is no serial port"):
        await open_serial(Port(str(tmp_path / "file")))
