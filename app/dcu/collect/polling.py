"""The schedule: when which profile of which meters is polled, when clocks are compared, what progress that makes.

One small task per entry of a meter family sleeps until the entry is due by the wall clock and puts a job per meter into
the scheduler; the media do the rest. A job that is still there from the last time is not doubled.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from dcu.collect.fleet import Fleet
from dcu.collect.jobs import clock
from dcu.collect.jobs.poll import Poller
from dcu.collect.meter import Meter
from dcu.collect.meter_profile import MeterProfile, Poll
from dcu.collect.retry import Backoff
from dcu.collect.scheduler import Job, Scheduler
from dcu.collect.services import Services
from dcu.collect.standing import State
from dcu.errors import JobError
from dcu.model import Priority

NAP = 30.0  # seconds: the longest sleep, so that a wall clock which leaps is noticed
TELL_EVERY = 0.25  # seconds between two progress events

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Progress:
    """Of the round of scheduled polls that is under way: rows by meters whose layout is known, and meters."""

    meters: int = 0
    ended: int = 0
    expected: int = 0
    collected: int = 0

    @property
    def complete(self) -> bool:
        return self.meters > 0 and self.ended == self.meters


class Polling:
    """Keeps the schedule of a fleet."""

    def __init__(self, services: Services, fleet: Fleet, scheduler: Scheduler, *, retry: Backoff) -> None:
        self._services = services
        self._fleet = fleet
        self._scheduler = scheduler
        self._retry = retry
        self._tasks: list[asyncio.Task[None]] = []
        self._turns: Counter[asyncio.Task[Any] | None] = Counter()  # of each task
        self._telling: asyncio.TimerHandle | None = None
        self.progress = Progress()
        self.poller = Poller(services, self._advance)

    def start(self) -> None:
        """Poll everything now, and from now on when it is due."""
        for family in self._fleet.families:
            for poll in family.poll:
                self._tasks.append(asyncio.create_task(self._keep_polling(family, poll)))
            if family.clock.adjust != "never":
                self._tasks.append(asyncio.create_task(self._keep_clocks(family)))

    @property
    def turns(self) -> int:
        """How often the laziest entry of the schedule has looked whether it is due: at least every `NAP` seconds."""
        return min((self._turns[task] for task in self._tasks), default=0)

    @property
    def running(self) -> bool:
        return bool(self._tasks)

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        self._turns.clear()
        if self._telling:
            self._telling.cancel()

    def poll_now(self, meters: Iterable[Meter]) -> list[Job]:
        """Queue the scheduled polls of `meters`; those in quarantine are left out."""
        return [
            job
            for meter in meters
            if meter.state is not State.QUARANTINED
            for poll in meter.profile.poll
            if (job := self._queue(meter, poll))
        ]

    # --- polls

    async def _keep_polling(self, family: MeterProfile, poll: Poll) -> None:
        while True:
            for meter in self._fleet.of(family):
                if meter.state is not State.QUARANTINED:
                    self._queue(meter, poll)
            await self._until_due(poll.every, poll.delay)

    def _queue(self, meter: Meter, poll: Poll) -> Job | None:
        async def work(job: Job) -> None:
            if await self.poller.scheduled(job, poll):
                self._heal(meter, poll)

        key = ("poll", meter.name, poll.profile)
        fresh = not self._scheduler.has(key)
        try:
            job = self._scheduler.submit("poll", meter, Priority.SCHEDULED, work, retry=self._retry, key=key)
        except JobError as error:
            log.warning("meter %s: not polled: %s", meter.name, error)
            return None
        if fresh:
            if self.progress.complete:
                self.progress = Progress()
            self.progress.meters += 1
            job.result.add_done_callback(lambda _: self._ended())
        return job

    def _heal(self, meter: Meter, poll: Poll) -> None:
        async def work(job: Job) -> None:
            await self.poller.backfill(job, poll)

        key = ("backfill", meter.name, poll.profile)
        try:
            self._scheduler.submit("backfill", meter, Priority.BACKFILL, work, retry=self._retry, key=key)
        except JobError as error:
            log.warning("meter %s: not healed: %s", meter.name, error)

    # --- clocks

    async def _keep_clocks(self, family: MeterProfile) -> None:
        while True:
            if self._services.clock.trusted:
                for meter in self._fleet.of(family):
                    if meter.state is not State.QUARANTINED:
                        self._queue_clock(meter)
            await self._until_due(family.clock.every, family.clock.every / 2)

    def _queue_clock(self, meter: Meter) -> None:
        async def work(job: Job) -> clock.ClockReport:
            return await clock.synchronise(self._services, job, "collector")

        try:
            self._scheduler.submit("clock", meter, Priority.SCHEDULED, work, key=("clock", meter.name))
        except JobError as error:
            log.warning("meter %s: clock not compared: %s", meter.name, error)

    # --- progress

    def _advance(self, meter: Meter, expected: int, collected: int) -> None:
        self.progress.expected += expected
        self.progress.collected += collected
        self._tell_soon()

    def _ended(self) -> None:
        self.progress.ended += 1
        self._tell_soon()

    def _tell_soon(self) -> None:
        if self._telling is None:
            self._telling = asyncio.get_running_loop().call_later(TELL_EVERY, self._tell)

    def _tell(self) -> None:
        self._telling = None
        now = self.progress
        self._services.events.tell(
            "progress",
            meters=now.meters,
            ended=now.ended,
            expected=now.expected,
            collected=now.collected,
            complete=now.complete,
        )

    async def _until_due(self, every: float, delay: float) -> None:
        """Sleep until the wall clock's next multiple of `every`, plus `delay`."""
        now = self._services.clock.now().timestamp()
        due = (now - delay) // every * every + every + delay
        while (left := due - self._services.clock.now().timestamp()) > 0:
            if left > every:  # the clock was set back
                return
            self._turns[asyncio.current_task()] += 1
            await asyncio.sleep(min(left, NAP))
