"""Answers within an association, and blocks: what the client session takes from a meter, and what it never does."""

from contextlib import suppress
from itertools import count

import pytest

from dcu.cosem import acse, apdu
from dcu.cosem.acse import ApplicationContext, UserDiagnostic
from dcu.cosem.apdu import (
    DataAccessResult,
    ExceptionResponse,
    ExceptionService,
    ExceptionState,
    GetResponseBlock,
    GetResponseList,
    GetResponseNormal,
    SetResponseNormal,
)
from dcu.cosem.association import Association, Authentication, Refused
from dcu.cosem.client import ClientSession
from dcu.cosem.exchange import drive
from dcu.cosem.security import Framing, Policy, Protection
from dcu.errors import (
    AccessDenied,
    CounterReplayed,
    DcuError,
    LinkClosed,
    MalformedAnswer,
    PolicyViolated,
    ServiceRefused,
    TagMismatch,
)

from .meter_answers import INITIATED, LISTS, aare, sealed
from .small_meter import CLIENT_TITLE, ENERGY, ENERGY_NOW, KEYS, Pair

# --- answers in an association


def asking(context="gmac, global key", *, lossy=False, exchange=None):
    pair = Pair(context, lossy=lossy).associated()
    asked = (exchange or (lambda client: client.get(ENERGY)))(pair.client)
    request = next(asked)
    return pair, asked, request


INVOKE = 0xC2  # the first after the one of HLS


