"""What a meter watches by itself: the limiter (class 71) and a register monitor (class 21).

Both are looked after by the agenda, at the quarters of an hour in which what they watch may change, and when one of
their durations ends.

Source: DLMS Blue Book (IEC 62056-6-2) clauses 4.5.9 (limiter), 4.5.6 (register monitor).
"""

from dcu.cosem import axdr
from dcu.cosem.axdr import Data
from dcu.model import Obis
from neighbourhood import scripts, truth, values
from neighbourhood.meter import MANAGEMENT, Event, Meter
from neighbourhood.objects import Attribute, Right, Thing
from neighbourhood.taken import items, name, octets, parts, signed, unsigned
from neighbourhood.times import unstamp
from neighbourhood.works import UNLIMITED, Limiter

MOST = 8  # thresholds

Watched = tuple[int, Obis, int]


def value_of(meter: Meter, watched: Watched) -> int | None:
    """What the meter measures there; None where it is no number."""
    from neighbourhood.device import thing_of

    class_id, obis, index = watched
    thing = thing_of(obis)
    if thing is None or thing.class_id != class_id:
        return None
    get = next((each.get for each in thing.attributes if each.number == index), None)
    found = axdr.decode(get(meter, MANAGEMENT)).value if get else None
    return found if isinstance(found, int) else None


# the limiter


def armed(limiter: Limiter) -> bool:
    return limiter.tripped or min(limiter.normal, limiter.emergency) < UNLIMITED


