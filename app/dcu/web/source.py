"""What the page is fed by, and the fan-out of its events to everybody who looks.

An event is one line of JSON; the page's contract (docs/web.md) says which there are. Whoever joins gets the opening
lines first, which bring it up to date, and then each event as it happens. Nobody can slow the source down: who does not
read fast enough loses events, is told how many, and is brought up to date anew.
"""

import asyncio
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

WAITING = 4 << 20  # bytes that wait for one who looks: half a minute of a busy street
BATCH = 256 << 10  # bytes in one message, about


class Source(Protocol):
    """Where events come from, and where commands go."""

    @property
    def hub(self) -> "Hub": ...

    @property
    def can(self) -> tuple[str, ...]:
        """The commands that it takes: what stands in `do`."""
        ...

    def opening(self) -> Iterable[bytes]:
        """Lines that tell a newcomer what there is."""
        ...

    async def command(self, wanted: Mapping[str, Any], actor: str) -> dict[str, Any]:
        """Do what was clicked; return what there is to say of it. Raises DcuError."""
        ...

    async def layers(self, frame: int) -> list[Any] | None:
        """The frame of that number layer by layer; None where it is not known any more."""
        ...


class Hub:
    """Hands each event to everybody who looks."""

    def __init__(self, waiting: int = WAITING) -> None:
        self._waiting = waiting
        self._viewers: set[Viewer] = set()

    def __len__(self) -> int:
        return len(self._viewers)

    def join(self) -> "Viewer":
        viewer = Viewer(self._waiting)
        self._viewers.add(viewer)
        return viewer

    def leave(self, viewer: "Viewer") -> None:
        self._viewers.discard(viewer)

    def tell(self, line: bytes) -> None:
        """line: one event, without a newline."""
        for viewer in self._viewers:
            viewer.hear(line)


class Viewer:
    """What waits for one who looks."""

    def __init__(self, limit: int) -> None:
        self.lost = 0  # events since the last `fresh`
        self._limit = limit
        self._lines: deque[bytes] = deque()
        self._size = 0
        self._heard = asyncio.Event()

    def hear(self, line: bytes) -> None:
        if self.lost or self._size + len(line) > self._limit:
            self.lost += 1  # and all that follows, until it starts anew: a stream with holes shows what never was
        else:
            self._lines.append(line)
            self._size += len(line)
        self._heard.set()

    def begin(self, opening: Iterable[bytes]) -> None:
        """Forget what waits, and start with these lines instead."""
        self._lines = deque(opening)
        self._size = sum(map(len, self._lines))
        self.lost = 0
        self._heard.set()

    async def batch(self) -> bytes:
        """The next lines, one or more, as soon as there are any; b"" where events were lost: it has to begin anew."""
        while not self._lines:
            if self.lost:
                return b""
            self._heard.clear()
            await self._heard.wait()
        taken, size = [], 0
        while self._lines and size < BATCH:
            taken.append(self._lines.popleft())
            size += len(taken[-1])
        self._size -= size
        return b"\n".join(taken)
