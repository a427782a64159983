"""A meter's tariffs: activity calendar (class 20), special days (11), register activation (6) and the rates' registers.

The calendar executes scripts at its times, these write the active mask, and the mask says which rates count: nothing is
counted by itself, a rate is what the meter measured while its mask was active.

Source: DLMS Blue Book (IEC 62056-6-2) clauses 4.3.5, 4.5.4 to 4.5.6.
"""

from dataclasses import replace
from datetime import date, datetime, timedelta

from dcu.cosem.axdr import Data
from dcu.model import AttributeRef, Obis
from neighbourhood import scripts, values
from neighbourhood.meter import Event, Meter
from neighbourhood.objects import WATT_HOUR, Attribute, Method, Right, Thing, register
from neighbourhood.patterns import check_date, check_time, fits, local, seconds
from neighbourhood.taken import integer, items, name, octets, parts, unsigned
from neighbourhood.times import unstamp
from neighbourhood.works import ANY_MOMENT, RATES, DayAction, Plan, Season, Tariffs

MOST = 50  # seasons, weeks, days, actions, special days
REGISTERS = tuple(AttributeRef(3, Obis.parse(f"1-0:1.8.{rate + 1}*255"), 2) for rate in range(RATES))


# what is counted


def counted(meter: Meter, rate: int) -> int:
    """Wh of a rate."""
    tariffs = meter.works.tariffs
    return tariffs.counted[rate] + (_since(meter, tariffs) if rate in tariffs.masks.get(tariffs.mask, ()) else 0)


def _since(meter: Meter, tariffs: Tariffs) -> int:
    return meter.registers(meter.now()).active_import - meter.registers(tariffs.since).active_import


def _settle(meter: Meter) -> Tariffs:
    """Bring what was counted up to now, before the rates change."""
    tariffs = meter.works.tariffs
    gained = _since(meter, tariffs)
    for rate in tariffs.masks.get(tariffs.mask, ()):
        tariffs.counted[rate] += gained
    tariffs.since = meter.now()
    return tariffs


def _activate_mask(meter: Meter, value: Data) -> None:
    mask = octets(value)
    if mask not in meter.works.tariffs.masks:
        raise ValueError("no such mask")
    _settle(meter).mask = mask


def _add_mask(meter: Meter, value: Data) -> bool:
    mask, indexes = parts(value, 2)
    rates = tuple(integer(item) for item in items(indexes, RATES))
    if not 0 < len(octets(mask)) <= 32 or any(not 0 <= rate < RATES for rate in rates):
        raise ValueError("a mask has a name, and indexes of registers")
    tariffs = _settle(meter)
    if octets(mask) not in tariffs.masks and len(tariffs.masks) >= MOST:
        return False
    tariffs.masks[octets(mask)] = rates
    return True


def _delete_mask(meter: Meter, value: Data) -> bool:
    tariffs = meter.works.tariffs
    return octets(value) != tariffs.mask and tariffs.masks.pop(octets(value), None) is not None


def _masks(meter: Meter) -> bytes:
    return values.array(
        [
            values.structure(values.octets(mask), values.array(list(map(values.u8, rates))))
            for mask, rates in meter.works.tariffs.masks.items()
        ]
    )


# the calendar


def upcoming(meter: Meter, after: int) -> int | None:
    """The UTC second, by the meter's clock, at which the calendar does something next: within two days."""
    tariffs, tz = meter.works.tariffs, meter.zone.tz
    start = local(after, tz).date()
    found = []
    for ahead in range(-1, 3):
        day = start + timedelta(days=ahead)
        midnight = datetime(day.year, day.month, day.day)
        for action in tariffs.active.days.get(day_id(tariffs, day), ()):
            for at in seconds(action.time):
                found.append(int((midnight + timedelta(seconds=at)).replace(tzinfo=tz).timestamp()))
    if (switch := _switch(meter)) is not None:
        found.append(switch)
    return min((at for at in found if at > after), default=None)


def _switch(meter: Meter) -> int | None:
    raw = meter.works.tariffs.switch_at
    return None if raw[:2] == b"\xff\xff" else unstamp(raw, meter.zone)


