"""COSEM dates and times, and how they become UTC (IEC 62056-6-2, date-time: 12 bytes; date: 5; time: 4).

Every field may be "not specified"; what is left of a date-time is then a pattern (as schedules use it), not a moment.
A moment's UTC time is local time plus deviation by the Blue Book; meters in several countries write the opposite sign,
and many leave the deviation unspecified (0x8000), so that the meter's time zone must come from its profile. In the
hour that autumn repeats, the daylight-saving bit of the clock status says which of the two was meant.
"""

import struct
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from enum import IntFlag

from dcu.errors import DecodeError

UNSPECIFIED_DEVIATION = -0x8000
DST_END, DST_BEGIN = 0xFD, 0xFE  # as a month
SECOND_LAST_DAY, LAST_DAY = 0xFD, 0xFE  # as a day of the month
WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_LARGEST_DEVIATION = 24 * 60  # -720..840 by the standard; beyond a day it is no deviation
_DATE = struct.Struct(">HBBB")
_TIME = struct.Struct(">BBBB")
_REST = struct.Struct(">hB")


class ClockStatus(IntFlag):
    INVALID = 0x01
    DOUBTFUL = 0x02
    DIFFERENT_BASE = 0x04
    INVALID_STATUS = 0x08
    DAYLIGHT_SAVING = 0x80


@dataclass(frozen=True, slots=True)
class TimeZoneRule:
    """What a meter's profile says of its clock.

    zone: where the meter stands, for moments without a deviation; deviation_sign: +1 where UTC = local + deviation (the
    Blue Book), -1 where UTC = local - deviation; deviation_valid: False for meters whose deviation says nothing, so
    that `zone` always holds.
    """

    zone: tzinfo = UTC
    deviation_sign: int = 1
    deviation_valid: bool = True

    def __post_init__(self) -> None:
        if self.deviation_sign not in (1, -1):
            raise ValueError(f"a deviation's sign is 1 or -1, not {self.deviation_sign}")

    def offset(self, deviation: int | None) -> timedelta | None:
        """What to add to local time, from the deviation in minutes; None: the zone decides. Raises DecodeError."""
        if deviation is None or deviation == UNSPECIFIED_DEVIATION or not self.deviation_valid:
            return None
        if abs(deviation) > _LARGEST_DEVIATION:
            raise DecodeError(f"a deviation of {deviation} minutes")
        return timedelta(minutes=self.deviation_sign * deviation)


@dataclass(frozen=True, slots=True)
class CosemDate:
    """A date; None: not specified. month and day may be the special values above. weekday: 1 = Monday."""

    year: int | None = None
    month: int | None = None
    day: int | None = None
    weekday: int | None = None

    @classmethod
    def parse(cls, raw: bytes) -> "CosemDate":
        """Raises DecodeError."""
        if len(raw) != _DATE.size:
            raise DecodeError(f"a date has 5 bytes, not {len(raw)}")
        year, month, day, weekday = _DATE.unpack(raw)
        return cls(_specified(year, 0xFFFF), _specified(month), _specified(day), _specified(weekday))

    def encode(self) -> bytes:
        """Raises ValueError for a field that does not fit."""
        year = 0xFFFF if self.year is None else self.year
        return _packed(_DATE, year, _wildcard(self.month), _wildcard(self.day), _wildcard(self.weekday))

    def __str__(self) -> str:
        special = {DST_END: "DST end", DST_BEGIN: "DST begin"}
        month = special.get(self.month or 0) or _shown(self.month)
        day = {SECOND_LAST_DAY: "second last", LAST_DAY: "last"}.get(self.day or 0) or _shown(self.day)
        open_ = None in (self.year, self.month, self.day) or bool(special.keys() & {self.month}) or day.endswith("last")
        weekday = f" {WEEKDAYS[self.weekday - 1]}" if open_ and self.weekday and self.weekday <= len(WEEKDAYS) else ""
        return f"{_shown(self.year, 4)}-{month}-{day}{weekday}"


@dataclass(frozen=True, slots=True)
class CosemTime:
    """A time of day; None: not specified."""

    hour: int | None = None
    minute: int | None = None
    second: int | None = None
    hundredths: int | None = None

    @classmethod
    def parse(cls, raw: bytes) -> "CosemTime":
        """Raises DecodeError."""
        if len(raw) != _TIME.size:
            raise DecodeError(f"a time has 4 bytes, not {len(raw)}")
        return cls(*map(_specified, raw))

    def encode(self) -> bytes:
        """Raises ValueError for a field that does not fit."""
        return _packed(_TIME, *map(_wildcard, (self.hour, self.minute, self.second, self.hundredths)))

    def __str__(self) -> str:
        text = ":".join(map(_shown, (self.hour, self.minute, self.second)))
        return text if self.hundredths in (None, 0) else f"{text}.{self.hundredths:02d}"


