"""A damaged critical file: what can be read of it survives, whatever interrupts the salvage."""

import os
import sqlite3
from pathlib import Path

import pytest

from dcu.errors import StoreError
from dcu.model import Priority
from dcu.store import Archive, Critical, Settings, check, files, salvage
from tests.store.tools import COLUMNS, DAY, HOURLY, START, HandClock, alarms, hours, opened

METERS = tuple(f"M{number}" for number in range(50))
CLOCK = HandClock(START + DAY)
PAGE = 1024


@pytest.fixture
def directory(tmp_path):
    archive = opened(tmp_path, CLOCK, *METERS)
    critical = archive.critical
    for number, meter in enumerate(METERS):
        critical.raise_counter(meter, 1000, bytes([number] * 16))
        critical.accept_push(meter, 41, b"x" * 200, key=bytes([number] * 16))
        critical.set_layout(meter, HOURLY, COLUMNS)
        archive.add(meter, HOURLY, hours(START, 24))
    critical.remember("keys.generation", b"\7")
    for number in range(200):
        critical.audit("operator", "disconnect", f"M{number}", "done")
    archive.close()
    return tmp_path


def damaged(directory, table="layouts"):
    """Overwrite the root page of a table."""
    path = directory / "critical.db"
    db = sqlite3.connect(path)
    (root,) = db.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)).fetchone()
    db.close()
    raw = bytearray(path.read_bytes())
    raw[(root - 1) * PAGE : (root - 1) * PAGE + 64] = b"\xff" * 64
    path.write_bytes(raw)


def changed(directory, statement):
    db = sqlite3.connect(directory / "critical.db", isolation_level=None)
    db.execute("PRAGMA ignore_check_constraints = on")
    db.execute("PRAGMA writable_schema = on")
    db.execute(statement)
    db.close()


def whole(directory, but=()):
    """Open the store and return what is not there that should be."""
    archive = opened(directory, CLOCK)
    critical = archive.critical
    found = {
        "meters": len(critical.meters()) == 50,
        "readings": archive.readings("M1", HOURLY, START, START + DAY) == hours(START, 24) if critical.meters() else 0,
        "outbox": sum(item.payload == b"x" * 200 for item in critical.pending(1000)) == 50,
        "audit": sum(entry.action == "disconnect" for entry in critical.audit_log(1000)) == 200,
        "floors": critical.receive_floor("M1", bytes([1] * 16)) == 41,
        "state": critical.recall("keys.generation") == b"\7",
        "layouts": critical.layout("M1", HOURLY) == COLUMNS if critical.meters() else 0,
        "bound": critical.raise_counter("M1", 0, bytes([1] * 16)) == 1000,
        "told": "critical-file-damaged" in alarms(archive),
    }
    archive.close()
    assert check(directory).ok, check(directory).findings
    return {name for name, there in found.items() if not there} - set(but)


def test_one_bad_page_of_layouts_costs_the_layouts_and_no_reading(directory):
    damaged(directory)
    assert whole(directory) == {"layouts"}


def test_counters_come_over_as_lower_bounds(directory):
    damaged(directory)
    archive = opened(directory, CLOCK)
    assert archive.critical.counter("M1", bytes([1] * 16)) is None
    assert archive.critical.learn_counter("M1", 10, 5, bytes([1] * 16)) == 1005
    archive.close()


@pytest.mark.parametrize("table", ["counters", "floors", "outbox", "audit", "state", "layouts", "meter_layouts"])
def test_a_table_that_cannot_be_read_costs_no_other(directory, table):
    damaged(directory, table)
    archive = opened(directory, CLOCK)
    assert f"{table} not read to the end" in alarms(archive)
    archive.close()
    costs = {"counters": {"bound"}, "outbox": {"outbox"}, "meter_layouts": {"layouts"}}.get(table, {table})
    assert whole(directory, but={"readings"} if table == "state" else ()) == costs


@pytest.mark.parametrize("table", ["meters", "profiles"])
def test_where_numbers_are_lost_day_files_are_nobodys(directory, table):
    damaged(directory, table)
    archive = opened(directory, CLOCK, *METERS)
    assert "the day files are no longer ours" in alarms(archive)
    assert archive.readings("M1", HOURLY, START, START + DAY) == []
    assert sum(item.payload == b"x" * 200 for item in archive.critical.pending(1000)) == 50
    archive.close()


def steps(monkeypatch, last):
    """Let the process die at the `last`-th step of a salvage."""
    count = [0]

    def step(real):
        def dying(*arguments, **options):
            count[0] += 1
            if count[0] == last:
                os._exit(9)
            return real(*arguments, **options)

        return dying

    for owner, name in (
        (salvage, "_build"),
        (salvage, "_carry"),
        (salvage, "_sequence"),
        (Critical, "checkpoint"),
        (Path, "unlink"),
        (Path, "rename"),
        (files, "sync_directory"),
    ):
        monkeypatch.setattr(owner, name, step(getattr(owner, name)))
    return count


def test_a_salvage_killed_at_any_step_loses_nothing(directory, tmp_path_factory, monkeypatch):
    """With a log beside the file: what stands only there must survive, too."""
    killed_with_a_log(directory)
    damaged_by(directory)
    files_ = {path.name: path.read_bytes() for path in directory.iterdir()}
    for last in range(1, 100):
        copy = tmp_path_factory.mktemp("killed")
        for name, raw in files_.items():
            (copy / name).write_bytes(raw)
        if not (pid := os.fork()):
            count = steps(monkeypatch, last)
            opened(copy, CLOCK).close()
            os._exit(0 if count[0] < last else 1)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        archive = opened(copy, CLOCK)
        bound = archive.critical.raise_counter("M1", 0, bytes([1] * 16))
        archive.close()
        assert bound == 5000, f"killed at step {last}: the counter went back to {bound}"
        assert whole(copy, but={"bound"}) == {"layouts"}, f"killed at step {last}"
        assert not [path.name for path in copy.iterdir() if path.name.endswith((".new", ".salvaged"))]
        if status == 0:
            break
        assert status == 9
    assert 30 < last < 99


