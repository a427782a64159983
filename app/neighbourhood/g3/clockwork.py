"""Two clocks as one: the simulated line's scheduler and the event loop that carries the collector.

Under virtual time the loop never sleeps: when nothing is ready, the line's events run up to the loop's next timer, or
until one of them wakes something, and the loop's time follows them. In real time the loop wakes the line at its next
event, `factor` times as fast as the wall clock. Either way a call into the simulation goes through `enter`, which
brings it to the loop's time first.

Threads are waited for in real time: virtual time stands still while one works.
"""

import asyncio
import selectors
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from neighbourhood.g3.events import Scheduler

T = TypeVar("T")
_SHORT = 0.0005  # seconds of real time between two looks at a thread
_PATIENCE = 1.0  # seconds of real time, where nothing is due
_LOOK = 0.25  # seconds of real time, at most, between two looks at the wall clock
_BEHIND = 0.25  # seconds of real time by which the simulation may lag before it is simply slower
_NEVER = float("inf")
STEPS = 10_000


class VirtualLoop(asyncio.SelectorEventLoop):
    """`scheduler` None: timers alone move the time."""

    def __init__(self, scheduler: Scheduler | None = None) -> None:
        self.scheduler = scheduler
        self.now = 0.0
        self.away = 0  # calls that threads work on
        super().__init__(self._selecting())

    def _selecting(self) -> selectors.BaseSelector:
        return _Selector(self)

    def time(self) -> float:
        return self.now

    def enter(self, call: Callable[..., object], *args: Any) -> None:
        if self.scheduler is not None:
            self.scheduler.run_until(self.now)
        call(*args)

    def run_in_executor(self, executor: Any, func: Callable[..., T], *args: Any) -> "asyncio.Future[T]":  # type: ignore[override]
        self.away += 1
        future = super().run_in_executor(executor, func, *args)
        future.add_done_callback(self._back)
        return future

    def _back(self, _: object) -> None:
        self.away -= 1

    def leap(self, timeout: float | None) -> bool:
        """Nothing is ready: go on to what happens next, at most `timeout` seconds from now; False: nothing does."""
        ready: Any = self._ready  # type: ignore[attr-defined]
        scheduler, limit = self.scheduler, float("inf") if timeout is None else self.now + timeout
        if scheduler is not None:
            while not ready:
                following = scheduler.next()
                if following is None or following > limit:
                    break
                self.now = max(self.now, following)
                scheduler.run_until(following)
            if ready:
                return True
        if timeout is None:
            return False
        self.now = max(self.now, limit)
        return True


class _Selector(selectors.SelectSelector):
    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        loop = self._loop
        if timeout is not None and timeout <= 0:
            return super().select(0) if loop.away else []
        if loop.away:
            return super().select(_SHORT)
        if not loop.leap(timeout):  # perhaps a thread of the loop's own still works
            if not (found := super().select(_PATIENCE)):
                raise RuntimeError("nothing will ever happen any more: everybody waits for somebody else")
            return found
        return []


def run(main: Callable[[VirtualLoop], Coroutine[Any, Any, T]], scheduler: Scheduler | None = None) -> T:
    """Run to its end under virtual time, in a loop of its own."""
    loop = VirtualLoop(scheduler)
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(main(loop))


class PacedLoop(VirtualLoop):
    """One clock for line and collector that runs `factor` times as fast as the wall clock, and may stand still.

    Whatever waits in this loop waits in simulated seconds, the collector's time limits too: so a street may be slowed
    down, and nobody runs out of patience. A machine that cannot keep up makes it slower, and no event is left out.
    """

    scheduler: Scheduler

    def __init__(self, scheduler: Scheduler, factor: float = 1.0) -> None:
        self.factor = factor
        self._since = time.monotonic(), 0.0
        super().__init__(scheduler)

    def _selecting(self) -> selectors.BaseSelector:
        return _PacedSelector(self)

    def pace(self, factor: float) -> None:
        """0: stand still. Call it in the loop."""
        self._since, self.factor = (time.monotonic(), self.now), factor

    def step(self, done: Callable[[], bool], most: int = STEPS) -> None:
        """While it stands still: events until `done`, at most so many."""
        for _ in range(most):
            following = self.scheduler.next()
            if done() or following is None:
                break
            self.now = max(self.now, following)
            self.scheduler.run_until(following)

    def until(self, timeout: float | None) -> float:
        """Nothing is ready: go on to what is due by now; return the wall clock's seconds until the next is.

        One event at a time, and never past a timer: whoever was woken has his turn before his time limit has passed.
        """
        ready: Any = self._ready  # type: ignore[attr-defined]
        limit, target = _NEVER if timeout is None else self.now + timeout, self._target()
        while not ready:
            following = self.scheduler.next()
            due = limit if following is None else min(limit, following)
            if due > target:
                self.now = max(self.now, target)
                return min(_LOOK, (due - target) / self.factor) if self.factor else _LOOK
            self.now = max(self.now, due)
            self.scheduler.run_until(self.now)
            if due >= limit:
                break
        return 0.0

    def _target(self) -> float:
        """Where the simulation's clock should stand; a machine that cannot keep up is not chased."""
        wall, (then, simulated) = time.monotonic(), self._since
        target = simulated + (wall - then) * self.factor
        if target - self.now > _BEHIND * self.factor:
            target = self.now + _BEHIND * self.factor
            self._since = wall, target
        return target


class _PacedSelector(selectors.DefaultSelector):
    def __init__(self, loop: PacedLoop) -> None:
        super().__init__()
        self._paced = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        return super().select(0 if timeout is not None and timeout <= 0 else self._paced.until(timeout))


class RealTime:
    """Keeps a scheduler in step with the running loop. `factor`: times the wall clock, above 0."""

    def __init__(self, scheduler: Scheduler, factor: float = 1.0) -> None:
        self.scheduler = scheduler
        self._loop = asyncio.get_running_loop()
        self._factor = factor
        self._since = self._loop.time(), scheduler.now
        self._timer: asyncio.TimerHandle | None = None
        self._arm()

    def now(self) -> float:
        """What the simulation's clock should say."""
        real, simulated = self._since
        return simulated + (self._loop.time() - real) * self._factor

    def enter(self, call: Callable[..., object], *args: Any) -> None:
        self.scheduler.run_until(self.now())
        call(*args)
        self._arm()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        self.close()
        following = self.scheduler.next()
        if following is not None:
            wait = max(0.0, following - self.now()) / self._factor
            self._timer = self._loop.call_later(wait, self._wake)

    def _wake(self) -> None:
        self.scheduler.run_until(self.now())
        self._arm()
