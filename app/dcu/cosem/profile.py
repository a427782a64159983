"""Profiles (class 7, profile generic): what a buffer captures, and selecting rows of it by range and by entry.

`by_range` and `by_entry` build what a GET of the buffer carries; `parse_selection` reads it on the meter's side.
`decode_rows` (module `rows`) decodes the buffer.

Source: IEC 62056-6-2, Profile generic: range_descriptor, entry_descriptor, capture_object_definition.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dcu.cosem import axdr
from dcu.cosem.axdr import Data, Tag
from dcu.cosem.datetimes import CosemDateTime
from dcu.cosem.rows import Cell as Cell
from dcu.cosem.rows import Row as Row
from dcu.cosem.rows import decode_rows as decode_rows
from dcu.cosem.selection import Selection
from dcu.errors import DecodeError
from dcu.model import AttributeRef, Obis

RANGE, ENTRY = 1, 2  # access selectors of the buffer


@dataclass(frozen=True, slots=True)
class CaptureObject:
    """A column of a profile: an attribute, or an element of it. data_index: 0 = the whole attribute, else from 1."""

    class_id: int
    obis: Obis
    attribute: int
    data_index: int = 0

    @property
    def ref(self) -> AttributeRef:
        return AttributeRef(self.class_id, self.obis, self.attribute)

    def data(self) -> Data:
        return axdr.structure(
            axdr.u16(self.class_id), axdr.octets(self.obis.raw), axdr.i8(self.attribute), axdr.u16(self.data_index)
        )


CLOCK = CaptureObject(8, Obis.parse("0-0:1.0.0*255"), 2)


@dataclass(frozen=True, slots=True)
class ByRange:
    """Rows whose `restricting` column lies in first..last, both included. columns: () = all."""

    restricting: CaptureObject
    first: Data
    last: Data
    columns: tuple[CaptureObject, ...] = ()


@dataclass(frozen=True, slots=True)
class ByEntry:
    """Rows first..last, counted from 1; columns likewise. last = 0: to the end."""

    first: int
    last: int = 0
    first_column: int = 1
    last_column: int = 0


def by_range(
    restricting: CaptureObject,
    first: CosemDateTime | Data,
    last: CosemDateTime | Data,
    columns: Iterable[CaptureObject] = (),
) -> Selection:
    """Select the rows from `first` to `last`, both included. Date-times go as octet-strings; other values as Data."""
    bounds = (axdr.octets(bound.encode()) if isinstance(bound, CosemDateTime) else bound for bound in (first, last))
    wanted = axdr.array(column.data() for column in columns)
    return Selection(RANGE, axdr.encode(axdr.structure(restricting.data(), *bounds, wanted)))


def by_entry(first: int, last: int = 0, first_column: int = 1, last_column: int = 0) -> Selection:
    """Select the rows first..last, counted from 1 as the profile is sorted; last = 0: to the end."""
    return Selection(
        ENTRY,
        axdr.encode(axdr.structure(axdr.u32(first), axdr.u32(last), axdr.u16(first_column), axdr.u16(last_column))),
    )


def parse_selection(selection: Selection) -> ByRange | ByEntry:
    """Read what `by_range` and `by_entry` build. Raises DecodeError."""
    parameter = axdr.decode(selection.parameter)
    match selection.selector, parameter.value:
        case 1, (restricting, Data() as first, Data() as last, Data(Tag.ARRAY, tuple() as columns)):
            return ByRange(_capture_object(restricting), first, last, tuple(map(_capture_object, columns)))
        case 2, (Data(_, int() as first), Data(_, int() as last), Data(_, int() as left), Data(_, int() as right)):
            return ByEntry(first, last, left, right)
    raise DecodeError(f"access selector {selection.selector} with a parameter that is none of its own")


def decode_capture_objects(raw: bytes) -> tuple[CaptureObject, ...]:
    """Read attribute 3 of a profile. Raises DecodeError."""
    match axdr.decode(raw):
        case Data(Tag.ARRAY, tuple() as items):
            return tuple(map(_capture_object, items))
    raise DecodeError("capture objects are an array")


def encode_capture_objects(columns: Sequence[CaptureObject]) -> bytes:
    return axdr.encode(axdr.array(column.data() for column in columns))


def clock_column(columns: Sequence[CaptureObject]) -> int | None:
    """Which column holds the clock; None: none does."""
    for at, column in enumerate(columns):
        if column.class_id == CLOCK.class_id and column.attribute == CLOCK.attribute:
            return at
    return None


def _capture_object(item: Data) -> CaptureObject:
    match item.value:
        case (
            Data(_, int() as class_id),
            Data(Tag.OCTET_STRING, bytes() as obis),
            Data(_, int() as attribute),
            Data(_, int() as index),
        ) if len(obis) == 6:
            return CaptureObject(class_id, Obis(obis), attribute, index)
    raise DecodeError("a capture object is class, OBIS code, attribute and data index")
