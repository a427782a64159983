"""What befalls a firmware image on its way into a meter, beside cuts and kills (test_image_cuts).

What is compared with stands in the simulated meter: its image, and its own account of what came twice.
"""

import asyncio

import pytest

from dcu.collect.jobs import image as job
from dcu.collect.jobs.image import Phase, ordered
from dcu.errors import ConfigError, JobError
from dcu.model import AttributeRef, Priority
from neighbourhood.image import Busy, Status, firmware
from tests.collect.images import NAME, audit, ended, offered, send
from tests.collect.rig import ANSWER, GLO_ACTION, LOSE_ANSWER, LOSE_REQUEST, imaging, rig

pytestmark = pytest.mark.looptime

ENERGY = AttributeRef.parse("3,1-0:1.8.0*255,2")


async def test_an_image_is_sent_verified_checked_and_waits_to_be_activated(tmp_path):
    async with rig(tmp_path, delay=0.05) as street:
        made, raw = imaging(street, tmp_path), firmware("2.0.0", 20_000)
        await send(made, street, raw)
        assert (await ended(made)).phase == Phase.VERIFIED
        image = street.simulated().works.image
        assert (image.version, image.status(street.second())) == ("1.0.0", Status.VERIFIED)
        await made.activate([street.meter().name], 0, "the operator")
        assert (await ended(made)).phase == Phase.ACTIVE
        assert image.version == "2.0.0"
        told = [line.rpartition(": ")[2] for line in await audit(street)]
        assert told == [
            "ordered by the test", "sending", "verifying", "verified",
            "to be activated now, by the operator", "activating", "activating", "active",
        ]  # fmt: skip
        assert not list((tmp_path / "images").iterdir())


async def test_an_image_is_activated_by_the_meter_at_a_time_of_its_own_clock(tmp_path):
    async with rig(tmp_path, delay=0.05) as street:
        made, raw = imaging(street, tmp_path), firmware("2.0.0", 20_000)
        at = street.second() + 7_200
        await send(made, street, raw, at=at)
        assert (await ended(made)).phase == Phase.SCHEDULED
        image = street.simulated().works.image
        while street.second() < at + 900:
            assert (image.version == "1.0.0") or street.second() >= at
            await asyncio.sleep(60)
        assert made.views()[0].phase == Phase.ACTIVE
        assert image.version == "2.0.0"


async def test_a_damaged_image_is_not_activated(tmp_path):
    async with rig(tmp_path, delay=0.05) as street:
        made, raw = imaging(street, tmp_path), firmware("2.0.0", 20_000)[:-1] + b"\0"
        await send(made, street, raw, activate=True)
        view = await ended(made)
        assert view.phase == Phase.FAILED
        assert "verification failed" in view.message
        assert street.simulated().works.image.version == "1.0.0"


@pytest.mark.parametrize(
    "wrong", [{"expected": b"GDM-2.0.1"}, {"signature": b"another"}], ids=["identification", "signature"]
)
async def test_what_the_meter_would_activate_has_to_be_what_was_sent(tmp_path, wrong):
    async with rig(tmp_path, delay=0.05) as street:
        made = imaging(street, tmp_path)
        await send(made, street, firmware("2.0.0", 20_000), activate=True, **wrong)
        view = await ended(made)
        assert view.phase == Phase.FAILED
        assert "the meter would activate" in view.message
        assert street.simulated().works.image.version == "1.0.0"


async def test_canary_without_the_check_a_foreign_image_would_be_activated(tmp_path, monkeypatch):
    async def blind(self):
        return None

    monkeypatch.setattr(job.Transfer, "_check", blind)
    async with rig(tmp_path, delay=0.05) as street:
        made = imaging(street, tmp_path)
        await send(made, street, firmware("2.0.0", 20_000), activate=True, expected=b"another")
        await ended(made)
        assert street.simulated().works.image.version == "2.0.0"


async def counting(street, monkeypatch):
    """How often each action of the image transfer reached the meter."""
    image, counts = street.simulated().works.image, dict.fromkeys(("initiate", "verify", "activate"), 0)
    kind = type(image)
    for name in counts:

        def counted(self, *args, name=name, method=getattr(kind, name)):
            counts[name] += 1
            return method(self, *args)

        monkeypatch.setattr(kind, name, counted)
    return counts


def losing(which, fate):
    """The `which`-th small ACTION of an association that is proven meets this fate."""
    seen_actions = [0]

    def weather(seen):
        if seen.tag == GLO_ACTION and seen.size <= 90:
            seen_actions[0] += 1
            if seen_actions[0] == which:
                return fate
        return ANSWER

    return weather


