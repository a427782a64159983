"""What must not wash out what: chatter the commands, pushes the readings. And who may look at it."""

import os
import stat

import pytest

from dcu.model import Priority
from dcu.store import Critical, Settings
from tests.store.disk import fill, mounted, needs_loop
from tests.store.tools import DAY, HOURLY, START, HandClock, alarms, hours, opened


@pytest.fixture
def clock():
    return HandClock(START)


@pytest.fixture
def critical(tmp_path, clock):
    file = Critical.open(tmp_path / "critical.db", clock=clock, settings=Settings(audit_rows=100, outbox_bytes=20_000))
    yield file
    file.close()


def test_commands_outlive_any_number_of_lesser_entries(critical, clock):
    critical.audit("operator", "disconnect", "M1", "done")
    critical.audit("operator", "import", "7 meters")
    for number in range(700):
        clock.advance(seconds=1)
        critical.audit("operator", "release", "M1", "")
        critical.audit("collector", "security", "M1", f"CounterReplayed: {number}")
        critical.alarm("day-file-damaged", f"day {number}", "")
        critical.settle()
    actions = [entry.action for entry in critical.audit_log(10_000)]
    assert {"disconnect", "import"} <= set(actions)
    for action in ("release", "security", "day-file-damaged"):
        assert 0 < actions.count(action) <= 25 + 64


def test_commands_are_bounded_by_themselves(critical):
    for number in range(400):
        critical.audit("operator", "disconnect", f"meter {number}", "done")
    entries = critical.audit_log(limit=1000)
    assert 100 <= len(entries) < 200
    assert entries[0].subject == "meter 399"
    assert critical.audit_log(limit=1, before=entries[0].seq)[0].subject == "meter 398"


def test_equal_security_entries_of_an_hour_are_one_that_counts(critical, clock):
    first = critical.audit("collector", "security", "M1", "TagMismatch: check the GAK")
    for _ in range(59):
        clock.advance(minutes=1)
        assert critical.audit("collector", "security", "M1", "TagMismatch: check the GAK") == first
    critical.audit("collector", "security", "M2", "TagMismatch: check the GAK")
    entry = critical.audit_log()[-1]
    assert (entry.seq, entry.at, entry.count, entry.last) == (first, START, 60, START + 59 * 60)
    clock.advance(minutes=1)
    assert critical.audit("collector", "security", "M1", "TagMismatch: check the GAK") > first
    assert [entry.count for entry in critical.audit_log()] == [1, 1, 60]


def test_commands_are_never_put_together(critical):
    for _ in range(3):
        critical.audit("operator", "disconnect", "M1", "done")
    assert [entry.count for entry in critical.audit_log()] == [1, 1, 1]


def test_an_entry_that_was_rolled_back_is_not_counted_on(critical):
    def failing(db):
        critical._insert_audit("collector", "security", "M1", "x")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        critical.write(failing)
    critical.audit("operator", "disconnect", "M9", "done")  # under the number that was rolled back
    critical.audit("collector", "security", "M1", "x")
    assert [(entry.action, entry.count) for entry in critical.audit_log()] == [("security", 1), ("disconnect", 1)]


def waiting(critical, kind):
    return [item.payload for item in critical.pending(10_000, kind)]


def test_a_kind_that_is_full_loses_its_oldest_loudly_and_no_other_kind_loses(critical):
    critical.put("event", b"stays")
    seqs = [critical.put("push", b"%04d" % number + b"x" * 196) for number in range(200)]
    kept = waiting(critical, "push")
    assert kept[-1].startswith(b"0199")
    assert kept == sorted(kept)
    assert 60 <= len(kept) <= 20_000 // 264 + 1
    assert critical.outbox_dropped == 200 - len(kept)
    assert waiting(critical, "event") == [b"stays"]
    told = [item.payload.decode() for item in critical.pending(10_000, "alarm")]
    assert told
    assert '"event":"outbox-full","subject":"push"' in told[0]
    assert len(told) < 20, "told for many at once"
    assert critical.put("push", b"") == seqs[-1] + len(told) + 1 or critical.put("push", b"") > seqs[-1]


def test_urgent_items_stay_and_the_others_of_their_kind_go(critical):
    urgent = [critical.put("push", b"u" * 200, Priority.ALARM) for _ in range(10)]
    for _ in range(200):
        critical.put("push", b"b" * 200, Priority.BACKFILL)
    assert set(urgent) <= {item.seq for item in critical.pending(10_000)}


def test_what_the_store_says_itself_is_bounded_too(critical):
    for number in range(400):
        critical.alarm("day-file-damaged", f"day {number}", "x" * 100)
        critical.settle()
    assert sum(len(payload) for payload in waiting(critical, "alarm")) <= 20_000
    assert any(entry.action == "outbox-full" for entry in critical.audit_log(1000))


def test_acknowledged_items_make_room(critical):
    for _ in range(300):
        seq = critical.put("push", b"x" * 200)
        critical.ack([seq])
    assert critical.outbox_dropped == 0


@pytest.mark.parametrize("full", [pytest.param(True, marks=needs_loop), False])
def test_pushes_eat_neither_readings_nor_ballast(tmp_path, full):
    with mounted(tmp_path, 24) if full else nothing(tmp_path) as point:
        clock = HandClock(START + 6 * DAY)
        meters = [f"M{number}" for number in range(50)]
        store = opened(point / "store", clock, *meters, ballast=2 << 20, outbox_bytes=256 << 10)
        for meter in meters:
            for day in range(6):
                store.add(meter, HOURLY, hours(START + day * DAY, 24))
        store.flush()
        for _ in range(500):
            store.critical.put("push", b"z" * 1000)
        if full:
            fill(point)
        for _ in range(500):
            store.critical.put("push", b"z" * 1000)
        status = store.status()
        assert status.ballast
        assert status.days >= (5 if full else 6)  # its log may need the oldest day's room once
        assert status.outbox_dropped > 500
        assert "outbox-full" in alarms(store)
        store.close()


class nothing:  # noqa: N801
    def __init__(self, path):
        self.path = path

    def __enter__(self):
        return self.path

    def __exit__(self, *why):
        return None


def test_only_the_owner_may_look_into_the_store(tmp_path):
    before = os.umask(0o022)
    try:
        store = opened(tmp_path / "new" / "store", HandClock(START + DAY), "A", ballast=64 << 10)
        store.add("A", HOURLY, hours(START, 24))
        store.flush()
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "new" / "store").iterdir()}
        assert set(modes.values()) == {0o600}, modes
        assert {"critical.db", "critical.db-wal", "ballast", "readings-2025-03-01.db"} <= set(modes)
        assert stat.S_IMODE((tmp_path / "new" / "store").stat().st_mode) == 0o700
        store.close()
    finally:
        os.umask(before)


def test_files_that_others_could_read_are_narrowed(tmp_path, caplog):
    opened(tmp_path, HandClock(START)).close()
    (tmp_path / "critical.db").chmod(0o644)
    tmp_path.chmod(0o755)
    opened(tmp_path, HandClock(START)).close()
    assert stat.S_IMODE((tmp_path / "critical.db").stat().st_mode) == 0o600
    assert "chmod 700" in caplog.text
