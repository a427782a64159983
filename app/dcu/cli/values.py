"""An attribute's value for people and for machines: quantities scaled, times in UTC too, OBIS codes as one writes them.

For machines a value is a number, a text, a list or an object; a date-time is {"local", "deviation", "utc"}, with null
for UTC where nothing says the clock's zone. A class that the catalogue does not know shows what its value is made of.
"""

from decimal import Decimal

from dcu.cosem import axdr, catalogue
from dcu.cosem.axdr import Data, Tag
from dcu.cosem.datetimes import CosemDateTime, TimeZoneRule
from dcu.cosem.objects import interpret
from dcu.errors import DecodeError, MalformedAnswer
from dcu.model import AttributeRef, Obis

DATA = 1
EVENT_CODES = bytes((0, 96, 11))  # OBIS 0-b:96.11.e, groups A, C and D
VALUE = 2  # the attribute that people mean when they name an object
UTC_FORMAT = "%Y-%m-%d %H:%M:%S UTC"


def named(ref: AttributeRef) -> str:
    """What the catalogue calls it."""
    known = catalogue.interface_class(ref.class_id)
    attribute = known.attribute(ref.attribute) if known else None
    name = catalogue.name(ref.obis) or (known.name if known else f"class {ref.class_id}, not in our catalogue")
    return name if ref.attribute == VALUE or not attribute else f"{name}: {attribute.name}"


def meaning(ref: AttributeRef, raw: bytes, scaler: int, unit: str, rule: TimeZoneRule | None) -> object:
    """The value as JSON has it. rule: the meter's clock, None where nobody tells. Raises MalformedAnswer."""
    try:
        data = axdr.decode(raw)
    except DecodeError as error:
        raise MalformedAnswer(f"{ref}: the meter's value does not decode: {error}") from None
    if isinstance(data.value, int | float) and not isinstance(data.value, bool) and (scaler or unit):
        return quantity(data.value, scaler)
    known = catalogue.interface_class(ref.class_id)
    attribute = known.attribute(ref.attribute) if known else None
    form = attribute.form if attribute else ""
    if form in ("", "capture-objects", "date-time"):
        return _value(data, rule, may_be_time=form == "date-time")
    return interpret(ref, data)


def explained(ref: AttributeRef, value: object) -> object:
    """An event code with what it means in European meters; anything else as it is."""
    if ref.class_id != DATA or ref.obis.raw[:1] + ref.obis.raw[2:4] != EVENT_CODES or not isinstance(value, int):
        return value
    known = catalogue.event(value)
    return f"{value} {known}" if known else value


def quantity(value: int | float, scaler: int) -> int | float | Decimal:
    """value × 10^scaler, exactly."""
    return Decimal(value).scaleb(scaler) if scaler and isinstance(value, int) else value * 10**scaler


def spelled(value: object) -> str:
    """A value in a table's cell."""
    match value:
        case {"local": local, "utc": None}:
            return f"{local}, UTC unknown (--family)"
        case {"local": local, "utc": utc}:
            return f"{local} = {utc:{UTC_FORMAT}}"
        case dict():
            return ", ".join(f"{key} {spelled(item)}" for key, item in value.items())
        case list() if value and all(isinstance(item, dict | list) for item in value):
            return "\n".join(map(spelled, value))
        case list():
            return ", ".join(map(spelled, value)) if value else "empty"
        case bool():
            return "true" if value else "false"
        case Decimal():
            return f"{value:f}"
        case "":
            return "empty"
        case None:
            return "–"
        case _:
            return str(value)


def _value(data: Data, rule: TimeZoneRule | None, *, may_be_time: bool = False) -> object:
    """What a value is made of: date-times and OBIS codes are recognised at any depth."""
    match data:
        case Data(Tag.OCTET_STRING | Tag.DATE_TIME, bytes() as raw) if len(raw) == 12 and (may_be_time or _dated(raw)):
            return _date_time(raw, rule)
        case Data(Tag.OCTET_STRING, bytes() as raw) if len(raw) == 6 and raw[5] == 255:
            return str(Obis(raw))
        case Data(_, tuple() as items):
            return [_value(item, rule) for item in items]
    return interpret(_UNKNOWN, data)


_UNKNOWN = AttributeRef(0, Obis(bytes(6)), 0)


def _date_time(raw: bytes, rule: TimeZoneRule | None) -> object:
    clock = CosemDateTime.parse(raw)
    try:
        utc = clock.utc(rule or TimeZoneRule())
    except DecodeError:  # a pattern, or never
        return str(clock)
    known = rule is not None or clock.deviation is not None
    return {"local": str(clock), "deviation": clock.deviation, "utc": utc if known else None}


def _dated(raw: bytes) -> bool:
    """Whether twelve bytes are a moment of this century, and not a text."""
    year, month, day = int.from_bytes(raw[:2], "big"), raw[2], raw[3]
    return 2000 <= year < 2100 and 1 <= month <= 12 and 1 <= day <= 31 and raw[5] < 24


def head(ref: AttributeRef) -> str:
    """A profile column's head: the OBIS code, and the attribute where it is not the value."""
    code = str(ref.obis).removesuffix("*255")
    return code if ref.attribute == VALUE else f"{code}, {ref.attribute}"
