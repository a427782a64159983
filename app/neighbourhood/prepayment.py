"""The objects of a meter's prepayment: token gateway (class 115), the credit (112), and a maker's own way in.

Not every prepayment meter has a token gateway: an object of the maker's stands beside it, which takes tokens as a text
and tells the result of the last one as a number, as meters do for which the collector's adapter was made.

Source: DLMS Blue Book (IEC 62056-6-2) Token gateway (class 115), Credit (class 112).
"""

from dcu.cosem.axdr import Data, Tag
from dcu.model import Obis
from neighbourhood import values
from neighbourhood.meter import Meter
from neighbourhood.objects import Attribute, Method, Thing, fixed
from neighbourhood.taken import octets
from neighbourhood.times import stamp
from neighbourhood.tokens import Verdict

LONGEST = 64
OWN = 8_192  # the first class number that the standard leaves to makers
EXPLAINED = {Verdict.EXECUTED: 0, Verdict.RECEIVED: 1}  # the maker's own numbers; what else it says is the verdict's


def _enter(meter: Meter, digits: bytes) -> bool:
    if not 0 < len(digits) <= LONGEST:
        raise ValueError("no token")
    meter.works.prepayment.enter(digits, meter.seed, meter.number, meter.now(), meter.shown())
    return True


def _text(meter: Meter, value: Data) -> bool:
    if value.tag is not Tag.VISIBLE_STRING or not isinstance(value.value, str):
        raise ValueError("no text")
    return _enter(meter, value.value.encode("latin-1"))


def _status(meter: Meter) -> bytes:
    return values.structure(values.enum(meter.works.prepayment.verdict(meter.now())), values.bits(0, 8))


def _time(meter: Meter) -> bytes:
    at = meter.works.prepayment.at
    return values.octets(stamp(at, meter.zone) if at else b"\xff" * 9 + b"\x80\x00\xff")


def _own_status(meter: Meter) -> bytes:
    verdict = meter.works.prepayment.verdict(meter.now())
    return values.u8(EXPLAINED.get(verdict, verdict))


GATEWAY = Obis.parse("0-0:19.40.0*255")
THINGS: tuple[Thing, ...] = (
    Thing(
        115,
        0,
        GATEWAY,
        (
            Attribute(2, lambda m, _: values.octets(m.works.prepayment.last)),
            Attribute(3, lambda m, _: _time(m)),
            Attribute(4, fixed(values.array([]))),
            Attribute(5, fixed(values.enum(0))),
            Attribute(6, lambda m, _: _status(m)),
        ),
        (Method(1, lambda m, v: _enter(m, octets(v))),),
    ),
    Thing(
        OWN,
        0,
        Obis.parse("0-0:128.50.0*255"),
        (
            Attribute(2, lambda m, _: _own_status(m)),
            Attribute(3, lambda m, _: values.u32(m.works.prepayment.entered)),
        ),
        (Method(1, _text),),
    ),
    Thing(
        112,
        0,
        Obis.parse("0-0:19.10.0*255"),
        (
            Attribute(2, lambda m, _: values.i32(m.works.prepayment.credit)),
            Attribute(3, fixed(values.enum(0))),
            Attribute(4, fixed(values.u8(1))),
            Attribute(5, fixed(values.i32(1_000))),
            Attribute(6, fixed(values.i32(0))),
            Attribute(7, fixed(values.bits(0, 5))),
            Attribute(8, lambda m, _: values.enum(3 if m.works.prepayment.credit > 0 else 4)),
            Attribute(9, fixed(values.i32(0))),
            Attribute(10, fixed(values.i32(0))),
            Attribute(11, fixed(values.octets(b"\xff" * 9 + b"\x80\x00\xff"))),
        ),
    ),
)
