"""LBP, G3's bootstrapping protocol: what a joining device, its agent and the coordinator say to each other.

After the dispatch ``40 02`` follow ``code (4 bits) media disable-backup 00 | 00 | EUI-64 of the device | data``. The
data is nothing, an EAP packet whose code is shifted left by two bits, or configuration parameters, of which each is
``id<<2 | PAN-specific<<1 | 1, length, value``: so the lowest bit of its first byte tells one from the other.

Source: ITU-T G.9903, 9.4.4 and annex E.
"""

from dataclasses import dataclass
from enum import IntEnum

from dcu.errors import DecodeError

HEADER = 10
DISPATCH = b"\x40\x02"
EXTENSION = b"\x02"  # EAP-PSK's type of an extension that carries configuration parameters


class Code(IntEnum):
    """The highest bit: from the coordinator's server to the device."""

    JOINING = 0x1
    KICK_FROM_DEVICE = 0x4
    ACCEPTED = 0x9
    CHALLENGE = 0xA
    DECLINE = 0xB
    KICK_TO_DEVICE = 0xC


@dataclass(frozen=True, slots=True)
class Message:
    """`eui64` is the joining (or joined) device's, whoever sends. media: 0 power line, 1 radio."""

    code: Code
    eui64: bytes
    data: bytes = b""
    media: int = 0
    disable_backup: bool = False

    @property
    def eap(self) -> bytes | None:
        """The EAP packet it carries, its code as EAP has it."""
        if not self.data or self.data[0] & 1:
            return None
        return bytes((self.data[0] >> 2,)) + self.data[1:]

    def encode(self) -> bytes:
        """Without the dispatch."""
        first = self.code << 4 | self.media << 3 | self.disable_backup << 2
        return bytes((first, 0)) + self.eui64 + self.data


def of_eap(code: Code, eui64: bytes, packet: bytes) -> Message:
    return Message(code, eui64, bytes((packet[0] << 2,)) + packet[1:])


def decode(payload: bytes) -> Message:
    """What follows the dispatch. Raises DecodeError."""
    if len(payload) < HEADER:
        raise DecodeError(f"LBP message of {len(payload)} bytes, at least {HEADER}")
    if payload[0] >> 4 not in _CODES:
        raise DecodeError(f"LBP code {payload[0] >> 4}", 0)
    code = Code(payload[0] >> 4)
    return Message(code, payload[2:10], payload[10:], payload[0] >> 3 & 1, bool(payload[0] & 4))


_CODES = frozenset(Code)


# --- configuration parameters


class Parameter(IntEnum):
    SHORT_ADDRESS = 7
    GMK = 9
    ACTIVATION = 10
    REMOVAL = 11
    RESULT = 12


class Outcome(IntEnum):
    SUCCESS = 0
    MISSING = 1
    INVALID = 2
    UNKNOWN = 3


@dataclass(frozen=True, slots=True)
class ShortAddress:
    short: int


@dataclass(frozen=True, slots=True)
class Gmk:
    """The group master key under its index, 0 or 1."""

    index: int
    key: bytes


@dataclass(frozen=True, slots=True)
class Activation:
    """Use that key for what is sent."""

    index: int


@dataclass(frozen=True, slots=True)
class Removal:
    index: int


@dataclass(frozen=True, slots=True)
class Answer:
    """parameter: the one that did not fit, 0 where all did."""

    parameter: int
    outcome: int


@dataclass(frozen=True, slots=True)
class Unknown:
    parameter: int


Configuration = ShortAddress | Gmk | Activation | Removal | Answer | Unknown


def encode_parameters(*parameters: ShortAddress | Gmk | Activation | Removal | Answer) -> bytes:
    return b"".join(map(_encoded, parameters))


def _encoded(parameter: ShortAddress | Gmk | Activation | Removal | Answer) -> bytes:
    match parameter:
        case ShortAddress(short):
            return _field(Parameter.SHORT_ADDRESS, short.to_bytes(2, "big"))
        case Gmk(index, key):
            return _field(Parameter.GMK, bytes((index,)) + key)
        case Activation(index):
            return _field(Parameter.ACTIVATION, bytes((index,)))
        case Removal(index):
            return _field(Parameter.REMOVAL, bytes((index,)))
        case Answer(number, outcome):
            return _field(Parameter.RESULT, bytes((number, outcome)))


def _field(parameter: Parameter, value: bytes) -> bytes:
    specific = parameter not in (Parameter.SHORT_ADDRESS, Parameter.RESULT)
    return bytes((parameter << 2 | specific << 1 | 1, len(value))) + value


def decode_parameters(data: bytes) -> tuple[Configuration, ...]:
    """Raises DecodeError for a parameter that is cut short or has not its length."""
    found: list[Configuration] = []
    at = 0
    while at < len(data):
        value = data[at + 2 : at + 2 + data[at + 1]] if at + 1 < len(data) else b""
        if at + 1 >= len(data) or len(value) != data[at + 1]:
            raise DecodeError("configuration parameter cut short", at)
        if not data[at] & 1:
            raise DecodeError("no configuration parameter", at)
        found.append(_decoded(data[at] >> 2, value, at))
        at += 2 + len(value)
    return tuple(found)


_SIZES = {
    Parameter.SHORT_ADDRESS: 2,
    Parameter.GMK: 17,
    Parameter.ACTIVATION: 1,
    Parameter.REMOVAL: 1,
    Parameter.RESULT: 2,
}


def _decoded(number: int, value: bytes, at: int) -> Configuration:
    size = next((size for parameter, size in _SIZES.items() if parameter == number), None)
    if size is None:
        return Unknown(number)
    if len(value) != size:
        raise DecodeError(f"configuration parameter {number} of {len(value)} bytes, {size} belong", at)
    match number:
        case Parameter.SHORT_ADDRESS:
            return ShortAddress(int.from_bytes(value, "big"))
        case Parameter.GMK:
            return Gmk(value[0], value[1:])
        case Parameter.ACTIVATION:
            return Activation(value[0])
        case Parameter.REMOVAL:
            return Removal(value[0])
    return Answer(value[0], value[1])
