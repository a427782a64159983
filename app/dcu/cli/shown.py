"""Decoded APDUs as JSON: typed values, OBIS names, date-times as they stood on the wire and in UTC.

A value is {"type", "value"}; an octet-string also says what it may be: "obis" with its "name", "date_time", "text".
"""

from dataclasses import fields
from enum import IntEnum, IntFlag

from dcu.cli.decoding import VALUES, Decoded, Plain
from dcu.cosem import apdu, axdr, catalogue
from dcu.cosem.apdu.short import Name, NextBlock, Taken
from dcu.cosem.apdu.wire import DATE_TIME_SIZE
from dcu.cosem.axdr import BitString, CompactArray, Data, Tag
from dcu.cosem.datetimes import CosemDate, CosemDateTime, CosemTime, TimeZoneRule
from dcu.cosem.security import Framing
from dcu.cosem.selection import Selection
from dcu.credentials import Secret
from dcu.errors import DecodeError
from dcu.model import AttributeRef, MethodRef, Obis

Json = dict[str, object]

_FRAMINGS = {
    Framing.GLOBAL: "glo-ciphering",
    Framing.DEDICATED: "ded-ciphering",
    Framing.GENERAL_GLOBAL: "general-glo-ciphering",
    Framing.GENERAL_DEDICATED: "general-ded-ciphering",
    Framing.IDENTIFIED: "general-ciphering, identified key",
    Framing.WRAPPED: "general-ciphering, wrapped key",
    Framing.ONE_PASS: "general-ciphering, C(1e,1s)",
    Framing.STATIC: "general-ciphering, C(0e,2s)",
}
_TITLES = frozenset(("calling_title", "responding_title"))


class Shown:
    """Turns what was decoded into JSON. rule: the meter's clock; zoned: whether its zone is known, not assumed."""

    def __init__(self, rule: TimeZoneRule | None = None, *, zoned: bool = False) -> None:
        self._zoned = zoned
        self._rule = rule or TimeZoneRule()

    def decoded(self, item: Decoded) -> Json:
        """One APDU with how it came and how it was protected."""
        shown: Json = {"link": item.captured.link or None, "security": None, "apdu": None}
        if item.captured.fault:
            shown["fault"] = item.captured.fault
        if item.opened is not None:
            shown["security"] = {
                "framing": _FRAMINGS[item.opened.framing],
                "protection": str(item.opened.protection),
                "system_title": item.opened.title.hex().upper(),
                "invocation_counter": item.opened.counter,
            }
        if item.apdu is not None:
            shown["apdu"] = self.apdu(item.apdu)
            if item.initiate is not None:
                shown["apdu"]["user_information"] = self.apdu(item.initiate)  # type: ignore[index]
        elif item.raw:
            shown["apdu"] = {"service": apdu.service_name(item.raw[0]), "raw": item.raw.hex()}
        if item.notes:
            shown["notes"] = list(item.notes)
        return shown

    def apdu(self, found: Plain) -> Json:
        shown: Json = {"service": _service(found)}
        for each in fields(found):
            value = getattr(found, each.name)
            if value is not None:
                shown[each.name] = self._field(each.name, value)
        return shown

    def _field(self, name: str, value: object) -> object:
        match value:
            case bytes():
                return self._octets(name, value)
            case AttributeRef() | MethodRef():
                return {"reference": str(value), "name": catalogue.name(value.obis)}
            case Selection():
                return {"selector": value.selector, "parameter": self.value(axdr.decode(value.parameter))}
            case Name() | NextBlock() | Taken():
                return self._by_short_name(value)
            case tuple():
                return [self._field(name, item) for item in value]
            case IntFlag():
                return [flag.name.lower().replace("_", "-") for flag in type(value) if flag in value and flag.name]
            case IntEnum():
                return str(value) if str(value) != str(int(value)) else value.name.lower().replace("_", "-")
            case Secret():
                return "not shown"
            case _:
                return f"{value:08x}" if name == "long_invoke" else value

    def _octets(self, name: str, raw: bytes) -> object:
        if name in VALUES:
            return self.value(axdr.decode(raw))
        if name != "date_time":
            return raw.hex().upper() if name in _TITLES else raw.hex()
        if len(raw) not in (0, DATE_TIME_SIZE):
            return raw.decode("ascii", "replace")  # a GeneralizedTime, by short names
        return self.date_time(raw) if raw else None

    def _by_short_name(self, part: Name | NextBlock | Taken) -> Json:
        if not isinstance(part, Name):
            return {"block_after" if isinstance(part, NextBlock) else "block_taken": part.number}
        shown: Json = {"short_name": f"{part.name:04X}"}
        if part.selector is None:
            return shown
        return shown | {"selector": part.selector, "parameter": self.value(axdr.decode(part.parameter))}

    def value(self, data: Data) -> Json:
        """A COSEM value and what it may mean."""
        shown: Json = {"type": data.tag.name.lower().replace("_", "-")}
        match data.value:
            case tuple():
                return shown | {"value": [self.value(item) for item in data.value]}
            case CompactArray():
                return shown | {"value": [self.value(item) for item in data.value.items]}
            case BitString():
                return shown | {"value": str(data.value)}
            case bytes():
                return shown | {"value": data.value.hex()} | self._meaning(data.tag, data.value)
            case _:
                return shown | {"value": data.value}

    def _meaning(self, tag: Tag, raw: bytes) -> Json:
        try:
            if tag is Tag.DATE:
                return {"date": str(CosemDate.parse(raw))}
            if tag is Tag.TIME:
                return {"time": str(CosemTime.parse(raw))}
            if tag is Tag.DATE_TIME or (len(raw) == 12 and _plausible(CosemDateTime.parse(raw))):
                return {"date_time": self.date_time(raw)}
        except DecodeError:
            return {}
        meaning: Json = {}
        if raw and all(0x20 <= byte < 0x7F for byte in raw.rstrip(b"\0")):
            meaning["text"] = raw.rstrip(b"\0").decode("ascii")
        if len(raw) == 6 and (raw[5] == 255 or not meaning):
            meaning |= {"obis": str(Obis(raw)), "name": catalogue.name(Obis(raw))}
        return meaning

    def date_time(self, raw: bytes) -> Json:
        """As on the wire, as the meter's clock showed it, and in UTC (None: a pattern, or nothing says the offset)."""
        clock = CosemDateTime.parse(raw)
        shown: Json = {"raw": raw.hex(), "local": str(clock), "deviation": clock.deviation, "utc": None}
        if clock.deviation is not None or self._zoned:
            try:
                shown["utc"] = clock.utc(self._rule)
            except DecodeError:
                return shown
        return shown


def _service(found: Plain) -> str:
    """`GetRequestNormal` → `get-request-normal`, as the standard writes it."""
    name = type(found).__name__
    return "".join(f"-{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("-")


def _plausible(clock: CosemDateTime) -> bool:
    """Whether twelve bytes are a date-time rather than a text or a number."""
    date, time = clock.date, clock.time
    return (
        (date.year is None or 1970 <= date.year < 2200)
        and (date.month is None or 1 <= date.month <= 12 or date.month in (0xFD, 0xFE))
        and (date.day is None or 1 <= date.day <= 31 or date.day in (0xFD, 0xFE))
        and (time.hour is None or time.hour < 24)
        and (time.minute is None or time.minute < 60)
        and (clock.deviation is None or abs(clock.deviation) <= 24 * 60)
    )
