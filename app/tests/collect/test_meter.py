"""A meter's association and counters: opened when needed, kept while it saves air, never a counter twice."""

import asyncio
from dataclasses import replace
from weakref import WeakSet

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from dcu.collect import associations
from dcu.collect.associations import FRAMINGS
from dcu.collect.counters import Counters
from dcu.collect.retry import Backoff
from dcu.cosem import security
from dcu.cosem.apdu import DataNotification
from dcu.cosem.association import Authentication
from dcu.cosem.conversation import Told
from dcu.credentials import Secret
from dcu.errors import (
    AccessDenied,
    AuthenticationFailed,
    CounterReplayed,
    DcuError,
    JobError,
    LinkTimeout,
    PolicyViolated,
    ServiceRefused,
)
from dcu.model import AttributeRef, Priority
from dcu.store.critical import Critical
from neighbourhood import push
from neighbourhood.faults import Fault
from neighbourhood.meter import Habits
from tests.collect.rig import AARQ, ANSWER, GET, GLO_GET, LOSE_ANSWER, LOSE_REQUEST, family, rig

pytestmark = pytest.mark.looptime

ENERGY = AttributeRef.parse("3,1-0:1.8.0*255,2")


async def read(meter, priority=Priority.ON_DEMAND, ref=ENERGY):
    return await meter.run(lambda session: session.get(ref), priority)


async def test_the_counter_is_learnt_before_anything_is_ciphered(tmp_path):
    async with rig(tmp_path) as street:
        floor = street.simulated().heard.highest
        await read(street.meter())
        clients = [seen.client for seen in street.seen]
        assert clients[: clients.index(1)] == [16, 16]  # the public client's association, and its one question
        assert street.simulated().heard.highest > floor
        assert street.street.status()["counter_reuse"] == 0


async def test_a_known_counter_is_not_asked_for_again(tmp_path):
    async with rig(tmp_path) as street:
        await read(street.meter())
        street.meter()._drop()
        street.seen.clear()
        await read(street.meter())
        assert {seen.client for seen in street.seen} == {1}


async def test_after_a_restart_the_counters_go_on_above_what_was_reserved(tmp_path):
    async with rig(tmp_path, block=50) as street:
        await read(street.meter())
        first = street.simulated().heard.highest
    async with rig(tmp_path, block=50) as street:
        street.simulated().heard.accept(b"DCU\0\0\0\0\1", first)  # this street was built anew: tell it
        await read(street.meter())
        assert {seen.client for seen in street.seen} == {1}
        assert street.simulated().heard.highest >= first + 40
        assert street.street.status()["counter_reuse"] == 0


async def test_a_lost_state_is_mended_by_reading_the_meters_counter(tmp_path):
    async with rig(tmp_path / "a") as street:
        await read(street.meter())
        spent = street.simulated().heard.highest
    async with rig(tmp_path / "b") as street:  # an empty store
        street.simulated().heard.accept(b"DCU\0\0\0\0\1", spent)
        await read(street.meter())
        assert street.street.status()["counter_reuse"] == 0


async def test_a_meter_that_complains_of_the_counter_has_its_own_read_once(tmp_path):
    async with rig(tmp_path) as street:
        await read(street.meter())
        street.meter()._drop()
        street.simulated().heard.accept(b"DCU\0\0\0\0\1", street.simulated().heard.highest + 5_000)
        street.seen.clear()
        await read(street.meter())
        assert [seen.client for seen in street.seen].count(16) == 2
        assert await street.counter() > street.simulated().heard.highest


async def test_the_hint_of_a_complaint_is_never_believed(tmp_path):
    complaint = bytes.fromhex("d80206fffffff0")  # exception-response, invocation-counter-error, "expected FFFFFFF0"
    async with rig(tmp_path) as street:
        await read(street.meter())
        street.meter()._drop()
        before = await street.counter()
        street.weather = lambda seen: complaint if seen.tag == AARQ and seen.client == 1 else ANSWER
        with pytest.raises(ServiceRefused):
            await read(street.meter())
        assert await street.counter() <= before + 2_000
        assert street.tags().count(AARQ) <= 8  # bounded: once again, and no more


