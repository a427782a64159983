"""HDLC frames: what travels on a serial line, and on some TCP ports.

On the wire a frame is ``7E | format | destination | source | control | HCS | information | FCS | 7E``. The format's
two bytes are type 3 (four bits), the segmentation bit and the length (11 bits, flags not counted); there is no
escaping, so a 7E inside a frame is data and only the length tells. A frame without information has no HCS. The
decoder is fed bytes as they arrive; what it cannot use it counts and skips, and it looks for the next frame right
behind the flag of the one that failed: a length that noise made up never swallows the frames that follow.

Source: IEC 62056-46 clause 6.4 (frame format type 3, addresses, control field), ISO/IEC 13239 annex A (FCS-16).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import NamedTuple

import anycrc

FLAG = 0x7E
MAX_LENGTH = 0x7FF  # what the 11-bit length can say
MAX_HEADER = 2 + 4 + 4 + 1 + 2
MAX_INFORMATION = MAX_LENGTH - MAX_HEADER - 2

ALL = {1: 0x7F, 2: 0x7F, 4: 0x3FFF}  # either part of an address that means all of them, by the address's size

LLC_COMMAND = b"\xe6\xe6\x00"  # client to server
LLC_RESPONSE = b"\xe6\xe7\x00"  # server to client

_crc = anycrc.Model("CRC16-IBM-SDLC").calc  # CRC-16/X.25; a second argument: what it was over the bytes before
_GOOD = 0x0F47  # what it is over data and their own check sequence


class Kind(Enum):
    """Frame types; the value is the control byte with poll/final and sequence numbers cleared."""

    I = 0x00  # noqa: E741 - the standard's name
    RR = 0x01
    RNR = 0x05
    REJ = 0x09  # of ISO/IEC 13239; IEC 62056-46 has none, a server answers it with FRMR
    SNRM = 0x83
    DISC = 0x43
    UA = 0x63
    DM = 0x0F
    FRMR = 0x87
    UI = 0x03
    OTHER = 0xFF  # no byte of its own: whatever ISO/IEC 13239 has besides (XID, TEST, SREJ), or nobody


class Control(NamedTuple):
    """The control byte. `send` is N(S), of I frames only; `receive` is N(R), of I, RR, RNR and REJ; `final` is P/F.

    Of a frame of another kind, `send` is the whole byte without P/F.
    """

    kind: Kind
    final: bool = False
    send: int = 0
    receive: int = 0

    def encode(self) -> int:
        """Raises ValueError for a sequence number that the kind does not have, or that is not 0..7."""
        kind, send, receive = self.kind, self.send, self.receive
        value: int = kind.value
        if kind is Kind.OTHER:
            return send & 0xEF | self.final << 4
        if not (0 <= send <= (7 if kind is Kind.I else 0) and 0 <= receive <= (7 if kind in _SUPERVISED else 0)):
            raise ValueError(f"{kind.name} frame with N(S) {send}, N(R) {receive}")
        return value | self.final << 4 | send << 1 | receive << 5


class Address(NamedTuple):
    """An HDLC address: `upper` is the logical device (or the client), `lower` the physical one, in 1, 2 or 4 bytes."""

    upper: int
    lower: int = 0
    size: int = 1

    def encode(self) -> bytes:
        """Raises ValueError for what does not fit."""
        upper, lower, size = self.upper, self.lower, self.size
        if size == 1 and not lower and 0 <= upper < 1 << 7:
            return bytes((upper << 1 | 1,))
        if size == 2 and 0 <= upper < 1 << 7 and 0 <= lower < 1 << 7:
            return bytes((upper << 1, lower << 1 | 1))
        if size == 4 and 0 <= upper < 1 << 14 and 0 <= lower < 1 << 14:
            return bytes((upper >> 6 & 0xFE, upper << 1 & 0xFE, lower >> 6 & 0xFE, lower << 1 & 0xFE | 1))
        raise ValueError(f"HDLC address {self.upper}/{self.lower} does not fit {self.size} bytes (1, 2 or 4)")


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame. `segmented`: more segments of its information follow.

    `fault` is "HCS" or "FCS" where that check sequence is wrong: only a decoder made with `inspect` yields such.
    """

    destination: Address
    source: Address
    control: Control
    information: bytes = b""
    segmented: bool = False
    fault: str = ""


@dataclass(slots=True)
class Skipped:
    """What the decoder could not use, by cause: flags behind which no good frame stands; `noise` is in bytes."""

    noise: int = 0
    format: int = 0
    address: int = 0
    length: int = 0
    hcs: int = 0
    fcs: int = 0
    flag: int = 0

    @property
    def frames(self) -> int:
        return self.format + self.address + self.length + self.hcs + self.fcs + self.flag


