"""Information bases of a G3 modem: which attributes there are, and the entries of its tables as it serialises them.

Sources: ITU-T G.9903, clauses 9.3 (MAC) and 9.4 (adaptation layer); Microchip smartenergy_g3 for the layouts.
"""

from dataclasses import dataclass
from enum import IntEnum
from struct import Struct

from dcu.errors import DecodeError


class Adp(IntEnum):
    METRIC_TYPE = 0x03
    COORDINATOR_SHORT_ADDRESS = 0x08
    ROUTING_TABLE = 0x0C
    MAX_HOPS = 0x0F
    DEVICE_TYPE = 0x10
    KR = 0x13
    KM = 0x14
    KC = 0x15
    KQ = 0x16
    KH = 0x17
    WEAK_LQI = 0x1A
    KRT = 0x1B
    SOFT_VERSION = 0x1C
    BLACKLIST_TABLE = 0x1E
    MAX_JOIN_WAIT = 0x20
    ACTIVE_KEY_INDEX = 0x22
    DESTINATION_ADDRESS_SET = 0x23
    LAST_GASP = 0xE0


class Mac(IntEnum):
    PAN_ID = 0x50
    SHORT_ADDRESS = 0x53
    MAX_FRAME_RETRIES = 0x59
    KEY_TABLE = 0x71
    FRAME_COUNTER = 0x77
    TX_DATA_PACKETS = 0x101
    RX_DATA_PACKETS = 0x102
    TX_COMMAND_PACKETS = 0x103
    RX_COMMAND_PACKETS = 0x104
    CSMA_FAILS = 0x105
    NO_ACKS = 0x106
    RX_BROADCASTS = 0x107
    TX_BROADCASTS = 0x108
    BAD_CRCS = 0x109
    NEIGHBOUR_TABLE = 0x10A
    ROUTE_COST_TO_COORDINATOR = 0x10F
    TONE_MASK = 0x110
    POS_TABLE = 0x120
    EXTENDED_ADDRESS = 0x08000001


COUNTERS = tuple(range(Mac.TX_DATA_PACKETS, Mac.BAD_CRCS + 1))


class Lbp(IntEnum):
    IDS = 0
    IDP = 1
    PSK = 2
    GMK = 3
    REKEY_GMK = 4
    RANDP = 5
    MESSAGE_TIMEOUT = 6


MODULATIONS = ("ROBO", "DBPSK", "DQPSK", "D8PSK", "16QAM")
COORDINATOR_SHORT = 0x0000
LAST_DEVICE_SHORT = 0x7FFF  # above are groups and the broadcast


@dataclass(frozen=True, slots=True)
class Route:
    """An entry of the routing table. minutes: how long it is valid yet."""

    destination: int
    next_hop: int
    cost: int
    hops: int
    weak_links: int
    media: int
    minutes: int


_ROUTE = Struct(">HHHBBH")


def decode_route(raw: bytes) -> Route:
    """10 bytes; hops and weak links share one, four bits each. Raises DecodeError."""
    destination, next_hop, cost, counts, media, minutes = _unpacked(_ROUTE, raw, "a routing table entry")
    return Route(destination, next_hop, cost, counts & 0x0F, counts >> 4, media, minutes)


def encode_route(route: Route) -> bytes:
    counts = route.weak_links << 4 | route.hops
    return _ROUTE.pack(route.destination, route.next_hop, route.cost, counts, route.media, route.minutes)


@dataclass(frozen=True, slots=True)
class Neighbour:
    """An entry of the neighbour table. tone_map: a bit a group of tones; modulation: its name; coherent: modulation
    scheme; phase: difference in steps of 60 degrees; minutes: how long the tone map is valid yet."""

    short: int
    tone_map: bytes
    modulation: str
    gain: int
    resolution: int
    coefficients: bytes
    coherent: bool
    phase: int
    lqi: int
    minutes: int


_NEIGHBOUR = Struct(">H3sBBB6sBBBH")


def decode_neighbour(raw: bytes) -> Neighbour:
    """19 bytes. Raises DecodeError."""
    short, tones, modulation, gain, resolution, coefficients, scheme, phase, lqi, minutes = _unpacked(
        _NEIGHBOUR, raw, "a neighbour table entry"
    )
    name = MODULATIONS[modulation] if modulation < len(MODULATIONS) else f"modulation {modulation}"
    return Neighbour(short, tones, name, gain, resolution, coefficients, bool(scheme), phase, lqi, minutes)


@dataclass(frozen=True, slots=True)
class Seen:
    """An entry of the personal operating space: a device heard, and how well. minutes: how long it counts yet."""

    short: int
    lqi: int
    minutes: int


_SEEN = Struct(">HBH")


def decode_seen(raw: bytes) -> Seen:
    """5 bytes. Raises DecodeError."""
    return Seen(*_unpacked(_SEEN, raw, "a POS table entry"))


@dataclass(frozen=True, slots=True)
class Blacklisted:
    short: int
    media: int
    minutes: int


_BLACKLISTED = Struct(">HBH")


def decode_blacklisted(raw: bytes) -> Blacklisted:
    """5 bytes. Raises DecodeError."""
    return Blacklisted(*_unpacked(_BLACKLISTED, raw, "a blacklist entry"))


def decode_number(raw: bytes) -> int:
    """Of 1, 2 or 4 bytes. Raises DecodeError."""
    if len(raw) not in (1, 2, 4):
        raise DecodeError(f"a number of {len(raw)} bytes")
    return int.from_bytes(raw, "big")


def _unpacked(layout: Struct, raw: bytes, what: str) -> tuple:  # type: ignore[type-arg]
    if len(raw) < layout.size:
        raise DecodeError(f"{what} of {len(raw)} bytes, {layout.size} belong", len(raw))
    return layout.unpack_from(raw)
