"""The mains fail: what can be committed in time is, then nothing is written until they are back; nothing is lost."""

import asyncio
from pathlib import Path

import pytest

from dcu.errors import StoreError
from dcu.store import Settings, Store
from dcu.store.archive import Archive
from dcu.store.dayfiles import DayFiles
from dcu.store.files import FrozenError, Gate
from tests.store.tools import DAY, HOURLY, START, HandClock, hours, opened, reading

METERS = [f"M{number}" for number in range(6)]


def filled(directory, days=3):
    """A store with `days` × 1,440 × 6 readings in RAM."""
    archive = opened(directory, HandClock(START + days * DAY), *METERS, commit_rows=10**9, commit_every=10**9)
    for number, meter in enumerate(METERS):
        archive.add(meter, HOURLY, [reading(START + minute * 60, number) for minute in range(days * 1440)])
    return archive


class Slow:
    """A disk on which each commit takes `seconds`, and a clock that knows."""

    def __init__(self, monkeypatch, seconds):
        self.now = 0.0
        self.begun = []
        write = DayFiles.write

        def slowly(files, day, rows):
            self.begun.append(self.now)
            write(files, day, rows)
            self.now += seconds

        monkeypatch.setattr(DayFiles, "write", slowly)

    def until(self, deadline):
        return lambda: deadline - self.now


def overrun(archive, disk, deadline):
    """What is wrong with a flush against `deadline`: the oracle, itself put to the test below."""
    before = len(archive._buffer)
    done = archive.flush_within(disk.until(deadline))
    late = [begun for begun in disk.begun if begun >= deadline]
    assert done.rows + done.left == before, "readings vanished"
    assert not late, f"{len(late)} commits were begun after the deadline"
    assert disk.now <= deadline + 1e-9 or len(disk.begun) == 1, f"the flush ended {disk.now - deadline} s late"
    return done


@pytest.mark.parametrize("deadline", [0.0, 0.05, 0.35, 1.0, 100.0])
def test_a_flush_keeps_its_deadline_and_what_it_left_is_still_there(tmp_path, monkeypatch, deadline):
    archive = filled(tmp_path)
    done = overrun(archive, Slow(monkeypatch, 0.1), deadline)
    assert (done.left == 0) == (deadline == 100.0)
    assert (done.rows > 0) == (deadline > 0)
    for number, meter in enumerate(METERS):
        kept = archive.readings(meter, HOURLY, START, START + 3 * DAY)
        assert kept == [reading(START + minute * 60, number) for minute in range(3 * 1440)]
    archive.close()


def test_the_newest_readings_are_committed_first(tmp_path, monkeypatch):
    archive = filled(tmp_path)
    overrun(archive, Slow(monkeypatch, 0.1), 0.35)
    assert archive.status().last_day == "2025-03-03"
    assert archive.status().first_day == "2025-03-03"
    archive.close()


def test_canary_a_flush_that_ignores_its_deadline_is_caught(tmp_path, monkeypatch):
    archive = filled(tmp_path)
    whole = Archive.flush_within
    monkeypatch.setattr(Archive, "flush_within", lambda self, left: whole(self, lambda: 1e9))
    with pytest.raises(AssertionError, match="begun after the deadline"):
        overrun(archive, Slow(monkeypatch, 0.1), 0.35)
    archive.close()


