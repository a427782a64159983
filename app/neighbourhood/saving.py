"""A clock's daylight saving as its attributes say it (class 8, attributes 3 and 5 to 8), read from the zone or written.

What a client writes takes the place of the street's zone for this meter: its local time, and all that goes by it.

Source: DLMS Blue Book (IEC 62056-6-2) clause 4.5.1.
"""

from dataclasses import replace
from datetime import datetime

from dcu.cosem.axdr import Data
from neighbourhood.meter import Event, Meter
from neighbourhood.patterns import ANY, Saving, check_date
from neighbourhood.taken import flag, integer, octets
from neighbourhood.times import UNSPECIFIED, changes, stamp, standard_minutes

NEVER = b"\xff" * 9 + UNSPECIFIED.to_bytes(2, "big") + b"\xff"
MOST = 120  # minutes of saving


def rules(meter: Meter) -> Saving:
    """Those that were written, or what the street's zone does this year: in the local time that ends at each moment."""
    zone = meter.zone
    if zone.rules is not None:
        return zone.rules
    year = datetime.fromtimestamp(meter.now(), zone.tz).year
    found = changes(zone, year)
    begin = next((stamp(at - 1, zone) for at, minutes in found if minutes > 0), NEVER)
    end = next((stamp(at - 1, zone) for at, minutes in found if minutes < 0), NEVER)
    most = max((minutes for _, minutes in found), default=0)
    return Saving(standard_minutes(zone, meter.now()), begin, end, most, most != 0)


def put_zone(meter: Meter, value: Data) -> None:
    """Minutes of UTC before local time, or behind it: as the maker's sign has it."""
    minutes = -meter.zone.sign * integer(value)
    if not -840 <= minutes <= 840:
        raise ValueError("no time zone")
    _put(meter, standard=minutes)


def put_begin(meter: Meter, value: Data) -> None:
    _put(meter, begin=_moment(value))


def put_end(meter: Meter, value: Data) -> None:
    _put(meter, end=_moment(value))


def put_minutes(meter: Meter, value: Data) -> None:
    if not 0 <= integer(value) <= MOST:
        raise ValueError(f"a saving of 0 to {MOST} minutes")
    _put(meter, minutes=integer(value))


def put_enabled(meter: Meter, value: Data) -> None:
    if flag(value) is not rules(meter).enabled:
        meter.record(Event.SAVING_CHANGED)
    _put(meter, enabled=flag(value))


def _moment(value: Data) -> bytes:
    raw = octets(value)
    if len(raw) != 12:
        raise ValueError("no date-time")
    check_date(raw[:5])
    if raw[2] == ANY or raw[3] == ANY or raw[5] > 23:
        raise ValueError("a change has a month, a day and an hour")
    return raw


def _put(meter: Meter, **changed: object) -> None:
    meter.zone = replace(meter.zone, rules=replace(rules(meter), **changed))  # type: ignore[arg-type]
