"""The comparison that every update scenario ends in notices what it is there for. It needs no device."""

import pytest

from device import readings
from neighbourhood import truth
from neighbourhood.identity import serial

FIRST = 1_790_000_000 // truth.HOUR * truth.HOUR
METERS = 3


@pytest.fixture
def before():
    return {
        (serial(1, number), row.timestamp): tuple(row.registers)
        for number in range(1, METERS + 1)
        for row in truth.rows(1, number, FIRST, FIRST + (readings.HOURS - 1) * truth.HOUR)
    }


def test_what_is_kept_is_not_amiss_and_more_may_come(before):
    later = FIRST + readings.HOURS * truth.HOUR
    more = {(serial(1, 1), later): tuple(truth.captured(1, 1, later).registers)}
    assert readings.amiss(before, {**before, **more}, METERS) == []


def test_a_lost_row_is_noticed(before):
    row = next(iter(before))
    after = {key: values for key, values in before.items() if key != row}
    assert readings.amiss(before, after, METERS) == [f"{row}: lost"]


def test_a_changed_row_is_noticed(before):
    row, values = next(iter(before.items()))
    assert len(readings.amiss(before, {**before, row: (values[0] + 1, *values[1:])}, METERS)) == 1


def test_a_row_that_nobody_captured_is_noticed(before):
    assert len(readings.amiss(before, {**before, ("GDM000199999", FIRST): (1, 2, 3, 4)}, METERS)) == 1


def test_a_meter_that_was_never_read_is_noticed(before):
    some = {key: values for key, values in before.items() if key[0] != serial(1, 2)}
    assert readings.amiss(some, some, METERS) == [f"{serial(1, 2)}: {readings.HOURS} rows are wanted"]
