"""What a meter does not have, and what it has not captured yet: clocks that are wrong, periods that change."""

import asyncio

import msgspec
import pytest

from dcu.collect.jobs.absent import FORGOTTEN_AFTER, Absent, merged
from dcu.collect.jobs.discovery import layout_key, profile_layout
from dcu.collect.jobs.poll import FRUITLESS
from dcu.collect.polling import Polling
from dcu.collect.retry import Backoff
from dcu.model import Obis, Priority
from neighbourhood.meter import Habits
from tests.collect.rig import DAY, HOUR, PROFILE, family, rig, stepped

pytestmark = pytest.mark.looptime

OBIS = Obis.parse(PROFILE)
NO_CLOCKS = {"adjust": "never"}


def polling(street):
    return Polling(street.services, street.fleet, street.scheduler, retry=Backoff())


async def stored(street, start, end):
    return [row.timestamp for row in await street.store.readings(street.meter().name, OBIS, start, end)]


@pytest.mark.parametrize("period", [900, HOUR])
async def test_nothing_is_missing_after_our_clock_was_ahead_for_some_hours(tmp_path, period):
    async with rig(tmp_path, habits=Habits(period=period), delay=0.05, profile=family(clock=NO_CLOCKS)) as street:
        schedule, began = polling(street), street.second()
        clock = stepped(street, days=3)
        schedule.start()
        await asyncio.sleep(2 * HOUR + 300)
        clock.by *= 0
        await asyncio.sleep(5 * DAY)
        start, end = began // DAY * DAY, (street.second() - 2 * HOUR) // DAY * DAY
        assert await stored(street, start, end) == list(range(start, end, period))
        await schedule.stop()


@pytest.mark.parametrize(("hours", "period", "at_once"), [(12, 900, 0), (3, 900, 4), (26, HOUR, 0)])
async def test_a_meter_whose_clock_is_behind_is_collected_late_and_whole(tmp_path, hours, period, at_once):
    profile = family(quirks={"rows_per_exchange": at_once}, clock=NO_CLOCKS)
    async with rig(tmp_path, habits=Habits(period=period), delay=0.05, profile=profile) as street:
        schedule, began = polling(street), street.second() // period * period
        stepped(street, hours=hours)
        schedule.start()
        await asyncio.sleep(3 * DAY)
        end = (street.second() - hours * HOUR - HOUR) // period * period  # by the meter's clock
        assert await stored(street, began, end) == list(range(began, end, period))
        await schedule.stop()


async def test_another_capture_period_is_noticed_and_costs_no_storm(tmp_path):
    async with rig(tmp_path, habits=Habits(period=HOUR), delay=0.05, profile=family(clock=NO_CLOCKS)) as street:
        key = layout_key(street.meter().name, OBIS)
        layout = await profile_layout(street.services, street.meter(), OBIS, Priority.SCHEDULED)
        other = msgspec.structs.replace(layout, period=900)
        await street.store.remember(key, msgspec.msgpack.encode(other))
        schedule = polling(street)
        schedule.start()
        exchanges = []
        for _ in range(12):
            before = street.medium.exchanges
            await asyncio.sleep(HOUR)
            exchanges.append(street.medium.exchanges - before)
        assert street.services.layouts.decoded(await street.store.recall(key)).period == HOUR
        assert max(exchanges) <= 2 * FRUITLESS + 10
        assert max(exchanges[4:]) == 3  # two to associate, one for the row
        await schedule.stop()


@pytest.mark.parametrize("period", [900, HOUR])
async def test_a_capture_period_that_changes_is_noticed_within_a_day(tmp_path, period):
    other = 4500 - period
    async with rig(tmp_path, habits=Habits(period=period), delay=0.05, profile=family(clock=NO_CLOCKS)) as street:
        schedule = polling(street)
        schedule.start()
        await asyncio.sleep(3 * HOUR)
        street.simulated().habits = Habits(period=other)
        await asyncio.sleep(25 * HOUR)
        raw = await street.store.recall(layout_key(street.meter().name, OBIS))
        assert street.services.layouts.decoded(raw).period == other
        await schedule.stop()


async def test_a_poll_that_brings_nothing_ends_before_it_has_asked_for_everything(tmp_path):
    profile = family(quirks={"rows_per_exchange": 1}, clock=NO_CLOCKS)
    async with rig(tmp_path, habits=Habits(period=900, capacity=12), delay=0.01, profile=profile) as street:
        schedule = polling(street)
        await profile_layout(street.services, street.meter(), OBIS, Priority.SCHEDULED)
        street.seen.clear()
        (job,) = schedule.poll_now([street.meter()])
        await job.result
        assert len(street.seen) == 12 + FRUITLESS
        await schedule.stop()


async def test_a_poll_that_brings_something_goes_on_to_the_end(tmp_path):
    profile = family(quirks={"rows_per_exchange": 1}, clock=NO_CLOCKS)
    async with rig(tmp_path, habits=Habits(period=900), delay=0.01, profile=profile) as street:
        schedule, end = polling(street), street.second() // 900 * 900
        (job,) = schedule.poll_now([street.meter()])
        await job.result
        assert len(await stored(street, end - DAY + 1, end + 1)) == DAY // 900
        await schedule.stop()


def test_what_was_asked_for_in_vain_is_cut_out_of_the_gaps_for_some_hours():
    absent = Absent()
    absent.returned("m", OBIS, 100)
    assert not absent.note("m", OBIS, [(10, 20)], 0.0)
    assert absent.note("m", OBIS, [(10, 20)], 1.0)
    absent.note("m", OBIS, [(30, 40)], 1.0)
    assert absent.without("m", OBIS, [(0, 50)], 2.0) == [(0, 10), (20, 50)]
    assert absent.without("other", OBIS, [(0, 50)], 2.0) == [(0, 50)]
    assert absent.without("m", OBIS, [(0, 50)], FORGOTTEN_AFTER) == [(0, 50)]


def test_what_is_newer_than_the_newest_row_is_not_absent():
    absent = Absent()
    for now in range(3):
        assert not absent.note("m", OBIS, [(10, 20)], now)  # it returned nothing at all
    absent.returned("m", OBIS, 15)
    for now in (4.0, 5.0):
        absent.note("m", OBIS, [(10, 20), (20, 30)], now)
    assert absent.without("m", OBIS, [(0, 50)], 6.0) == [(0, 10), (15, 50)]
    absent.forget()
    assert absent.without("m", OBIS, [(0, 50)], 6.0) == [(0, 50)]


@pytest.mark.parametrize(("near", "joined"), [(0, [(0, 2), (3, 4), (7, 9)]), (1, [(0, 4), (7, 9)]), (3, [(0, 9)])])
def test_neighbouring_gaps_are_joined(near, joined):
    assert merged([(3, 4), (0, 1), (1, 2), (7, 9)], near) == joined
