"""HDLC over UDP, the server's side: a station per remote address. A frame never spans two datagrams."""

import asyncio
from collections import OrderedDict
from typing import cast

from dcu.errors import LinkClosed
from dcu.link.hdlc_listen import Talks
from dcu.link.hdlc_server import Station, Terms
from dcu.link.listen import CONNECTIONS, IDLE, HandlerFactory
from dcu.link.tcp import name_of

Name = tuple[str, int]


class HdlcUdpServer(asyncio.DatagramProtocol):
    """What `serve_hdlc_udp()` returns. Beyond `limit` remote addresses the one silent longest goes."""

    def __init__(self, factory: HandlerFactory, terms: Terms, physical: int | None, limit: int, idle: float) -> None:
        self.refused = 0  # beyond the limit, or turned away by the factory
        self._factory = factory
        self._terms = terms
        self._physical = physical
        self._limit = limit
        self._idle = idle
        self._loop = asyncio.get_running_loop()
        self._peers: OrderedDict[Name, _Remote] = OrderedDict()
        self._transport: asyncio.DatagramTransport | None = None

    @property
    def port(self) -> int:
        """The port it listens on, also where 0 asked for any."""
        return name_of(self._transport, "sockname")[1]

    async def close(self) -> None:
        self._peers.clear()
        if self._transport is not None:
            self._transport.close()

    def send(self, data: bytes, to: Name) -> None:
        if self._transport is None or self._transport.is_closing():
            raise LinkClosed("the server is closed")
        if data:
            self._transport.sendto(data, to)

    def local(self) -> Name:
        return name_of(self._transport, "sockname")

    def forget(self, name: Name) -> None:
        self._peers.pop(name, None)

    # what the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: Name) -> None:
        now = self._loop.time()
        while self._peers and next(iter(self._peers.values())).heard + self._idle <= now:
            self._peers.popitem(last=False)
        remote = self._peers.get(addr) or self._welcome(addr)
        if remote is None:
            return
        self._peers.move_to_end(addr)
        remote.heard = now
        station = remote.station
        wire = station.tick(now) + station.feed(data, now)
        station.decoder.reset()
        self.send(wire, addr)

    def _welcome(self, addr: Name) -> "_Remote | None":
        remote = _Remote(self, addr)
        handler = self._factory(remote)
        if handler is None:
            self.refused += 1
            return None
        talks = Talks(lambda: self._factory(remote), handler)
        remote.station = Station(talks, physical=self._physical, terms=self._terms, ended=talks.ended)
        while len(self._peers) >= self._limit:
            self._peers.popitem(last=False)
            self.refused += 1
        self._peers[addr] = remote
        return remote


class _Remote:
    """One client. A `listen.Peer`."""

    station: Station

    def __init__(self, server: HdlcUdpServer, name: Name) -> None:
        self.heard = 0.0
        self._server = server
        self._name = name

    @property
    def local(self) -> Name:
        return self._server.local()

    @property
    def remote(self) -> Name:
        return self._name[:2]

    def push(self, server_sap: int, client_sap: int, apdu: bytes) -> None:
        self._server.send(self.station.push(server_sap, client_sap, apdu), self._name)

    def close(self) -> None:
        self._server.forget(self._name)


async def serve_hdlc_udp(
    host: str,
    port: int,
    factory: HandlerFactory,
    *,
    terms: Terms | None = None,
    physical: int | None = None,
    limit: int = CONNECTIONS,
    idle: float = IDLE,
) -> HdlcUdpServer:
    """Serve HDLC over UDP. Raises OSError when the address cannot be bound."""
    server = HdlcUdpServer(factory, terms or Terms(), physical, limit, idle)
    loop = asyncio.get_running_loop()
    await loop.create_datagram_endpoint(lambda: server, local_addr=(host, port))
    return server
