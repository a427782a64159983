"""The push setup (class 40): what a meter tells of itself, to whom, and when it is told to.

The method, and the push script that calls it, make the notification; it goes out with the meter's next answer, when the
street has sockets. A simulation's meters push to loopback addresses only.

Source: DLMS Blue Book (IEC 62056-6-2) clause 4.4.8.
"""

from dcu.cosem.axdr import Data
from dcu.model import AttributeRef, Obis
from neighbourhood import values
from neighbourhood.meter import MANAGEMENT, Meter
from neighbourhood.objects import Attribute, Method, Right, Thing, capture_object
from neighbourhood.taken import integer, items, name, octets, parts, signed, unsigned

MOST = 16  # objects, windows
TCP, UDP = 0, 1


def _objects(meter: Meter) -> bytes:
    refs = (AttributeRef(*each) for each in meter.works.push.objects)
    return values.array([capture_object(ref) for ref in refs])


def _put_objects(meter: Meter, value: Data) -> None:
    found = []
    for item in items(value, MOST):
        class_id, obis, attribute, index = parts(item, 4)
        if integer(index) != 0:
            raise ValueError("whole attributes are pushed")
        found.append((unsigned(class_id, 16), name(obis), signed(attribute, 8)))
    meter.works.push.objects = tuple(found)


def _destination(meter: Meter, value: Data) -> None:
    service, destination, message = parts(value, 3)
    if integer(service) not in (TCP, UDP) or integer(message) != 0:
        raise ValueError("TCP (0) or UDP (1), an A-XDR encoded xDLMS APDU (0)")
    meter.destination = octets(destination)[:128]
    meter.transport = integer(service)


def _put_window(meter: Meter, value: Data) -> None:
    windows = [parts(item, 2) for item in items(value, MOST)]
    found = tuple((octets(start), octets(end)) for start, end in windows)
    if any(len(moment) != 12 for window in found for moment in window):
        raise ValueError("a window has two date-times")
    meter.works.push.window = found


def _window(meter: Meter) -> bytes:
    return values.array([values.structure(*map(values.octets, each)) for each in meter.works.push.window])


def _put_interval(meter: Meter, value: Data) -> None:
    meter.works.push.start_interval = _within(value, 0xFFFF)


def _put_retries(meter: Meter, value: Data) -> None:
    meter.works.push.retries = _within(value, 0xFF)


def _put_delay(meter: Meter, value: Data) -> None:
    meter.works.push.delay = _within(value, 0xFFFF)


def _within(value: Data, most: int) -> int:
    if not 0 <= integer(value) <= most:
        raise ValueError(f"0..{most}")
    return integer(value)


def _push(meter: Meter, value: Data) -> bool:
    """Say what the list names, as it is now."""
    integer(value)
    from neighbourhood.device import thing_of  # the objects have this one among them

    said = []
    for class_id, obis, number in meter.works.push.objects:
        thing = thing_of(obis)
        found = [each for each in thing.attributes if each.number == number] if thing else []
        get = found[0].get if found and thing and thing.class_id == class_id else None
        said.append(get(meter, MANAGEMENT) if get else values.NULL)
    meter.works.push.sent.append(values.structure(*said))
    return True


PUSH = Obis.parse("0-0:25.9.0*255")
_MANAGED = Right.MANAGEMENT
THINGS: tuple[Thing, ...] = (
    Thing(
        40,
        0,
        PUSH,
        (
            Attribute(2, lambda m, _: _objects(m), put=_put_objects, write=_MANAGED),
            Attribute(
                3,
                lambda m, _: values.structure(values.enum(m.transport), values.octets(m.destination), values.enum(0)),
                put=_destination,
                write=_MANAGED,
            ),
            Attribute(4, lambda m, _: _window(m), put=_put_window, write=_MANAGED),
            Attribute(5, lambda m, _: values.u16(m.works.push.start_interval), put=_put_interval, write=_MANAGED),
            Attribute(6, lambda m, _: values.u8(m.works.push.retries), put=_put_retries, write=_MANAGED),
            Attribute(7, lambda m, _: values.u16(m.works.push.delay), put=_put_delay, write=_MANAGED),
        ),
        (Method(1, _push),),
    ),
)
