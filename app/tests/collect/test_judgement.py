"""What a meter is blamed for, and what not: nonsense by who vouches for it, pushes on a line that dies, slow disks."""

import asyncio
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise

import pytest

from dcu.collect.jobs.discovery import elements, object_list, read
from dcu.collect.jobs.poll import Poller
from dcu.collect.medium import Medium
from dcu.collect.retry import Backoff
from dcu.collect.settings import Limits
from dcu.collect.standing import NONSENSE, NONSENSE_APART
from dcu.cosem import apdu, axdr, security
from dcu.cosem.apdu import DataNotification
from dcu.errors import DcuError, JobError, LinkError, MalformedAnswer
from dcu.model import AttributeRef, Priority
from tests.collect.rig import AARQ, ANSWER, GET, LOSE_REQUEST, family, rig

pytestmark = pytest.mark.looptime

ENERGY = AttributeRef.parse("3,1-0:1.8.0*255,2")
OPEN = {"authentication": "none", "request": "none", "response": "none"}


async def energy(meter, priority=Priority.ON_DEMAND):
    return await meter.run(lambda session: session.get(ENERGY), priority)


def once(matches, answer):
    """Forge the first answer that `matches`."""
    left = [answer]
    return lambda seen: left.pop() if left and matches(seen) else ANSWER


@pytest.mark.parametrize(
    ("matches", "frame"),
    [
        pytest.param(lambda seen: seen.client == 1 and seen.tag != AARQ, b"\xcc\x00", id="a cut answer"),
        pytest.param(
            lambda seen: seen.client == 1 and seen.tag != AARQ, b"\xc4\x01\xc1\x00", id="an answer unprotected"
        ),
        pytest.param(lambda seen: seen.client == 1 and seen.tag == AARQ, b"\x61\x03\x80", id="a cut AARE"),
        pytest.param(lambda seen: seen.client == 16 and seen.tag == AARQ, b"\x61\x03\x80", id="to the public client"),
        pytest.param(lambda seen: seen.tag == GET, b"\xc4\x01\xc1\x00\x09\x01\x01", id="a counter that is none"),
    ],
)
async def test_what_anybody_can_send_does_not_quarantine_a_meter_with_keys(tmp_path, matches, frame):
    async with rig(tmp_path) as street:
        street.weather = once(matches, frame)
        for _ in range(NONSENSE + 1):
            with suppress(DcuError):
                await energy(street.meter())
            await asyncio.sleep(NONSENSE_APART)
        assert street.meter().state == "ok"


async def test_a_line_that_brings_nonsense_is_tried_again_later(tmp_path):
    async with rig(tmp_path) as street:
        await energy(street.meter())
        street.weather = once(lambda seen: seen.client == 1, b"\xcc\x00")
        job = street.scheduler.submit(
            "read", street.meter(), Priority.ON_DEMAND, lambda job: energy(street.meter()), retry=Backoff(attempts=2)
        )
        assert await job.result
        assert job.attempts == 2


async def test_without_keys_nonsense_counts_when_it_comes_again_and_again(tmp_path):
    async with rig(tmp_path, profile=family(security=OPEN, addresses={"client": 16})) as street:
        meter = street.meter()
        clock = AttributeRef.parse("8,0-0:1.0.0*255,2")
        await meter.run(lambda session: session.get(clock), Priority.ON_DEMAND)
        street.weather = lambda seen: b"\xc4" if seen.tag == GET else ANSWER
        for attempts in [5] * (NONSENSE - 1) + [1]:
            assert meter.state == "ok"
            for _ in range(attempts):  # at once: one disturbance
                with pytest.raises(MalformedAnswer):
                    await meter.run(lambda session: session.get(clock), Priority.ON_DEMAND)
            await asyncio.sleep(NONSENSE_APART)
        assert meter.state == "quarantined"


async def test_nonsense_found_by_jobs_counts_likewise_and_a_good_job_wipes_it_out(tmp_path):
    async with rig(tmp_path, profile=family(security=OPEN, addresses={"client": 16})) as street:
        meter = street.meter()
        for error in (MalformedAnswer("x"), MalformedAnswer("x"), None, MalformedAnswer("x"), MalformedAnswer("x")):
            await meter.answered(error)
            await asyncio.sleep(NONSENSE_APART)
        assert meter.state == "new"
        await meter.answered(MalformedAnswer("x"))
        assert meter.state == "quarantined"


