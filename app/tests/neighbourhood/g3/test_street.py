"""The whole street in one process: driver, modem, line, meters and collector, compared with the truth."""

import asyncio
from dataclasses import replace

import pytest

from dcu.fan.base import Change, Standing
from dcu.web import page
from neighbourhood.g3 import clockwork, show, terminal
from neighbourhood.g3.events import Scheduler
from neighbourhood.g3.show import Options
from neighbourhood.g3.street import Scene, Street, collected, collecting
from neighbourhood.meter import Event

SMALL = Scene(meters=8)


def quiet(*_):
    pass


@pytest.mark.slow
def test_a_small_street_joins_is_read_loses_a_cable_and_every_reading_is_right(tmp_path):
    recording = tmp_path / "street.html"
    outcome = show.run(Options(replace(SMALL, meters=16), recording=recording), quiet)
    assert outcome.good, outcome.verdict.examples
    assert outcome.verdict.readings == 16 * 24
    assert outcome.cable is not None
    assert {way.readings for way in outcome.ways} == {24}
    assert max(way.hops for way in outcome.ways) >= 2
    assert {"LBP", "RREQ", "RREP", "AARQ", "AARE", "GET", "RESPONSE", "ACK"} <= outcome.air.keys()
    assert 0 < outcome.share < 1
    assert recording.read_text().startswith(page.html()[:200])


@pytest.mark.parametrize("bent", [{"units": 1}, {"seconds": 3600}])
def test_canary_a_bent_truth_is_noticed(bent):
    outcome = show.run(Options(replace(SMALL, meters=3), cut=False, **bent), quiet)
    assert not outcome.good
    assert outcome.verdict.wrong == 3 * 24


def test_the_same_seed_gives_the_same_frames():
    first, second = (show.run(Options(replace(SMALL, meters=3), cut=False), quiet) for _ in range(2))
    assert first.air == second.air
    assert first.frames == second.frames


def test_a_joined_street_is_read_at_once(tmp_path):
    street = Street.build(replace(SMALL, joined=True))

    async def main(loop):
        async with collecting(street, tmp_path, loop.enter) as house:
            await house.up()
            await house.register()
            took = await collected(house)
            nodes = house.topology().nodes
            assert {node.standing for node in nodes} == {Standing.JOINED}
            assert street.homes.counts.requests < 12 * 8
            return took

    assert clockwork.run(main, street.line.scheduler) < 120


def test_the_rogue_never_joins_and_is_an_alarm(tmp_path):
    street = Street.build(replace(SMALL, meters=3, intruders=(2,)))
    changes = []

    async def main(loop):
        async with collecting(street, tmp_path, loop.enter) as house:
            house.network.listen(lambda event: changes.append((event.change, event.eui64)))
            await house.up()
            await house.register()
            loop.enter(street.wake)
            await asyncio.sleep(900)

    clockwork.run(main, street.line.scheduler)
    rogue = street.line.nodes[4].eui64
    assert (Change.REFUSED, rogue) in changes
    assert (Change.JOINED, rogue) not in changes
    assert street.line.nodes[4].keys == {}


def test_an_alarm_of_a_meter_passes_the_reading_of_others(tmp_path):
    street = Street.build(replace(SMALL, joined=True))

    async def main(loop):
        async with collecting(street, tmp_path, loop.enter) as house:
            heard = []
            house.collector.services.events.listen(
                lambda topic, data: heard.append((loop.time(), data["meter"])) if data.get("kind") == "push" else None
            )
            await house.up()
            await house.register()
            await asyncio.sleep(5)
            began = loop.time()
            loop.enter(street.homes.push, 3, Event.POWER_UP)
            while not heard:
                await asyncio.sleep(0.1)
            assert heard[0][1] == street.fleet.meters[2].serial
            return heard[0][0] - began

    assert clockwork.run(main, street.line.scheduler) < 5


def test_a_modem_that_reboots_and_a_noisy_serial_line_lose_no_reading(tmp_path):
    street = Street.build(replace(SMALL, meters=4, joined=False))

    async def main(loop):
        async with collecting(street, tmp_path, loop.enter) as house:
            await house.up()
            await house.register()
            loop.enter(street.wake)
            street.modem.lose_confirms = 0.1
            street.modem.uart.noise = 0.0002
            rebooting = asyncio.ensure_future(_reboot(loop, street))
            while any(meter.readings < 24 for meter in house.collector.fleet):
                await asyncio.sleep(5)
                house.collector.polling.poll_now(m for m in house.collector.fleet if m.readings < 24)
                assert loop.time() < 4 * 3600  # keys are drawn anew each time, so no two runs have the same losses
            rebooting.cancel()
            assert house.network.statistics()["reboots"] > 1

    clockwork.run(main, street.line.scheduler)


def test_a_new_group_key_reaches_everybody_and_meters_go_on_being_read(tmp_path):
    street = Street.build(replace(SMALL, joined=True))

    async def main(loop):
        async with collecting(street, tmp_path, loop.enter) as house:
            await house.up()
            await house.register()
            await collected(house)
            nodes = street.line.nodes
            old = nodes[1].keys[nodes[1].active_key]
            assert (await house.call("network.rekey", network="street")) == {"meters": 8}
            keys = {node.keys[node.active_key] for node in nodes}
            assert len(keys) == 1
            assert old not in keys
            for meter in street.fleet.meters:
                await house.call("read", meter=meter.serial, objects=["8,0-0:1.0.0*255,2"], timeout=300.0)

    clockwork.run(main, street.line.scheduler)


async def _reboot(loop, street):
    while True:
        await asyncio.sleep(60)
        loop.enter(street.modem.reboot)


@pytest.mark.slow
async def test_two_meters_over_a_pseudo_terminal_in_real_time():
    outcome = await terminal.run(Scene(meters=2), quiet, factor=10.0)
    assert outcome.good
    assert outcome.verdict.readings == 48


def test_virtual_time_follows_timers_and_the_line_and_waits_for_threads():
    scheduler, seen = Scheduler(), []

    async def main(loop):
        woken = asyncio.Event()
        scheduler.at(5.0, seen.append, "five")
        scheduler.at(7.0, woken.set)
        await asyncio.sleep(6)
        assert (seen, loop.time(), scheduler.now) == (["five"], 6.0, 5.0)
        await woken.wait()
        assert loop.time() == 7.0
        assert await asyncio.to_thread(lambda: "done") == "done"
        assert loop.time() == 7.0
        loop.enter(seen.append, "now")
        assert scheduler.now == 7.0

    clockwork.run(main, scheduler)


def test_virtual_time_says_when_nothing_will_ever_happen():
    async def main(loop):
        await asyncio.Event().wait()

    with pytest.raises(RuntimeError, match="nothing will ever happen"):
        clockwork.run(main)
