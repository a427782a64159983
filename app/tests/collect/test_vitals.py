"""A collector with one dead subsystem starves systemd's watchdog, whatever else still runs."""

import asyncio
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest

from dcu.collect import process, vitals
from dcu.collect.scheduler import JobState
from dcu.collect.vitals import Vitals
from dcu.errors import StoreError

pytestmark = pytest.mark.looptime


class Body:
    """What a collector's vital signs come from, each of which can be stopped."""

    def __init__(self):
        self.store_lives = self.scheduler_lives = True
        self.busy = True
        self.steps = 0
        self.store = SimpleNamespace(status=self.status)
        self.medium = SimpleNamespace(exchanges=0)
        self.scheduler = SimpleNamespace(attempts=0, done=0, failed=0, number=self.number)

    async def status(self):
        if not self.store_lives:
            await asyncio.Event().wait()
        raise StoreError("the disk is full")  # the writer thread answers: it lives

    def number(self, state):
        return int(self.busy and state is JobState.RUNNING)

    async def work(self):
        while True:
            await asyncio.sleep(100)
            self.medium.exchanges += self.scheduler_lives


@asynccontextmanager
async def living(monkeypatch):
    made = Body()
    loop = asyncio.get_running_loop()
    made.told = []
    monkeypatch.setattr(vitals, "monotonic", loop.time)
    monkeypatch.setattr(process, "notify", lambda what: made.told.append((loop.time(), what)))
    signs = Vitals(made.store, made.scheduler, [made.medium])
    tasks = [asyncio.create_task(each) for each in (made.work(), signs.keep(), signs.feed(60.0))]
    await asyncio.sleep(100)
    made.since = loop.time()
    yield made
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def starved(body):
    """How many seconds after `since` it was fed for the last time."""
    return max(at for at, what in body.told if what == "WATCHDOG=1") - body.since


async def test_it_is_fed_three_times_in_each_period_for_as_long_as_all_is_well(monkeypatch):
    async with living(monkeypatch) as body:
        await asyncio.sleep(3500)
        assert {what for _, what in body.told} == {"WATCHDOG=1"}
        assert len(body.told) == pytest.approx(180, abs=2)


async def test_a_store_writer_that_hangs_starves_it(monkeypatch):
    async with living(monkeypatch) as body:
        body.store_lives = False
        await asyncio.sleep(600)
        assert starved(body) <= vitals.STORE_WITHIN + 1
        assert "STATUS=stuck: store writer" in [what for _, what in body.told]


async def test_a_scheduler_that_stands_still_with_work_to_do_starves_it(monkeypatch):
    async with living(monkeypatch) as body:
        body.scheduler_lives = False
        await asyncio.sleep(2000)
        assert starved(body) <= vitals.SCHEDULER_WITHIN + 21
        assert "STATUS=stuck: scheduler" in [what for _, what in body.told]


async def test_a_scheduler_with_nothing_to_do_does_not(monkeypatch):
    async with living(monkeypatch) as body:
        body.busy = body.scheduler_lives = False
        await asyncio.sleep(3600)
        assert {what for _, what in body.told} == {"WATCHDOG=1"}


async def test_a_medium_that_must_wait_for_air_is_given_the_time():
    made = Body()
    signs = Vitals(made.store, made.scheduler, [made.medium], air=5.0 / 0.001)
    assert [part.within for part in signs.look() if part.name == "scheduler"] == [10_000]