def killed_with_a_log(directory):
    """A counter that stands in the log only."""
    pid = os.fork()
    if not pid:
        critical = Critical.open(directory / "critical.db", clock=CLOCK)
        critical.raise_counter("M1", 5000, bytes([1] * 16))
        os._exit(9)
    os.waitpid(pid, 0)
    assert (directory / "critical.db-wal").stat().st_size


def test_a_log_that_a_swap_cut_short_left_behind_is_not_taken_for_the_new_files(directory):
    killed_with_a_log(directory)
    path = directory / "critical.db"
    log = (directory / "critical.db-wal").read_bytes()
    damaged_by(directory)
    salvage._build(path, "as a test", CLOCK, Settings())
    path.rename(directory / "critical.db.damaged")
    (directory / "critical.db-wal").write_bytes(log)
    assert whole(directory, but={"bound"}) == {"layouts"}


def damaged_by(directory):
    """Overwrite the layouts' root page without touching the log: a connection would merge it."""
    path, copy = directory / "critical.db", directory.parent / "copy.db"
    copy.write_bytes(path.read_bytes())
    db = sqlite3.connect(copy)
    (root,) = db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'layouts'").fetchone()
    db.close()
    raw = bytearray(path.read_bytes())
    raw[(root - 1) * PAGE : (root - 1) * PAGE + 64] = b"\xff" * 64
    path.write_bytes(raw)


def test_a_salvage_that_meets_a_full_disk_lets_go_of_the_lock_and_goes_on_when_there_is_room(directory, monkeypatch):
    damaged(directory)
    carry = salvage._carry

    def full(*arguments):
        raise files.FullError("full")

    monkeypatch.setattr(salvage, "_carry", full)
    with pytest.raises(files.FullError):
        salvage.open_critical(directory / "critical.db", clock=CLOCK, settings=Settings())
    attempts = []

    def full_once(*arguments):
        attempts.append(1)
        if len(attempts) == 1:
            raise files.FullError("full")
        return carry(*arguments)

    monkeypatch.setattr(salvage, "_carry", full_once)
    assert whole(directory, but={"readings"}) == {"layouts"}, "the day gave way"
    assert len(attempts) == 2


def test_what_was_built_takes_no_name_before_it_is_all_in_the_one_file(directory, monkeypatch):
    damaged(directory)

    def full(critical):
        raise files.FullError("full")

    monkeypatch.setattr(Critical, "checkpoint", full)
    with pytest.raises(files.FullError):
        salvage.open_critical(directory / "critical.db", clock=CLOCK, settings=Settings())
    assert not (directory / "critical.db.salvaged").exists()
    assert not (directory / "critical.db.damaged").exists()


def test_a_rename_that_is_cut_short_never_leaves_a_file_without_its_log(tmp_path, monkeypatch):
    path = tmp_path / "critical.db"
    rename, left = Path.rename, []

    def watched(self, target):
        rename(self, target)
        left.append({each.name for each in tmp_path.iterdir() if each.name.startswith("critical.db")})

    for suffix in ("", "-wal", "-shm"):
        Path(f"{path}{suffix}").touch()
    monkeypatch.setattr(Path, "rename", watched)
    files.rename(path, tmp_path / "aside")
    assert [names for names in left if "critical.db" in names and "critical.db-wal" not in names] == []
    assert left[-1] == set()


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("INSERT INTO floors VALUES (x'00', 'M1', -5)", "1 damaged rows of floors dropped"),
        ("INSERT INTO counters VALUES (x'00', 'M1', -5, 1)", "1 damaged rows of counters dropped"),
        ("INSERT INTO profiles VALUES (7, x'00')", "1 damaged rows of profiles dropped"),
    ],
)
def test_a_row_that_cannot_be_is_dropped_and_told_and_its_table_stays(directory, statement, told):
    changed(directory, statement)
    archive = opened(directory, CLOCK)
    assert told in alarms(archive)
    archive.close()
    assert whole(directory) == set()


def test_a_dropped_meters_number_is_never_given_to_another(directory):
    changed(directory, "UPDATE meters SET name = CAST(x'4dff' AS TEXT) WHERE id = 50")
    damaged(directory)
    archive = opened(directory, CLOCK)
    assert "1 damaged rows of meters dropped" in alarms(archive)
    assert archive.readings("M1", HOURLY, START, START + DAY) == hours(START, 24)
    (new,) = archive.critical.add_meters([("new", "tcp://192.0.2.9:4059", "generic", b"")])
    assert new.id == 51
    archive.close()


def test_numbers_of_the_outbox_never_return(directory):
    damaged(directory, "outbox")
    archive = opened(directory, CLOCK)
    assert archive.critical.put("push", b"", Priority.ALARM) > 50
    archive.close()


def test_what_is_no_database_at_all_is_set_aside_and_said(directory):
    (directory / "critical.db").write_bytes(b"\xff" * 8192)
    archive = opened(directory, CLOCK)
    assert "critical-file-damaged" in alarms(archive)
    assert (directory / "critical.db.damaged").read_bytes() == b"\xff" * 8192
    archive.close()


def test_an_older_files_schema_is_said(directory):
    changed(directory, "PRAGMA user_version = 1")
    with pytest.raises(StoreError, match="older program"):
        Archive.open(directory, clock=CLOCK)
    Critical.lock(directory / "critical.db").release()
