"""Slots of a shared medium under virtual time: who goes first, how long anybody waits, what air is left."""

import asyncio
from random import Random

import looptime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dcu.collect.medium import AirTime, Budget, Lane, Medium
from dcu.model import Priority

EXCHANGE = 1.0  # seconds

pytestmark = pytest.mark.looptime


def now():
    return asyncio.get_running_loop().time()


async def exchanges(lane, priority, number, done, name, size=0):
    for _ in range(number):
        async with lane.turn(priority) as turn:
            await asyncio.sleep(EXCHANGE)
            turn.bytes = size
            done.append((name, now()))


async def transfer(lane, priority, blocks, done, name):
    """One exchange after the other without letting the meter go, as in a block transfer."""
    async with lane.turn(priority) as turn:
        for _ in range(blocks):
            await asyncio.sleep(EXCHANGE)
            done.append((name, now()))
            if turn.outranked():
                return
            await turn.again()


async def started(*coroutines):
    tasks = [asyncio.create_task(c) for c in coroutines]
    await asyncio.sleep(0)
    return tasks


async def waits(task, lane, priority):
    """How long an exchange at `priority` waits for its start, asked for 0.4 s from now."""
    await asyncio.sleep(0.4)
    asked = now()
    async with lane.turn(priority):
        waited = now() - asked
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return waited


async def test_an_alarm_waits_for_one_exchange_of_its_own_meter_at_most():
    lane = Lane(Medium("plc"))
    (month,) = await started(exchanges(lane, Priority.SCHEDULED, 700, [], "month"))
    assert await waits(month, lane, Priority.ALARM) <= EXCHANGE


async def test_an_alarm_waits_for_one_exchange_of_a_neighbour_at_most():
    medium = Medium("plc")
    tasks = await started(*(exchanges(Lane(medium), Priority.SCHEDULED, 700, [], "month") for _ in range(20)))
    waited = await waits(tasks[0], Lane(medium), Priority.ON_DEMAND)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert waited <= EXCHANGE


async def test_a_neighbour_does_not_slip_in_when_the_meter_of_an_alarm_ends_its_exchange():
    medium, done = Medium("plc"), []
    lane = Lane(medium)
    await started(
        exchanges(lane, Priority.SCHEDULED, 2, done, "own"),
        exchanges(Lane(medium), Priority.SCHEDULED, 2, done, "neighbour"),
    )
    await asyncio.sleep(0.1)
    await exchanges(lane, Priority.ALARM, 1, done, "alarm")
    assert [name for name, _ in done] == ["own", "alarm"]
    await asyncio.sleep(10)


async def test_a_transfer_of_many_blocks_gives_way_between_two_of_them():
    lane = Lane(Medium("plc"))
    (blocks,) = await started(transfer(lane, Priority.BACKFILL, 700, [], "blocks"))
    assert await waits(blocks, lane, Priority.ALARM) <= EXCHANGE


async def test_canary_a_transfer_that_does_not_look_behind_it_keeps_the_alarm_waiting():
    async def stubborn(lane):
        async with lane.turn(Priority.BACKFILL) as turn:
            for _ in range(100):
                await asyncio.sleep(EXCHANGE)
                await turn.again()

    lane = Lane(Medium("plc"))
    (blocks,) = await started(stubborn(lane))
    assert await waits(blocks, lane, Priority.ALARM) > 90 * EXCHANGE


async def test_who_holds_a_meter_inherits_the_rank_of_who_waits_behind():
    """A backfill in the midst of opening the association would wait for the whole street, and an alarm behind it."""
    medium, done = Medium("plc"), []
    lane = Lane(medium)
    street = await started(*(exchanges(Lane(medium), Priority.SCHEDULED, 50, [], "street") for _ in range(5)))

    async def opening():
        async with lane.turn(Priority.SCHEDULED) as turn:
            for _ in range(3):
                await asyncio.sleep(EXCHANGE)
                await turn.again()

    (low,) = await started(opening())
    await asyncio.sleep(5.4)  # it has its first turn after the five
    asked = now()
    await exchanges(lane, Priority.ALARM, 1, done, "alarm")
    assert now() - asked <= 5 * EXCHANGE  # one under way, three of the opening, its own
    for task in (*street, low):
        task.cancel()
    await asyncio.gather(*street, low, return_exceptions=True)


async def test_equals_take_turns():
    medium, done = Medium("plc"), []
    await asyncio.gather(*(exchanges(Lane(medium), Priority.SCHEDULED, 10, done, name) for name in "abcd"))
    for at in range(0, 40, 4):
        assert sorted(name for name, _ in done[at : at + 4]) == list("abcd")


