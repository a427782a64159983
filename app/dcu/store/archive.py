"""The store, blocking: buffer, day files and critical file of one directory, and what happens when the disk is full.

On a full disk the oldest profile day goes first, then the next; the ballast is for the alarms alone. Readings of days
that were given up are refused until there is room again, so that healing does not fill the disk anew.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from dcu.clock import Clock, epoch_seconds
from dcu.errors import DecodeError, StoreError
from dcu.model import Obis, Reading
from dcu.store import files, rows, salvage
from dcu.store.buffer import Buffer, Row
from dcu.store.coverage import Coverage, Grid
from dcu.store.critical import Critical
from dcu.store.dayfiles import DayFiles, day_name
from dcu.store.records import Flushed, Settings, StoreStatus
from dcu.store.rows import DAY

CRITICAL = "critical.db"
BALLAST = "ballast"
_EXTRA_DAYS = 2  # beyond retention, where the clock cannot be trusted: today, and one in which it is already tomorrow
_STEP = 2_000  # rows in one commit when the mains have failed: about 180 kB
_RETRY = 60  # seconds between two attempts to commit on a full disk
_ROOM = 1 << 20  # bytes: with less free than this there is no room again
log = logging.getLogger(__name__)


class Archive:
    """One directory of readings and what must not be lost. Not for two threads at a time. Use `Archive.open(...)`."""

    def __init__(self, directory: Path, critical: Critical, clock: Clock, settings: Settings) -> None:
        self.critical = critical
        self.directory = directory
        self._clock = clock
        self._settings = settings
        self.gate = critical.gate
        self._days = DayFiles(directory, critical.store_id, self._damaged, self.gate)
        self._buffer = Buffer()
        self._coverage = Coverage(self._keys)
        self._ballast = files.Ballast(directory / BALLAST, settings.ballast, self.gate)
        self._given_up: int | None = None  # days up to this one went on a full disk
        self._told: set[int] = set()  # days that an alarm was raised for since the disk was full
        self._stuck = -_RETRY  # when a commit last found no room
        self._refused = self._discarded = self._damaged_rows = 0
        critical.on_full = self._make_room

    @classmethod
    def open(cls, directory: Path, *, clock: Clock, settings: Settings | None = None) -> "Archive":
        """Open or create. A damaged day file never keeps it from starting, nor does a damaged critical file."""
        chosen = settings or Settings()
        given_up: list[str] = []
        while True:
            try:
                critical = salvage.open_critical(directory / CRITICAL, clock=clock, settings=chosen)
                break
            except files.FullError:
                if not (what := _give_way(directory, first=not given_up)):
                    raise
                given_up.append(what)
        try:
            for what in given_up:
                critical.alarm("disk-full", what, "given up to start at all")
            archive = cls(directory, critical, clock, chosen)
            archive.maintain()
        except BaseException:
            critical.close()
            raise
        return archive

    def close(self) -> None:
        """Commit and close; behind a shut gate only let go of the directory, as a power cut would."""
        try:
            if not self.gate.shut:
                self.flush()
        finally:
            if not self.gate.shut:
                self._days.close()
            self.critical.close()

    # Readings

    def add(self, meter: str, profile: Obis, readings: Sequence[Reading]) -> int:
        """Keep readings; return how many were accepted. A failed commit raises nothing: what is lost shows as a gap."""
        number, load = self.critical.meter_id(meter), self.critical.profile_id(profile)
        now = self._now()
        low, high = self._lowest(now) * DAY, now + DAY
        kept = [(item.timestamp, rows.pack(item)) for item in readings if low <= item.timestamp < high]
        self._refused += len(readings) - len(kept)
        self._buffer.add(number, load, kept, now)
        self._coverage.add(number, load, (timestamp for timestamp, _ in kept))
        if self._due(now):
            self.flush()
        return len(kept)

    def _due(self, now: int) -> bool:
        rows, settings = len(self._buffer), self._settings
        if self.gate.shut:
            return False
        if rows >= 2 * settings.commit_rows:
            return True
        if abs(now - self._stuck) < _RETRY:  # the disk was full a moment ago
            return False
        return rows >= settings.commit_rows or self._buffer.due(now, settings.commit_every)

    def readings(self, meter: str, profile: Obis, start: int, end: int) -> list[Reading]:
        """Return the readings with start ≤ timestamp < end in order of time, buffered ones included."""
        number, load = self.critical.meter_id(meter), self.critical.profile_id(profile)
        found, damaged = self._days.read(number, load, start, end)
        waiting = self._buffer.read(number, load, start, end)
        found.update(waiting)
        result = []
        for timestamp in sorted(found):
            try:
                result.append(rows.unpack(timestamp, found[timestamp]))
            except DecodeError as error:  # only a file can bring it
                damaged.append(timestamp)
                log.error("%s", error)
        if damaged:
            for day in sorted({timestamp // DAY for timestamp in damaged}):
                keys = [(timestamp, number, load) for timestamp in damaged if timestamp // DAY == day]
                self._drop_rows(day, keys, f"{len(keys)} of {meter}")
        self._tell()
        return result

    def mend(self, day: int) -> None:
        """Look through a day's file; drop its damaged rows, or the file as a whole: they show as gaps then."""
        if keys := self._days.examine(day):
            self._drop_rows(day, keys, str(len(keys)))
        self._tell()

    def _drop_rows(self, day: int, keys: Sequence[tuple[Any, Any, Any]], what: str) -> None:
        """Remove rows whose checksum does not fit, so that they show as gaps and are collected again."""
        self._damaged_rows += len(keys)
        self.critical.alarm("rows-damaged", day_name(day), f"{what} dropped, to be collected again")
        try:
            self._days.remove(day, keys)
        except StoreError as error:  # a full disk: they are dropped again with the next question
            log.error("%s", error)
        self._coverage.forget(day)

    def gaps(
        self, meter: str, profile: Obis, start: int, end: int, period: int, phase: int = 0
    ) -> list[tuple[int, int]]:
        """Return the half-open ranges of [start, end) in which readings are missing.

        Expected is one at every multiple of `period` (+ `phase`) in UTC seconds; a reading counts for the nearest one.
        Days that retention or a full disk took are not missing: they would be refused.
        """
        return self.all_gaps([meter], profile, start, end, period, phase).get(meter, [])

    def all_gaps(
        self, meters: Iterable[str], profile: Obis, start: int, end: int, period: int, phase: int = 0
    ) -> dict[str, list[tuple[int, int]]]:
        """`gaps` of many meters; those without one are left out."""
        if period < 1:
            raise ValueError("gaps are found in profiles with a period of at least one second")
        grid = Grid(self.critical.profile_id(profile), period, phase % period)
        begin = max(start, self.kept_since())
        found = [(name, self._coverage.gaps(self.critical.meter_id(name), grid, begin, end)) for name in meters]
        self._tell()
        return {name: gaps for name, gaps in found if gaps}

    def kept_since(self) -> int:
        """Return the UTC second from which on readings are kept: older ones are refused."""
        return self._lowest(self._now()) * DAY

    def _keys(self, day: int, profile: int) -> list[tuple[int, int]]:
        return [*self._days.keys(day, profile, self.critical.highest_meter), *self._buffer.keys(day, profile)]

    # Commit and retention

    def flush(self) -> None:
        """Commit what is buffered, the newest day first; what finds no room stays in RAM, up to a bound."""
        self.gate.check()
        for day in reversed(self._buffer.days()):
            pending = self._buffer.of_day(day)
            while pending:
                try:
                    if not self._ballast.restore():  # it was released: what is free belongs to the alarms
                        raise files.FullError("no ballast")
                    self._days.write(day, pending)
                except files.FullError:
                    if self._drop_oldest(before=day):
                        continue
                    newer = any(known > day for known in self._days.days())
                    self._wait(day, pending, "the disk is full", give_up=newer)  # then it is the oldest day itself
                except files.FrozenError:
                    raise
                except StoreError as error:
                    self.critical.alarm("day-file-unwritable", day_name(day), str(error))
                    self._wait(day, pending, str(error), give_up=False)
                else:
                    self._buffer.forget(pending)
                break
        self._tell()

    def flush_within(self, left: Callable[[], float]) -> Flushed:
        """The mains failed: commit, the newest day first, as long as `left()` seconds last. The rest stays in RAM.

        In small transactions, none of which is begun unless twice the time of the longest so far is left. No room is
        made for what does not fit: there is no time, and readings can be collected again.
        """
        rows, longest, begun = 0, 0.0, left()
        room = self._ballast.present or not self._ballast.length
        for day in reversed(self._buffer.days()) if room else ():
            pending = self._buffer.of_day(day)
            for at in range(0, len(pending), _STEP):
                before = left()
                if before <= 2 * longest:
                    return Flushed(rows, len(self._buffer), begun - left())
                try:
                    self._days.write(day, pending[at : at + _STEP])
                except StoreError as error:
                    log.error("%s", error)
                    return Flushed(rows, len(self._buffer), begun - left())
                self._buffer.forget(pending[at : at + _STEP])
                rows += len(pending[at : at + _STEP])
                longest = max(longest, before - left())
        return Flushed(rows, len(self._buffer), begun - left())

    def _tell(self) -> None:
        """Commit the alarms of what just happened; they stay in line where even that finds no room."""
        try:
            if not self.gate.shut:
                self.critical.settle()
        except StoreError as error:
            log.error("%s", error)

    def _wait(self, day: int, pending: list[Row], why: str, *, give_up: bool) -> None:
        """Readings of `day` cannot be committed: they wait in RAM, as long as they are not too many."""
        self._stuck = self._now()
        if not give_up and len(self._buffer) <= 2 * self._settings.commit_rows:
            log.error("%s: %s: %d readings wait in RAM", self.directory, why, len(self._buffer))
            return
        self._buffer.forget(pending)
        self._coverage.forget(day)
        self._discarded += len(pending)
        self._give_up(day, f"{len(pending)} readings not kept")

    def maintain(self) -> None:
        """What time brings. Also at start: it may have been long."""
        self.gate.check()
        now = self._now()
        self._expire(now)
        if self._due(now):
            self.flush()
        had = self._ballast.present
        if self._ballast.restore() and not had and self._ballast.present:
            log.info("%s: ballast of %d bytes in place", self.directory, self._ballast.length)
        if self._ballast.restore() and files.free(self.directory) >= _ROOM:
            self.critical.relax()
        if self._given_up is not None and self._ballast.restore() and files.free(self.directory) >= self._room():
            self._given_up -= 1  # one day at a time: each is healed before the next is asked for
            if self._given_up < self._retained(now):
                self._given_up = None
                self._told.clear()
        self._tell()

    def _room(self) -> int:
        """Bytes that must be free before a day that was given up is collected again."""
        largest = max((files.size(self._days.path(day)) for day in self._days.days()), default=0)
        return 2 * largest + _ROOM

    def _now(self) -> int:
        return epoch_seconds(self._clock.now())

    def _retained(self, now: int) -> int:
        """The first day that retention keeps: by date, or by count where a wrong clock could empty the store."""
        keep = self._settings.retention_days
        if self._clock.trusted:
            return now // DAY - keep
        days = self._days.days()
        if len(days) >= keep + _EXTRA_DAYS:
            return days[-keep - _EXTRA_DAYS]
        return min([*days[:1], now // DAY - keep])

    def _lowest(self, now: int) -> int:
        """The first day of which readings are kept."""
        retained = self._retained(now)
        return retained if self._given_up is None else max(retained, self._given_up + 1)

    def _expire(self, now: int) -> None:
        first = self._retained(now)
        for day in [day for day in self._days.days() if day < first]:
            self._days.drop(day)
            log.info("%s: past retention, dropped", day_name(day))
        for day in [day for day in self._days.aside() if day < first]:
            self._days.drop_aside(day)
        for day in [day for day in self._buffer.days() if day < first]:
            self._buffer.forget(self._buffer.of_day(day))
        self._coverage.forget_before(first)

    # Trouble

    def _make_room(self, attempt: int) -> bool:
        """For a critical write on a full disk: the oldest day, then the ballast, then day after day."""
        newest = max(self._days.days(), default=0)
        if attempt == 0 and self._drop_oldest(before=newest):
            return True
        if self._ballast.release():
            self.critical.alarm("ballast-released", BALLAST, "the disk is full: make room")
            return True
        return self._drop_oldest(before=newest + 1)

    def _drop_oldest(self, before: int) -> bool:
        """Unlink the oldest day before `before`, damaged ones first; say so loudly."""
        if aside := self._days.aside():
            self._days.drop_aside(aside[0])
            self.critical.alarm("disk-full", day_name(aside[0]), "its damaged file was removed")
            return True
        days = [day for day in self._days.days() if day < before]
        if not days:
            return False
        size = self._days.drop(days[0])
        self._coverage.forget(days[0])
        self._give_up(days[0], f"{size} bytes of readings dropped")
        return True

    def _give_up(self, day: int, what: str) -> None:
        self._given_up = day if self._given_up is None else max(day, self._given_up)
        if day in self._told:
            log.error("disk-full: %s: %s", day_name(day), what)
        else:
            self._told.add(day)
            self.critical.alarm("disk-full", day_name(day), what)

    def _damaged(self, day: int, why: str) -> None:
        self._coverage.forget(day)
        self.critical.alarm("day-file-damaged", day_name(day), f"set aside, to be collected again: {why}")

    def status(self) -> StoreStatus:
        days = self._days.days()
        return StoreStatus(
            days=len(days),
            first_day=day_name(days[0]) if days else None,
            last_day=day_name(days[-1]) if days else None,
            buffered=len(self._buffer),
            refused=self._refused,
            discarded=self._discarded,
            set_aside=len(self._days.aside()),
            damaged_rows=self._damaged_rows,
            outbox_dropped=self.critical.outbox_dropped,
            ballast=self._ballast.present,
            free=files.free(self.directory),
        )


def _give_way(directory: Path, *, first: bool) -> str:
    """Make room to open the critical file, in the order of `Archive._make_room`; return what went, empty: nothing."""
    days = DayFiles(directory, 0, lambda day, why: None)
    known = days.days()
    if not (first and len(known) > 1) and files.Ballast(directory / BALLAST, 0).release():
        return BALLAST
    if not known:
        return ""
    days.drop(known[0])
    return day_name(known[0])
