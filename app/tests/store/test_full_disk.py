"""A disk that fills: the oldest profile day goes first and loudly, alarms commit, and collection recovers."""

import pytest

from dcu.errors import StoreError
from dcu.store import check
from tests.store.disk import fill, mounted, needs_loop
from tests.store.tools import DAY, HOUR, HOURLY, START, HandClock, alarms, hours, opened

pytestmark = needs_loop
METERS = tuple(f"M{number:03}" for number in range(100))
DAYS = 6


@pytest.fixture
def disk(tmp_path):
    with mounted(tmp_path, 24) as point:
        yield point


def collected(directory, clock, **settings):
    """A store with six days of a hundred meters."""
    store = opened(directory, clock, *METERS, **{"ballast": 1 << 20, "commit_rows": 5000, **settings})
    for day in range(DAYS):
        for meter in METERS:
            store.add(meter, HOURLY, hours(START + day * DAY, 24))
    store.flush()
    return store


def days(store):
    return [name[9:19] for name in sorted(path.name for path in store.directory.glob("readings-*.db"))]


def test_an_alarm_on_a_full_disk_costs_the_oldest_day_and_says_so(disk, caplog):
    clock = HandClock(START + DAYS * DAY)
    store = collected(disk / "store", clock)
    fill(disk)
    seqs = [store.critical.put("push", b"cover opened %d" % number + b" " * 200) for number in range(40)]
    assert {item.seq for item in store.critical.pending(1000)} >= set(seqs)
    assert "2025-03-01" not in days(store)
    assert days(store)[-1] == "2025-03-06"
    assert '"event":"disk-full","subject":"2025-03-01"' in alarms(store)
    assert any(entry.action == "disk-full" and entry.subject == "2025-03-01" for entry in store.critical.audit_log())
    assert "disk-full: 2025-03-01" in caplog.text
    assert store.readings("M007", HOURLY, START + (DAYS - 1) * DAY, START + DAYS * DAY) == hours(START + 5 * DAY, 24)
    assert store.gaps("M007", HOURLY, START, START + DAYS * DAY, HOUR) == [], "a day given up is not asked for again"
    assert store.add("M007", HOURLY, hours(START, 24)) == 0
    store.close()
    assert check(disk / "store").ok


def test_alarms_commit_though_somebody_else_takes_every_byte_that_is_given_up(disk):
    store = collected(disk / "store", HandClock(START + DAYS * DAY))
    assert store.status().ballast
    seqs = []
    for number in range(40):
        fill(disk, f"hog{number}")
        seqs += [store.critical.put("push", b"x" * 200) for _ in range(5)]
        if not store.status().ballast:
            break
    assert {item.seq for item in store.critical.pending(1000)} >= set(seqs)
    assert not store.status().ballast
    assert "ballast-released" in alarms(store)
    store.close()


def alarms_on_a_full_disk(disk, ballast):
    """Put alarms with nothing else left that may go."""
    store = opened(disk / "store", HandClock(START), "A", ballast=ballast)
    fill(disk)
    put = 0
    try:
        for _ in range(150):
            store.critical.put("push", b"x" * 4000)
            put += 1
    except StoreError as error:
        assert "the disk is full and nothing is left that may go" in str(error)  # noqa: PT017
    waiting = len([item for item in store.critical.pending(1000) if item.kind == "push"])
    store.close()
    assert waiting == put
    return put


def test_the_ballast_alone_lets_alarms_commit(disk):
    assert alarms_on_a_full_disk(disk, ballast=2 << 20) == 150


def test_without_ballast_they_would_not(disk):
    """The canary: what the test above sees is the ballast's doing."""
    assert alarms_on_a_full_disk(disk, ballast=0) < 150


def test_new_readings_push_out_the_oldest_day(disk):
    clock = HandClock(START + DAYS * DAY)
    store = collected(disk / "store", clock)
    fill(disk)
    for _ in range(3):
        today = clock.seconds
        clock.advance(days=1)
        for meter in METERS:
            store.add(meter, HOURLY, hours(today, 24))
        store.flush()
        store.maintain()
        assert store.status().buffered == 0
        assert store.readings("M042", HOURLY, today, today + DAY) == hours(today, 24)
    assert days(store)[0] > "2025-03-02"
    assert "disk-full" in alarms(store)
    assert store.status().ballast, "readings never take it"
    store.close()


def test_with_nothing_older_to_drop_readings_wait_in_ram_and_are_kept_when_there_is_room(disk):
    clock = HandClock(START + DAY)
    store = opened(disk / "store", clock, *METERS, ballast=1 << 20, commit_rows=5000)
    fill(disk)
    for meter in METERS:
        store.add(meter, HOURLY, hours(START, 24))
    store.flush()
    assert store.status().buffered == 2400
    assert store.readings("M001", HOURLY, START, START + DAY) == hours(START, 24)
    (disk / "hog").unlink()
    clock.advance(hours=6, minutes=1)
    store.maintain()
    assert store.status().buffered == 0
    assert days(store) == ["2025-03-01"]
    store.close()


def test_what_waits_in_ram_is_bounded(disk):
    clock = HandClock(START + DAY)
    store = opened(disk / "store", clock, *METERS, ballast=1 << 20, commit_rows=1000)
    fill(disk)
    for hour in range(0, 72, 6):
        clock.advance(hours=6)
        for meter in METERS:
            store.add(meter, HOURLY, hours(START + hour * HOUR, 6))
    assert store.status().buffered <= 2000
    assert store.status().discarded + store.status().refused >= 7200 - 2000
    assert "readings not kept" in alarms(store)
    store.close()


def test_collection_recovers_day_by_day_when_room_comes_back(disk):
    clock = HandClock(START + DAYS * DAY)
    store = collected(disk / "store", clock)
    for number in range(DAYS):
        fill(disk, f"hog{number}")
        store.critical.put("push", b"x" * 4000)
    lost = DAYS - len(days(store))
    assert lost >= 2
    for hog in disk.glob("hog*"):
        hog.unlink()
    for _ in range(2 * DAYS):
        clock.advance(minutes=1)
        store.maintain()
        for meter, gaps in store.all_gaps(METERS, HOURLY, START, START + DAYS * DAY, HOUR).items():
            for low, high in gaps:
                store.add(meter, HOURLY, hours(low, (high - low) // HOUR))
        store.flush()
    assert store.status().ballast
    assert len(days(store)) == DAYS
    for meter in METERS:
        assert store.readings(meter, HOURLY, START, START + DAYS * DAY) == hours(START, DAYS * 24)
    store.close()
    assert check(disk / "store").ok


def test_a_store_opens_on_a_full_disk(disk):
    clock = HandClock(START + DAYS * DAY)
    collected(disk / "store", clock).close()
    fill(disk)
    store = opened(disk / "store", clock, ballast=1 << 20)
    assert not list((disk / "store").glob("critical.db.damaged")), "an I/O error of a full disk is no damage"
    assert "given up to start at all" in alarms(store)
    store.critical.put("push", b"x" * 4000)
    assert len(store.readings("M001", HOURLY, START + 5 * DAY, START + 6 * DAY)) == 24
    store.close()
