"""The clock column of a profile, to UTC: many date-times at once.

The rows of a profile share their dates, and nearly all of them their last bytes (hundredths, deviation, status). So a
moment is a sum of two table entries: the UTC of that date's midnight, and the time of day. Only the days on which a
zone changes its offset are worked out row by row, and only where the zone is needed (deviation unspecified).
"""

import struct
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import groupby
from operator import add
from typing import Any

from dcu.cosem.datetimes import ClockStatus, TimeZoneRule, zone_to_utc
from dcu.errors import DecodeError

_CLOCK = struct.Struct(">5sHB4s")  # the date, hour and minute, second, and the rest: hundredths, deviation, status
_DATE = struct.Struct(">HBBx")
_REST = struct.Struct(">BhB")
_TIMES = {hour << 8 | minute: timedelta(hours=hour, minutes=minute) for hour in range(24) for minute in range(60)}
_SECONDS = {second: timedelta(seconds=second) for second in range(60)} | {0xFF: timedelta()}


class Moments:
    """Turns a clock column into UTC: 12 bytes a cell, or seconds since 1970, or None = one period later."""

    def __init__(self, rule: TimeZoneRule, period: timedelta) -> None:
        self._rule = rule
        self._period = period
        self._tables: dict[bytes, _Days] = {}
        self._out: list[datetime] = []
        self._status = 0xFF  # of the row before
        self._bit_unused = False

    def convert(self, cells: list[Any]) -> list[datetime]:
        alike = len(set(map(type, cells))) == 1
        for kind, group in [(type(cells[0]), cells)] if alike else groupby(cells, type):
            if kind is bytes:
                self._dates(b"".join(group))
            elif kind is int:
                self._out += [datetime.fromtimestamp(seconds, UTC) for seconds in group]
            elif self._out:
                for _ in group:
                    self._out.append(self._out[-1] + self._period)
            else:
                raise DecodeError("a profile whose first row has no clock")
        return self._out

    def _dates(self, raw: bytes) -> None:
        dates, times, seconds, rests = zip(*_CLOCK.iter_unpack(raw), strict=True)
        start = 0
        for rest, group in [(rests[0], rests)] if len(set(rests)) == 1 else groupby(rests):
            end = start + sum(1 for _ in group)
            days = self._tables.get(rest)
            if days is None:
                days = self._tables[rest] = _Days(self._rule, rest)
            part = slice(start, end)
            try:
                self._regular(days, dates[part], times[part], seconds[part])
            except _Irregular:
                self._careful(days, dates[part], times[part], seconds[part])
            except KeyError:
                raise DecodeError("a clock with no such time of day") from None
            self._status = days.status
            start = end

    def _regular(self, days: "_Days", dates: Sequence[bytes], times: Sequence[int], seconds: Sequence[int]) -> None:
        moments = list(map(add, map(days.__getitem__, dates), map(_TIMES.__getitem__, times)))
        if any(seconds):
            moments = list(map(add, moments, map(_SECONDS.__getitem__, seconds)))
        self._out += moments

    def _careful(self, days: "_Days", dates: Sequence[bytes], times: Sequence[int], seconds: Sequence[int]) -> None:
        """Row by row, as there are days among these that change the offset."""
        for date, time, second in zip(dates, times, seconds, strict=True):
            try:
                of_day = _TIMES[time] + _SECONDS[second]
            except KeyError:
                raise DecodeError("a clock with no such time of day") from None
            try:
                moment = days[date] + of_day
            except _Irregular:
                local = _midnight(date) + of_day + days.fraction
                near = self._out[-1] + self._period if self._out else None
                moment = zone_to_utc(local, self._rule.zone, self._summer(days.status), near)
            self._out.append(moment)
            self._status = days.status

    def _summer(self, status: int) -> bool | None:
        """What the daylight-saving bit says; None where it says nothing.

        Some meters follow summer time and never set the bit. One that did not set it in the row before, in plain summer
        time, does not set it now.
        """
        if self._out and self._status != 0xFF:
            before = self._out[-1].astimezone(self._rule.zone)
            if before.dst() and before.utcoffset() == before.replace(fold=1 - before.fold).utcoffset():
                self._bit_unused = not self._status & ClockStatus.DAYLIGHT_SAVING
        if status & ClockStatus.DAYLIGHT_SAVING and status != 0xFF:
            return True
        return None if self._bit_unused or status == 0xFF else False


class _Irregular(Exception):
    pass


class _Days(dict[bytes, datetime]):
    """From the date of a local time to the UTC of its midnight, for one ending (hundredths, deviation, status).

    Raises DecodeError where there is no such date, _Irregular where the zone changes its offset on that day.
    """

    def __init__(self, rule: TimeZoneRule, rest: bytes) -> None:
        hundredths, deviation, self.status = _REST.unpack(rest)
        if hundredths > 99 and hundredths != 0xFF:
            raise DecodeError(f"a time with {hundredths} hundredths")
        self.fraction = timedelta(microseconds=10_000 * (hundredths if hundredths != 0xFF else 0))
        self._offset = rule.offset(deviation)
        self._zone = rule.zone

    def __missing__(self, date: bytes) -> datetime:
        midnight = _midnight(date)
        offset = self._offset
        if offset is None:
            ends = (midnight, midnight + timedelta(hours=23, minutes=59, seconds=59))
            offsets = {end.replace(tzinfo=self._zone, fold=fold).utcoffset() for end in ends for fold in (0, 1)}
            if len(offsets) > 1:
                raise _Irregular
            offset = -(offsets.pop() or timedelta())
        moment = midnight.replace(tzinfo=UTC) + offset + self.fraction
        self[date] = moment
        return moment


def _midnight(date: bytes) -> datetime:
    """Raises DecodeError."""
    try:
        return datetime(*_DATE.unpack(date))
    except ValueError:
        raise DecodeError(f"{date.hex()} is no date") from None
