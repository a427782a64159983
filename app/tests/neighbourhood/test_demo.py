"""The demo passes when the store holds what happened, and only then."""

import json
import subprocess
import sys
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcu.model import AttributeRef, Column, Obis, Reading
from dcu.store import Archive
from neighbourhood import truth
from neighbourhood.demo import window
from neighbourhood.verdict import judge, stored, truth_of

NOW = 1_763_640_000
FIRST, LAST = NOW - 23 * truth.HOUR, NOW
LOAD = Obis.parse("1-0:99.1.0*255")
METERS = {"GDM000700001": 1, "GDM000700002": 2}
LAYOUT = [Column(AttributeRef.parse(f"3,1-0:{group}.8.0*255,2"), 0, "Wh") for group in (1, 2, 3, 4)]


class Clock:
    trusted = True

    def now(self) -> datetime:
        return datetime.fromtimestamp(NOW + 600, UTC)


def store(directory, *, columns=(0, 1, 2, 3), leave_out=None, change=None):
    """A store of two meters' last day, with its columns in some order."""
    archive = Archive.open(directory, clock=Clock())
    for name, number in METERS.items():
        archive.critical.add_meter(name, "tcp://127.0.0.1:4059", "simulated", number.to_bytes(8, "big"))
        archive.critical.set_layout(name, LOAD, [LAYOUT[column] for column in columns])
        readings = []
        for timestamp, registers in truth.rows(7, number, FIRST, LAST):
            if (number, timestamp) != leave_out:
                values = [registers[column] for column in columns]
                values[0] += (number, timestamp) == change
                readings.append(Reading(timestamp, 0, tuple(values)))
        archive.add(name, LOAD, readings)
    archive.close()
    return directory


def verdict(directory, **bent):
    return judge(stored(directory), METERS, FIRST, LAST, truth.HOUR, truth_of(7, **bent))


def test_a_store_that_holds_what_happened_passes(tmp_path):
    found = verdict(store(tmp_path))
    assert (found.meters, found.readings, found.missing, found.wrong, found.good) == (2, 48, 0, 0, True)


def test_columns_are_told_by_the_layout_not_by_their_place(tmp_path):
    assert verdict(store(tmp_path, columns=(3, 1, 0, 2))).good


@pytest.mark.parametrize("bent", [{"units": 1}, {"units": -1}, {"seconds": truth.HOUR}, {"seconds": -truth.HOUR}])
def test_canary_a_truth_that_is_bent_by_one_unit_or_one_hour_fails(tmp_path, bent):
    found = verdict(store(tmp_path), **bent)
    assert (found.missing, found.wrong, found.good) == (0, 48, False)


def test_canary_one_wrong_integer_fails_and_is_named(tmp_path):
    found = verdict(store(tmp_path, change=(2, NOW - 5 * truth.HOUR)))
    assert (found.missing, found.wrong, found.good) == (0, 1, False)
    assert found.examples[0].startswith(f"GDM000700002 at {NOW - 5 * truth.HOUR}: stored ")


def test_canary_one_missing_reading_fails_and_is_named(tmp_path):
    found = verdict(store(tmp_path, leave_out=(1, NOW)))
    assert (found.missing, found.wrong, found.good) == (1, 0, False)
    assert found.examples == [f"GDM000700001 at {NOW}: missing"]


def test_canary_a_reading_that_nobody_captured_fails(tmp_path):
    directory = store(tmp_path)
    archive = Archive.open(directory, clock=Clock())
    archive.add("GDM000700001", LOAD, [Reading(NOW - 60, 0, tuple(truth.registers(7, 1, NOW - 60)))])
    archive.close()
    assert (verdict(directory).wrong, verdict(directory).good) == (1, False)


def test_an_empty_store_fails(tmp_path):
    Archive.open(tmp_path, clock=Clock()).close()
    found = verdict(tmp_path)
    assert (found.readings, found.missing, found.good) == (0, 48, False)


@given(st.floats(1.7e9, 1.9e9), st.integers(1, 10_000), st.floats(0, 1))
def test_the_hour_never_turns_for_some_meters_and_not_for_others(now, meters, share):
    delay, last = window(now, meters)
    later = now + share * (119 + meters // 10)
    assert int(later - delay) // truth.HOUR * truth.HOUR == last
    assert now - last >= 60 > 52  # the slowest clock has captured it
    assert delay < truth.HOUR


def play(folder, *arguments: str) -> tuple[int, dict, list[str]]:
    done = subprocess.run(
        [sys.executable, "-m", "neighbourhood", "demo", "--sockets", "--json", "--meters", "3", *arguments],
        capture_output=True,
        text=True,
        timeout=100,
        env={"TMPDIR": str(folder), "PATH": "/usr/bin:/bin"},
    )
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout), [path.name for path in folder.iterdir()]


def test_the_demo_collects_a_street_over_sockets_compares_it_and_leaves_nothing_behind(tmp_path):
    code, told, left = play(tmp_path)
    assert (code, told["ok"], left) == (0, True, [])
    assert (told["meters"], told["readings"], told["missing"], told["wrong"]) == (3, 72, 0, 0)
    assert told["bytes"] > 3 * 2_000
    assert (told["counter_reuse"], told["refused"]) == (0, {})


@pytest.mark.parametrize("canary", ["unit", "hour"])
def test_canary_the_demo_exits_non_zero_when_the_truth_is_bent(tmp_path, canary):
    code, told, left = play(tmp_path, "--canary", canary)
    assert (code, told["ok"], told["wrong"], told["missing"]) == (1, False, 72, 0)
    assert [str(tmp_path / name) for name in left] == [told["kept"]]
