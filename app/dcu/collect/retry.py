"""Retries: exponential back-off with jitter, drawn from an injected generator so that a failing run can be run again.

The jitter spreads the retries of meters that failed together (a router's reboot) over the second half of each delay.
"""

from dataclasses import dataclass
from random import Random


@dataclass(frozen=True, slots=True)
class Backoff:
    """attempts: how often in all; the n-th retry waits first × factor^n seconds, at most `longest`, less the jitter."""

    attempts: int = 3
    first: float = 5.0
    factor: float = 3.0
    longest: float = 300.0

    def delay(self, failed: int, random: Random) -> float | None:
        """Seconds to wait after `failed` attempts, or None when that was the last."""
        if failed >= self.attempts:
            return None
        whole = min(self.longest, self.first * self.factor ** (failed - 1))
        return whole * (1 + random.random()) / 2


ONCE = Backoff(attempts=1)
