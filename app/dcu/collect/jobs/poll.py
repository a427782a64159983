"""Polling one load profile of one meter: the store says what is missing, the newest is read first.

What the schedule promises (the last day, say) is read at SCHEDULED priority, older gaps are healed at BACKFILL. Rows
that a meter was asked for and does not have are asked for once more, and then left alone until the collector starts
anew: it was not there yet, or had no power.
"""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from dcu.clock import epoch_seconds
from dcu.collect.jobs.discovery import layout_key, profile_layout
from dcu.collect.jobs.profile import ProfileReader, Range
from dcu.collect.layout import LayoutChanged, ProfileLayout
from dcu.collect.meter import Meter
from dcu.collect.meter_profile import Poll
from dcu.collect.scheduler import Job
from dcu.collect.services import Services
from dcu.model import Obis, Priority, Reading

FRESH = 2  # periods: rows so young may still be captured, where the meter's clock is behind
log = logging.getLogger(__name__)

REMEMBERED = 64  # such ranges of a profile; the oldest beyond it are asked for again


class Absent:
    """Ranges that a meter was asked for in vain, once and again, by meter and profile."""

    def __init__(self) -> None:
        self._once: dict[tuple[str, Obis], list[Range]] = {}
        self._again: dict[tuple[str, Obis], list[Range]] = {}

    def note(self, meter: str, profile: Obis, missing: Iterable[Range]) -> None:
        key, gaps = (meter, profile), list(missing)
        if not gaps:
            return
        once = self._once.get(key, [])
        if repeated := [part for gap in gaps for part in _common(gap, once)]:
            self._again[key] = _merged([*self._again.get(key, []), *repeated])
        self._once[key] = _merged([*once, *gaps])

    def without(self, meter: str, profile: Obis, gaps: Iterable[Range]) -> list[Range]:
        """The gaps that are still worth asking for."""
        vain = self._again.get((meter, profile), [])
        return [rest for gap in gaps for rest in _minus(gap, vain)]


def _merged(ranges: list[Range]) -> list[Range]:
    """In order, touching ones joined, the oldest forgotten beyond the bound."""
    merged: list[Range] = []
    for start, end in sorted(ranges):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged[-REMEMBERED:]


def _common(gap: Range, others: Iterable[Range]) -> list[Range]:
    parts = ((max(gap[0], low), min(gap[1], high)) for low, high in others)
    return [part for part in parts if part[1] > part[0]]


def _minus(gap: Range, taken: Iterable[Range]) -> list[Range]:
    rest = [gap]
    for low, high in taken:
        rest = [
            part
            for start, end in rest
            for part in ((start, min(end, low)), (max(start, high), end))
            if part[1] > part[0]
        ]
    return rest


def missing(asked: Range, readings: Iterable[Reading], period: int) -> list[Range]:
    """The parts of a range that no reading fell into; a reading counts for the nearest multiple of the period."""
    have = {(reading.timestamp + period // 2) // period * period for reading in readings}
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
        self.absent = Absent()

    async def scheduled(self, job: Job, poll: Poll) -> bool:
        """Read what the last `poll.scheduled` seconds lack; return whether older gaps are left to heal."""
        services, meter, profile = self._services, job.meter, Obis.parse(poll.profile)
        layout = await profile_layout(services, meter, profile, job.priority)
        window = Window.until(self._now(), poll, poll.scheduled, layout.period)
        await self._fill(job, profile, window)
        older = Window.until(self._now(), poll, poll.history, layout.period)
        return bool(await self._gaps(meter, profile, older))

    async def backfill(self, job: Job, poll: Poll) -> None:
        """Heal what the last `poll.history` seconds lack."""
        layout = await profile_layout(self._services, job.meter, Obis.parse(poll.profile), job.priority)
        await self._fill(job, Obis.parse(poll.profile), Window.until(self._now(), poll, poll.history, layout.period))

    async def fetch(self, job: Job, profile: Obis, start: int, end: int) -> None:
        """Read what is missing in a range that somebody asks for now, also what was asked for in vain."""
        period = (await profile_layout(self._services, job.meter, profile, job.priority)).period
        window = Window(start // period * period, end + -end % period, period)
        await self._fill(job, profile, window, again=True)

    async def known_gaps(self, meter: Meter, profile: Obis, start: int, end: int) -> list[Range]:
        """What the store lacks in a range; nothing where the profile's layout is not known yet."""
        raw = await self._services.store.recall(layout_key(meter.name, profile))
        if raw is None:
            return []
        period = self._services.layouts.decoded(raw).period
        return await self._services.store.gaps(meter.name, profile, start, min(end, self._now()), period)

    async def _fill(self, job: Job, profile: Obis, window: Window, *, again: bool = False) -> None:
        layout = await profile_layout(self._services, job.meter, profile, job.priority)
        try:
            await self._read(job, profile, layout, window, again=again)
        except LayoutChanged:
            found = await profile_layout(self._services, job.meter, profile, job.priority, refresh=True)
            if found == layout:
                raise  # nonsense, then
            log.warning("meter %s: profile %s has another layout now", job.meter.name, profile)
            await self._read(job, profile, found, window, again=again)

    async def _read(self, job: Job, profile: Obis, layout: ProfileLayout, window: Window, *, again: bool) -> None:
        services, meter = self._services, job.meter
        gaps = await self._gaps(meter, profile, window, again=again)
        left = wanted = sum((end - start) // window.period for start, end in gaps)
        if job.priority is Priority.SCHEDULED:
            self._progress(meter, window.rows, window.rows - left)
        reader = ProfileReader(services, meter, profile, layout, job.priority)
        async for asked, readings in reader.read(gaps):
            await self._keep(meter, profile, asked, readings, window.period)
            left -= (asked[1] - asked[0]) // window.period
            job.progress = 1 - left / wanted
            if job.priority is Priority.SCHEDULED:
                self._progress(meter, 0, len(readings))

    async def _keep(self, meter: Meter, profile: Obis, asked: Range, readings: list[Reading], period: int) -> None:
        services = self._services
        fresh = self._now() - FRESH * period
        self.absent.note(meter.name, profile, [gap for gap in missing(asked, readings, period) if gap[1] <= fresh])
        if not readings:
            return
        accepted = await services.store.add(meter.name, profile, readings)
        first, last = readings[0].timestamp, readings[-1].timestamp
        meter.readings += accepted
        meter.last_reading = max(meter.last_reading, last)
        services.events.tell("reading", meter=meter.name, profile=str(profile), count=accepted, first=first, last=last)

    async def _gaps(self, meter: Meter, profile: Obis, window: Window, *, again: bool = False) -> list[Range]:
        found = await self._services.store.gaps(meter.name, profile, window.start, window.end, window.period)
        return found if again else self.absent.without(meter.name, profile, found)

    def _now(self) -> int:
        return epoch_seconds(self._services.clock.now())
