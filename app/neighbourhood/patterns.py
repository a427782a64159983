"""Dates and times of which parts are left open, as a meter's schedules have them; and a clock's own daylight saving.

A pattern is the bytes of the wire: a date of five (year, month, day, weekday), a time of four. 0xFF, in a year 0xFFFF,
is any; as a day 0xFE is the last of the month and 0xFD the last but one; a day with a weekday is the first such weekday
from that day on, or the last one of the month.

Source: DLMS Blue Book (IEC 62056-6-2) clause 4.1.6.1; 4.5.1 (daylight saving).
"""

from calendar import monthrange
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo

ANY, LAST, LAST_BUT_ONE = 0xFF, 0xFE, 0xFD
DAY = 86_400


def check_date(raw: bytes) -> bytes:
    """Raises ValueError for what is no pattern of a date."""
    if len(raw) != 5:
        raise ValueError(f"a date of {len(raw)} bytes")
    month, day, weekday = raw[2:]
    if not (1 <= month <= 12 or month == ANY) or not (1 <= day <= 31 or day >= LAST_BUT_ONE):
        raise ValueError(f"no month or day: {raw.hex()}")
    if not (1 <= weekday <= 7 or weekday == ANY):
        raise ValueError(f"no weekday: {weekday}")
    return raw


def check_time(raw: bytes) -> bytes:
    """Raises ValueError for what is no pattern of a time."""
    if len(raw) != 4 or any(part >= most and part != ANY for part, most in zip(raw, (24, 60, 60, 100), strict=True)):
        raise ValueError(f"no time: {raw.hex()}")
    return raw


def fits(raw: bytes, day: date) -> bool:
    """Whether a day is one of a date's."""
    year, month, number, weekday = int.from_bytes(raw[:2], "big"), raw[2], raw[3], raw[4]
    if year not in (0xFFFF, day.year) or month not in (ANY, day.month):
        return False
    if number == ANY:
        return weekday in (ANY, day.isoweekday())
    return day.day == day_of(day.year, day.month, number, weekday)


def day_of(year: int, month: int, number: int, weekday: int) -> int:
    """Which day of a month is meant."""
    length = monthrange(year, month)[1]
    if number in (LAST, LAST_BUT_ONE):
        last = length - (number == LAST_BUT_ONE)
        if weekday == ANY:
            return last
        found = length - (date(year, month, length).isoweekday() - weekday) % 7
        return found - 7 * (number == LAST_BUT_ONE)
    if weekday == ANY:
        return number
    if number > length:
        return 0
    return number + (weekday - date(year, month, number).isoweekday()) % 7


def seconds(raw: bytes) -> list[int]:
    """The seconds of the day that a time means: an open hour is each hour, an open minute each; an open second is 0."""
    hours = range(24) if raw[0] == ANY else (raw[0],)
    minutes = range(60) if raw[1] == ANY else (raw[1],)
    second = 0 if raw[2] == ANY else raw[2]
    return [hour * 3_600 + minute * 60 + second for hour in hours for minute in minutes]


def local(second: int, tz: tzinfo) -> datetime:
    return datetime.fromtimestamp(second, tz)


def upcoming(after: int, time: bytes, day: bytes, tz: tzinfo, within: int = 400) -> int | None:
    """The first UTC second after `after` at which a clock of this zone shows a time on a day; None in `within` days."""
    start = local(after, tz).date()
    for ahead in range(-1, within):
        candidate = start + timedelta(days=ahead)
        if fits(day, candidate):
            midnight = datetime(candidate.year, candidate.month, candidate.day, tzinfo=tz)
            for at in seconds(time):
                moment = int((midnight.replace(tzinfo=None) + timedelta(seconds=at)).replace(tzinfo=tz).timestamp())
                if moment > after:
                    return moment
    return None


@dataclass(frozen=True, slots=True)
class Saving(tzinfo):
    """A zone by a clock's own attributes: minutes east of UTC, and when daylight saving begins and ends (12 bytes)."""

    standard: int
    begin: bytes
    end: bytes
    minutes: int
    enabled: bool

    def utcoffset(self, when: datetime | None) -> timedelta:
        return timedelta(minutes=self.standard) + self.dst(when)

    def dst(self, when: datetime | None) -> timedelta:
        if when is None or not self.enabled:
            return timedelta()
        shift = timedelta(minutes=self.minutes)
        shown = when.replace(tzinfo=None)
        starts, ends = self._moment(self.begin, shown.year), self._moment(self.end, shown.year)
        if starts is None or ends is None:
            return timedelta()
        again = ends - shift <= shown < ends and bool(when.fold)
        if starts < ends:
            saves = starts + shift <= shown < ends and not again
        else:
            saves = shown >= starts + shift or (shown < ends and not again)
        return shift if saves else timedelta()

    def fromutc(self, when: datetime) -> datetime:
        """Python's own does not tell the two readings of the doubled hour apart."""
        plain = when.replace(tzinfo=None)
        for saved in (timedelta(minutes=self.minutes), timedelta()):
            shown = (plain + timedelta(minutes=self.standard) + saved).replace(tzinfo=self)
            for fold in (0, 1):
                if self.dst(shown.replace(fold=fold)) == saved:
                    doubled = self.dst(shown.replace(fold=0)) != self.dst(shown.replace(fold=1))
                    return shown.replace(fold=fold if doubled else 0)
        return (plain + timedelta(minutes=self.standard)).replace(tzinfo=self)

    def tzname(self, when: datetime | None) -> str:
        return f"UTC{self.standard:+d} min"

    def _moment(self, raw: bytes, year: int) -> datetime | None:
        fixed, month, number, weekday = int.from_bytes(raw[:2], "big"), raw[2], raw[3], raw[4]
        if fixed not in (0xFFFF, year) or not 1 <= month <= 12:
            return None
        hour, minute, second = (0 if part == ANY else part for part in raw[5:8])
        day = day_of(year, month, number, weekday)
        whole = second == 59 and minute == 59  # the last second before it
        at = datetime(year, month, day, hour, minute, second)
        return at + timedelta(seconds=1) if whole else at
