"""A new group key in phases: nobody is left behind, whatever happens in between."""

import asyncio

import pytest

from dcu.errors import LinkError
from dcu.fan.base import Change
from dcu.fan.g3 import reports, requests
from tests.fan.scripted import eui, rig

pytestmark = pytest.mark.looptime


def steps(modem):
    return [
        "distribute" if isinstance(each, requests.Rekey) and each.distribute
        else "activate" if isinstance(each, requests.Rekey)
        else "switch" if isinstance(each, requests.ActivateKey)
        else None
        for each in modem.log
    ]  # fmt: skip


async def test_every_meter_has_the_key_before_any_uses_it_and_the_coordinator_is_last():
    async with rig() as street:
        await street.joined(1, 2, 3)
        old = street.modem.keys[0]
        assert await street.network.rekey() == 3
        order = [step for step in steps(street.modem) if step]
        assert order == ["distribute"] * 3 + ["activate"] * 3 + ["switch"]
        assert street.modem.active == 1
        assert street.modem.keys[1] == street.vault.kept.group[1].reveal() != old
        assert old not in street.modem.keys.values()
        assert street.vault.kept.active == 1
        assert street.vault.kept.group[0] is None
        assert street.changes()[-1] is Change.REKEYED
        street.modem.secured()
        await street.network.survey.reserve(street.network.modem, 10)
        assert len(street.modem.frame_counters) == len(set(street.modem.frame_counters))


async def test_a_lost_confirm_is_asked_again_and_a_deaf_meter_holds_the_change_back():
    async with rig() as street:
        await street.joined(1, 2, 3)
        lost = [True]

        def bend(report):
            if isinstance(report, reports.JoinComplete) and report.eui64 == eui(2) and lost:
                return []
            return None

        street.modem.bend = bend
        with pytest.raises(LinkError, match="did not take the new group key"):
            await street.network.rekey()
        assert "activate" not in steps(street.modem)
        assert street.modem.active == 0
        lost.clear()
        await street.until(lambda: street.changes()[-1] is Change.REKEYED, within=1200)
        assert steps(street.modem).count("activate") == 3
        assert street.modem.active == 1


async def test_a_meter_that_nobody_spoke_to_gets_the_key_and_a_dead_one_holds_nobody_up():
    async with rig(silent_after=600.0) as street:
        await street.joined(1, 2, 3)
        await street.until(lambda: street.changes().count(Change.SILENT) == 3, within=900)
        street.modem.bend = lambda report: (
            [] if isinstance(report, reports.JoinComplete) and report.eui64 == eui(3) else None
        )
        assert await street.network.rekey() == 2
        assert steps(street.modem).count("distribute") == 3
        assert steps(street.modem).count("activate") == 2
        assert street.changes()[-1] is Change.REKEYED


async def test_where_nobody_is_heard_the_old_key_stays_and_meters_may_join():
    async with rig(silent_after=600.0) as street:
        await street.joined(1, 2)
        await street.until(lambda: street.changes().count(Change.SILENT) == 3, within=900)
        old = street.modem.keys[street.modem.active]
        street.modem.bend = lambda report: [] if isinstance(report, reports.JoinComplete) else None
        with pytest.raises(LinkError, match="no meter can be heard"):
            await street.network.rekey()
        street.modem.bend = lambda report: None
        assert street.modem.keys[street.modem.active] == old
        assert not street.modem.rekeying
        await street.joined(3)
        assert await street.network.rekey() == 3
        assert old not in street.modem.keys.values()


async def test_a_reboot_in_the_middle_goes_on_where_it_was():
    async with rig() as street:
        await street.joined(1, 2, 3)
        rekey = street.modem.on_rekey

        async def once(request):
            street.modem.on_rekey = rekey
            street.modem.reboot()

        street.modem.on_rekey = once
        with pytest.raises(LinkError):
            await street.network.rekey()
    async with rig(vault=street.vault) as again:
        await again.until(lambda: Change.REKEYED in again.changes(), within=1200)
        assert again.modem.active == 1
        assert len(again.modem.frame_counters) == len(set(again.modem.frame_counters))


async def test_nobody_joins_while_the_server_would_give_him_no_address():
    async with rig() as street:
        await street.joined(1)
        hold = asyncio.Event()
        rekey = street.modem.on_rekey

        async def held(request):
            await hold.wait()
            await rekey(request)

        street.modem.on_rekey = held
        changing = asyncio.ensure_future(street.network.rekey())
        await asyncio.sleep(1)
        street.network.admission.requested(eui(2))
        await asyncio.sleep(1)
        assert eui(2) not in street.modem.assigned
        hold.set()
        await changing
        await street.joined(2)
