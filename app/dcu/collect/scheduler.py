"""Jobs: what the collector does with its meters, by priority, with deadlines, retries and cancellation.

A job works through `Meter.run`, so the media decide exchange by exchange who goes first; the scheduler only bounds how
many scheduled and backfill jobs are under way on a medium at once (urgent ones start at once). A job that failed by the
line waits its back-off outside of that bound: dead meters do not keep live ones waiting.
"""

import asyncio
import heapq
import logging
from collections import OrderedDict, defaultdict, deque
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import count
from typing import Any

from dcu.collect.medium import Medium
from dcu.collect.meter import Meter
from dcu.collect.retry import ONCE, Backoff
from dcu.collect.services import Services
from dcu.collect.standing import Outranked
from dcu.errors import DcuError, JobCancelled, JobError, JobExpired, LinkError, MalformedAnswer
from dcu.model import Priority

QUEUE_LIMIT = 20_000  # jobs that have not ended: a thousand meters with a backlog of several profiles each
_SHARE = {Priority.BACKFILL: 0.9, Priority.SCHEDULED: 0.95}  # of it; the rest is for what is more urgent
FOLLOWED_UP = 20.0  # seconds that a command under way has when the collector stops
ENDED_KEPT = 200  # for `dcu` to look at

log = logging.getLogger(__name__)


