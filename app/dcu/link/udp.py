"""UDP as a Datagram: a connected endpoint, which takes datagrams of its one peer only.

What arrives faster than it is taken is dropped and counted: the queue is bounded, the network is not.
"""

import asyncio
import socket
from typing import cast

from dcu.errors import LinkClosed, LinkError, LinkTimeout
from dcu.link.tcp import address
from dcu.mailbox import QUEUE_LIMIT, Mailbox
from dcu.streams import Datagram

MAX_DATAGRAM = 65507  # what UDP over IPv4 can carry


async def connect(
    host: str,
    port: int,
    *,
    queue: int = QUEUE_LIMIT,
    timeout: float = 10.0,  # noqa: ASYNC109 - its error names the host
) -> "UdpEndpoint":
    """Open an endpoint whose peer is `host`:`port`; `timeout` is for the name's resolution. Raises LinkError."""
    where = address(host, port)
    loop = asyncio.get_running_loop()
    endpoint = UdpEndpoint(where, queue)
    try:
        async with asyncio.timeout(timeout):
            await loop.create_datagram_endpoint(lambda: endpoint, remote_addr=(host, port))
    except TimeoutError:
        raise LinkTimeout(f"{where}: the host's name was not resolved within {timeout:g} s") from None
    except socket.gaierror as error:
        raise LinkError(f"{where}: the host's name is not known ({error.strerror}): check the address") from None
    except OSError as error:
        raise LinkError(f"{where} cannot be reached: {error.strerror or error}: check the network") from None
    return endpoint


class UdpEndpoint(Mailbox, asyncio.DatagramProtocol):
    """A Datagram; made by `connect()`. It stays usable after an error: the meter may be rebooting."""

    __slots__ = ("_transport", "where")

    def __init__(self, where: str, queue: int) -> None:
        super().__init__(queue)
        self.where = where
        self._transport: asyncio.DatagramTransport | None = None

    async def send(self, data: bytes) -> None:
        if self.closed or self._transport is None:
            raise LinkClosed(f"{self.where}: the endpoint is closed")
        if len(data) > MAX_DATAGRAM:
            raise LinkError(f"{self.where}: {len(data)} bytes do not fit a datagram, at most {MAX_DATAGRAM} do")
        self._transport.sendto(data)

    async def close(self) -> None:
        self.shut()
        if self._transport is not None:
            self._transport.close()

    # what the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: object) -> None:
        self.arrive(data)

    def error_received(self, exc: Exception) -> None:
        """The peer's host said that nothing listens (ICMP), or the network is gone."""
        self.fail(LinkError(f"{self.where}: {_why(exc)}"))

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self.shut()


class DatagramStream:
    """Datagrams as a ByteStream, for HDLC over UDP: what is written goes as one datagram, or is lost as one."""

    def __init__(self, datagram: Datagram) -> None:
        self._datagram = datagram
        self._rest = b""

    async def read(self, limit: int = 65536) -> bytes:
        while not self._rest:
            self._rest = await self._datagram.receive()
        taken, self._rest = self._rest[:limit], self._rest[limit:]
        return taken

    async def write(self, data: bytes) -> None:
        await self._datagram.send(data)

    async def close(self) -> None:
        await self._datagram.close()


def _why(error: Exception) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "nothing listens on that UDP port (the host said so): check the port"
    return f"{getattr(error, 'strerror', None) or error}: check the network"
