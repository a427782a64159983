"""Collecting profiles from simulated meters: what is stored is the truth, what is urgent waits for one exchange."""

import asyncio

import msgspec
import pytest

from dcu.collect.jobs.absent import FORGOTTEN_AFTER
from dcu.collect.jobs.discovery import OBJECT_LIST, elements, layout_key, profile_layout
from dcu.collect.jobs.poll import Poller, Window, missing
from dcu.collect.jobs.profile import ProfileReader, pieces
from dcu.collect.jobs.transfer import transfer
from dcu.errors import AccessDenied, MalformedAnswer
from dcu.model import AttributeRef, Obis, Priority, Reading
from neighbourhood import truth
from neighbourhood.faults import Fault
from neighbourhood.meter import Habits
from tests.collect.rig import DAY, GLO_GET, HOUR, POLL, PROFILE, family, rig

pytestmark = pytest.mark.looptime

OBIS = Obis.parse(PROFILE)
ENERGY = AttributeRef.parse("3,1-0:1.8.0*255,2")


def poller(street):
    return Poller(street.services, lambda meter, expected, collected: None)


async def polled(street, index=0, poll=POLL, priority=Priority.SCHEDULED):
    work = poller(street)
    return await street.scheduler.run("poll", street.meter(index), priority, lambda job: work.scheduled(job, poll))


def expected(street, index, start, end, period=HOUR):
    meter = street.simulated(index)
    rows = truth.rows(meter.seed, meter.number, start, end - 1, period)
    return [(row.timestamp, tuple(row.registers)) for row in rows]


async def stored(street, index, start, end):
    rows = await street.store.readings(street.meter(index).name, OBIS, start, end)
    return [(row.timestamp, row.values) for row in rows]


async def test_a_day_of_every_meter_is_the_truth(tmp_path):
    async with rig(tmp_path, meters=3, delay=0.01) as street:
        await asyncio.gather(*(polled(street, index) for index in range(3)))
        end = street.second() // HOUR * HOUR + HOUR
        for index in range(3):
            rows = await stored(street, index, end - DAY, end)
            assert rows == expected(street, index, end - DAY, end)
            assert len(rows) == 24
        layout = await street.store.layout(street.meter().name, OBIS)
        assert [(column.scaler, column.unit) for column in layout] == [(0, "Wh"), (0, "Wh"), (0, "varh"), (0, "varh")]
        assert sum(event["count"] for event in street.events("reading")) == 72


@pytest.mark.parametrize(
    "habits",
    [Habits(compress=True), Habits(period=900), Habits(max_pdu=256)],
    ids=["null-data", "quarters", "small PDUs"],
)
async def test_other_habits_give_the_truth_too(tmp_path, habits):
    async with rig(tmp_path, delay=0.01, habits=habits) as street:
        await polled(street)
        end = (street.second() - 60) // habits.period * habits.period + habits.period
        assert await stored(street, 0, end - DAY, end) == expected(street, 0, end - DAY, end, habits.period)


async def test_a_meter_that_selects_by_entry_only_gives_the_truth_too(tmp_path):
    profile = family(quirks={"selective_access": "entry"})
    async with rig(tmp_path, delay=0.01, profile=profile) as street:
        await polled(street)
        end = street.second() // HOUR * HOUR + HOUR
        assert await stored(street, 0, end - DAY, end) == expected(street, 0, end - DAY, end)


async def test_what_is_there_is_not_read_again(tmp_path):
    async with rig(tmp_path, delay=0.01) as street:
        await polled(street)
        street.seen.clear()
        await polled(street)
        assert not street.seen
        await asyncio.sleep(3 * HOUR)
        await polled(street)
        assert street.tags().count(GLO_GET) == 1


async def test_what_a_meter_does_not_have_is_asked_for_once_more_and_then_left(tmp_path):
    async with rig(tmp_path, delay=0.01, habits=Habits(capacity=12)) as street:
        work = poller(street)

        async def again():
            street.seen.clear()
            await street.scheduler.run(
                "poll", street.meter(), Priority.SCHEDULED, lambda job: work.scheduled(job, POLL)
            )
            return street.tags().count(GLO_GET)

        work._verified[OBIS] = {street.meter().name: 0.0}
        assert [bool(await again()) for _ in range(4)] == [True, True, False, False]
        await asyncio.sleep(FORGOTTEN_AFTER)
        assert await again()


