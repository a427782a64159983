"""One meter as its PAN knows it, and the datagrams that wait for whoever reads them."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from dcu.errors import LinkClosed, LinkError
from dcu.fan.base import Standing
from dcu.fan.g3.ipv6 import MAX_PAYLOAD

QUEUE_LIMIT = 64  # datagrams; a meter answers one at a time, a block transfer keeps a handful on the way


class Device:
    """last_heard, since: UTC seconds; unheard_since: the loop's time of the last word, or of when we began to wait."""

    __slots__ = (
        "cost",
        "eui64",
        "hops",
        "last_heard",
        "lqi",
        "modulation",
        "next_hop",
        "path",
        "since",
        "standing",
        "unheard_since",
    )

    def __init__(self, eui64: bytes, standing: Standing, now: float, since: int) -> None:
        self.eui64 = eui64
        self.standing = standing
        self.since = since
        self.last_heard = 0
        self.unheard_since = now
        self.lqi: int | None = None  # of the last hop to us, where it is a neighbour of ours
        self.modulation = ""
        self.next_hop: int | None = None
        self.hops: int | None = None
        self.cost: int | None = None
        self.path: tuple[int, ...] = ()  # short addresses, the device last, as a path discovery found


class Endpoint:
    """A `streams.Datagram` to one UDP port of one meter."""

    __slots__ = ("_changed", "_closed", "_limit", "_lost", "_queue", "_send", "_waiting", "dropped", "eui64", "port")

    def __init__(self, eui64: bytes, port: int, send: Callable[[bytes, int, bytes], Awaitable[None]]) -> None:
        self.eui64 = eui64
        self.port = port
        self.dropped = 0
        self._send = send
        self._queue: deque[bytes] = deque()
        self._changed = asyncio.Event()
        self._closed = False
        self._waiting = False
        self._lost: LinkError | None = None

    @property
    def closed(self) -> bool:
        return self._closed

    async def send(self, data: bytes) -> None:
        """Return when the first hop has it. Raises LinkError, and Unreachable where there is no way."""
        if self._closed:
            raise LinkClosed("the datagram endpoint is closed")
        if len(data) > MAX_PAYLOAD:
            raise LinkError(f"{len(data)} bytes do not fit a datagram, at most {MAX_PAYLOAD} do: lower max_pdu")
        await self._send(self.eui64, self.port, data)

    async def receive(self) -> bytes:
        while not self._queue:
            if self._closed:
                raise LinkClosed("the datagram endpoint is closed")
            self._changed.clear()
            self._waiting = True
            try:
                await self._changed.wait()
            finally:
                self._waiting = False
            if self._lost is not None:
                error, self._lost = self._lost, None
                raise error
        return self._queue.popleft()

    async def close(self) -> None:
        self._closed = True
        self._changed.set()

    def lose(self, error: LinkError) -> None:
        """What somebody waits for now will not come: say so, sooner than his patience would."""
        if self._waiting and not self._queue:
            self._lost = error
            self._changed.set()

    def arrive(self, data: bytes) -> None:
        if len(self._queue) >= QUEUE_LIMIT:
            self.dropped += 1
            return
        self._queue.append(data)
        self._changed.set()
