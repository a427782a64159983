"""The server's side of HDLC over streams and TCP: simulated meters, each at the end of a line of its own.

As in `dcu.link.listen`, a factory is asked for a handler per peer and the handler is called inline. Over HDLC there is
one per link, too: an association ends with the link that it came over (DISC, a new SNRM, silence).
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from typing import cast

from dcu.errors import LinkClosed
from dcu.link.hdlc_server import CLIENTS, Handler, Station, Terms
from dcu.link.listen import CONNECTIONS, GRACE, IDLE, HandlerFactory
from dcu.link.tcp import tune
from dcu.link.tcp_peer import TcpPeer
from dcu.streams import ByteStream, Sent

_TALKS = 2 * CLIENTS  # UI frames need no link; who sends them from many addresses pushes out who was silent longest
_FULL = 1 << 16  # bytes of answers that a client does not take before it is not read any more


class Talks:
    """A Handler that has one of its own for each pair of client and server, and forgets it with the link between them.

    make: gives a new one, or None to say nothing; first: serves the pair that speaks first.
    """

    def __init__(self, make: Callable[[], Handler | None], first: Handler | None = None) -> None:
        self._make = make
        self._first = first
        self._talks: OrderedDict[tuple[int, int], Handler] = OrderedDict()

    def __call__(self, client_sap: int, server_sap: int, apdu: bytes) -> Sent:
        key = client_sap, server_sap
        talk = self._talks.pop(key, None) or self._first or self._make()
        self._first = None
        if talk is None:
            return None
        while len(self._talks) >= _TALKS:
            self._talks.popitem(last=False)
        self._talks[key] = talk
        return talk(client_sap, server_sap, apdu)

    def ended(self, client_sap: int, server_sap: int) -> None:
        """The link between them has ended."""
        self._talks.pop((client_sap, server_sap), None)

    def clear(self) -> None:
        self._talks.clear()


async def serve_hdlc_stream(stream: ByteStream, station: Station) -> None:
    """Let `station` serve one stream until it ends; then close it."""
    loop = asyncio.get_running_loop()
    try:
        while True:
            deadline = station.deadline
            try:
                async with asyncio.timeout_at(deadline):
                    data = await stream.read()
            except TimeoutError:
                wire = station.tick(max(deadline or 0.0, loop.time()))  # a timer may fire a clock's tick too early
            else:
                if not data:
                    return
                wire = station.feed(data, loop.time())
            if wire:
                await stream.write(wire)
    except LinkClosed:
        pass
    finally:
        await stream.close()


class HdlcServer:
    """What `serve_hdlc_tcp()` returns: where it listens, what it counted, and how to end it."""

    def __init__(self, factory: HandlerFactory, terms: Terms, physical: int | None, limit: int, idle: float) -> None:
        self.factory = factory
        self.terms = terms
        self.physical = physical
        self.limit = limit
        self.idle = idle
        self.peers: set[_Line] = set()
        self.refused = 0
        self.expired = 0
        self._listener: asyncio.Server | None = None

    @property
    def port(self) -> int:
        """The port it listens on, also where 0 asked for any."""
        assert self._listener is not None
        return int(self._listener.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Stop listening and let every peer go; one that does not take its answers is cut off after a second."""
        if self._listener is not None:
            self._listener.close()
        peers = list(self.peers)
        for peer in peers:
            peer.close()
        if peers:
            _, left = await asyncio.wait([peer.gone for peer in peers], timeout=GRACE)
            for peer in peers:
                peer.abort()
            if left:
                await asyncio.wait(left)


async def serve_hdlc_tcp(
    host: str,
    port: int,
    factory: HandlerFactory,
    *,
    terms: Terms | None = None,
    physical: int | None = None,
    limit: int = CONNECTIONS,
    idle: float = IDLE,
) -> HdlcServer:
    """Serve HDLC over TCP, a station per connection. Raises OSError when the address cannot be bound."""
    server = HdlcServer(factory, terms or Terms(), physical, limit, idle)
    loop = asyncio.get_running_loop()
    server._listener = await loop.create_server(lambda: _Line(server), host, port, backlog=1024)
    return server


class _Line(TcpPeer, asyncio.Protocol):
    """One TCP client of an HdlcServer. A `listen.Peer`."""

    def __init__(self, server: HdlcServer) -> None:
        super().__init__()
        self._server = server
        self._station: Station | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._heard = 0.0
        self._loop = asyncio.get_running_loop()
        self.gone: asyncio.Future[None] = self._loop.create_future()

    def push(self, server_sap: int, client_sap: int, apdu: bytes) -> None:
        if self._station is None:
            raise LinkClosed("the client is gone")
        self._say(self._station.push(server_sap, client_sap, apdu))

    # what the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        server = self._server
        self._transport = cast(asyncio.Transport, transport)
        full = len(server.peers) >= server.limit
        server.peers.add(self)
        handler: Handler | None = None if full else server.factory(self)
        if handler is None:
            server.refused += 1
            self._transport.abort()
            return
        talks = Talks(lambda: server.factory(self), handler)
        self._station = Station(talks, physical=server.physical, terms=server.terms, ended=talks.ended)
        self._transport.set_write_buffer_limits(high=_FULL)
        tune(transport)
        self._heard = self._loop.time()
        self._arm()

    def data_received(self, data: bytes) -> None:
        if self._station is not None and self._transport is not None:
            self._heard = self._loop.time()
            self._transport.write(self._station.feed(data, self._heard))
            self._arm()

    def pause_writing(self) -> None:
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.peers.discard(self)
        self._transport = self._station = None
        if self._timer is not None:
            self._timer.cancel()
        if not self.gone.done():
            self.gone.set_result(None)

    def _arm(self) -> None:
        assert self._station is not None
        if self._timer is not None:
            self._timer.cancel()
        deadline = min(self._station.deadline or float("inf"), self._heard + self._server.idle)
        self._timer = self._loop.call_at(deadline, self._tick)

    def _tick(self) -> None:
        if self._station is None or self._transport is None:
            return
        now = self._loop.time()
        if now >= self._heard + self._server.idle:
            self._server.expired += 1
            self._transport.abort()
            return
        self._transport.write(self._station.tick(now))
        self._arm()
