"""Commands and clocks: done once, read back, audited; a request that went unanswered is never just sent again."""

import asyncio
from contextlib import suppress
from datetime import timedelta

import pytest

from dcu.collect.jobs import clock, command, effect, opaque
from dcu.collect.jobs.command import CommandReport
from dcu.cosem import apdu, axdr, objects
from dcu.cosem.apdu import ActionRequestNormal, ActionResponseNormal, GetRequestNormal, GetResponseNormal
from dcu.cosem.datetimes import CosemDate, CosemDateTime, CosemTime
from dcu.errors import AccessDenied, ConfigError, JobCancelled, JobError, LinkTimeout
from dcu.model import AttributeRef, MethodRef, Obis, Priority
from neighbourhood.meter import Event, Habits
from neighbourhood.relay import Relay
from tests.collect.rig import ANSWER, DAY, GLO_ACTION, GLO_SET, LOSE_ANSWER, LOSE_REQUEST, Forged, family, rig, stepped

pytestmark = pytest.mark.looptime

ENERGY = AttributeRef.parse("3,1-0:1.8.0*255,2")


async def connected(street):
    """Associate, so that the next action is the command and not HLS."""
    await street.meter().run(lambda session: session.get(ENERGY), Priority.ON_DEMAND)
    street.seen.clear()


def switch(street, what, **options):
    return street.scheduler.run(
        what,
        street.meter(),
        Priority.COMMAND,
        lambda job: command.switch_relay(street.services, job, what, "the test"),
        **options,
    )


def synchronise(street):
    return street.scheduler.run(
        "clock", street.meter(), Priority.COMMAND, lambda job: clock.synchronise(street.services, job, "the test")
    )


async def audit(street, action):
    return [entry.detail for entry in reversed(await street.store.audit_log()) if entry.action == action]


def happened(street, code):
    return [event for event in street.simulated().events() if event[1] == code]


def first(kind, fate):
    """The first request of this kind meets this fate, all others are answered."""
    left = [1]

    def weather(seen):
        if seen.tag == kind and left and seen.client == 1:
            left.pop()
            return fate
        return ANSWER

    return weather


async def test_a_relay_is_switched_read_back_and_audited(tmp_path):
    async with rig(tmp_path) as street:
        assert await switch(street, "disconnect") == CommandReport(False, "disconnected", True)
        assert street.simulated().relay is Relay.DISCONNECTED
        assert await switch(street, "reconnect") == CommandReport(True, "connected", True)
        assert await audit(street, "disconnect") == ["asked", "done"]
        assert {entry.actor for entry in await street.store.audit_log() if entry.action == "reconnect"} == {"the test"}


async def test_a_reconnection_that_waits_for_the_householder_is_confirmed_as_that(tmp_path):
    async with rig(tmp_path, habits=Habits(relay_mode=3)) as street:
        await switch(street, "disconnect")
        assert await switch(street, "reconnect") == CommandReport(False, "ready_for_reconnection", True)


async def test_a_command_whose_answer_is_lost_is_not_repeated_but_read_back(tmp_path):
    async with rig(tmp_path) as street:
        await connected(street)
        street.weather = first(GLO_ACTION, LOSE_ANSWER)
        assert (await switch(street, "disconnect")).confirmed
        assert len(happened(street, Event.REMOTE_DISCONNECTION)) == 1
        assert await audit(street, "disconnect") == ["asked", "unanswered, but done: read back"]


async def test_canary_a_blind_repetition_would_be_seen(tmp_path, monkeypatch):
    """Send again without looking: the meter does it twice, and the assertion above would fail."""

    async def blind(services, job, deed):
        while True:
            try:
                await job.meter.run(deed.send, deed.priority)
                return effect.Effect(await deed.look(), True)
            except LinkTimeout:
                await asyncio.sleep(61)  # the meter's log enters one and the same thing once a minute

    monkeypatch.setattr(command, "accomplish", blind)
    async with rig(tmp_path) as street:
        await connected(street)
        street.weather = first(GLO_ACTION, LOSE_ANSWER)
        await switch(street, "disconnect")
        assert len(happened(street, Event.REMOTE_DISCONNECTION)) == 2


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param("d80206ffffffff", id="plain exception-response: invocation-counter-error"),
        pytest.param("d80102", id="plain exception-response: service-not-supported"),
        pytest.param("c701c00300", id="plain action-response: read-write-denied"),
        pytest.param("cf1e3000000001" + 27 * "00", id="a tag that does not fit"),
        pytest.param("ff", id="no APDU"),
    ],
)
async def test_what_is_not_proven_is_no_refusal_and_no_reason_to_send_again(tmp_path, answer):
    async with rig(tmp_path) as street:
        await connected(street)
        street.weather = first(GLO_ACTION, Forged(bytes.fromhex(answer)))
        try:
            assert (await switch(street, "disconnect")).confirmed
        except JobError as error:  # nonsense quarantines the meter, and then nobody knows
            assert "unknown" in str(error)  # noqa: PT017
        assert len(happened(street, Event.REMOTE_DISCONNECTION)) == 1
        assert street.tags().count(GLO_ACTION) <= 2  # the command, and HLS of the association that reads back
        assert not any("refused" in detail for detail in await audit(street, "disconnect"))


