"""The server's side of the wrapper (IEC 62056-47): many meters, or one, in one process.

A factory is asked for a handler per peer; the handler gets (client SAP, server SAP, APDU) and returns the answer's
APDU or None. It is called inline: what it does must be short. Connections are asyncio protocols with slots that share
one receive buffer, because a street has thousands of them; their number and their idle time are bounded.
"""

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Callable
from typing import Protocol, cast

from dcu.errors import DecodeError, LinkClosed
from dcu.link import wrapper
from dcu.link.tcp import name_of, tune
from dcu.link.tcp_peer import TcpPeer
from dcu.streams import ByteStream, Datagram, Sent, each

Handler = Callable[[int, int, bytes], Sent]
"""Gets (client SAP, server SAP, APDU), returns the answer's APDU, or several, or None."""


class Peer(Protocol):
    """Who a handler talks with: where it came in, where it comes from, and the way to push to it."""

    @property
    def local(self) -> tuple[str, int]: ...

    @property
    def remote(self) -> tuple[str, int]: ...

    def push(self, server_sap: int, client_sap: int, apdu: bytes) -> None:
        """Send an APDU that nobody asked for. Raises LinkClosed."""
        ...

    def close(self) -> None: ...


HandlerFactory = Callable[[Peer], Handler | None]
"""Gives the handler of a new peer, or None to turn it away."""

CONNECTIONS = 4096  # a street of a thousand meters, four clients each
IDLE = 300.0  # seconds without a whole frame; DLMS meters drop a silent TCP client after 3 to 5 minutes
GRACE = 1.0
_BUFFER = 1 << 16


class Server:
    """What `serve_tcp()` and `serve_udp()` return: where it listens, what it counted, and how to end it."""

    def __init__(self, factory: HandlerFactory, limit: int, idle: float) -> None:
        self.factory = factory
        self.limit = limit
        self.idle = idle
        self.peers: OrderedDict[object, _Connection | _Remote] = OrderedDict()
        self.refused = 0  # peers beyond the limit, or that the factory turned away
        self.malformed = 0  # streams that ended on a bad header, datagrams that are no frame
        self.expired = 0  # peers idle for too long
        self.buffer = memoryview(bytearray(_BUFFER))  # shared: the loop fills it and hands it over in one step
        self._listener: asyncio.Server | None = None
        self._transport: asyncio.DatagramTransport | None = None
        self._empty: asyncio.Event | None = None  # made when somebody waits for the last peer to go

    @property
    def port(self) -> int:
        """The port it listens on, also where 0 asked for any."""
        if self._listener is not None:
            return int(self._listener.sockets[0].getsockname()[1])
        assert self._transport is not None
        return int(self._transport.get_extra_info("sockname")[1])

    async def close(self) -> None:
        """Stop listening and let every peer go; one that does not take its answers is cut off after a second."""
        if self._listener is not None:
            self._listener.close()
        if self._transport is not None:
            self._transport.close()
        for peer in list(self.peers.values()):
            peer.close()
        if self.peers:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(GRACE):
                    await self._gone()
            for peer in list(self.peers.values()):
                peer.abort()
            await self._gone()

    async def _gone(self) -> None:
        self._empty = asyncio.Event()
        if self.peers:
            await self._empty.wait()

    def forget(self, key: object) -> None:
        """A peer is gone."""
        self.peers.pop(key, None)
        if not self.peers and self._empty is not None:
            self._empty.set()


async def serve_tcp(
    host: str, port: int, factory: HandlerFactory, *, limit: int = CONNECTIONS, idle: float = IDLE, backlog: int = 1024
) -> Server:
    """Serve wrapper frames over TCP. Raises OSError when the address cannot be bound."""
    server = Server(factory, limit, idle)
    loop = asyncio.get_running_loop()
    server._listener = await loop.create_server(lambda: _Connection(server), host, port, backlog=backlog)
    return server


async def serve_udp(
    host: str, port: int, factory: HandlerFactory, *, limit: int = CONNECTIONS, idle: float = IDLE
) -> Server:
    """Serve wrapper frames over UDP: a handler per remote address; beyond `limit` the one silent longest goes."""
    server = Server(factory, limit, idle)
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(server), local_addr=(host, port))
    server._transport = transport
    return server


async def serve_stream(stream: ByteStream, handler: Handler) -> None:
    """Serve one stream (of `memory.stream_pair()`, say) until it ends; then close it."""
    decoder = wrapper.Decoder()
    try:
        while data := await stream.read():
            for frame in decoder.feed(data):
                for answer in each(handler(frame.source, frame.destination, frame.apdu)):
                    await stream.write(wrapper.encode(frame.destination, frame.source, answer))
    except (DecodeError, LinkClosed):
        pass
    finally:
        await stream.close()


