"""/dev/lastgasp: what the kernel module tells of the mains, as a `PowerLine`.

A read returns whole events of 32 bytes in the machine's byte order: version, kind, sequence, CLOCK_BOOTTIME and
CLOCK_REALTIME of the line's edge (ns), hold-up time left and time to the forced shutdown at that edge (ms). Who opens
the device in an outage gets the failure again. Writing `done` says that user space has finished, `off` that the
device may be switched off at once.

Source: meta-grid-dcu/recipes-kernel/lastgasp/files/lastgasp.h.
"""

import asyncio
import errno
import os
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from struct import Struct

from dcu.collect.outage import PowerEvent
from dcu.errors import DecodeError

VERSION = 1
POWER_FAIL, POWER_RETURN = 1, 2
EVENT = Struct("=HHIQQII")
_RING = 16  # events that the module keeps
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Event:
    """As the module says it. deadline: seconds from `boottime` to the forced shutdown, 0 where it is not armed."""

    failing: bool
    sequence: int
    boottime: float
    at: datetime
    remaining: float
    deadline: float

    def notice(self, now: float) -> float | None:
        """Seconds left at the CLOCK_BOOTTIME `now`: to the forced end, else to the end of the capacitor."""
        span = self.deadline or self.remaining
        return max(0.0, self.boottime + span - now) if span else None


def decode(raw: bytes) -> list[Event]:
    """Read what one read() returned. Raises DecodeError: another version of the module."""
    if len(raw) % EVENT.size:
        raise DecodeError(f"last gasp: {len(raw)} bytes are no whole events of {EVENT.size}")
    found = []
    for version, kind, sequence, boot, real, remaining, deadline in EVENT.iter_unpack(raw):
        if version != VERSION or kind not in (POWER_FAIL, POWER_RETURN):
            raise DecodeError(f"last gasp: event {kind} of version {version}: kernel module and program do not fit")
        at = _EPOCH + timedelta(microseconds=real // 1000)
        found.append(Event(kind == POWER_FAIL, sequence, boot / 1e9, at, remaining / 1000, deadline / 1000))
    return found


class LastGaspLine:
    """The open device. `boottime` is CLOCK_BOOTTIME in seconds."""

    def __init__(self, handle: int, boottime: Callable[[], float]) -> None:
        self._handle = handle
        self._boottime = boottime
        self._events: deque[Event] = deque()

    async def event(self) -> PowerEvent:
        """Raises OSError when the device is gone, DecodeError."""
        while not self._events:
            try:
                raw = os.read(self._handle, _RING * EVENT.size)
            except BlockingIOError:
                await self._readable()
                continue
            if not raw:
                raise OSError(errno.ENODEV, "the last-gasp device is gone")
            self._events.extend(decode(raw))
        event = self._events.popleft()
        return PowerEvent(event.failing, event.at, event.notice(self._boottime()) if event.failing else None)

    def done(self) -> None:
        os.write(self._handle, b"done")

    def off(self) -> None:
        os.write(self._handle, b"off")

    def close(self) -> None:
        os.close(self._handle)

    async def _readable(self) -> None:
        loop = asyncio.get_running_loop()
        there = asyncio.Event()
        loop.add_reader(self._handle, there.set)
        try:
            await there.wait()
        finally:
            loop.remove_reader(self._handle)


def boottime() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def open_line(path: Path) -> LastGaspLine:
    """Raises OSError."""
    return LastGaspLine(os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC), boottime)
