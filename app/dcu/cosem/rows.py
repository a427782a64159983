"""The buffer of a profile, decoded to rows in one go: the hot path of collecting.

A buffer is an array of structures, one a row; null-data stands for "as in the row before" (in the clock column: "one
period later"). Meters write hundreds of rows of one layout: the same tags and lengths at the same places. So the layout
of a row is inferred, compiled to one `struct`, and the rows that share it are found by comparing those places in
strides, in growing windows, so that a buffer in which every row differs costs linear time as well. Null-data only makes
another layout. Dates become UTC last, column-wise: a table of days plus a table of times of day.

Source: IEC 62056-6-2, Profile generic, and its compression by null-data, delta types and compact-array.
"""

import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import accumulate, repeat
from typing import Any

from dcu.cosem import axdr
from dcu.cosem.axdr import FIXED, Tag
from dcu.cosem.datetimes import TimeZoneRule
from dcu.cosem.moments import Moments
from dcu.errors import DecodeError
from dcu.model import Scalar

Cell = datetime | Scalar
Row = tuple[Cell, ...]


def decode_rows(raw: bytes | memoryview, rule: TimeZoneRule, *, clock_column: int | None = 0, period: int) -> list[Row]:
    """Return the rows of an encoded profile buffer, the clock column as aware UTC datetimes.

    clock_column: which column holds the clock (None: none does); period: the capture period in seconds, which a
    null-data clock adds to the row before (negative for a buffer that is sorted newest first). Other cells are plain
    values: a bit-string is its number, a nested array or structure stays encoded. Raises DecodeError.
    """
    buf = bytes(raw)
    try:
        columns = _compact(buf, clock_column) if buf[:1] == b"\x13" else _tagged(buf, clock_column)
        if clock_column is not None and columns:
            columns[clock_column] = Moments(rule, timedelta(seconds=period)).convert(columns[clock_column])
    except (OverflowError, UnicodeDecodeError) as error:
        raise DecodeError(f"a profile with an impossible value: {error}") from None
    return list(zip(*columns, strict=True))


Column = list[Any]
Finish = Callable[[Column, Sequence[Any]], Iterable[Any]]  # from a column so far and what was unpacked, what to add

_NUMBERS = {int(tag): form.format[1:] for tag, form in FIXED.items()}
_DELTAS = range(Tag.DELTA_INTEGER, Tag.DELTA_DOUBLE_LONG_UNSIGNED + 1)
_COUNTED = (*axdr.STRINGS, Tag.BIT_STRING)
_NESTED = (Tag.ARRAY, Tag.STRUCTURE, Tag.COMPACT_ARRAY)
# From one tag to the next, for what has a fixed size; 0 = look closer
_STEP = [0] * 256
for _tag, _form in FIXED.items():
    _STEP[_tag] = 1 + _form.size
_STEP[Tag.NULL] = _STEP[Tag.DONT_CARE] = 1

_MAX_LAYOUTS = 512  # ten times what a fleet of a few families shows; a hostile buffer must not fill the memory
_MAX_KEPT = 256  # bytes of the key of a layout that is kept
_layouts: dict[tuple[int | None, bytes], "_Layout"] = {}


@dataclass(frozen=True, slots=True)
class _Field:
    """A cell: its contents are `size` bytes at `at` within the row; a bit-string's end in `padding` bits of nothing."""

    tag: int
    at: int
    size: int
    padding: int = 0


