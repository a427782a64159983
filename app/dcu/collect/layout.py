"""What the rows of a meter's load profile are: learnt from the meter once, kept in the store, shared by like meters.

A layout says which captured column is the clock, which is the status word, and how the others scale. Rows become
readings here: UTC seconds, the status, the integers of the wire.

Source: DLMS Blue Book, Profile generic (class 7): capture_objects, capture_period; AMR profile status 0-d:96.10.e*255.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from dcu.clock import epoch_seconds
from dcu.collect.decoding import decoding
from dcu.cosem.datetimes import TimeZoneRule
from dcu.cosem.rows import decode_rows
from dcu.errors import MalformedAnswer
from dcu.model import AttributeRef, Column, Obis, Reading

CLOCK, DATA = 8, 1
BUFFER, CAPTURE_OBJECTS, CAPTURE_PERIOD, ENTRIES_IN_USE = 2, 3, 4, 7
PROFILE_GENERIC = 7
LARGEST_PERIOD = 366 * 86400
LARGEST_ROW = 64  # columns
_LEAST, _MOST = -(1 << 63), (1 << 64) - 1  # of what the store keeps
_KEPT = 256  # layouts: a fleet has a handful
_FIRST_GUESS = 14, 9  # bytes of a row: the clock, and each column, before any was seen


class LayoutChanged(MalformedAnswer):
    """Rows that do not fit the layout which the meter gave before: it may have been given another."""


class Captured(msgspec.Struct, frozen=True, array_like=True):
    """One capture object: where its values come from, and their scale."""

    attribute: str
    index: int
    scaler: int = 0
    unit: str = ""


class ProfileLayout(msgspec.Struct, frozen=True, array_like=True):
    """period: seconds between two rows; clock, status: which column, status None where there is none."""

    period: int
    clock: int
    status: int | None
    captured: tuple[Captured, ...]

    @property
    def columns(self) -> tuple[Column, ...]:
        """The value columns: what a reading's values are."""
        return tuple(
            Column(AttributeRef.parse(captured.attribute), captured.scaler, captured.unit)
            for index, captured in enumerate(self.captured)
            if index not in (self.clock, self.status)
        )

    @property
    def row_size(self) -> int:
        """Bytes that a row may take, before any was seen."""
        clock, value = _FIRST_GUESS
        return clock + value * len(self.captured)

    def readings(self, raw: bytes, rule: TimeZoneRule) -> list[Reading]:
        """Decode a buffer. Raises MalformedAnswer, LayoutChanged."""
        with decoding("a profile buffer"):
            rows = decode_rows(raw, rule, clock_column=self.clock, period=self.period)
        width = len(self.captured)
        if any(len(row) != width for row in rows):
            raise LayoutChanged(f"a profile whose rows have not the {width} columns of its capture objects")
        return [self._reading(row) for row in rows]

    def _reading(self, row: Sequence[Any]) -> Reading:
        moment = row[self.clock]
        if not isinstance(moment, datetime):
            raise LayoutChanged("a profile row without a date-time in its clock column")
        status = row[self.status] if self.status is not None else None
        if status is not None and not isinstance(status, int):
            raise LayoutChanged("a profile row whose status is no number")
        values = tuple(value for index, value in enumerate(row) if index not in (self.clock, self.status))
        for number in (status, *values):
            if isinstance(number, int) and not _LEAST <= number <= _MOST:
                raise MalformedAnswer("a profile row with a number of more than 64 bits")
        return Reading(epoch_seconds(moment), None if status is None else int(status), values)  # a boolean is an int


def is_status(attribute: AttributeRef) -> bool:
    raw = attribute.obis.raw
    return attribute.class_id == DATA and raw[0] == 0 and raw[2:4] == bytes((96, 10))


def buffer_of(profile: Obis) -> AttributeRef:
    return AttributeRef(PROFILE_GENERIC, profile, BUFFER)


class Layouts:
    """Layouts out of the store, one object for all meters that are alike; and how long their rows turned out to be."""

    def __init__(self) -> None:
        self._decoder = msgspec.msgpack.Decoder(ProfileLayout)
        self._known: dict[bytes, ProfileLayout] = {}
        self._sizes: dict[ProfileLayout, float] = {}

    def decoded(self, raw: bytes) -> ProfileLayout:
        if raw not in self._known:
            if len(self._known) >= _KEPT:
                self._known.clear()
                self._sizes.clear()
            self._known[raw] = self._decoder.decode(raw)
        return self._known[raw]

    def row_size(self, layout: ProfileLayout) -> float:
        return self._sizes.get(layout, layout.row_size)

    def saw(self, layout: ProfileLayout, rows: int, size: int) -> None:
        """Learn from an answer of `rows` rows in `size` bytes; a longer row counts at once, a shorter by and by."""
        if rows:
            now, before = size / rows, self._sizes.get(layout)
            self._sizes[layout] = now if before is None or now > before else 0.9 * before + 0.1 * now