def everything_that_writes(archive):
    critical = archive.critical
    return {
        "flush": archive.flush,
        "maintain": archive.maintain,
        "put": lambda: critical.put("alarm", b"x"),
        "audit": lambda: critical.audit("test", "write"),
        "remember": lambda: critical.remember("a", b"b"),
        "reserve": lambda: critical.reserve_counters("M1", 1),
        "raise": lambda: critical.raise_counter("M1", 99),
        "push": lambda: critical.accept_push("M1", 7, b"push"),
        "add_meter": lambda: critical.add_meter("new", "tcp://192.0.2.9:1", "generic", bytes(8)),
        "quarantine": lambda: critical.quarantine("M1", "nonsense"),
        "ack": lambda: critical.ack([1]),
        "drop": lambda: archive._days.drop(START // DAY),
        "make room": lambda: archive._make_room(0),
    }


def contents(directory):
    return {path.name: path.read_bytes() for path in Path(directory).iterdir() if path.is_file()}


def written_behind_the_gate(archive):
    """Which of the store's calls changed a file although it is frozen: the oracle, itself put to the test below."""
    archive.gate.shut = True
    found = []
    for name, call in everything_that_writes(archive).items():
        before = contents(archive.directory)
        try:
            call()
        except FrozenError:
            pass
        except StoreError as error:
            found.append(f"{name}: {error}")
        if contents(archive.directory) != before:
            found.append(name)
    before = contents(archive.directory)
    assert archive.flush_within(lambda: 100.0).rows == 0
    archive.add("M1", HOURLY, hours(START, 4))
    archive.close()
    if contents(archive.directory) != before:
        found.append("close")
    return found


def some(directory):
    archive = opened(directory, HandClock(START + 2 * DAY), *METERS, ballast=64 << 10)
    archive.critical.raise_counter("M1", 5)
    archive.critical.put("alarm", b"first")
    archive.add("M1", HOURLY, hours(START, 30))
    archive.flush()
    archive.add("M2", HOURLY, hours(START, 30))
    return archive


def test_behind_a_shut_gate_nothing_changes_on_disk(tmp_path):
    assert written_behind_the_gate(some(tmp_path)) == []
    again = opened(tmp_path, HandClock(START + 2 * DAY))
    assert len(again.readings("M1", HOURLY, START, START + 2 * DAY)) == 30
    assert again.critical.counter("M1") == 5
    again.close()


def test_canary_a_write_after_the_freeze_is_caught(tmp_path, monkeypatch):
    archive = some(tmp_path)
    monkeypatch.setattr(Gate, "check", lambda self: None)
    assert {"put", "audit", "reserve"} <= set(written_behind_the_gate(archive))


def test_a_transaction_that_the_freeze_overtakes_is_rolled_back(tmp_path):
    archive = some(tmp_path)

    def work(db):
        db.execute("INSERT INTO audit (at, actor, action, subject, detail) VALUES (0, 'a', 'b', 'c', 'd')")
        archive.gate.shut = True

    with pytest.raises(FrozenError):
        archive.critical.write(work)
    archive.gate.shut = False
    assert [entry.actor for entry in archive.critical.audit_log()] == []
    archive.close()


@pytest.mark.parametrize("inline", [True, False], ids=["inline", "thread"])
async def test_who_wants_to_write_while_it_is_frozen_waits_and_goes_on_when_it_is_thawed(tmp_path, inline):
    store = await Store.open(tmp_path, clock=HandClock(START + DAY), settings=Settings(ballast=0), inline=inline)
    await store.add_meter("M1", "tcp://192.0.2.1:4059", "generic", bytes(8))
    await store.raise_counter("M1", 10)
    await store.add("M1", HOURLY, hours(START, 1))
    store.freeze()
    assert store.frozen
    waiting = [
        asyncio.ensure_future(call)
        for call in (
            store.put("alarm", b"x"),
            store.reserve_counters("M1", 4),
            store.accept_push("M1", 3, b"push"),
            store.flush(),
            store.maintain(),
        )
    ]
    await asyncio.sleep(0.05)
    assert not any(one.done() for one in waiting)
    assert await store.add("M1", HOURLY, hours(START, 5)) == 5  # RAM takes them
    assert len(await store.readings("M1", HOURLY, START, START + DAY)) == 5
    assert await store.pending() == []
    store.thaw()
    results = await asyncio.gather(*waiting)
    assert results[1] == range(10, 14)
    assert len(await store.pending()) == 2
    await store.close()


async def test_a_frozen_store_is_closed_without_a_write_and_opens_again(tmp_path):
    store = await Store.open(tmp_path, clock=HandClock(START + DAY), settings=Settings(ballast=0))
    await store.add_meter("M1", "tcp://192.0.2.1:4059", "generic", bytes(8))
    await store.put("alarm", b"kept")
    await store.add("M1", HOURLY, hours(START, 5))
    flushed = await store.flush_within(10.0)
    assert (flushed.rows, flushed.left) == (5, 0)
    store.freeze()
    before = contents(tmp_path)
    await store.close()
    assert contents(tmp_path) == before
    again = await Store.open(tmp_path, clock=HandClock(START + DAY), settings=Settings(ballast=0))
    assert len(await again.pending()) == 1
    assert len(await again.readings("M1", HOURLY, START, START + DAY)) == 5
    await again.close()