async def test_a_meter_that_is_not_there_is_told_as_such_and_nothing_was_sent(tmp_path):
    async with rig(tmp_path) as street:
        street.weather = lambda seen: LOSE_REQUEST
        with pytest.raises(LinkTimeout):
            await switch(street, "disconnect")
        assert (await audit(street, "disconnect"))[-1].startswith("not sent: ")


async def test_a_command_that_never_arrived_is_sent_once_more_after_reading_back(tmp_path):
    async with rig(tmp_path) as street:
        await connected(street)
        street.weather = first(GLO_ACTION, LOSE_REQUEST)
        assert (await switch(street, "disconnect")).confirmed
        assert len(happened(street, Event.REMOTE_DISCONNECTION)) == 1
        assert await audit(street, "disconnect") == [
            "asked",
            "unanswered, and not done: read back; sent once more",
            "done",
        ]


async def test_without_ciphering_it_is_not_sent_once_more(tmp_path):
    """Nothing would keep the meter from doing it twice when the first copy arrives late."""
    profile = family(addresses={"client": 1}, security={"authentication": "low", "request": "none", "response": "none"})
    from dcu.cosem.association import Authentication

    async with rig(tmp_path, profile=profile, habits=Habits(authentication=Authentication.LOW)) as street:
        street.weather = first(0xC3, LOSE_REQUEST)
        with pytest.raises(JobError, match="not executed"):
            await switch(street, "disconnect")
        assert street.tags().count(0xC3) == 1


async def test_a_command_whose_effect_cannot_be_read_back_is_reported_as_unknown(tmp_path):
    async with rig(tmp_path) as street:
        await connected(street)
        dead = []

        def weather(seen):
            if seen.tag == GLO_ACTION and not dead:
                dead.append(seen)
                return LOSE_ANSWER
            return LOSE_REQUEST if dead else ANSWER

        street.weather = weather
        with pytest.raises(JobError, match="unknown"):
            await switch(street, "disconnect")
        assert len(happened(street, Event.REMOTE_DISCONNECTION)) == 1
        assert "could not be read back" in (await audit(street, "disconnect"))[-1]


async def test_a_command_on_the_line_can_be_neither_cancelled_nor_expire(tmp_path):
    async with rig(tmp_path) as street:
        await connected(street)
        street.weather = first(GLO_ACTION, LOSE_ANSWER)
        task = asyncio.create_task(switch(street, "disconnect", deadline=3))
        await asyncio.sleep(1.5)
        (job,) = street.scheduler.jobs()
        with pytest.raises(JobError, match="on the line"):
            street.scheduler.cancel(job.id)
        assert (await task).confirmed


async def test_a_command_that_still_waits_can_be_cancelled_and_nothing_is_sent(tmp_path):
    async with rig(tmp_path, meters=2) as street:
        await connected(street)
        async with street.meter(1).lane.turn(Priority.SCHEDULED):
            task = asyncio.create_task(switch(street, "disconnect"))
            await asyncio.sleep(5)
            (job,) = street.scheduler.jobs()
            street.scheduler.cancel(job.id)
            with pytest.raises(JobCancelled):
                await task
        await asyncio.sleep(30)
        assert GLO_ACTION not in street.tags(street.meter(0))


async def test_a_refused_command_is_audited_with_the_meters_reason(tmp_path):
    async with rig(tmp_path, habits=Habits(relay_mode=0)) as street:
        with pytest.raises(AccessDenied):
            await switch(street, "disconnect")
        assert (await audit(street, "disconnect"))[-1].startswith("refused: ")


@pytest.mark.parametrize("adjust", ["shift", "set"])
@pytest.mark.parametrize("error", [-40, 90])
async def test_a_clock_is_set_right_and_read_back(tmp_path, adjust, error):
    async with rig(tmp_path, profile=family(clock={"adjust": adjust})) as street:
        street.simulated().set_clock(street.second() + error)
        report = await synchronise(street)
        assert report.adjusted
        assert abs(report.offset - error) <= 2
        assert abs(report.after) <= 2
        assert abs(street.simulated().shown() - street.second()) <= 2
        assert (await audit(street, "clock"))[-1].endswith(": done")


async def test_a_clock_within_the_tolerance_is_left_alone(tmp_path):
    async with rig(tmp_path) as street:
        street.simulated().set_clock(street.second() + 2)
        assert not (await synchronise(street)).adjusted
        assert not await audit(street, "clock")
        assert GLO_SET not in street.tags()


async def test_waiting_for_a_turn_is_not_taken_for_an_offset(tmp_path):
    async with rig(tmp_path) as street:
        street.simulated().set_clock(street.second())
        await connected(street)
        async with street.meter().lane.turn(Priority.ALARM):
            task = asyncio.create_task(synchronise(street))
            await asyncio.sleep(120)
        assert abs((await task).offset) <= 2


async def test_no_clock_is_touched_while_ours_is_not_trusted(tmp_path):
    async with rig(tmp_path, trusted=False) as street:
        street.simulated().set_clock(street.second() + 60)
        with pytest.raises(JobError, match="ours is not synchronised"):
            await synchronise(street)
        assert street.simulated().shown() - street.second() == 60


