"""Whether the wall clock was stepped: between two looks it must have run as far as the loop's monotonic clock did.

Who learns from the wall clock what a meter has, or how far a meter's clock is off, asks here before it believes it.
"""

import asyncio

from dcu.clock import Clock

TOLERANCE = 60.0  # seconds: NTP slews by 43 a day at most; what is learnt of a meter counts in capture periods


def lead(clock: Clock) -> float:
    """By how many seconds the wall clock is ahead of the loop's: the same always, but for steps and slewing."""
    return clock.now().timestamp() - asyncio.get_running_loop().time()


class Steps:
    """Tells of steps of one clock."""

    def __init__(self, clock: Clock, tolerance: float = TOLERANCE) -> None:
        self._clock = clock
        self._tolerance = tolerance
        self._lead: float | None = None

    def stepped(self) -> bool:
        """Whether the clock was stepped since the last call."""
        now, before = lead(self._clock), self._lead
        self._lead = now
        return before is not None and abs(now - before) > self._tolerance
