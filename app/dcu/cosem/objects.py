"""What is inside the attributes that the application itself reads: object list, scaler and unit, clock, relay, demand.

And `interpret`, which turns any attribute into what a person reads, by the catalogue: an unknown class keeps its raw
values. All decoders take encoded values and raise DecodeError.

Source: IEC 62056-6-2: Association LN (object_list), Register (scal_unit_type), Clock, Disconnect control,
Demand register.
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from enum import IntEnum
from functools import lru_cache

from dcu.cosem import axdr, catalogue
from dcu.cosem.axdr import BitString, CompactArray, Data, Tag
from dcu.cosem.datetimes import CosemDate, CosemDateTime, CosemTime
from dcu.errors import DecodeError
from dcu.model import AttributeRef, Obis, Scalar

READABLE = (1, 3, 4, 6)  # attribute access modes, Association LN versions 0 to 2
WRITABLE = (2, 3, 5, 6)
Nice = Scalar | list["Nice"] | dict[str, "Nice"]


@dataclass(frozen=True, slots=True)
class AttributeAccess:
    """mode: on the wire: an enumeration in Association LN versions 0 to 2, flags in version 3."""

    attribute: int
    mode: int
    selectors: tuple[int, ...] = ()

    def readable(self, association_version: int = 0) -> bool:
        return bool(self.mode & 1) if association_version >= 3 else self.mode in READABLE

    def writable(self, association_version: int = 0) -> bool:
        return bool(self.mode & 2) if association_version >= 3 else self.mode in WRITABLE


@dataclass(frozen=True, slots=True)
class MethodAccess:
    method: int
    mode: int


@dataclass(frozen=True, slots=True)
class ObjectListElement:
    """An object that an association sees. Classes that nobody knows are in the list as well."""

    class_id: int
    version: int
    obis: Obis
    attribute_access: tuple[AttributeAccess, ...] = ()
    method_access: tuple[MethodAccess, ...] = ()


@dataclass(frozen=True, slots=True)
class ScalerUnit:
    """A quantity is value × 10^scaler unit."""

    scaler: int
    unit: int

    @property
    def symbol(self) -> str:
        return catalogue.unit(self.unit)

    def apply(self, value: int) -> Decimal:
        return Decimal(value).scaleb(self.scaler)


class ControlState(IntEnum):
    DISCONNECTED = 0
    CONNECTED = 1
    READY_FOR_RECONNECTION = 2


class ControlMode(IntEnum):
    """Who may disconnect (remote, manual, local) and reconnect; the words are in classes.toml."""

    NONE = 0
    MODE_1 = 1
    MODE_2 = 2
    MODE_3 = 3
    MODE_4 = 4
    MODE_5 = 5
    MODE_6 = 6
    MODE_7 = 7


@dataclass(frozen=True, slots=True)
class DemandRegister:
    """Class 5, as far as it was read; period in seconds."""

    current_average: Scalar
    last_average: Scalar
    scaler_unit: ScalerUnit | None
    status: Scalar
    capture_time: CosemDateTime | None
    start_time_current: CosemDateTime | None
    period: int | None
    number_of_periods: int | None


def decode_object_list(raw: bytes) -> tuple[ObjectListElement, ...]:
    """Read attribute 2 of Association LN."""
    elements, at = _array(raw)
    found = []
    for _ in range(elements):
        item, at = axdr.decode_at(raw, at)
        found.append(_element(item))
    if at != len(raw):
        raise DecodeError(f"{len(raw) - at} bytes after the object list", at)
    return tuple(found)


def encode_object_list(elements: Iterable[ObjectListElement]) -> bytes:
    """Write attribute 2 of Association LN."""
    return axdr.encode(axdr.array(map(list_element, elements)))


def list_element(element: ObjectListElement) -> Data:
    """One element of an object list, as add_object and remove_object take it, too."""
    methods = (axdr.structure(axdr.i8(access.method), axdr.enum(access.mode)) for access in element.method_access)
    return axdr.structure(
        axdr.u16(element.class_id),
        axdr.u8(element.version),
        axdr.octets(element.obis.raw),
        axdr.structure(axdr.array(map(_attribute_access, element.attribute_access)), axdr.array(methods)),
    )


def read_list_element(item: Data) -> ObjectListElement:
    """Raises DecodeError."""
    return _element(item)


def decode_scaler_unit(raw: bytes) -> ScalerUnit:
    """Read scaler_unit of a register."""
    return _scaler_unit(axdr.decode(raw))


def encode_scaler_unit(scaler_unit: ScalerUnit) -> bytes:
    return axdr.encode(axdr.structure(axdr.i8(scaler_unit.scaler), axdr.enum(scaler_unit.unit)))


def decode_clock(raw: bytes) -> CosemDateTime:
    """Read the time of a clock: an octet-string of 12 bytes, or a tagged date-time."""
    return _date_time(axdr.decode(raw))


def encode_clock(moment: CosemDateTime) -> bytes:
    return axdr.encode(axdr.octets(moment.encode()))


def decode_int(raw: bytes) -> int:
    """Read any integer, enum, or bit-string as a number."""
    value = plain(axdr.decode(raw))
    if not isinstance(value, int):
        raise DecodeError("this should be a number")
    return int(value)


def decode_control_state(raw: bytes) -> ControlState:
    """Read attribute 3 of disconnect control."""
    try:
        return ControlState(decode_int(raw))
    except ValueError:
        raise DecodeError("a control state is 0, 1 or 2") from None


def decode_control_mode(raw: bytes) -> ControlMode:
    """Read attribute 4 of disconnect control."""
    try:
        return ControlMode(decode_int(raw))
    except ValueError:
        raise DecodeError("a control mode is 0 to 6") from None


def decode_demand_register(attributes: Mapping[int, bytes]) -> DemandRegister:
    """Read class 5 from its encoded attributes, by number; those that are not there become None."""

    def value(number: int) -> Scalar:
        return plain(axdr.decode(attributes[number])) if number in attributes else None

    def when(number: int) -> CosemDateTime | None:
        return decode_clock(attributes[number]) if number in attributes else None

    def integer(number: int) -> int | None:
        return decode_int(attributes[number]) if number in attributes else None

    scaler_unit = decode_scaler_unit(attributes[4]) if 4 in attributes else None
    return DemandRegister(value(2), value(3), scaler_unit, value(5), when(6), when(7), integer(8), integer(9))


def plain(data: Data) -> Scalar:
    """The value as a row of a profile holds it: a bit-string is its number, what nests stays encoded."""
    if isinstance(data.value, BitString):
        return data.value.number
    if isinstance(data.value, CompactArray | tuple):
        return axdr.encode(data)
    return data.value


def interpret(attribute: AttributeRef, data: Data, version: int | None = None) -> Nice:
    """What a person, or JSON, is shown: texts, numbers, lists, dictionaries. Never raises on odd values.

    version: of the class; None: the newest that the value fits.
    """
    if version is None:
        candidates = catalogue.attributes(attribute.class_id, attribute.attribute)
    else:
        known = catalogue.interface_class(attribute.class_id, version)
        candidates = tuple(filter(None, [known.attribute(attribute.attribute)])) if known else ()
    for found in candidates:
        with suppress(DecodeError):
            return _formed(found.form, data)
    return shown(data)


def shown(data: Data) -> Nice:
    """A value of which only the type is known. An octet-string is text if it reads as text, else hexadecimal."""
    value = data.value
    if isinstance(value, tuple):
        return [shown(item) for item in value]
    if isinstance(value, CompactArray):
        return [shown(item) for item in value.items]
    if isinstance(value, BitString):
        return str(value)
    if isinstance(value, bytes):
        return _octets(data.tag, value)
    return value


def _octets(tag: Tag, value: bytes) -> str:
    try:
        if tag == Tag.DATE_TIME or (tag == Tag.OCTET_STRING and len(value) == 12 and value[0] in (7, 8)):
            return str(CosemDateTime.parse(value))
        if tag == Tag.DATE:
            return str(CosemDate.parse(value))
        if tag == Tag.TIME:
            return str(CosemTime.parse(value))
    except DecodeError:
        return value.hex()
    text = value.decode("latin-1").rstrip("\0")  # meters pad texts with zeros
    return text if text.isascii() and text.isprintable() else value.hex()


def _formed(form: str, data: Data) -> Nice:
    """Raises DecodeError where the value does not have the form."""
    if form == "obis":
        return str(_obis(data))
    if form == "date-time":
        return str(_date_time(data))
    if form == "scaler-unit":
        scaler_unit = _scaler_unit(data)
        return {"scaler": scaler_unit.scaler, "unit": scaler_unit.symbol}
    if form == "object-list":
        return [
            {"class": element.class_id, "version": element.version, "obis": str(element.obis)}
            for element in decode_object_list(axdr.encode(data))
        ]
    for each in catalogue.choice(form):
        if _is(each, data):
            return _formed(each.form, data)
    if form in ("date", "time") and isinstance(data.value, bytes):
        return str(CosemDate.parse(data.value) if form == "date" else CosemTime.parse(data.value))
    if fields := catalogue.structure(form):
        return _structured(fields, data)
    meaning = catalogue.enumeration(form)
    if meaning and isinstance(data.value, int):
        return meaning.get(data.value, data.value)
    return shown(data)


def _is(what: catalogue.Attribute, data: Data) -> bool:
    """Whether a value has the type, and its fields theirs, of one of the things that it may be."""
    if what.type is not data.tag:
        return False
    fields = catalogue.structure(what.form)
    if not fields or not isinstance(data.value, tuple):
        return not fields
    tags = [item.tag for item in data.value]
    return len(tags) == len(fields) and all(f.type in (None, t) for f, t in zip(fields, tags, strict=True))


def _structured(fields: tuple[catalogue.Attribute, ...], data: Data) -> Nice:
    """A structure, or an array of them, with its fields' names."""
    if not isinstance(data.value, tuple):
        raise DecodeError("a structure is due")
    if data.tag is Tag.ARRAY:
        return [_structured(fields, item) for item in data.value]
    if len(data.value) != len(fields):
        raise DecodeError(f"a structure of {len(fields)} is due")
    return {field.name: _formed(field.form, item) for field, item in zip(fields, data.value, strict=True)}


