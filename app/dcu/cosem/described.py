"""Values as people write them, by what the catalogue says of an attribute or of a method's parameter.

A structure is an object with the fields' names, as `interpret` shows it, or a list in their order; an array is a list.
Numbers are numbers, an enumeration its number or what it means; OBIS codes, dates and times are texts. What is left
open in a date or a time is `*`, as in `*-*-* 22:00` or `*-03-last Sun`.

Source: DLMS Blue Book (IEC 62056-6-2) 4.1.5 (types), 4.1.6 (date and time).
"""

import re
from datetime import UTC, datetime
from typing import Any

from dcu.cosem import axdr, catalogue, data
from dcu.cosem.catalogue import Attribute
from dcu.cosem.data import Data, Tag
from dcu.cosem.datetimes import (
    DST_BEGIN,
    DST_END,
    LAST_DAY,
    SECOND_LAST_DAY,
    WEEKDAYS,
    CosemDate,
    CosemDateTime,
    CosemTime,
    TimeZoneRule,
)
from dcu.errors import ConfigError
from dcu.model import Obis

_DATE = re.compile(r"(\*+|\d{4})-(\*+|DST begin|DST end|\d{1,2})-(\*+|last|second last|\d{1,2})(?: (\w{3}))?")
_TIME = re.compile(r"(\*+|\d{1,2}):(\*+|\d{1,2})(?::(\*+|\d{1,2}))?")
_SPECIAL = {"DST begin": DST_BEGIN, "DST end": DST_END, "last": LAST_DAY, "second last": SECOND_LAST_DAY}
_MOMENT = re.compile(r"\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}.*)?")
_DEEP = 8  # structures in structures
_INTEGERS = {
    Tag.INTEGER, Tag.LONG, Tag.DOUBLE_LONG, Tag.LONG64, Tag.UNSIGNED, Tag.LONG_UNSIGNED, Tag.DOUBLE_LONG_UNSIGNED,
    Tag.LONG64_UNSIGNED, Tag.ENUM,
}  # fmt: skip


def encoded(value: Any, what: Attribute, rule: TimeZoneRule | None = None) -> bytes:
    """The A-XDR value that `value` (of JSON, or a text) says for `what`; rule: the meter's clock. ConfigError."""
    made = _made(value, what.type, what.form, what.name, rule, 0)
    try:
        return axdr.encode(made)
    except (ValueError, OverflowError) as error:
        raise ConfigError(f"{what.name}: {error}") from None


def _made(value: Any, kind: Tag | None, form: str, where: str, rule: TimeZoneRule | None, depth: int) -> Data:
    if depth > _DEEP:
        raise ConfigError(f"{where}: structures in structures, {_DEEP} deep")
    if kind is Tag.ARRAY:
        if not isinstance(value, list):
            raise ConfigError(f"{where}: a list [...] belongs here")
        element = catalogue.type_named(form)
        inner = (element, "") if element or form == "choice" else (Tag.STRUCTURE, form)
        return data.array(_made(item, *inner, f"{where}[{at}]", rule, depth + 1) for at, item in enumerate(value))
    if kind is None and (alternatives := catalogue.choice(form)):
        return _chosen(value, alternatives, where, rule, depth)
    if kind is Tag.STRUCTURE:
        return _structure(value, form, where, rule, depth)
    if kind is Tag.OCTET_STRING:
        return data.octets(_octets(value, form, where, rule))
    if kind is Tag.DATE_TIME:
        return Data(kind, _octets(value, "date-time", where, rule))
    if kind in _INTEGERS:
        return Data(kind, _number(value, form, where))
    return _simple(value, kind, where)


def _simple(value: Any, kind: Tag | None, where: str) -> Data:
    match kind, value:
        case Tag.NULL, None:
            return data.null()
        case Tag.BOOLEAN, bool():
            return data.boolean(value)
        case Tag.BIT_STRING, str() if re.fullmatch("[01]*", value):
            return data.bits(value)
        case Tag.VISIBLE_STRING | Tag.UTF8_STRING, str():
            assert kind
            return Data(kind, value)
        case Tag.FLOAT32 | Tag.FLOAT64, int() | float():
            assert kind
            return Data(kind, float(value))
        case None, int() if not isinstance(value, bool):
            return data.u32(value) if 0 <= value < 1 << 32 else data.i64(value)
    fits = {Tag.NULL: "null", Tag.BOOLEAN: "true or false", Tag.BIT_STRING: "zeros and ones, as text,"}
    raise ConfigError(f"{where}: {fits.get(kind, 'raw:HEX, or TYPE:VALUE,') if kind else 'a number'} belongs here")