@dataclass(frozen=True, slots=True)
class _Layout:
    """Rows that look alike.

    size: of a row in bytes; form: unpacks the cells that have contents; finish: for each column how it grows;
    constants: the bytes that are no contents, by position; repeats: False where these do not tell the whole layout.
    """

    size: int
    form: struct.Struct
    finish: tuple[Finish | None, ...]
    constants: tuple[tuple[int, bytes], ...]
    repeats: bool

    def run(self, buf: bytes, at: int, limit: int) -> int:
        """How many rows from `at` on, `limit` at most, have this layout; the first is known to."""
        size = self.size
        limit = min(limit, (len(buf) - at) // size) if self.repeats else 1
        done, window = 1, 4
        while done < limit:
            wanted = rows = min(window, limit - done)
            start = at + done * size
            for position, byte in self.constants:
                column = buf[start + position : start + rows * size : size]
                if column != byte * rows:
                    rows -= len(column.lstrip(byte))
            done += rows
            if rows < wanted:
                break
            window *= 4
        return done

    def extend(self, columns: list[Column], raw: bytes, rows: int) -> None:
        fields = zip(*self.form.iter_unpack(raw), strict=True)
        for column, finish in zip(columns, self.finish, strict=True):
            if finish is None:
                column += next(fields)
            elif finish is _same:
                column += repeat(column[-1] if column else None, rows)
            elif finish is _nothing:
                column += repeat(None, rows)
            else:
                column += finish(column, next(fields))


def _tagged(buf: bytes, clock_column: int | None) -> list[Column]:
    """The columns of an array of structures."""
    if buf[:1] != b"\x01":
        raise DecodeError("a profile buffer is an array", 0)
    left, at = axdr.decode_length(buf, 1)
    columns: list[Column] = []
    while left:
        layout = _layout(buf, at, clock_column)
        columns = columns or [[] for _ in layout.finish]
        if len(columns) != len(layout.finish):
            raise DecodeError(f"a row of {len(layout.finish)} cells among rows of {len(columns)}", at)
        rows = layout.run(buf, at, left)
        end = at + rows * layout.size
        layout.extend(columns, buf[at:end], rows)
        at, left = end, left - rows
    if at != len(buf):
        raise DecodeError(f"{len(buf) - at} bytes after the end of the profile", at)
    return columns


def _compact(buf: bytes, clock_column: int | None) -> list[Column]:
    """The columns of a compact-array: one layout for all where every type has its size, else as if it were tagged."""
    description, at = axdr.decode_description(buf, 1)
    size, at = axdr.decode_length(buf, at)
    if description.tag != Tag.STRUCTURE or size != len(buf) - at:
        raise DecodeError("a profile buffer is a compact-array of structures, and nothing more", at)
    if not all(part.tag in FIXED or part.tag == Tag.NULL for part in description.parts):
        compact = axdr.decode(buf).value
        assert isinstance(compact, axdr.CompactArray)
        return _tagged(axdr.encode(axdr.array(compact.items)), clock_column)
    fields, end = [], 0
    for part in description.parts:
        width = 0 if part.tag == Tag.NULL else FIXED[part.tag].size
        fields.append(_Field(part.tag, end, width))
        end += width
    if size == 0:
        return []
    layout = _compiled(fields, b"", end, clock_column)
    if end == 0 or size % end:
        raise DecodeError(f"{size} bytes are not rows of {end}", at)
    columns: list[Column] = [[] for _ in fields]
    layout.extend(columns, buf[at:], size // end)
    return columns


def _layout(buf: bytes, at: int, clock_column: int | None) -> _Layout:
    """The layout of the row at `at`."""
    key = _key(buf, at)
    layout = _layouts.get((clock_column, key)) if key else None
    if layout is None:
        fields, end = _fields(buf, at)
        layout = _compiled(fields, buf[at:end] if key else b"", end - at, clock_column)
        if 0 < len(key) <= _MAX_KEPT:
            if len(_layouts) >= _MAX_LAYOUTS:
                _layouts.clear()
            _layouts[clock_column, key] = layout
    return layout


def _key(buf: bytes, at: int) -> bytes:
    """What is no contents in the row at `at`: it tells the layout. b"" where a nested value would have to be told."""
    try:
        if buf[at] != Tag.STRUCTURE:
            raise DecodeError("a row of a profile is a structure", at)
        start = at
        cells, at = axdr.decode_length(buf, at + 1)
        key = bytearray(buf[start:at])
        for _ in repeat(None, cells):
            tag = buf[at]
            key.append(tag)
            if step := _STEP[tag]:
                at += step
            elif tag in _COUNTED:
                start = at + 1
                size, at = axdr.decode_length(buf, start)
                key += buf[start:at]
                at += size if tag != Tag.BIT_STRING else (size + 7) // 8
            else:
                return b""
    except IndexError:
        at = len(buf) + 1
    if at > len(buf):
        raise DecodeError("the profile ends within a row", len(buf))
    return bytes(key)


def _fields(buf: bytes, start: int) -> tuple[list[_Field], int]:
    """The cells of the row at `start`, and where it ends."""
    cells, at = axdr.decode_length(buf, start + 1)
    fields = []
    for _ in repeat(None, cells):
        end = axdr.skip(buf, at)
        tag, padding, contents = buf[at], 0, at + 1
        if tag in _NESTED:
            contents = at
        elif tag in _COUNTED:
            size, contents = axdr.decode_length(buf, at + 1)
            padding = -size % 8
        fields.append(_Field(tag, contents - start, end - contents, padding))
        at = end
    return fields, at


def _compiled(fields: list[_Field], row: bytes, size: int, clock_column: int | None) -> _Layout:
    """The layout of these fields; row: the row that they were found in, b"" if it must not be compared with others."""
    if not fields or (clock_column is not None and clock_column >= len(fields)):
        raise DecodeError(f"a profile row of {len(fields)} cells: the clock should be in column {clock_column}")
    form, at = [">"], 0
    between: list[int] = []
    for field in fields:
        between += range(at, field.at)
        form.append(f"{field.at - at}x")
        if field.tag in _NUMBERS:
            form.append(_NUMBERS[field.tag])
        elif field.tag not in (Tag.NULL, Tag.DONT_CARE):
            form.append(f"{field.size}s")
        at = field.at + field.size
    finish = [_finish(field) for field in fields]
    if clock_column is not None:
        finish[clock_column] = _clock_finish(fields[clock_column])
    constants = tuple((position, row[position : position + 1]) for position in between) if row else ()
    return _Layout(size, struct.Struct("".join(form)), tuple(finish), constants, bool(row))


def _finish(field: _Field) -> Finish | None:
    if field.tag in _DELTAS:
        return _delta
    if field.tag == Tag.BIT_STRING:
        return lambda _, values: [int.from_bytes(value, "big") >> field.padding for value in values]
    return _FINISH.get(field.tag)


def _clock_finish(field: _Field) -> Finish | None:
    if field.tag == Tag.NULL:
        return _nothing
    if field.tag == Tag.DOUBLE_LONG_UNSIGNED or (field.tag in (Tag.OCTET_STRING, Tag.DATE_TIME) and field.size == 12):
        return None
    raise DecodeError(f"the clock column holds no date-time, but the type {field.tag}", field.at)


def _same(column: Column, values: Sequence[Any]) -> Iterable[Any]:
    raise NotImplementedError("null-data has no contents")


def _nothing(column: Column, values: Sequence[Any]) -> Iterable[Any]:
    raise NotImplementedError("null-data has no contents")


def _delta(column: Column, values: Sequence[int]) -> Iterable[int]:
    if not column or not isinstance(column[-1], int):
        raise DecodeError("a delta without a number before it")
    sums = accumulate(values, initial=column[-1])
    next(sums)
    return sums


_FINISH: dict[int, Finish] = {
    Tag.NULL: _same,
    Tag.DONT_CARE: _nothing,
    Tag.VISIBLE_STRING: lambda _, values: [value.decode("latin-1") for value in values],
    Tag.UTF8_STRING: lambda _, values: [value.decode() for value in values],
}
