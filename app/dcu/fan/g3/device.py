"""One meter as its PAN knows it, and the datagrams that wait for whoever reads them."""

import asyncio
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
    """A `streams.Datagram` to one UDP port of one meter.

    There are as many as meters, and most wait for nothing: a list and a future where somebody waits take 1.5 kB less
    than a deque and an event.
    """

    __slots__ = ("_closed", "_lost", "_queue", "_send", "_waiter", "dropped", "eui64", "port")

    def __init__(self, eui64: bytes, port: int, send: Callable[[bytes, int, bytes], Awaitable[None]]) -> None:
        self.eui64 = eui64
        self.port = port
        self.dropped = 0
        self._send = send
        self._queue: list[bytes] = []
        self._closed = False
        self._waiter: asyncio.Future[None] | None = None
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
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
            if self._lost is not None:
                error, self._lost = self._lost, None
                raise error
        return self._queue.pop(0)

    async def close(self) -> None:
        self._closed = True
        self._wake()

    def lose(self, error: LinkError) -> None:
        """What somebody waits for now will not come: say so, sooner than his patience would."""
        if self._waiter is not None and not self._queue:
            self._lost = error
            self._wake()

    def arrive(self, data: bytes) -> None:
        if len(self._queue) >= QUEUE_LIMIT:
            self.dropped += 1
            return
        self._queue.append(data)
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
