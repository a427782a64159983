"""USI: the serial framing between a host and a G3-PLC modem.

On the wire a frame is ``7E | header | payload | CRC | 7E``; inside, 7E and 7D are escaped. The header packs ten bits of
the payload's length and the protocol (6 bits). Protocols that carry whole IPv6 packets need an eleventh bit of length:
it is the top bit of the payload's first byte, which is a command number below 128. The decoder is fed bytes as they
arrive and yields whole frames; what it cannot use it counts and skips: a serial line is never quiet, and a modem
reboots in mid-frame.

Source: Microchip smartenergy, service USI (layout; CRC 0x1021, initial value 0, not augmented).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

FLAG = 0x7E
MAX_SHORT = 0x3FF
MAX_LONG = 0x7FF
_LONGEST = 2 * (MAX_LONG + 4)  # bytes between two flags: header, payload and CRC, each byte escaped


class Protocol(IntEnum):
    SNIFFER = 0x23
    MAC = 0x24
    ADP = 0x25
    COORDINATOR = 0x26
    PRIME = 0x30


_LONG = frozenset({Protocol.ADP, Protocol.COORDINATOR, Protocol.PRIME})


@dataclass(frozen=True, slots=True)
class Frame:
    protocol: Protocol
    payload: bytes


@dataclass(slots=True)
class Skipped:
    """What the decoder could not use, by cause."""

    crc: int = 0
    length: int = 0
    protocol: int = 0
    overflow: int = 0  # noise without a flag, longer than any frame

    @property
    def total(self) -> int:
        return self.crc + self.length + self.protocol + self.overflow


def encode(frame: Frame) -> bytes:
    """Return `frame` as it goes on the wire.

    Raises ValueError for a payload that is too long, or whose first byte leaves no room for the length's top bit.
    """
    size, payload = len(frame.payload), frame.payload
    if frame.protocol in _LONG:
        if size > MAX_LONG:
            raise ValueError(f"USI payload of {size} bytes, at most {MAX_LONG}")
        if not payload or payload[0] & 0x80:
            raise ValueError("the payload of this USI protocol begins with a command number below 128")
        payload = bytes((payload[0] | size >> 10 << 7,)) + payload[1:]
    elif size > MAX_SHORT:
        raise ValueError(f"USI payload of {size} bytes, at most {MAX_SHORT}")
    body = bytes((size >> 2 & 0xFF, (size & 3) << 6 | frame.protocol)) + payload
    return b"\x7e" + _escape(body + crc(body).to_bytes(2, "big")) + b"\x7e"


class Decoder:
    """Turns a byte stream into frames, however the bytes are cut."""

    __slots__ = ("_lost", "_pending", "skipped")

    def __init__(self) -> None:
        self.skipped = Skipped()
        self._pending = b""
        self._lost = False  # too long already: skip to the next flag

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Iterate to the end: what is not taken is not looked at."""
        *ended, rest = (self._pending + data).split(b"\x7e")
        self._pending = b""
        for raw in ended:
            if self._lost:
                self._lost = False
            elif raw and (frame := self._frame(_unescape(raw))):
                yield frame
        if len(rest) > _LONGEST:
            self.skipped.overflow += not self._lost
            self._lost, rest = True, b""
        self._pending = b"" if self._lost else rest

    def _frame(self, raw: bytes) -> Frame | None:
        body, check = raw[:-2], raw[-2:]
        if len(body) < 3:
            self.skipped.length += 1
            return None
        number, size = body[1] & 0x3F, body[0] << 2 | body[1] >> 6
        long = number in _LONG
        if long:
            size |= body[2] >> 7 << 10
        if len(body) - 2 != size:
            self.skipped.length += 1
        elif crc(body).to_bytes(2, "big") != check:
            self.skipped.crc += 1
        elif number not in _KNOWN:
            self.skipped.protocol += 1
        else:
            return Frame(Protocol(number), bytes((body[2] & 0x7F,)) + body[3:] if long else body[2:])
        return None


_KNOWN = frozenset(Protocol)


def crc(data: bytes) -> int:
    """CRC-16 0x1021 without augmentation: two zero bytes short of XMODEM's, so "123456789" gives 0xBEEF."""
    value = 0
    for byte in data:
        value = _TABLE[value >> 8] ^ (value << 8 & 0xFF00) ^ byte
    return value


def _entry(index: int) -> int:
    value = index << 8
    for _ in range(8):
        value = value << 1 ^ (0x1021 if value & 0x8000 else 0)
    return value & 0xFFFF


_TABLE = tuple(map(_entry, range(256)))


def _escape(data: bytes) -> bytes:
    return data.replace(b"\x7d", b"\x7d\x5d").replace(b"\x7e", b"\x7d\x5e")


def _unescape(data: bytes) -> bytes:
    return data.replace(b"\x7d\x5e", b"\x7e").replace(b"\x7d\x5d", b"\x7d")