REFUSED = {
    "plain": (apdu.encode(GetResponseNormal(INVOKE, ENERGY_NOW)), PolicyViolated),
    "authenticated only": (
        sealed(GetResponseNormal(INVOKE, ENERGY_NOW), 5025, Protection.AUTHENTICATED),
        PolicyViolated,
    ),
    "encrypted only": (sealed(GetResponseNormal(INVOKE, ENERGY_NOW), 5025, Protection.ENCRYPTED), PolicyViolated),
    "old counter": (sealed(GetResponseNormal(INVOKE, ENERGY_NOW), 5020), CounterReplayed),
    "wrong tag": (sealed(GetResponseNormal(INVOKE, ENERGY_NOW), 5025)[:-1] + b"\x00", TagMismatch),
    "general ciphering": (
        sealed(GetResponseNormal(INVOKE, ENERGY_NOW), 5025, framing=Framing.GENERAL_GLOBAL),
        PolicyViolated,
    ),
    "another request's": (sealed(GetResponseNormal(0xC1, ENERGY_NOW), 5025), MalformedAnswer),
    "another priority": (sealed(GetResponseNormal(0x42, ENERGY_NOW), 5025), MalformedAnswer),
    "an AARE": (acse.encode(aare(information=sealed(INITIATED, 5025))), PolicyViolated),
    "nothing": (b"", PolicyViolated),
    "a dedicated key that was not agreed": (
        sealed(GetResponseNormal(INVOKE, ENERGY_NOW), 5025, framing=Framing.DEDICATED),
        PolicyViolated,
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_stream_ends_with_a_frame_that_is_not_acceptable(case):
    frame, error = REFUSED[case]
    pair, exchange, _ = asking()
    with pytest.raises(error):
        exchange.send(frame)
    assert pair.client.refused.total == 1
    with pytest.raises(LinkClosed):
        next(pair.client.get(ENERGY))


@pytest.mark.parametrize("case", REFUSED)
def test_a_lossy_session_counts_and_drops_it_and_the_answer_still_comes(case):
    pair, exchange, request = asking(lossy=True)
    assert exchange.send(REFUSED[case][0]) is None
    assert pair.client.refused.total == 1
    assert pair.client.refused.last is not None
    with pytest.raises(StopIteration) as stop:
        exchange.send(pair.answer(request))
    assert stop.value.value == ENERGY_NOW


@pytest.mark.parametrize("lossy", [False, True], ids=["stream", "lossy"])
@pytest.mark.parametrize(
    "nonsense",
    [
        SetResponseNormal(INVOKE, DataAccessResult.SUCCESS),
        GetResponseBlock(INVOKE, False, 1, b""),
        b"\xc4\x09\xc2",
    ],
    ids=["of another service", "an empty block", "undecodable"],
)
def test_authentic_nonsense_is_the_meters_own(nonsense, lossy):
    _, exchange, _ = asking(lossy=lossy)
    with pytest.raises(MalformedAnswer):
        exchange.send(sealed(nonsense, 5025))


def test_an_exception_response_in_a_ciphered_association_is_a_hint_on_a_lossy_channel():
    pair, exchange, request = asking(lossy=True)
    frame = apdu.encode(
        ExceptionResponse(ExceptionState.SERVICE_NOT_ALLOWED, ExceptionService.INVOCATION_COUNTER_ERROR, 77)
    )
    assert exchange.send(frame) is None
    assert isinstance(pair.client.refused.last, ServiceRefused)
    assert pair.client.refused.last.counter == 77
    with pytest.raises(StopIteration):
        exchange.send(pair.answer(request))


@pytest.mark.parametrize("context", ["none", "gmac, global key"])
def test_an_exception_response_on_a_stream_refuses_the_service_and_leaves_the_session(context):
    pair, exchange, request = asking(context)
    with pytest.raises(ServiceRefused, match="operation-not-possible"):
        exchange.send(bytes.fromhex("d80101"))
    assert pair.client.associated
    pair.answer(request)
    assert pair.run(pair.client.get(ENERGY)) == ENERGY_NOW


def test_policies_differ_per_direction():
    responses_only = Policy(Protection.NONE, Protection.BOTH)
    session = ClientSession(
        Association(1, 1, Authentication.LOW, KEYS, CLIENT_TITLE, responses_only), counter=count(1).__next__
    )
    exchange = session.associate()
    assert apdu.decode(acse.decode(next(exchange)).user_information)
    accepted = aare(mechanism=None, challenge=None, diagnostic=UserDiagnostic.NULL, information=sealed(INITIATED, 1))
    with pytest.raises(StopIteration):
        exchange.send(acse.encode(accepted))
    exchange = session.get(ENERGY)
    assert next(exchange)[0] == 0xC0
    with pytest.raises(StopIteration):
        exchange.send(sealed(GetResponseNormal(0xC1, ENERGY_NOW), 2))
    exchange = session.get(ENERGY)
    next(exchange)
    with pytest.raises(PolicyViolated):
        exchange.send(apdu.encode(GetResponseNormal(0xC2, ENERGY_NOW)))


# --- blocks


def blocks_of(*answers, lossy=False, max_answer=1 << 20):
    given_answers = iter(answers)
    session = ClientSession(Association(1, 1, max_answer=max_answer), counter=count(1).__next__, lossy=lossy)
    aare_ = aare(context=ApplicationContext.LN, mechanism=None, challenge=None, title=None, diagnostic=0)
    drive(session.associate(), lambda frame: acse.encode(aare_))
    return drive(session.get(ENERGY), lambda frame: apdu.encode(next(given_answers)))


def test_blocks_are_joined_in_order():
    assert blocks_of(
        GetResponseBlock(0xC1, False, 1, b"\x09\x03a"), GetResponseBlock(0xC1, True, 2, b"bc")
    ) == bytes.fromhex("0903616263")


def list_of(*answers):
    given_answers = iter(answers)
    session = ClientSession(Association(1, 1), counter=count(1).__next__)
    aare_ = aare(
        context=ApplicationContext.LN, mechanism=None, challenge=None, title=None, diagnostic=0, information=LISTS
    )
    drive(session.associate(), lambda frame: acse.encode(aare_))
    return drive(session.get_list([(ENERGY, None)] * 2), lambda frame: apdu.encode(next(given_answers)))


@pytest.mark.parametrize("count_", [0, 1, 3])
def test_a_list_of_another_length_than_was_asked_for_is_refused(count_):
    raw = bytes((count_,)) + (b"\x00" + ENERGY_NOW) * count_
    for answer in (GetResponseList(0xC1, (ENERGY_NOW,) * count_), GetResponseBlock(0xC1, True, 1, raw)):
        with pytest.raises(MalformedAnswer, match=f"{count_} results for 2 attributes"):
            list_of(answer)


@pytest.mark.parametrize("second", [0, 1, 3])
def test_a_block_out_of_order_is_refused(second):
    with pytest.raises(MalformedAnswer, match=f"block {second} where 2 is due"):
        blocks_of(GetResponseBlock(0xC1, False, 1, b"ab"), GetResponseBlock(0xC1, True, second, b"ab"))


def test_blocks_without_an_end_are_bounded():
    with pytest.raises(MalformedAnswer, match="more than 1000 bytes"):
        blocks_of(*(GetResponseBlock(0xC1, False, i, bytes(90)) for i in range(1, 20)), max_answer=1000)


@pytest.mark.parametrize(
    "end",
    [
        GetResponseBlock(0xC1, True, 2, DataAccessResult.LONG_GET_ABORTED),
        GetResponseNormal(0xC1, DataAccessResult.LONG_GET_ABORTED),
    ],
)
def test_a_transfer_that_the_meter_aborts_is_a_refusal(end):
    with pytest.raises(AccessDenied, match="long-get-aborted"):
        blocks_of(GetResponseBlock(0xC1, False, 1, b"ab"), end)


# --- what is kept of a refusal


@pytest.mark.parametrize("lossy", [False, True], ids=["stream", "lossy"])
@pytest.mark.parametrize(
    "frame",
    [
        sealed(GetResponseNormal(0xC1, ENERGY_NOW), 5025),
        sealed(GetResponseNormal(INVOKE, ENERGY_NOW), 5020),
        sealed(GetResponseNormal(INVOKE, ENERGY_NOW), 5025, Protection.ENCRYPTED),
    ],
    ids=["stale", "replayed", "encrypted only"],
)
def test_what_is_kept_of_a_refusal_holds_on_to_no_frame(frame, lossy):
    pair, exchange, _ = asking(lossy=lossy)
    pair.server.receive(1, sealed(GetResponseNormal(0xC1, ENERGY_NOW), 5025))
    with suppress(DcuError):
        exchange.send(frame)
    for kept in (pair.client.refused.last, pair.server.refused.last, *([] if lossy else [pair.client._ended])):
        assert str(kept)
        assert (kept.__traceback__, kept.__context__, kept.__cause__) == (None, None, None)


def test_what_is_kept_of_a_refusal_says_all_that_the_error_said():
    refused = Refused()
    error = CounterReplayed("old", 7, 5)
    refused.add(error)
    assert (type(refused.last), str(refused.last)) == (CounterReplayed, "old")
    assert (refused.last.floor, refused.last.received) == (7, 5)
