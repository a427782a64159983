import sqlite3

import pytest

from dcu.credentials import MeterKeys, Secret
from dcu.errors import CounterReplayed, StoreError
from dcu.model import Priority
from dcu.store import Critical, MeterState, Settings
from tests.store.tools import COLUMNS, DAILY, HOURLY, START, HandClock


@pytest.fixture
def clock():
    return HandClock(START)


@pytest.fixture
def critical(tmp_path, clock):
    file = Critical.open(tmp_path / "critical.db", clock=clock, settings=Settings(audit_rows=100))
    yield file
    file.close()


def reopened(critical, clock):
    critical.close()
    return Critical.open(critical.path, clock=clock, settings=Settings(audit_rows=100))


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
    a, unknown, b, again = critical.reserve_each([("A", 10, b""), ("X", 1, b""), ("B", 20, b""), ("A", 5, b"")])
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
    critical.accept_push("A", 9, b"", key=b"another")
    with pytest.raises(sqlite3.IntegrityError, match="never"):
        critical._db.execute(statement)


def fingerprint(seed, title):
    return MeterKeys(title, Secret(bytes([seed] * 16)), Secret(bytes(16))).fingerprint(title)


def test_a_fingerprint_tells_keys_and_titles_apart_and_does_not_show_the_key():
    one = fingerprint(1, b"EXM\0\0\0\0\1")
    assert one == fingerprint(1, b"EXM\0\0\0\0\1")
    assert len({one, fingerprint(2, b"EXM\0\0\0\0\1"), fingerprint(1, b"EXM\0\0\0\0\2")}) == 3
    assert len(one) == 16
    assert bytes([1] * 4) not in one


def test_new_keys_start_anew_and_keys_that_come_back_go_on_where_they_were(critical, clock):
    first, second = fingerprint(1, b"DCU\0\0\0\0\1"), fingerprint(2, b"DCU\0\0\0\0\1")
    critical.raise_counter("A", 2**32 - 2, first)
    assert critical.reserve_counters("A", 2, first).stop == 2**32
    with pytest.raises(StoreError, match="used up: change its keys"):
        critical.reserve_counters("A", 1, first)
    assert critical.counter("A", second) is None, "as it says: they were changed"
    assert critical.learn_counter("A", 0, key=second) == 1
    assert critical.reserve_counters("A", 10, second) == range(1, 11)
    critical = reopened(critical, clock)
    with pytest.raises(StoreError, match="used up"):
        critical.reserve_counters("A", 1, first)
    assert critical.reserve_counters("B", 1, second) == range(11, 12), "the same keys under another name"
    assert critical.counter("A") is None, "the name stands for its own key only"
    critical.close()


def test_after_a_change_of_keys_alarms_are_accepted_and_old_ones_still_refused(critical):
    first, second = fingerprint(1, b"EXM\0\0\0\0\1"), fingerprint(2, b"EXM\0\0\0\0\1")
    critical.accept_push("A", 1_000_000, b"old", key=first)
    assert critical.receive_floor("A", second) == -1
    critical.accept_push("A", 1, b"new", key=second)
    assert (critical.receive_floor("A", first), critical.receive_floor("A", second)) == (1_000_000, 1)
    for key, counter in ((first, 999_999), (second, 1)):
        with pytest.raises(CounterReplayed):
            critical.accept_push("B", counter, b"replayed", key=key)


def test_what_was_sent_and_never_heard_is_passed_over_where_nothing_is_known(critical):
    assert critical.learn_counter("A", 500, margin=1000) == 1501
    assert critical.learn_counter("A", 600, margin=1000) == 1501, "now it is known"
    assert critical.learn_counter("A", 2000, margin=1000) == 2001
    with pytest.raises(StoreError, match="used up: change its keys"):
        critical.learn_counter("B", 2**32 - 10, margin=1000)
    assert critical.counter("B") is None


def test_a_store_that_is_older_than_what_was_sent_asks_the_meters_and_never_goes_back(critical, clock):
    critical.raise_counter("A", 700)
    critical.raise_counter("B", 9)
    assert critical.doubt_counters("generation 7 of the keys, 5 was seen") == 2
    assert critical.doubt_counters("again") == 0
    critical = reopened(critical, clock)
    assert critical.counter("A") is None
    with pytest.raises(StoreError, match="read the meter's counter object first"):
        critical.reserve_counters("A", 1)
    assert critical.learn_counter("A", 650, margin=100) == 800
    assert critical.learn_counter("B", 650, margin=100) == 751
    assert any("generation 7" in entry.detail for entry in critical.audit_log())
    critical.close()


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


def test_a_state_that_is_none_counts_as_quarantined_until_somebody_looks(critical, clock):
    for name in ("A", "B"):
        critical.add_meter(name, "", "generic", b"")
    critical._db.execute("UPDATE meters SET state = 'oj' WHERE name = 'A'")
    critical = reopened(critical, clock)
    assert [meter.state for meter in critical.meters()] == [MeterState.QUARANTINED, MeterState.OK]
    assert "'oj'" in critical.meter("A").reason
    critical.release("A")
    assert critical.meter("A").state is MeterState.OK
    critical.close()


def test_an_urgency_and_a_layout_that_are_none_keep_nobody_from_reading(critical):
    critical.add_meter("A", "", "generic", b"")
    critical.set_layout("A", HOURLY, COLUMNS)
    critical.put("push", b"1", Priority.BACKFILL)
    critical._db.execute("UPDATE outbox SET priority = 77")
    critical._db.execute("UPDATE layouts SET columns = x'93'")
    assert critical.pending()[0].priority is Priority.ALARM
    assert critical.layout("A", HOURLY) is None
    critical.set_layout("A", HOURLY, COLUMNS)
    assert critical.layout("A", HOURLY) == COLUMNS


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
