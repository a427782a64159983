"""COSEM values as Python sees them: tags, values, and short names to write them by hand (IEC 62056-6-2, type Data).

`axdr` turns them into bytes and back.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum


class Tag(IntEnum):
    NULL = 0
    ARRAY = 1
    STRUCTURE = 2
    BOOLEAN = 3
    BIT_STRING = 4
    DOUBLE_LONG = 5
    DOUBLE_LONG_UNSIGNED = 6
    OCTET_STRING = 9
    VISIBLE_STRING = 10
    UTF8_STRING = 12
    BCD = 13
    INTEGER = 15
    LONG = 16
    UNSIGNED = 17
    LONG_UNSIGNED = 18
    COMPACT_ARRAY = 19
    LONG64 = 20
    LONG64_UNSIGNED = 21
    ENUM = 22
    FLOAT32 = 23
    FLOAT64 = 24
    DATE_TIME = 25
    DATE = 26
    TIME = 27
    DELTA_INTEGER = 28
    DELTA_LONG = 29
    DELTA_DOUBLE_LONG = 30
    DELTA_UNSIGNED = 31
    DELTA_LONG_UNSIGNED = 32
    DELTA_DOUBLE_LONG_UNSIGNED = 33
    DONT_CARE = 255


@dataclass(frozen=True, slots=True)
class BitString:
    """`length` bits; the first bit is the highest of raw[0], and the bits after the last are padding."""

    length: int
    raw: bytes

    def __post_init__(self) -> None:
        if self.length < 0 or len(self.raw) != (self.length + 7) // 8:
            raise ValueError(f"a bit-string of {self.length} bits does not have {len(self.raw)} bytes")

    @property
    def number(self) -> int:
        """The bits as a number, the last bit being the lowest; padding left out."""
        return int.from_bytes(self.raw, "big") >> (-self.length % 8)

    def __str__(self) -> str:
        return f"{self.number:0{self.length}b}" if self.length else ""


@dataclass(frozen=True, slots=True)
class TypeDescription:
    """What the elements of a compact-array are. count: elements of an array; parts: what these, or the fields, are."""

    tag: Tag
    count: int = 0
    parts: tuple["TypeDescription", ...] = ()


@dataclass(frozen=True, slots=True)
class CompactArray:
    description: TypeDescription
    items: tuple["Data", ...]


Value = bool | int | float | str | bytes | BitString | CompactArray | tuple["Data", ...] | None


@dataclass(frozen=True, slots=True)
class Data:
    """A value and its tag.

    null, don't-care: None; array, structure: a tuple of Data; integers, enum, BCD (its byte), deltas: int;
    octet-string, date-time, date, time: their bytes (see `datetimes`); visible-string: str, each character a byte
    (Latin-1, for meters do not keep to ASCII).
    """

    tag: Tag
    value: Value = None


# What one writes by hand, with the value's type in the name


def null() -> Data:
    return Data(Tag.NULL)


def boolean(value: bool) -> Data:
    return Data(Tag.BOOLEAN, value)


def u8(value: int) -> Data:
    return Data(Tag.UNSIGNED, value)


def u16(value: int) -> Data:
    return Data(Tag.LONG_UNSIGNED, value)


def u32(value: int) -> Data:
    return Data(Tag.DOUBLE_LONG_UNSIGNED, value)


def u64(value: int) -> Data:
    return Data(Tag.LONG64_UNSIGNED, value)


def i8(value: int) -> Data:
    return Data(Tag.INTEGER, value)


def i16(value: int) -> Data:
    return Data(Tag.LONG, value)


def i32(value: int) -> Data:
    return Data(Tag.DOUBLE_LONG, value)


def i64(value: int) -> Data:
    return Data(Tag.LONG64, value)


def float32(value: float) -> Data:
    return Data(Tag.FLOAT32, value)


def float64(value: float) -> Data:
    return Data(Tag.FLOAT64, value)


def enum(value: int) -> Data:
    return Data(Tag.ENUM, value)


def octets(value: bytes) -> Data:
    return Data(Tag.OCTET_STRING, value)


def visible(value: str) -> Data:
    return Data(Tag.VISIBLE_STRING, value)


def utf8(value: str) -> Data:
    return Data(Tag.UTF8_STRING, value)


def bits(value: str) -> Data:
    """A bit-string of the digits of `value`: bits("1000")."""
    width = (len(value) + 7) // 8
    return Data(
        Tag.BIT_STRING, BitString(len(value), int(value.ljust(8 * width, "0") or "0", 2).to_bytes(width, "big"))
    )


def array(items: Iterable[Data]) -> Data:
    return Data(Tag.ARRAY, tuple(items))


def structure(*items: Data) -> Data:
    return Data(Tag.STRUCTURE, items)
