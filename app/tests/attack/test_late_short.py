"""By short names an answer names no request: what comes late, or twice, is delivered to nobody all the same.

The attacker holds no key. He withholds, delays and repeats frames, and makes up errors, which are not protected.
"""

import pytest

from dcu.cosem import axdr, ciphering, data
from dcu.cosem.exchange import Unanswered, drive
from dcu.cosem.short import ShortSession
from dcu.errors import DcuError, ServiceRefused
from tests.cosem.small_meter import DISCONNECT, ENERGY, ENERGY_NOW, LIMIT, text
from tests.cosem.test_short import ShortPair

EXCEPTION = bytes.fromhex("d80101")
contexts = pytest.mark.parametrize(
    "context",
    ["low, ciphered", "md5, global key", "gmac, global key", "gmac, dedicated key", "ecdsa, suite 1, global key"],
)
channels = pytest.mark.parametrize("lossy", [False, True], ids=["stream", "lossy"])


def delivered(pair, *late):
    """What a GET of another attribute returns when `late` comes, and then what the meter says."""
    try:
        return drive(pair.client.get(LIMIT), lambda request: (*late, pair.answer(request)))
    except DcuError:
        return None


def unanswered(exchange):
    with pytest.raises(Unanswered):
        exchange.throw(Unanswered())


@contexts
@channels
@pytest.mark.parametrize("give_up", [lambda exchange: exchange.close(), unanswered], ids=["given up", "unanswered"])
def test_who_gives_up_takes_no_later_answer(context, lossy, give_up):
    pair = ShortPair(context, lossy=lossy).associated()
    exchange = pair.client.get(ENERGY)
    late = pair.answer(next(exchange))
    give_up(exchange)
    assert delivered(pair, late) is None
    assert not pair.client.associated
    pair.run(pair.client.associate())
    assert delivered(pair, late) == (pair.meter.values[LIMIT] if lossy else None)


@contexts
def test_an_answer_that_comes_again_over_datagrams_is_passed_by(context):
    pair = ShortPair(context, lossy=True).associated()
    assert pair.run(pair.client.get(ENERGY)) == ENERGY_NOW
    again = pair.answered[-1]
    assert delivered(pair, again, again) == pair.meter.values[LIMIT]
    pair.run(pair.client.set(LIMIT, text(9)))
    done = pair.answered[-1]
    assert pair.run(pair.client.action(DISCONNECT, axdr.encode(data.i8(0)))) == axdr.encode(data.i8(0))
    assert drive(pair.client.set(LIMIT, text(7)), lambda request: (done, pair.answer(request))) is None
    assert pair.meter.values[LIMIT] == text(7)
    assert pair.client.refused.counter == 3


@contexts
def test_a_request_that_comes_again_over_datagrams_is_carried_out_once(context):
    pair = ShortPair(context, lossy=True).associated()
    drive(pair.client.set(LIMIT, text(9)), lambda request: (pair.answer(request), pair.answer(request)))
    assert pair.meter.done == [(LIMIT, text(9))]


@contexts
@channels
def test_an_error_made_up_does_not_make_the_answer_that_of_the_next_request(context, lossy):
    pair = ShortPair(context, lossy=lossy).associated()
    exchange = pair.client.get(ENERGY)
    late = pair.answer(next(exchange))
    if lossy:
        assert exchange.send(EXCEPTION) is None
        with pytest.raises(StopIteration) as stop:
            exchange.send(late)
        assert stop.value.value == ENERGY_NOW
        return
    with pytest.raises(ServiceRefused):
        exchange.send(EXCEPTION)
    assert delivered(pair, late) is None


@pytest.mark.parametrize("context", ["none", "low", "gmac, plain services"])
def test_where_nothing_is_authenticated_they_are_not_spoken_over_datagrams(context):
    with pytest.raises(ValueError, match="authenticated"):
        ShortPair(context, lossy=True)
    pair = ShortPair(context, lossy=True, unproven=True).associated()
    assert pair.run(pair.client.get(ENERGY)) == ENERGY_NOW
    again = pair.answered[-1]
    assert delivered(pair, again) == ENERGY_NOW  # the canary: that is why


def test_canary_without_the_counter_check_an_answer_that_comes_again_is_taken(monkeypatch):
    monkeypatch.setattr(ciphering.Ciphering, "require_above", staticmethod(lambda floor, counter: None))
    pair = ShortPair("gmac, global key", lossy=True).associated()
    assert pair.run(pair.client.get(ENERGY)) == ENERGY_NOW
    assert delivered(pair, pair.answered[-1]) == ENERGY_NOW


def test_canary_a_session_that_does_not_end_takes_the_late_answer(monkeypatch):
    monkeypatch.setattr(ShortSession, "_over", lambda self, error: error)
    pair = ShortPair("gmac, global key", lossy=True).associated()
    exchange = pair.client.get(ENERGY)
    late = pair.answer(next(exchange))
    exchange.close()
    assert delivered(pair, late) == ENERGY_NOW
