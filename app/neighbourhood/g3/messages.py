"""LOADng's messages as they follow the escape ``40 01``; all fields big-endian.

RREQ 00, RREP 01: ``destination 2 | originator 2 | sequence 2 | repair 1 bit, unicast 1, metric 4, 0 2 | cost 2 |
hop limit 4, hop count 4 | weak links 4, 0 4``. RERR 02: ``destination 2 | originator 2 | code | unreachable 2 |
hop limit 4, 0 4``. PREQ FC: ``destination 2 | originator 2 | metric 4, 0 28 | hops``; PREP FD: ``destination 2 |
expected originator 2 | metric 4, 0 12 | originator 2 | hops``; a hop is ``address 2 | flags | cost``.
RLCREQ FE: ``destination 2 | originator 2 | metric 4, 0 4``; RLCREP FF: the same, then ``cost``.

Source: ITU-T G.9903, 9.4.3 and annex D. [K]: the metric's place in its byte, the RLC messages' fields.
"""

from dataclasses import dataclass
from enum import IntEnum
from struct import Struct

from dcu.errors import DecodeError
from neighbourhood.g3.tables import PathHop

COMPOSITE = 0xF  # the metric type
HOP_LIMIT = 15  # what four bits can say
MOST_HOPS = 32  # of a path discovery: both ways of the longest route that the nibble allows


class Kind(IntEnum):
    RREQ = 0x00
    RREP = 0x01
    RERR = 0x02
    PREQ = 0xFC
    PREP = 0xFD
    RLCREQ = 0xFE
    RLCREP = 0xFF


@dataclass(frozen=True, slots=True)
class Rreq:
    """RREQ, and RREP, whose `originator` was sought. cost, weak, hops: from the originator to the sender."""

    destination: int
    originator: int
    sequence: int
    cost: int = 0
    hop_limit: int = 8
    hops: int = 0
    weak: int = 0
    repair: bool = False
    unicast: bool = False
    reply: bool = False
    metric: int = COMPOSITE


@dataclass(frozen=True, slots=True)
class Rerr:
    destination: int
    originator: int
    unreachable: int
    code: int = 0
    hop_limit: int = 8


@dataclass(frozen=True, slots=True)
class Preq:
    destination: int
    originator: int
    hops: tuple[PathHop, ...] = ()
    metric: int = COMPOSITE


@dataclass(frozen=True, slots=True)
class Prep:
    """expected: whom the path was to lead to; originator: how far it led."""

    destination: int
    expected: int
    originator: int
    hops: tuple[PathHop, ...] = ()
    metric: int = COMPOSITE


@dataclass(frozen=True, slots=True)
class Rlc:
    """Reverse link cost: asked for (cost None), or told."""

    destination: int
    originator: int
    cost: int | None = None
    metric: int = COMPOSITE


Message = Rreq | Rerr | Preq | Prep | Rlc

_RREQ = Struct(">BHHHBHBB")
_RERR = Struct(">BHHBHB")
_PREQ = Struct(">BHHI")
_PREP = Struct(">BHHHH")
_RLC = Struct(">BHHB")
_HOP = Struct(">HBB")


def encode(message: Message) -> bytes:
    """Raises ValueError for what its field cannot hold."""
    match message:
        case Rreq():
            if not 0 <= message.cost <= 0xFFFF or message.hop_limit > HOP_LIMIT or message.hops > HOP_LIMIT:
                raise ValueError(f"cost {message.cost}, hops {message.hops} of {message.hop_limit}")
            kind = Kind.RREP if message.reply else Kind.RREQ
            flags = message.repair << 7 | message.unicast << 6 | message.metric << 2
            way = message.hop_limit << 4 | message.hops
            return _RREQ.pack(kind, message.destination, message.originator, message.sequence, flags, message.cost, way,
                              min(message.weak, 15) << 4)  # fmt: skip
        case Rerr():
            return _RERR.pack(Kind.RERR, message.destination, message.originator, message.code, message.unreachable,
                              message.hop_limit << 4)  # fmt: skip
        case Preq():
            return _PREQ.pack(Kind.PREQ, message.destination, message.originator, message.metric << 28) + _hops(
                message.hops
            )
        case Prep():
            head = _PREP.pack(
                Kind.PREP, message.destination, message.expected, message.metric << 12, message.originator
            )
            return head + _hops(message.hops)
        case Rlc():
            kind = Kind.RLCREQ if message.cost is None else Kind.RLCREP
            head = _RLC.pack(kind, message.destination, message.originator, message.metric << 4)
            return head if message.cost is None else head + bytes((min(message.cost, 255),))


def decode(data: bytes) -> Message:
    """What follows the escape. Raises DecodeError."""
    kind = data[0] if data else -1
    if kind in (Kind.RREQ, Kind.RREP):
        _want(len(data) == _RREQ.size)
        _, destination, originator, sequence, flags, cost, way, weak = _RREQ.unpack(data)
        return Rreq(destination, originator, sequence, cost, way >> 4, way & 15, weak >> 4, flags & 0x80 != 0,
                    flags & 0x40 != 0, kind == Kind.RREP, flags >> 2 & 15)  # fmt: skip
    if kind == Kind.RERR:
        _want(len(data) == _RERR.size)
        _, destination, originator, code, unreachable, limit = _RERR.unpack(data)
        return Rerr(destination, originator, unreachable, code, limit >> 4)
    if kind == Kind.PREQ:
        _want(len(data) >= _PREQ.size)
        _, destination, originator, bits = _PREQ.unpack_from(data)
        return Preq(destination, originator, _hops_of(data[_PREQ.size :]), bits >> 28)
    if kind == Kind.PREP:
        _want(len(data) >= _PREP.size)
        _, destination, expected, bits, originator = _PREP.unpack_from(data)
        return Prep(destination, expected, originator, _hops_of(data[_PREP.size :]), bits >> 12)
    if kind in (Kind.RLCREQ, Kind.RLCREP):
        _want(len(data) == _RLC.size + (kind == Kind.RLCREP))
        _, destination, originator, bits = _RLC.unpack_from(data)
        return Rlc(destination, originator, data[_RLC.size] if kind == Kind.RLCREP else None, bits >> 4)
    raise DecodeError("unknown LOADng message", 0)


def _hops(hops: tuple[PathHop, ...]) -> bytes:
    return b"".join(_HOP.pack(*hop) for hop in hops)


def _hops_of(data: bytes) -> tuple[PathHop, ...]:
    _want(len(data) % _HOP.size == 0 and len(data) <= MOST_HOPS * _HOP.size)
    return tuple(PathHop(*fields) for fields in _HOP.iter_unpack(data))


def _want(right: bool) -> None:
    if not right:
        raise DecodeError("length of a LOADng message")


def kind(message: Message) -> Kind:
    """The number that a message begins with."""
    return Kind(encode(message)[0])
