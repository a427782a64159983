"""The collector when the mains fail, with simulated meters under virtual time: it stops, keeps, tells, and goes on."""

import asyncio
import json
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from dcu.collect.fleet import Fleet
from dcu.collect.outage import Outage, PowerEvent
from dcu.collect.polling import Polling
from dcu.collect.powerfail import Stage, Terms
from dcu.collect.retry import Backoff
from dcu.errors import LinkClosed
from dcu.model import Obis
from tests.collect.rig import DAY, HOUR, PROFILE, rig
from tests.collect.test_profile import expected

pytestmark = pytest.mark.looptime

NOTICE = 20.0
TERMS = Terms(commit=0.5, send=2.0, note=0.5, off_before=2.0)
PROFILE_OBIS = Obis.parse(PROFILE)


class Line:
    """/dev/lastgasp, by hand."""

    def __init__(self, street):
        self._street = street
        self._events = asyncio.Queue()
        self.finished = []
        self.switched_off = []
        self.opened = self.closed = 0

    def open(self):
        self.opened += 1
        return self

    async def event(self):
        event = await self._events.get()
        if isinstance(event, Exception):
            raise event
        return event

    def done(self):
        self.finished.append(self._street.now())

    def off(self):
        self.switched_off.append(self._street.now())

    def close(self):
        self.closed += 1

    def fail(self, notice=NOTICE):
        self._events.put_nowait(PowerEvent(True, self._street.services.clock.now(), notice))

    def come_back(self):
        self._events.put_nowait(PowerEvent(False, self._street.services.clock.now()))

    def breaks(self):
        self._events.put_nowait(LinkClosed("the module was unloaded"))


class HeadEnd:
    def __init__(self, street, takes=0.0):
        self._street = street
        self._takes = takes
        self.told = []
        self.prepared = 0

    async def tell(self, at, left):
        self.told.append((self._street.now(), at, left))
        await asyncio.sleep(self._takes)
        return 3

    async def prepare(self):
        self.prepared += 1


@asynccontextmanager
async def guarded(path, meters=3, takes=0.0, command=True, **options):
    async with rig(path, meters, **options) as street:
        polling = Polling(street.services, street.fleet, street.scheduler, retry=Backoff())
        street.line, street.head_end, street.off = Line(street), HeadEnd(street, takes), []

        async def power_off():
            street.off.append(street.now())

        outage = Outage(
            street.services, street.fleet, street.scheduler, power_off if command else None,
            terms=TERMS, hold_up=30.0, notifier=street.head_end,
        )  # fmt: skip
        watching = asyncio.create_task(outage.watch(street.line.open))
        street.outage, street.polling = outage, polling
        try:
            yield street
        finally:
            street.services.store.thaw()
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            await polling.stop()


def contents(directory):
    return {path.name: path.read_bytes() for path in Path(directory).iterdir() if path.is_file()}


async def failed(street, directory, seconds):
    """Let the mains fail now; return what is wrong with the next `seconds`: an oracle that is put to the test below."""
    street.line.fail()
    await asyncio.sleep(0.001)  # the event is heard
    begun, wrong = len(street.seen), []
    in_time = street.now() + TERMS.commit * (NOTICE - TERMS.off_before)
    frozen = None
    end = street.now() + seconds
    while street.now() < end:
        await asyncio.sleep(0.1)
        if len(street.seen) > begun + street.medium.concurrency:
            wrong.append("exchanges went on")
        if street.store.frozen and frozen is None:
            frozen = contents(directory)
        if frozen is not None and street.store.frozen and contents(directory) != frozen:
            wrong.append("written behind the gate")
        if not street.head_end.told and street.now() > in_time + 0.1:
            wrong.append("the head-end was not told in time")
    return sorted(set(wrong))


async def test_when_the_mains_fail_exchanges_stop_the_store_is_kept_and_the_head_end_told(tmp_path):
    async with guarded(tmp_path) as street:
        street.polling.start()
        while not (await street.store.status()).buffered:
            await asyncio.sleep(0.3)
        assert street.scheduler.jobs()
        assert (await street.store.status()).days == 0
        at = street.services.clock.now()
        assert await failed(street, tmp_path, 17.0) == []
        kept = await street.store.status()
        assert kept.days > 0
        assert kept.buffered <= 24  # what the exchange under way brought when all was committed: it waits in RAM
        _, told, left = street.head_end.told[0]
        assert abs((told - at).total_seconds()) < 0.01
        assert 0 < left <= NOTICE + 1e-6
        assert len(street.line.finished) == 1
        assert street.store.frozen
        assert street.off == []
        await asyncio.sleep(5)
        assert len(street.off) == 1
        assert street.outage.stage is Stage.OFF