def upcoming(meter: Meter, after: int) -> int | None:
    """The true second at which there is something to look at."""
    limiter, monitor = meter.works.limiter, meter.works.monitor
    moments = []
    if armed(limiter) or monitor.thresholds:
        moments.append((after // truth.QUARTER + 1) * truth.QUARTER)
    if armed(limiter) and limiter.changed is not None:
        moments.append(limiter.changed + (limiter.under_for if limiter.tripped else limiter.over_for))
    if (emergency := _emergency(meter)) is not None:
        moments += emergency
    return min((at for at in moments if at > after), default=None)


def _emergency(meter: Meter) -> tuple[int, int] | None:
    """When the emergency profile begins and ends, true seconds."""
    number, raw, duration = meter.works.limiter.profile
    if number not in meter.works.limiter.groups or raw[:2] == b"\xff\xff":
        return None
    shown = unstamp(raw, meter.zone)
    begins = shown - meter.clock_error(shown)
    return begins, begins + duration


def look(meter: Meter) -> None:
    """Compare, and act where a threshold was passed for long enough."""
    limiter, now = meter.works.limiter, meter.now()
    emergency = _emergency(meter)
    limiter.in_emergency = emergency is not None and emergency[0] <= now < emergency[1]
    if armed(limiter):
        _limit(meter, limiter, now)
    _monitor(meter)


def _limit(meter: Meter, limiter: Limiter, now: int) -> None:
    value = value_of(meter, limiter.watched)
    if value is None:
        return
    if (value > limiter.active) == limiter.tripped:  # on the side that it is known to be on
        limiter.changed = None
        return
    if limiter.changed is None:
        limiter.changed = now
    if now - limiter.changed < (limiter.under_for if limiter.tripped else limiter.over_for):
        return
    limiter.tripped, limiter.changed = not limiter.tripped, None
    meter.record(Event.LIMIT_EXCEEDED if limiter.tripped else Event.LIMIT_KEPT)
    scripts.run(meter, *(limiter.over if limiter.tripped else limiter.under), local=True)


def _monitor(meter: Meter) -> None:
    monitor = meter.works.monitor
    value = value_of(meter, monitor.watched) if monitor.thresholds else None
    if value is None:
        return
    above = [value > threshold for threshold in monitor.thresholds]
    before, monitor.above = monitor.above, above
    if len(before) != len(above):
        return  # the first look: nothing was crossed yet
    for was, now, (up, down) in zip(before, above, monitor.actions, strict=False):
        if was is not now:
            scripts.run(meter, *(up if now else down), local=True)


# as objects


def _watched(watched: Watched) -> bytes:
    class_id, obis, index = watched
    return values.structure(values.u16(class_id), values.octets(obis.raw), values.i8(index))


def _watch(value: Data) -> Watched:
    class_id, obis, index = parts(value, 3)
    return unsigned(class_id, 16), name(obis), signed(index, 8)


def _item(item: tuple[Obis, int]) -> bytes:
    return values.structure(values.octets(item[0].raw), values.u16(item[1]))


def _script(value: Data) -> tuple[Obis, int]:
    table, selector = parts(value, 2)
    return name(table), unsigned(selector, 16)


def _put_watched(meter: Meter, value: Data) -> None:
    meter.works.limiter.watched = _watch(value)


def _put_normal(meter: Meter, value: Data) -> None:
    meter.works.limiter.normal = unsigned(value, 32)


def _put_emergency(meter: Meter, value: Data) -> None:
    meter.works.limiter.emergency = unsigned(value, 32)


def _put_over_for(meter: Meter, value: Data) -> None:
    meter.works.limiter.over_for = unsigned(value, 32)


def _put_under_for(meter: Meter, value: Data) -> None:
    meter.works.limiter.under_for = unsigned(value, 32)


def _put_profile(meter: Meter, value: Data) -> None:
    number, begins, duration = parts(value, 3)
    if octets(begins)[:2] != b"\xff\xff":
        unstamp(octets(begins), meter.zone)
    meter.works.limiter.profile = unsigned(number, 16), octets(begins), unsigned(duration, 32)


def _put_groups(meter: Meter, value: Data) -> None:
    meter.works.limiter.groups = tuple(unsigned(item, 16) for item in items(value, MOST))


def _put_actions(meter: Meter, value: Data) -> None:
    over, under = parts(value, 2)
    meter.works.limiter.over, meter.works.limiter.under = _script(over), _script(under)


def _profile(limiter: Limiter) -> bytes:
    number, begins, duration = limiter.profile
    return values.structure(values.u16(number), values.octets(begins), values.u32(duration))


def _put_thresholds(meter: Meter, value: Data) -> None:
    monitor = meter.works.monitor
    monitor.thresholds, monitor.above = tuple(unsigned(item, 32) for item in items(value, MOST)), []
    _monitor(meter)


def _put_monitored(meter: Meter, value: Data) -> None:
    meter.works.monitor.watched, meter.works.monitor.above = _watch(value), []
    _monitor(meter)


def _put_sets(meter: Meter, value: Data) -> None:
    sets = [parts(item, 2) for item in items(value, MOST)]
    meter.works.monitor.actions = tuple((_script(up), _script(down)) for up, down in sets)


_MANAGED = Right.MANAGEMENT
THINGS: tuple[Thing, ...] = (
    Thing(
        71,
        0,
        Obis.parse("0-0:17.0.0*255"),
        (
            Attribute(2, lambda m, _: _watched(m.works.limiter.watched), put=_put_watched, write=_MANAGED),
            Attribute(3, lambda m, _: values.u32(m.works.limiter.active)),
            Attribute(4, lambda m, _: values.u32(m.works.limiter.normal), put=_put_normal, write=_MANAGED),
            Attribute(5, lambda m, _: values.u32(m.works.limiter.emergency), put=_put_emergency, write=_MANAGED),
            Attribute(6, lambda m, _: values.u32(m.works.limiter.over_for), put=_put_over_for, write=_MANAGED),
            Attribute(7, lambda m, _: values.u32(m.works.limiter.under_for), put=_put_under_for, write=_MANAGED),
            Attribute(8, lambda m, _: _profile(m.works.limiter), put=_put_profile, write=_MANAGED),
            Attribute(
                9,
                lambda m, _: values.array(list(map(values.u16, m.works.limiter.groups))),
                put=_put_groups,
                write=_MANAGED,
            ),
            Attribute(10, lambda m, _: values.boolean(m.works.limiter.in_emergency)),
            Attribute(
                11,
                lambda m, _: values.structure(_item(m.works.limiter.over), _item(m.works.limiter.under)),
                put=_put_actions,
                write=_MANAGED,
            ),
        ),
    ),
    Thing(
        21,
        0,
        Obis.parse("0-0:16.0.1*255"),
        (
            Attribute(
                2,
                lambda m, _: values.array(list(map(values.u32, m.works.monitor.thresholds))),
                put=_put_thresholds,
                write=_MANAGED,
            ),
            Attribute(3, lambda m, _: _watched(m.works.monitor.watched), put=_put_monitored, write=_MANAGED),
            Attribute(
                4,
                lambda m, _: values.array(
                    [values.structure(_item(up), _item(down)) for up, down in m.works.monitor.actions]
                ),
                put=_put_sets,
                write=_MANAGED,
            ),
        ),
    ),
)
