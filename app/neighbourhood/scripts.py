"""A meter's script tables (class 9) and single action schedules (class 22): what it does when it is told, or when its
clock says so.

Source: DLMS Blue Book (IEC 62056-6-2) clauses 4.5.2 (script table), 4.5.7 (single action schedule).
"""

from contextlib import suppress

from dcu.cosem import axdr
from dcu.cosem.application import Denied
from dcu.cosem.axdr import Data
from dcu.model import Obis
from neighbourhood import values
from neighbourhood.meter import MANAGEMENT, Meter
from neighbourhood.objects import Attribute, Method, Right, Thing, fixed
from neighbourhood.patterns import check_date, check_time, upcoming
from neighbourhood.relay import Trigger
from neighbourhood.taken import integer, items, name, octets, parts, signed, unsigned
from neighbourhood.works import (
    ACTIVATION,
    DISCONNECTION,
    EXECUTE,
    PUSHES,
    TARIFFS,
    WRITE,
    Action,
    Schedule,
    Scripts,
)

MOST = 32  # scripts of a table, actions of a script
ONE_TIME = 1  # the type of schedules: one time or none, with wildcards in its date


def run(meter: Meter, table: Obis, selector: int, *, local: bool = False) -> bool:
    """Execute a script; whether there is one. What an action is refused does not keep the next from being tried.

    local: it is a function of the meter that does it, so that the relay is switched locally, not remotely.
    """
    actions = meter.works.scripts.get(table, {}).get(selector)
    for action in actions or ():
        with suppress(Denied, ValueError, TypeError, KeyError):
            if local and (trigger := _LOCAL.get((action.service, action.class_id, action.index))):
                meter.switch(trigger)
            else:
                _perform(meter, action)
    return actions is not None


_LOCAL = {(EXECUTE, 70, 1): Trigger.LOCAL_DISCONNECT, (EXECUTE, 70, 2): Trigger.LOCAL_RECONNECT}


def _perform(meter: Meter, action: Action) -> None:
    from neighbourhood.device import thing_of  # the objects have scripts, and scripts act on objects

    thing = thing_of(action.obis)
    if thing is None or thing.class_id != action.class_id:
        raise ValueError(f"no object {action.obis}")
    if action.service == WRITE:
        put = next((each.put for each in thing.attributes if each.number == action.index), None)
        if put is not None:
            put(meter, action.parameter)
        return
    method = next((each for each in thing.methods if each.number == action.index), None)
    if method is not None and method.call is not None:
        method.call(meter, MANAGEMENT, action.parameter)
    elif method is not None and method.run is not None:
        method.run(meter, action.parameter)


# class 9


def _written(scripts: Scripts) -> bytes:
    return values.array(
        [
            values.structure(
                values.u16(number),
                values.array(
                    [
                        values.structure(
                            values.enum(each.service),
                            values.u16(each.class_id),
                            values.octets(each.obis.raw),
                            values.i8(each.index),
                            axdr.encode(each.parameter),
                        )
                        for each in actions
                    ]
                ),
            )
            for number, actions in scripts.items()
        ]
    )


def _read(value: Data) -> Scripts:
    found: Scripts = {}
    for script in items(value, MOST):
        number, actions = parts(script, 2)
        found[unsigned(number, 16)] = tuple(map(_action, items(actions, MOST)))
    return found


def _action(value: Data) -> Action:
    service, class_id, obis, index, parameter = parts(value, 5)
    if integer(service) not in (WRITE, EXECUTE):
        raise ValueError("a script writes (1) or executes (2)")
    return Action(integer(service), unsigned(class_id, 16), name(obis), signed(index, 8), parameter)


def _table(obis: Obis) -> Thing:
    def put(meter: Meter, value: Data) -> None:
        meter.works.scripts[obis] = _read(value)

    def execute(meter: Meter, value: Data) -> bool:
        return run(meter, obis, integer(value))

    get = Attribute(2, lambda m, _: _written(m.works.scripts[obis]), put=put, write=Right.MANAGEMENT)
    return Thing(9, 0, obis, (get,), (Method(1, execute),))


# class 22


def due(meter: Meter, schedule: Schedule, after: int) -> int | None:
    """The UTC second, by the meter's clock, of the next execution."""
    moments = (upcoming(after, time, date, meter.zone.tz) for time, date in schedule.times)
    return min((at for at in moments if at is not None), default=None)


def _script(schedule: Schedule) -> bytes:
    return values.structure(values.octets(schedule.table.raw), values.u16(schedule.selector))


def _times(schedule: Schedule) -> bytes:
    pairs = [values.structure(values.octets(time), values.octets(date)) for time, date in schedule.times]
    return values.array(pairs)


def _schedule(obis: Obis) -> Thing:
    def script(meter: Meter, value: Data) -> None:
        table, selector = parts(value, 2)
        found = meter.works.schedules[obis]
        found.table, found.selector = name(table), unsigned(selector, 16)

    def times(meter: Meter, value: Data) -> None:
        pairs = [parts(item, 2) for item in items(value, 1)]
        meter.works.schedules[obis].times = tuple(
            (check_time(octets(time)), check_date(octets(date))) for time, date in pairs
        )

    return Thing(
        22,
        0,
        obis,
        (
            Attribute(2, lambda m, _: _script(m.works.schedules[obis]), put=script, write=Right.MANAGEMENT),
            Attribute(3, fixed(values.enum(ONE_TIME))),
            Attribute(4, lambda m, _: _times(m.works.schedules[obis]), put=times, write=Right.SECURED),
        ),
    )


THINGS: tuple[Thing, ...] = (
    *map(_table, (TARIFFS, DISCONNECTION, ACTIVATION, PUSHES)),
    *(_schedule(Obis.parse(f"0-0:15.0.{number}*255")) for number in (1, 2, 4)),
)