@pytest.mark.parametrize("which", ["initiate", "verify", "activate"])
@pytest.mark.parametrize("fate", [LOSE_REQUEST, LOSE_ANSWER])
async def test_an_action_whose_answer_is_lost_is_read_back_and_not_repeated_blindly(tmp_path, monkeypatch, which, fate):
    asked = {"initiate": 1, "verify": 2, "activate": 3}[which]  # small actions once the association stands
    async with rig(tmp_path, delay=0.05) as street:
        await street.meter().run(lambda session: session.get(ENERGY), Priority.ON_DEMAND)
        counts = await counting(street, monkeypatch)
        street.weather = losing(asked, fate)
        made = imaging(street, tmp_path)
        await send(made, street, firmware("2.0.0", 8_000), activate=True)
        assert (await ended(made)).phase == Phase.ACTIVE
        assert counts == {"initiate": 1, "verify": 1, "activate": 1}
        assert street.simulated().works.image.repeated == 0


def idling(street, monkeypatch, name):
    """The meter says that it begins, and does not. Returns when it was asked, as it goes on."""
    asked = []

    def idle(self, now):
        asked.append(now)
        raise Busy

    monkeypatch.setattr(type(street.simulated().works.image), name, idle)
    return asked


@pytest.mark.parametrize(("ciphered", "asked"), [(True, 2), (False, 1)])
async def test_a_meter_that_does_not_activate_is_asked_once_more_only_where_a_late_copy_would_be_refused(
    tmp_path, monkeypatch, ciphered, asked
):
    """Without ciphering the first request may still be on its way, and be carried out after the second."""
    async with rig(tmp_path, delay=0.05) as street:
        made, times = imaging(street, tmp_path), idling(street, monkeypatch, "activate")
        if not ciphered:
            monkeypatch.setattr(type(street.meter()), "ciphered", False)
        await send(made, street, firmware("2.0.0", 8_000), activate=True)
        view = await ended(made)
        assert (view.phase, len(times)) == (Phase.FAILED, asked)
        assert "was asked to activate the image, and did not" in view.message


async def test_a_meter_that_does_not_verify_is_asked_twice_at_most(tmp_path, monkeypatch):
    async with rig(tmp_path, delay=0.05) as street:
        made, asked = imaging(street, tmp_path), idling(street, monkeypatch, "verify")
        await send(made, street, firmware("2.0.0", 8_000), activate=True)
        view = await ended(made)
        assert (view.phase, len(asked)) == (Phase.FAILED, 2)
        assert "does not verify the image" in view.message
        assert street.simulated().works.image.version == "1.0.0"


async def test_a_meter_that_is_never_done_verifying_is_given_up_after_an_hour(tmp_path, monkeypatch):
    async with rig(tmp_path, delay=0.05) as street:
        made, kind = imaging(street, tmp_path), type(street.simulated().works.image)
        status = kind.status

        def for_ever(self, now):
            found = status(self, now)
            return Status.VERIFYING if found is Status.VERIFIED else found

        monkeypatch.setattr(kind, "status", for_ever)
        began = asyncio.get_running_loop().time()
        await send(made, street, firmware("2.0.0", 8_000), activate=True)
        view = await ended(made)
        assert (view.phase, "has been verifying for 3600 s" in view.message) == (Phase.FAILED, True)
        assert 3_600 <= asyncio.get_running_loop().time() - began < 4_000


async def test_canary_a_blind_repetition_of_an_action_would_be_seen(tmp_path, monkeypatch):
    ask = job.Transfer._ask

    async def blind(self, make):
        try:
            return await ask(self, make)
        except job.LinkError:
            return await ask(self, make)

    monkeypatch.setattr(job.Transfer, "_ask", blind)
    async with rig(tmp_path, delay=0.05) as street:
        await street.meter().run(lambda session: session.get(ENERGY), Priority.ON_DEMAND)
        counts = await counting(street, monkeypatch)
        street.weather = losing(1, LOSE_ANSWER)
        made = imaging(street, tmp_path)
        await send(made, street, firmware("2.0.0", 8_000), activate=True)
        await ended(made)
        assert counts["initiate"] == 2


