"""What carries bytes, datagrams and messages: the seams at which links and field networks meet everything above.

All are asynchronous, none knows what it carries. Errors: LinkTimeout, LinkClosed, LinkError, and no other.
"""

from collections.abc import Awaitable, Callable
from typing import Protocol, runtime_checkable


class ByteStream(Protocol):
    """Bytes in order, as a serial port or a TCP connection brings them."""

    async def read(self, limit: int = 65536) -> bytes:
        """Return 1..limit bytes as soon as there are any, b"" at the end of the stream."""
        ...

    async def write(self, data: bytes) -> None: ...

    async def close(self) -> None: ...


@runtime_checkable
class Tunable(ByteStream, Protocol):
    """A stream over a line whose speed can be changed."""

    async def change(self, baud: int, form: str) -> None:
        """Go on at `baud` in `form` ("8N1") once what was written is on the line."""
        ...


class Datagram(Protocol):
    """Whole datagrams to and from one peer, in any order, or lost."""

    async def send(self, data: bytes) -> None: ...

    async def receive(self) -> bytes: ...

    async def close(self) -> None: ...


class Channel(Protocol):
    """Whole APDUs between one client SAP and one server SAP (IEC 62056-46 LLC, IEC 62056-47 wrapper).

    lossy: whether anybody may inject into it or lose from it (UDP): a session then counts and drops what it
    cannot accept, where on a stream it ends.
    """

    lossy: bool
    sent: int  # bytes on the wire, framing included
    received: int

    @property
    def byte_time(self) -> float:
        """Seconds that a byte takes on a line so slow that it counts (a serial one), else 0."""
        ...

    async def send(self, apdu: bytes) -> None: ...

    async def receive(self) -> bytes:
        """Return the next whole APDU; LinkClosed at the end."""
        ...

    async def close(self) -> None: ...


Opener = Callable[[], Awaitable[Channel]]  # opens a fresh channel to one meter


Sent = bytes | tuple[bytes, ...] | None
"""What one side says in its turn: an APDU, several in a row, or nothing."""


def each(sent: Sent) -> tuple[bytes, ...]:
    """The APDUs of a turn."""
    return () if sent is None else (sent,) if isinstance(sent, bytes) else sent
