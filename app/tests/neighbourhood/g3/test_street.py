"""The whole street in one process: driver, modem, line, meters and collector, compared with the truth."""

import asyncio
import json
import logging
import shutil
from dataclasses import replace

import pytest

from dcu.fan.base import Change, Standing
from dcu.web import page
from neighbourhood import cli
from neighbourhood.g3 import clockwork, live, show, terminal
from neighbourhood.g3.events import Scheduler
from neighbourhood.g3.show import Options
from neighbourhood.g3.street import Collecting, Scene, Street, collected, collecting
from neighbourhood.g3.tables import NOT_JOINED
from neighbourhood.g3.watched import gathered
from neighbourhood.meter import Event

SMALL = Scene(meters=8)
ROGUE = 4  # of a street of three homes


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


def test_a_street_starts_without_an_error(tmp_path, caplog):
    street = Street.build(replace(SMALL, meters=1))

    async def main(loop):
        async with collecting(street, tmp_path, loop.enter) as house:
            await house.up()

    clockwork.run(main, street.line.scheduler)
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []


def test_canary_a_network_without_its_key_says_how_to_give_it(tmp_path, caplog, monkeypatch):
    street = Street.build(replace(SMALL, meters=1))
    given = Collecting.keyed

    async def late(house):
        pass

    monkeypatch.setattr(Collecting, "keyed", late)

    async def main(loop):
        async with collecting(street, tmp_path, loop.enter) as house:
            await asyncio.sleep(1)
            assert not house.topology().up
            await given(house)
            await house.up()

    clockwork.run(main, street.line.scheduler)
    (error,) = (record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR)
    assert "dcu network import street" in error


def attempted(tmp_path, *, allowed=(), knows_psk=False):
    """A rogue in a street of three homes tries to join for a quarter of an hour. Returns the street, and what its
    network told."""
    street = Street.build(replace(SMALL, meters=3, intruders=(2,), allowed=allowed))
    if knows_psk:
        street.devices[ROGUE].psk = street.psk
    changes = []

    async def main(loop):
        async with collecting(street, tmp_path, loop.enter) as house:
            house.network.listen(lambda event: changes.append((event.change, event.eui64)))
            await house.up()
            await house.register()
            loop.enter(street.wake)
            await asyncio.sleep(900)

    clockwork.run(main, street.line.scheduler)
    for home in (1, 2, 3):
        assert (Change.JOINED, street.line.nodes[home].eui64) in changes
    return street, changes


def test_a_stranger_never_joins_and_is_an_alarm(tmp_path):
    street, changes = attempted(tmp_path)
    rogue = street.line.nodes[ROGUE]
    assert (Change.REFUSED, rogue.eui64) in changes
    assert (Change.JOINED, rogue.eui64) not in changes
    assert rogue.keys == {}
    assert street.modem.server.refused == 0  # it is declined before it may prove anything


def test_a_rogue_on_the_white_list_fails_at_the_pre_shared_key(tmp_path):
    street, changes = attempted(tmp_path, allowed=(ROGUE,))
    rogue = street.line.nodes[ROGUE]
    assert street.modem.server.refused >= 1
    assert (Change.REFUSED, rogue.eui64) not in changes
    assert (Change.JOINED, rogue.eui64) not in changes
    assert rogue.keys == {}
    assert rogue.short == NOT_JOINED


def test_canary_the_same_rogue_joins_with_the_right_pre_shared_key(tmp_path):
    street, changes = attempted(tmp_path, allowed=(ROGUE,), knows_psk=True)
    rogue = street.line.nodes[ROGUE]
    assert street.modem.server.refused == 0
    assert (Change.JOINED, rogue.eui64) in changes
    assert rogue.keys == street.line.nodes[1].keys


def test_a_rogue_given_on_the_command_line_never_joins_and_the_outcome_says_so(capsys):
    assert cli.run(["demo", "--meters", "3", "--no-cut", "--rogue", "2", "--json"]) == 0
    outcome = json.loads(capsys.readouterr().out)
    (rogue,) = outcome["rogues"]
    assert (rogue["home"], rogue["joined"]) == (2, False)
    assert rogue["attempts"] >= rogue["refused"] >= 1
    assert outcome["ok"]


def test_canary_a_rogue_that_joins_spoils_the_outcome(monkeypatch):
    build = Street.build

    def leaky(scene, trace=None):
        street = build(scene, trace)
        street.devices[ROGUE].psk = street.psk
        return street

    monkeypatch.setattr(Street, "build", leaky)
    outcome = show.run(Options(replace(SMALL, meters=3).with_rogues((2,)), cut=False), quiet)
    assert outcome.verdict.good
    assert outcome.rogues[0].joined
    assert not outcome.good
    shutil.rmtree(outcome.kept)


@pytest.mark.parametrize("arguments", [["--rogue", "4"], ["--rogue", "0"], ["--rogue", "1", "--sockets"]])
def test_a_rogue_that_cannot_be_is_a_wrong_argument(arguments):
    assert cli.run(["demo", "--meters", "3", *arguments]) == 2


def test_a_live_street_gets_its_rogues_from_the_command_line(monkeypatch):
    scenes = []

    async def serve(scene, **_):
        scenes.append(scene)

    monkeypatch.setattr(live, "serve", serve)
    assert cli.run(["live", "--meters", "8", "--rogue", "2", "--rogue", "5"]) == 0
    assert (scenes[0].intruders, scenes[0].allowed) == ((2, 5), (9, 10))


def test_a_relay_that_reboots_joins_again_and_the_collection_goes_on(tmp_path):
    street = Street.build(replace(SMALL, meters=16))
    joins = []
    street.line.trace.listen(lambda event: event["e"] == "join" and joins.append((event["node"], event["state"])))

    async def main(loop):
        async with collecting(street, tmp_path, loop.enter) as house:
            await house.up()
            await house.register()
            loop.enter(street.wake)
            while gathered(house) < 8 * 24:
                await asyncio.sleep(1)
            relay = relay_of(street)
            joins.clear()
            loop.enter(street.line.reboot, relay)
            while any(meter.readings < 24 for meter in house.collector.fleet) or (relay, "joined") not in joins:
                await asyncio.sleep(5)
                house.collector.polling.poll_now(m for m in house.collector.fleet if m.readings < 24)
                assert loop.time() < 4 * 3600
            assert {node.standing for node in house.topology().nodes} == {Standing.JOINED}

    clockwork.run(main, street.line.scheduler)


def relay_of(street):
    """A home by which another one's way to the concentrator goes."""
    nodes = street.line.nodes[1:]
    nexts = {node.routes[0].next for node in nodes if 0 in node.routes} - {0}
    return next(node.number for node in nodes if node.short in nexts)


def test_after_a_blackout_all_join_again_and_are_read(tmp_path):
    street = Street.build(replace(SMALL, meters=4))

    async def main(loop):
        async with collecting(street, tmp_path, loop.enter) as house:
            await house.up()
            await house.register()
            loop.enter(street.wake)
            await collected(house)
            loop.enter(street.line.blackout)
            assert street.joined == 0
            await asyncio.sleep(60)
            assert street.joined == 0
            loop.enter(street.line.restore)
            while street.joined < 4:
                await asyncio.sleep(5)
                assert loop.time() < 4 * 3600
            for meter in street.fleet.meters:
                await house.call("read", meter=meter.serial, objects=["8,0-0:1.0.0*255,2"], timeout=300.0)

    clockwork.run(main, street.line.scheduler)


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
