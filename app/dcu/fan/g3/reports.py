"""What a G3 modem says: confirms of requests, and indications of its own accord.

Source: Microchip smartenergy_g3, ADP and LBP serialization (the same interface in PL360 and PL460 firmware).
"""

from dataclasses import dataclass, field
from typing import Any, ClassVar

from dcu.errors import DecodeError
from dcu.fan.g3.fields import ADDRESS, EUI64, FLAG, LONG_DATA, SHORT_DATA, U8, U16, U32, Number, cut
from dcu.fan.g3.message import Message, Status, report


@report(0, U8, U8)
@dataclass(frozen=True, slots=True)
class ModemStatus(Message):
    """A request was refused (see Refusal), or the modem is initialised."""

    status: int
    command: int


@report(30, U8, U8)
@dataclass(frozen=True, slots=True)
class DataConfirm(Message):
    status: int
    handle: int


@report(31, U8, LONG_DATA)
@dataclass(frozen=True, slots=True)
class DataIndication(Message):
    """A packet arrived; lqi: of its last hop."""

    lqi: int
    packet: bytes


@report(32, U16, ADDRESS, ADDRESS, U8, U8, U8, U8)
@dataclass(frozen=True, slots=True)
class NetworkStatus(Message):
    """Something about a frame that was heard, and not taken: another PAN of the same number, a security failure."""

    pan: int
    source: int | bytes | None
    destination: int | bytes | None
    status: int
    security_level: int
    key_index: int
    media: int


@report(33, U8)
@dataclass(frozen=True, slots=True)
class DiscoverConfirm(Message):
    status: int


@report(34, U8)
@dataclass(frozen=True, slots=True)
class StartConfirm(Message):
    status: int


@report(35, U8, U16, U16)
@dataclass(frozen=True, slots=True)
class JoinConfirm(Message):
    status: int
    short: int
    pan: int


@report(36, U8)
@dataclass(frozen=True, slots=True)
class LeaveConfirm(Message):
    status: int


@report(37)
@dataclass(frozen=True, slots=True)
class LeaveIndication(Message):
    """A device's: it was sent away."""


@report(38, U8)
@dataclass(frozen=True, slots=True)
class ResetConfirm(Message):
    status: int


@report(39, U8, U32, U16)
@dataclass(frozen=True, slots=True)
class SetConfirm(Message):
    status: int
    attribute: int
    index: int


class _Value:
    """The value of a GET: its length stands there also where a refusal carries none.

    The firmware says 18 bytes of a row of its neighbour table and sends 19, so what follows belongs to the value.
    """

    def put(self, value: Any) -> bytes:
        return SHORT_DATA.put(value)

    def take(self, data: bytes, at: int) -> tuple[Any, int]:
        if data[1] != Status.SUCCESS:
            return b"", len(data)
        value, end = SHORT_DATA.take(data, at)
        value += data[end:]
        if len(value) > _LONGEST:
            raise DecodeError(f"a value of {len(value)} bytes", end)
        return value, len(data)


_VALUE = _Value()
_LONGEST = 0xFF  # bytes of a value, as its length can say


@report(40, U8, U32, U16, _VALUE)
@dataclass(frozen=True, slots=True)
class GetConfirm(Message):
    status: int
    attribute: int
    index: int
    value: bytes


@report(43, U8)
@dataclass(frozen=True, slots=True)
class RouteConfirm(Message):
    status: int


@dataclass(frozen=True, slots=True)
class Hop:
    """One hop of a path. metric_not_supported: the hop had another metric; phase: difference in steps of 60 degrees;
    received_media, sent_media: 0 PLC, 1 RF."""

    address: int
    metric_not_supported: int
    cost: int
    phase: int
    received_media: int
    sent_media: int


class _Hops:
    """Forward and reverse path behind their two counts."""

    _EACH: ClassVar[tuple[Number, ...]] = (U16, U8, U8, U8, U8, U8)
    _SIZE = 7

    def put(self, value: Any) -> bytes:
        forward, reverse = value
        hops = b"".join(
            field.put(getattr(hop, name))
            for hop in (*forward, *reverse)
            for name, field in zip(Hop.__slots__, self._EACH, strict=True)
        )
        return U8.put(len(forward)) + U8.put(len(reverse)) + hops

    def take(self, data: bytes, at: int) -> tuple[Any, int]:
        counts, at = cut(data, at, at + 2), at + 2
        paths = []
        for count in counts:
            end = at + count * self._SIZE
            raw = cut(data, at, end)
            paths.append(tuple(self._hop(raw[i : i + self._SIZE]) for i in range(0, len(raw), self._SIZE)))
            at = end
        return tuple(paths), at

    @staticmethod
    def _hop(raw: bytes) -> Hop:
        return Hop(raw[0] << 8 | raw[1], *raw[2:])


@report(44, U8, U16, U16, U8, _Hops())
@dataclass(frozen=True, slots=True)
class PathConfirm(Message):
    """paths: the hops from us to the destination, and those back."""

    status: int
    destination: int
    originator: int
    metric: int
    paths: tuple[tuple[Hop, ...], tuple[Hop, ...]]


@report(45, U8, U32, U16)
@dataclass(frozen=True, slots=True)
class MacSetConfirm(Message):
    status: int
    attribute: int
    index: int


@report(46, U8, U32, U16, _VALUE)
@dataclass(frozen=True, slots=True)
class MacGetConfirm(Message):
    status: int
    attribute: int
    index: int
    value: bytes = field(repr=False)


@report(47, U8)
@dataclass(frozen=True, slots=True)
class BufferIndication(Message):
    """Flow control: which kinds of buffer are free, a bit each; 0: send nothing."""

    ready: int


@report(48, U16, U8, U16, U16, U8)
@dataclass(frozen=True, slots=True)
class DiscoverIndication(Message):
    """Another coordinator, or an agent of one; route_cost: from it to its coordinator."""

    pan: int
    lqi: int
    agent: int
    route_cost: int
    media: int


@report(49)
@dataclass(frozen=True, slots=True)
class PathRequestIndication(Message):
    """Somebody asked for the path to us."""


@report(51, U16, U16, U16, U16, U16, U8, U8, FLAG, FLAG, LONG_DATA)
@dataclass(frozen=True, slots=True)
class RouteNotFound(Message):
    """A packet had no way on; just_broken: it had one before."""

    source: int
    destination: int
    next_hop: int
    previous_hop: int
    cost: int
    hops: int
    weak_links: int
    just_broken: bool
    compressed: bool
    packet: bytes


@report(70, U8, U32, U16)
@dataclass(frozen=True, slots=True)
class LbpSetConfirm(Message):
    status: int
    attribute: int
    index: int


@report(71, EUI64)
@dataclass(frozen=True, slots=True)
class JoinRequest(Message):
    eui64: bytes


@report(72, EUI64, U16)
@dataclass(frozen=True, slots=True)
class JoinComplete(Message):
    """A device has its keys and its address, or a step of re-keying is done."""

    eui64: bytes
    short: int


@report(73, U16)
@dataclass(frozen=True, slots=True)
class LeaveReport(Message):
    """A device says that it leaves."""

    short: int
