"""The objects that every meter of the street has, and how each answers.

Sources: DLMS Blue Book (IEC 62056-6-2): clock (class 8) 4.5.1, SAP assignment (17) 4.4.5,
disconnect control (70) 4.5.8, push setup (40) 4.4.8, security setup (64) 4.4.7, demand register (5) 4.3.4.
"""

from collections.abc import Callable

from dcu.cosem.axdr import Data, Tag
from dcu.model import Obis
from neighbourhood import (
    associations,
    firmware,
    prepayment,
    pushing,
    saving,
    scripts,
    supervision,
    tariffs,
    truth,
    values,
)
from neighbourhood.buffers import CLOCK, EVENTS, FRAUD, LOAD, Profile, status
from neighbourhood.buffers import RELAY as RELAY_LOG
from neighbourhood.meter import Event, Meter
from neighbourhood.objects import (
    VAR_HOUR,
    VOLT,
    WATT,
    WATT_HOUR,
    Attribute,
    Method,
    Right,
    Thing,
    data,
    fixed,
    profile,
    register,
    scaler_unit,
)
from neighbourhood.relay import Relay, Trigger
from neighbourhood.security_setup import SECURITY_SETUP
from neighbourhood.times import UNSPECIFIED, stamp, standard_minutes, unstamp

NEVER = b"\xff" * 9 + UNSPECIFIED.to_bytes(2, "big") + b"\xff"


# class 8: the clock


def _time(meter: Meter, _client: int) -> bytes:
    return values.octets(stamp(meter.shown(), meter.zone))


def _set_time(meter: Meter, value: Data) -> None:
    meter.set_clock(_moment(meter, value))


def _moment(meter: Meter, value: Data) -> int:
    if value.tag not in (Tag.OCTET_STRING, Tag.DATE_TIME) or not isinstance(value.value, bytes):
        raise ValueError("no date-time")
    return unstamp(value.value, meter.zone)


def _zone_minutes(meter: Meter, _client: int) -> bytes:
    zone = meter.zone
    return values.i16(-zone.sign * standard_minutes(zone, meter.now()))


