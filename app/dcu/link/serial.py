"""Serial lines: a tty as a ByteStream, opened and set up by pyserial, read and written by the event loop.

One owner at a time (an advisory lock, as terminal programs take it). RS-485 by the kernel's own mode, where the driver
switches the transmitter, or by an adapter that does it itself. A character device that is no tty (a virtio port) is
taken as it is: it has neither speed nor format. An adapter that is pulled out ends the stream with an error that says
so; it never hangs.

Source: termios(3), tty_ioctl(4) (TIOCSRS485, TIOCEXCL), the kernel's Documentation/driver-api/serial/serial-rs485.rst.
"""

import asyncio
import contextlib
import errno
import fcntl
import os
import stat
import termios
from dataclasses import dataclass, replace
from typing import Literal

import serial
from serial.rs485 import RS485Settings

from dcu.errors import LinkClosed, LinkError

BAUDS = (300, 600, 1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200, 230400, 460800, 921600)
FORMATS = ("8N1", "8E1", "8O1", "8N2", "7E1", "7O1")
READ_AHEAD = 1 << 16  # bytes that wait for a reader before the kernel has to keep them
_CHUNK = 4096
_PTYS = range(136, 144)  # major numbers of Unix98 pseudo-terminals

Rs485 = Literal["", "rts", "rts-inverted"]


@dataclass(frozen=True, slots=True)
class Port:
    """A serial port and how it is set.

    rs485: "" (an adapter or transceiver that switches by itself), "rts" (the driver raises RTS while it sends), or
    "rts-inverted"
    """

    device: str
    baud: int = 9600
    format: str = "8N1"
    rs485: Rs485 = ""

    @property
    def byte_time(self) -> float:
        """Seconds that one byte takes: its bits, and those of the frame around it."""
        bits, parity, stop = tuple(self.format)
        return (1 + int(bits) + (parity != "N") + int(stop)) / self.baud


async def open_serial(port: Port) -> "SerialStream":
    """Open and lock the port. Raises LinkError, which says what to look at."""
    where = port.device
    try:
        if _is_plain(where):
            return SerialStream(port, _open_plain(where), None)
        line = serial.Serial(**_settings(port), exclusive=True, inter_byte_timeout=0)
        line.port = where
        if port.rs485:
            high = port.rs485 == "rts"
            line.rs485_mode = RS485Settings(rts_level_for_tx=high, rts_level_for_rx=not high)
        line.open()
    except (serial.SerialException, ValueError, OSError, termios.error) as error:
        raise LinkError(f"{where}: {_why(error, port)}") from None
    return SerialStream(port, line.fileno(), line)


