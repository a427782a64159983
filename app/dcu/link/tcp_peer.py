"""A TCP client of a server, as a handler sees it: where it came in, where it comes from, how it is let go.

What is spoken on it (the wrapper, HDLC) is its heirs' business.
"""

import asyncio

from dcu.errors import LinkClosed
from dcu.link.tcp import name_of


class TcpPeer(asyncio.BaseProtocol):
    """Half of a `listen.Peer`. Its transport is there from `connection_made` to `connection_lost`, which heirs set."""

    __slots__ = ("_transport",)

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None

    @property
    def local(self) -> tuple[str, int]:
        return name_of(self._transport, "sockname")

    @property
    def remote(self) -> tuple[str, int]:
        return name_of(self._transport, "peername")

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _say(self, wire: bytes) -> None:
        """Write what nobody asked for. Raises LinkClosed."""
        if self._transport is None or self._transport.is_closing():
            raise LinkClosed("the client is gone")
        self._transport.write(wire)