@dataclass(frozen=True, slots=True)
class CosemDateTime:
    """A date-time. deviation: minutes as on the wire, None = not specified; status: the clock status, None likewise."""

    date: CosemDate
    time: CosemTime
    deviation: int | None = None
    status: int | None = None

    @classmethod
    def parse(cls, raw: bytes) -> "CosemDateTime":
        """Read the 12 bytes. Raises DecodeError."""
        if len(raw) != 12:
            raise DecodeError(f"a date-time has 12 bytes, not {len(raw)}")
        deviation, status = _REST.unpack_from(raw, 9)
        return cls(
            CosemDate.parse(raw[:5]),
            CosemTime.parse(raw[5:9]),
            _specified(deviation, UNSPECIFIED_DEVIATION),
            _specified(status),
        )

    def encode(self) -> bytes:
        """Raises ValueError for a field that does not fit."""
        deviation = UNSPECIFIED_DEVIATION if self.deviation is None else self.deviation
        return self.date.encode() + self.time.encode() + _packed(_REST, deviation, _wildcard(self.status))

    def utc(self, rule: TimeZoneRule) -> datetime:
        """The moment that this is. An unspecified second or hundredth counts as 0. Raises DecodeError."""
        date, time = self.date, self.time
        if date.year is None or date.month is None or date.day is None or time.hour is None or time.minute is None:
            raise DecodeError(f"{self} is not one moment")
        try:
            hundredths = time.hundredths or 0
            local = datetime(date.year, date.month, date.day, time.hour, time.minute, time.second or 0)
            local = local.replace(microsecond=hundredths * 10_000)
            offset = rule.offset(self.deviation)
            if offset is None:
                return zone_to_utc(local, rule.zone, self.daylight_saving)
            return local.replace(tzinfo=UTC) + offset
        except (ValueError, OverflowError):
            raise DecodeError(f"{self} is no date and time") from None

    @property
    def daylight_saving(self) -> bool | None:
        """The clock status's bit; None where there is no status."""
        return None if self.status is None else bool(self.status & ClockStatus.DAYLIGHT_SAVING)

    @classmethod
    def from_utc(cls, moment: datetime, rule: TimeZoneRule) -> "CosemDateTime":
        """How a clock that follows `rule` writes the aware `moment`."""
        local = moment.astimezone(rule.zone)
        deviation = None
        if rule.deviation_valid:
            east = round((local.utcoffset() or timedelta()) / timedelta(minutes=1))
            deviation = -rule.deviation_sign * east
        return cls(
            CosemDate(local.year, local.month, local.day, local.isoweekday()),
            CosemTime(local.hour, local.minute, local.second, local.microsecond // 10_000),
            deviation,
            ClockStatus.DAYLIGHT_SAVING if local.dst() else 0,
        )

    def __str__(self) -> str:
        return f"{self.date} {self.time}"


def zone_to_utc(local: datetime, zone: tzinfo, daylight_saving: bool | None, near: datetime | None = None) -> datetime:
    """The UTC time of the naive `local` in `zone`.

    Where local time is ambiguous, `daylight_saving` decides; where it is None, the one closer to `near`; without that,
    the first. A local time that the zone leaps over is read with the offset before the leap, if nothing says summer.
    """
    first, second = (local.replace(tzinfo=zone, fold=fold).utcoffset() or timedelta() for fold in (0, 1))
    early = (local - first).replace(tzinfo=UTC)
    if first == second:
        return early
    late = (local - second).replace(tzinfo=UTC)
    if daylight_saving is not None:
        summer, winter = (early, late) if first > second else (late, early)
        return summer if daylight_saving else winter
    if near is not None and first > second:
        return min(early, late, key=lambda moment: abs(moment - near))
    return early


def _specified(value: int, wildcard: int = 0xFF) -> int | None:
    return None if value == wildcard else value


def _wildcard(value: int | None) -> int:
    return 0xFF if value is None else value


def _packed(form: struct.Struct, *fields: int) -> bytes:
    try:
        return form.pack(*fields)
    except struct.error as error:
        raise ValueError(f"a date or time field that does not fit: {fields}") from error


def _shown(value: int | None, width: int = 2) -> str:
    return "*" * width if value is None else f"{value:0{width}d}"