def act(meter: Meter, at: int) -> None:
    """Do what is due when the clock shows `at`."""
    if at == _switch(meter):
        take_passive(meter)
    shown = local(at, meter.zone.tz)
    second = shown.hour * 3_600 + shown.minute * 60 + shown.second
    for action in meter.works.tariffs.active.days.get(day_id(meter.works.tariffs, shown.date()), ()):
        if second in seconds(action.time):
            scripts.run(meter, action.table, action.selector)


def catch_up(meter: Meter) -> None:
    """Do again what the calendar did last: it is new, or the meter is."""
    shown = local(meter.shown(), meter.zone.tz)
    second = shown.hour * 3_600 + shown.minute * 60 + shown.second
    tariffs, day = meter.works.tariffs, shown.date()
    for ahead in range(7):
        candidates = [
            (at, action)
            for action in tariffs.active.days.get(day_id(tariffs, day - timedelta(days=ahead)), ())
            for at in seconds(action.time)
            if ahead or at <= second
        ]
        if candidates:
            _, last = max(candidates, key=lambda each: each[0])
            scripts.run(meter, last.table, last.selector)
            return


def day_id(tariffs: Tariffs, day: date) -> int:
    for pattern, special in tariffs.special.values():
        if fits(pattern, day):
            return special
    week = tariffs.active.weeks.get(_week(tariffs.active.seasons, day), ())
    return week[day.weekday()] if len(week) == 7 else 0


def _week(seasons: tuple[Season, ...], day: date) -> bytes:
    """Of the season that began last, in this year or the one before."""
    begun = [(start, season.week) for season in seasons for start in _starts(season.start, day) if start <= day]
    return max(begun, default=(None, b""), key=lambda each: each[0] or date.min)[1]


def _starts(raw: bytes, day: date) -> list[date]:
    year, month, number = int.from_bytes(raw[:2], "big"), raw[2], raw[3]
    if raw[:4] == b"\xff\xff\xff\xff":
        return [date.min]
    years = (day.year - 1, day.year) if year == 0xFFFF else (year,)
    return [date(each, 1 if month == 0xFF else month, 1 if number == 0xFF else number) for each in years]


def take_passive(meter: Meter) -> None:
    tariffs = meter.works.tariffs
    tariffs.active, tariffs.switch_at = tariffs.passive, ANY_MOMENT
    meter.record(Event.CALENDAR_ACTIVE)
    catch_up(meter)


def _activate_passive(meter: Meter, value: Data) -> bool:
    integer(value)
    take_passive(meter)
    return True


def _switch_at(meter: Meter, value: Data) -> None:
    raw = octets(value)
    if raw[:2] != b"\xff\xff":
        unstamp(raw, meter.zone)
    meter.works.tariffs.switch_at = raw


def _name(meter: Meter, value: Data) -> None:
    tariffs = meter.works.tariffs
    tariffs.passive = replace(tariffs.passive, name=octets(value)[:32])
    meter.record(Event.CALENDAR_PROGRAMMED)


def _seasons(meter: Meter, value: Data) -> None:
    found = []
    for item in items(value, MOST):
        season, start, week = map(octets, parts(item, 3))
        if len(start) != 12 or (start[2] != 0xFF and not 1 <= start[2] <= 12) or (start[3] != 0xFF and start[3] > 31):
            raise ValueError("no start of a season")
        found.append(Season(season, start, week))
    tariffs = meter.works.tariffs
    tariffs.passive = replace(tariffs.passive, seasons=tuple(found))


def _weeks(meter: Meter, value: Data) -> None:
    found = {}
    for item in items(value, MOST):
        week, *days = parts(item, 8)
        found[octets(week)] = tuple(unsigned(day, 8) for day in days)
    tariffs = meter.works.tariffs
    tariffs.passive = replace(tariffs.passive, weeks=found)


def _days(meter: Meter, value: Data) -> None:
    found = {}
    for item in items(value, MOST):
        number, actions = parts(item, 2)
        schedule = [parts(action, 3) for action in items(actions, MOST)]
        found[unsigned(number, 8)] = tuple(
            DayAction(check_time(octets(at)), name(table), unsigned(selector, 16)) for at, table, selector in schedule
        )
    tariffs = meter.works.tariffs
    tariffs.passive = replace(tariffs.passive, days=found)


def _written_seasons(plan: Plan) -> bytes:
    rows = [values.structure(*map(values.octets, (each.name, each.start, each.week))) for each in plan.seasons]
    return values.array(rows)


