"""Polling one load profile of one meter: the store says what is missing, the newest is read first.

What the schedule promises (the last day, say) is read at SCHEDULED priority, older gaps are healed at BACKFILL. Rows
that a meter does not have are left alone for a while (`absent`). A profile's layout is compared with the meter's once a
day, and when the rows do not look like it: a meter may be given another capture period at any time.
"""

import asyncio
import logging
from bisect import bisect_right
from collections.abc import Callable, Iterable
from contextlib import aclosing
from dataclasses import dataclass

from dcu.clock import epoch_seconds
from dcu.collect.jobs.absent import Absent, merged
from dcu.collect.jobs.discovery import layout_key, profile_layout, verified_layout
from dcu.collect.jobs.profile import ProfileReader, Range
from dcu.collect.layout import LayoutChanged, ProfileLayout
from dcu.collect.meter import Meter
from dcu.collect.meter_profile import Poll
from dcu.collect.scheduler import Job
from dcu.collect.services import Services
from dcu.collect.steps import Steps
from dcu.errors import JobError
from dcu.model import Obis, Priority, Reading

FRESH = 2  # periods: rows so young may still be captured, where the meter's clock is behind
log = logging.getLogger(__name__)

FRUITLESS = 16  # pieces of a poll that brought nothing new; the rest is for the next: no meter is asked without end
NEAR = 8  # rows: gaps closer to each other are read as one, which costs less than another exchange
VERIFIED_EVERY = 86400.0  # seconds: a layout is compared with the meter's, where its family says nothing else
DOUBTED_AFTER = 3600.0  # seconds: the same, where the rows do not look like it
LARGEST = 100_000  # rows that are asked for at once: three years of quarters of an hour


def missing(asked: Range, readings: Iterable[Reading], period: int) -> list[Range]:
    """The parts of a range that no reading fell into; a reading counts for the nearest multiple of the period."""
    have = {_slot(reading, period) for reading in readings}
    start = asked[0] + -asked[0] % period
    gaps: list[Range] = []
    for at in range(start, asked[1], period):
        if at in have:
            continue
        if gaps and gaps[-1][1] == at:
            gaps[-1] = (gaps[-1][0], at + period)
        else:
            gaps.append((at, at + period))
    return gaps


