"""Streams and datagrams between two ends in one process: no socket, no real time.

They run under virtual time (design decision 4). A datagram pair can lose, repeat and delay by a seeded generator, so
that a failing run can be run again.
"""

import asyncio
from collections import deque
from random import Random

from dcu.errors import LinkClosed
from dcu.mailbox import Mailbox

STREAM_LIMIT = 1 << 18  # bytes that wait for a reader before the writer must: a socket's buffers, about
QUEUE_LIMIT = 256  # datagrams that wait for a receiver before the next is lost


def stream_pair(*, delay: float = 0.0, limit: int = STREAM_LIMIT) -> tuple["MemoryStream", "MemoryStream"]:
    """Two ends of a line: what one writes the other reads, `delay` seconds later."""
    near, far = MemoryStream(delay, limit), MemoryStream(delay, limit)
    near._peer, far._peer = far, near
    return near, far


def datagram_pair(
    *,
    random: Random | None = None,
    loss: float = 0.0,
    duplicate: float = 0.0,
    reorder: float = 0.0,
    delay: float = 0.0,
    queue: int = QUEUE_LIMIT,
) -> tuple["MemoryDatagram", "MemoryDatagram"]:
    """Two ends of a lossy line. `loss`, `duplicate` and `reorder` are probabilities; `delay` is in seconds.

    A reordered datagram takes up to four more delays (at least 10 ms), so that later ones overtake it.
    """
    weather = Weather(random or Random(0), loss, duplicate, reorder, delay)  # noqa: S311 - a simulation, not a secret
    near, far = MemoryDatagram(weather, queue), MemoryDatagram(weather, queue)
    near._peer, far._peer = far, near
    return near, far


class MemoryStream:
    """One end of `stream_pair()`. A ByteStream."""

    def __init__(self, delay: float, limit: int) -> None:
        self._peer = self
        self._delay = delay
        self._limit = limit
        self._flying: deque[bytes] = deque()  # written by the peer, not arrived yet; b"" is its end of stream
        self._arrived = bytearray()
        self._ended = False  # no more will arrive
        self._closed = False
        self._changed = asyncio.Event()

    async def read(self, limit: int = 65536) -> bytes:
        while not self._arrived and not self._ended:
            self._changed.clear()
            await self._changed.wait()
        taken = bytes(self._arrived[:limit])
        del self._arrived[:limit]
        self._peer._changed.set()
        return taken

    async def write(self, data: bytes) -> None:
        peer = self._peer
        while True:
            if self._closed or peer._closed:
                raise LinkClosed("the other side closed the stream" if peer._closed else "the stream is closed")
            if peer._waiting() < self._limit:
                break
            self._changed.clear()
            await self._changed.wait()
        if data:
            peer._fly(bytes(data))

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._ended = True
            self._changed.set()
            self._peer._fly(b"")

    def _waiting(self) -> int:
        return len(self._arrived) + sum(map(len, self._flying))

    def _fly(self, data: bytes) -> None:
        self._flying.append(data)
        if self._delay:
            # each timer lands the oldest: timers of one instant fire in no particular order, bytes must not
            asyncio.get_running_loop().call_later(self._delay, self._land)
        else:
            self._land()

    def _land(self) -> None:
        data = self._flying.popleft()
        self._arrived += data
        self._ended = self._ended or not data
        self._changed.set()
        if not data:
            self._peer._changed.set()


class Weather:
    """What happens to datagrams on the way, drawn from a seeded generator; counts what it did."""

    def __init__(self, random: Random, loss: float, duplicate: float, reorder: float, delay: float) -> None:
        self.random = random
        self.loss, self.duplicate, self.reorder, self.delay = loss, duplicate, reorder, delay
        self.lost = 0
        self.duplicated = 0
        self.reordered = 0

    def delays(self) -> list[float]:
        """The delay of each copy of one datagram that arrives."""
        if self.random.random() < self.loss:
            self.lost += 1
            return []
        copies = 1
        if self.random.random() < self.duplicate:
            self.duplicated += 1
            copies = 2
        return [self._delay_of_one() for _ in range(copies)]

    def _delay_of_one(self) -> float:
        if self.random.random() >= self.reorder:
            return self.delay
        self.reordered += 1
        return self.delay + max(4 * self.delay, 0.01) * self.random.random()


class MemoryDatagram(Mailbox):
    """One end of `datagram_pair()`. A Datagram."""

    __slots__ = ("_peer", "weather")

    def __init__(self, weather: Weather, queue: int) -> None:
        super().__init__(queue)
        self._peer = self
        self.weather = weather

    async def send(self, data: bytes) -> None:
        if self.closed:
            raise LinkClosed("the datagram endpoint is closed")
        for delay in self.weather.delays():
            if delay:
                asyncio.get_running_loop().call_later(delay, self._peer.arrive, bytes(data))
            else:
                self._peer.arrive(bytes(data))

    async def close(self) -> None:
        self.shut()
