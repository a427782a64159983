"""What two HDLC stations agree on when they connect, and what a frame reject says.

In the information field of SNRM and UA stands ``81 | 80 length | id length value ...``: the greatest information field
(05 transmit, 06 receive) and the window (07 transmit, 08 receive), each seen from the station that sends it. What is
not said is the default: 128 bytes, window 1. So an empty field is a proposal too, and an answer.

Source: IEC 62056-46 clause 6.4.4.4.3 (negotiation) and ISO/IEC 13239 clause 5.5.3.4 (FRMR).
"""

from dataclasses import dataclass
from enum import IntFlag

from dcu.errors import DecodeError

MIN_INFORMATION = 32  # what a COSEM HDLC setup object (class 23) may say
MAX_INFORMATION = 2030
MAX_WINDOW = 7

_FORMAT, _GROUP = 0x81, 0x80
_TRANSMIT, _RECEIVE, _TRANSMIT_WINDOW, _RECEIVE_WINDOW = 5, 6, 7, 8


@dataclass(frozen=True, slots=True)
class Parameters:
    """Greatest information field in bytes and window in frames, per direction, seen from one station."""

    transmit: int = 128
    receive: int = 128
    transmit_window: int = 1
    receive_window: int = 1

    def __post_init__(self) -> None:
        sizes, windows = (self.transmit, self.receive), (self.transmit_window, self.receive_window)
        if not all(1 <= size <= MAX_INFORMATION for size in sizes) or not all(1 <= n <= MAX_WINDOW for n in windows):
            raise ValueError(f"information 1..{MAX_INFORMATION} bytes, window 1..{MAX_WINDOW}, not {self}")


DEFAULT = Parameters()


def encode_parameters(parameters: Parameters) -> bytes:
    """The information field of an SNRM or UA; a size takes as few bytes as it needs, a window always four."""
    items = b""
    for name, size in ((_TRANSMIT, parameters.transmit), (_RECEIVE, parameters.receive)):
        raw = size.to_bytes(1 if size < 256 else 2, "big")
        items += bytes((name, len(raw))) + raw
    for name, window in ((_TRANSMIT_WINDOW, parameters.transmit_window), (_RECEIVE_WINDOW, parameters.receive_window)):
        items += bytes((name, 4)) + window.to_bytes(4, "big")
    return bytes((_FORMAT, _GROUP, len(items))) + items


def decode_parameters(raw: bytes) -> Parameters:
    """Read the information field of an SNRM or UA. Raises DecodeError.

    More than a frame or the numbering can carry is taken as the most that they can; unknown items are passed over.
    """
    if not raw:
        return DEFAULT
    if raw[0] != _FORMAT:
        raise DecodeError(f"HDLC parameters in format {raw[0]:02X}, not 81", 0)
    found: dict[int, int] = {}
    at = 1
    while at < len(raw):
        group, body, end = _item(raw, at, len(raw))
        if group == _GROUP:
            while body < end:
                name, value, body = _item(raw, body, end)
                found[name] = int.from_bytes(raw[value:body], "big")
        at = end
    return Parameters(
        _within(found.get(_TRANSMIT, 128), MAX_INFORMATION, "information field"),
        _within(found.get(_RECEIVE, 128), MAX_INFORMATION, "information field"),
        _within(found.get(_TRANSMIT_WINDOW, 1), MAX_WINDOW, "window"),
        _within(found.get(_RECEIVE_WINDOW, 1), MAX_WINDOW, "window"),
    )


def agree(own: Parameters, peer: Parameters) -> Parameters:
    """What `own` station may do towards `peer`: nobody sends more than the other takes."""
    return Parameters(
        min(own.transmit, peer.receive),
        min(own.receive, peer.transmit),
        min(own.transmit_window, peer.receive_window),
        min(own.receive_window, peer.transmit_window),
    )


class Reason(IntFlag):
    """Why a frame was rejected: the bits w, x, y, z."""

    CONTROL = 1  # undefined or not implemented
    INFORMATION = 2  # where none is permitted
    LENGTH = 4  # more information than fits
    NUMBER = 8  # N(R) of a frame that was never sent


@dataclass(frozen=True, slots=True)
class Rejection:
    """The information field of an FRMR: the rejected control byte, V(S) and V(R) of who rejects, and why.

    `response`: the rejected frame was a response, not a command.
    """

    control: int
    send: int
    receive: int
    reason: Reason
    response: bool = False

    def encode(self) -> bytes:
        state = self.receive << 5 | self.response << 4 | self.send << 1
        return bytes((self.control, state, self.reason))


def decode_rejection(raw: bytes) -> Rejection:
    """Read the information field of an FRMR. Raises DecodeError."""
    if len(raw) != 3:
        raise DecodeError(f"FRMR with {len(raw)} bytes of information, not 3", 0)
    return Rejection(raw[0], raw[1] >> 1 & 7, raw[1] >> 5, Reason(raw[2] & 0x0F), bool(raw[1] & 0x10))


def _item(raw: bytes, at: int, limit: int) -> tuple[int, int, int]:
    """Identifier, start and end of the value of the item at `at`."""
    if at + 2 > limit:
        raise DecodeError("HDLC parameter cut short", at)
    end = at + 2 + raw[at + 1]
    if end > limit:
        raise DecodeError(f"HDLC parameter of {raw[at + 1]} bytes, {limit - at - 2} are there", at + 1)
    return raw[at], at + 2, end


def _within(value: int, most: int, what: str) -> int:
    if value < 1:
        raise DecodeError(f"HDLC {what} of 0")
    return min(value, most)