class JobState(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    WAITING = "waiting"  # for its next attempt
    DONE = "done"
    FAILED = "failed"


Work = Callable[["Job"], Awaitable[Any]]


@dataclass(slots=True, eq=False)
class Job:
    """One job. `result` ends with what the work returned or raised."""

    id: int
    kind: str
    meter: Meter
    priority: Priority
    result: asyncio.Future[Any] = field(repr=False)
    _work: Work = field(repr=False)
    _retry: Backoff = field(default=ONCE, repr=False)
    _key: Hashable = None
    state: JobState = JobState.QUEUED
    progress: float = 0.0
    message: str = ""
    attempts: int = 0
    paced: bool = False  # whoever submits it sees to it that there are not too many
    committed: bool = False  # its request is on the line and must be followed up: no deadline, no cancellation
    _task: asyncio.Task[None] | None = field(default=None, repr=False)
    _timer: asyncio.TimerHandle | None = field(default=None, repr=False)
    _wake: asyncio.TimerHandle | None = field(default=None, repr=False)
    _ending: JobError | None = field(default=None, repr=False)

    @property
    def ended(self) -> bool:
        return self.state in (JobState.DONE, JobState.FAILED)

    @property
    def bounded(self) -> bool:
        """Whether it counts against what may be under way on its medium."""
        return self.priority >= Priority.SCHEDULED and not self.paced

    def view(self) -> "JobView":
        return JobView(
            self.id, self.kind, self.meter.name, self.priority.name.lower(), self.state, self.progress, self.message
        )


@dataclass(frozen=True, slots=True)
class JobView:
    """What is told of a job."""

    id: int
    kind: str
    meter: str
    priority: str
    state: str
    progress: float
    message: str


class Scheduler:
    """Runs jobs; `batch` bounds the scheduled and backfill jobs under way per slot of a medium."""

    def __init__(self, services: Services, *, batch: int = 2) -> None:
        self._services = services
        self._batch = batch
        self._ids = count(1)
        self._jobs: OrderedDict[int, Job] = OrderedDict()
        self._ended: deque[JobView] = deque(maxlen=ENDED_KEPT)
        self._keys: dict[Hashable, Job] = {}
        self._queues: dict[Medium, list[tuple[Priority, int, Job]]] = {}
        self._running: defaultdict[Medium, int] = defaultdict(int)
        self._closing = self._held = False
        self.attempts = 0  # begun
        self.done = 0
        self.failed = 0

    def submit(
        self,
        kind: str,
        meter: Meter,
        priority: Priority,
        work: Work,
        *,
        deadline: float | None = None,
        retry: Backoff = ONCE,
        key: Hashable = None,
        paced: bool = False,
    ) -> Job:
        """Queue a job. deadline: seconds from now. key: a job of the same key that has not ended is returned instead.

        paced: it does not count against what may be under way on its medium.

        Raises JobError when the queue is full.
        """
        if self._closing:
            raise JobCancelled("the collector is stopping")
        if key is not None and (twin := self._keys.get(key)):
            return twin
        if len(self._jobs) >= QUEUE_LIMIT * _SHARE.get(priority, 1.0):
            raise JobError(f"{len(self._jobs)} jobs are waiting: the media carry less than is asked of them")
        loop = asyncio.get_running_loop()
        job = Job(next(self._ids), kind, meter, priority, loop.create_future(), work, retry, key, paced=paced)
        job.result.add_done_callback(_heard_of)
        self._jobs[job.id] = job
        if key is not None:
            self._keys[key] = job
        if deadline is not None:
            job._timer = loop.call_later(deadline, self._expire, job, deadline)
        self._queue(job)
        return job

    async def run(self, kind: str, meter: Meter, priority: Priority, work: Work, **options: Any) -> Any:
        """Submit a job and wait for it; who stops waiting withdraws it."""
        job = self.submit(kind, meter, priority, work, **options)
        try:
            return await asyncio.shield(job.result)
        except asyncio.CancelledError:
            self._withdraw(job, JobCancelled(f"{kind} of {meter.name}: nobody waits for it any more"))
            raise

    def jobs(self, *, ended: bool = False) -> list[JobView]:
        return [*(job.view() for job in self._jobs.values()), *(self._ended if ended else ())]

    def has(self, key: Hashable) -> bool:
        """Whether a job of this key has not ended."""
        return key in self._keys

    def number(self, state: JobState) -> int:
        return sum(job.state is state for job in self._jobs.values())

    def hurry(self, meter: Meter) -> None:
        """The meter can be reached now: what waits to try it again need not wait any longer."""
        for job in list(self._jobs.values()):
            if job.meter is meter and job.state is JobState.WAITING and job._wake:
                job._wake.cancel()
                self._queue(job)

    def cancel(self, number: int) -> None:
        """Raises JobError when there is no such job, or when it can no longer be withdrawn."""
        job = self._jobs.get(number)
        if job is None:
            raise JobError(f"no job {number} is queued or running")
        if job.committed:
            raise JobError(f"job {number}: its command is on the line, its effect is being read back")
        self._withdraw(job, JobCancelled(f"{job.kind} of {job.meter.name} was cancelled"))

    def hold(self) -> None:
        """Begin no job; those under way stop before their next exchange, where the media are held too."""
        self._held = True

    def release(self) -> None:
        """Go on with what was held."""
        self._held = False
        for medium in self._queues:
            self._admit(medium)

    async def close(self, within: float = FOLLOWED_UP) -> None:
        """Cancel every job; those that must be followed up are waited for, as long as time is left."""
        self._closing = True
        for job in list(self._jobs.values()):
            self._withdraw(job, JobCancelled("the collector is stopping"))
        if self._jobs:
            await asyncio.wait([job.result for job in self._jobs.values()], timeout=within)
        for job in list(self._jobs.values()):
            text = f"{job.kind} of {job.meter.name}: the collector is stopping; whether it took effect is unknown"
            self._withdraw(job, JobCancelled(text), committed=True)
        await asyncio.gather(*(job.result for job in self._jobs.values()), return_exceptions=True)

    # --- a job's way

    def _queue(self, job: Job) -> None:
        job.state = JobState.QUEUED
        job._wake = None
        medium = job.meter.lane.medium
        heapq.heappush(self._queues.setdefault(medium, []), (job.priority, job.id, job))
        self._admit(medium)

    def _admit(self, medium: Medium) -> None:
        queue = self._queues[medium]
        limit = medium.concurrency * self._batch
        while queue and not self._held:
            job = queue[0][2]
            if job.ended:
                heapq.heappop(queue)
                continue
            if job.bounded:
                if self._running[medium] >= limit:
                    return
                self._running[medium] += 1
            heapq.heappop(queue)
            job._task = asyncio.get_running_loop().create_task(self._attempt(job))
            job._task.add_done_callback(lambda _, job=job: self._leave(job, medium))  # type: ignore[misc]

    async def _attempt(self, job: Job) -> None:
        job.state = JobState.RUNNING
        job.attempts += 1
        self.attempts += 1
        try:
            with job.meter.engaged():
                result = await job._work(job)
            await job.meter.answered(None)
            self._end(job, result)
        except LinkError as error:
            self._fail(job, error)
        except DcuError as error:
            if isinstance(error, MalformedAnswer):
                await job.meter.answered(error)
            self._end(job, error)
        except Outranked:
            self._end(job, JobError(f"{job.kind} of {job.meter.name} gave way to something more urgent"))
        except Exception as error:  # a bug of ours must not take the collector with it
            log.exception("job %d, %s of %s", job.id, job.kind, job.meter.name)
            self._end(job, JobError(f"{job.kind} of {job.meter.name}: internal error ({type(error).__name__})"))

    def _leave(self, job: Job, medium: Medium) -> None:
        """The task is over, perhaps before it began."""
        job._task = None
        self._running[medium] -= job.bounded
        if job._ending or job.state is not JobState.WAITING:  # it may be withdrawn just after it failed
            self._end(job, job._ending or JobCancelled(f"{job.kind} of {job.meter.name} was cancelled"))
        self._admit(medium)

    def _fail(self, job: Job, error: LinkError) -> None:
        delay = job._retry.delay(job.attempts, self._services.random)
        if delay is None or job._ending or self._closing:
            self._end(job, job._ending or error)
            return
        job.state = JobState.WAITING
        job.message = f"{error}; attempt {job.attempts + 1} of {job._retry.attempts} in {delay:.0f} s"
        job._wake = asyncio.get_running_loop().call_later(delay, self._queue, job)

    def _end(self, job: Job, outcome: Any) -> None:
        if job.ended:
            return
        for timer in (job._timer, job._wake):
            if timer:
                timer.cancel()
        self._jobs.pop(job.id, None)
        if job._key is not None:
            self._keys.pop(job._key, None)
        if isinstance(outcome, DcuError):
            self.failed += 1
            job.state, job.message = JobState.FAILED, str(outcome)
            job.result.set_exception(outcome)
            log.warning("job %d, %s of %s: %s", job.id, job.kind, job.meter.name, outcome)
        else:
            self.done += 1
            job.state, job.progress = JobState.DONE, 1.0
            job.result.set_result(outcome)
        self._ended.append(job.view())
        self._services.events.tell(
            "job", id=job.id, kind=job.kind, meter=job.meter.name, state=str(job.state), message=job.message
        )

    def _expire(self, job: Job, deadline: float) -> None:
        self._withdraw(job, JobExpired(f"{job.kind} of {job.meter.name} did not end within {deadline:g} s"))

    def _withdraw(self, job: Job, why: JobError, *, committed: bool = False) -> None:
        if job.ended or (job.committed and not committed):
            return
        job._ending = why
        if job._task:
            job._task.cancel()
        else:
            self._end(job, why)


def _heard_of(result: asyncio.Future[Any]) -> None:
    """Nobody needs to ask for a job's error: it was logged."""
    if not result.cancelled():
        result.exception()
