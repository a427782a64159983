"""SIGKILL the collector at random instants while it collects: nothing committed is lost, no counter is reused."""

import os
import time

import pytest

from neighbourhood import truth, verdict
from neighbourhood.identity import serial
from tests.crash.rig import SEED, Rig

KILLS = int(os.environ.get("DCU_CRASH_KILLS", "100"))
DRAW = int(os.environ.get("DCU_CRASH_SEED", "1"))
BLIND = """
from dcu.store.store import Store
async def reserve(store, meter, count, key, known={}):
    first = known.get(meter) or await store.counter(meter, key)
    known[meter] = first + count
    return range(first, first + count)
Store.reserve_counters = reserve
from dcu.cli.main import main; main()
"""
FORGETFUL = """
from dcu.store.archive import Archive
Archive.flush = lambda archive: None
from dcu.cli.main import main; main()
"""


async def imported(rig):
    """One life in which the meters are made known."""
    await rig.spawn()
    async with await rig.control() as client:
        key = (rig.folder / "transport.key").read_text().strip()
        text = (rig.folder / "shipment.toml").read_text()
        assert len((await client.call("meters.import", shipment=text, transport_key=key))["imported"]) == rig.meters
    await rig.kill()


@pytest.fixture
async def rig(tmp_path, request):
    rig = Rig(tmp_path, *request.param, seed=DRAW)
    try:
        await rig.open_street()
        yield rig
    finally:
        await rig.close()


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("rig", [pytest.param((100, 80), id="100 meters, 80 days")], indirect=True)
async def test_killed_at_any_instant_the_collector_loses_nothing_and_reuses_no_counter(rig):
    last = int(time.time() - 60) // truth.HOUR * truth.HOUR
    await imported(rig)
    for _ in range(KILLS):
        await rig.live_and_die()
        await rig.examine()
    assert rig.promises.flushes > KILLS // 4
    assert sum(rig.promises.audited.values()) > KILLS // 4
    expected = rig.meters * rig.days * 24
    assert 0 < rig.rows < expected, "all was collected before the last kill: the later ones proved less"
    await healed(rig)
    names = {serial(SEED, number): number for number in range(1, rig.meters + 1)}
    first = last - (rig.days - 1) * truth.DAY
    found = (row for row in verdict.stored(rig.folder / "store") if first <= row.timestamp <= last)
    judged = verdict.judge(found, names, first, last, truth.HOUR, verdict.truth_of(SEED))
    assert judged.good, judged
    assert (await rig.status())["counter_reuse"] == 0


async def healed(rig):
    """The last life: until every gap is closed, and then a stop in good order."""
    await rig.spawn()
    async with await rig.control() as client:
        await client.subscribe("job")
        while await client.call("jobs"):
            event = await anext(client.events())
            assert event.data["state"] == "done", event
    rig.collector.terminate()
    assert await rig.collector.wait() == 0
    await rig.examine()


@pytest.mark.timeout(120)
@pytest.mark.parametrize("rig", [pytest.param((3, 50), id="3 meters")], indirect=True)
async def test_canary_counters_that_are_used_before_they_are_persisted_are_found_out(rig):
    await imported(rig)
    rig.command = BLIND
    for _ in range(3):
        await rig.spawn()
        async with await rig.control() as client:
            while not (await client.call("status"))["readings"]:
                pass
        await rig.kill()
    with pytest.raises(AssertionError, match=r"GDM|counter"):
        await rig.examine()


@pytest.mark.timeout(120)
@pytest.mark.parametrize("rig", [pytest.param((10, 5), id="10 meters")], indirect=True)
async def test_canary_a_flush_that_commits_nothing_is_found_out(rig):
    await imported(rig)
    rig.command = FORGETFUL
    while not rig.promises.readings:
        await rig.live_and_die()
    with pytest.raises(AssertionError, match="was flushed"):
        await rig.examine()
