"""The schedule under virtual time: polls when they are due, heals what is old, compares clocks, tells of progress."""

import asyncio

import pytest

from dcu.collect.polling import Polling
from dcu.collect.retry import Backoff
from dcu.errors import AccessDenied
from dcu.model import Obis
from tests.collect.rig import AARQ, ANSWER, DAY, HOUR, LOSE_REQUEST, PROFILE, family, rig

pytestmark = pytest.mark.looptime

OBIS = Obis.parse(PROFILE)


def polling(street):
    return Polling(street.services, street.fleet, street.scheduler, retry=Backoff(attempts=3, first=5))


async def rows(street, index, start, end):
    return [row.timestamp for row in await street.store.readings(street.meter(index).name, OBIS, start, end)]


async def test_everything_is_polled_at_the_start_then_each_hour_and_old_gaps_are_healed(tmp_path):
    async with rig(tmp_path, meters=3, delay=0.01) as street:
        schedule = polling(street)
        schedule.start()
        await asyncio.sleep(120)
        now = street.second() // HOUR * HOUR
        for index in range(3):
            assert await rows(street, index, now - 7 * DAY, now + HOUR) == list(
                range(now - 7 * DAY + HOUR, now + 1, HOUR)
            )
        await asyncio.sleep(3 * HOUR)
        later = street.second() // HOUR * HOUR
        assert await rows(street, 0, now + 1, later + HOUR) == list(range(now + HOUR, later + 1, HOUR))
        for hour in range(3):
            asked = [seen.at for seen in street.seen if seen.meter == street.meter(0).name and seen.at > 120]
            assert any(abs(at % HOUR - (HOUR - 120 + 60)) < 30 for at in asked), hour  # a minute past the hour
        await schedule.stop()


async def test_the_last_reading_is_known_again_after_a_restart(tmp_path):
    async with rig(tmp_path, meters=1, delay=0.01) as street:
        for _ in range(2):
            street.meter(0).last_reading = 0  # as a new process has it; the second time nothing is left to read
            schedule = polling(street)
            schedule.start()
            await asyncio.sleep(60)
            await schedule.stop()
            assert street.meter(0).last_reading == street.second() // HOUR * HOUR


async def test_what_is_new_is_read_before_what_is_old(tmp_path):
    async with rig(tmp_path, meters=4, delay=0.05) as street:
        schedule = polling(street)
        schedule.start()
        await asyncio.sleep(100)
        await schedule.stop()
        now = street.second() // HOUR * HOUR
        spans = [event["last"] for event in street.events("reading")]
        fresh = [at >= now - 23 * HOUR for at in spans]
        assert fresh.index(False) >= 4  # every meter's last day before anybody's last week


async def test_a_dead_meter_is_retried_and_found_again_at_the_next_poll(tmp_path):
    async with rig(tmp_path, meters=2, delay=0.01, profile=family(clock={"adjust": "never"})) as street:
        dead = street.meter(0).name
        street.weather = lambda seen: LOSE_REQUEST if seen.meter == dead else ANSWER
        schedule = polling(street)
        schedule.start()
        await asyncio.sleep(600)
        assert street.meter(0).state == "unreachable"
        assert street.meter(1).state == "ok"
        assert street.tags(street.meter(0)).count(AARQ) == 3
        street.weather = lambda seen: ANSWER
        await asyncio.sleep(HOUR)
        assert street.meter(0).state == "ok"
        now = street.second() // HOUR * HOUR
        assert len(await rows(street, 0, now - DAY, now + 1)) == 24 + 1
        states = [event["state"] for event in street.events("meter") if event["meter"] == dead]
        assert states == ["unreachable", "ok"]
        await schedule.stop()


async def test_progress_comes_to_its_end(tmp_path):
    async with rig(tmp_path, meters=3, delay=0.05) as street:
        schedule = polling(street)
        schedule.start()
        await asyncio.sleep(60)
        told = street.events("progress")
        last = told[-1]
        assert last == {"meters": 3, "ended": 3, "expected": 72, "collected": 72, "complete": True}
        counts = [event["collected"] for event in told]
        assert counts == sorted(counts)
        await schedule.stop()


async def test_a_quarantined_meter_is_not_polled_and_gets_another_chance_when_its_time_is_over(tmp_path):
    async with rig(tmp_path, meters=1, delay=0.01) as street:
        street.fleet._quarantine_seconds = 6 * HOUR
        await street.meter().quarantine("it answers nonsense")
        schedule = polling(street)
        schedule.start()
        await asyncio.sleep(2 * HOUR)
        await street.fleet.maintain()
        assert not street.seen
        await asyncio.sleep(5 * HOUR)
        await street.fleet.maintain()
        await asyncio.sleep(HOUR)
        assert street.meter().state == "ok"
        await schedule.stop()


async def test_clocks_are_compared_by_the_schedule_while_ours_is_trusted(tmp_path):
    async with rig(tmp_path, delay=0.01) as street:
        street.simulated().set_clock(street.second() + 40)
        schedule = polling(street)
        schedule.start()
        await asyncio.sleep(60)
        assert abs(street.simulated().shown() - street.second()) <= 2
        await schedule.stop()


@pytest.mark.parametrize("options", [{"trusted": False}, {"profile": family(clock={"adjust": "never"})}])
async def test_no_clock_is_touched_where_it_must_not_be(tmp_path, options):
    async with rig(tmp_path, delay=0.01, **options) as street:
        street.simulated().set_clock(street.second() + 40)
        schedule = polling(street)
        schedule.start()
        await asyncio.sleep(60)
        assert street.simulated().shown() - street.second() == 40
        await schedule.stop()


async def test_two_profiles_of_a_family_are_kept_apart(tmp_path):
    profile = family(poll=[{"profile": PROFILE}, {"profile": "1-0:99.2.0*255"}])
    async with rig(tmp_path, delay=0.01, profile=profile) as street:
        schedule = polling(street)
        first, second = schedule.poll_now(street.fleet)
        await first.result
        with pytest.raises(AccessDenied, match="holds no profile"):
            await second.result
        assert schedule.progress.complete