def fcs(data: bytes) -> bytes:
    """The check sequence of `data` as it goes on the wire: CRC-16/X.25, low byte first."""
    return int(_crc(data)).to_bytes(2, "little")


def encode(frame: Frame) -> bytes:
    """Return `frame` as it goes on the wire, flags included. Raises ValueError for what does not fit."""
    information = frame.information
    head = _head(frame.destination, frame.source, frame.control, frame.segmented, len(information))
    if not information:
        return b"%b\x7e" % head
    # over the header and its check sequence the CRC is the same whatever the header was: its bytes need no second look
    crc = _crc(information, _GOOD)
    return b"%b%b%c%c\x7e" % (head, information, crc & 0xFF, crc >> 8)


def notification(
    destination: Address, source: Address, apdu: bytes, *, max_information: int = MAX_INFORMATION
) -> Iterator[Frame]:
    """The UI frames that carry `apdu` from a server to a client, segmented where it does not fit one."""
    return _unnumbered(destination, source, LLC_RESPONSE + apdu, max_information)


def broadcast(
    destination: Address, source: Address, apdu: bytes, *, max_information: int = MAX_INFORMATION
) -> Iterator[Frame]:
    """The same from a client to servers: without P, so that none of them answers."""
    return _unnumbered(destination, source, LLC_COMMAND + apdu, max_information)


def _unnumbered(destination: Address, source: Address, rest: bytes, max_information: int) -> Iterator[Frame]:
    while rest:
        part, rest = rest[:max_information], rest[max_information:]
        yield Frame(destination, source, Control(Kind.UI), part, segmented=bool(rest))


class Decoder:
    """Turns a byte stream into frames, however the bytes are cut; holds less than one frame of the greatest length.

    With `inspect`, a frame that stands between two flags as long as it claims is yielded with its `fault` though a
    check sequence is wrong, so that it can be named. Never act on such a frame.
    """

    def __init__(self, *, inspect: bool = False) -> None:
        self.skipped = Skipped()
        self.damage = 0  # grows whenever anything is skipped
        self._inspect = inspect
        self._pending = bytearray()
        self._wanted = 0  # so long must what is pending be for anything more to be known

    @property
    def pending(self) -> int:
        """Bytes of an unfinished frame."""
        return len(self._pending)

    def reset(self) -> None:
        """Forget an unfinished frame: the line fell silent for longer than the inter-octet time-out."""
        self._pending.clear()
        self._wanted = 0

    def abandon(self) -> Iterator[Frame]:
        """As `reset()`, but yield the whole frames that stand behind the unfinished one, which had swallowed them."""
        while self._pending:
            del self._pending[0]
            self._wanted = 0
            yield from self.feed(b"")

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Yield the frames that `data` completes. Iterate to the end before the next call."""
        pending = self._pending
        if len(pending) < 2 and len(data) > 8 and data[0] == FLAG:  # mostly one read brings one frame
            found = _examine(data, 1, self._inspect)
            if isinstance(found, Frame) and (data[1] << 8 & 0x700 | data[2]) + 2 == len(data):
                if pending and pending[0] != FLAG:
                    self._pass_over(1)
                pending[:] = b"\x7e"  # which may open the next
                self._wanted = 0
                yield found
                return
        pending += data
        if len(pending) < self._wanted:  # a slow line brings a frame in many reads
            return
        at = self._wanted = 0
        try:
            while (flag := pending.find(FLAG, at)) >= 0:
                if flag > at:
                    self._pass_over(flag - at)
                at = flag
                found = _examine(pending, flag + 1, self._inspect)
                if isinstance(found, int):
                    self._wanted = found - at
                    return
                if isinstance(found, str):
                    if found:
                        self.damage += 1
                        setattr(self.skipped, found, getattr(self.skipped, found) + 1)
                    at = flag + 1
                    continue
                at = flag + 1 + (pending[flag + 1] << 8 & 0x700 | pending[flag + 2])  # at the closing flag
                yield found
            if at < len(pending):
                self._pass_over(len(pending) - at)
            at = len(pending)
        finally:
            del pending[:at]

    def _pass_over(self, count: int) -> None:
        self.skipped.noise += count
        self.damage += 1


@lru_cache(1024)  # a station counts to 8 in both directions, and most of its frames are full or empty
def _head(destination: Address, source: Address, control: Control, segmented: bool, length: int) -> bytes:
    """A frame's opening flag, header and check sequence before `length` bytes of information."""
    addresses = destination.encode() + source.encode()
    size = 2 + len(addresses) + 1 + 2 + (length + 2 if length else 0)
    if size > MAX_LENGTH:
        raise ValueError(f"HDLC frame of {size} bytes, at most {MAX_LENGTH}")
    start = 0xA000 | segmented << 11 | size
    header = b"%c%c%b%c" % (start >> 8, start & 0xFF, addresses, control.encode())
    return b"\x7e%b%b" % (header, fcs(header))


