import time
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from dcu.store.buffer import Buffer
from dcu.store.coverage import Coverage, Grid
from tests.store.tools import DAY, HOUR, HOURLY, START, HandClock, hours, opened, reading


def test_a_hole_a_head_and_a_tail_are_three_gaps(tmp_path):
    archive = opened(tmp_path, HandClock(START + 3 * DAY), "A")
    archive.add("A", HOURLY, hours(START + 2 * HOUR, 4) + hours(START + 8 * HOUR, 14))
    assert archive.gaps("A", HOURLY, START, START + DAY, HOUR) == [
        (START, START + 2 * HOUR),
        (START + 6 * HOUR, START + 8 * HOUR),
        (START + 22 * HOUR, START + 24 * HOUR),
    ]
    archive.close()


def test_a_gap_runs_over_midnight_as_one(tmp_path):
    archive = opened(tmp_path, HandClock(START + 3 * DAY), "A")
    archive.add("A", HOURLY, hours(START, 20) + hours(START + 30 * HOUR, 18))
    expected = [(START + 20 * HOUR, START + 30 * HOUR)]
    assert archive.gaps("A", HOURLY, START, START + 2 * DAY, HOUR) == expected
    archive.flush()
    assert archive.gaps("A", HOURLY, START, START + 2 * DAY, HOUR) == expected
    archive.close()


def test_no_gap_is_seen_in_a_range_without_an_expected_reading(tmp_path):
    archive = opened(tmp_path, HandClock(START + DAY), "A")
    assert archive.gaps("A", HOURLY, START + 1, START + HOUR, HOUR) == []
    assert archive.gaps("A", HOURLY, START, START, HOUR) == []
    assert archive.gaps("A", HOURLY, START + HOUR, START, HOUR) == []
    assert archive.gaps("A", HOURLY, START, START + 1, HOUR) == [(START, START + 1)]
    archive.close()


def test_a_drifting_clock_makes_no_gap(tmp_path):
    archive = opened(tmp_path, HandClock(START + 2 * DAY), "A")
    archive.add("A", HOURLY, [reading(START + hour * HOUR + (-40, 55)[hour % 2]) for hour in range(25)])
    assert archive.gaps("A", HOURLY, START, START + DAY, HOUR) == []
    archive.close()