def _written_weeks(plan: Plan) -> bytes:
    rows = [values.structure(values.octets(week), *map(values.u8, days)) for week, days in plan.weeks.items()]
    return values.array(rows)


def _written_days(plan: Plan) -> bytes:
    def action(each: DayAction) -> bytes:
        return values.structure(values.octets(each.time), values.octets(each.table.raw), values.u16(each.selector))

    rows = [
        values.structure(values.u8(number), values.array(list(map(action, actions))))
        for number, actions in plan.days.items()
    ]
    return values.array(rows)


# special days


def _special(meter: Meter) -> bytes:
    rows = [
        values.structure(values.u16(index), values.octets(day), values.u8(number))
        for index, (day, number) in meter.works.tariffs.special.items()
    ]
    return values.array(rows)


def _entry(value: Data) -> tuple[int, tuple[bytes, int]]:
    index, day, number = parts(value, 3)
    return unsigned(index, 16), (check_date(octets(day)), unsigned(number, 8))


def _set_special(meter: Meter, value: Data) -> None:
    meter.works.tariffs.special = dict(map(_entry, items(value, MOST)))


def _insert(meter: Meter, value: Data) -> bool:
    index, entry = _entry(value)
    tariffs = meter.works.tariffs
    special = {at: each for at, each in tariffs.special.items() if at != index and each[0] != entry[0]}
    if len(special) >= MOST:
        return False
    tariffs.special = special
    special[index] = entry
    return True


def _delete(meter: Meter, value: Data) -> bool:
    return meter.works.tariffs.special.pop(integer(value), None) is not None


THINGS: tuple[Thing, ...] = (
    *(
        register(f"1-0:1.8.{rate + 1}*255", lambda m, rate=rate: values.u32(counted(m, rate)), WATT_HOUR)  # type: ignore[misc]
        for rate in range(RATES)
    ),
    Thing(
        6,
        0,
        Obis.parse("0-0:14.0.0*255"),
        (
            Attribute(
                2,
                lambda _, __: values.array(
                    [values.structure(values.u16(each.class_id), values.octets(each.obis.raw)) for each in REGISTERS]
                ),
            ),
            Attribute(3, lambda m, _: _masks(m)),
            Attribute(4, lambda m, _: values.octets(m.works.tariffs.mask), put=_activate_mask, write=Right.MANAGEMENT),
        ),
        (
            Method(1, lambda _, __: False, Right.MANAGEMENT),  # its registers are what they are
            Method(2, _add_mask, Right.MANAGEMENT),
            Method(3, _delete_mask, Right.MANAGEMENT),
        ),
    ),
    Thing(
        20,
        0,
        Obis.parse("0-0:13.0.0*255"),
        (
            Attribute(2, lambda m, _: values.octets(m.works.tariffs.active.name)),
            Attribute(3, lambda m, _: _written_seasons(m.works.tariffs.active)),
            Attribute(4, lambda m, _: _written_weeks(m.works.tariffs.active)),
            Attribute(5, lambda m, _: _written_days(m.works.tariffs.active)),
            Attribute(6, lambda m, _: values.octets(m.works.tariffs.passive.name), put=_name, write=Right.MANAGEMENT),
            Attribute(7, lambda m, _: _written_seasons(m.works.tariffs.passive), put=_seasons, write=Right.MANAGEMENT),
            Attribute(8, lambda m, _: _written_weeks(m.works.tariffs.passive), put=_weeks, write=Right.MANAGEMENT),
            Attribute(9, lambda m, _: _written_days(m.works.tariffs.passive), put=_days, write=Right.MANAGEMENT),
            Attribute(
                10, lambda m, _: values.octets(m.works.tariffs.switch_at), put=_switch_at, write=Right.MANAGEMENT
            ),
        ),
        (Method(1, _activate_passive, Right.MANAGEMENT),),
    ),
    Thing(
        11,
        0,
        Obis.parse("0-0:11.0.0*255"),
        (Attribute(2, lambda m, _: _special(m), put=_set_special, write=Right.MANAGEMENT),),
        (Method(1, _insert, Right.MANAGEMENT), Method(2, _delete, Right.MANAGEMENT)),
    ),
)