def _structure(value: Any, form: str, where: str, rule: TimeZoneRule | None, depth: int) -> Data:
    fields = catalogue.structure(form)
    if not fields:
        raise ConfigError(f"{where}: what it is made of is not known: write raw:HEX")
    names = [field.name for field in fields]
    if isinstance(value, list) and len(value) == len(fields):
        value = dict(zip(names, value, strict=True))
    if not isinstance(value, dict) or set(value) != set(names):
        raise ConfigError(f"{where}: an object with {', '.join(names)} belongs here")
    parts = (
        _made(value[field.name], field.type, field.form, f"{where}.{field.name}", rule, depth + 1) for field in fields
    )
    return data.structure(*parts)


def _chosen(value: Any, alternatives: tuple[Attribute, ...], where: str, rule: TimeZoneRule | None, depth: int) -> Data:
    """The first alternative that the value fits."""
    reasons = []
    for each in alternatives:
        try:
            return _made(value, each.type, each.form, where, rule, depth + 1)
        except ConfigError as error:
            reasons.append(str(error))
    raise ConfigError("; or ".join(reasons))


def _number(value: Any, form: str, where: str) -> int:
    meanings = catalogue.enumeration(form)
    for number, text in meanings.items():
        if isinstance(value, str) and value.casefold() == text.casefold():
            return number
    try:
        if isinstance(value, int | str) and not isinstance(value, bool):
            return int(value)
    except ValueError:
        pass
    allowed = ", ".join(f"{number} ({text})" for number, text in meanings.items()) or "a number"
    raise ConfigError(f"{where}: {value!r}: {allowed} belongs here")


def _octets(value: Any, form: str, where: str, rule: TimeZoneRule | None) -> bytes:
    if not isinstance(value, str):
        raise ConfigError(f"{where}: a text belongs here")
    try:
        match form:
            case "obis":
                return Obis.parse(value).raw
            case "date-time":
                return date_time(value, rule).encode()
            case "date":
                return date(value).encode()
            case "time":
                return time(value).encode()
            case "text":
                return value.encode()
        return bytes.fromhex(value)
    except ValueError as error:
        raise ConfigError(f"{where}: {value!r}: {error}") from None


def date_time(text: str, rule: TimeZoneRule | None = None) -> CosemDateTime:
    """A moment (UTC unless it says otherwise) in the meter's own time, or a pattern of it. Raises ValueError."""
    if _MOMENT.fullmatch(text):
        at = datetime.fromisoformat(text)
        return CosemDateTime.from_utc(at if at.tzinfo else at.replace(tzinfo=UTC), rule or TimeZoneRule())
    day, _, rest = text.rpartition(" ")
    return CosemDateTime(date(day), time(rest)) if day else CosemDateTime(date(text), CosemTime())


def date(text: str) -> CosemDate:
    """`2026-12-24`, `*-12-24`, `*-03-last Sun`, `*`. Raises ValueError."""
    if text == "*":
        return CosemDate()
    found = _DATE.fullmatch(text)
    if not found or (found[4] and found[4] not in WEEKDAYS):
        raise ValueError("a date is written 2026-12-24, *-12-24 or *-03-last Sun")
    year, month, day = (_part(part) for part in found.groups()[:3])
    return CosemDate(year, month, day, WEEKDAYS.index(found[4]) + 1 if found[4] else None)


def time(text: str) -> CosemTime:
    """`22:00`, `06:30:00`, `*:15`. Raises ValueError."""
    found = _TIME.fullmatch(text)
    if not found:
        raise ValueError("a time is written 22:00 or 22:00:30")
    hour, minute, second = (_part(part) if part else 0 for part in found.groups())
    for part, most in ((hour, 24), (minute, 60), (second, 60)):
        if part is not None and part >= most:
            raise ValueError(f"no time of day: {text}")
    return CosemTime(hour, minute, second, None if second is None else 0)


def _part(text: str) -> int | None:
    return None if text.startswith("*") else _SPECIAL.get(text) or int(text)
