"""The collector's vital signs: which of its subsystems make progress, for systemd's watchdog and the health check.

The event loop and the store's writer thread are asked every second by tasks of their own; the scheduler is watched: as
long as jobs are queued or running, attempts begin and end and exchanges take place. Idle it is alive, so what gives it
jobs, the schedule, is watched too: each of its entries. Whoever adds a subsystem adds its sign to `liveness` (the
uplink does so when it is wired).
"""

import asyncio
import logging
from collections.abc import Hashable, Iterable

from dcu.clock import monotonic
from dcu.collect.medium import Medium
from dcu.collect.polling import Polling
from dcu.collect.scheduler import JobState, Scheduler
from dcu.errors import StoreError
from dcu.platform import service
from dcu.platform.watchdog import Feeder, Liveness, Progress
from dcu.store.store import Store

EVERY = 1.0  # seconds between two signs
LOOP_WITHIN = 15.0  # seconds: decoding a month of profiles takes less than one
STORE_WITHIN = 30.0  # seconds: a bulk commit on a worn card, and the one before it
SCHEDULE_WITHIN = 120.0  # seconds: four naps
SCHEDULER_WITHIN = 600.0  # seconds: every wait of a job has a timeout; the longest is a medium's for air
_AIR = 2.0  # times the longest wait for air

log = logging.getLogger(__name__)


class Vitals:
    """What keeps the watchdog fed. `air`: the longest that a medium makes an exchange wait for air, in seconds."""

    def __init__(
        self, store: Store, polling: Polling, scheduler: Scheduler, media: Iterable[Medium], *, air: float = 0.0
    ) -> None:
        self.liveness = Liveness(monotonic)
        self._store = store
        self._loop_beat = self.liveness.beating("event loop", LOOP_WITHIN)
        self._store_beat = self.liveness.beating("store writer", STORE_WITHIN)
        self.liveness.watched("schedule", SCHEDULE_WITHIN, lambda: polling.turns, lambda: polling.running)
        media = tuple(media)

        def marker() -> Hashable:
            return scheduler.attempts, scheduler.done, scheduler.failed, *(medium.exchanges for medium in media)

        def busy() -> bool:
            return bool(scheduler.number(JobState.RUNNING) or scheduler.number(JobState.QUEUED))

        self.liveness.watched("scheduler", max(SCHEDULER_WITHIN, _AIR * air), marker, busy)

    def look(self) -> tuple[Progress, ...]:
        return self.liveness.look()

    async def keep(self) -> None:
        """Give the signs of life that are given by asking, for as long as the collector runs."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._turn())
            group.create_task(self._ask_store())

    async def feed(self, every: float) -> None:
        """Feed systemd's watchdog, which waits `every` seconds, for as long as everything is alive."""
        feeder = Feeder(self.liveness, service.notify, lambda what: log.error("%s", what))
        while True:
            feeder.feed()
            await asyncio.sleep(every / 3)

    async def _turn(self) -> None:
        while True:
            self._loop_beat()
            await asyncio.sleep(EVERY)

    async def _ask_store(self) -> None:
        """Whatever the writer thread answers, it turns: a full disk is no reason to start anew."""
        while True:
            try:
                await self._store.status()
            except StoreError as error:
                log.debug("store: %s", error)
            self._store_beat()
            await asyncio.sleep(EVERY)
