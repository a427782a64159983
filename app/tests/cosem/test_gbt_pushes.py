"""Pushes between the blocks of an answer: it comes all the same, and nobody gets a frame taken twice by it.

An answer is ciphered before its first block is sent, so a push in between has a later counter and arrives earlier. The
attacker holds no key. He has every frame that the meter ever sent, and the blocks of an answer add up to one of them:
he withholds, repeats, exchanges, and cuts frames into blocks himself.
"""

from collections import deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dcu.cosem import axdr, ciphering, data
from dcu.cosem.apdu import DataNotification
from dcu.cosem.ciphering import WINDOW, Ciphering, Place
from dcu.cosem.gbt import Transfer
from dcu.errors import CounterReplayed, DcuError
from dcu.streams import each as turn_of

from .small_meter import CLIENT, GENERAL_CONTEXTS, PROFILE
from .test_gbt import general, text

SEALED = ("gmac, global key", "gmac, dedicated key", "md5, global key", "ecdsa, suite 1, global key")
KEYED = tuple(name for name in GENERAL_CONTEXTS if name.startswith("suite 0") or "suite 1, one_pass" in name)


def push(number):
    return DataNotification(0x40000000 | number, b"", axdr.encode(data.u32(number)))


def told(client):
    return [axdr.decode(each.notification.body).value for each in client.notifications]


def interrupted(pair, turns):
    """Read the profile while the meter pushes, so many times before that frame of its answer; what the client is given.

    turns: by the frame's number how many.
    """
    number = -1
    exchange = pair.client.get(PROFILE)
    waiting = deque(turn_of(pair.answer(next(exchange))))
    for turn in range(200):
        frames = [waiting.popleft()]
        for _ in range(turns.get(turn, 0)):
            frames.insert(-1, pair.server.notification(CLIENT, push(number := number + 1)))
        for frame in frames:
            try:
                sent = exchange.send(frame)
            except StopIteration as stop:
                return stop.value
            for each in turn_of(sent):
                waiting.extend(turn_of(pair.answer(each)))
    raise AssertionError("no end")


def test_a_notification_between_two_blocks_is_kept_and_the_answer_still_comes():
    pair = general("none", max_pdu=64)
    assert interrupted(pair, {1: 1, 4: 2}) == pair.meter.values[PROFILE]
    assert told(pair.client) == [0, 1, 2]


@pytest.mark.parametrize("context", [*SEALED, *KEYED])
@settings(deadline=None, max_examples=15)
@given(turns=st.dictionaries(st.integers(0, 6), st.integers(0, 3)))
def test_so_it_is_with_ciphered_ones_wherever_they_come(context, turns):
    pair = general(context, max_pdu=500)
    pair.meter.values[PROFILE] = text(3_000)
    for _ in range(2):  # the next answer is taken as well
        pair.client.notifications.clear()
        assert interrupted(pair, turns | {1: 1}) == pair.meter.values[PROFILE]
        assert told(pair.client) == list(range(len(pair.client.notifications)))
        assert pair.client.notifications
    assert pair.client.refused.total == 0


def test_more_pushes_than_are_remembered_make_the_answer_a_replay_and_are_taken():
    """Bounded on the safe side: what can no longer be told from a replay is one."""
    pair = general()
    with pytest.raises(CounterReplayed):
        interrupted(pair, {1: WINDOW + 1})
    assert told(pair.client)[-1] == WINDOW


# --- the attacker


