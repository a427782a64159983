"""The objects of a meter's firmware: image transfer (class 18), and which firmware is active.

Source: DLMS Blue Book (IEC 62056-6-2) clause 4.4.6; OBIS 1-b:0.2.0 and 1-b:0.2.8 (IEC 62056-6-1).
"""

from dcu.cosem.apdu import ActionResult
from dcu.cosem.application import Denied
from dcu.cosem.axdr import Data
from dcu.model import Obis
from neighbourhood import values
from neighbourhood.image import Busy, Status
from neighbourhood.meter import Event, Meter
from neighbourhood.objects import Attribute, Method, Right, Thing, data
from neighbourhood.taken import flag, integer, octets, parts

_TOLD = {
    Status.VERIFIED: Event.FIRMWARE_READY,
    Status.NOT_VERIFIED: Event.FIRMWARE_REFUSED,
    Status.ACTIVATED: Event.FIRMWARE_ACTIVE,
}


def look(meter: Meter) -> None:
    """Take note of what took time and is over."""
    image, now = meter.works.image, meter.now()
    before = image.known
    if (status := image.status(now)) is not before and status in _TOLD:
        meter.record(_TOLD[status])


def _enable(meter: Meter, value: Data) -> None:
    meter.works.image.enabled = flag(value)


def _blocks(meter: Meter) -> bytes:
    held = meter.works.image.held
    return values.bits(int(held.translate(_DIGITS) or b"0", 2), len(held))


_DIGITS = bytes.maketrans(b"\0\1", b"01")


def _to_activate(meter: Meter) -> bytes:
    image = meter.works.image
    if image.status(meter.now()) < Status.VERIFIED or image.status(meter.now()) is Status.NOT_VERIFIED:
        return values.array([])
    one = values.structure(values.u32(image.size), values.octets(image.identifier), values.octets(image.digest))
    return values.array([one])


def _initiate(meter: Meter, value: Data) -> bool:
    identifier, size = parts(value, 2)
    return meter.works.image.initiate(octets(identifier), integer(size))


def _take(meter: Meter, value: Data) -> bool:
    number, block = parts(value, 2)
    try:
        return meter.works.image.take(integer(number), octets(block))
    except Busy:
        raise Denied(ActionResult.TEMPORARY_FAILURE) from None


def _verify(meter: Meter, value: Data) -> bool:
    integer(value)
    try:
        return meter.works.image.verify(meter.now())
    except Busy:
        raise Denied(ActionResult.TEMPORARY_FAILURE) from None


def _activate(meter: Meter, value: Data) -> bool:
    integer(value)
    try:
        return meter.works.image.activate(meter.now())
    except Busy:
        raise Denied(ActionResult.TEMPORARY_FAILURE) from None


def _version(meter: Meter) -> bytes:
    meter.works.image.status(meter.now())
    return values.octets(meter.works.image.version.encode())


IMAGE = Obis.parse("0-0:44.0.0*255")
THINGS: tuple[Thing, ...] = (
    Thing(
        18,
        0,
        IMAGE,
        (
            Attribute(2, lambda m, _: values.u32(m.works.image.block_size)),
            Attribute(3, lambda m, _: _blocks(m)),
            Attribute(4, lambda m, _: values.u32(m.works.image.first_missing)),
            Attribute(5, lambda m, _: values.boolean(m.works.image.enabled), put=_enable, write=Right.SECURED),
            Attribute(6, lambda m, _: values.enum(m.works.image.status(m.now()))),
            Attribute(7, lambda m, _: _to_activate(m)),
        ),
        (Method(1, _initiate), Method(2, _take), Method(3, _verify), Method(4, _activate)),
    ),
    data("1-0:0.2.0*255", _version),
)