async def test_a_long_range_is_cut_so_that_each_answer_is_one_piece(tmp_path):
    async with rig(tmp_path, delay=0.01) as street:
        meter = street.meter()
        layout = await profile_layout(street.services, meter, OBIS, Priority.SCHEDULED)
        reader = ProfileReader(street.services, meter, OBIS, layout, Priority.BACKFILL)
        street.seen.clear()
        end = street.second() // HOUR * HOUR
        cuts = [(asked, len(rows)) async for asked, rows in reader.read([(end - 30 * DAY, end)])]
        assert sum(rows for _, rows in cuts) == 720
        assert cuts[0][0][1] == end  # the newest first
        assert [a[0] for a, _ in cuts[:-1]] == [b[1] for b, _ in cuts[1:]]
        blocks = len(street.seen) - len(cuts)
        assert blocks <= 2  # what the first guess of a row's size was wrong by


async def month(street, index=0):
    """A backfill of a month, at work."""
    await profile_layout(street.services, street.meter(index), OBIS, Priority.SCHEDULED)
    work = poller(street)
    poll = type(POLL)(profile=PROFILE, history=30.0 * DAY)
    task = asyncio.create_task(
        street.scheduler.run("backfill", street.meter(index), Priority.BACKFILL, lambda job: work.backfill(job, poll))
    )
    await asyncio.sleep(0.4)  # in the midst
    return task


async def on_demand(street, index=0, priority=Priority.ON_DEMAND):
    asked = street.now()
    await street.meter(index).run(lambda session: session.get(ENERGY), priority)
    return street.now() - asked


async def over(*tasks):
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.parametrize("priority", [Priority.ALARM, Priority.COMMAND, Priority.ON_DEMAND, Priority.SCHEDULED])
async def test_what_is_urgent_waits_for_one_exchange_of_a_month_on_the_same_meter(tmp_path, priority):
    async with rig(tmp_path, delay=0.5) as street:
        task = await month(street)
        assert await on_demand(street, priority=priority) <= 2 * 1.0 + 0.01  # one under way, and its own
        await over(task)


async def test_what_is_urgent_waits_for_one_exchange_of_a_month_on_the_same_medium(tmp_path):
    async with rig(tmp_path, meters=4, delay=0.5) as street:
        await on_demand(street, 3)
        tasks = [await month(street, index) for index in range(3)]
        assert await on_demand(street, 3) <= 2 * 1.0 + 0.01
        await over(*tasks)


async def test_what_is_urgent_waits_for_one_block_where_a_meter_sends_blocks(tmp_path):
    """The family promises more than the meter can send in one piece: every answer comes in a dozen blocks."""
    profile = family(quirks={"rows_per_exchange": 200}, session={"max_pdu": 128})
    async with rig(tmp_path, delay=0.5, profile=profile) as street:
        task = await month(street)
        assert await on_demand(street) <= 2 * 1.0 + 0.01
        await over(task)


async def test_canary_blocks_that_do_not_give_way_keep_the_urgent_waiting(tmp_path, monkeypatch):
    profile = family(quirks={"rows_per_exchange": 200}, session={"max_pdu": 128})
    monkeypatch.setattr("dcu.collect.medium.Turn.outranked", lambda turn, by=None: False)
    async with rig(tmp_path, delay=0.5, profile=profile) as street:
        task = await month(street)
        assert await on_demand(street) > 10
        await over(task)


async def test_canary_a_month_in_one_exchange_keeps_the_urgent_waiting(tmp_path, monkeypatch):
    monkeypatch.setattr("dcu.collect.medium.Turn.outranked", lambda turn, by=None: False)
    monkeypatch.setattr(ProfileReader, "rows_at_once", property(lambda reader: 720))
    async with rig(tmp_path, delay=0.5) as street:
        await profile_layout(street.services, street.meter(), OBIS, Priority.SCHEDULED)
        work, poll = poller(street), type(POLL)(profile=PROFILE, history=30.0 * DAY)
        job = street.scheduler.submit(
            "backfill", street.meter(), Priority.BACKFILL, lambda job: work.backfill(job, poll)
        )
        await asyncio.sleep(2.4)
        assert await on_demand(street) > 10
        await job.result


