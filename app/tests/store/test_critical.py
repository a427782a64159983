import sqlite3

import pytest

from dcu.errors import CounterReplayed, StoreError
from dcu.model import Priority
from dcu.store import Critical, MeterState
from tests.store.tools import COLUMNS, DAILY, HOURLY, START, HandClock


@pytest.fixture
def clock():
    return HandClock(START)


@pytest.fixture
def critical(tmp_path, clock):
    file = Critical.open(tmp_path / "critical.db", clock=clock, audit_rows=100)
    yield file
    file.close()


def reopened(critical, clock):
    critical.close()
    return Critical.open(critical.path, clock=clock, audit_rows=100)


def test_a_meter_keeps_its_number_and_state_when_its_address_changes(critical, clock):
    first = critical.add_meter("A", "tcp://192.0.2.1:4059", "generic", b"EXM\0\0\0\0\1")
    critical.add_meter("B", "tcp://192.0.2.2:4059", "generic", b"EXM\0\0\0\0\2")
    clock.advance(hours=1)
    critical.quarantine("A", "answered nonsense: an array of 2^31 items")
    again = critical.add_meter("A", "udp://192.0.2.9:4059", "other", b"EXM\0\0\0\0\3")
    assert (again.id, again.address, again.profile) == (first.id, "udp://192.0.2.9:4059", "other")
    assert again.state is MeterState.QUARANTINED
    assert again.reason == "answered nonsense: an array of 2^31 items"
    assert again.since == START + 3600
    critical.release("A")
    assert [meter.state for meter in critical.meters()] == [MeterState.OK, MeterState.OK]


def test_what_is_not_registered_is_named(critical):
    with pytest.raises(StoreError, match="meter 'Q' is not registered"):
        critical.quarantine("Q", "")
    with pytest.raises(ValueError, match="64 characters"):
        critical.add_meter("x" * 65, "", "", b"")


def test_a_layout_holds_for_older_rows_until_it_changes(critical, clock):
    critical.add_meter("A", "", "", b"")
    assert critical.layout("A", HOURLY) is None
    critical.set_layout("A", HOURLY, COLUMNS)
    clock.advance(days=2)
    critical.set_layout("A", HOURLY, COLUMNS[:2])
    critical.set_layout("A", DAILY, COLUMNS)
    assert critical.layout("A", HOURLY, at=0) == COLUMNS
    assert critical.layout("A", HOURLY, at=START + 86400) == COLUMNS
    assert critical.layout("A", HOURLY, at=START + 2 * 86400) == COLUMNS[:2]
    assert critical.layout("A", HOURLY) == COLUMNS[:2]
    assert critical.profiles("A") == [DAILY, HOURLY]


def test_an_unchanged_layout_is_not_written_again(critical):
    critical.add_meter("A", "", "", b"")
    critical.set_layout("A", HOURLY, COLUMNS)
    before = critical._db.total_changes
    critical.set_layout("A", HOURLY, list(COLUMNS))
    assert critical._db.total_changes == before


def test_no_counter_is_given_before_one_is_known(critical):
    assert critical.counter("A") is None
    with pytest.raises(StoreError, match="read the meter's counter object first"):
        critical.reserve_counters("A", 10)


def test_the_floor_is_the_higher_of_what_is_kept_and_what_the_meter_says(critical, clock):
    assert critical.raise_counter("A", 100) == 100
    assert critical.reserve_counters("A", 50) == range(100, 150)
    assert critical.raise_counter("A", 120) == 150
    critical = reopened(critical, clock)
    assert critical.counter("A") == 150
    assert critical.raise_counter("A", 400) == 400
    assert critical.reserve_counters("A", 1) == range(400, 401)
    critical.close()


def test_counters_end_at_32_bits_and_say_so(critical):
    critical.raise_counter("A", 2**32 - 2)
    assert critical.reserve_counters("A", 2) == range(2**32 - 2, 2**32)
    with pytest.raises(StoreError, match="used up: change its keys"):
        critical.reserve_counters("A", 1)
    with pytest.raises(ValueError, match="32 bits"):
        critical.raise_counter("A", 2**32 + 1)


