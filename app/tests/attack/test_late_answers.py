"""An answer is delivered to the request that it answers, or to none, though there are only 16 invoke-ids.

The attacker holds no key. He withholds and delays frames, and makes up those that are not protected anyway.
"""

import pytest

from dcu.cosem import apdu, conversation
from dcu.cosem.apdu import GetRequestNormal
from dcu.cosem.exchange import drive
from dcu.cosem.security import Protection
from dcu.errors import LinkClosed, LinkTimeout, ServiceRefused
from tests.cosem.small_meter import CONTEXTS, ENERGY, ENERGY_NOW, LIMIT, Pair

from .test_lesser_policies import Line

EXCEPTION = bytes.fromhex("d80101")


def given_up(client, attribute=ENERGY):
    """A request whose answer does not come in time."""
    exchange = client.get(attribute)
    request = next(exchange)
    exchange.close()
    return request


def delivered(client, late):
    """What a GET returns when `late` is all that comes; None where that is not taken for its answer."""
    try:
        return drive(client.get(LIMIT), lambda request: late)
    except (LinkTimeout, LinkClosed):
        return None


@pytest.mark.parametrize("lost", range(12, 32))
@pytest.mark.parametrize("context", CONTEXTS)
def test_a_withheld_answer_is_not_taken_for_that_of_a_later_request(context, lost):
    pair = Pair(context, lossy=True).associated()
    late = pair.answer(given_up(pair.client))
    for _ in range(lost):
        if pair.client.associated:
            given_up(pair.client)
    assert delivered(pair.client, late) is None
    assert pair.client.associated == (lost < 13)  # the last one was not answered either


@pytest.mark.parametrize("answered", [14, 15, 29, 30])
@pytest.mark.parametrize("context", CONTEXTS)
def test_nor_after_other_answers_came(context, answered):
    pair = Pair(context, lossy=True).associated()
    late = pair.answer(given_up(pair.client))
    for _ in range(answered):
        assert pair.run(pair.client.get(ENERGY)) == ENERGY_NOW
    assert delivered(pair.client, late) is None
    assert pair.client.associated


@pytest.mark.parametrize("answered", [14, 15, 29, 30])
@pytest.mark.parametrize("response", [Protection.BOTH, Protection.AUTHENTICATED, Protection.ENCRYPTED])
@pytest.mark.parametrize("request_", [Protection.BOTH, Protection.ENCRYPTED, Protection.NONE])
def test_a_withheld_request_brings_no_answer_to_a_later_one(request_, response, answered):
    """The meter answers it under a fresh counter where it does not hold requests against theirs."""
    line = Line(request_, response)
    line.run(line.client.associate())
    withheld = given_up(line.client)
    for _ in range(answered):
        assert line.run(line.client.get(ENERGY)) == ENERGY_NOW
    assert delivered(line.client, line.answer(withheld)) is None


def test_exceptions_made_up_on_a_stream_do_not_make_room_for_a_withheld_answer():
    pair = Pair().associated()
    exchange = pair.client.get(ENERGY)
    late = pair.answer(next(exchange))
    refused = 0
    while pair.client.associated:
        with pytest.raises(ServiceRefused):
            exchange.send(EXCEPTION)
        refused += 1
        exchange = pair.client.get(LIMIT)
        if pair.client.associated:
            next(exchange)
    assert refused == 15
    assert delivered(pair.client, late) is None


@pytest.mark.parametrize("context", CONTEXTS)
def test_an_opaque_request_does_not_get_the_answer_to_an_earlier_one_with_its_invoke_id(context):
    pair = Pair(context, lossy=True).associated()
    request = given_up(pair.client)
    late = pair.answer(request)
    used = _invoke(pair, late)
    exchange = pair.client.opaque(apdu.encode(GetRequestNormal(used, LIMIT)))
    with pytest.raises(LinkClosed, match="not answered"):
        next(exchange)
    assert not pair.client.associated


def _invoke(pair, answer):
    """The invoke-id-and-priority of an answer, as the client reads it in an exchange of its own."""
    return apdu.decode(pair.client._plain(answer)[0]).invoke


def test_canary_with_invoke_ids_in_turn_a_withheld_answer_is_taken(monkeypatch):
    def in_turn(self):
        self._invoke = self._invoke % 15 + 1
        self._awaited.clear()
        return 0xC0 | self._invoke

    monkeypatch.setattr(conversation.Conversation, "_next_invoke", in_turn)
    pair = Pair(lossy=True).associated()
    late = pair.answer(given_up(pair.client))
    for _ in range(14):
        given_up(pair.client)
    assert delivered(pair.client, late) == ENERGY_NOW