async def test_a_month_that_is_interrupted_again_and_again_is_whole_in_the_end(tmp_path):
    profile = family(quirks={"rows_per_exchange": 100}, session={"max_pdu": 128})
    async with rig(tmp_path, delay=0.05, profile=profile) as street:
        work, poll = poller(street), type(POLL)(profile=PROFILE, history=30.0 * DAY)
        job = street.scheduler.submit(
            "backfill", street.meter(), Priority.BACKFILL, lambda job: work.backfill(job, poll)
        )
        end = street.second() // HOUR * HOUR + HOUR
        while not job.ended:
            await asyncio.sleep(1.3)
            await on_demand(street)
        assert await stored(street, 0, end - 30 * DAY, end) == expected(street, 0, end - 30 * DAY, end)


async def test_an_object_list_that_is_interrupted_again_and_again_is_read_in_the_end(tmp_path):
    async with rig(tmp_path, delay=0.05, profile=family(session={"max_pdu": 128})) as street:
        work = transfer(street.meter(), lambda session: session.get(OBJECT_LIST), Priority.BACKFILL)
        task = asyncio.create_task(work)
        while not task.done():
            await asyncio.sleep(1.3)
            await on_demand(street)
        assert len(elements(task.result())) > 20


async def test_meters_of_equal_rank_get_their_share(tmp_path):
    async with rig(tmp_path, meters=4, delay=0.05) as street:
        street.scheduler._batch = 4
        tasks = [await month(street, index) for index in range(4)]
        street.seen.clear()
        await asyncio.sleep(1.2)
        counts = [len(street.tags(street.meter(index))) for index in range(4)]
        await over(*tasks)
        assert max(counts) - min(counts) <= 1


async def test_nonsense_quarantines_the_meter_with_its_reason(tmp_path):
    async with rig(tmp_path, faults=[Fault.parse("nonsense:1")]) as street:
        with pytest.raises((MalformedAnswer, AccessDenied)):
            await polled(street)
        meter = street.meter()
        assert meter.state == "quarantined"
        assert meter.reason
        assert (await street.store.meter(meter.name)).reason == meter.reason


@pytest.mark.parametrize(
    ("gaps", "rows", "cut"),
    [
        ([(0, 10)], 4, [(6, 10), (2, 6), (0, 2)]),
        ([(0, 3), (10, 12)], 5, [(10, 12), (0, 3)]),
        ([], 5, []),
    ],
)
def test_pieces_come_newest_first(gaps, rows, cut):
    assert pieces(gaps, rows, 1) == cut


def test_a_reading_counts_for_the_nearest_multiple_of_the_period():
    rows = [Reading(at, None, ()) for at in (3601, 7199, 18_000)]
    assert missing((0, 6 * HOUR), rows, HOUR) == [(0, HOUR), (3 * HOUR, 5 * HOUR)]


def test_a_window_ends_with_what_the_meter_must_have_captured():
    window = Window.until(12 * HOUR + 30, POLL, DAY, HOUR)
    assert window.end == 12 * HOUR  # 12:00 is not due before 12:01
    assert Window.until(12 * HOUR + 60, POLL, DAY, HOUR).end == 13 * HOUR
    assert window.rows == 24


async def test_a_profile_that_was_given_another_layout_is_discovered_anew(tmp_path):
    async with rig(tmp_path, delay=0.01) as street:
        layout = await profile_layout(street.services, street.meter(), OBIS, Priority.SCHEDULED)
        other = msgspec.structs.replace(layout, captured=layout.captured[:-1])
        await street.store.remember(layout_key(street.meter().name, OBIS), msgspec.msgpack.encode(other))
        await polled(street)
        assert street.meter().state == "ok"
        end = street.second() // HOUR * HOUR + HOUR
        assert await stored(street, 0, end - DAY, end) == expected(street, 0, end - DAY, end)


async def test_an_object_list_gives_way_to_commands_also_when_it_has_been_patient_for_long(tmp_path):
    async with rig(tmp_path, delay=0.05, profile=family(session={"max_pdu": 128})) as street:
        await on_demand(street)
        task = asyncio.create_task(
            transfer(street.meter(), lambda session: session.get(OBJECT_LIST), Priority.BACKFILL)
        )
        for _ in range(8):
            await asyncio.sleep(1.3)
            assert await on_demand(street, priority=Priority.COMMAND) <= 0.2 + 0.01
        await task