def _array(raw: bytes) -> tuple[int, int]:
    if raw[:1] != bytes((Tag.ARRAY,)):
        raise DecodeError("an object list is an array", 0)
    return axdr.decode_length(raw, 1)


def _element(item: Data) -> ObjectListElement:
    match item.value:
        case (Data(_, int() as class_id), Data(_, int() as version), name, Data(_, (attributes, methods))):
            return ObjectListElement(
                class_id,
                version,
                _obis(name),
                tuple(map(_read_attribute_access, _items(attributes))),
                tuple(map(_read_method_access, _items(methods))),
            )
    raise DecodeError("an object list element is class, version, logical name and access rights")


def _items(data: Data) -> tuple[Data, ...]:
    """The items of an array; of null-data, none."""
    if data.tag == Tag.NULL:
        return ()
    if not isinstance(data.value, tuple):
        raise DecodeError("access rights are arrays")
    return data.value


def _read_attribute_access(item: Data) -> AttributeAccess:
    match item.value:
        case Data(_, int() as attribute), Data(_, int() as mode), selectors:
            numbers = [selector.value for selector in _items(selectors)]
            return _attribute_access_of(attribute, mode, tuple(each for each in numbers if isinstance(each, int)))
    raise DecodeError("an attribute's access is its number, mode and selectors")


