"""The push listener: meters connect, or send datagrams, and say something that nobody asked for.

Over UDP a push is one wrapper frame; over TCP it is wrapper frames or HDLC frames, told apart by the first byte
(IEC 62056-47, IEC 62056-46). Anybody can reach it, so everything is bounded: connections, sizes, idle time, datagrams
that wait. What cannot be used is counted by cause and never raised; a sender waits until its last APDU was dealt with.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import cast

from dcu.errors import DcuError, DecodeError
from dcu.link import hdlc, segments, wrapper
from dcu.link.tcp import address, everywhere, name_of, tune

OnApdu = Callable[[str, int, int, bytes], Awaitable[None]]
"""Gets (peer as `host:port`, source SAP, destination SAP, APDU). A DcuError it raises is counted as rejected."""

CONNECTIONS = 256  # meters push and hang up: what is more than this at once is no street
IDLE = 60.0  # seconds for one whole APDU, so a sender that trickles bytes does not keep its place
DATAGRAMS = 256  # that wait: one each of a small street that reports a power cut at once
MAX_APDU = 0x4000  # a push of a day's profile is 1–8 KB
_BUFFER = 1 << 14


@dataclass(slots=True)
class Tally:
    """What the listener saw."""

    apdus: int = 0  # handed on
    rejected: int = 0  # of them: refused by `on_apdu` with a DcuError
    failed: int = 0  # of them: `on_apdu` raised something else, which is a bug and goes to the loop's handler
    connections: int = 0  # accepted
    overload: int = 0  # connections beyond the limit
    framing: int = 0  # streams and datagrams that are neither wrapper nor HDLC, or announce too much
    damaged: int = 0  # HDLC frames and segments that could not be used
    idle: int = 0  # connections closed because no whole APDU came in time
    dropped: int = 0  # datagrams that found the queue full


class PushListener:
    """Receives pushes on any number of TCP and UDP ports and hands their APDUs to `on_apdu`, one at a time a sender."""

    def __init__(
        self, on_apdu: OnApdu, *, connections: int = CONNECTIONS, idle: float = IDLE, max_apdu: int = MAX_APDU
    ) -> None:
        self.tally = Tally()
        self.on_apdu = on_apdu
        self.connections = connections
        self.idle = idle
        self.max_apdu = max_apdu
        self.open: set[_Sender] = set()
        self.buffer = memoryview(bytearray(_BUFFER))  # shared: the loop fills it and hands it over in one step
        self._servers: list[asyncio.Server] = []
        self._sockets: list[asyncio.DatagramTransport] = []
        self._queue: asyncio.Queue[tuple[str, wrapper.Frame]] = asyncio.Queue(DATAGRAMS)
        self._worker: asyncio.Task[None] | None = None

    async def listen_tcp(self, host: str, port: int) -> int:
        """Listen; return the port, which 0 leaves to the system. Raises OSError."""
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: _Sender(self), everywhere(host), port)
        self._servers.append(server)
        return int(server.sockets[0].getsockname()[1])

    async def listen_udp(self, host: str, port: int) -> int:
        """Listen; return the port, which 0 leaves to the system. Raises OSError."""
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(self), local_addr=(host, port))
        self._sockets.append(transport)
        self.serve_datagrams()
        return int(transport.get_extra_info("sockname")[1])

    def serve_datagrams(self) -> None:
        """Deal with what is given to `enqueue`, also where no port is listened on: a field network brings some, too."""
        if self._worker is None:
            self._worker = asyncio.create_task(self._drain())

    async def close(self) -> None:
        """Stop listening and drop what is connected; what `on_apdu` is busy with is cancelled."""
        for server in self._servers:
            server.close()
        for transport in self._sockets:
            transport.close()
        tasks = [sender.task for sender in self.open if sender.task is not None]
        if self._worker is not None:
            tasks.append(self._worker)
        for sender in list(self.open):
            sender.abort()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)  # the transports tell their protocols on the loop's next turn

    async def hand_on(self, peer: str, source: int, destination: int, apdu: bytes) -> None:
        """Give one APDU to `on_apdu` and count what became of it."""
        self.tally.apdus += 1
        try:
            await self.on_apdu(peer, source, destination, apdu)
        except DcuError:
            self.tally.rejected += 1
        except Exception as error:
            self.tally.failed += 1
            about = {"message": f"a push of {peer} met a bug", "exception": error}
            asyncio.get_running_loop().call_exception_handler(about)

    def enqueue(self, peer: str, datagram: bytes) -> None:
        """Keep a datagram until its turn comes."""
        try:
            frame = wrapper.decode(datagram)
        except DecodeError:
            self.tally.framing += 1
            return
        if len(frame.apdu) > self.max_apdu:
            self.tally.framing += 1
            return
        try:
            self._queue.put_nowait((peer, frame))
        except asyncio.QueueFull:
            self.tally.dropped += 1

    async def _drain(self) -> None:
        while True:
            peer, frame = await self._queue.get()
            await self.hand_on(peer, frame.source, frame.destination, frame.apdu)


class _Sender(asyncio.BufferedProtocol):
    """One connection of a meter. Reading stops while an APDU of it is dealt with, so it holds two buffers at most."""

    __slots__ = ("_frames", "_listener", "_peer", "_timer", "_transport", "task")

    _transport: asyncio.Transport  # from `connection_made` on, and only where there is room

    def __init__(self, listener: PushListener) -> None:
        self._listener = listener
        self._frames: _Framing | None = None
        self._peer = ""
        self._timer: asyncio.TimerHandle | None = None
        self.task: asyncio.Task[None] | None = None

    def abort(self) -> None:
        self._transport.abort()

    # what the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        listener = self._listener
        if len(listener.open) >= listener.connections:
            listener.tally.overload += 1
            cast(asyncio.Transport, transport).abort()
            return
        listener.tally.connections += 1
        listener.open.add(self)
        tune(transport)
        self._transport = cast(asyncio.Transport, transport)
        self._peer = address(*name_of(transport, "peername"))
        self._wait()

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._listener.buffer

    def buffer_updated(self, nbytes: int) -> None:
        data = bytes(self._listener.buffer[:nbytes])
        if self._frames is None:
            self._frames = _Framing(self._listener, hdlc_framed=data[0] == hdlc.FLAG)
        self._transport.pause_reading()
        self.task = asyncio.create_task(self._take(self._frames, data))

    def connection_lost(self, exc: Exception | None) -> None:
        self._listener.open.discard(self)
        self._busy()

    async def _take(self, frames: "_Framing", data: bytes) -> None:
        try:
            for source, destination, apdu in frames.feed(data):
                self._busy()
                await self._listener.hand_on(self._peer, source, destination, apdu)
                self._wait()
        except DecodeError:
            self._listener.tally.framing += 1
            self.abort()
        self._transport.resume_reading()  # where it was closed meanwhile, nothing happens

    def _wait(self) -> None:
        """Give the meter time for its next APDU, unless it has hung up while the last was dealt with."""
        if not self._transport.is_closing():
            self._timer = asyncio.get_running_loop().call_later(self._listener.idle, self._expire)

    def _busy(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _expire(self) -> None:
        self._listener.tally.idle += 1
        self.abort()


class _Framing:
    """APDUs out of one stream, whose first byte told what it is framed with."""

    __slots__ = ("_hdlc", "_tally", "_wrapper")

    def __init__(self, listener: PushListener, *, hdlc_framed: bool) -> None:
        self._tally = listener.tally
        self._hdlc = segments.Listener(max_apdu=listener.max_apdu) if hdlc_framed else None
        self._wrapper = wrapper.Decoder(listener.max_apdu)

    def feed(self, data: bytes) -> Iterator[tuple[int, int, bytes]]:
        """Yield (source SAP, destination SAP, APDU). Raises DecodeError where a wrapper stream is none."""
        if self._hdlc is None:
            for wrapped in self._wrapper.feed(data):
                yield wrapped.source, wrapped.destination, wrapped.apdu
            return
        damaged = self._hdlc.damaged
        for message in self._hdlc.feed(data):
            yield message.source.upper, message.destination.upper, message.apdu
        self._tally.damaged += self._hdlc.damaged - damaged


class _Datagrams(asyncio.DatagramProtocol):
    """One UDP socket of the listener."""

    __slots__ = ("_listener",)

    def __init__(self, listener: PushListener) -> None:
        self._listener = listener

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._listener.enqueue(address(*addr[:2]), data)
