"""`dcu profile` against a collector that runs: what it shows is the street's truth."""

import csv
import io
import re
import time

import pytest

from dcu.cli import collector
from tests.cli.house import ILL, ONE, TWO
from tests.cli.street import DAY, HOUR, LOAD, iso, stamp, truths, without_status

# --- profile


def between(day: tuple[int, int]) -> tuple[str, ...]:
    return "--from", iso(day[0]), "--to", iso(day[1] + 1)


def test_a_collected_profile_is_the_truth(run, day):
    answer = run("profile", ONE, *between(day), "--json").json
    assert list(answer) == ["meter", "profile", "columns", "rows", "gaps", "more"]
    assert (answer["meter"], answer["profile"], answer["gaps"], answer["more"]) == (ONE, LOAD, [], False)
    assert answer["columns"][0] == {"attribute": "3,1-0:1.8.0*255,2", "scaler": 0, "unit": "Wh"}
    assert without_status(answer["rows"]) == truths(*day)


def test_the_csv_has_a_head_with_units_and_the_same_rows(run, day):
    head, *rows = csv.reader(io.StringIO(run("profile", ONE, *between(day), "--csv").out))
    assert head == ["time", "status", "1-0:1.8.0 Wh", "1-0:2.8.0 Wh", "1-0:3.8.0 varh", "1-0:4.8.0 varh"]
    assert [[row[0].replace("+00:00", "Z"), *map(int, row[2:])] for row in rows] == truths(*day)


def test_the_table_has_a_row_an_hour_and_shows_a_day_when_nothing_is_said(run):
    done = run("profile", ONE)
    assert done.code == 0
    assert done.out.splitlines()[0] == f"{ONE} {LOAD}"
    assert len(re.findall(r"^\d{4}-\d\d-\d\d \d\d:00:00 ", done.out, re.MULTILINE)) in (23, 24)


def test_a_long_profile_comes_in_pages(run, day, monkeypatch):
    whole = run("profile", ONE, *between(day), "--json").json
    asked = []
    ask = collector.ask
    monkeypatch.setattr(collector, "PAGE", 5)
    monkeypatch.setattr(collector, "ask", lambda *args, **params: asked.append(params) or ask(*args, **params))
    assert run("profile", ONE, *between(day), "--json").json == whole
    assert len(asked) == 5


def test_where_nothing_was_collected_it_says_so(run):
    done = run("profile", ONE, "--from", "2020-01-01", "--to", "2020-01-02")
    text = f"{ONE} {LOAD}: nothing was collected from 2020-01-01 00:00:00 to 2020-01-02 00:00:00 UTC\n"
    assert (done.code, done.out) == (0, text)
    assert run("profile", ILL).out.startswith(f"{ILL} {LOAD}: nothing was collected")


def test_what_is_missing_is_told_and_can_be_fetched(run, day):
    old = day[0] - 10 * DAY, day[0] - 9 * DAY - HOUR
    done = run("profile", TWO, *between(old))
    assert "nothing was collected" in done.out
    assert done.err == f"missing from {stamp(old[0])} to {stamp(old[1] + 1)} UTC\n"
    done = run("profile", TWO, *between(old), "--fetch", "--json")
    assert done.err == ""
    assert without_status(done.json["rows"]) == truths(*old, number=2)


def test_what_the_store_would_not_keep_is_not_fetched_in_vain(run, day):
    old = day[0] - 60 * DAY, day[0] - 59 * DAY
    before = time.time()
    done = run("profile", TWO, *between(old), "--fetch")
    assert done.code == 3
    kept = {stamp(int(now) // DAY * DAY - 30 * DAY)[:10] for now in (before, time.time())}  # midnight may pass
    assert any(f"readings before {day} are not kept" in done.err for day in kept)


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("nobody",), 3, "no meter 'nobody' is registered: see `dcu meters`"),
        ((ONE, "--profile", "zz"), 3, "'zz' is no OBIS code"),
        ((ONE, "--from", "2025-01-02", "--to", "2025-01-01"), 2, "--from 2025-01-02 is after --to 2025-01-01"),
        ((ONE, "--from", "2000-01-01"), 3, "at most 400 days"),
        ((ONE, "--from", "soon"), 3, "'soon' is no time"),
        ((ONE, "--csv", "--json"), 2, "--csv or --json, not both"),
        ((), 2, "Missing argument 'METER'"),
    ],
)
def test_a_wrong_question_for_a_profile_says_what_is_allowed(run, arguments, code, says):
    done = run("profile", *arguments)
    assert (done.code, done.out) == (code, "")
    assert says in done.err
