"""A line that many meters share: one of them is spoken with at a time.

Each meter has a `Seat`, which is a byte stream for its link, and the right to speak. Whoever has that right hears the
line; what comes in between is a late answer and is dropped. A turn that ended without the meter's last word (somebody
gave up waiting) keeps the line until that word came, or can come no more. The line is opened when it is first needed,
and anew after it was lost: an adapter that was pulled out and put back goes on.

Where meters sign on before they speak HDLC (mode E), the line has the speed of whoever is spoken with.

On RS-485 who has just sent lets go of the wires only after a while: we wait for `turnaround` before we answer.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

from dcu.errors import LinkClosed, LinkError
from dcu.streams import ByteStream, Tunable

HUSH = 0.1  # seconds without a byte after which a late answer is taken to be over


class Floor(Protocol):
    """The right to speak."""

    async def take(self) -> None:
        """Wait for it. Nothing happens where one has it already. Raises LinkError."""
        ...

    def give(self, until: float | None = None) -> None:
        """Give it back; until: the loop's time until which an answer may still come, None where none will."""
        ...


class Alone:
    """The floor of a line that nobody else speaks on."""

    async def take(self) -> None:
        pass

    def give(self, until: float | None = None) -> None:
        pass


class HalfDuplex:
    """A byte stream that waits for `turnaround` seconds after the last byte came before it writes."""

    def __init__(self, stream: ByteStream, turnaround: float) -> None:
        self._stream = stream
        self._turnaround = turnaround
        self._heard = -1e9

    async def read(self, limit: int = 65536) -> bytes:
        data = await self._stream.read(limit)
        self._heard = asyncio.get_running_loop().time()
        return data

    async def write(self, data: bytes) -> None:
        wait = self._heard + self._turnaround - asyncio.get_running_loop().time()
        if wait > 0:
            await asyncio.sleep(wait)
        await self._stream.write(data)

    async def close(self) -> None:
        await self._stream.close()

    async def change(self, baud: int, form: str) -> None:
        """Raises LinkError."""
        if not isinstance(self._stream, Tunable):
            raise LinkError("the speed of this line cannot be changed")
        await self._stream.change(baud, form)


class Line:
    """One line. `open` opens what carries it. `late` counts bytes that came when nobody was spoken with."""

    def __init__(self, open_stream: Callable[[], Awaitable[ByteStream]], *, turnaround: float = 0.0) -> None:
        self.late = 0
        self.openings = 0
        self._open = open_stream
        self._turnaround = turnaround
        self._stream: HalfDuplex | None = None
        self._tuned: tuple[int, str] | None = None  # to which speed and format, None: to those it was opened with
        self._lock = asyncio.Lock()
        self._until: float | None = None

    def seat(self) -> "Seat":
        return Seat(self)

    async def close(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            await stream.close()

    async def _take(self, tuned: tuple[int, str] | None) -> None:
        await self._lock.acquire()
        try:
            await self._hush()
            if self._stream is None:
                self._stream, self._tuned = HalfDuplex(await self._open(), self._turnaround), None
                self.openings += 1
            if tuned:
                await self._change(*tuned)
        except BaseException:
            self._lock.release()
            raise

    async def _hush(self) -> None:
        """Let a late answer pass."""
        loop = asyncio.get_running_loop()
        latest, self._until = self._until or loop.time(), None
        until = latest
        try:
            while self._stream is not None:
                async with asyncio.timeout_at(until):
                    self.late += len(await self._read())
                if loop.time() >= latest:  # bytes that are always there would never let the timer fire
                    return
                until = min(latest, loop.time() + HUSH)
        except TimeoutError:
            pass
        except LinkError:
            return  # it is opened anew

    async def _read(self) -> bytes:
        if self._stream is None:
            raise LinkClosed("the line is closed")
        try:
            data = await self._stream.read()
        except LinkError:
            await self._lose()
            raise
        if not data:
            await self._lose()
            raise LinkClosed("the line was closed by the other end")
        return data

    async def _write(self, data: bytes) -> None:
        if self._stream is None:
            raise LinkClosed("the line is closed")
        try:
            await self._stream.write(data)
        except LinkError:
            await self._lose()
            raise

    async def _change(self, baud: int, form: str) -> None:
        if self._stream is None:
            raise LinkClosed("the line is closed")
        if self._tuned != (baud, form):
            await self._stream.change(baud, form)
            self._tuned = (baud, form)

    async def _lose(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            await stream.close()

    def _give(self, until: float | None) -> None:
        self._until = until
        self._lock.release()


class Seat:
    """One meter's place at a line: a ByteStream and its Floor. Closing it leaves the line to the others."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._tuned: tuple[int, str] | None = None  # what the meter is spoken with at, where it was ever changed
        self._mine = False
        self._closed = False

    @property
    def baud(self) -> int:
        """The speed that was changed to, 0 where it never was."""
        return self._tuned[0] if self._tuned else 0

    async def take(self) -> None:
        if self._closed:
            raise LinkClosed("the link is closed")
        if not self._mine:
            await self._line._take(self._tuned)
            self._mine = True

    def give(self, until: float | None = None) -> None:
        if self._mine:
            self._mine = False
            self._line._give(until)

    async def read(self, limit: int = 65536) -> bytes:
        self._require()
        return await self._line._read()

    async def write(self, data: bytes) -> None:
        self._require()
        await self._line._write(data)

    async def change(self, baud: int, form: str) -> None:
        """Go on at another speed, now and whenever the floor is taken again. Raises LinkError."""
        self._require()
        await self._line._change(baud, form)
        self._tuned = (baud, form)

    async def close(self) -> None:
        self._closed = True
        self.give()

    def _require(self) -> None:
        if not self._mine:
            raise RuntimeError("read or written without the floor")