async def test_a_transfer_that_somebody_else_began_meanwhile_is_left_to_him(tmp_path):
    async with rig(tmp_path, delay=0.05) as street:
        made = imaging(street, tmp_path)
        await send(made, street, firmware("2.0.0", 80_000))
        await asyncio.sleep(5)
        street.simulated().works.image.initiate(b"the head-end's", 4_000)
        street.meter().hang_up()
        view = await ended(made)
        assert view.phase == Phase.FAILED
        assert street.simulated().works.image.blocks < 110


async def test_other_exchanges_go_between_the_blocks(tmp_path):
    async with rig(tmp_path, delay=0.5) as street:
        made = imaging(street, tmp_path)
        await send(made, street, firmware("2.0.0", 80_000))
        await asyncio.sleep(20)
        asked = street.now()
        await street.meter().run(lambda session: session.get(ENERGY), Priority.ON_DEMAND)
        assert street.now() - asked <= 3  # the exchange under way, and its own


async def test_a_cancelled_order_sends_no_more_and_the_same_order_goes_on_where_it_was(tmp_path):
    async with rig(tmp_path, delay=0.05) as street:
        made, raw = imaging(street, tmp_path), firmware("2.0.0", 80_000)
        await send(made, street, raw)
        await asyncio.sleep(5)
        (view,) = await made.cancel([street.meter().name], "the operator")
        assert (view.phase, view.message) == (Phase.FAILED, "cancelled by the operator")
        image = street.simulated().works.image
        sent = image.blocks
        await asyncio.sleep(600)
        assert 10 < image.blocks == sent < 100
        await send(made, street, raw)
        assert (await ended(made)).phase == Phase.VERIFIED
        assert (image.repeated, image.initiated, image.blocks) == (0, 1, 100)


@pytest.mark.parametrize(("busy_for", "phase"), [(7, Phase.VERIFIED), (10_000, Phase.FAILED)])
async def test_a_meter_that_is_busy_with_its_memory_is_waited_for_and_not_for_ever(
    tmp_path, monkeypatch, busy_for, phase
):
    async with rig(tmp_path, delay=0.05) as street:
        made, image = imaging(street, tmp_path), street.simulated().works.image
        take, refused = type(image).take, [0]

        def busy(self, number, block):
            if number % 3 == 2 and refused[0] < busy_for:
                refused[0] += 1
                raise Busy
            return take(self, number, block)

        monkeypatch.setattr(type(image), "take", busy)
        await send(made, street, firmware("2.0.0", 8_000))
        assert (await ended(made)).phase == phase
        assert refused[0] < 20
        assert image.repeated == 0


async def test_a_status_that_nobody_knows_ends_the_order_and_not_the_meter(tmp_path, monkeypatch):
    async with rig(tmp_path, delay=0.05) as street:
        made = imaging(street, tmp_path)
        monkeypatch.setattr(type(street.simulated().works.image), "status", lambda self, now: 77)
        await send(made, street, firmware("2.0.0", 8_000))
        view = await ended(made)
        assert (view.phase, "unknown (77)" in view.message) == (Phase.FAILED, True)
        assert street.meter().state == "ok"
        assert not list((tmp_path / "images").iterdir())


async def test_an_image_that_is_not_what_was_announced_is_refused(tmp_path):
    async with rig(tmp_path) as street:
        made = imaging(street, tmp_path)
        with pytest.raises(ConfigError, match="not the one that was announced"):
            await made.offer("0" * 64, 4, 0, b"abcd")
        with pytest.raises(ConfigError, match="offer it first"):
            await made.send([street.meter().name], ordered(b"abcd", identifier=NAME), "the test")
        with pytest.raises(ConfigError, match="has passed"):
            await made.send([street.meter().name], ordered(b"abcd", identifier=NAME, at=street.second()), "the test")
        with pytest.raises(JobError, match="no image was ordered"):
            await made.activate([street.meter().name], 0, "the test")


async def test_a_meter_that_is_away_does_not_keep_others_waiting(tmp_path):
    async with rig(tmp_path, meters=4, delay=0.05) as street:
        away = {street.meter(0).name, street.meter(1).name}
        street.weather = lambda seen: LOSE_REQUEST if seen.meter in away else ANSWER
        made, raw = imaging(street, tmp_path), firmware("2.0.0", 8_000)
        await offered(made, raw)
        names = [street.meter(index).name for index in range(4)]
        await made.send(names, ordered(raw, identifier=NAME), "the test")
        await asyncio.sleep(600)
        assert [view.phase for view in made.views(names)[2:]] == [Phase.VERIFIED] * 2
        away.clear()
        await asyncio.sleep(2_000)
        assert [view.phase for view in made.views(names)] == [Phase.VERIFIED] * 4
