"""Jobs: order, retries with back-off, deadlines, cancellation, bounds."""

import asyncio
import itertools
from random import Random

import pytest

from dcu.collect.retry import ONCE, Backoff
from dcu.errors import (
    AccessDenied,
    JobCancelled,
    JobError,
    JobExpired,
    LinkTimeout,
    MalformedAnswer,
    TagMismatch,
)
from dcu.model import Priority
from tests.collect.rig import rig

pytestmark = pytest.mark.looptime


def fails(times, error, log, now):
    async def work(job):
        log.append(now())
        if len(log) <= times:
            raise error
        return "done"

    return work


async def test_a_link_error_is_tried_again_after_a_growing_delay(tmp_path):
    async with rig(tmp_path) as street:
        log, retry = [], Backoff(attempts=4, first=5, factor=3, longest=20)
        work = fails(3, LinkTimeout("silence"), log, street.now)
        assert await street.scheduler.run("x", street.meter(), Priority.SCHEDULED, work, retry=retry) == "done"
        waits = [after - before for before, after in itertools.pairwise(log)]
        for wait, whole in zip(waits, (5, 15, 20), strict=True):
            assert whole / 2 <= wait <= whole


async def test_attempts_are_bounded_and_the_last_error_is_told(tmp_path):
    async with rig(tmp_path) as street:
        log = []
        work = fails(9, LinkTimeout("silence"), log, street.now)
        with pytest.raises(LinkTimeout):
            await street.scheduler.run("x", street.meter(), Priority.SCHEDULED, work, retry=Backoff(attempts=3))
        assert len(log) == 3
        assert street.events("job")[-1]["state"] == "failed"


@pytest.mark.parametrize("error", [TagMismatch("check the GAK"), AccessDenied("no", 3), MalformedAnswer("nonsense")])
async def test_neither_security_errors_nor_refusals_nor_nonsense_are_tried_again(tmp_path, error):
    async with rig(tmp_path) as street:
        log = []
        work = fails(1, error, log, street.now)
        with pytest.raises(type(error)):
            await street.scheduler.run("x", street.meter(), Priority.SCHEDULED, work, retry=Backoff(attempts=5))
        assert len(log) == 1
        assert (street.meter().state == "quarantined") == isinstance(error, MalformedAnswer)


def test_the_same_seed_gives_the_same_delays_and_another_seed_others():
    retry = Backoff(attempts=9)

    def drawn(seed):
        random = Random(seed)
        return [retry.delay(failed, random) for failed in range(1, 9)]

    assert drawn(1) == drawn(1) != drawn(2)
    assert ONCE.delay(1, Random(1)) is None


async def test_who_waits_for_a_retry_keeps_nobody_from_working(tmp_path):
    async with rig(tmp_path, meters=30) as street:
        done = []

        async def dead(job):
            raise LinkTimeout("silence")

        async def alive(job):
            await asyncio.sleep(0.1)
            done.append(street.now())

        retry = Backoff(attempts=5, first=60)
        for index in range(25):
            street.scheduler.submit("dead", street.meter(index), Priority.SCHEDULED, dead, retry=retry)
        for index in range(25, 30):
            street.scheduler.submit("alive", street.meter(index), Priority.SCHEDULED, alive)
        await asyncio.sleep(1)
        assert len(done) == 5


async def test_scheduled_jobs_under_way_are_bounded_and_urgent_ones_start_at_once(tmp_path):
    async with rig(tmp_path, meters=10) as street:
        running, most = set(), []

        async def work(job):
            running.add(job.id)
            most.append(len(running))
            await asyncio.sleep(1)
            running.discard(job.id)

        for index in range(10):
            street.scheduler.submit("scheduled", street.meter(index), Priority.SCHEDULED, work)
        await asyncio.sleep(0.5)
        asked = street.now()

        async def at_once(job):
            return street.now() - asked

        assert await street.scheduler.run("urgent", street.meter(9), Priority.ALARM, at_once) == 0
        await asyncio.sleep(10)
        assert max(most) == 2  # concurrency 1, two jobs a slot


async def test_a_deadline_ends_a_job_wherever_it_is(tmp_path):
    async with rig(tmp_path) as street:

        async def forever(job):
            await asyncio.sleep(1e6)

        for retry in (ONCE, Backoff(attempts=99, first=1e5)):
            with pytest.raises(JobExpired, match="within 5 s"):
                await street.scheduler.run("x", street.meter(), Priority.COMMAND, forever, deadline=5, retry=retry)
        assert street.now() == pytest.approx(10)
        silent, retry = fails(9, LinkTimeout("silence"), [], street.now), Backoff(attempts=9, first=1e3)
        with pytest.raises(JobExpired):  # while it waits for its next attempt
            await street.scheduler.run("x", street.meter(), Priority.COMMAND, silent, deadline=5, retry=retry)
        assert not street.scheduler.jobs()


