"""The asynchronous face: one writer thread, or inline under virtual time."""

import asyncio
import threading

import pytest

from dcu.errors import CounterReplayed, StoreError
from dcu.store import Settings, Store
from tests.store.tools import COLUMNS, DAY, HOUR, HOURLY, START, HandClock, hours

SETTINGS = Settings(ballast=0)


@pytest.fixture(params=[True, False], ids=["inline", "thread"])
async def store(request, tmp_path):
    store = await Store.open(tmp_path, clock=HandClock(START + DAY), settings=SETTINGS, inline=request.param)
    await store.add_meters((f"M{n}", f"tcp://192.0.2.{n}:4059", "generic", bytes([n] * 8)) for n in range(20))
    yield store
    await store.close()


async def test_a_street_goes_through_the_whole_interface(store):
    meter = await store.add_meter("M3", "udp://192.0.2.3:4059", "generic", b"EXM\0\0\0\0\3")
    assert (await store.meter("M3")) == meter
    await store.set_layout("M3", HOURLY, COLUMNS)
    assert await store.layout("M3", HOURLY) == COLUMNS
    assert await store.profiles("M3") == [HOURLY]
    assert await store.add("M3", HOURLY, hours(START, 20)) == 20
    assert await store.gaps("M3", HOURLY, START, START + DAY, HOUR) == [(START + 20 * HOUR, START + DAY)]
    assert list(await store.all_gaps(["M3"], HOURLY, START, START + 20 * HOUR, HOUR)) == []
    await store.flush()
    await store.maintain()
    assert await store.readings("M3", HOURLY, START, START + 2 * HOUR) == hours(START, 2)
    assert (await store.status()).last_day == "2025-03-01"
    await store.quarantine("M3", "nonsense")
    assert [meter.name for meter in await store.meters() if meter.reason] == ["M3"]
    await store.release("M3")
    seq = await store.accept_push("M3", 5, b"door")
    with pytest.raises(CounterReplayed):
        await store.accept_push("M3", 5, b"door")
    assert await store.receive_floor("M3") == 5
    assert [item.seq for item in await store.pending()] == [seq]
    assert await store.ack([seq]) == 1
    assert await store.put("event", b"") == seq + 1
    await store.audit("operator", "read", "M3")
    assert (await store.audit_log())[0].action == "read"
    await store.remember("a", b"1")
    await store.remember_all({"b": b"2"})
    assert await store.recall("b") == b"2"


async def test_counters_asked_for_together_are_reserved_together_and_never_overlap(store):
    assert await store.counter("M1") is None
    for number in range(20):
        await store.raise_counter(f"M{number}", 7)
    got = await asyncio.gather(*(store.reserve_counters(f"M{n % 20}", 10) for n in range(60)))
    for number in range(20):
        own = sorted((taken for n, taken in enumerate(got) if n % 20 == number), key=lambda taken: taken.start)
        assert [value for taken in own for value in taken] == list(range(7, 37))


async def test_one_meters_missing_counter_does_not_fail_the_others(store):
    await store.raise_counter("M1", 0)
    results = await asyncio.gather(
        store.reserve_counters("M1", 5), store.reserve_counters("M2", 5), return_exceptions=True
    )
    assert results[0] == range(5)
    assert isinstance(results[1], StoreError)


async def test_a_cancelled_reservation_costs_counters_and_nothing_else(store):
    await store.raise_counter("M1", 0)
    task = asyncio.create_task(store.reserve_counters("M1", 100))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert (await store.reserve_counters("M1", 1)).start in (0, 100)


async def test_a_store_in_use_is_refused_and_leaves_no_thread(store, tmp_path):
    before = threading.active_count()
    with pytest.raises(StoreError, match="in use by process"):
        await Store.open(tmp_path, clock=HandClock(START))
    await asyncio.sleep(0.05)
    assert threading.active_count() <= before


async def test_the_loop_stays_free_while_the_disk_works(tmp_path):
    store = await Store.open(tmp_path, clock=HandClock(START + DAY), settings=SETTINGS)
    busy, released = threading.Event(), threading.Event()

    def slow() -> None:
        busy.set()
        released.wait(10)

    task = asyncio.create_task(store._run(slow))
    while not busy.is_set():
        await asyncio.sleep(0.001)
    released.set()
    await task
    await store.close()
