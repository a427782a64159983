import sqlite3
from itertools import product

import pytest

from dcu.errors import StoreError
from dcu.model import Reading
from dcu.store import Archive, check
from dcu.store import rows as sealing
from tests.store.tools import DAILY, DAY, HOUR, HOURLY, START, HandClock, alarms, hours, opened, reading


def days(directory):
    return sorted(path.name for path in directory.glob("readings-*.db"))


def test_a_day_file_is_named_by_its_utc_date_and_keeps_rows_in_order_of_time_then_meter(tmp_path):
    archive = opened(tmp_path, HandClock(START + DAY), "A", "B")
    for meter in ("B", "A"):
        archive.add(meter, HOURLY, hours(START, 2))
    archive.close()
    assert days(tmp_path) == ["readings-2025-03-01.db"]
    with sqlite3.connect(tmp_path / "readings-2025-03-01.db") as db:
        plan = "".join(str(row) for row in db.execute("EXPLAIN QUERY PLAN SELECT * FROM readings ORDER BY ts, meter"))
        rows = db.execute("SELECT ts, meter, profile, hex(row) FROM readings").fetchall()
    db.close()
    assert "TEMP" not in plan
    assert rows[0] == (
        START,
        1,
        1,
        "9500CE000F4240" + "CE" + f"{2_000_000 + START % 9973:08X}" + "CE01C9C380CE003D0900" + "C2B12133",
    )
    assert [row[:2] for row in rows] == [(START, 1), (START, 2), (START + HOUR, 1), (START + HOUR, 2)]


@pytest.mark.parametrize(
    "values",
    [
        pytest.param((0, -1, 2**64 - 1, -(2**63)), id="integers to 64 bits"),
        pytest.param((1.5, None, True, False), id="other scalars"),
        pytest.param(("été", b"\x00\xff", "", b""), id="strings"),
        pytest.param((), id="none"),
    ],
)
def test_every_scalar_comes_back_as_it_went_in_from_ram_and_from_the_file(tmp_path, values):
    archive = opened(tmp_path, HandClock(START + DAY), "A")
    wanted = [Reading(START, None, values), Reading(START + 1, 0x80, values)]
    archive.add("A", HOURLY, wanted)
    assert archive.readings("A", HOURLY, START, START + DAY) == wanted
    archive.flush()
    assert archive.readings("A", HOURLY, START, START + DAY) == wanted
    archive.close()


@pytest.mark.parametrize(
    "row",
    [
        pytest.param(Reading(START, 0, (2**64,)), id="a value beyond 64 bits"),
        pytest.param(Reading(START, -(2**63) - 1, ()), id="a status beyond 64 bits"),
        pytest.param(Reading(START, True, (1,)), id="a status that is a bool"),
        pytest.param(Reading(START, b"\x08", (1,)), id="a status in bytes"),
        pytest.param(Reading(START, 0, ((1, 2),)), id="a value that is none"),
        pytest.param(Reading(START, 0, ("\ud800",)), id="half a surrogate pair"),
    ],
)
def test_what_would_not_come_back_is_the_callers_mistake_and_is_not_kept(tmp_path, row):
    archive = opened(tmp_path, HandClock(START), "A")
    with pytest.raises(ValueError, match=r"64 bits|scalars"):
        archive.add("A", HOURLY, [reading(START - HOUR), row])
    assert archive.readings("A", HOURLY, 0, START + DAY) == []
    archive.close()


def test_reads_see_file_and_buffer_as_one(tmp_path):
    archive = opened(tmp_path, HandClock(START + DAY), "A")
    archive.add("A", HOURLY, hours(START, 4, seed=1))
    archive.flush()
    archive.add("A", HOURLY, hours(START + 3 * HOUR, 2, seed=2))
    expected = hours(START, 3, seed=1) + hours(START + 3 * HOUR, 2, seed=2)
    assert archive.readings("A", HOURLY, START, START + DAY) == expected
    assert archive.readings("A", HOURLY, START + HOUR, START + 2 * HOUR) == expected[1:2]
    assert archive.readings("A", DAILY, START, START + DAY) == []
    archive.close()


