"""A serial bus in memory, under virtual time: bytes take their time, meters turn around, everybody hears everybody.

What two senders put on it at the same moment is destroyed: `collisions` counts that. The line may be cut.
"""

import asyncio
from collections.abc import Mapping

from dcu.errors import LinkClosed
from dcu.link.hdlc_multidrop import Multidrop
from dcu.link.hdlc_server import Station


class Bus:
    """The meters' side and the wire. `open()` gives the one end that a client has, again after a `cut()`."""

    def __init__(
        self, stations: Mapping[int, Station], *, byte_time: float = 10 / 9600, turnaround: float = 0.02
    ) -> None:
        self.meters = Multidrop(stations)
        self.byte_time = byte_time
        self.turnaround = turnaround
        self.collisions = 0
        self.bytes = 0
        self.turns = 0
        self.opened = 0
        self.end: End | None = None
        self._busy = {True: 0.0, False: 0.0}

    async def open(self) -> "End":
        self.opened += 1
        self.end = End(self)
        return self.end

    def cut(self) -> None:
        if self.end is not None:
            self.end.closed = True
            self.end.changed.set()

    def put(self, data: bytes, from_client: bool) -> None:
        """Somebody sends now; it has arrived when the last byte has."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        self.bytes += len(data)
        self.turns += 1
        if now < self._busy[not from_client]:
            self.collisions += 1
            data = bytes(byte ^ 0xA5 for byte in data)
        until = self._busy[from_client] = max(now, self._busy[from_client]) + len(data) * self.byte_time
        loop.call_at(until, self._arrive, data, from_client)

    def _arrive(self, data: bytes, at_meters: bool) -> None:
        loop = asyncio.get_running_loop()
        if at_meters:
            if wire := self.meters.feed(data, loop.time()):
                loop.call_later(self.turnaround, self.put, wire, False)
        elif self.end is not None:
            self.end.arrived += data
            self.end.changed.set()


class End:
    """The client's end. A ByteStream."""

    def __init__(self, bus: Bus) -> None:
        self.arrived = bytearray()
        self.changed = asyncio.Event()
        self.closed = False
        self._bus = bus

    async def read(self, limit: int = 65536) -> bytes:
        while not self.arrived:
            if self.closed:
                raise LinkClosed("the adapter is gone")
            self.changed.clear()
            await self.changed.wait()
        taken = bytes(self.arrived[:limit])
        del self.arrived[:limit]
        return taken

    async def write(self, data: bytes) -> None:
        if self.closed:
            raise LinkClosed("the adapter is gone")
        self._bus.put(data, True)

    async def close(self) -> None:
        self.closed = True
        self.changed.set()