class Attacked:
    """A client over a lossy channel, a meter, and in between who has kept every frame. It keeps its own account."""

    def __init__(self, context):
        self.pair = general(context, lossy=True)
        self.air = []  # every frame that the meter sent whole: answers, put together from their blocks, and pushes
        self.pushed = 0
        self.accepted = []  # (key space, counter), as the client took them
        self.results = []
        accept = self.pair.client._ciphering.accept

        def account(opened):
            self.accepted.append((opened.framing in ciphering.DEDICATED, opened.counter))
            accept(opened)

        self.pair.client._ciphering = _Watched(self.pair.client._ciphering, account)

    def exchange(self, deeds):
        """One GET, while the attacker does this and that; what the meter sends is put on the line as he likes."""
        exchange = self.pair.client.get(PROFILE)
        self.waiting = deque(turn_of(self.pair.answer(next(exchange))))
        self.answer = b"".join(self.pair.server._links[CLIENT].transfer._blocks)
        try:
            for deed, which in deeds:
                for frame in self._frames(deed, which):
                    for sent in turn_of(exchange.send(frame)):
                        self.waiting.extend(turn_of(self.pair.answer(sent)))
            for _ in range(60):  # and then he lets go
                if not self.waiting:
                    break
                for sent in turn_of(exchange.send(self.waiting.popleft())):
                    self.waiting.extend(turn_of(self.pair.answer(sent)))
        except StopIteration as stop:
            self.results.append(stop.value)
        except DcuError:
            pass
        finally:
            exchange.close()
        self.air.append(self.answer)  # it is known from here on, whether it was let through

    def _frames(self, deed, which):
        if deed == "push":
            self.pushed += 1
            self.air.append(self.pair.server.notification(CLIENT, push(self.pushed)))
            return () if which % 3 == 0 else (self.air[-1],)  # some are withheld
        if deed == "next" and self.waiting:
            return (self.waiting.popleft(),)
        if deed == "lose" and self.waiting:
            self.waiting.popleft()
        if deed in ("again", "cut") and self.air:
            frame = self.air[which % len(self.air)]
            return (frame,) if deed == "again" else Transfer(60, limit=1, theirs=63).say(frame)
        if deed == "this":  # the answer that is on its way, whole
            return (self.answer,)
        return ()

    def verdict(self):
        """Raises AssertionError for what must not be."""
        assert len(set(self.accepted)) == len(self.accepted), "a counter was accepted twice"
        assert told(self.pair.client) == sorted(set(told(self.pair.client))), "old news after new, or the same again"
        assert all(result == self.pair.meter.values[PROFILE] for result in self.results)


class _Watched:
    """A Ciphering whose `accept` is told on."""

    def __init__(self, watched, accept):
        self._watched, self.accept = watched, accept

    def __getattr__(self, name):
        return getattr(self._watched, name)


deeds = st.lists(
    st.tuples(st.sampled_from(["push", "push", "next", "next", "lose", "again", "cut", "this"]), st.integers(0, 30)),
    max_size=14,
)
scripts = st.lists(deeds, min_size=1, max_size=4)


@pytest.mark.parametrize("context", ["gmac, global key", "gmac, dedicated key"])
@settings(deadline=None, max_examples=150)
@given(script=scripts)
def test_no_counter_is_taken_twice_and_no_news_out_of_order(context, script):
    line = Attacked(context)
    for each in script:
        line.exchange(each)
        if not line.pair.client.associated:
            break
    line.verdict()


REPLAYED = [[], [("cut", 0)]]  # a whole answer of before, in blocks
LATE = [[("push", 0), ("push", 1), ("cut", 0)]]  # a push that was withheld, behind a later one
AGAIN = [[("push", 1), ("cut", 0)]]  # a push that was taken already, in blocks


def test_an_exchange_that_another_replaced_has_no_place_any_more():
    """What was accepted since it did not hear of: it is held against the plain floor."""
    pair = general(lossy=True)
    first = pair.client.get(PROFILE)
    waiting = list(turn_of(pair.answer(next(first))))
    second = pair.client.get(PROFILE)
    next(second)
    second.send(pair.server.notification(CLIENT, push(1)))
    for block in waiting:
        for sent in turn_of(first.send(block)):
            waiting.extend(turn_of(pair.answer(sent)))
    assert pair.client.refused.counter == 1
    first.close()
    for block in Transfer(60, limit=1, theirs=63).say(pair.server.notification(CLIENT, push(2))):
        second.send(block)
    assert told(pair.client) == [1, 2]


@pytest.mark.parametrize("script", [REPLAYED, LATE, AGAIN])
def test_scripts_of_the_canaries_do_no_harm(script):
    line = Attacked("gmac, global key")
    for each in script:
        line.exchange(each)
    line.verdict()


def found_out(script, says):
    line = Attacked("gmac, global key")
    for each in script:
        line.exchange(each)
    with pytest.raises(AssertionError, match=says):
        line.verdict()


def test_canary_a_window_without_a_floor_takes_an_answer_twice(monkeypatch):
    monkeypatch.setattr(Place, "floor", lambda place, space, counter: -1)
    found_out(REPLAYED, "accepted twice")


def test_canary_a_window_that_forgets_what_it_took_takes_a_push_twice(monkeypatch):
    monkeypatch.setattr(Place, "take", lambda place, space, counter: None)
    monkeypatch.setattr(Ciphering, "require_latest", lambda self, opened: None)
    found_out(AGAIN, "accepted twice")


def test_canary_a_window_for_pushes_brings_old_news_after_new(monkeypatch):
    monkeypatch.setattr(Ciphering, "require_latest", lambda self, opened: None)
    found_out(LATE, "old news after new")
