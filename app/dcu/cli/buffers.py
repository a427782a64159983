"""A profile's buffer as its rows, for the commands: whoever read it, decoded and cut in one way.

Source: DLMS Blue Book, Profile generic (class 7): capture_objects, capture_period, sort_method.
"""

from collections.abc import Sequence
from datetime import UTC, datetime

from dcu.cli.access import Rows, Window
from dcu.collect.decoding import decoding
from dcu.cosem import axdr, profile
from dcu.cosem.datetimes import CosemDateTime, TimeZoneRule
from dcu.cosem.profile import CaptureObject
from dcu.cosem.rows import Row
from dcu.errors import DecodeError, MalformedAnswer
from dcu.model import AttributeRef, Column, Obis

PROFILE = 7
BUFFER, CAPTURE_OBJECTS, CAPTURE_PERIOD, SORT_METHOD, ENTRIES_IN_USE = 2, 3, 4, 5, 7
NEWEST_FIRST = 2  # sort_method: last in, first out


def captured_by(raw: bytes, obis: Obis) -> tuple[CaptureObject, ...]:
    """Raises MalformedAnswer."""
    with decoding(f"the capture objects of profile {obis}"):
        return profile.decode_capture_objects(raw)


def rows_of(
    raw: bytes,
    obis: Obis,
    captured: Sequence[CaptureObject],
    scales: Sequence[tuple[int, str]],
    *,
    period: int,
    rule: TimeZoneRule | None,
) -> Rows:
    """Decode a buffer. period: what a null-data clock means, negative for newest first. Raises MalformedAnswer."""
    clock = profile.clock_column(captured)
    with decoding(f"the buffer of profile {obis}"):
        rows = profile.decode_rows(raw, rule or TimeZoneRule(), clock_column=clock, period=period)
    if any(len(row) != len(captured) for row in rows[:1]):
        raise MalformedAnswer(f"the rows of profile {obis} have not the columns of its capture objects")
    columns = tuple(Column(item.ref, *scale) for item, scale in zip(captured, scales, strict=True))
    return Rows(obis, columns, list(rows), rule is not None or clock is None or _says_utc(raw, clock))


def cut(rows: list[Row], clock: int | None, window: Window) -> list[Row]:
    """What `window` leaves of rows that were read without selecting; those without a time stay."""
    if window.last is not None:
        return rows[-window.last :]
    if clock is None or window.start is None:
        return rows
    end = window.end or datetime.max.replace(tzinfo=UTC)
    return [row for row in rows if not isinstance(at := row[clock], datetime) or window.start <= at <= end]


def _says_utc(raw: bytes, clock: int) -> bool:
    """Whether the first row's time says its deviation."""
    try:
        count, at = axdr.decode_length(raw, 1)
        if raw[:1] != bytes((axdr.Tag.ARRAY,)) or not count:
            return True
        row = axdr.decode_at(raw, at)[0].value
        time = row[clock].value if isinstance(row, tuple) else None
        return not isinstance(time, bytes) or CosemDateTime.parse(time).deviation is not None
    except (DecodeError, IndexError):
        return True


def attribute(obis: Obis, number: int) -> AttributeRef:
    return AttributeRef(PROFILE, obis, number)
