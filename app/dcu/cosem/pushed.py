"""The body of a data-notification, as real meters send it.

Most are plain A-XDR. Two habits are not: lists of pushed objects whose attribute descriptors stand without tags (class,
OBIS code, attribute: 9 bytes; seen from Sagemcom), and OBIS codes whose tag and length are exchanged (06 09; seen from
Landis+Gyr). `decode_body` reads these as what they mean, and says so.
"""

from dcu.cosem import axdr
from dcu.cosem.axdr import Data, Tag
from dcu.errors import DecodeError

_DESCRIPTOR = 9  # bytes: class 2, OBIS code 6, attribute 1
UNTAGGED = "attribute descriptors without tags"
EXCHANGED = "OBIS codes with tag and length exchanged (06 09)"


def decode_body(raw: bytes) -> tuple[Data, tuple[str, ...]]:
    """Return the value, and the habits that had to be allowed for. Raises DecodeError.

    An attribute descriptor without tags becomes a structure of class, OBIS code and attribute.
    """
    try:
        return axdr.decode(raw), ()
    except DecodeError as error:
        habits: list[str] = []
        try:
            data, end = _tolerant(raw, 0, 0, habits)
        except DecodeError:
            raise error from None
        if end != len(raw):
            raise
        return data, tuple(dict.fromkeys(habits))


def _tolerant(raw: bytes, at: int, depth: int, habits: list[str]) -> tuple[Data, int]:
    if raw[at : at + 2] == b"\x06\x09" and raw[at + 7 : at + 8] == b"\xff":
        habits.append(EXCHANGED)
        return axdr.octets(raw[at + 2 : at + 8]), at + 8
    if raw[at : at + 1] not in (b"\x01", b"\x02"):
        return axdr.decode_at(raw, at)
    if depth >= axdr.MAX_DEPTH:
        raise DecodeError(f"nested deeper than {axdr.MAX_DEPTH}", at)
    tag = Tag(raw[at])
    count, at = axdr.decode_length(raw, at + 1)
    if count > len(raw) - at:
        raise DecodeError(f"{count} elements in {len(raw) - at} bytes", at)
    items: list[Data] = []
    if tag == Tag.STRUCTURE and count == 2 and _is_descriptor(raw[at : at + _DESCRIPTOR]):
        habits.append(UNTAGGED)
        items.append(_descriptor(raw[at : at + _DESCRIPTOR]))
        at += _DESCRIPTOR
    while len(items) < count:
        item, at = _tolerant(raw, at, depth + 1, habits)
        items.append(item)
    return Data(tag, tuple(items)), at


def _is_descriptor(raw: bytes) -> bool:
    """Whether this can be one, and cannot be a tagged value: classes up to 255, F = 255, a plausible attribute."""
    return len(raw) == _DESCRIPTOR and raw[0] == 0 and raw[1] != 0 and raw[7] == 0xFF and 1 <= raw[8] <= 32


def _descriptor(raw: bytes) -> Data:
    return axdr.structure(
        axdr.u16(int.from_bytes(raw[:2], "big")),
        axdr.octets(raw[2:8]),
        axdr.i8(raw[8]),
    )