async def serve_datagram(datagram: Datagram, handler: Handler) -> None:
    """Serve one datagram endpoint until it is closed; what is no frame is passed over."""
    try:
        while True:
            try:
                frame = wrapper.decode(await datagram.receive())
            except DecodeError:
                continue
            for answer in each(handler(frame.source, frame.destination, frame.apdu)):
                await datagram.send(wrapper.encode(frame.destination, frame.source, answer))
    except LinkClosed:
        pass


class _Connection(TcpPeer, asyncio.BufferedProtocol):
    """One TCP client of a Server."""

    __slots__ = ("_decoder", "_full", "_handler", "_heard", "_server", "_timer")

    def __init__(self, server: Server) -> None:
        super().__init__()
        self._server = server
        self._decoder = wrapper.Decoder()
        self._handler: Handler | None = None
        self._heard = 0.0
        self._full = False  # the client does not take its answers
        self._timer: asyncio.TimerHandle | None = None

    def push(self, server_sap: int, client_sap: int, apdu: bytes) -> None:
        self._say(wrapper.encode(server_sap, client_sap, apdu))

    # what the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        server = self._server
        self._transport = cast(asyncio.Transport, transport)
        full = len(server.peers) >= server.limit
        server.peers[self] = self
        loop = asyncio.get_running_loop()
        self._heard = loop.time()
        self._timer = loop.call_later(server.idle, self._tick)
        self._handler = None if full else server.factory(self)
        if self._handler is None:
            server.refused += 1
            self._transport.abort()
            return
        tune(transport)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._server.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self._serve(bytes(self._server.buffer[:nbytes]))

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        self._serve(b"")

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.forget(self)
        self._transport = None
        self._handler = None
        if self._timer is not None:
            self._timer.cancel()

    def _serve(self, data: bytes) -> None:
        """Answer what `data` completes; a client that asks and does not read is not heard again until it reads."""
        handler, transport = self._handler, self._transport
        if handler is None or transport is None or transport.is_closing():
            return
        try:
            with contextlib.closing(self._decoder.feed(data)) as frames:
                for frame in frames:
                    self._heard = asyncio.get_running_loop().time()
                    for answer in each(handler(frame.source, frame.destination, frame.apdu)):
                        transport.write(wrapper.encode(frame.destination, frame.source, answer))
                    if self._full:
                        break
        except DecodeError:
            self._server.malformed += 1
            transport.close()
            return
        if self._full:
            transport.pause_reading()
        else:
            transport.resume_reading()

    def _tick(self) -> None:
        """Look whether the client was idle for too long; one timer a connection, armed anew only when it fires."""
        loop = asyncio.get_running_loop()
        left = self._heard + self._server.idle - loop.time()
        if left > 0:
            self._timer = loop.call_later(left, self._tick)
        elif self._transport is not None:
            self._server.expired += 1
            self._transport.abort()


class _Remote:
    """One UDP client of a Server."""

    __slots__ = ("_name", "_server", "handler", "heard")

    def __init__(self, server: Server, name: tuple[str, int]) -> None:
        self._server = server
        self._name = name
        self.handler: Handler | None = None
        self.heard = 0.0

    @property
    def local(self) -> tuple[str, int]:
        return name_of(self._server._transport, "sockname")

    @property
    def remote(self) -> tuple[str, int]:
        return self._name[:2]

    def push(self, server_sap: int, client_sap: int, apdu: bytes) -> None:
        transport = self._server._transport
        if transport is None or transport.is_closing():
            raise LinkClosed("the server is closed")
        transport.sendto(wrapper.encode(server_sap, client_sap, apdu), self._name)

    def close(self) -> None:
        self._server.forget(self._name)

    abort = close


class _Datagrams(asyncio.DatagramProtocol):
    """The UDP socket of a Server."""

    __slots__ = ("_server",)

    def __init__(self, server: Server) -> None:
        self._server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._server._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        try:
            frame = wrapper.decode(data)
        except DecodeError:
            self._server.malformed += 1
            return
        remote = self._remote(addr)
        if remote is None or remote.handler is None:
            return
        for answer in each(remote.handler(frame.source, frame.destination, frame.apdu)):
            remote.push(frame.destination, frame.source, answer)

    def _remote(self, addr: tuple[str, int]) -> _Remote | None:
        server = self._server
        now = asyncio.get_running_loop().time()
        self._expire(now)
        remote = server.peers.get(addr)
        if not isinstance(remote, _Remote):
            remote = _Remote(server, addr)
            remote.handler = server.factory(remote)
            if remote.handler is None:
                server.refused += 1
                return None
            while len(server.peers) >= server.limit:
                server.peers.popitem(last=False)
                server.refused += 1
            server.peers[addr] = remote
        remote.heard = now
        server.peers.move_to_end(addr)
        return remote

    def _expire(self, now: float) -> None:
        """Forget who was silent for too long; the oldest stands first, so this looks at one more than it forgets."""
        peers = self._server.peers
        while peers:
            oldest = next(iter(peers.values()))
            if not isinstance(oldest, _Remote) or oldest.heard + self._server.idle > now:
                return
            self._server.expired += 1
            peers.popitem(last=False)
