"""Stopping: what was promised is followed up, and nothing takes longer than systemd waits."""

import asyncio

import pytest

from dcu.collect.jobs import command, opaque
from dcu.collect.medium import Medium
from dcu.collect.scheduler import FOLLOWED_UP
from dcu.errors import JobCancelled, JobExpired
from dcu.model import AttributeRef, Priority
from tests.collect.rig import ANSWER, LOSE_REQUEST, family, rig

pytestmark = pytest.mark.looptime

ENERGY = AttributeRef.parse("3,1-0:1.8.0*255,2")
ACTION = bytes.fromhex("c301c1 0046 0000600a0aff 01 01 0f00")


async def energy(meter):
    return await meter.run(lambda session: session.get(ENERGY), Priority.ON_DEMAND)


def disconnect(street, **options):
    def work(job):
        return command.switch_relay(street.services, job, "disconnect", "the test")

    return street.scheduler.submit("disconnect", street.meter(), Priority.COMMAND, work, **options)


async def audit(street, action):
    return [entry.detail for entry in reversed(await street.store.audit_log()) if entry.action == action]


@pytest.mark.parametrize("meters", [20, 256])
async def test_associations_are_closed_at_once_and_a_dead_line_costs_seconds(tmp_path, meters):
    profile = family(session={"release": True, "idle": 600.0})
    async with rig(tmp_path, meters, profile=profile, medium=Medium("m", concurrency=64), delay=0.01) as street:
        await asyncio.gather(*map(energy, street.fleet))
        street.weather = lambda seen: LOSE_REQUEST
        began = street.now()
        await street.fleet.close()
        assert street.now() - began <= 5.01
        assert street.services.open.count == 0


async def test_associations_of_meters_that_want_it_are_released(tmp_path):
    profile = family(session={"release": True, "idle": 600.0})
    async with rig(tmp_path, 3, profile=profile, medium=Medium("m", concurrency=64), delay=0.01) as street:
        await asyncio.gather(*map(energy, street.fleet))
        street.seen.clear()
        await street.fleet.close()
        assert sorted({seen.tag for seen in street.seen}) == [0x62]
        assert len(street.seen) == 3


async def test_a_command_on_the_line_is_followed_up_when_the_collector_stops(tmp_path):
    async with rig(tmp_path) as street:
        await energy(street.meter())
        job = disconnect(street)
        await asyncio.sleep(0.1)
        await street.scheduler.close()
        assert (await job.result).confirmed
        assert await audit(street, "disconnect") == ["asked", "done"]


async def test_but_not_for_longer_than_somebody_waits_and_that_is_written_down(tmp_path):
    async with rig(tmp_path) as street:
        await energy(street.meter())
        street.weather = lambda seen: LOSE_REQUEST
        job = disconnect(street)
        await asyncio.sleep(1)
        began = street.now()
        await street.scheduler.close()
        assert street.now() - began <= FOLLOWED_UP + 0.01
        with pytest.raises(JobCancelled, match="unknown"):
            await job.result
        await street.services.settled()
        assert await audit(street, "disconnect") == ["asked", "given up; whether it took effect is unknown"]


async def test_a_command_that_is_withdrawn_before_it_was_sent_has_an_end_in_the_audit_log(tmp_path):
    async with rig(tmp_path) as street:
        street.weather = lambda seen: LOSE_REQUEST
        with pytest.raises(JobExpired):
            await disconnect(street, deadline=3.0).result
        await street.services.settled()
        assert await audit(street, "disconnect") == ["asked", "withdrawn: not sent"]


async def test_an_opaque_action_that_is_given_up_has_one_too(tmp_path):
    async with rig(tmp_path) as street:
        await energy(street.meter())
        street.weather = lambda seen: LOSE_REQUEST if seen.client == 1 else ANSWER

        def work(job):
            return opaque.pass_through(street.services, job, ACTION, "the test")

        street.scheduler.submit("opaque", street.meter(), Priority.ON_DEMAND, work)
        await asyncio.sleep(1)
        await street.scheduler.close(within=1.0)
        await street.services.settled()
        assert (await audit(street, "opaque action"))[1:] == ["given up; whether it took effect is unknown"]


async def test_what_was_put_aside_is_waited_for_within_bounds(tmp_path):
    async with rig(tmp_path) as street:
        done = []

        async def work(seconds):
            await asyncio.sleep(seconds)
            done.append(seconds)

        for seconds in (1, 1e6):
            street.services.aside(work(seconds))
        began = street.now()
        await street.services.settled(within=5.0)
        assert street.now() - began == pytest.approx(5)
        assert done == [1]


async def test_work_that_must_be_finished_is_finished_also_without_who_asked_for_it(tmp_path):
    async with rig(tmp_path) as street:
        done = []

        async def work():
            await asyncio.sleep(1)
            done.append(1)

        task = asyncio.create_task(street.services.finish(work()))
        await asyncio.sleep(0.5)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await street.services.settled()
        assert done == [1]