async def test_an_association_that_rests_keeps_no_key_schedule(tmp_path, monkeypatch):
    schedules = WeakSet()  # those of the simulated meter, too

    class Counted:
        def __init__(self, key):
            self.encrypt = AESGCM(key).encrypt
            schedules.add(self)

    monkeypatch.setattr(security, "AESGCM", Counted)
    async with rig(tmp_path, profile=family(session={"idle": 30.0})) as street:
        meter = street.meter()
        with meter.engaged():
            first = await read(meter)
            at_work = len(schedules)
        assert meter.associated
        assert len(schedules) == at_work - 1
        with meter.engaged():
            assert await read(meter) == first
        assert street.tags().count(AARQ) == 2  # the public client's and ours: it went on


async def test_associations_stay_open_until_they_are_idle_for_too_long(tmp_path):
    async with rig(tmp_path, profile=family(session={"idle": 30.0})) as street:
        meter = street.meter()
        with meter.engaged():
            await read(meter)
        await asyncio.sleep(20)
        with meter.engaged():
            await read(meter)
        assert street.tags().count(AARQ) == 2  # the public client's and ours
        assert meter.associated
        assert street.services.open.count == 1
        await asyncio.sleep(31)
        assert not meter.associated
        assert street.services.open.count == 0


async def test_a_kept_association_that_has_died_is_opened_again_at_once(tmp_path):
    async with rig(tmp_path) as street:
        meter = street.meter()
        await read(meter)
        await meter._channel._stream._peer.close()  # the meter hangs up
        await asyncio.sleep(1)
        await read(meter)
        assert street.tags().count(AARQ) == 3


async def test_a_link_error_closes_the_association_and_the_next_exchange_opens_it(tmp_path):
    async with rig(tmp_path) as street:
        meter = street.meter()
        await read(meter)
        street.weather = lambda seen: LOSE_ANSWER if seen.tag == GLO_GET else ANSWER
        with pytest.raises(LinkTimeout):
            await read(meter)
        assert not meter.associated
        street.weather = lambda seen: ANSWER
        await read(meter)
        assert meter.state == "ok"


async def test_a_lost_datagram_costs_the_exchange_and_not_the_association(tmp_path):
    async with rig(tmp_path, lossy=True) as street:
        meter = street.meter()
        await read(meter)
        street.weather = lambda seen: LOSE_REQUEST
        with pytest.raises(LinkTimeout):
            await read(meter)
        assert meter.associated
        street.weather = lambda seen: ANSWER
        await read(meter)
        assert street.tags().count(AARQ) == 2
        street.weather = lambda seen: LOSE_REQUEST
        for _ in range(2):
            with pytest.raises(LinkTimeout):
                await read(meter)
        assert not meter.associated
        assert meter.state == "unreachable"


async def test_a_wrong_key_is_said_so_audited_and_not_tried_again(tmp_path):
    async with rig(tmp_path, faults=[Fault.parse("wrong-key:1")]) as street:
        job = street.scheduler.submit(
            "read", street.meter(), Priority.ON_DEMAND, lambda job: read(street.meter()), retry=Backoff(attempts=5)
        )
        with pytest.raises(AuthenticationFailed, match="check the GAK"):
            await job.result
        assert job.attempts == 1
        assert [entry.action for entry in await street.store.audit_log()] == ["security", "counter"]
        assert street.meter().state == "refused"
        assert street.events("alarm")[0]["kind"] == "AuthenticationFailed"


async def test_a_meter_that_refuses_without_a_word_has_its_counter_read_again(tmp_path):
    """Some meters drop a frame whose counter is too low: two openings in vain, and the counter is doubted, once."""
    async with rig(tmp_path) as street:
        street.weather = lambda seen: LOSE_ANSWER if seen.client == 1 else ANSWER
        for _ in range(6):
            with pytest.raises(LinkTimeout):
                await read(street.meter())
        assert [seen.client for seen in street.seen].count(16) == 4  # the first time, and after the second in vain


async def test_access_denied_leaves_the_association_open(tmp_path):
    async with rig(tmp_path) as street:
        meter = street.meter()
        with pytest.raises(AccessDenied):
            await read(meter, ref=AttributeRef.parse("3,1-0:77.8.0*255,2"))
        assert meter.associated
        assert meter.state != "quarantined"