def _adjust(meter: Meter, value: Data, period: int) -> bool:
    """Set the clock to the nearest multiple of `period`, the methods adjust_to_…"""
    _expect_integer(value)
    shown = meter.shown()
    meter.set_clock((shown + period // 2) // period * period)
    return True


def _preset(meter: Meter, value: Data) -> bool:
    if not isinstance(value.value, tuple) or len(value.value) != 3:
        raise ValueError("a preset time has three moments")
    preset, start, end = (_moment(meter, part) for part in value.value)
    meter.preset = preset, start, end
    return True


def _adjust_to_preset(meter: Meter, value: Data) -> bool:
    _expect_integer(value)
    if meter.preset is None or not meter.preset[1] <= meter.shown() <= meter.preset[2]:
        return False
    meter.set_clock(meter.preset[0])
    meter.preset = None
    return True


def _shift(meter: Meter, value: Data) -> bool:
    seconds = _expect_integer(value)
    if not -900 <= seconds <= 900:
        raise ValueError("shift_time takes -900..900 s")
    meter.set_clock(meter.shown() + seconds)
    return True


def _expect_integer(value: Data) -> int:
    if isinstance(value.value, bool) or not isinstance(value.value, int):
        raise ValueError("no integer")
    return value.value


CLOCK_OBJECT = Thing(
    8,
    0,
    CLOCK.obis,
    (
        Attribute(2, _time, Right.ALL, _set_time, Right.SECURED),
        Attribute(3, _zone_minutes, Right.ALL, saving.put_zone, Right.MANAGEMENT),
        Attribute(4, lambda m, _: values.u8(stamp(m.shown(), m.zone)[11]), Right.ALL),
        Attribute(5, lambda m, _: values.octets(saving.rules(m).begin), put=saving.put_begin, write=Right.MANAGEMENT),
        Attribute(6, lambda m, _: values.octets(saving.rules(m).end), put=saving.put_end, write=Right.MANAGEMENT),
        Attribute(7, lambda m, _: values.i8(saving.rules(m).minutes), put=saving.put_minutes, write=Right.MANAGEMENT),
        Attribute(
            8, lambda m, _: values.boolean(saving.rules(m).enabled), put=saving.put_enabled, write=Right.MANAGEMENT
        ),
        Attribute(9, fixed(values.enum(1))),  # an internal crystal
    ),
    (
        Method(1, lambda m, v: _adjust(m, v, truth.QUARTER)),
        Method(2, lambda m, v: _adjust(m, v, m.habits.period)),
        Method(3, lambda m, v: _adjust(m, v, 60)),
        Method(4, _adjust_to_preset),
        Method(5, _preset),
        Method(6, _shift),
    ),
)


# class 70: the relay


def _mode(meter: Meter, value: Data) -> None:
    meter.relay_mode = _expect_integer(value)


def _disconnect(meter: Meter, value: Data) -> bool:
    return _remote(meter, value, Trigger.REMOTE_DISCONNECT)


def _reconnect(meter: Meter, value: Data) -> bool:
    return _remote(meter, value, Trigger.REMOTE_RECONNECT)


def _remote(meter: Meter, value: Data, trigger: Trigger) -> bool:
    """Whether the mode knows remote control; where it is so already, that is no refusal."""
    _expect_integer(value)
    moved, allowed = meter.switch(trigger), meter.relay_mode != 0
    if allowed and not moved and trigger is Trigger.REMOTE_DISCONNECT:
        meter.record(Event.REMOTE_DISCONNECTION)  # it logs that it was told so, each time
    return allowed


# classes 4 and 5: maximum and running demand


def _demands(meter: Meter) -> list[tuple[int, int]]:
    """(W, when its quarter of an hour ended) since midnight UTC."""
    now = meter.now()
    marks = range(now // truth.DAY * truth.DAY, now + 1, truth.QUARTER)
    counted = [meter.registers(mark).active_import for mark in marks]
    return [((b - a) * 4, at) for a, b, at in zip(counted, counted[1:], marks[1:], strict=False)]


def _highest(meter: Meter) -> tuple[int, int]:
    return max(_demands(meter), default=(0, meter.now() // truth.DAY * truth.DAY))


def _last_quarter(meter: Meter) -> int:
    return meter.now() // truth.QUARTER * truth.QUARTER


def _mean(meter: Meter, first: int, last: int) -> bytes:
    gained = meter.registers(last).active_import - meter.registers(first).active_import
    return values.u32(gained * truth.HOUR // truth.QUARTER)


def _written(meter: Meter, second: int) -> bytes:
    return values.octets(stamp(second + meter.clock_error(second), meter.zone))


MAXIMUM_DEMAND = Thing(
    4,
    0,
    Obis.parse("1-0:1.6.0*255"),
    (
        Attribute(2, lambda m, _: values.u32(_highest(m)[0])),
        Attribute(3, fixed(scaler_unit(0, WATT))),
        Attribute(4, fixed(values.u8(0))),
        Attribute(5, lambda m, _: _written(m, _highest(m)[1])),
    ),
)
DEMAND = Thing(
    5,
    0,
    Obis.parse("1-0:1.4.0*255"),
    (
        Attribute(2, lambda m, _: _mean(m, _last_quarter(m), m.now())),
        Attribute(3, lambda m, _: _mean(m, _last_quarter(m) - truth.QUARTER, _last_quarter(m))),
        Attribute(4, fixed(scaler_unit(0, WATT))),
        Attribute(5, fixed(values.u8(0))),
        Attribute(6, lambda m, _: _written(m, _last_quarter(m))),
        Attribute(7, lambda m, _: _written(m, _last_quarter(m))),
        Attribute(8, fixed(values.u32(truth.QUARTER))),
        Attribute(9, fixed(values.u16(1))),
    ),
)
RELAY = Thing(
    70,
    0,
    Obis.parse("0-0:96.3.10*255"),
    (
        Attribute(2, lambda m, _: values.boolean(m.relay is Relay.CONNECTED)),
        Attribute(3, lambda m, _: values.enum(m.relay)),
        Attribute(4, lambda m, _: values.enum(m.relay_mode), put=_mode, write=Right.MANAGEMENT),
    ),
    (Method(1, _disconnect), Method(2, _reconnect)),
)
SAPS = Thing(
    17,
    0,
    Obis.parse("0-0:41.0.0*255"),
    (Attribute(2, lambda m, _: values.array([_served(each) for each in m.together or (m,)]), Right.ALL),),
)


def _served(meter: Meter) -> bytes:
    return values.structure(values.u16(meter.sap), values.octets(meter.device_name.encode()))


def _last_event(meter: Meter, log: Profile) -> bytes:
    rows = log.rows(meter)
    return values.u8(rows[-1] & 0xFF if rows else 0)


def _counted(index: int) -> Callable[[Meter], bytes]:
    return lambda meter: values.u32(meter.registers(meter.now())[index])


THINGS: tuple[Thing, ...] = (
    data("0-0:42.0.0*255", lambda m: values.octets(m.device_name.encode()), Right.ALL),
    data("0-0:96.1.0*255", lambda m: values.octets(m.serial.encode()), Right.ALL),
    data("0-0:43.1.0*255", lambda m: values.u32(m.heard.highest), Right.ALL),  # the last counter accepted of anybody
    data("0-0:43.1.1*255", lambda m: values.u32(m.heard.highest), Right.ALL),
    CLOCK_OBJECT,
    *associations.THINGS,
    SAPS,
    SECURITY_SETUP,
    register("1-0:1.8.0*255", _counted(0), WATT_HOUR),
    register("1-0:2.8.0*255", _counted(1), WATT_HOUR),
    register("1-0:3.8.0*255", _counted(2), VAR_HOUR),
    register("1-0:4.8.0*255", _counted(3), VAR_HOUR),
    register("1-0:1.7.0*255", lambda m: values.u32(m.power()[0]), WATT),
    register("1-0:2.7.0*255", lambda m: values.u32(m.power()[1]), WATT),
    register("1-0:32.7.0*255", lambda m: values.u16(truth.voltage(m.seed, m.number, m.now())), VOLT, -1),
    MAXIMUM_DEMAND,
    DEMAND,
    profile("1-0:99.1.0*255", LOAD),
    profile("0-0:99.98.0*255", EVENTS),
    profile("0-0:99.98.1*255", FRAUD),
    profile("0-0:99.98.2*255", RELAY_LOG),
    data("0-0:96.10.1*255", lambda m: values.u8(status(m, m.shown()))),
    data("0-0:96.11.0*255", lambda m: _last_event(m, EVENTS)),
    data("0-0:96.11.1*255", lambda m: _last_event(m, FRAUD)),
    data("0-0:96.11.2*255", lambda m: _last_event(m, RELAY_LOG)),
    RELAY,
    *pushing.THINGS,
    *firmware.THINGS,
    *scripts.THINGS,
    *tariffs.THINGS,
    *supervision.THINGS,
    *prepayment.THINGS,
)
