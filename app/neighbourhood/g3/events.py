"""The clock of the simulated line: a heap of what will happen, run in the order of its time.

Two events of the same instant happen in the order in which they were asked for, so a seed gives one street only.
"""

from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from typing import Any


class Timer:
    """What will be called; one that was cancelled stays in the heap until its time has come."""

    __slots__ = ("args", "call")

    def __init__(self, call: Callable[..., object], args: tuple[Any, ...]) -> None:
        self.call: Callable[..., object] | None = call
        self.args = args


class Scheduler:
    """`now`: seconds since the simulation began. Never goes back."""

    __slots__ = ("_heap", "_order", "happened", "now")

    def __init__(self) -> None:
        self.now = 0.0
        self.happened = 0
        self._heap: list[tuple[float, int, Timer]] = []
        self._order = count()

    def at(self, when: float, call: Callable[..., object], *args: Any) -> Timer:
        """Call at `when`; what is asked for in the past happens now."""
        timer = Timer(call, args)
        heappush(self._heap, (when if when > self.now else self.now, next(self._order), timer))
        return timer

    def after(self, delay: float, call: Callable[..., object], *args: Any) -> Timer:
        return self.at(self.now + delay, call, *args)

    def cancel(self, timer: Timer | None) -> None:
        """Harmless for a timer that ran, was cancelled, or is None."""
        if timer is not None:
            timer.call = None

    def next(self) -> float | None:
        """When the next event happens; None: never."""
        heap = self._heap
        while heap and heap[0][2].call is None:
            heappop(heap)
        return heap[0][0] if heap else None

    def run_until(self, until: float) -> None:
        """Run what happens up to and including `until`; `now` is `until` then."""
        heap = self._heap
        happened = 0
        while heap and heap[0][0] <= until:
            when, _, timer = heappop(heap)
            call = timer.call
            if call is not None:
                timer.call = None
                self.now = when
                happened += 1
                call(*timer.args)
        self.happened += happened
        if until > self.now:
            self.now = until

    def run_while(self, wanted: Callable[[], bool], until: float) -> bool:
        """Run event by event while `wanted()`, at most to `until`. Returns whether it ended because of `wanted`."""
        while wanted():
            following = self.next()
            if following is None or following > until:
                self.now = max(self.now, until)
                return False
            self.run_until(following)
        return True