async def test_a_clock_that_shows_no_time_is_set(tmp_path, monkeypatch):
    """Its battery was empty: it is exactly the one that needs it, however far off it is."""
    async with rig(tmp_path) as street:
        await connected(street)
        street.simulated().set_clock(street.second() - 5 * 365 * DAY)
        unset = objects.decode_clock(axdr.encode(axdr.octets(CosemDateTime(CosemDate(), CosemTime()).encode())))
        shown = [unset]
        decode = objects.decode_clock
        monkeypatch.setattr("dcu.cosem.objects.decode_clock", lambda raw: shown.pop() if shown else decode(raw))
        report = await synchronise(street)
        assert report.adjusted
        assert abs(report.after) <= 3
        assert street.meter().state == "ok"
        assert any("shows no time" in entry for entry in await audit(street, "clock"))


@pytest.mark.parametrize("at", [0.5, 1.5], ids=["while it is compared", "before it is set right"])
async def test_a_clock_is_not_set_wrong_where_ours_is_stepped_meanwhile(tmp_path, at):
    async with rig(tmp_path) as street:
        await connected(street)
        ours = stepped(street, minutes=14)

        async def step():
            await asyncio.sleep(0.4)
            alarm = street.meter().run(lambda session: session.get(ENERGY), Priority.ALARM)  # keeps the setting waiting
            waiting = asyncio.create_task(alarm)
            await asyncio.sleep(at - 0.4)
            ours.by = timedelta(0)  # it is right from now on
            await waiting

        task = asyncio.create_task(step())
        error = street.simulated().clock_error(street.second())
        with suppress(JobError):
            await synchronise(street)
        await task
        assert abs(street.simulated().clock_error(street.second())) <= max(3, abs(error))


async def test_a_clock_that_is_far_off_is_reported_and_left_alone(tmp_path):
    async with rig(tmp_path) as street:
        street.simulated().set_clock(street.second() + 7_200)
        with pytest.raises(JobError, match="more than the 900 s"):
            await synchronise(street)
        assert street.simulated().shown() - street.second() >= 7_190
        assert "left alone" in (await audit(street, "clock"))[0]
        assert street.events("alarm")[0]["kind"] == "clock"


async def test_a_shift_whose_answer_is_lost_is_not_made_twice(tmp_path):
    async with rig(tmp_path) as street:
        street.simulated().set_clock(street.second() + 60)
        await connected(street)
        street.weather = first(GLO_ACTION, LOSE_ANSWER)
        report = await synchronise(street)
        assert abs(street.simulated().shown() - street.second()) <= 2
        assert abs(report.after) <= 2
        assert (await audit(street, "clock"))[-1].endswith("unanswered, but done: read back")


async def test_canary_a_blind_repetition_of_a_shift_would_be_seen(tmp_path, monkeypatch):
    async def blind(services, job, deed):
        while True:
            try:
                await job.meter.run(deed.send, deed.priority)
                now = await deed.look()
                return effect.Effect(now, deed.shows(now))
            except LinkTimeout:
                continue

    monkeypatch.setattr(clock, "accomplish", blind)
    async with rig(tmp_path) as street:
        street.simulated().set_clock(street.second() + 60)
        await connected(street)
        street.weather = first(GLO_ACTION, LOSE_ANSWER)
        with pytest.raises(JobError, match="still off"):
            await synchronise(street)
        assert street.simulated().shown() - street.second() <= -57  # shifted twice


async def carried(street, request):
    return await street.scheduler.run(
        "opaque",
        street.meter(),
        Priority.ON_DEMAND,
        lambda job: opaque.pass_through(street.services, job, apdu.encode(request), "the gateway"),
    )


async def test_an_opaque_request_is_carried_both_ways(tmp_path):
    async with rig(tmp_path) as street:
        answer = apdu.decode(await carried(street, GetRequestNormal(0xC7, ENERGY)))
        assert isinstance(answer, GetResponseNormal)
        assert answer.invoke == 0xC7
        assert not await audit(street, "opaque get")


async def test_an_opaque_action_is_sent_once_and_audited(tmp_path):
    method = MethodRef(70, Obis.parse("0-0:96.3.10*255"), 1)
    async with rig(tmp_path) as street:
        await connected(street)
        answer = apdu.decode(await carried(street, ActionRequestNormal(0xC7, method, bytes.fromhex("0f00"))))
        assert isinstance(answer, ActionResponseNormal)
        street.seen.clear()
        street.weather = first(GLO_ACTION, LOSE_ANSWER)
        with pytest.raises(LinkTimeout):
            await carried(street, ActionRequestNormal(0xC7, method, bytes.fromhex("0f00")))
        assert street.tags().count(GLO_ACTION) == 1
        assert len(await audit(street, "opaque action")) == 4


def test_what_is_no_plain_request_is_not_carried():
    for raw in ("", "c0", "c801020304", "6000", "c4010000"):
        with pytest.raises(ConfigError):
            opaque.service(bytes.fromhex(raw))
