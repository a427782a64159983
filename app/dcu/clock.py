"""Time is injected: the wall clock through `Clock`, waiting through the event loop's own time.

`LoopClock` derives the wall clock from the running loop, so that a loop on virtual time carries both.
"""

import asyncio
import ctypes
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

STA_UNSYNC = 0x0040  # <linux/timex.h>: the kernel's clock is not disciplined
_TIMEX_SIZE = 208  # sizeof(struct timex) on 64-bit Linux; `status` stands at byte 40
_STATUS_AT = 40


class Clock(Protocol):
    def now(self) -> datetime:
        """The wall clock, aware, in UTC."""
        ...

    @property
    def trusted(self) -> bool:
        """Whether this clock may set a meter's (design decision 8)."""
        ...


class SystemClock:
    """The machine's clock; trusted while the kernel says that NTP disciplines it."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    @property
    def trusted(self) -> bool:
        return kernel_synchronised()


class LoopClock:
    """A wall clock that starts at `epoch` and runs with the event loop's time, real or virtual."""

    def __init__(self, epoch: datetime, *, trusted: bool = True) -> None:
        self._start = epoch.astimezone(UTC)
        self._loop = asyncio.get_running_loop()
        self._zero = self._loop.time()
        self._trusted = trusted

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self._loop.time() - self._zero)

    @property
    def trusted(self) -> bool:
        return self._trusted


def kernel_synchronised() -> bool:
    """Whether adjtimex(2) reports a disciplined clock; False where it cannot be asked."""
    buffer = ctypes.create_string_buffer(_TIMEX_SIZE)
    try:
        if ctypes.CDLL(None, use_errno=True).adjtimex(buffer) < 0:
            return False
    except (OSError, AttributeError):
        return False
    return not int.from_bytes(buffer.raw[_STATUS_AT : _STATUS_AT + 4], "little") & STA_UNSYNC


def epoch_seconds(moment: datetime) -> int:
    """Whole UTC seconds since 1970 of an aware datetime."""
    return int(moment.timestamp() // 1)


def monotonic() -> float:
    return time.monotonic()
