"""Liveness: systemd's watchdog is fed only while every subsystem of the collector makes progress.

A process that still answers may have lost its store writer, its scheduler or its head-end; only a subsystem itself
knows. Each says so in one of two ways: it *beats* by itself, or it is *watched*: a marker that changes with each step,
and whether there is anything to do. One that is idle is alive. When one is overdue, nothing is fed, and systemd ends
and restarts the process (`WatchdogSec=`); if that does not help, the hardware watchdog resets the device.

Source: sd_notify(3), WATCHDOG=1; systemd.service(5), WatchdogSec=.
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """Of one subsystem. quiet: seconds since it last moved or was idle; within: how many are allowed."""

    name: str
    alive: bool
    quiet: float
    within: float


class Liveness:
    """The subsystems of a process. `now` is a monotonic clock in seconds."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._watches: dict[str, _Watch] = {}

    def beating(self, name: str, within: float) -> Callable[[], None]:
        """Expect the returned function to be called at least every `within` seconds."""
        watch = self._add(name, within)

        def beat() -> None:
            watch.moved = self._now()

        return beat

    def watched(
        self, name: str, within: float, marker: Callable[[], Hashable], busy: Callable[[], bool] = lambda: True
    ) -> None:
        """Expect `marker()` to change within `within` seconds while `busy()`. Both are called at each look, and cheap.

        How long a step may take is bounded by the subsystem's own timeouts: `within` lies above the longest of them.
        """
        self._add(name, within, marker, busy)

    def forget(self, name: str) -> None:
        """The subsystem has ended, on purpose."""
        self._watches.pop(name, None)

    def look(self) -> tuple[Progress, ...]:
        """How every subsystem fares now."""
        now = self._now()
        return tuple(watch.look(now) for watch in self._watches.values())

    def _add(
        self,
        name: str,
        within: float,
        marker: Callable[[], Hashable] | None = None,
        busy: Callable[[], bool] | None = None,
    ) -> "_Watch":
        if name in self._watches or within <= 0:
            raise ValueError(f"subsystem {name!r}: a name of its own, and more than 0 seconds")
        watch = _Watch(name, within, self._now(), marker, busy)
        self._watches[name] = watch
        return watch


@dataclass(slots=True)
class _Watch:
    name: str
    within: float
    moved: float
    marker: Callable[[], Hashable] | None
    busy: Callable[[], bool] | None
    _seen: Hashable = None

    def look(self, now: float) -> Progress:
        if self.marker is not None and self.busy is not None:
            seen = self.marker()
            if seen != self._seen or not self.busy():
                self._seen, self.moved = seen, now
        quiet = max(0.0, now - self.moved)
        return Progress(self.name, quiet <= self.within, quiet, self.within)


class Feeder:
    """Feeds the watchdog from looks at the liveness; `notify` is sd_notify, `complain` hears of each change."""

    def __init__(self, liveness: Liveness, notify: Callable[[str], None], complain: Callable[[str], None]) -> None:
        self._liveness = liveness
        self._notify = notify
        self._complain = complain
        self._stuck: tuple[str, ...] = ()

    def feed(self) -> bool:
        """Feed, if everything is alive; return whether it was. Call it at least twice in each WatchdogSec."""
        overdue = [progress for progress in self._liveness.look() if not progress.alive]
        stuck = tuple(progress.name for progress in overdue)
        if stuck != self._stuck:
            for progress in overdue:
                self._complain(f"{progress.name}: no progress for {progress.quiet:.0f} s: the watchdog is not fed")
            self._notify(f"STATUS=stuck: {', '.join(stuck)}" if stuck else "STATUS=")
            self._stuck = stuck
        if not stuck:
            self._notify("WATCHDOG=1")
        return not stuck