async def test_a_profile_that_cannot_be_collected_is_no_reason_to_quarantine(tmp_path):
    async with rig(tmp_path, delay=0.05) as street:
        meter = street.meter()
        held = elements(await object_list(street.services, meter, Priority.ON_DEMAND))
        periods = [(item.obis, AttributeRef(7, item.obis, 4)) for item in held if item.class_id == 7]
        raw = await read(meter, [ref for _, ref in periods], Priority.ON_DEMAND)
        events = next(obis for (obis, _), period in zip(periods, raw, strict=True) if axdr.decode(period).value == 0)
        poller, end = Poller(street.services, lambda *_: None), street.second()
        with pytest.raises(JobError, match="period of 0"):
            await street.scheduler.run(
                "profile", meter, Priority.ON_DEMAND, lambda job: poller.fetch(job, events, end - 3600, end)
            )
        assert meter.state == "ok"


def test_a_quarantine_ends_by_itself_unless_configured_otherwise():
    assert Limits().quarantine_hours == 24


def pushed(street, counter):
    """A push of the meter under its keys, as it comes inside of an association."""
    keys = street.simulated().shipped_keys()
    notification = apdu.encode(DataNotification(1, b"", axdr.encode(axdr.u32(7))))
    return security.protect(
        security.Cipher(keys.guek, keys.gak),
        notification,
        protection=security.Protection.BOTH,
        title=keys.system_title,
        counter=counter,
        framing=security.Framing.GENERAL_GLOBAL,
    )


async def test_a_push_that_comes_while_nothing_is_asked_is_kept_when_the_association_is_closed(tmp_path):
    async with rig(tmp_path) as street:
        meter = street.meter()
        await energy(meter)
        with meter.engaged():
            meter._channel._ready.append(pushed(street, 2_000_000_000))
        await asyncio.sleep(2 * meter.profile.session.idle)
        assert not meter.associated
        assert len(await street.store.pending()) == 1


async def test_a_push_before_a_time_out_is_kept(tmp_path):
    async with rig(tmp_path) as street:
        meter = street.meter()
        await energy(meter)
        meter._channel._ready.append(pushed(street, 2_000_000_000))
        street.weather = lambda seen: LOSE_REQUEST
        with pytest.raises(LinkError):
            await energy(meter)
        await street.services.settled()
        assert len(await street.store.pending()) == 1


async def test_a_slow_disk_that_keeps_a_judgement_keeps_no_neighbour_waiting(tmp_path):
    async with rig(tmp_path, 2, delay=0.1) as street:
        bad, good = street.meter(0), street.meter(1)
        await energy(bad)
        await energy(good)
        audit = street.store.audit

        async def slow(*entry):
            await asyncio.sleep(8)
            return await audit(*entry)

        street.store.audit = slow
        street.weather = lambda seen: b"\xcc\x12\x30" + bytes(17) if seen.meter == bad.name else ANSWER
        task = asyncio.create_task(energy(bad, Priority.BACKFILL))
        await asyncio.sleep(0.3)
        asked = street.now()
        await energy(good, Priority.ALARM)
        assert street.now() - asked <= 0.2 + 0.01
        with pytest.raises(DcuError):
            await task
        assert (await street.store.audit_log())[0].action == "security"


async def moved(street, medium):
    """Register the meter at another address, on `medium`."""
    (record,) = await street.store.meters()
    street.fleet.media._media.append((("elsewhere://*",), medium))
    connect = street.fleet._connect

    async def dial(address, *args):
        return await connect(address.replace("elsewhere", "mem"), *args)

    street.fleet._connect = dial
    return street.fleet.take(replace(record, address=f"elsewhere://{record.name}"))


@pytest.mark.parametrize("shared", [True, False], ids=["the same medium", "another medium"])
async def test_a_meter_that_moves_has_one_association_at_a_time_and_its_jobs_go_on(tmp_path, shared):
    async with rig(tmp_path, delay=1.0) as street:
        meter = street.meter()
        await energy(meter)

        async def many():
            for _ in range(6):
                await energy(meter, Priority.SCHEDULED)

        task = asyncio.create_task(many())
        await asyncio.sleep(1)
        assert await moved(street, street.medium if shared else Medium("elsewhere")) is meter
        await energy(meter)
        assert meter.address.startswith("elsewhere://")
        await task
        ends = [seen.at for seen in street.seen]
        assert all(later - earlier >= 2.0 - 1e-6 for earlier, later in pairwise(ends))
        assert street.street.status()["counter_reuse"] == 0
        assert meter.lane.medium.name == ("line" if shared else "elsewhere")
        assert meter.state == "ok"
