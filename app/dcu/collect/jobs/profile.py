"""Reading rows of a load profile: a long range is cut so that each piece fits one answer.

So whatever is more urgent waits for one exchange at most, also on this meter. Where a meter sends a piece in blocks all
the same, the transfer gives way between two blocks, and the piece is read again in halves. The newest comes first: it
is what the utility misses most.

Source: DLMS Blue Book, Profile generic, selective access by range and by entry.
"""

from collections.abc import AsyncGenerator, Iterable
from datetime import UTC, datetime

from dcu.collect.decoding import decoding
from dcu.collect.jobs.discovery import given, read
from dcu.collect.layout import ENTRIES_IN_USE, PROFILE_GENERIC, ProfileLayout, buffer_of
from dcu.collect.meter import Meter
from dcu.collect.services import Services
from dcu.collect.standing import Outranked
from dcu.cosem import objects
from dcu.cosem.client import ClientSession
from dcu.cosem.datetimes import CosemDateTime
from dcu.cosem.exchange import Exchange
from dcu.cosem.profile import CaptureObject, by_entry, by_range
from dcu.cosem.selection import Selection
from dcu.model import AttributeRef, Obis, Priority, Reading

OVERHEAD = 64  # bytes of an answer that are not rows: ciphering, tags, lengths
Range = tuple[int, int]  # half-open, UTC seconds


def pieces(gaps: Iterable[Range], rows: int, period: int) -> list[Range]:
    """Cut gaps into ranges of at most `rows` rows, newest first."""
    found: list[Range] = []
    for start, end in sorted(gaps, reverse=True):
        while end > start:
            cut = max(start, end - rows * period)
            found.append((cut, end))
            end = cut
    return found


class ProfileReader:
    """Reads one profile of one meter at one priority."""

    def __init__(
        self, services: Services, meter: Meter, profile: Obis, layout: ProfileLayout, priority: Priority
    ) -> None:
        self._services = services
        self._meter = meter
        self._profile = profile
        self._layout = layout
        self._priority = priority
        clock = layout.captured[layout.clock]
        ref = AttributeRef.parse(clock.attribute)
        self._clock = CaptureObject(ref.class_id, ref.obis, ref.attribute, clock.index)

    @property
    def rows_at_once(self) -> int:
        """How many rows fit one answer."""
        if fixed := self._meter.profile.quirks.rows_per_exchange:
            return fixed
        room = min(self._meter.profile.session.max_pdu, self._meter.lane.medium.largest_answer) - OVERHEAD
        return max(1, int(room / self._services.layouts.row_size(self._layout)))

    async def read(self, gaps: Iterable[Range]) -> AsyncGenerator[tuple[Range, list[Reading]], None]:
        """Yield each piece of the gaps, newest first, with the readings that the meter has in it."""
        period = self._layout.period
        waiting = sorted(gaps)
        most = self.rows_at_once
        while waiting:
            start, end = waiting.pop()
            cut = max(start, end - most * period)
            rows = (end - cut) // period
            try:
                readings = await self._piece(cut, end, Priority.BACKFILL if rows > 1 else None)
            except Outranked:
                waiting.append((start, end))
                most = max(1, rows // 2)
                continue
            if cut > start:
                waiting.append((start, cut))
            yield (cut, end), readings
            most = self.rows_at_once

    async def _piece(self, start: int, end: int, gives_way: Priority | None) -> list[Reading]:
        if self._meter.profile.quirks.selective_access == "entry":
            return await self._by_entry(start, end, gives_way)
        half = self._layout.period // 2  # a row counts for the nearest multiple of the period
        selection = by_range(self._clock, self._written(start - half), self._written(end - half - 1))
        return await self._select(selection, gives_way)

    async def _select(self, selection: Selection, gives_way: Priority | None) -> list[Reading]:
        def exchange(session: ClientSession) -> Exchange[bytes]:
            return session.get(buffer_of(self._profile), selection)

        raw = await self._meter.run(exchange, self._priority, gives_way=gives_way)
        readings = self._layout.readings(raw, self._meter.profile.time_rule)
        self._services.layouts.saw(self._layout, len(readings), len(raw))
        return readings

    async def _by_entry(self, start: int, end: int, gives_way: Priority | None) -> list[Reading]:
        """For meters that select by entry only: rows are counted from the oldest; a row that was never captured makes
        later ones stand earlier than the period says, so go on upward until the range is passed."""
        ref = AttributeRef(PROFILE_GENERIC, self._profile, ENTRIES_IN_USE)
        (raw,) = await read(self._meter, [ref], self._priority)
        with decoding("entries in use"):
            entries = objects.decode_int(given(ref, raw))
        newest = await self._select(by_entry(entries, entries), gives_way) if entries else []
        if not newest:
            return []
        period = self._layout.period
        first = entries - max(0, (newest[-1].timestamp - start) // period)
        found: list[Reading] = []
        at = max(1, first)
        while at <= entries:
            rows = await self._select(by_entry(at, min(entries, at + (end - start) // period)), gives_way)
            found += [row for row in rows if start - period // 2 <= row.timestamp < end - period // 2]
            if not rows or rows[-1].timestamp >= end - period:
                break
            at += len(rows)
        return found

    def _written(self, second: int) -> CosemDateTime:
        return CosemDateTime.from_utc(datetime.fromtimestamp(second, UTC), self._meter.profile.time_rule)