_Header = tuple[int, Address, Address, Control]
"""Size of the whole frame, flags not counted; destination, source, control."""


def _examine(buffer: bytes | bytearray, at: int, inspect: bool) -> Frame | str | int:
    """Read the frame at `at`, behind its flag: the frame, or why there is none ("": two flags).

    Or how long the buffer must be before anything more can be said.
    """
    end = _header_end(buffer, at)
    if isinstance(end, str):
        return end
    if end > len(buffer):
        return end
    header = _header(bytes(buffer[at:end]))
    if isinstance(header, str):
        return header
    size, destination, source, control = header
    bare = size == end - at + 2
    fault = ""
    before = 0
    if not bare:
        end += 2
        if len(buffer) < end:
            return end
        if not _holds(bytes(buffer[at:end])):
            if not inspect:
                return "hcs"
            fault = "HCS"
        before = _GOOD  # of the header, with its own check sequence
    if len(buffer) <= at + size:
        return at + size + 1
    if buffer[at + size] != FLAG:
        return "flag"
    rest = bytes(buffer[at if bare else end : at + size])
    if not fault and _crc(rest, before) != _GOOD:
        if not inspect:
            return "fcs"
        fault = "FCS"
    return Frame(destination, source, control, b"" if bare else rest[:-2], bool(buffer[at] & 0x08), fault)


def _header_end(buffer: bytes | bytearray, at: int) -> int | str:
    """Where format, addresses and control end that begin at `at`, at the least; or why there is no frame."""
    have = len(buffer) - at
    if not have:
        return at + 1
    if buffer[at] & 0xF0 != 0xA0:
        return "" if buffer[at] == FLAG else "format"
    middle = _address_end(buffer, at + 2)
    end = _address_end(buffer, middle) if middle > 0 else middle
    if end < 0:
        return "address"
    return end + 1 if end else max(len(buffer), at + 2) + 1


@lru_cache(1024)  # a line has few stations, and what they say has few beginnings
def _header(raw: bytes) -> _Header | str:
    """Read format, addresses and control."""
    control = _CONTROLS[raw[-1]]
    size = raw[0] << 8 & 0x700 | raw[1]
    if size != len(raw) + 2 and size < len(raw) + 5:
        return "length"  # neither without information (FCS alone) nor with (HCS, one byte at least, FCS)
    middle = _address_end(raw, 2)
    return size, _address(raw[2:middle]), _address(raw[middle:-1]), control


@lru_cache(1024)
def _holds(raw: bytes) -> bool:
    """Whether a header fits the check sequence at its end."""
    return bool(_crc(raw) == _GOOD)


def _address_end(buffer: bytes | bytearray, at: int) -> int:
    """Where the address at `at` ends; 0 where it is not all there, -1 where it is none. Bit 0 marks the last byte."""
    have = len(buffer) - at
    if have > 0 and buffer[at] & 1:
        return at + 1
    if have > 1 and buffer[at + 1] & 1:
        return at + 2
    if have < 3:
        return 0
    if buffer[at + 2] & 1:
        return -1
    if have < 4:
        return 0
    return at + 4 if buffer[at + 3] & 1 else -1


def _address(raw: bytes) -> Address:
    if len(raw) == 1:
        return Address(raw[0] >> 1)
    if len(raw) == 2:
        return Address(raw[0] >> 1, raw[1] >> 1, 2)
    return Address(raw[0] >> 1 << 7 | raw[1] >> 1, raw[2] >> 1 << 7 | raw[3] >> 1, 4)


_SUPERVISED = (Kind.I, Kind.RR, Kind.RNR, Kind.REJ)


def _control(byte: int) -> Control:
    final, receive = bool(byte & 0x10), byte >> 5
    if not byte & 1:
        return Control(Kind.I, final, byte >> 1 & 7, receive)
    if byte & 0x0F in (0x01, 0x05, 0x09):
        return Control(Kind(byte & 0x0F), final, 0, receive)
    try:
        return Control(Kind(byte & 0xEF), final)
    except ValueError:
        return Control(Kind.OTHER, final, byte & 0xEF)


_CONTROLS = tuple(map(_control, range(256)))