def test_readings_wait_in_ram_until_their_time_has_come(tmp_path):
    clock = HandClock(START + DAY)
    archive = opened(tmp_path, clock, "A", commit_every=6 * HOUR)
    archive.add("A", HOURLY, hours(START, 4))
    clock.advance(hours=5, minutes=59)
    archive.maintain()
    assert days(tmp_path) == []
    clock.advance(minutes=1)
    archive.maintain()
    assert days(tmp_path) == ["readings-2025-03-01.db"]
    assert archive.status().buffered == 0
    archive.close()


def test_a_clock_set_back_does_not_keep_readings_in_ram(tmp_path):
    clock = HandClock(START + DAY)
    archive = opened(tmp_path, clock, "A", commit_every=6 * HOUR)
    archive.add("A", HOURLY, hours(START, 4))
    clock.advance(days=-20)
    archive.maintain()
    clock.advance(hours=6)
    archive.maintain()
    assert archive.status().buffered == 0
    archive.close()


def test_readings_are_committed_when_they_are_many(tmp_path):
    archive = opened(tmp_path, HandClock(START + DAY), "A", commit_rows=10)
    archive.add("A", HOURLY, hours(START, 9))
    assert days(tmp_path) == []
    archive.add("A", HOURLY, hours(START + 9 * HOUR, 1))
    assert days(tmp_path) == ["readings-2025-03-01.db"]
    archive.close()


def test_what_is_there_already_changes_no_byte_of_the_file(tmp_path):
    archive = opened(tmp_path, HandClock(START + DAY), "A", "B")
    for meter in ("A", "B"):
        archive.add(meter, HOURLY, hours(START, 24))
    archive.flush()
    before = (tmp_path / "readings-2025-03-01.db").read_bytes()
    archive.add("A", HOURLY, hours(START, 24))
    archive.flush()
    after = (tmp_path / "readings-2025-03-01.db").read_bytes()
    assert after[100:] == before[100:]  # the header counts changes
    assert len(archive.readings("A", HOURLY, START, START + DAY)) == 24
    archive.close()


def test_retention_unlinks_whole_days_with_all_their_files(tmp_path):
    clock = HandClock(START + DAY)
    archive = opened(tmp_path, clock, "A", retention_days=3)
    for day in range(4):
        archive.add("A", HOURLY, hours(START + day * DAY, 24))
        clock.advance(days=1)
        archive.maintain()
    archive.flush()
    assert days(tmp_path) == ["readings-2025-03-03.db", "readings-2025-03-04.db"]
    (tmp_path / "readings-2025-03-03.db-journal").touch()
    clock.advance(days=1)
    archive.maintain()
    assert days(tmp_path) == ["readings-2025-03-04.db"]
    assert not list(tmp_path.glob("readings-2025-03-03*"))
    assert archive.add("A", HOURLY, hours(START, 24)) == 0, "older than retention"
    assert archive.status().refused == 24
    assert archive.gaps("A", HOURLY, START, START + 4 * DAY, HOUR) == []
    archive.close()


def test_a_clock_that_is_not_trusted_and_jumps_does_not_empty_the_store(tmp_path):
    clock = HandClock(START + 10 * DAY)
    archive = opened(tmp_path, clock, "A", retention_days=5)
    for day in range(5, 10):
        archive.add("A", HOURLY, hours(START + day * DAY, 24))
    archive.flush()
    clock.trusted = False
    clock.advance(days=20_000)
    archive.maintain()
    assert len(days(tmp_path)) == 5
    assert archive.add("A", HOURLY, hours(START + 10 * DAY, 24)) == 24
    archive.close()


