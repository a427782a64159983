"""A value that was damaged on the line, up to the damage: for people who look at a capture. A collector refuses it."""

from dcu.cosem import axdr
from dcu.cosem.axdr import Data, Tag
from dcu.errors import DecodeError


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