def test_a_profile_at_local_midnight_is_expected_once_a_day_over_a_change_to_summer_time(tmp_path):
    """Local midnight in Berlin: 23:00 UTC, and from 2025-03-30 on 22:00 UTC."""
    archive = opened(tmp_path, HandClock(START + 40 * DAY), "A", retention_days=60)
    midnights = [START + day * DAY - (1 if day < 30 else 2) * HOUR for day in range(1, 35)]
    archive.add("A", HOURLY, [reading(moment) for moment in midnights])
    begin, end = START + 20 * HOUR, START + 30 * DAY + 20 * HOUR
    assert archive.gaps("A", HOURLY, begin, end, DAY, phase=22 * HOUR + HOUR // 2) == []
    archive.close()


def test_half_hour_time_zones_have_their_own_phase(tmp_path):
    archive = opened(tmp_path, HandClock(START + 2 * DAY), "A")
    archive.add("A", HOURLY, [reading(START + hour * HOUR + HOUR // 2 + (hour % 3 - 1) * 20) for hour in range(24)])
    assert archive.gaps("A", HOURLY, START, START + DAY, HOUR, phase=HOUR // 2) == []
    archive.close()


def test_two_meters_and_two_profiles_do_not_fill_each_others_gaps(tmp_path):
    archive = opened(tmp_path, HandClock(START + DAY), "A", "B")
    assert archive.gaps("B", HOURLY, START, START + 4 * HOUR, HOUR) == [(START, START + 4 * HOUR)]
    archive.add("A", HOURLY, hours(START, 4))
    assert archive.all_gaps(["A", "B"], HOURLY, START, START + 4 * HOUR, HOUR) == {"B": [(START, START + 4 * HOUR)]}
    archive.close()


@settings(deadline=None)  # the machine may be busy
@given(
    st.sets(st.integers(0, 4 * DAY - 1), max_size=60),
    st.sampled_from([60, 900, 1000, HOUR, 7 * HOUR, DAY, 2 * DAY]),
    st.integers(0, DAY),
    st.integers(0, 4 * DAY),
    st.integers(0, 4 * DAY),
    st.integers(0, 60),
)
def test_gaps_are_what_a_slow_search_finds(moments, period, phase, start, length, loaded):
    grid = Grid(1, period, phase % period)
    rows = [(START + moment, 5) for moment in sorted(moments)]
    known, later = rows[:loaded], rows[loaded:]
    coverage = Coverage(lambda day, profile: [row for row in known if row[0] // DAY == day])
    begin, end = START + start, START + start + length
    coverage.gaps(5, grid, begin, end)  # loads the days
    known += later
    coverage.add(5, 1, [timestamp for timestamp, _ in later])
    missing = [
        moment
        for moment in range(begin, end)
        if (moment - grid.phase) % period == 0
        and not any(moment - period / 2 <= timestamp < moment + (period + 1) // 2 for timestamp, _ in rows)
    ]
    found = coverage.gaps(5, grid, begin, end)
    assert [
        moment for low, high in found for moment in range(low, high) if (moment - grid.phase) % period == 0
    ] == missing
    assert all(begin <= low < high <= end for low, high in found)
    assert all(first[1] < second[0] for first, second in pairwise(found))


def test_a_month_of_a_thousand_meters_is_searched_in_a_fraction_of_a_second():
    full = (1 << 24) - 1
    coverage = Coverage(lambda day, profile: ())
    grid = Grid(1, HOUR, 0)
    first = START // DAY
    coverage.gaps(0, grid, START, START + 31 * DAY)
    coverage._grids[grid] = {day: [full] * 1000 for day in range(first - 1, first + 32)}
    before = time.process_time()
    assert not any(coverage.gaps(meter, grid, START, START + 31 * DAY) for meter in range(1000))
    assert time.process_time() - before < 1.0


def test_forty_grids_asked_in_turn_scan_each_day_once():
    scans = []

    def scan(day, profile):
        scans.append(day)
        return [(day * DAY + hour * HOUR, meter) for hour in range(24) for meter in range(1, 101)]

    coverage = Coverage(scan)
    grids = [Grid(1, HOUR, 60 * phase) for phase in range(40)]
    for _ in range(3):
        assert not any(coverage.gaps(7, grid, START + DAY, START + 2 * DAY) for grid in grids)
    assert len(scans) <= 3 * 40


def test_what_the_grids_hold_is_bounded_and_the_one_that_is_asked_stays(monkeypatch):
    monkeypatch.setattr("dcu.store.coverage._CELLS", 1000)
    coverage = Coverage(lambda day, profile: [(day * DAY, meter) for meter in range(1, 100)])
    for phase in range(50):
        coverage.gaps(7, Grid(1, HOUR, phase), START, START + 5 * DAY)
        assert sum(len(meters) for days in coverage._grids.values() for meters in days.values()) <= 1000
    coverage.gaps(7, Grid(1, HOUR, 0), START, START + 20 * DAY)
    assert list(coverage._grids) == [Grid(1, HOUR, 0)]


@settings(deadline=None)  # the machine may be busy
@given(st.lists(st.tuples(st.integers(0, 3 * DAY), st.integers(1, 3), st.integers(1, 2), st.binary(max_size=2))))
def test_the_buffer_counts_what_it_holds(rows):
    buffer, model = Buffer(), {}
    for timestamp, meter, profile, row in rows:
        buffer.add(meter, profile, [(timestamp, row)], 0)
        model[timestamp, meter, profile] = row
    assert len(buffer) == len(model)
    for day in buffer.days():
        expected = [(*key, row) for key, row in sorted(model.items()) if key[0] // DAY == day]
        assert buffer.of_day(day) == expected
        buffer.forget(expected)
    assert len(buffer) == 0
    assert buffer.days() == []