@dataclass(frozen=True, slots=True)
class Window:
    """What a poll is about: readings with start ≤ time < end, both multiples of the period."""

    start: int
    end: int
    period: int

    @classmethod
    def until(cls, now: int, poll: Poll, span: float, period: int) -> "Window":
        """The last `span` seconds, but for what the meter may not have captured yet."""
        end = (now - int(poll.delay)) // period * period + period
        return cls(end - max(period, int(span) // period * period), end, period)

    @property
    def rows(self) -> int:
        return (self.end - self.start) // self.period


class Poller:
    """Polls profiles: `scheduled` and `backfill` are the work of jobs. expected, collected: told of every window."""

    def __init__(self, services: Services, progress: Callable[[Meter, int, int], None]) -> None:
        self._services = services
        self._progress = progress
        self._steps = Steps(services.clock)
        self._verified: dict[Obis, dict[str, float]] = {}  # when a layout was last compared with the meter's
        self._doubted: set[tuple[str, Obis]] = set()
        self.absent = Absent()

    async def scheduled(self, job: Job, poll: Poll) -> bool:
        """Read what the last `poll.scheduled` seconds lack; return whether older gaps are left to heal."""
        meter, profile = job.meter, Obis.parse(poll.profile)
        layout = await self._fill(job, profile, lambda period: Window.until(self._now(), poll, poll.scheduled, period))
        older = Window.until(self._now(), poll, poll.history, layout.period)
        return bool(await self._gaps(meter, profile, older))

    async def backfill(self, job: Job, poll: Poll) -> None:
        """Heal what the last `poll.history` seconds lack."""
        profile = Obis.parse(poll.profile)
        await self._fill(job, profile, lambda period: Window.until(self._now(), poll, poll.history, period))

    async def fetch(self, job: Job, profile: Obis, start: int, end: int) -> None:
        """Read what is missing in a range that somebody asks for now, also what was asked for in vain."""

        def window(period: int) -> Window:
            asked = Window(start // period * period, end + -end % period, period)
            if asked.rows > LARGEST:
                raise JobError(f"{asked.rows} rows of {profile} are expected there: ask for {LARGEST} at most")
            return asked

        await self._fill(job, profile, window, again=True)

    async def known_gaps(self, meter: Meter, profile: Obis, start: int, end: int) -> list[Range]:
        """What the store lacks in a range; nothing where the profile's layout is not known yet."""
        raw = await self._services.store.recall(layout_key(meter.name, profile))
        if raw is None:
            return []
        period = self._services.layouts.decoded(raw).period
        return await self._services.store.gaps(meter.name, profile, start, min(end, self._now()), period)

    async def _fill(
        self, job: Job, profile: Obis, window: Callable[[int], Window], *, again: bool = False
    ) -> ProfileLayout:
        """Read what the window of the profile's period lacks; return the profile's layout."""
        layout = await self._layout(job, profile)
        try:
            await self._read(job, profile, layout, window(layout.period), again=again)
        except LayoutChanged:
            found = await self._verify(job, profile)
            if found == layout:
                raise  # nonsense, then
            layout = found
            await self._read(job, profile, layout, window(layout.period), again=again)
        return layout

    async def _layout(self, job: Job, profile: Obis) -> ProfileLayout:
        """The layout, compared with the meter's now and then: it may be given another capture period at any time."""
        name, now = job.meter.name, _monotonic()
        polls = (poll for poll in job.meter.profile.poll if Obis.parse(poll.profile) == profile)
        every = next((poll.verify for poll in polls), VERIFIED_EVERY)
        verified = self._verified.setdefault(profile, {})
        if name not in verified:  # spread over the day: not a thousand meters in the hour after a start
            verified[name] = now - every * self._services.random.random()
        if now - verified[name] >= (min(every, DOUBTED_AFTER) if (name, profile) in self._doubted else every):
            return await self._verify(job, profile)
        return await profile_layout(self._services, job.meter, profile, job.priority)

    async def _verify(self, job: Job, profile: Obis) -> ProfileLayout:
        layout = await verified_layout(self._services, job.meter, profile, job.priority)
        self._verified.setdefault(profile, {})[job.meter.name] = _monotonic()
        self._doubted.discard((job.meter.name, profile))
        return layout

    async def _read(self, job: Job, profile: Obis, layout: ProfileLayout, window: Window, *, again: bool) -> None:
        services, meter, period = self._services, job.meter, window.period
        gaps = await self._gaps(meter, profile, window, again=again)
        if job.priority is Priority.SCHEDULED:
            self._progress(meter, window.rows, window.rows - _rows(gaps, period))
        reader = ProfileReader(services, meter, profile, layout, job.priority)
        asked_for = merged(gaps, min(NEAR, reader.rows_at_once // 4) * period)
        left = wanted = _rows(asked_for, period)
        fruitless = 0
        async with aclosing(reader.read(asked_for)) as answers:
            async for asked, readings in answers:
                self._learn(meter, profile, asked, readings, period)
                lacked = [reading for reading in readings if _within(reading, gaps, period)]
                await self._keep(meter, profile, lacked)
                left -= (asked[1] - asked[0]) // period
                job.progress = 1 - left / wanted
                if job.priority is Priority.SCHEDULED:
                    self._progress(meter, 0, len(lacked))
                fruitless += not lacked
                if fruitless == FRUITLESS and left and not again:
                    log.info("meter %s: %d rows of %s are left for the next poll", meter.name, left, profile)
                    return

    def _learn(self, meter: Meter, profile: Obis, asked: Range, readings: list[Reading], period: int) -> None:
        """What the answer to a question tells: what the meter does not have, and whether the layout still holds."""
        absent, now = self.absent, _monotonic()
        fresh = self._now() - FRESH * period
        if readings:
            absent.returned(meter.name, profile, max(_slot(reading, period) for reading in readings) + period)
        gaps = [(start, min(end, fresh)) for start, end in missing(asked, readings, period) if start < fresh]
        surplus = len(readings) > (asked[1] - asked[0]) // period + 1
        if absent.note(meter.name, profile, gaps, now) or surplus:
            self._doubted.add((meter.name, profile))

    async def _keep(self, meter: Meter, profile: Obis, readings: list[Reading]) -> None:
        if not readings:
            return
        accepted = await self._services.store.add(meter.name, profile, readings)
        first, last = readings[0].timestamp, readings[-1].timestamp
        meter.readings += accepted
        meter.last_reading = max(meter.last_reading, last)
        self._services.events.tell(
            "reading", meter=meter.name, profile=str(profile), count=accepted, first=first, last=last
        )

    async def _gaps(self, meter: Meter, profile: Obis, window: Window, *, again: bool = False) -> list[Range]:
        found = await self._services.store.gaps(meter.name, profile, window.start, window.end, window.period)
        meter.last_reading = max(meter.last_reading, _newest(window, found))
        return found if again else self.absent.without(meter.name, profile, found, _monotonic())

    def _now(self) -> int:
        if self._steps.stepped():
            log.warning("our clock was stepped: what meters do not have is asked for again")
            self.absent.forget()
        return epoch_seconds(self._services.clock.now())


def _monotonic() -> float:
    return asyncio.get_running_loop().time()


def _rows(ranges: Iterable[Range], period: int) -> int:
    return sum((end - start) // period for start, end in ranges)


def _newest(window: Window, gaps: list[Range]) -> int:
    """The last moment of a window that is not missing; 0 where all of it is."""
    end = gaps[-1][0] if gaps and gaps[-1][1] >= window.end else window.end
    return end - window.period if end > window.start else 0


def _slot(reading: Reading, period: int) -> int:
    """The multiple of the period that a reading counts for: the nearest."""
    return (reading.timestamp + period // 2) // period * period


def _within(reading: Reading, gaps: list[Range], period: int) -> bool:
    slot = _slot(reading, period)
    at = bisect_right(gaps, slot, key=lambda gap: gap[0])
    return at > 0 and slot < gaps[at - 1][1]
