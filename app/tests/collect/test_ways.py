"""The ways in which a meter may have to be spoken to: short names, general blocks, several logical devices."""

import asyncio
from contextlib import suppress
from itertools import pairwise

import pytest

from dcu.collect.counters import Counters
from dcu.cosem import gbt, security
from dcu.cosem.apdu import short
from dcu.cosem.apdu.short import InformationReport, Name
from dcu.cosem.gbt import Transfer
from dcu.cosem.security import Cipher, Protection
from dcu.errors import ConfigError, CounterReplayed, LinkTimeout
from dcu.model import AttributeRef, MethodRef, Priority
from neighbourhood.meter import MANAGEMENT, Habits
from tests.collect.rig import ANSWER, DAY, GLO_GET, HOUR, LOSE_ANSWER, LOSE_REQUEST, family, rig
from tests.collect.test_effects import first
from tests.collect.test_profile import expected, polled, stored

pytestmark = pytest.mark.looptime

ENERGY = AttributeRef.parse("3,1-0:1.8.0*255,2")
LOAD = AttributeRef.parse("7,1-0:99.1.0*255,2")
SAPS = AttributeRef.parse("17,0-0:41.0.0*255,2")
SHORT = family(session={"referencing": "sn"})
GLO_READ = 0x25
GENERAL = family(session={"general_blocks": True})


async def read(meter, ref=ENERGY):
    return await meter.run(lambda session: session.get(ref), Priority.ON_DEMAND)


# --- short names


async def test_a_meter_by_short_names_is_collected_and_commanded_like_any_other(tmp_path):
    async with rig(tmp_path, delay=0.01, habits=Habits(short=True), profile=SHORT) as street:
        await polled(street)
        end = street.second() // HOUR * HOUR + HOUR
        assert await stored(street, 0, end - DAY, end) == expected(street, 0, end - DAY, end)
        relay = AttributeRef.parse("70,0-0:96.3.10*255,2").obis
        await street.meter().run(lambda session: session.action(MethodRef(70, relay, 1), b"\x0f\x00"), Priority.COMMAND)
        assert street.simulated().relay == 0


async def test_the_names_are_read_once_and_kept_from_association_to_association(tmp_path):
    async with rig(tmp_path, delay=0.01, habits=Habits(short=True), profile=SHORT) as street:
        await read(street.meter())
        first = len(street.seen)
        street.meter()._drop()
        street.seen.clear()
        await read(street.meter())
        assert len(street.seen) == 3  # AARQ, proof, the one question
        assert first > 6


@pytest.mark.conforms("Service", "information-report, the collector", peer="ours")
async def test_an_information_report_reaches_the_outbox_once(tmp_path):
    """What a meter by short names says unasked: with its counter, as a push of any other."""
    report = short.encode(InformationReport(b"", (Name(0x0108),), (b"\x11\x07",)))
    async with rig(tmp_path, delay=0.01, habits=Habits(short=True), profile=SHORT) as street:
        await read(street.meter())
        simulated = street.simulated()
        keys = simulated.shipped_keys()
        frame = security.protect(
            Cipher(keys.guek, keys.gak),
            report,
            protection=Protection.BOTH,
            title=keys.system_title,
            counter=simulated.next_counter(),
        )
        for _ in range(2):
            with suppress(CounterReplayed):
                street.meter()._session.receive(frame)
            await read(street.meter())
            await street.services.settled()
        (kept,) = await street.store.pending()
        assert (kept.meter, kept.kind, kept.payload) == (street.meter().name, "push", report)


async def test_short_names_over_a_channel_that_loses_and_nobody_authenticates_are_refused_and_say_why(tmp_path):
    plain = family(
        session={"referencing": "sn"}, security={"authentication": "low", "request": "none", "response": "none"}
    )
    async with rig(tmp_path, delay=0.01, lossy=True, habits=Habits(short=True), profile=plain) as street:
        with pytest.raises(ConfigError, match="use TCP, HDLC or a serial line"):
            await read(street.meter())


