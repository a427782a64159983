"""How a meter writes moments: COSEM date-times of its zone, its deviation's sign, its habits.

A meter speaks local time. Which way its deviation counts is a matter of its maker (the Blue Book says UTC = local +
deviation; meters of several countries do the opposite), and some makers leave it out: then only the daylight-saving bit
of the clock status tells the two readings of the doubled autumn hour apart. This is written here a second time, apart
from the product's own codec, so that a wrong sign in one of them cannot hide in the other.

Source: DLMS Blue Book (IEC 62056-6-2) clause 4.1.6.1 (date-time), clock status.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo

from neighbourhood.patterns import Saving

UNSPECIFIED = 0x8000
SUMMER = 0x80  # clock status: daylight saving active
ANY = 0xFF


@dataclass(frozen=True, slots=True)
class Zone:
    """Where a meter stands and how it writes its deviation.

    sign: +1 as the Blue Book says (UTC = local + deviation), -1 the opposite; deviation: False writes 0x8000.
    rules: the clock's own, in place of the named zone's.
    """

    name: str = "UTC"
    sign: int = 1
    deviation: bool = True
    rules: Saving | None = None

    @property
    def tz(self) -> tzinfo:
        return self.rules or _zone(self.name)


def stamp(second: int, zone: Zone) -> bytes:
    """UTC `second` as the 12 bytes of a date-time."""
    local = datetime.fromtimestamp(second, zone.tz)
    offset = local.utcoffset() or timedelta()
    minutes = int(offset.total_seconds()) // 60
    deviation = -zone.sign * minutes & 0xFFFF if zone.deviation else UNSPECIFIED
    return b"%c%c%c%c%c%c%c%c%c%c%c%c" % (
        *local.year.to_bytes(2, "big"),
        local.month,
        local.day,
        local.isoweekday(),
        local.hour,
        local.minute,
        local.second,
        0,
        *deviation.to_bytes(2, "big"),
        SUMMER if local.dst() else 0,
    )


def unstamp(raw: bytes, zone: Zone) -> int:
    """The UTC second that the 12 bytes of a date-time mean to this meter; raises ValueError where they mean none.

    A client's date-time without deviation is local time, its daylight-saving bit choosing in the doubled hour.
    """
    if len(raw) != 12:
        raise ValueError(f"a date-time of {len(raw)} bytes")
    hour, minute, second = (0 if part == ANY else part for part in raw[5:8])
    local = datetime(int.from_bytes(raw[:2], "big"), raw[2], raw[3], hour, minute, second)
    deviation = int.from_bytes(raw[9:11], "big", signed=True)
    if deviation & 0xFFFF != UNSPECIFIED:
        return int((local.replace(tzinfo=UTC) + timedelta(minutes=zone.sign * deviation)).timestamp())
    first, second_time = (local.replace(tzinfo=zone.tz, fold=fold) for fold in (0, 1))
    doubled = first.utcoffset() != second_time.utcoffset() and bool(first.dst())
    winter = doubled and raw[11] != ANY and not raw[11] & SUMMER
    return int((second_time if winter else first).timestamp())


def summertime(second: int, zone: Zone) -> bool:
    return bool(datetime.fromtimestamp(second, zone.tz).dst())


def changes(zone: Zone, year: int) -> list[tuple[int, int]]:
    """When the zone's clocks change in `year`: (UTC second, minutes added)."""
    start = int(datetime(year, 1, 1, tzinfo=UTC).timestamp())
    found = []
    for day in range(start, start + 365 * 86_400, 86_400):
        before, after = _minutes(day, zone), _minutes(day + 86_400, zone)
        if before != after:
            change = next(at for at in range(day, day + 86_401, 900) if _minutes(at, zone) != before)
            found.append((change, after - before))
    return found


def standard_minutes(zone: Zone, second: int) -> int:
    """The zone's offset without daylight saving, in minutes."""
    local = datetime.fromtimestamp(second, zone.tz)
    return int(((local.utcoffset() or timedelta()) - (local.dst() or timedelta())).total_seconds()) // 60


def _minutes(second: int, zone: Zone) -> int:
    return int((datetime.fromtimestamp(second, zone.tz).utcoffset() or timedelta()).total_seconds()) // 60


@lru_cache(maxsize=32)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)
