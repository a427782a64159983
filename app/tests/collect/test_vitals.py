"""A collector with one dead subsystem starves systemd's watchdog, whatever else still runs."""

import asyncio
import threading
import time
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest

from dcu.collect import vitals
from dcu.collect.polling import NAP, Polling
from dcu.collect.retry import Backoff
from dcu.collect.scheduler import JobState
from dcu.collect.vitals import Vitals
from dcu.collector import UPLINK_WITHIN
from dcu.errors import StoreError
from dcu.platform import service
from dcu.platform.watchdog import Feeder, Liveness
from dcu.uplink.notifier import Notifier
from tests.collect.rig import rig

FED = 60.0  # seconds of WatchdogSec: it is fed every third of it


class Body:
    """What a collector's vital signs come from, each of which can be stopped."""

    def __init__(self):
        self.store_lives = self.scheduler_lives = self.schedule_lives = self.uplink_lives = True
        self.busy = True
        self.store = SimpleNamespace(status=self.status, frozen=False)
        self.medium = SimpleNamespace(exchanges=0)
        self.polling = SimpleNamespace(turns=0, running=True)
        self.scheduler = SimpleNamespace(attempts=0, done=0, failed=0, number=self.number)

    async def status(self):
        if not self.store_lives:
            await asyncio.Event().wait()
        raise StoreError("the disk is full")  # the writer thread answers: it lives

    def number(self, state):
        return int(self.busy and state is JobState.RUNNING)

    async def work(self):
        while True:
            await asyncio.sleep(NAP)
            self.medium.exchanges += self.scheduler_lives
            self.polling.turns += self.schedule_lives

    async def ready(self):
        """Of the notifier's sender: what hangs is the name service."""
        if not self.uplink_lives:
            await asyncio.Event().wait()


class Uplink(Notifier):
    async def _make_packets(self):
        pass

    def _take_key(self):
        pass


@asynccontextmanager
async def living(monkeypatch):
    made = Body()
    loop = asyncio.get_running_loop()
    made.told = []
    monkeypatch.setattr(vitals, "monotonic", loop.time)
    monkeypatch.setattr(service, "notify", lambda what: made.told.append((loop.time(), what)))
    signs = Vitals(made.store, made.polling, made.scheduler, [made.medium])
    uplink = Uplink(SimpleNamespace(store=made.store), made, repeat=1)
    beat = signs.liveness.beating("uplink", UPLINK_WITHIN)
    tasks = [asyncio.create_task(each) for each in (made.work(), signs.keep(), uplink.keep(beat), signs.feed(FED))]
    await asyncio.sleep(100)
    made.since = loop.time()
    yield made
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


STUCK = {
    "store writer": ("store_lives", vitals.STORE_WITHIN),
    "scheduler": ("scheduler_lives", vitals.SCHEDULER_WITHIN),
    "schedule": ("schedule_lives", vitals.SCHEDULE_WITHIN),
    "uplink": ("uplink_lives", UPLINK_WITHIN),
}


async def starved(body, name):
    """Stop a subsystem; return what is wrong with what systemd hears then: an oracle, put to the test below."""
    attribute, within = STUCK[name]
    setattr(body, attribute, False)
    await asyncio.sleep(within + 10 * FED)
    last = max(at for at, what in body.told if what == "WATCHDOG=1") - body.since
    wrong = ["fed too long"] * (last > within + FED / 3 + 1)  # it may have moved just after the look before
    return wrong + ["not named"] * (f"STATUS=stuck: {name}" not in [what for _, what in body.told])


@pytest.mark.looptime
async def test_it_is_fed_three_times_in_each_period_for_as_long_as_all_is_well(monkeypatch):
    async with living(monkeypatch) as body:
        await asyncio.sleep(3500)
        assert {what for _, what in body.told} == {"WATCHDOG=1"}
        assert len(body.told) == pytest.approx(180, abs=2)


@pytest.mark.looptime
@pytest.mark.parametrize("name", STUCK)
async def test_a_subsystem_that_stands_still_starves_it_and_is_named(monkeypatch, name):
    async with living(monkeypatch) as body:
        assert await starved(body, name) == []


@pytest.mark.looptime
@pytest.mark.parametrize("name", STUCK)
async def test_canary_a_collector_that_is_fed_for_only_being_there_is_caught(monkeypatch, name):
    monkeypatch.setattr(Liveness, "look", lambda self: ())
    async with living(monkeypatch) as body:
        assert await starved(body, name) == ["fed too long", "not named"]


@pytest.mark.looptime
async def test_a_scheduler_with_nothing_to_do_is_alive(monkeypatch):
    async with living(monkeypatch) as body:
        body.busy = body.scheduler_lives = False
        await asyncio.sleep(3600)
        assert {what for _, what in body.told} == {"WATCHDOG=1"}


@pytest.mark.looptime
async def test_a_collector_that_does_not_poll_is_alive(monkeypatch):
    async with living(monkeypatch) as body:
        body.polling.running = body.schedule_lives = False
        await asyncio.sleep(3600)
        assert {what for _, what in body.told} == {"WATCHDOG=1"}


@pytest.mark.looptime
async def test_a_medium_that_must_wait_for_air_is_given_the_time():
    made = Body()
    signs = Vitals(made.store, made.polling, made.scheduler, [made.medium], air=5.0 / 0.001)
    assert [part.within for part in signs.look() if part.name == "scheduler"] == [10_000]


@pytest.mark.looptime
async def test_a_schedule_turns_as_long_as_each_of_its_entries_does(tmp_path):
    async with rig(tmp_path, 1) as street:
        polling = Polling(street.services, street.fleet, street.scheduler, retry=Backoff())
        assert not polling.running
        polling.start()
        assert len(polling._tasks) > 1
        await asyncio.sleep(1)
        for _ in range(20):
            before = polling.turns
            await asyncio.sleep(2 * NAP)
            assert polling.turns > before
        polling._tasks[0].cancel()  # one entry dies, by a bug of ours
        await asyncio.sleep(2 * NAP)
        before = polling.turns
        await asyncio.sleep(vitals.SCHEDULE_WITHIN)
        assert polling.turns == before
        assert polling.running
        await polling.stop()
        assert not polling.running


# --- the event loop: in real time, for virtual time has no loop that hangs


def fed_during(hang, feeding):
    """Run a loop that hangs for `hang` seconds; return how often its watchdog was fed in that time."""
    told = []

    async def life():
        signs = Vitals(body.store, body.polling, body.scheduler, [body.medium])
        feed = feeding(signs)
        keep = asyncio.create_task(signs.keep())
        await asyncio.sleep(0.3)
        began = time.monotonic()
        time.sleep(hang)
        ended = time.monotonic()
        for task in (feed, keep):
            task.cancel()
        await asyncio.gather(feed, keep, return_exceptions=True)
        assert told
        return sum(began < at < ended for at in told)

    body = Body()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(service, "notify", lambda what: told.append(time.monotonic()))
        return asyncio.run(life())


def test_an_event_loop_that_hangs_starves_it():
    assert fed_during(1.0, lambda signs: asyncio.ensure_future(signs.feed(0.3))) == 0


def test_canary_a_thread_that_feeds_beside_a_loop_that_hangs_is_caught():
    def beside(signs):
        ended = threading.Event()
        feeder = Feeder(signs.liveness, service.notify, lambda what: None)

        def run():
            while not ended.wait(0.1):
                feeder.feed()

        threading.Thread(target=run, daemon=True).start()

        async def until():
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()

        return asyncio.ensure_future(until())

    assert fed_during(1.0, beside) > 0
