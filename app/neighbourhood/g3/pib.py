"""Information bases of the emulated modem: what the host may read and set, and how rows of tables stand on the wire.

An attribute is its size and two functions; a table has one that gives its rows. What the stack does not act on (jitter,
trickle, …) is kept and given back. Numbers are big-endian.

Sources: ITU-T G.9903, 9.3 and 9.4; Microchip smartenergy_g3 (serialised rows, status values).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from struct import pack
from typing import Any

from neighbourhood.g3 import cost
from neighbourhood.g3.events import Scheduler
from neighbourhood.g3.loadng import MAX_HOPS
from neighbourhood.g3.mac import MAX_RETRIES
from neighbourhood.g3.messages import HOP_LIMIT
from neighbourhood.g3.node import Node
from neighbourhood.g3.tables import Neighbour, Route

OK = 0x00
ADP_INVALID_INDEX, ADP_INVALID, ADP_READ_ONLY, ADP_UNSUPPORTED = 0xA7, 0xA8, 0xB0, 0xB1
MAC_DENIED, MAC_INVALID, MAC_UNSUPPORTED, MAC_INVALID_INDEX, MAC_READ_ONLY = 0xE2, 0xE8, 0xF4, 0xF9, 0xFB
SOFT_VERSION = bytes((0, 23, 7, 5, 3, 0))  # product, year, month, day, version
TONE_MASK = b"\xff" * 4 + b"\xf0" + bytes(4)  # 36 tones of CENELEC-A
FACTORY_KEY = bytes(16)
GROUP = 0x8001


@dataclass(frozen=True, slots=True)
class Value:
    """read: None for what may only be written; write: None for what may only be read."""

    size: int
    read: Callable[[int], bytes | None] | None
    write: Callable[[int, bytes], bool] | None = None
    most: int | None = None  # of a number: more is refused


@dataclass(frozen=True, slots=True)
class Table:
    """rows: what it has now; a host asks for one after the other, so a row is written only when it is asked for."""

    rows: Callable[[], Sequence[Any]]
    write: Callable[[Any], bytes] = bytes


@dataclass(frozen=True, slots=True)
class Words:
    """The status values of an information base."""

    unsupported: int
    invalid: int
    index: int
    read_only: int
    denied: int


ADP = Words(ADP_UNSUPPORTED, ADP_INVALID, ADP_INVALID_INDEX, ADP_READ_ONLY, ADP_READ_ONLY)
MAC = Words(MAC_UNSUPPORTED, MAC_INVALID, MAC_INVALID_INDEX, MAC_READ_ONLY, MAC_DENIED)


class Base:
    """One information base."""

    def __init__(self, words: Words, attributes: dict[int, Value | Table]) -> None:
        self._words, self._attributes = words, attributes

    def get(self, attribute: int, index: int) -> tuple[int, bytes]:
        """Status and value."""
        words, found = self._words, self._attributes.get(attribute)
        if found is None:
            return words.unsupported, b""
        if isinstance(found, Table):
            rows = found.rows()
            return (OK, found.write(rows[index])) if index < len(rows) else (words.index, b"")
        if found.read is None:
            return words.denied, b""
        value = found.read(index)
        return (words.index, b"") if value is None else (OK, value)

    def set(self, attribute: int, index: int, value: bytes) -> int:
        words, found = self._words, self._attributes.get(attribute)
        if found is None:
            return words.unsupported
        if isinstance(found, Table) or found.write is None:
            return words.read_only
        if len(value) != found.size and not (attribute == KEY_TABLE and not value):
            return words.invalid
        if found.most is not None and int.from_bytes(value, "big") > found.most:
            return words.invalid
        return OK if found.write(index, value) else words.index


def number(size: int, owner: Any, name: str, *, writable: bool = True, most: int | None = None) -> Value:
    """An attribute of `owner` as a number."""

    def read(index: int) -> bytes | None:
        return None if index else (int(getattr(owner, name)) % (1 << 8 * size)).to_bytes(size, "big")

    def write(index: int, value: bytes) -> bool:
        if not index:
            setattr(owner, name, int.from_bytes(value, "big"))
        return not index

    return Value(size, read, write if writable else None, most)


def kept(memory: dict[int, bytes], attribute: int, value: bytes) -> Value:
    """What the stack does not act on."""

    def write(index: int, value: bytes) -> bool:
        if not index:
            memory[attribute] = value
        return not index

    return Value(len(value), lambda index: None if index else memory.get(attribute, value), write)


def constant(value: bytes) -> Value:
    return Value(len(value), lambda index: None if index else value)


# --- the adaptation layer

KEPT = {
    0x00: "05", 0x02: "0002", 0x03: "0f", 0x06: "04", 0x08: "0000", 0x0D: "01", 0x11: "14", 0x12: "0168", 0x18: "00",
    0x19: "1e", 0x1D: "00", 0x1F: "000a", 0x20: "0014", 0x21: "28", 0x24: "00", 0x25: "0dac", 0x26: "0bb8", 0x27: "00",
    0x28: "00", 0x29: "00", 0xE0: "00", 0xF0: "00",
}  # fmt: skip
"""Attribute → factory value, whose length is its size."""

WEIGHTS = {
    0x04: "low_lqi", 0x05: "high_lqi", 0x0A: "add_reverse", 0x13: "kr", 0x14: "km", 0x15: "kc", 0x16: "kq",
    0x17: "kh", 0x1A: "weak_lqi", 0x1B: "krt",
}  # fmt: skip


def adaptation(node: Node, scheduler: Scheduler, groups: dict[int, int], *, coordinator: bool) -> Base:
    """groups: the destination address set and the group table, by index."""
    memory: dict[int, bytes] = {}
    loadng = node.loadng
    loadng.weights = cost.Weights()
    loadng.max_hops = MAX_HOPS
    attributes: dict[int, Value | Table] = {at: kept(memory, at, bytes.fromhex(value)) for at, value in KEPT.items()}
    attributes |= {at: number(1, loadng.weights, name) for at, name in WEIGHTS.items()}
    attributes |= {
        0x0C: Table(partial(routes, node, scheduler), partial(_route, scheduler)),
        0x0E: Value(2, lambda index: _entry(groups, index, b"\x01"), lambda index, value: _enter(groups, index, value)),
        0x0F: number(1, loadng, "max_hops", most=HOP_LIMIT),
        0x10: kept(memory, 0x10, bytes((1 if coordinator else 0,))),
        0x1C: constant(SOFT_VERSION),
        0x1E: Table(partial(blacklist, node, scheduler)),
        0x22: number(1, node, "active_key"),
        0x23: Value(2, lambda index: _entry(groups, index), lambda index, value: _enter(groups, index, value)),
    }
    return Base(ADP, attributes)


def _entry(groups: dict[int, int], index: int, rest: bytes = b"") -> bytes | None:
    return groups[index].to_bytes(2, "big") + rest if index in groups else None


def _enter(groups: dict[int, int], index: int, value: bytes) -> bool:
    if index < 16:
        groups[index] = int.from_bytes(value, "big")
    return index < 16


def routes(node: Node, scheduler: Scheduler) -> list[Route]:
    now = scheduler.now
    return [route for route in node.routes.values() if route.valid and route.expires > now]


def _route(scheduler: Scheduler, route: Route) -> bytes:
    """destination, next hop, cost, weak links and hops (4 bits each), media, minutes: 10 bytes."""
    counts = min(route.weak, 15) << 4 | min(route.hops, 15)
    cost, left = min(route.cost, 0xFFFF), minutes(route.expires, scheduler)
    return pack(">HHHBBH", route.destination, route.next, cost, counts, 0, left)


def blacklist(node: Node, scheduler: Scheduler) -> list[bytes]:
    """neighbour, media, minutes: 5 bytes."""
    entries = node.loadng.blacklist.items()
    return [pack(">HBH", short, 0, minutes(until, scheduler)) for short, until in entries if until > scheduler.now]


def minutes(until: float, scheduler: Scheduler) -> int:
    return max(0, min(0xFFFF, int((until - scheduler.now) / 60)))


# --- the MAC

KEY_TABLE = 0x71
COUNTERS = {
    0x101: "tx_data", 0x102: "rx_data", 0x103: "tx_command", 0x104: "rx_command", 0x105: "csma_fail", 0x106: "no_ack",
    0x107: "rx_broadcast", 0x108: "tx_broadcast", 0x109: "bad_crc",
}  # fmt: skip
MAC_KEPT = {
    0x47: "08", 0x4E: "32", 0x4F: "03", 0x51: "00", 0x5C: "00", 0x5D: "01", 0x78: "03", 0x100: "07",
    0x10B: "00", 0x10C: "19", 0x10D: "0a", 0x10E: "ff", 0x111: "0c", 0x112: "08", 0x113: "05", 0x114: "0a",
    0x115: "01", 0x11E: "00", 0x11F: "00", 0x121: "5a",
}  # fmt: skip
POS_TTL = 255 * 60.0  # s


def medium_access(node: Node, scheduler: Scheduler) -> Base:
    """With factory values."""
    node.mac.max_retries = MAX_RETRIES
    memory: dict[int, bytes] = {}
    counters = node.mac.counters
    attributes: dict[int, Value | Table] = {
        at: kept(memory, at, bytes.fromhex(value)) for at, value in MAC_KEPT.items()
    }
    attributes |= {at: number(4, counters, name, writable=False) for at, name in COUNTERS.items()}
    attributes |= {
        0x50: Value(2, lambda index: node.pan.to_bytes(2, "big"), partial(_associate, node, "pan")),
        0x53: Value(2, lambda index: node.short.to_bytes(2, "big"), partial(_associate, node, "short")),
        0x59: number(1, node.mac, "max_retries"),
        KEY_TABLE: Value(16, None, partial(_key, node)),
        0x77: number(4, node, "frame_counter"),
        0x10A: Table(lambda: list(node.neighbours.values()), partial(_neighbour, scheduler)),
        0x10F: number(2, node.mac, "rc_coord"),
        0x110: constant(TONE_MASK),
        0x120: Table(partial(operating_space, node, scheduler)),
        0x122: Value(2, lambda index: len(operating_space(node, scheduler)).to_bytes(2, "big")),
        0x08000001: Value(8, lambda index: None if index else node.eui64),
        0x08000012: Value(2, lambda index: len(node.neighbours).to_bytes(2, "big")),
    }
    return Base(MAC, attributes)


def _associate(node: Node, name: str, index: int, value: bytes) -> bool:
    if not index:
        setattr(node, name, int.from_bytes(value, "big"))
    return not index


def _key(node: Node, index: int, value: bytes) -> bool:
    """Nothing: forget it."""
    if index > 1:
        return False
    if value:
        node.keys[index] = value
    else:
        node.keys.pop(index, None)
    return True


def _neighbour(scheduler: Scheduler, near: Neighbour) -> bytes:
    """short, tone map (3), modulation, gain, resolution, coefficients (6), scheme, phase, LQI, minutes: 19 bytes."""
    tones = bytes((near.tones & 0xFF, near.tones >> 8 & 0xFF, 0))
    head = pack(">H3sBBB6s", near.short, tones, near.modulation, 0, 0, bytes(6))
    return head + pack(">BBBH", 0, 0, near.lqi & 0xFF, minutes(near.tones_until, scheduler))


def operating_space(node: Node, scheduler: Scheduler) -> list[bytes]:
    """short, LQI, minutes: 5 bytes."""
    return [
        pack(">HBH", near.short, near.lqi & 0xFF, minutes(near.heard + POS_TTL, scheduler))
        for near in list(node.neighbours.values())
        if near.heard + POS_TTL > scheduler.now
    ]