async def test_mains_that_come_back_inside_the_window_let_everything_go_on_as_before(tmp_path):
    async with guarded(tmp_path) as street:
        street.polling.start()
        await asyncio.sleep(12.3)
        assert await failed(street, tmp_path, 10.0) == []
        street.line.come_back()
        await asyncio.sleep(120)
        assert street.outage.stage is Stage.POWERED
        assert street.off == []
        assert street.head_end.prepared == 1
        assert {job.state for job in street.scheduler.jobs(ended=True)} == {"done"}
        end = street.second() // HOUR * HOUR
        for meter in street.street.meters:
            rows = await street.store.readings(meter.serial, PROFILE_OBIS, end - DAY, end)
            assert [(row.timestamp, row.values) for row in rows] == expected(street, meter.number - 1, end - DAY, end)
        alarms = [json.loads(item.payload)["event"] for item in await street.store.pending(kind="alarm")]
        assert alarms == ["power-fail", "power-return"]
        assert [alarm["kind"] for alarm in street.events("alarm")] == ["power-return"]
        audited = [entry.action for entry in reversed(await street.store.audit_log())]
        assert [action for action in audited if action.startswith("power")] == ["power-fail", "power-return"]


async def test_one_outage_after_the_other_each_has_its_packet(tmp_path):
    async with guarded(tmp_path) as street:
        for _ in range(3):
            street.line.fail()
            await asyncio.sleep(3.0)
            assert street.store.frozen
            street.line.come_back()
            await asyncio.sleep(0.5)
            assert not street.store.frozen
        assert len(street.head_end.told) == 3
        assert street.head_end.prepared == 3
        assert len(street.line.finished) == 3


async def test_a_disk_that_hangs_keeps_nobody_from_telling_and_switching_off(tmp_path, monkeypatch):
    async with guarded(tmp_path) as street:

        async def hang(seconds):
            await asyncio.sleep(1e6)

        monkeypatch.setattr(street.store, "flush_within", hang)
        begun = street.now()
        assert await failed(street, tmp_path, 25.0) == []
        assert street.head_end.told[0][0] == pytest.approx(begun + 9.0, abs=0.1)
        assert street.off == [pytest.approx(begun + 18.0, abs=0.1)]
        assert await street.store.pending(kind="alarm") == []


async def test_a_flush_that_raises_freezes_the_store_at_once(tmp_path, monkeypatch):
    async with guarded(tmp_path) as street:

        async def broken(seconds):
            raise OSError("eMMC gone")

        monkeypatch.setattr(street.store, "flush_within", broken)
        assert await failed(street, tmp_path, 1.0) == []
        assert street.store.frozen
        assert len(street.head_end.told) == 1


async def test_a_network_that_hangs_keeps_nobody_from_switching_off(tmp_path):
    async with guarded(tmp_path, takes=1e6) as street:
        begun = street.now()
        await failed(street, tmp_path, 20.0)
        assert street.store.frozen
        assert street.off == [pytest.approx(begun + 18.0, abs=0.1)]


async def test_without_a_command_the_device_is_asked_to_switch_off_and_may_find_the_mains_back(tmp_path):
    async with guarded(tmp_path, command=False) as street:
        begun = street.now()
        street.line.fail()
        await asyncio.sleep(18.5)
        assert street.line.switched_off == [pytest.approx(begun + 18.0, abs=0.1)]
        assert street.outage.stage is Stage.OFF
        street.line.come_back()
        await asyncio.sleep(5.0)
        assert street.outage.stage is Stage.POWERED
        assert not street.store.frozen
        assert [alarm["kind"] for alarm in street.events("alarm")] == ["power-return"]
        street.line.fail()
        await asyncio.sleep(20.0)
        assert len(street.line.switched_off) == 2
        assert len(street.head_end.told) == 2


async def test_without_an_end_named_by_the_device_the_configured_one_holds(tmp_path):
    async with guarded(tmp_path) as street:
        begun = street.now()
        street.line.fail(notice=None)
        await asyncio.sleep(40)
        assert street.off == [pytest.approx(begun + 28.0, abs=0.1)]


async def test_a_line_that_breaks_is_opened_again(tmp_path):
    async with guarded(tmp_path) as street:
        await asyncio.sleep(1)
        street.line.breaks()
        await asyncio.sleep(70)
        assert (street.line.opened, street.line.closed) == (2, 1)
        street.line.fail()
        await asyncio.sleep(3)
        assert street.store.frozen


async def test_a_collector_that_is_stopped_in_an_outage_holds_nobody(tmp_path):
    async with guarded(tmp_path) as street:
        street.polling.start()
        await asyncio.sleep(5)
        street.line.fail()
        await asyncio.sleep(0.1)
    assert street.scheduler.jobs() == []  # closed: nobody waits for a medium for ever


# --- canaries


async def test_canary_a_collector_that_goes_on_reading_is_caught(tmp_path, monkeypatch):
    monkeypatch.setattr(Fleet, "hold", lambda self: None)
    async with guarded(tmp_path) as street:
        street.polling.start()
        await asyncio.sleep(5)
        assert "exchanges went on" in await failed(street, tmp_path, 8.0)


async def test_canary_a_write_behind_the_gate_is_caught(tmp_path, monkeypatch):
    async with guarded(tmp_path) as street:
        freeze = street.store.freeze

        def leaky():
            freeze()
            street.store.archive.gate.shut = False  # told to be frozen, and is not
            street.store.archive.critical.put("alarm", b"late")
            street.store.archive.gate.shut = True
            asyncio.get_running_loop().call_later(2.0, write)

        def write():
            street.store.archive.gate.shut = False
            street.store.archive.critical.put("alarm", b"later")
            street.store.archive.gate.shut = True

        monkeypatch.setattr(street.store, "freeze", leaky)
        assert await failed(street, tmp_path, 8.0) == ["written behind the gate"]