def _read_method_access(item: Data) -> MethodAccess:
    match item.value:
        case Data(_, int() as method), Data(_, int() as mode):
            return _method_access_of(method, int(mode))
    raise DecodeError("a method's access is its number and mode")


# A list of objects has thousands of access rights, and hardly any two kinds of them
_attribute_access_of = lru_cache(maxsize=1024, typed=True)(AttributeAccess)
_method_access_of = lru_cache(maxsize=1024, typed=True)(MethodAccess)


def _attribute_access(access: AttributeAccess) -> Data:
    selectors = axdr.array(map(axdr.i8, access.selectors)) if access.selectors else axdr.null()
    return axdr.structure(axdr.i8(access.attribute), axdr.enum(access.mode), selectors)


def _obis(data: Data) -> Obis:
    if not isinstance(data.value, bytes) or len(data.value) != 6:
        raise DecodeError("a logical name is an octet-string of 6 bytes")
    return Obis(data.value)


def _date_time(data: Data) -> CosemDateTime:
    if not isinstance(data.value, bytes):
        raise DecodeError("a clock is an octet-string of 12 bytes")
    return CosemDateTime.parse(data.value)


def _scaler_unit(data: Data) -> ScalerUnit:
    match data.value:
        case Data(_, int() as scaler), Data(_, int() as unit):
            return ScalerUnit(scaler, unit)
    raise DecodeError("scaler and unit are a structure of two numbers")
