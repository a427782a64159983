"""Values that are not quite A-XDR, and what can be said of them all the same.

`tagged`: some meters (Sagemcom XT211) put cosem-attribute-descriptors without any tag into the structures of their
pushes; they become structures (class, OBIS code, attribute). `salvage`: a value damaged on the line, up to the damage.
Both for people who look at a capture: a collector refuses such a value.
"""

from dcu.cosem import axdr
from dcu.cosem.axdr import Data, Tag
from dcu.errors import DecodeError

_DESCRIPTOR = 9  # class-id 2, instance-id 6, attribute-id 1
_MAX_ATTRIBUTE = 64  # no class of the Blue Book has more


def tagged(raw: bytes) -> Data:
    """Decode a value in whose structures untagged attribute descriptors may stand. Raises DecodeError."""
    data, at = _tagged(raw, 0, 0)
    if at != len(raw):
        raise DecodeError(f"{len(raw) - at} bytes follow the value", at)
    return data


def _tagged(raw: bytes, at: int, depth: int) -> tuple[Data, int]:
    tag = raw[at] if at < len(raw) else None
    if tag not in (Tag.ARRAY, Tag.STRUCTURE) or depth == axdr.MAX_DEPTH:
        return axdr.decode_at(raw, at)
    count, at = axdr.decode_length(raw, at + 1)
    items = []
    for _ in range(count):
        if tag == Tag.STRUCTURE and _descriptor(raw, at):
            item, at = _structured(raw[at : at + _DESCRIPTOR]), at + _DESCRIPTOR
        else:
            item, at = _tagged(raw, at, depth + 1)
        items.append(item)
    return Data(Tag(tag), tuple(items)), at


def _descriptor(raw: bytes, at: int) -> bool:
    """A class below 256, an OBIS code that ends in 255, a small attribute number: 00 xx …… FF 0x."""
    piece = raw[at : at + _DESCRIPTOR]
    return (
        len(piece) == _DESCRIPTOR
        and not piece[0]
        and bool(piece[1])
        and piece[7] == 255
        and 0 < piece[8] < _MAX_ATTRIBUTE
    )


def _structured(piece: bytes) -> Data:
    class_id, obis, attribute = int.from_bytes(piece[:2], "big"), piece[2:8], piece[8]
    return axdr.structure(axdr.u16(class_id), axdr.octets(obis), axdr.i8(attribute))


def salvage(raw: bytes) -> tuple[Data, str]:
    """Decode what comes before the damage; the rest is one octet-string at the end. Second: what the damage is."""
    reasons: list[str] = []

    def take(at: int, depth: int) -> tuple[Data, int]:
        tag = raw[at] if at < len(raw) else None
        try:
            if tag not in (Tag.ARRAY, Tag.STRUCTURE) or depth == axdr.MAX_DEPTH:
                return axdr.decode_at(raw, at)
            count, start = axdr.decode_length(raw, at + 1)
        except DecodeError as error:
            reasons.append(str(error))
            return axdr.octets(raw[at:]), len(raw)
        at = start
        items: list[Data] = []
        while len(items) < count and not reasons:
            item, at = take(at, depth + 1)
            items.append(item)
        return Data(Tag(tag), tuple(items)), at

    data, at = take(0, 0)
    if not reasons and at != len(raw):
        reasons.append(f"{len(raw) - at} bytes follow the value (at byte {at})")
    return data, reasons[0] if reasons else ""