async def test_an_exchange_that_is_cancelled_in_its_midst_takes_the_association_with_it(tmp_path):
    """An answer that still comes must not be taken for the answer to the next question."""
    async with rig(tmp_path) as street:
        meter = street.meter()
        await read(meter)
        task = asyncio.create_task(read(meter))
        await asyncio.sleep(0.7)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert not meter.associated
        assert street.medium.under_way == 0
        await read(meter)


async def test_a_quarantined_meter_is_left_alone_until_it_is_released(tmp_path):
    async with rig(tmp_path) as street:
        meter = street.meter()
        await meter.quarantine("it answers nonsense")
        with pytest.raises(JobError, match="nonsense"):
            await read(meter)
        assert not street.seen
        assert (await street.store.meter(meter.name)).reason == "it answers nonsense"
        await meter.release()
        await read(meter)


async def test_a_quarantine_outlives_a_restart(tmp_path):
    async with rig(tmp_path) as street:
        await street.meter().quarantine("it answers nonsense")
    async with rig(tmp_path) as street:
        assert street.meter().state == "quarantined"
        assert street.meter().reason == "it answers nonsense"


async def test_a_counter_object_that_is_far_ahead_is_not_believed(tmp_path):
    """It is read without security: who lies there once must not wear out the key."""
    async with rig(tmp_path) as street:
        street.simulated().heard.accept(b"liar....", 0xFFFFFFF0)
        with pytest.raises(PolicyViolated, match="not believed"):
            await read(street.meter())
        assert await street.counter() is None
        assert {seen.client for seen in street.seen} == {16}


async def test_a_new_meter_whose_counter_is_high_is_taken(tmp_path):
    """Some count from the UNIX time of their making."""
    async with rig(tmp_path) as street:
        street.simulated().heard.accept(b"another.", 1_763_640_000)
        await read(street.meter())


async def test_an_operator_can_have_a_counter_believed(tmp_path):
    async with rig(tmp_path) as street:
        meter = street.meter()
        street.simulated().heard.accept(b"another.", 0xF8000000)
        with pytest.raises(PolicyViolated, match="dcu meters counter"):
            await read(meter)
        meter.believe_counter()
        await read(meter)
        assert await street.counter() > 0xF8000000


async def test_counters_belong_to_a_key_whatever_the_meter_is_called(tmp_path, monkeypatch):
    used = []
    take = Counters.take
    monkeypatch.setattr(Counters, "take", lambda counters: used.append(take(counters)) or used[-1])
    async with rig(tmp_path) as street:
        meter = street.meter()
        await read(meter)
        first, mine = list(used), street.simulated().shipped_keys()
        street.services.keys._keys[meter.name] = replace(mine, guek=Secret(b"n" * 16))
        meter.hang_up()
        await street.services.settled()
        street.seen.clear()
        with pytest.raises(AuthenticationFailed):  # it is not the meter's, this time
            await read(meter)
        assert GET in street.tags()  # nothing is known of the new key: the meter was asked
        street.services.keys._keys[meter.name] = mine
        meter.hang_up()
        used.clear()
        await read(meter)
        assert not set(first) & set(used)


async def test_no_counter_is_used_twice_after_the_store_was_lost(tmp_path, monkeypatch):
    """The meter's counter object says what it has heard; what was sent and lost on the line, it does not know."""
    used = []
    take = Counters.take
    monkeypatch.setattr(Counters, "take", lambda counters: used.append(take(counters)) or used[-1])
    async with rig(tmp_path / "before", block=100) as street:
        await read(street.meter())
        heard = street.simulated().heard.highest
        street.weather = lambda seen: LOSE_REQUEST
        for _ in range(20):
            with pytest.raises(LinkTimeout):
                await read(street.meter())
    async with rig(tmp_path / "after", block=100) as street:
        street.simulated().heard.accept(b"another.", heard)
        await read(street.meter())
    assert len(used) == len(set(used))


async def test_a_push_inside_an_association_reaches_the_outbox(tmp_path):
    async with rig(tmp_path) as street:
        meter = street.meter()
        await read(meter)
        meter._session.notifications.append(Told(DataNotification(1, b"", b"\x11\x01"), None, b"\x0f\0\0\0\1\0\x11\1"))
        await read(meter)
        await street.services.settled()
        (item,) = await street.store.pending()
        assert (item.meter, item.kind) == (meter.name, "push")
        assert street.events("alarm")[0]["kind"] == "push"


