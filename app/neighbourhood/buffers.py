"""The meter's profiles (class 7): the load profile, made anew at every question, and the event log.

Nothing is captured ahead of time: a row is truth at the moment when the meter's clock showed its time, so a street's
three thousand rows a meter cost no memory. Selective access by range and by entry, columns too, and null-data in place
of what can be told from the row before.

Source: DLMS Blue Book (IEC 62056-6-2) clause 4.3.6 (profile generic).
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from dcu.cosem import axdr
from dcu.cosem.apdu import DataAccessResult
from dcu.cosem.application import Denied
from dcu.cosem.selection import Selection
from dcu.errors import DecodeError
from dcu.model import AttributeRef
from neighbourhood import truth, values
from neighbourhood.meter import Meter
from neighbourhood.times import stamp, summertime, unstamp

BY_RANGE, BY_ENTRY = 1, 2
CLOCK = AttributeRef.parse("8,0-0:1.0.0*255,2")
STATUS_SUMMER, STATUS_CLOCK_ADJUSTED = 0x08, 0x20  # bits of the status column, as European meters have them (IDIS)

Cells = tuple[bytes, ...]


class Profile(NamedTuple):
    """A kind of profile. period: seconds, 0 for a log.

    rows: what its rows are made of, the oldest first: the moment that the clock showed, times 256, plus an event's
    code.
    """

    columns: tuple[AttributeRef, ...]
    capacity: Callable[[Meter], int]
    period: Callable[[Meter], int]
    rows: Callable[[Meter], Sequence[int]]
    cells: Callable[[Meter, int], Cells]

    def buffer(self, meter: Meter, selection: Selection | None) -> bytes:
        """The buffer, or what `selection` takes of it. Raises Denied."""
        chosen = self.rows(meter)
        columns: Sequence[int] = range(len(self.columns))
        if selection is not None:
            try:
                chosen, columns = self._selected(meter, chosen, selection)
            except (DecodeError, ValueError, TypeError, OverflowError):
                raise Denied(DataAccessResult.TYPE_UNMATCHED) from None
        rows: Iterator[Cells] = (self.cells(meter, row) for row in chosen)
        if len(columns) < len(self.columns):
            rows = (tuple(cells[column] for column in columns) for cells in rows)
        if meter.habits.compress:
            rows = _compressed(rows, clock=bool(columns) and columns[0] == 0 and self.period(meter) > 0)
        return values.array([values.structure(*cells) for cells in rows])

    def _selected(self, meter: Meter, rows: Sequence[int], selection: Selection) -> tuple[Sequence[int], Sequence[int]]:
        fields = _fields(axdr.decode(selection.parameter), 4)
        if selection.selector == BY_RANGE:
            if _reference(fields[0]) != CLOCK:
                raise Denied(DataAccessResult.SCOPE_OF_ACCESS_VIOLATED)
            first, last = (_moment(field, meter) for field in fields[1:3])
            wanted = [self.columns.index(_reference(item)) for item in _items(fields[3])]
            return _between(rows, first << 8, (last + 1) << 8), wanted or range(len(self.columns))
        if selection.selector != BY_ENTRY:
            raise Denied(DataAccessResult.SCOPE_OF_ACCESS_VIOLATED)
        start, end, left, right = map(_number, fields)
        if start < 1 or left < 1:
            raise Denied(DataAccessResult.SCOPE_OF_ACCESS_VIOLATED)
        return rows[start - 1 : end or None], range(len(self.columns))[left - 1 : right or None]


def _between(rows: Sequence[int], first: int, end: int) -> Sequence[int]:
    if isinstance(rows, range):
        return rows[bisect_left(rows, first) : bisect_left(rows, end)]
    return [row for row in rows if first <= row < end]  # a log is not in order where the clock was set back


def _fields(data: axdr.Data, count: int) -> tuple[axdr.Data, ...]:
    items = _items(data)
    if data.tag != axdr.Tag.STRUCTURE or len(items) != count:
        raise ValueError(f"no structure of {count}")
    return items


def _items(data: axdr.Data) -> tuple[axdr.Data, ...]:
    if not isinstance(data.value, tuple):
        raise ValueError("neither an array nor a structure")
    return data.value


def _number(data: axdr.Data) -> int:
    if not isinstance(data.value, int):
        raise ValueError("no number")
    return data.value


def _reference(data: axdr.Data) -> AttributeRef:
    """An attribute of a capture object definition; its data index must be 0 (the whole attribute)."""
    class_id, obis, attribute, index = (field.value for field in _fields(data, 4))
    if not isinstance(obis, bytes) or index != 0:
        raise ValueError("no capture object")
    return AttributeRef(int(class_id), type(CLOCK.obis)(obis), int(attribute))  # type: ignore[arg-type]


def _moment(data: axdr.Data, meter: Meter) -> int:
    if not isinstance(data.value, bytes):
        raise ValueError("no date-time")
    return unstamp(data.value, meter.zone)


def _compressed(rows: Iterator[Cells], *, clock: bool) -> Iterator[Cells]:
    """Put null-data for a value like that of the row before, and for a time one period after it."""
    before: Cells | None = None
    for cells in rows:
        if before is None:
            yield cells
        else:
            yield tuple(
                values.NULL if (clock and at == 0) or cell == before[at] else cell for at, cell in enumerate(cells)
            )
        before = cells


def _captures(meter: Meter) -> Sequence[int]:
    period = meter.habits.period
    last = meter.shown() // period * period
    first = max(last - (meter.habits.capacity - 1) * period, truth.INSTALLED)
    return range(first << 8, (last + 1) << 8, period << 8)


def _captured(meter: Meter, row: int) -> Cells:
    timestamp = row >> 8
    time = values.octets(stamp(timestamp, meter.zone))
    return (time, values.u8(status(meter, timestamp)), *map(values.u32, meter.captured(timestamp)))


def status(meter: Meter, timestamp: int) -> int:
    """The status column's word of the period that ends at `timestamp`."""
    summer = STATUS_SUMMER if summertime(timestamp, meter.zone) else 0
    return summer | (STATUS_CLOCK_ADJUSTED if meter.adjusted(timestamp) else 0)


def _events(meter: Meter) -> Sequence[int]:
    return [at << 8 | code for at, code in meter.events()]


def _event(meter: Meter, row: int) -> Cells:
    return values.octets(stamp(row >> 8, meter.zone)), values.u8(row & 0xFF)


LOAD = Profile(
    columns=(
        CLOCK,
        AttributeRef.parse("1,0-0:96.10.1*255,2"),
        *(AttributeRef.parse(f"3,1-0:{c}.8.0*255,2") for c in (1, 2, 3, 4)),
    ),
    capacity=lambda meter: meter.habits.capacity,
    period=lambda meter: meter.habits.period,
    rows=_captures,
    cells=_captured,
)


def _log(number: int, codes: range) -> Profile:
    """The log of the events in `codes`, which the code object of that number tells the last of."""
    return Profile(
        columns=(CLOCK, AttributeRef.parse(f"1,0-0:96.11.{number}*255,2")),
        capacity=lambda _: 256,
        period=lambda _: 0,
        rows=lambda meter: [row for row in _events(meter) if row & 0xFF in codes],
        cells=_event,
    )


EVENTS = _log(0, range(256))
FRAUD = _log(1, range(40, 51))
RELAY = _log(2, range(59, 68))