def test_without_a_trusted_clock_retention_goes_by_the_number_of_days(tmp_path):
    clock = HandClock(START, trusted=False)
    archive = opened(tmp_path, clock, "A", retention_days=3)
    for _ in range(12):
        archive.add("A", HOURLY, [reading(clock.seconds)])
        archive.flush()
        clock.advance(days=1)
        archive.maintain()
    assert len(days(tmp_path)) == 5
    assert days(tmp_path)[-1] == "readings-2025-03-12.db"
    archive.close()


def test_readings_from_the_future_are_refused(tmp_path):
    archive = opened(tmp_path, HandClock(START), "A")
    assert archive.add("A", HOURLY, [reading(START + DAY - 1), reading(START + DAY), reading(START + 999 * DAY)]) == 1
    assert archive.status().refused == 2
    archive.close()


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        pytest.param(lambda raw: b"\0" * len(raw), "not a database", id="zeros"),
        pytest.param(lambda raw: raw[:100] + b"\xa5" * 4000 + raw[4100:], "malformed", id="root page"),
        pytest.param(lambda raw: raw[: len(raw) // 2], "malformed", id="cut short"),
        pytest.param(lambda raw: raw[:60] + b"\0\0\0\x63" + raw[64:], "newer program", id="newer schema"),
        pytest.param(lambda raw: raw[:68] + b"\1\2\3\4" + raw[72:], "another store", id="another store's"),
    ],
)
def test_a_damaged_day_file_is_set_aside_loudly_and_shows_as_a_gap(tmp_path, caplog, damage, why):
    clock = HandClock(START + 2 * DAY)
    archive = opened(tmp_path, clock, *(f"M{n}" for n in range(40)))
    for meter in range(40):
        archive.add(f"M{meter}", HOURLY, hours(START, 48))
    archive.close()
    path = tmp_path / "readings-2025-03-01.db"
    path.write_bytes(damage(path.read_bytes()))
    archive = opened(tmp_path, clock)
    assert archive.gaps("M7", HOURLY, START, START + 2 * DAY, HOUR) == [(START, START + DAY)]
    assert days(tmp_path) == ["readings-2025-03-02.db"]
    assert (tmp_path / "readings-2025-03-01.db.damaged").exists()
    assert "2025-03-01" in alarms(archive)
    assert why in alarms(archive)
    assert "day-file-damaged: 2025-03-01" in caplog.text
    archive.add("M7", HOURLY, hours(START, 24))
    archive.flush()
    assert archive.readings("M7", HOURLY, START, START + 2 * DAY) == hours(START, 48)
    assert archive.gaps("M7", HOURLY, START, START + 2 * DAY, HOUR) == []
    archive.close()


@pytest.mark.parametrize("row", ["x'81c0'", "x'92c301'", "x'9200a0ff'", "x''", "7", "'text'", "x'920091c0'"])
def test_a_damaged_row_costs_itself_and_is_collected_again(tmp_path, row):
    archive = opened(tmp_path, HandClock(START + 2 * DAY), "A", "B")
    for meter in ("A", "B"):
        archive.add(meter, HOURLY, hours(START, 48))
    archive.close()
    with sqlite3.connect(tmp_path / "readings-2025-03-01.db") as db:
        db.execute(f"UPDATE readings SET row = {row} WHERE ts = ? AND meter = 1", (START,))
    db.close()
    archive = opened(tmp_path, HandClock(START + 2 * DAY))
    assert archive.gaps("A", HOURLY, START, START + 2 * DAY, HOUR) == []
    assert archive.readings("A", HOURLY, START, START + 2 * DAY) == hours(START + HOUR, 47)
    assert archive.readings("B", HOURLY, START, START + 2 * DAY) == hours(START, 48)
    assert (archive.status().set_aside, archive.status().damaged_rows) == (0, 1)
    assert '"event":"rows-damaged","subject":"2025-03-01","text":"1 of A dropped' in alarms(archive)
    assert archive.gaps("A", HOURLY, START, START + 2 * DAY, HOUR) == [(START, START + HOUR)]
    archive.add("A", HOURLY, hours(START, 1))
    archive.flush()
    assert archive.readings("A", HOURLY, START, START + 2 * DAY) == hours(START, 48)
    archive.close()