async def test_a_job_is_cancelled_wherever_it_is(tmp_path):
    async with rig(tmp_path) as street:
        scheduler, meter = street.scheduler, street.meter()

        async def forever(job):
            await asyncio.sleep(1e6)

        jobs = [scheduler.submit("x", meter, Priority.SCHEDULED, forever) for _ in range(4)]
        await asyncio.sleep(1)
        assert [job.state for job in jobs] == ["running", "running", "queued", "queued"]
        for job in jobs:
            scheduler.cancel(job.id)
            with pytest.raises(JobCancelled):
                await job.result
        with pytest.raises(JobError, match="no job"):
            scheduler.cancel(jobs[0].id)
        job = scheduler.submit("x", meter, Priority.SCHEDULED, forever)
        scheduler.cancel(job.id)  # in the moment in which it starts
        with pytest.raises(JobCancelled):
            await job.result
        assert await scheduler.run("x", meter, Priority.SCHEDULED, fails(0, None, [], street.now)) == "done"


async def test_who_stops_waiting_withdraws_the_job(tmp_path):
    async with rig(tmp_path) as street:

        async def forever(job):
            await asyncio.sleep(1e6)

        task = asyncio.create_task(street.scheduler.run("x", street.meter(), Priority.ON_DEMAND, forever))
        await asyncio.sleep(1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await asyncio.sleep(0)
        assert not street.scheduler.jobs()


async def test_a_job_of_the_same_key_is_not_doubled(tmp_path):
    async with rig(tmp_path) as street:

        async def work(job):
            await asyncio.sleep(1)

        first = street.scheduler.submit("x", street.meter(), Priority.SCHEDULED, work, key="k")
        assert street.scheduler.submit("x", street.meter(), Priority.SCHEDULED, work, key="k") is first
        await first.result
        assert street.scheduler.submit("x", street.meter(), Priority.SCHEDULED, work, key="k") is not first


async def test_the_queue_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr("dcu.collect.scheduler.QUEUE_LIMIT", 3)
    async with rig(tmp_path) as street:

        async def forever(job):
            await asyncio.sleep(1e6)

        for _ in range(3):
            street.scheduler.submit("x", street.meter(), Priority.SCHEDULED, forever)
        with pytest.raises(JobError, match="3 jobs are waiting"):
            street.scheduler.submit("x", street.meter(), Priority.SCHEDULED, forever)


async def test_a_queue_full_of_backfill_has_room_for_polls_and_one_full_of_polls_for_commands(tmp_path, monkeypatch):
    monkeypatch.setattr("dcu.collect.scheduler.QUEUE_LIMIT", 100)
    async with rig(tmp_path) as street:

        async def forever(job):
            await asyncio.sleep(1e6)

        for priority, room in ((Priority.BACKFILL, 90), (Priority.SCHEDULED, 5), (Priority.COMMAND, 5)):
            for _ in range(room):
                street.scheduler.submit("x", street.meter(), priority, forever)
            with pytest.raises(JobError, match="jobs are waiting"):
                street.scheduler.submit("x", street.meter(), priority, forever)


async def test_a_job_that_is_withdrawn_in_the_moment_in_which_it_fails_is_withdrawn(tmp_path):
    async with rig(tmp_path) as street:
        attempts = []

        async def work(job):
            attempts.append(job)
            asyncio.get_running_loop().call_soon(street.scheduler.cancel, job.id)
            raise LinkTimeout("silence")

        job = street.scheduler.submit("x", street.meter(), Priority.ON_DEMAND, work, retry=Backoff(attempts=3))
        with pytest.raises(JobCancelled):
            await job.result
        await asyncio.sleep(600)
        assert len(attempts) == 1


async def test_a_bug_in_a_job_ends_that_job_only(tmp_path, caplog):
    async with rig(tmp_path) as street:

        async def bug(job):
            raise ZeroDivisionError

        with pytest.raises(JobError, match="internal error"):
            await street.scheduler.run("x", street.meter(), Priority.SCHEDULED, bug)
        assert await street.scheduler.run("x", street.meter(), Priority.SCHEDULED, fails(0, None, [], street.now))
