"""Values as an operator writes them: TYPE:VALUE, or a bare VALUE whose type the meter's own value tells.

Types are those of COSEM data (IEC 62056-6-2): u8 u16 u32 u64 i8 i16 i32 i64 enum bool text utf8 octets bits float32
float64 time null; `raw:HEX` is any value, already encoded. Octets are hexadecimal; a time is ISO 8601 and goes out as a
date-time of twelve bytes.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime

from dcu.cosem import axdr, data
from dcu.cosem.catalogue import Attribute
from dcu.cosem.data import BitString, Data, Tag, Value
from dcu.cosem.datetimes import CosemDateTime, TimeZoneRule
from dcu.cosem.described import encoded as encode_described
from dcu.errors import ConfigError, DecodeError

_TRUE, _FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")


def _whole(text: str) -> int:
    return int(text.replace("_", ""), 0)


def _truth(text: str) -> bool:
    if text.lower() not in _TRUE + _FALSE:
        raise ValueError("true or false")
    return text.lower() in _TRUE


def _bits(text: str) -> BitString:
    if not re.fullmatch("[01]*", text):
        raise ValueError("zeros and ones")
    size = len(text)
    return BitString(size, (int(text or "0", 2) << -size % 8).to_bytes((size + 7) // 8, "big"))


def _hex(text: str) -> bytes:
    return bytes.fromhex(text)


_TYPES: Mapping[str, tuple[Tag, Callable[[str], Value]]] = {
    "u8": (Tag.UNSIGNED, _whole),
    "u16": (Tag.LONG_UNSIGNED, _whole),
    "u32": (Tag.DOUBLE_LONG_UNSIGNED, _whole),
    "u64": (Tag.LONG64_UNSIGNED, _whole),
    "i8": (Tag.INTEGER, _whole),
    "i16": (Tag.LONG, _whole),
    "i32": (Tag.DOUBLE_LONG, _whole),
    "i64": (Tag.LONG64, _whole),
    "enum": (Tag.ENUM, _whole),
    "bool": (Tag.BOOLEAN, _truth),
    "text": (Tag.VISIBLE_STRING, str),
    "utf8": (Tag.UTF8_STRING, str),
    "octets": (Tag.OCTET_STRING, _hex),
    "bits": (Tag.BIT_STRING, _bits),
    "float32": (Tag.FLOAT32, float),
    "float64": (Tag.FLOAT64, float),
}
_NAMES = {tag: name for name, (tag, _) in _TYPES.items()}
KINDS = (*_TYPES, "time", "null", "raw")


def typed(text: str) -> bool:
    """Whether a value says its type itself."""
    return text == "null" or (text.partition(":")[0] in KINDS and ":" in text)


def encoded(text: str, *, rule: TimeZoneRule | None = None) -> bytes:
    """The A-XDR value that TYPE:VALUE says. rule: the meter's clock, for `time`. Raises ConfigError."""
    kind, _, value = text.partition(":")
    if text == "null" or (kind == "null" and not value):
        return axdr.encode(data.null())
    try:
        if kind == "raw":
            raw = _hex(value)
            axdr.decode(raw)
            return raw
        if kind == "time":
            return axdr.encode(data.octets(_moment(value, rule)))
        tag, read = _TYPES[kind]
        return axdr.encode(Data(tag, read(value)))
    except KeyError:
        raise ConfigError(f"{text!r}: TYPE:VALUE with a type out of {', '.join(KINDS)}") from None
    except (ValueError, OverflowError, DecodeError) as error:
        raise ConfigError(f"{text!r} is no {kind}: {error}") from None


def like(text: str, current: bytes, *, rule: TimeZoneRule | None = None) -> bytes:
    """The A-XDR value that a bare VALUE says, of the type that the meter's `current` value has. Raises ConfigError."""
    try:
        found = axdr.decode(current)
    except DecodeError as error:
        raise ConfigError(f"the meter's value does not tell the type ({error}): say TYPE:VALUE") from None
    if found.tag is Tag.OCTET_STRING and isinstance(found.value, bytes) and len(found.value) == 12 and "-" in text:
        return encoded(f"time:{text}", rule=rule)
    if found.tag not in _NAMES:
        raise ConfigError(f"the meter has a value of type {found.tag.name.lower()} there: say raw:HEX")
    return encoded(f"{_NAMES[found.tag]}:{text}")


def described(text: str, versions: Sequence[Attribute], *, rule: TimeZoneRule | None = None) -> bytes | None:
    """What a bare VALUE says where the catalogue tells how people write it: as JSON, or a text. Else None.

    versions: what belongs there, by the versions of the class, the newest first; what fits none is held against that.
    Raises ConfigError.
    """
    what = versions[0] if versions else None
    if text[:1] in ("[", "{"):
        if what is None:
            raise ConfigError("the catalogue does not say what belongs there: write raw:HEX")
        try:
            value = json.loads(text)
        except ValueError as error:
            raise ConfigError(f"{what.name}: this is no JSON: {error}") from None
        for each in versions:
            with suppress(ConfigError):
                return encode_described(value, each, rule)
        return encode_described(value, what, rule)
    if what is None or what.form in ("", "text") or what.type in (Tag.ARRAY, Tag.STRUCTURE):
        return None
    return encode_described(text, what, rule)


def _moment(text: str, rule: TimeZoneRule | None) -> bytes:
    at = datetime.fromisoformat(text)
    return CosemDateTime.from_utc(at if at.tzinfo else at.replace(tzinfo=UTC), rule or TimeZoneRule()).encode()