def test_counters_of_many_meters_are_reserved_in_one_commit(critical):
    for name in ("A", "B"):
        critical.raise_counter(name, 1)
    commits = []
    critical._db.set_trace_callback(lambda statement: commits.append(statement) if statement == "COMMIT" else None)
    a, unknown, b, again = critical.reserve_each([("A", 10), ("X", 1), ("B", 20), ("A", 5)])
    assert (a, b, again) == (range(1, 11), range(1, 21), range(11, 16))
    assert isinstance(unknown, StoreError)
    assert commits == ["COMMIT"]


@pytest.mark.parametrize(
    "statement",
    [
        pytest.param("UPDATE counters SET next = next - 1", id="counter back"),
        pytest.param("DELETE FROM counters", id="counter forgotten"),
        pytest.param("UPDATE floors SET floor = floor", id="floor not higher"),
        pytest.param("DELETE FROM floors", id="floor forgotten"),
    ],
)
def test_not_even_sql_takes_a_counter_back(critical, statement):
    critical.raise_counter("A", 9)
    critical.accept_push("A", 9, b"")
    with pytest.raises(sqlite3.IntegrityError, match="never"):
        critical._db.execute(statement)


def test_a_push_is_accepted_once(critical, clock):
    assert critical.receive_floor("A") == -1
    seq = critical.accept_push("A", 0, b"door opened")
    with pytest.raises(CounterReplayed, match="counter 0 is not above 0") as caught:
        critical.accept_push("A", 0, b"door opened")
    assert (caught.value.floor, caught.value.received) == (0, 0)
    critical = reopened(critical, clock)
    assert [(item.seq, item.payload, item.meter) for item in critical.pending()] == [(seq, b"door opened", "A")]
    with pytest.raises(CounterReplayed):
        critical.accept_push("A", 0, b"replay")
    assert critical.accept_push("A", 7, b"door closed") > seq
    assert critical.receive_floor("A") == 7
    critical.close()


def test_a_push_whose_row_cannot_be_kept_does_not_raise_the_floor(critical):
    critical.accept_push("A", 3, b"first")
    critical._db.execute("CREATE TRIGGER broken BEFORE INSERT ON outbox BEGIN SELECT RAISE(ABORT, 'no'); END")
    with pytest.raises(StoreError):
        critical.accept_push("A", 4, b"second")
    assert critical.receive_floor("A") == 3


def test_the_outbox_goes_by_urgency_and_then_by_order_and_its_numbers_never_return(critical, clock):
    backfill = critical.put("readings", b"1", Priority.BACKFILL)
    alarm = critical.put("push", b"2", meter="A")
    later = critical.put("push", b"3")
    assert [item.seq for item in critical.pending()] == [alarm, later, backfill]
    assert [item.seq for item in critical.pending(kind="readings")] == [backfill]
    assert critical.pending(limit=1)[0].priority is Priority.ALARM
    assert critical.ack([backfill, alarm, later, 999]) == 3
    assert critical.ack([]) == 0
    critical = reopened(critical, clock)
    assert critical.pending() == []
    assert critical.put("push", b"4") == later + 1
    critical.close()


def test_the_audit_log_is_bounded_and_the_outbox_is_not(critical):
    for number in range(400):
        critical.audit("operator", "disconnect", f"meter {number}", "done")
        critical.put("push", b"")
    entries = critical.audit_log(limit=1000)
    assert 100 <= len(entries) < 200
    assert entries[0].subject == "meter 399"
    assert critical.audit_log(limit=1, before=entries[0].seq)[0].subject == "meter 398"
    assert len(critical.pending(1000)) == 400


def test_state_is_remembered(critical, clock):
    critical.remember("keys.generation", b"\7")
    critical.remember_all({"a": b"1", "b": b"2"})
    critical = reopened(critical, clock)
    assert (critical.recall("keys.generation"), critical.recall("b"), critical.recall("c")) == (b"\7", b"2", None)
    critical.close()


def test_a_second_writer_is_refused_and_told_who_holds_it(critical):
    with pytest.raises(StoreError, match=r"in use by process \d+"):
        Critical.open(critical.path)


def test_a_place_that_cannot_be_written_is_said_plainly(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot be written"):
        Critical.open(tmp_path / "file" / "critical.db")
