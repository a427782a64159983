"""How long an answer is waited for: bounds, what it learns, and that a late answer is nobody else's."""

import asyncio
from collections import deque

import looptime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dcu.collect.dialogue import converse
from dcu.collect.patience import DOUBLINGS, LEAST, REPAIR, Patience, Waiting
from dcu.cosem import conversation
from dcu.errors import LinkClosed, LinkTimeout
from tests.cosem.small_meter import CONTEXTS, ENERGY, ENERGY_NOW, LIMIT, Pair

CAP = 40.0

histories = st.lists(st.none() | st.floats(0, 1e4), max_size=40)  # seconds of an answer; None: none came
hops = st.none() | st.integers(0, 14)


def held(patience, history, way, cap):
    """Its limits stay within their bounds, whatever it has seen."""
    for seconds in history:
        patience.missed() if seconds is None else patience.answered(seconds)
    limit = patience.limit(way, cap)
    assert min(LEAST, cap) <= limit <= cap


@given(histories, hops, st.floats(0.1, 300))
def test_no_answer_is_given_up_before_the_least_nor_waited_for_beyond_the_cap(history, way, cap):
    held(Patience(), history, way, cap)


def test_canary_one_that_trusts_its_average_alone_is_found_out():
    class Hasty(Patience):
        def limit(self, way, cap):
            return self._smoothed + 4 * self._deviation

    with pytest.raises(AssertionError):
        held(Hasty(), [0.3] * 5, 2, CAP)


def test_it_is_smoothed_as_rfc_6298_says():
    patience = Patience()
    patience.answered(8.0)  # mean 8, deviation 4
    assert patience.limit(0, 100.0) == 8 + 4 * 4 + REPAIR
    patience.answered(16.0)  # deviation 3/4 × 4 + 1/4 × 8, mean 7/8 × 8 + 1/8 × 16
    assert patience.limit(0, 100.0) == 9 + 4 * 5 + REPAIR


def test_before_the_first_answer_the_hops_say_how_long():
    limits = [Patience().limit(way, CAP) for way in range(9)]
    assert limits == sorted(limits)
    assert limits[1] < CAP == limits[-1] == Patience().limit(None, CAP)


def test_it_doubles_with_each_answer_that_does_not_come_until_one_does():
    patience = Patience()
    patience.answered(1.0)
    first = patience.limit(1, 1e9)
    for missed in range(1, DOUBLINGS + 3):
        patience.missed()
        assert patience.limit(1, 1e9) == first * 2 ** min(missed, DOUBLINGS)
    patience.answered(1.0)
    assert patience.limit(1, 1e9) <= first


# --- one exchange


class Delayed:
    """A lossy channel to a meter in the same process; the answers come after the delays, None: never."""

    lossy = True
    sent = received = 0
    byte_time = 0.0

    def __init__(self, pair, delays):
        self._pair = pair
        self._delays = deque(delays)
        self._answers = asyncio.Queue()

    async def send(self, apdu):
        answer, delay = self._pair.answer(apdu), self._delays.popleft() if self._delays else 0.0
        if delay is not None:
            asyncio.get_running_loop().call_later(delay, self._answers.put_nowait, answer)

    async def receive(self):
        return await self._answers.get()

    async def close(self): ...


def now():
    return asyncio.get_running_loop().time()


def waiting(patience, *, early=True, way=1):
    return Waiting(patience, way, CAP, early=early)


@pytest.mark.looptime
async def test_a_lost_answer_costs_what_was_learned():
    pair, patience = Pair(lossy=True).associated(), Patience()
    channel = Delayed(pair, [1.0, 1.0, None])
    for _ in range(2):
        await converse(pair.client.get(ENERGY), channel, timeout=CAP, waiting=waiting(patience))
    limit, began = patience.limit(1, CAP), now()
    with pytest.raises(LinkTimeout):
        await converse(pair.client.get(ENERGY), channel, timeout=CAP, waiting=waiting(patience))
    assert now() - began == pytest.approx(limit)
    assert limit < CAP / 2
    assert patience.limit(1, CAP) > limit


@pytest.mark.looptime
async def test_what_must_not_be_asked_again_is_waited_for_as_long_as_the_family_says():
    pair, patience = Pair(lossy=True).associated(), Patience()
    patience.answered(0.5)
    began = now()
    asked = waiting(patience, early=False)
    with pytest.raises(LinkTimeout):
        await converse(pair.client.get(ENERGY), Delayed(pair, [None]), timeout=1.0, waiting=asked)
    assert now() - began == pytest.approx(CAP)


@pytest.mark.looptime
async def test_an_answer_that_may_belong_to_either_saying_teaches_nothing():
    patience = Patience()
    asked = waiting(patience)
    asked.asked()
    asked.asked(again=True)
    await asyncio.sleep(0.2)
    asked.answered()
    assert patience.limit(None, CAP) == CAP


delays = st.none() | st.floats(0, 3 * CAP)


async def alternating(context, history):
    """Ask for one thing and for another in turn; what comes late may meet any later request."""
    pair, patience = Pair(context, lossy=True).associated(), Patience()
    channel = Delayed(pair, history)
    other = pair.run(pair.client.get(LIMIT))
    for number in range(len(history)):
        attribute, expected = ((ENERGY, ENERGY_NOW), (LIMIT, other))[number % 2]
        try:
            got = await converse(pair.client.get(attribute), channel, timeout=CAP, waiting=waiting(patience))
        except LinkTimeout:
            continue
        except LinkClosed:
            return  # fifteen in a row without an answer
        assert got == expected


def run(coroutine):
    loop = looptime.new_event_loop(start=0, idle_step=0.01, idle_timeout=600)
    try:
        loop.run_until_complete(coroutine)
    finally:
        loop.close()


@given(st.sampled_from(sorted(CONTEXTS)), st.lists(delays, max_size=24))
@settings(max_examples=60, deadline=None)
def test_a_late_answer_is_never_taken_for_that_of_a_later_request(context, history):
    run(alternating(context, history))


def test_canary_with_one_invoke_id_for_all_it_would_be(monkeypatch):
    def same(self):
        self._awaited.clear()
        return 0xC1

    monkeypatch.setattr(conversation.Conversation, "_next_invoke", same)
    with pytest.raises(AssertionError):
        run(alternating("none", [Patience().limit(1, CAP) + 2, None, None]))