LLS = family(security={"authentication": "low"})


async def set_back(street):
    """The meter's counter is as it was before the last association: as if that were played back."""
    meter, simulated = street.meter(), street.simulated()
    before = simulated.counter
    assert await read(meter)
    meter._drop()
    simulated.counter = before
    return await read(meter)


async def test_without_hls_an_earlier_session_is_not_good_again(tmp_path):
    async with rig(tmp_path, habits=Habits(authentication=Authentication.LOW, ciphered=True), profile=LLS) as street:
        with pytest.raises(CounterReplayed):
            await set_back(street)
        await street.meter().release()  # an operator who knows better
        assert await read(street.meter())


async def test_with_hls_the_meter_proves_that_it_is_fresh_whatever_it_counts(tmp_path):
    async with rig(tmp_path) as street:
        assert await set_back(street)


async def test_canary_without_the_floor_of_before_an_earlier_session_is_good_again(tmp_path, monkeypatch):
    monkeypatch.setattr(associations, "fresh_by_floor", lambda settings: False)
    async with rig(tmp_path, habits=Habits(authentication=Authentication.LOW, ciphered=True), profile=LLS) as street:
        assert await set_back(street)


async def replayed(street):
    """A push that an attacker records in one association and puts into the next; what the outbox then holds."""
    meter = street.meter()
    await read(meter)
    frame = push.alarm(street.simulated(), 2)
    meter._session.receive(frame)
    await read(meter)
    await street.services.settled()
    meter._drop()
    later = street.meter()
    await later.run(lambda session: session.get(ENERGY), Priority.ON_DEMAND)
    later._session._ciphering._floors._floors.clear()  # what a new association remembers of pushes: nothing
    later._session.receive(frame)
    await read(later)
    await street.services.settled()
    return [item.kind for item in await street.store.pending()]


async def test_an_old_push_put_into_a_new_association_is_not_taken_again(tmp_path):
    async with rig(tmp_path) as street:
        assert await replayed(street) == ["push"]


async def test_a_push_that_a_listener_took_is_not_taken_again_in_an_association(tmp_path):
    async with rig(tmp_path) as street:
        meter, simulated = street.meter(), street.simulated()
        frame = push.alarm(simulated, 2)
        counter = simulated.counter
        key = simulated.shipped_keys().fingerprint(simulated.system_title)
        await street.store.accept_push(meter.name, counter, b"by the listener", key=key)
        await read(meter)
        meter._session._ciphering._floors._floors.clear()
        meter._session.receive(frame)
        fresh = push.alarm(simulated, 2)
        meter._session.receive(fresh)
        await read(meter)
        await street.services.settled()
        assert len(await street.store.pending()) == 2


async def test_canary_without_the_floor_kept_with_it_the_old_push_is_taken_again(tmp_path, monkeypatch):
    def forgetful(self, meter, counter, payload, kind="push", priority=Priority.ALARM, key=b""):
        return self.put(kind, payload, priority, meter)

    monkeypatch.setattr(Critical, "accept_push", forgetful)
    async with rig(tmp_path) as street:
        assert await replayed(street) == ["push", "push"]


@pytest.mark.parametrize(
    ("authentication", "suite", "framing", "signed"),
    [
        ("gmac", 0, "general", False),
        ("gmac", 2, "identified", False),
        ("ecdsa", 1, "one-pass", False),
        ("ecdsa", 1, "static", True),
        ("sha256", 0, "service", False),
    ],
)
async def test_a_family_says_how_its_meters_are_spoken_to(tmp_path, authentication, suite, framing, signed):
    kind = Authentication[authentication.upper()]
    habits = Habits(authentication=kind, suite=suite, framing=FRAMINGS[framing], signed=signed, ciphered=True)
    asked = {"authentication": authentication, "framing": framing, "signed": signed}
    async with rig(tmp_path, habits=habits, profile=family(security=asked)) as street:
        await read(street.meter())
        assert street.street.status()["refused"] == {}
    less = {"authentication": authentication}
    if (framing, signed) != ("service", False):
        async with rig(tmp_path / "less", habits=habits, profile=family(security=less)) as street:
            with pytest.raises(DcuError):
                await read(street.meter())