async def test_priorities_go_in_order():
    medium, done = Medium("plc"), []
    (first,) = await started(exchanges(Lane(medium), Priority.BACKFILL, 1, done, "busy"))
    others = await started(
        *(exchanges(Lane(medium), priority, 1, done, priority) for priority in sorted(Priority, reverse=True))
    )
    await asyncio.gather(first, *others)
    assert [name for name, _ in done] == ["busy", *sorted(Priority)]


async def test_concurrency_is_a_limit_and_one_meter_has_one_exchange_at_a_time():
    medium, running, most = Medium("plc", concurrency=3), [], []

    async def one(lane, name):
        async with lane.turn(Priority.SCHEDULED):
            assert name not in running
            running.append(name)
            most.append(len(running))
            await asyncio.sleep(EXCHANGE)
            running.remove(name)

    lanes = {name: Lane(medium) for name in range(6)}
    await asyncio.gather(*(one(lanes[name], name) for name in range(6) for _ in range(4)))
    assert max(most) == 3
    assert now() == pytest.approx(24 / 3 * EXCHANGE)


async def test_withdrawn_turns_leave_nothing_behind():
    medium = Medium("plc")
    lane = Lane(medium)
    (busy,) = await started(exchanges(Lane(medium), Priority.SCHEDULED, 1, [], "busy"))
    for _ in range(500):
        (task,) = await started(exchanges(lane, Priority.ALARM, 1, [], "withdrawn"))
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert len(medium._waiting) < 200
    await busy
    assert medium.waiting == medium.under_way == 0


async def test_a_turn_withdrawn_in_the_moment_in_which_it_is_granted_gives_its_slot_back():
    medium = Medium("plc")
    task = asyncio.create_task(exchanges(Lane(medium), Priority.ALARM, 1, [], "withdrawn"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert medium.under_way == 0
    await exchanges(Lane(medium), Priority.BACKFILL, 1, [], "next")


@given(seed=st.integers(0, 1 << 32), concurrency=st.integers(1, 3))
@settings(max_examples=25, deadline=None)
def test_whatever_is_withdrawn_the_slots_add_up(seed, concurrency):
    async def street():
        random, medium = Random(seed), Medium("plc", concurrency=concurrency)
        lanes = [Lane(medium) for _ in range(5)]

        async def one(lane, priority):
            async with lane.turn(priority) as turn:
                for _ in range(random.randrange(3)):
                    await asyncio.sleep(EXCHANGE)
                    if turn.outranked():
                        return
                    await turn.again()

        tasks = []
        for _ in range(60):
            urgent = random.random() < 0.1
            priority = Priority.ALARM if urgent else random.choice((Priority.SCHEDULED, Priority.BACKFILL))
            tasks.append(asyncio.create_task(one(random.choice(lanes), priority)))
            await asyncio.sleep(random.random())
            if random.random() < 0.2:
                random.choice(tasks).cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert medium.under_way == medium.waiting == 0

    loop = looptime.new_event_loop(start=0, idle_step=0.01, idle_timeout=600)
    try:
        loop.run_until_complete(street())
    finally:
        loop.close()


async def test_the_air_that_is_spent_in_the_long_run_is_the_duty():
    medium = Medium("rf", concurrency=4, air=AirTime(bitrate=8_000, duty=0.1, burst=5, reserve=0.2))
    lanes = [Lane(medium) for _ in range(8)]
    tasks = await started(*(exchanges(lane, Priority.SCHEDULED, 1000, [], "x", size=500) for lane in lanes))
    await asyncio.sleep(1000)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert 0.95 * 100 <= medium.air_seconds <= 100 + 5 + 4 * 0.5


async def test_an_alarm_finds_air_when_the_schedule_has_spent_its_share():
    medium = Medium("rf", air=AirTime(bitrate=8_000, duty=0.01, burst=10, reserve=0.2))
    (poll,) = await started(exchanges(Lane(medium), Priority.SCHEDULED, 1000, [], "x", size=1000))
    await asyncio.sleep(60)
    assert medium.air_left < 2
    assert await waits(poll, Lane(medium), Priority.ALARM) <= EXCHANGE


def test_the_bucket_refills_to_its_rim_and_no_further():
    budget = Budget(AirTime(bitrate=8, duty=0.5, burst=10, reserve=0))
    assert budget.wait(Priority.SCHEDULED, 0) == 0
    budget.charge(30, 0)
    assert budget.level == -20
    assert budget.wait(Priority.SCHEDULED, 0) == 40
    assert budget.wait(Priority.SCHEDULED, 40) == 0
    assert budget.wait(Priority.SCHEDULED, 4000) == 0
    assert budget.level == 10
