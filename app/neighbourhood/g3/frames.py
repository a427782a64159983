"""G3 MAC frames: segment control, 802.15.4 header, auxiliary security header, payload, MIC, FCS.

``segment control 3 | frame control 2 | sequence 1 | PAN 2 | destination 2 or 8 | source 2 or 8 | security control 1,
frame counter 4, key index 1 | payload | MIC 4 | FCS 2``; all but the segment control little-endian. Source and
destination are of one PAN (compressed). A secured data frame between short addresses has 24 bytes beside its
payload. Security is ENC-MIC-32 (CCM* level 5), the key named by its index; everything before the payload is
authenticated with it.

Source: IEEE 802.15.4-2006, 7.2 and 7.6 (frame format, CCM*); ITU-T G.9903, 9.3 (segment control; the nonce's source
address of a device with a short address). [K]: the bits' order in the segment control, the nonce.
"""

from binascii import crc_hqx
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from struct import Struct

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESCCM

from dcu.errors import DecodeError

Address = int | bytes
"""A short address, or an EUI-64 as it is written (8 bytes, most significant first)."""

LEVEL = 5  # ENC-MIC-32
MIC = 4
FCS = 2
SEGMENT_CONTROL = 3
OVERHEAD = 24  # of a secured frame between short addresses
LONGEST_MSDU = 400  # aMaxMACPayloadSize

_SECURITY_CONTROL = LEVEL | 1 << 3  # key identifier mode 1: the index names the key
_SECURED, _ACK, _COMPRESSED = 0x08, 0x20, 0x40
_SHORT, _LONG = 2, 3
_COMMON = 0x9841  # data, PAN compressed, both addresses short, version 1; with _SECURED and perhaps _ACK
_COMMON_HEAD = Struct("<3sHBHHHBIB")
_HEAD = Struct("<3sHB")


class Kind(IntEnum):
    BEACON = 0
    DATA = 1
    COMMAND = 3


class Command(IntEnum):
    BEACON_REQUEST = 0x07
    TONE_MAP_RESPONSE = 0x0A


@dataclass(slots=True)
class Segment:
    """A frame's place in its MSDU. tone_map: the sender asks for a tone map; free: the next does not contend."""

    number: int = 0
    last: bool = True
    tone_map: bool = False
    free: bool = False
    priority: bool = False


@dataclass(slots=True)
class Frame:
    """A MAC frame in the clear, whose protection is what `key` and `counter` say (key None: unsecured)."""

    kind: int
    sequence: int
    pan: int
    destination: Address
    source: Address | None
    segment: Segment
    payload: bytes
    wants_ack: bool = False
    key: int | None = None
    counter: int = 0


@dataclass(slots=True)
class Received:
    """A frame as it came: its header, and its payload as it stands on the wire (with the MIC, where there is one)."""

    frame: Frame
    head: bytes

    def opened(self, key: bytes) -> bytes | None:
        """The payload under `key`; None: the MIC does not hold."""
        frame = self.frame
        try:
            return _cipher(key).decrypt(nonce(frame.pan, frame.source, frame.counter), frame.payload, self.head)
        except InvalidTag:
            return None


def encode(frame: Frame, key: bytes | None = None) -> bytes:
    """The frame as it is sent, secured under `key` where it names one. Raises ValueError for what cannot be."""
    head = _head(frame)
    if frame.key is None:
        body = head + frame.payload
    else:
        if key is None:
            raise ValueError(f"no key of index {frame.key}")
        body = head + _cipher(key).encrypt(nonce(frame.pan, frame.source, frame.counter), frame.payload, head)
    return body + fcs(body)


def decode(raw: bytes) -> Received:
    """Take a frame apart. Raises DecodeError; the MIC is not looked at."""
    if len(raw) < SEGMENT_CONTROL + 3 + FCS or raw[-FCS:] != fcs(raw[:-FCS]):
        raise DecodeError("FCS")
    if len(raw) >= _COMMON_HEAD.size + MIC + FCS:
        segment, control, sequence, pan, destination, source, security, counter, key = _COMMON_HEAD.unpack_from(raw)
        if control & ~_ACK == _COMMON | _SECURED and security == _SECURITY_CONTROL:
            size = _COMMON_HEAD.size
            payload = raw[size:-FCS]
            frame = Frame(Kind.DATA, sequence, pan, destination, source, _segment(segment, len(payload) - MIC), payload,
                          control & _ACK != 0, key, counter)  # fmt: skip
            return Received(frame, raw[:size])
    return _decode_any(raw)


def fcs(data: bytes) -> bytes:
    """CRC-16 of 802.15.4 (0x1021, reflected, initial value 0), as it goes on the wire."""
    return crc_hqx(data.translate(_REVERSED), 0).to_bytes(2, "big").translate(_REVERSED)


