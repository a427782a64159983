"""Tokens: checked for form, entered once, judged by the meter; compared with the simulated meter's own account."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcu.collect.jobs import effect, token
from dcu.cosem.association import Authentication
from dcu.errors import ConfigError, JobError, LinkTimeout
from dcu.model import Priority
from neighbourhood import tokens
from neighbourhood.meter import Habits
from tests.collect.rig import ANSWER, GLO_ACTION, LOSE_ANSWER, LOSE_REQUEST, family, rig
from tests.collect.test_effects import ENERGY, audit, connected, first

OWN = {
    "call": "8192,0-0:128.50.0*255,1",
    "encoding": "text",
    "status": "8192,0-0:128.50.0*255,2",
    "accepted": [0],
    "pending": [1],
    "seen": ["8192,0-0:128.50.0*255,3"],
    "meanings": {"5": "of another meter"},
}
looptime = pytest.mark.looptime


def made(street, number=7, credit=2_500):
    return tokens.token(street.street.meters[0].seed, 1, number, credit)


def enter(street, digits):
    return street.scheduler.run(
        "token",
        street.meter(),
        Priority.COMMAND,
        lambda job: token.enter_token(street.services, job, digits, "the test"),
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("1234 5678 9012 3456 789", "not 19: 1 missing"),
        ("1234 5678 9012 3456 7890 1", "not 21: 1 too many"),
        ("1234 5678 9O12 3456 7890", "'O' stands at place 10"),
        ("9999 9999 9999 9999 9999", "one of the first is wrong"),
        ("", "not 0"),
        ("١٢٣٤٥٦٧٨٩٠١٢٣٤٥٦٧٨٩٠", "digits only"),
    ],
)
def test_what_is_no_token_is_told_what_is_wrong(text, says):
    with pytest.raises(ConfigError, match=says):
        token.checked(text)


@given(st.text(max_size=40))
def test_checking_is_total(text):
    with suppress(ConfigError):
        assert len(token.checked(text)) == 20


@given(st.integers(0, (1 << 66) - 1), st.sampled_from([" ", "-", ""]))
def test_every_token_of_66_bits_is_taken_however_it_is_grouped(number, between):
    digits = f"{number:020d}"
    assert token.checked(between.join(digits[at : at + 4] for at in range(0, 20, 4))) == digits


@looptime
@pytest.mark.parametrize("way", [{}, OWN], ids=["token gateway", "a maker's object"])
async def test_a_token_is_entered_and_the_meters_verdict_is_told(tmp_path, way):
    async with rig(tmp_path, delay=0.1, profile=family(token=way) if way else None) as street:
        assert (await enter(street, made(street))).accepted is True
        assert street.simulated().works.prepayment.credit == 2_500
        assert (await audit(street, "token"))[1:] == [
            f"…{made(street)[-4:]}: done",
            f"…{made(street)[-4:]}: executed",
        ] or way
        again = await enter(street, made(street))
        assert (again.accepted, again.confirmed) == (False, True)
        foreign = await enter(street, tokens.token(1, 2, 9, 100))
        assert foreign.accepted is False
        assert foreign.meaning == ("of another meter" if way else "authentication failed")
        assert street.simulated().works.prepayment.credit == 2_500
        assert made(street) not in str(await street.store.audit_log())


@looptime
@pytest.mark.parametrize("fate", [LOSE_ANSWER, LOSE_REQUEST])
async def test_a_token_whose_answer_is_lost_is_entered_once_all_the_same(tmp_path, fate):
    async with rig(tmp_path, delay=0.1) as street:
        await connected(street)
        street.weather = first(GLO_ACTION, fate)
        report = await enter(street, made(street))
        assert (report.accepted, report.confirmed) == (True, True)
        assert street.simulated().works.prepayment.entered == 1


@looptime
async def test_canary_a_blind_repetition_would_be_seen(tmp_path, monkeypatch):
    async def blind(services, job, deed):
        while True:
            try:
                await job.meter.run(deed.send, deed.priority)
                return effect.Effect(await deed.look(), True)
            except LinkTimeout:
                continue

    monkeypatch.setattr(token, "accomplish", blind)
    async with rig(tmp_path, delay=0.1) as street:
        await connected(street)
        street.weather = first(GLO_ACTION, LOSE_ANSWER)
        report = await enter(street, made(street))
        assert street.simulated().works.prepayment.entered == 2
        assert report.accepted is False  # told as used already: the customer would be told that his token is no good


@looptime
async def test_without_ciphering_a_lost_token_is_not_sent_once_more(tmp_path):
    profile = family(addresses={"client": 1}, security={"authentication": "low", "request": "none", "response": "none"})
    async with rig(tmp_path, profile=profile, habits=Habits(authentication=Authentication.LOW)) as street:
        street.weather = first(0xC3, LOSE_REQUEST)
        with pytest.raises(JobError, match="not executed"):
            await enter(street, made(street))
        assert street.simulated().works.prepayment.entered == 0


@looptime
async def test_a_profile_that_names_the_wrong_object_costs_the_result_and_not_the_meter(tmp_path):
    async with rig(tmp_path, delay=0.1, profile=family(token={"status": "1,0-0:42.0.0*255,2"})) as street:
        report = await enter(street, made(street))
        assert (report.accepted, report.confirmed) == (None, True)
        assert street.meter().state == "ok"
        assert street.simulated().works.prepayment.entered == 1


@looptime
async def test_where_nothing_shows_that_it_arrived_nobody_claims_it(tmp_path):
    async with rig(tmp_path, delay=0.1, profile=family(token={"seen": []})) as street:
        await street.meter().run(lambda session: session.get(ENERGY), Priority.ON_DEMAND)
        report = await enter(street, made(street))
        assert (report.accepted, report.confirmed) == (True, False)
        street.weather = lambda seen: ANSWER
