import sqlite3
import subprocess
import sys

import pytest

from dcu.errors import StoreError
from dcu.store import check
from tests.store.tools import DAY, HOURLY, START, HandClock, hours, opened


@pytest.fixture
def directory(tmp_path):
    archive = opened(tmp_path, HandClock(START + 2 * DAY), "A", "B", ballast=1 << 20)
    for meter in ("A", "B"):
        archive.add(meter, HOURLY, hours(START, 48))
    archive.critical.raise_counter("A", 5)
    archive.critical.put("push", b"x")
    archive.close()
    return tmp_path


def changed(path, *statements):
    with sqlite3.connect(path) as db:
        for statement in statements:
            db.execute(statement)
    db.close()


def texts(report):
    return "; ".join(f"{finding.file}: {finding.text}" for finding in report.findings if finding.serious)


def test_a_sound_store_has_no_finding(directory):
    report = check(directory)
    assert report.ok
    assert report.findings == ()
    assert (report.files, report.readings, report.meters, report.outbox) == (3, 96, 2, 1)
    assert not report.in_use


def test_a_store_in_use_is_read_and_left_alone(directory):
    archive = opened(directory, HandClock(START + 2 * DAY), "A", ballast=1 << 20)
    archive.add("A", HOURLY, hours(START + 47 * 3600, 4))
    archive.flush()
    archive.critical.put("push", b"y")
    report = check(directory)
    assert report.ok, report.findings
    assert report.in_use
    assert (report.readings, report.outbox) == (99, 2)
    archive.critical.put("push", b"z")
    archive.close()


@pytest.mark.parametrize(
    ("file", "statement", "finding"),
    [
        ("readings-2025-03-01.db", "UPDATE readings SET meter = 77 WHERE meter = 1", "24 readings of meters"),
        ("readings-2025-03-01.db", "UPDATE readings SET profile = 9", "48 readings of meters or profiles"),
        ("readings-2025-03-02.db", f"UPDATE readings SET ts = ts - {DAY}", "48 readings dated on another day"),
        (
            "readings-2025-03-02.db",
            "UPDATE readings SET row = x'c1' WHERE meter = 1",
            "24 readings whose checksum does not fit",
        ),
        ("readings-2025-03-02.db", "PRAGMA application_id = 1", "belongs to another store"),
        ("readings-2025-03-02.db", "PRAGMA user_version = 5", "schema 5"),
        ("critical.db", "UPDATE meters SET state = 'oj' WHERE id = 2", "1 meters in a state that is none"),
        ("critical.db", "DROP TRIGGER counters_only_grow", "nothing keeps counters from going back"),
        ("critical.db", "DELETE FROM state WHERE key = 'store.id'", "has no store id"),
        ("critical.db", "UPDATE sqlite_sequence SET seq = 0 WHERE name = 'outbox'", "numbers would be given twice"),
        ("critical.db", "INSERT INTO meter_layouts VALUES (9, 9, 0, 9)", "1 layouts of meters or profiles"),
    ],
)
def test_what_does_not_fit_together_is_found(directory, file, statement, finding):
    changed(directory / file, statement)
    report = check(directory)
    assert not report.ok
    assert f"{file}: " in texts(report)
    assert finding in texts(report)


@pytest.mark.parametrize("file", ["readings-2025-03-01.db", "critical.db"])
@pytest.mark.parametrize("at", [0, 4096])
def test_damage_is_reported_and_not_touched(directory, file, at):
    path = directory / file
    raw = bytearray(path.read_bytes())
    raw[at : at + 2000] = b"\xee" * 2000
    path.write_bytes(raw)
    assert not check(directory).ok
    assert path.read_bytes() == bytes(raw)


def test_missing_ballast_and_files_set_aside_are_worth_knowing(directory):
    (directory / "ballast").write_bytes(b"")
    (directory / "readings-2025-02-20.db.damaged").touch()
    report = check(directory)
    assert report.ok
    assert "holds no blocks" in report.findings[-1].text
    assert "set aside" in report.findings[0].text


def test_a_missing_critical_file_is_serious(directory):
    (directory / "critical.db").unlink()
    assert "is missing" in texts(check(directory))


def test_a_wrong_path_is_said_so(tmp_path):
    with pytest.raises(StoreError, match="there is no store"):
        check(tmp_path)


def test_a_store_whose_writer_was_killed_is_rolled_back_and_sound(directory):
    script = """
import os, sqlite3, sys
day = sqlite3.connect(sys.argv[1] + "/readings-2025-03-01.db", isolation_level=None)
day.execute("PRAGMA cache_size = 1"); day.execute("PRAGMA cache_spill = 1"); day.execute("BEGIN IMMEDIATE")
day.execute("UPDATE readings SET row = zeroblob(3000)")
critical = sqlite3.connect(sys.argv[1] + "/critical.db", isolation_level=None)
critical.execute("INSERT INTO outbox (at, kind, priority, payload) VALUES (0, 'push', 0, x'01')")
os.kill(os.getpid(), 9)
"""
    subprocess.run([sys.executable, "-c", script, str(directory)], check=False)
    assert (directory / "readings-2025-03-01.db-journal").stat().st_size
    report = check(directory)
    assert report.ok, report.findings
    assert (report.readings, report.outbox) == (96, 2)