def nonce(pan: int, source: Address | None, counter: int) -> bytes:
    """CCM*: source address, frame counter, level. A device with a short address is `PPPP 00FF FE00 SSSS`."""
    if isinstance(source, int):
        return _NONCE.pack(pan, 0x00FF, 0xFE00, source, counter, LEVEL)
    return (source or bytes(8)) + counter.to_bytes(4, "big") + bytes((LEVEL,))


_NONCE = Struct(">HHHHIB")
_REVERSED = bytes(int(f"{value:08b}"[::-1], 2) for value in range(256))


@lru_cache(256)
def _cipher(key: bytes) -> AESCCM:
    return AESCCM(key, tag_length=MIC)


def _head(frame: Frame) -> bytes:
    segment = frame.segment
    size = len(frame.payload)
    if size > 0x3FF or segment.number > 0x3F:
        raise ValueError(f"segment {segment.number} of {size} bytes")
    flags = segment.tone_map << 3 | segment.free << 2 | segment.priority << 1 | segment.last
    control = (flags << 16 | segment.number << 10 | size).to_bytes(3, "big")
    destination, source = frame.destination, frame.source
    if isinstance(destination, int) and isinstance(source, int) and frame.key is not None and frame.kind == Kind.DATA:
        bits = _COMMON | _SECURED | (_ACK if frame.wants_ack else 0)
        return _COMMON_HEAD.pack(control, bits, frame.sequence, frame.pan, destination, source, _SECURITY_CONTROL,
                                 frame.counter, frame.key)  # fmt: skip
    to = None if frame.kind == Kind.BEACON else destination
    bits = frame.kind | _mode(to) << 10 | 1 << 12 | _mode(source) << 14
    bits |= (_ACK if frame.wants_ack else 0) | (_SECURED if frame.key is not None else 0)
    if source is not None and frame.kind != Kind.BEACON:
        bits |= _COMPRESSED
    head = _HEAD.pack(control, bits, frame.sequence)
    if frame.kind == Kind.BEACON:
        head += frame.pan.to_bytes(2, "little") + _address(source)
    else:
        head += frame.pan.to_bytes(2, "little") + _address(destination) + _address(source)
    if frame.key is not None:
        head += bytes((_SECURITY_CONTROL,)) + frame.counter.to_bytes(4, "little") + bytes((frame.key,))
    return head


def _mode(address: Address | None) -> int:
    return 0 if address is None else _SHORT if isinstance(address, int) else _LONG


def _address(address: Address | None) -> bytes:
    if isinstance(address, int):
        return address.to_bytes(2, "little")
    return b"" if address is None else address[::-1]


def _decode_any(raw: bytes) -> Received:
    segment, bits, sequence = _HEAD.unpack_from(raw)
    end, at = len(raw) - FCS, _HEAD.size
    kind, to, source_mode = bits & 7, bits >> 10 & 3, bits >> 14
    if kind not in (Kind.BEACON, Kind.DATA, Kind.COMMAND) or 1 in (to, source_mode) or not (to or source_mode):
        raise DecodeError("frame control", SEGMENT_CONTROL)
    if to and source_mode and not bits & _COMPRESSED:
        raise DecodeError("two PANs", SEGMENT_CONTROL)
    size = 2 + 2 * (to == _SHORT) + 8 * (to == _LONG) + 2 * (source_mode == _SHORT) + 8 * (source_mode == _LONG)
    secured = bool(bits & _SECURED)
    if at + size + (6 + MIC) * secured > end:
        raise DecodeError("cut off", len(raw))
    pan = int.from_bytes(raw[at : at + 2], "little")
    destination, at = _take(raw, at + 2, to)
    source, at = _take(raw, at, source_mode)
    key, counter = None, 0
    if secured:
        if raw[at] != _SECURITY_CONTROL:
            raise DecodeError("security level or key identifier mode", at)
        counter, key = int.from_bytes(raw[at + 1 : at + 5], "little"), raw[at + 5]
        at += 6
    where = _segment(segment, end - at - MIC * secured)
    frame = Frame(kind, sequence, pan, 0xFFFF if destination is None else destination, source, where, raw[at:end],
                  bool(bits & _ACK), key, counter)  # fmt: skip
    return Received(frame, raw[:at])


def _take(raw: bytes, at: int, mode: int) -> tuple[Address | None, int]:
    if mode == _SHORT:
        return int.from_bytes(raw[at : at + 2], "little"), at + 2
    if mode == _LONG:
        return raw[at : at + 8][::-1], at + 8
    return None, at


def _segment(raw: bytes, size: int) -> Segment:
    flags, number, low = raw
    if (number & 3) << 8 | low != size:
        raise DecodeError("segment length")
    return Segment(number >> 2, flags & 1 != 0, flags & 8 != 0, flags & 4 != 0, flags & 2 != 0)