@pytest.mark.parametrize("change", ["ts = 1e300", "ts = 'x'", "ts = ts - 864000", "meter = 1 << 60", "meter = 1.5"])
def test_a_row_of_no_moment_of_its_day_or_of_no_meter_is_not_searched(tmp_path, change):
    archive = opened(tmp_path, HandClock(START + 2 * DAY), "A")
    archive.add("A", HOURLY, hours(START, 24))
    archive.close()
    with sqlite3.connect(tmp_path / "readings-2025-03-01.db") as db:
        db.execute(f"UPDATE readings SET {change} WHERE ts = ?", (START,))
    db.close()
    archive = opened(tmp_path, HandClock(START + 2 * DAY))
    assert archive.gaps("A", HOURLY, START, START + DAY, HOUR) == [(START, START + HOUR)]
    assert archive.readings("A", HOURLY, 0, START + DAY) == hours(START + HOUR, 23)
    archive.close()


@pytest.mark.parametrize("bit", [*range(0, 26 * 8, 13), 26 * 8 - 1])
def test_a_bit_that_turned_over_in_a_value_is_never_served(tmp_path, bit):
    archive = opened(tmp_path, HandClock(START + 2 * DAY), "A")
    archive.add("A", HOURLY, hours(START, 48))
    archive.close()
    with sqlite3.connect(tmp_path / "readings-2025-03-01.db") as db:
        (row,) = db.execute("SELECT row FROM readings WHERE ts = ?", (START + HOUR,)).fetchone()
        assert len(row) == 26
        flipped = bytearray(row)
        flipped[bit // 8] ^= 1 << bit % 8
        db.execute("UPDATE readings SET row = ? WHERE ts = ?", (bytes(flipped), START + HOUR))
    db.close()
    archive = opened(tmp_path, HandClock(START + 2 * DAY))
    assert archive.readings("A", HOURLY, START, START + 2 * DAY) == [*hours(START, 1), *hours(START + 2 * HOUR, 46)]
    assert archive.gaps("A", HOURLY, START, START + 2 * DAY, HOUR) == [(START + HOUR, START + 2 * HOUR)]
    archive.close()


@pytest.mark.parametrize("change", ["meter = 3 - meter", "ts = ts + 1", "profile = 2"])
def test_a_sound_value_under_another_key_is_never_served(tmp_path, change):
    archive = opened(tmp_path, HandClock(START + 2 * DAY), "A", "B")
    for meter, profile in (("A", HOURLY), ("B", DAILY)):
        archive.add(meter, profile, hours(START, 24))
    archive.close()
    with sqlite3.connect(tmp_path / "readings-2025-03-01.db") as db:
        db.execute(f"UPDATE readings SET {change} WHERE meter = 1")
    db.close()
    archive = opened(tmp_path, HandClock(START + 2 * DAY))
    for meter, profile in product("AB", (HOURLY, DAILY)):
        found = archive.readings(meter, profile, START, START + DAY)
        assert found == (hours(START, 24) if (meter, profile) == ("B", DAILY) else [])
    archive.close()


def test_what_a_check_found_is_mended_row_by_row_or_as_a_file(tmp_path):
    archive = opened(tmp_path, HandClock(START + 3 * DAY), "A", "B")
    for meter in ("A", "B"):
        archive.add(meter, HOURLY, hours(START, 72))
    archive.close()
    with sqlite3.connect(tmp_path / "readings-2025-03-01.db") as db:
        db.execute("UPDATE readings SET row = x'90' || row WHERE ts = ? AND meter = 1", (START,))
        db.execute("UPDATE readings SET ts = 1e300 WHERE ts = ? AND meter = 2", (START + HOUR,))
    db.close()
    path = tmp_path / "readings-2025-03-02.db"
    raw = path.read_bytes()
    path.write_bytes(raw[:100] + b"\xa5" * 4000 + raw[4100:])
    damaged = check(tmp_path).damaged
    assert damaged == (START // DAY, START // DAY + 1)
    archive = opened(tmp_path, HandClock(START + 3 * DAY), ballast=1 << 20)
    for day in damaged:
        archive.mend(day)
    report = check(tmp_path)
    assert report.ok, report.findings
    assert report.damaged == ()
    assert archive.gaps("A", HOURLY, START, START + 3 * DAY, HOUR) == [
        (START, START + HOUR),
        (START + DAY, START + 2 * DAY),
    ]
    assert archive.gaps("B", HOURLY, START, START + DAY, HOUR) == [(START + HOUR, START + 2 * HOUR)]
    assert "rows-damaged" in alarms(archive)
    assert "day-file-damaged" in alarms(archive)
    archive.close()


def test_canary_without_the_seal_a_changed_value_is_served_as_truth(tmp_path, monkeypatch):
    monkeypatch.setattr(sealing, "unseal", lambda ts, meter, profile, sealed: sealed[:-4])
    with pytest.raises(AssertionError):
        test_a_bit_that_turned_over_in_a_value_is_never_served(tmp_path, 13)


def test_a_day_is_set_aside_once_and_what_is_aside_is_not_lost_by_doing_it_again(tmp_path):
    archive = opened(tmp_path, HandClock(START + DAY), "A")
    archive.add("A", HOURLY, hours(START, 24))
    archive.flush()
    for _ in range(2):
        archive._days.set_aside(START // DAY, "as a test")
    assert (tmp_path / "readings-2025-03-01.db.damaged").stat().st_size > 0
    archive.close()


def test_a_day_file_damaged_while_it_is_written_is_begun_anew(tmp_path):
    archive = opened(tmp_path, HandClock(START + DAY), "A")
    archive.add("A", HOURLY, hours(START, 3))
    archive.close()
    (tmp_path / "readings-2025-03-01.db").write_bytes(b"no database at all" * 300)
    archive = opened(tmp_path, HandClock(START + DAY))
    archive.add("A", HOURLY, hours(START + 3 * HOUR, 2))
    archive.flush()
    assert archive.readings("A", HOURLY, START, START + DAY) == hours(START + 3 * HOUR, 2)
    assert archive.gaps("A", HOURLY, START, START + 5 * HOUR, HOUR) == [(START, START + 3 * HOUR)]
    archive.close()


def test_a_disk_that_cannot_be_written_is_told_and_costs_no_more_ram_than_allowed(tmp_path, monkeypatch):
    clock = HandClock(START + DAY)
    archive = opened(tmp_path, clock, "A", commit_rows=10)

    def broken(day, rows):
        raise StoreError("attempt to write a readonly database")

    monkeypatch.setattr(archive._days, "write", broken)
    for hour in range(0, 72, 6):
        clock.advance(hours=6)
        archive.add("A", HOURLY, hours(START + hour * HOUR, 6))
        assert archive.status().buffered <= 26
    assert "day-file-unwritable" in alarms(archive)
    assert archive.status().discarded > 0
    monkeypatch.undo()
    clock.advance(hours=6)
    archive.maintain()
    assert archive.status().buffered == 0
    archive.close()


def test_a_second_writer_is_told_who_holds_the_store(tmp_path):
    archive = opened(tmp_path, HandClock(START))
    with pytest.raises(StoreError, match=r"in use by process \d+"):
        opened(tmp_path, HandClock(START))
    archive.close()
    opened(tmp_path, HandClock(START)).close()


def test_a_meter_that_is_not_registered_is_refused_by_name(tmp_path):
    archive = opened(tmp_path, HandClock(START))
    with pytest.raises(StoreError, match="meter 'X9' is not registered"):
        archive.add("X9", HOURLY, hours(START, 1))
    archive.close()


def test_a_damaged_critical_file_costs_neither_readings_nor_alarms_but_counters_are_read_again(tmp_path):
    clock = HandClock(START + DAY)
    archive = opened(tmp_path, clock, "A", "B")
    critical = archive.critical
    archive.add("B", HOURLY, hours(START, 24))
    critical.raise_counter("B", 700)
    critical.accept_push("B", 41, b"door opened")
    for number in range(2000):
        critical.audit("test", "fill", str(number), "x" * 60)
    archive.close()
    path = tmp_path / "critical.db"
    raw = bytearray(path.read_bytes())
    raw[-8 * 4096 : -4 * 4096] = b"\x5a" * 4 * 4096  # somewhere in the audit log
    path.write_bytes(raw)
    archive = opened(tmp_path, clock)
    assert archive.readings("B", HOURLY, START, START + DAY) == hours(START, 24)
    assert any(item.payload == b"door opened" for item in archive.critical.pending())
    assert "critical-file-damaged" in alarms(archive)
    assert archive.critical.receive_floor("B") == 41
    assert archive.critical.counter("B") is None
    with pytest.raises(StoreError, match="read the meter's counter object first"):
        archive.critical.reserve_counters("B", 1)
    assert archive.critical.raise_counter("B", 10) == 700, "the salvaged counter is a lower bound"
    archive.close()


def test_a_lost_critical_file_makes_day_files_foreign_rather_than_give_them_to_other_meters(tmp_path):
    clock = HandClock(START + DAY)
    archive = opened(tmp_path, clock, "A", "B")
    archive.add("A", HOURLY, hours(START, 24))
    archive.close()
    (tmp_path / "critical.db").write_bytes(b"\xff" * 8192)
    archive = opened(tmp_path, clock, "B", "A")  # the numbers are the other way round now
    assert archive.readings("B", HOURLY, START, START + DAY) == []
    assert archive.gaps("A", HOURLY, START, START + DAY, HOUR) == [(START, START + DAY)]
    assert "another store" in alarms(archive)
    archive.close()


def test_a_newer_critical_file_says_what_to_do(tmp_path):
    opened(tmp_path, HandClock(START)).close()
    with sqlite3.connect(tmp_path / "critical.db") as db:
        db.execute("PRAGMA user_version = 9")
    db.close()
    with pytest.raises(StoreError, match=r"newer program \(schema 9"):
        Archive.open(tmp_path, clock=HandClock(START))
    assert not check(tmp_path).ok


def test_stragglers_and_late_days_stay_cheap(tmp_path):
    """Written pages, as far as SQLite is asked to write: one wave in order against one with a tenth of it late."""
    meters = [f"M{number:03}" for number in range(200)]
    written = {}
    for late in (False, True):
        directory = tmp_path / str(late)
        clock = HandClock(START)
        archive = opened(directory, clock, *meters)
        count = 0
        for quarter in range(8):
            clock.advance(hours=6)
            for number, meter in enumerate(meters):
                wave = hours(START + quarter * 6 * HOUR, 6)
                if late and number % 10 == quarter % 10:
                    continue  # offline; the next wave brings it
                if late and quarter and number % 10 == (quarter - 1) % 10:
                    wave = hours(START + (quarter - 1) * 6 * HOUR, 12)
                archive.add(meter, HOURLY, wave)
            count += _pages_changed(archive, directory)
        archive.close()
        written[late] = count
    assert written[True] < 2.5 * written[False]


def _pages_changed(archive, directory):
    before = {path.name: path.read_bytes() for path in directory.glob("readings-*.db")}
    archive.flush()
    changed = 0
    for path in directory.glob("readings-*.db"):
        old, new = before.get(path.name, b""), path.read_bytes()
        changed += sum(old[at : at + 4096] != new[at : at + 4096] for at in range(0, len(new), 4096))
    return changed
