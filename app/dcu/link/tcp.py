"""TCP as a ByteStream: one connection to a meter, IPv4 or IPv6.

An asyncio.Protocol with its own small buffer: a stream reader and writer would cost a collector of a thousand meters
four times the memory. Errors are LinkTimeout, LinkClosed and LinkError, and say what to check.
"""

import asyncio
import socket
from typing import cast

from dcu.errors import LinkClosed, LinkError, LinkTimeout

GRACE = 1.0  # seconds that a peer has to take what was sent, once we close
READ_AHEAD = 1 << 17  # bytes kept for a reader that does not read before the peer is made to wait: two APDUs' worth

# a silent peer is dead after 90 s, one that acknowledges nothing too
_OPTIONS = (
    (socket.TCP_NODELAY, 1),
    (socket.TCP_KEEPIDLE, 60),
    (socket.TCP_KEEPINTVL, 10),
    (socket.TCP_KEEPCNT, 3),
    (socket.TCP_USER_TIMEOUT, 90_000),
)


async def connect(
    host: str,
    port: int,
    *,
    timeout: float = 10.0,  # noqa: ASYNC109 - its error names the host
) -> "TcpStream":
    """Open a connection. Raises LinkTimeout or LinkError."""
    where = address(host, port)
    loop = asyncio.get_running_loop()
    stream = TcpStream(where, loop)
    try:
        async with asyncio.timeout(timeout):
            await loop.create_connection(lambda: stream, host, port)
    except TimeoutError:
        raise LinkTimeout(
            f"{where} accepts no connection within {timeout:g} s: check that it is powered and reachable"
        ) from None
    except socket.gaierror as error:
        raise LinkError(f"{where}: the host's name is not known ({error.strerror}): check the address") from None
    except ConnectionRefusedError:
        raise LinkError(f"{where} refuses the connection: nothing listens there, check the port") from None
    except OSError as error:
        raise LinkError(f"{where} cannot be reached: {error.strerror or error}: check the network") from None
    return stream


def address(host: str, port: int) -> str:
    """`host:port` as it is written, an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def everywhere(host: str) -> str | None:
    """What a server is to listen on: for `::` every address of both families, as people mean it; asyncio's own servers
    take IPv6 alone there."""
    return None if host == "::" else host


def tune(transport: asyncio.BaseTransport) -> None:
    """What a metering connection wants: small frames at once, and to learn of a peer that vanished."""
    sock = transport.get_extra_info("socket")
    if sock is None or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _OPTIONS:
        sock.setsockopt(socket.IPPROTO_TCP, option, value)


def name_of(transport: asyncio.BaseTransport | None, end: str) -> tuple[str, int]:
    """The address of a transport's end, "sockname" or "peername"; ("", 0) where it is gone already."""
    name = transport.get_extra_info(end) if transport is not None else None
    return (str(name[0]), int(name[1])) if name else ("", 0)


class TcpStream(asyncio.Protocol):
    """One TCP connection. A ByteStream; made by `connect()`."""

    __slots__ = (
        "_buffer", "_ended", "_error", "_gone", "_loop", "_paused", "_readable", "_transport", "_writable", "where",
    )  # fmt: skip

    def __init__(self, where: str, loop: asyncio.AbstractEventLoop) -> None:
        self.where = where
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._paused = False  # reading, because the buffer is full
        self._ended = False
        self._error: Exception | None = None
        self._readable: asyncio.Future[None] | None = None
        self._writable: asyncio.Future[None] | None = None
        self._gone: asyncio.Future[None] | None = None  # made when somebody waits for the end

    async def read(self, limit: int = 65536) -> bytes:
        while not self._buffer and not self._ended:
            if self._readable is not None:
                raise RuntimeError("two readers of one stream")
            self._readable = self._loop.create_future()
            try:
                await self._readable
            finally:
                self._readable = None
        if not self._buffer and self._error is not None:
            raise LinkClosed(f"{self.where} dropped the connection: {_why(self._error)}")
        taken = bytes(self._buffer[:limit])
        del self._buffer[:limit]
        if self._paused and len(self._buffer) < READ_AHEAD // 2 and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()
        return taken

    async def write(self, data: bytes) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            raise LinkClosed(f"{self.where}: the connection is closed")
        transport.write(data)
        if self._writable is not None:
            await asyncio.shield(self._writable)
            if self._transport is None:
                raise LinkClosed(f"{self.where} dropped the connection before it took {len(data)} bytes")

    async def close(self) -> None:
        """Close, and return when it is closed: a peer that does not take what was sent is cut off after a second."""
        transport = self._transport
        if transport is None:
            return
        transport.close()
        gone = self._gone = self._gone or self._loop.create_future()
        try:
            async with asyncio.timeout(GRACE):
                await asyncio.shield(gone)
        except TimeoutError:
            transport.abort()
            await asyncio.shield(gone)
        except asyncio.CancelledError:
            transport.abort()
            raise

    def abort(self) -> None:
        """Close at once: what was not sent yet is lost."""
        if self._transport is not None:
            self._transport.abort()

    # what the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        tune(transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if len(self._buffer) >= READ_AHEAD and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()
        self._wake()

    def eof_received(self) -> None:
        self._ended = True
        self._wake()

    def pause_writing(self) -> None:
        self._writable = self._loop.create_future()

    def resume_writing(self) -> None:
        writable, self._writable = self._writable, None
        if writable is not None and not writable.done():
            writable.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._error = exc
        self._ended = True
        self.resume_writing()
        self._wake()
        if self._gone is not None and not self._gone.done():
            self._gone.set_result(None)

    def _wake(self) -> None:
        if self._readable is not None and not self._readable.done():
            self._readable.set_result(None)


def _why(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