async def test_what_is_lost_by_short_names_costs_an_association_and_no_more(tmp_path):
    """Ciphered: counters tell answers apart, and a request that was given up ends what it was asked in."""
    async with rig(tmp_path, delay=0.01, lossy=True, habits=Habits(short=True), profile=SHORT) as street:
        known = await read(street.meter())
        street.weather = first(GLO_READ, LOSE_ANSWER)
        with pytest.raises(LinkTimeout):
            await read(street.meter())
        assert not street.meter().associated
        assert await read(street.meter()) >= known
        await polled(street)
        end = street.second() // HOUR * HOUR + HOUR
        assert await stored(street, 0, end - DAY, end) == expected(street, 0, end - DAY, end)


# --- general blocks


async def test_general_blocks_take_fewer_turns_than_blocks_asked_for_one_by_one(tmp_path):
    turns = {}
    for name, profile in (("one by one", family()), ("general", GENERAL)):
        habits = Habits(general_blocks=True, max_pdu=256)
        async with rig(tmp_path / name, delay=0.01, habits=habits, profile=profile) as street:
            await read(street.meter())
            street.seen.clear()
            raw = await read(street.meter(), LOAD)
            assert len(raw) > 20_000
            turns[name] = len(street.seen)
            if name == "general":
                assert {seen.tag for seen in street.seen[1:]} == {gbt.TAG}
    assert turns["general"] * 4 < turns["one by one"]


async def test_where_one_side_only_offers_general_blocks_none_are_sent(tmp_path):
    for name, habits, profile in (
        ("the meter does not", Habits(max_pdu=256), GENERAL),
        ("we do not", Habits(max_pdu=256, general_blocks=True), family()),
    ):
        async with rig(tmp_path / name, delay=0.01, habits=habits, profile=profile) as street:
            await read(street.meter(), LOAD)
            assert gbt.TAG not in street.tags()


def losing(street, *turns, what=LOSE_ANSWER):
    """Of the general blocks' turns, by number from now on, these are lost; returns the numbers that were."""
    count, lost = 0, []

    def weather(seen):
        nonlocal count
        count += seen.tag == gbt.TAG
        if seen.tag == gbt.TAG and count in turns:
            lost.append(count)
            return what
        return ANSWER

    street.weather = weather
    return lost


@pytest.mark.conforms("Service", "general block transfer, lost blocks, the collector", peer="ours", link="UDP")
@pytest.mark.parametrize("what", [LOSE_ANSWER, LOSE_REQUEST])
@pytest.mark.parametrize("turns", [(1,), (2,), (1, 2), (1, 3, 5)], ids=str)
async def test_a_turn_of_blocks_that_is_lost_is_asked_for_again(tmp_path, turns, what):
    habits = Habits(general_blocks=True, max_pdu=256)
    async with rig(tmp_path, delay=0.01, lossy=True, habits=habits, profile=GENERAL) as street:
        whole = await read(street.meter(), LOAD)
        assert len(whole) > 20_000  # a dozen turns
        lost = losing(street, *turns, what=what)
        street.seen.clear()
        asked = street.now()
        assert await read(street.meter(), LOAD) == whole
        assert lost == list(turns)
        assert street.tags().count(GLO_GET) == 1  # the request itself went out once
        assert street.now() - asked < 4 * street.meter().profile.session.timeout


async def test_canary_without_a_reminder_a_lost_turn_is_the_end(tmp_path, monkeypatch):
    """The same loss, which a reminder makes good."""
    monkeypatch.setattr(Transfer, "begun", False)
    habits = Habits(general_blocks=True, max_pdu=256)
    async with rig(tmp_path, delay=0.01, lossy=True, habits=habits, profile=GENERAL) as street:
        await read(street.meter(), LOAD)
        losing(street, 2)
        with pytest.raises(LinkTimeout):
            await read(street.meter(), LOAD)