class SerialStream:
    """A ByteStream; made by `open_serial()`. A cancelled `read()` loses nothing."""

    def __init__(self, port: Port, descriptor: int, line: "serial.Serial | None") -> None:
        self.port = port
        self._descriptor = descriptor
        self._line = line
        self._loop = asyncio.get_running_loop()
        self._buffer = bytearray()
        self._ended = ""  # why
        self._closed = False
        self._reading = False
        self._readable: asyncio.Future[None] | None = None
        self._taking: asyncio.Event | None = None  # a writer waits until the driver takes bytes again
        self._watch()

    async def read(self, limit: int = 65536) -> bytes:
        """Raises LinkClosed when the line is gone, or closed."""
        while not self._buffer:
            if self._ended:
                raise LinkClosed(f"{self.port.device}: {self._ended}")
            if self._readable is not None:
                raise RuntimeError("two readers of one line")
            self._readable = self._loop.create_future()
            try:
                await self._readable
            finally:
                self._readable = None
        taken = bytes(self._buffer[:limit])
        del self._buffer[:limit]
        self._watch()
        return taken

    async def write(self, data: bytes) -> None:
        """Return when the driver has it all. Raises LinkClosed."""
        rest = memoryview(data)
        while rest:
            if self._ended:
                raise LinkClosed(f"{self.port.device}: {self._ended}")
            try:
                rest = rest[os.write(self._descriptor, rest) :]
            except BlockingIOError:
                await self._writable()
            except OSError as error:
                self._end(_gone(error))

    async def drain(self) -> None:
        """Return when the last byte is on the line. Raises LinkClosed."""
        if self._line is None:
            return
        try:
            await asyncio.to_thread(termios.tcdrain, self._descriptor)
        except (termios.error, OSError) as error:
            self._end(_gone(error))
            raise LinkClosed(f"{self.port.device}: {self._ended}") from None

    async def change(self, baud: int, form: str) -> None:
        """Go on at another speed and in another format, once what was written is on the line. Raises LinkError."""
        await self.drain()
        port = replace(self.port, baud=baud, format=form)
        if self._line is not None:
            try:
                self._line.apply_settings(_settings(port))
            except (serial.SerialException, ValueError, OSError, termios.error) as error:
                raise LinkError(f"{port.device}: {_why(error, port)}") from None
        self.port = port

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._end("the line is closed")
        if self._line is None:
            os.close(self._descriptor)
            return
        with contextlib.suppress(OSError, termios.error):
            termios.tcflush(self._descriptor, termios.TCOFLUSH)  # closing a tty waits half a minute for a stuck one
        with contextlib.suppress(OSError, serial.SerialException):
            self._line.close()

    # what the event loop calls

    def _watch(self) -> None:
        if not self._reading and not self._ended and len(self._buffer) < READ_AHEAD:
            self._loop.add_reader(self._descriptor, self._arrive)
            self._reading = True

    def _arrive(self) -> None:
        try:
            data = os.read(self._descriptor, _CHUNK)
        except BlockingIOError:
            return
        except OSError as error:
            self._end(_gone(error))
            return
        if not data:
            self._end("nobody is at the other end any more: is the adapter plugged in?")
            return
        self._buffer += data
        if len(self._buffer) >= READ_AHEAD:
            self._unwatch()
        self._wake()

    def _unwatch(self) -> None:
        if self._reading:
            self._loop.remove_reader(self._descriptor)
            self._reading = False

    async def _writable(self) -> None:
        self._taking = asyncio.Event()
        self._loop.add_writer(self._descriptor, self._taking.set)
        try:
            await self._taking.wait()
        finally:
            self._unwait()

    def _end(self, why: str) -> None:
        self._ended = self._ended or why
        self._unwatch()
        self._wake()
        self._unwait()

    def _unwait(self) -> None:
        if self._taking is not None:
            self._loop.remove_writer(self._descriptor)
            self._taking.set()
            self._taking = None

    def _wake(self) -> None:
        if self._readable is not None and not self._readable.done():
            self._readable.set_result(None)


def _settings(port: Port) -> dict[str, object]:
    bits, parity, stop = tuple("8N1" if _is_pty(port.device) else port.format)
    return {"baudrate": port.baud, "bytesize": int(bits), "parity": parity, "stopbits": int(stop)}


def _is_pty(device: str) -> bool:
    """Whether it is a pseudo-terminal, which takes no other format than 8N1 (tcsetattr(3) refuses it)."""
    return os.major(os.stat(device).st_rdev) in _PTYS


def _is_plain(device: str) -> bool:
    """Whether it is a virtio port, which has no terminal's settings."""
    status = os.stat(device)
    number = f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"
    return stat.S_ISCHR(status.st_mode) and os.path.realpath(f"/sys/dev/char/{number}/subsystem").endswith(
        "virtio-ports"
    )


def _open_plain(device: str) -> int:
    descriptor = os.open(device, os.O_RDWR | os.O_NONBLOCK)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


_HINTS = {
    errno.ENOENT: "there is no such device: is the adapter plugged in?",
    errno.EACCES: "access denied: be a member of its group (dialout)",
    errno.EPERM: "access denied: be a member of its group (dialout)",
    errno.EAGAIN: "another program has locked it, the collector perhaps",
    errno.EBUSY: "another program has it open",
    errno.ENOTTY: "it is no serial port",
    errno.EIO: "the device does not answer: is the adapter plugged in?",
    errno.ENXIO: "nobody is at the other end: is the adapter plugged in?",
    errno.EINVAL: "the port cannot be set so",
}


def _why(error: Exception, port: Port) -> str:
    """What an operator can do about `error`."""
    number = _number(error)
    if "RS485 mode" in str(error):
        return "its driver has no RS-485 mode: leave rs485 out (the adapter then has to switch by itself)"
    if number in _HINTS:
        return _HINTS[number]
    return f"it cannot be opened with {port.baud} baud, {port.format}: {error}"


def _number(error: BaseException | None) -> int | None:
    """The errno of what pyserial raises, or of what it had caught."""
    while error is not None:
        number = getattr(error, "errno", None) or (error.args[0] if isinstance(error, termios.error) else None)
        if isinstance(number, int):
            return number
        error = error.__context__
    return None


def _gone(error: Exception) -> str:
    return f"the line is gone ({os.strerror(error.args[0])}): is the adapter plugged in?"