# --- several logical devices


async def test_the_logical_devices_of_a_meter_are_collected_each_with_its_own_truth(tmp_path):
    async with rig(tmp_path, 4, delay=0.01, logical=2) as street:
        assert [street.meter(index).address.partition("#")[2] for index in range(4)] == ["1", "2", "1", "2"]
        await asyncio.gather(*(polled(street, index) for index in range(4)))
        end = street.second() // HOUR * HOUR + HOUR
        for index in range(4):
            assert await stored(street, index, end - DAY, end) == expected(street, index, end - DAY, end)
        assert expected(street, 0, end - DAY, end) != expected(street, 1, end - DAY, end)
        assert street.street.status()["counter_reuse"] == 0


async def test_a_physical_meter_is_asked_one_thing_at_a_time(tmp_path):
    async with rig(tmp_path, 2, logical=2) as street:
        street.medium.concurrency = 8
        assert street.meter(0).lane is street.meter(1).lane
        await asyncio.gather(read(street.meter(0)), read(street.meter(1)))
        moments = [seen.at for seen in street.seen]
        assert all(later - earlier >= 0.99 for earlier, later in pairwise(moments))


async def test_meters_that_are_none_of_one_are_asked_at_once(tmp_path):
    async with rig(tmp_path, 2) as street:
        street.medium.concurrency = 8
        await asyncio.gather(read(street.meter(0)), read(street.meter(1)))
        assert len({seen.at for seen in street.seen}) < len(street.seen)


async def test_the_management_device_names_all_of_them(tmp_path):
    async with rig(tmp_path, 2, delay=0.01, logical=2) as street:
        raw = await read(street.meter(0), SAPS)
        for meter in street.street.meters:
            assert meter.device_name.encode() in raw


# --- several associations of one meter


async def managed(street):
    """The same meter once more: as the management client, under a name of its own."""
    meter = street.simulated()
    profile = family(addresses={"client": MANAGEMENT}, name="management")
    street.fleet._families._profiles["management"] = profile
    name = f"{meter.serial}-management"
    street.services.keys._keys[name] = meter.shipped_keys(MANAGEMENT)
    await street.store.add_meters([(name, f"mem://{meter.serial}", "management", meter.system_title)])
    records = await street.store.meters()
    return street.fleet.take(next(record for record in records if record.name == name))


async def in_turns(street):
    """Under one key, which the meter holds against one floor: now the one client, now the other."""
    street.simulated().given = street.simulated().shipped_keys()
    reading, managing = street.meter(), await managed(street)
    assert reading.lane is managing.lane
    for _ in range(5):
        await read(reading)
        await read(managing)
    assert {seen.client for seen in street.seen} == {1, MANAGEMENT, 16}
    return street.street.status()


async def test_associations_of_one_meter_under_one_key_send_rising_counters(tmp_path):
    async with rig(tmp_path, delay=0.01) as street:
        status = await in_turns(street)
        assert status["counter_reuse"] == 0
        assert status["refused"] == {}
        assert [seen.client for seen in street.seen].count(16) == 2  # the counter was learnt once: AARQ, GET


async def test_canary_counters_that_are_not_shared_fall_behind_each_other(tmp_path, monkeypatch):
    monkeypatch.setattr(Counters, "use", lambda self, key: setattr(self, "_key", key))
    async with rig(tmp_path, delay=0.01) as street:
        assert "CounterReplayed" in (await in_turns(street))["refused"]


async def test_logical_devices_under_one_key_send_rising_counters(tmp_path):
    async with rig(tmp_path, 2, delay=0.01, logical=2) as street:
        first, second = street.street.meters
        second.given = first.given = first.shipped_keys()
        street.services.keys._keys[second.serial] = first.given
        second.heard = first.heard
        for _ in range(5):
            await read(street.meter(0))
            await read(street.meter(1))
        assert street.street.status()["refused"] == {}
        assert street.street.status()["counter_reuse"] == 0
