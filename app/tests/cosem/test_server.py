"""The server session against clients that ask too much, too early, too weakly, or nonsense."""

import tracemalloc
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dcu.cosem import acse, apdu, axdr, data, hls, security
from dcu.cosem.acse import Aarq, ApplicationContext, AssociationResult, Mechanism, Rlrq, UserDiagnostic
from dcu.cosem.apdu import (
    ActionRequestList,
    ActionRequestNormal,
    ActionResponseNormal,
    ActionResult,
    ConfirmedServiceError,
    Conformance,
    DataAccessResult,
    DataNotification,
    ExceptionResponse,
    ExceptionService,
    GetRequestList,
    GetRequestNext,
    GetRequestNormal,
    GetResponseBlock,
    GetResponseNormal,
    InitiateError,
    InitiateRequest,
    SetRequestNormal,
)
from dcu.cosem.association import (
    AUTHENTICATED_ENCRYPTED,
    SUPPORTED,
    Authentication,
    MemoryFloors,
    ServerAssociation,
)
from dcu.cosem.exchange import decode_results
from dcu.cosem.handshake import REPLY_TO_HLS
from dcu.cosem.security import Cipher, Framing, Policy, Protection
from dcu.cosem.server import ServerSession
from dcu.cosem.serving import LIST_BYTES, LIST_ITEMS
from dcu.credentials import MeterKeys, Secret

from .small_meter import (
    CLIENT,
    CLIENT_TITLE,
    CONTEXTS,
    DISCONNECT,
    ENERGY,
    ENERGY_NOW,
    KEYS,
    LIMIT,
    METER_TITLE,
    PROFILE,
    Pair,
    SmallMeter,
)

CIPHER = Cipher(KEYS.guek, KEYS.gak)
INITIATE = InitiateRequest(SUPPORTED, 0xFFFF)
KEY = Secret(bytes(range(16)))  # a dedicated one
PLAIN = ServerAssociation()
SECURE = ServerAssociation(Authentication.GMAC, KEYS, None, AUTHENTICATED_ENCRYPTED)
GREEN_BOOK_AARQ = (  # LLS, ciphered, dedicated key; it names the title that the example's server has too
    "6066a109060760857405080103a60a04084d4d4d0000bc614e8a0207808b0760857405080201ac0a80083132333435363738"
    "be34043221303001234567801302ff8a7874133d414ced25b42534d28db0047720606b175bd52211be6841db204d39ee6fdb8e356855"
)


def sealed(plain, counter, *, protection=Protection.BOTH, framing=Framing.GLOBAL):
    plain = plain if isinstance(plain, bytes) else apdu.encode(plain)
    return security.protect(CIPHER, plain, protection=protection, title=CLIENT_TITLE, counter=counter, framing=framing)


def aarq(information=None, *, context=ApplicationContext.LN_CIPHERED, title=CLIENT_TITLE, **more):
    more = {"mechanism": Mechanism.HIGH_GMAC, "authentication_value": b"c" * 16} | more
    information = sealed(INITIATE, 1) if information is None else information
    return acse.encode(Aarq(context, title, user_information=information, **more))


def server(terms=SECURE, **more):
    more.setdefault("counter", count(1).__next__)
    return ServerSession(SmallMeter(), {CLIENT: terms}, **more)


def plain_server(initiate=INITIATE, *, lossy=False, **terms):
    session = server(ServerAssociation(**terms), lossy=lossy)
    request = Aarq(ApplicationContext.LN, user_information=apdu.encode(initiate))
    answer = acse.decode(session.receive(CLIENT, acse.encode(request)))
    assert answer.result == AssociationResult.ACCEPTED
    return session


def ask(session, request):
    return apdu.decode(session.receive(CLIENT, apdu.encode(request)))


# --- opening


def test_the_green_books_ciphered_aarq_is_admitted():
    keys = MeterKeys(b"ANOTHER1", KEYS.guek, KEYS.gak, KEYS.password)
    session = server(ServerAssociation(Authentication.LOW, keys, METER_TITLE, AUTHENTICATED_ENCRYPTED))
    answer = acse.decode(session.receive(CLIENT, bytes.fromhex(GREEN_BOOK_AARQ)))
    assert (answer.result, answer.responding_title) == (AssociationResult.ACCEPTED, b"ANOTHER1")
    assert session.associated(CLIENT)


def test_the_green_books_proofs_open_an_association():
    session = server(
        ServerAssociation(Authentication.GMAC, KEYS), counter=lambda: 0x01234567, random=lambda size: b"P6wRJ21F"
    )
    request = aarq(apdu.encode(INITIATE), context=ApplicationContext.LN, authentication_value=b"K56iVagY")
    assert acse.decode(session.receive(CLIENT, request)).authentication_value == b"P6wRJ21F"
    assert not session.associated(CLIENT)
    proof = "c301c1000f0000280000ff0101091110000000011a52fe7dd3e72748973c1e28"
    answer = session.receive(CLIENT, bytes.fromhex(proof))
    assert answer.hex() == "c701c1000100091110" + "01234567fe1466afb3dbcd4f9389e2b7"
    assert session.associated(CLIENT)


@pytest.mark.parametrize(
    ("request_", "diagnostic"),
    [
        (aarq(context=ApplicationContext.LN), UserDiagnostic.APPLICATION_CONTEXT_NAME_NOT_SUPPORTED),
        (aarq(mechanism=None), UserDiagnostic.AUTHENTICATION_REQUIRED),
        (aarq(mechanism=Mechanism.LOW), UserDiagnostic.AUTHENTICATION_MECHANISM_NAME_NOT_RECOGNISED),
        (aarq(authentication_value=None), UserDiagnostic.AUTHENTICATION_FAILURE),
        (aarq(authentication_value=b"1234567"), UserDiagnostic.AUTHENTICATION_FAILURE),
        (aarq(title=None), UserDiagnostic.CALLING_AP_TITLE_NOT_RECOGNIZED),
        (aarq(title=METER_TITLE), UserDiagnostic.CALLING_AP_TITLE_NOT_RECOGNIZED),
        (aarq(title=b"MALLORY1"), UserDiagnostic.AUTHENTICATION_FAILURE),
        (aarq(apdu.encode(INITIATE)), UserDiagnostic.AUTHENTICATION_FAILURE),
        (aarq(sealed(INITIATE, 1, protection=Protection.AUTHENTICATED)), UserDiagnostic.AUTHENTICATION_FAILURE),
        (aarq(sealed(INITIATE, 1)[:-1] + b"\x00"), UserDiagnostic.AUTHENTICATION_FAILURE),
    ],
    ids=[
        "context without ciphering",
        "no mechanism",
        "mechanism LLS",
        "no challenge",
        "short challenge",
        "no title",
        "our own title",
        "another title",
        "plain initiate",
        "authenticated only",
        "wrong tag",
    ],
)
def test_an_aarq_below_the_terms_is_refused_with_its_reason(request_, diagnostic):
    session = server()
    answer = acse.decode(session.receive(CLIENT, request_))
    assert (answer.result, answer.diagnostic) == (AssociationResult.REJECTED_PERMANENT, diagnostic)
    assert answer.authentication_value is None
    assert not session.associated(CLIENT)
    assert session.refused.total == 1


@pytest.mark.parametrize(
    ("initiate", "error"),
    [
        (InitiateRequest(SUPPORTED, 0xFFFF, version=5), InitiateError.DLMS_VERSION_TOO_LOW),
        (InitiateRequest(Conformance.READ, 0xFFFF), InitiateError.INCOMPATIBLE_CONFORMANCE),
        (InitiateRequest(SUPPORTED, 11), InitiateError.PDU_SIZE_TOO_SHORT),
        (InitiateRequest(SUPPORTED, 0xFFFF, Secret(bytes(16))), InitiateError.OTHER),
    ],
)
def test_an_initiate_request_that_cannot_be_met_is_refused_with_its_reason(initiate, error):
    session = server(PLAIN)
    request = Aarq(ApplicationContext.LN, user_information=apdu.encode(initiate))
    answer = acse.decode(session.receive(CLIENT, acse.encode(request)))
    assert answer.result == AssociationResult.REJECTED_PERMANENT
    refusal = apdu.decode(answer.user_information)
    assert isinstance(refusal, ConfirmedServiceError)
    assert refusal.value == error


@pytest.mark.parametrize(
    "seal",
    [
        apdu.encode,
        lambda initiate: sealed(initiate, 1, protection=Protection.AUTHENTICATED),
        lambda initiate: sealed(initiate, 1, protection=Protection.ENCRYPTED),
    ],
    ids=["plain", "authenticated only", "encrypted only"],
)
def test_a_dedicated_key_is_taken_only_where_it_came_authenticated_and_encrypted(seal):
    session = server(ServerAssociation(keys=KEYS, policy=Policy(Protection.NONE, Protection.BOTH)))
    keyless = {"mechanism": None, "authentication_value": None}
    answer = acse.decode(session.receive(CLIENT, aarq(seal(InitiateRequest(SUPPORTED, 0xFFFF, KEY)), **keyless)))
    assert answer.result == AssociationResult.REJECTED_PERMANENT
    assert apdu.decode(answer.user_information).value == InitiateError.OTHER
    assert not session.associated(CLIENT)
    taken = aarq(sealed(InitiateRequest(SUPPORTED, 0xFFFF, KEY), 2), **keyless)
    assert acse.decode(session.receive(CLIENT, taken)).result == AssociationResult.ACCEPTED


def test_only_the_named_client_is_admitted():
    session = server(ServerAssociation(Authentication.GMAC, KEYS, b"SOMEBODY", AUTHENTICATED_ENCRYPTED))
    answer = acse.decode(session.receive(CLIENT, aarq()))
    assert answer.diagnostic == UserDiagnostic.CALLING_AP_TITLE_NOT_RECOGNIZED


def test_an_unknown_client_sap_is_refused():
    session = server()
    assert acse.decode(session.receive(99, aarq())).result == AssociationResult.REJECTED_PERMANENT
    assert session.receive(99, apdu.encode(GetRequestNormal(0xC1, ENERGY))) == bytes.fromhex("d80101")


def test_an_aarq_with_a_used_counter_is_told_the_expected_one_and_changes_nothing():
    pair = Pair().associated()
    answer = apdu.decode(pair.server.receive(CLIENT, aarq()))
    assert (answer.service, answer.counter) == (ExceptionService.INVOCATION_COUNTER_ERROR, 4)
    assert pair.run(pair.client.get(ENERGY)) == ENERGY_NOW


def test_a_forged_aarq_does_not_end_an_association():
    pair = Pair().associated()
    forged = aarq(sealed(INITIATE, 99)[:-1] + b"\x00")
    assert acse.decode(pair.server.receive(CLIENT, forged)).result == AssociationResult.REJECTED_PERMANENT
    assert pair.run(pair.client.get(ENERGY)) == ENERGY_NOW


def test_client_saps_have_associations_of_their_own():
    session = ServerSession(SmallMeter(), {1: PLAIN, 16: PLAIN}, counter=count(1).__next__)
    request = acse.encode(Aarq(ApplicationContext.LN, user_information=apdu.encode(INITIATE)))
    session.receive(16, request)
    assert (session.associated(1), session.associated(16)) == (False, True)
    assert session.receive(1, apdu.encode(GetRequestNormal(0xC1, ENERGY))) == bytes.fromhex("d80101")


# --- before and below the association


def test_before_the_proof_nothing_but_the_proof_is_served():
    session = server()
    session.receive(CLIENT, aarq())
    for at, request in enumerate((GetRequestNormal(0xC1, ENERGY), ActionRequestNormal(0xC1, DISCONNECT, b"\x0f\x00"))):
        assert session.receive(CLIENT, sealed(request, 10 + at)) == bytes.fromhex("d80101")
    assert session._device.done == session._device.asked == []


@pytest.mark.parametrize("proof", [None, b"\x09\x02\x10\x00", b"\x09\x11" + bytes(17), b"\x00"])
def test_a_wrong_proof_ends_the_attempt(proof):
    session = server()
    session.receive(CLIENT, aarq())
    frame = session.receive(CLIENT, sealed(ActionRequestNormal(0xC1, REPLY_TO_HLS, proof), 10))
    answer = apdu.decode(security.unprotect(CIPHER, frame, title=METER_TITLE).apdu)
    assert answer.result == ActionResult.READ_WRITE_DENIED
    assert session.receive(CLIENT, sealed(GetRequestNormal(0xC1, ENERGY), 11)) == bytes.fromhex("d80101")
    assert not session.associated(CLIENT)


def test_after_a_wrong_proof_the_right_one_is_too_late():
    """Each challenge is answered once: who fails begins anew, and meets another."""
    session = server(random=lambda size: b"P6wRJ21F")
    session.receive(CLIENT, aarq())
    wrong = b"\x09\x11" + hls.hls_answer(CIPHER, title=CLIENT_TITLE, counter=9, challenge=b"another.")
    right = b"\x09\x11" + hls.hls_answer(CIPHER, title=CLIENT_TITLE, counter=11, challenge=b"P6wRJ21F")
    session.receive(CLIENT, sealed(ActionRequestNormal(0xC1, REPLY_TO_HLS, wrong), 10))
    assert session.receive(CLIENT, sealed(ActionRequestNormal(0xC1, REPLY_TO_HLS, right), 12))[:1] == b"\xd8"
    assert not session.associated(CLIENT)


@pytest.mark.parametrize("counter", [40, 41, 42])
def test_a_proof_in_a_plain_action_is_held_against_the_floor(counter):
    session = server(
        ServerAssociation(Authentication.GMAC, KEYS),
        floors=MemoryFloors({CLIENT_TITLE: 41}),
        random=lambda size: b"P6wRJ21F",
    )
    session.receive(CLIENT, aarq(apdu.encode(INITIATE), context=ApplicationContext.LN))
    answer = hls.hls_answer(CIPHER, title=CLIENT_TITLE, counter=counter, challenge=b"P6wRJ21F")
    result = ask(session, ActionRequestNormal(0xC1, REPLY_TO_HLS, b"\x09\x11" + answer)).result
    assert result == (ActionResult.SUCCESS if counter > 41 else ActionResult.READ_WRITE_DENIED)
    assert session.associated(CLIENT) == (counter > 41)


def test_a_proof_is_asked_for_once():
    pair = Pair().associated()
    with pytest.raises(Exception, match="read-write-denied"):
        pair.run(pair.client.action(REPLY_TO_HLS, b"\x09\x11" + bytes(17)))


@pytest.mark.parametrize(
    ("frame", "stream"),
    [
        (apdu.encode(GetRequestNormal(0xC2, ENERGY)), "d80101"),
        (sealed(GetRequestNormal(0xC2, ENERGY), 50, protection=Protection.AUTHENTICATED), "d80101"),
        (sealed(GetRequestNormal(0xC2, ENERGY), 50, protection=Protection.ENCRYPTED), "d80101"),
        (sealed(GetRequestNormal(0xC2, ENERGY), 50)[:-1] + b"\x00", "d80105"),
        (sealed(GetRequestNormal(0xC2, ENERGY), 3), "d8010600000004"),
        (sealed(GetRequestNormal(0xC2, ENERGY), 50, framing=Framing.DEDICATED), "d80101"),
        (acse.encode(Rlrq(0)), "d80101"),
        (acse.encode(Rlrq(0, apdu.encode(INITIATE))), "d80101"),
        (b"\xc8", "d80103"),
    ],
    ids=[
        "plain",
        "authenticated only",
        "encrypted only",
        "wrong tag",
        "used counter",
        "a dedicated key that was not agreed",
        "plain release",
        "release with plain user information",
        "cut short",
    ],
)
@pytest.mark.parametrize("lossy", [False, True], ids=["stream", "lossy"])
def test_a_frame_below_the_policy_is_refused_and_the_association_stays(frame, stream, lossy):
    pair = Pair(lossy=lossy).associated()
    assert pair.server.receive(CLIENT, frame) == (None if lossy else bytes.fromhex(stream))
    assert pair.server.refused.total == 1
    assert pair.run(pair.client.get(ENERGY)) == ENERGY_NOW


def test_the_floor_of_a_client_outlives_its_association_and_its_connection():
    floors = MemoryFloors()
    first = Pair(floors=floors).associated()
    request = next(first.client.get(ENERGY))
    first.server.receive(CLIENT, request)
    second = Pair(floors=floors, client_counter=count(10).__next__).associated()
    answer = apdu.decode(second.server.receive(CLIENT, request))
    assert (answer.service, answer.counter) == (ExceptionService.INVOCATION_COUNTER_ERROR, 13)


def test_an_aarq_replayed_on_another_connection_opens_nothing():
    floors = MemoryFloors()
    first = Pair(floors=floors).associated()
    replayed = server(floors=floors)
    assert apdu.decode(replayed.receive(CLIENT, first.sent[0])).service == ExceptionService.INVOCATION_COUNTER_ERROR
    assert not replayed.associated(CLIENT)


# --- services


@pytest.mark.parametrize(
    "request_",
    [
        SetRequestNormal(0xC1, LIMIT, None, b"\x00"),
        ActionRequestNormal(0xC1, DISCONNECT, None),
        GetRequestNext(0xC1, 1),
    ],
)
def test_a_service_that_was_not_negotiated_is_not_done(request_):
    session = plain_server(InitiateRequest(Conformance.GET, 0xFFFF))
    answer = ask(session, request_)
    assert isinstance(answer, ExceptionResponse)
    assert answer.service == ExceptionService.SERVICE_NOT_SUPPORTED
    assert session._device.done == []


def test_without_negotiated_selective_access_a_selection_is_a_violation():
    session = plain_server(InitiateRequest(Conformance.GET, 0xFFFF))
    selection = type("", (), {"selector": 2, "parameter": b"\x00"})()
    answer = ask(session, GetRequestNormal(0xC1, PROFILE, selection))
    assert answer.result == DataAccessResult.SCOPE_OF_ACCESS_VIOLATED


def test_without_negotiated_blocks_a_long_answer_is_refused():
    session = plain_server(InitiateRequest(Conformance.GET, 100))
    assert ask(session, GetRequestNormal(0xC1, PROFILE)).result == DataAccessResult.OTHER_REASON
    assert ask(session, GetRequestNormal(0xC1, ENERGY)).result == ENERGY_NOW


@pytest.mark.parametrize("lossy", [False, True], ids=["stream", "lossy"])
def test_a_request_longer_than_the_server_takes_is_refused(lossy):
    session = plain_server(max_pdu=64, lossy=lossy)
    answer = session.receive(CLIENT, apdu.encode(SetRequestNormal(0xC1, LIMIT, None, bytes(100))))
    assert answer is None if lossy else apdu.decode(answer).service == ExceptionService.PDU_TOO_LONG
    assert session.refused.total == 1
    assert session._device.done == []


def test_unconfirmed_writes_and_calls_are_done_and_not_answered():
    session = plain_server()
    assert session.receive(CLIENT, apdu.encode(SetRequestNormal(0x81, LIMIT, None, b"\x00"))) is None
    assert session.receive(CLIENT, apdu.encode(ActionRequestNormal(0x81, DISCONNECT, None))) is None
    assert len(session._device.done) == 2
    both = ActionRequestList(0x81, (DISCONNECT, DISCONNECT), (b"\x00", b"\x00"))
    assert session.receive(CLIENT, apdu.encode(both)) is None
    assert len(session._device.done) == 4


def test_a_method_whose_result_is_too_long_says_that_it_ran():
    session = plain_server(InitiateRequest(SUPPORTED & ~Conformance.BLOCK_TRANSFER_WITH_ACTION, 64))
    session._device.action = lambda *arguments: axdr.encode(data.octets(bytes(100)))
    answer = ask(session, ActionRequestNormal(0xC1, DISCONNECT, None))
    assert answer == ActionResponseNormal(0xC1, ActionResult.SUCCESS, DataAccessResult.OTHER_REASON)


def test_blocks_are_given_in_order_and_one_long_answer_at_a_time():
    session = plain_server(InitiateRequest(SUPPORTED, 100))
    first = ask(session, GetRequestNormal(0xC1, PROFILE))
    assert isinstance(first, GetResponseBlock)
    assert (first.block, first.last) == (1, False)
    assert ask(session, GetRequestNext(0xC1, 1)).block == 2
    assert ask(session, GetRequestNext(0xC1, 7)).result == DataAccessResult.DATA_BLOCK_NUMBER_INVALID
    assert ask(session, GetRequestNext(0xC1, 2)).result == DataAccessResult.NO_LONG_GET_IN_PROGRESS
    ask(session, GetRequestNormal(0xC1, PROFILE))
    assert isinstance(ask(session, GetRequestNormal(0xC1, ENERGY)), GetResponseNormal)
    assert ask(session, GetRequestNext(0xC1, 1)).result == DataAccessResult.NO_LONG_GET_IN_PROGRESS


def listed(session, *attributes):
    answer = ask(session, GetRequestList(0xC1, tuple((attribute, None) for attribute in attributes)))
    joined = b""
    while isinstance(answer, GetResponseBlock):
        joined += answer.result
        if answer.last:
            return decode_results(joined)
        answer = ask(session, GetRequestNext(0xC1, answer.block))
    return answer.results


def test_a_list_of_everything_many_times_over_is_cut_to_what_an_answer_may_hold():
    session = plain_server()
    long = axdr.encode(data.octets(bytes(27_000)))
    session._device.values[PROFILE] = long
    session._device.get = lambda *arguments: bytes(bytearray(long))  # a new one each time, as a meter would
    tracemalloc.start()
    try:
        results = listed(session, *[PROFILE] * 6_500)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    given = LIST_BYTES // len(long)
    assert results == (long,) * given + (DataAccessResult.OTHER_REASON,) * (6_500 - given)
    assert peak < 8 << 20  # it was 532 MB


def test_a_list_of_many_small_values_is_bounded_too():
    session = plain_server()
    results = listed(session, *[ENERGY] * (LIST_ITEMS + 2))
    assert results == (ENERGY_NOW,) * LIST_ITEMS + (DataAccessResult.OTHER_REASON,) * 2
    assert len(session._device.asked) == LIST_ITEMS


@pytest.mark.parametrize("wrong", [None, "text", b"", 5])
def test_an_application_that_answers_nonsense_gets_an_exception_response_and_the_session_lives(wrong):
    session = plain_server()
    session._device.get = lambda *arguments: wrong
    assert session.receive(CLIENT, apdu.encode(GetRequestNormal(0xC1, ENERGY))) == bytes.fromhex("d80103")
    del session._device.get
    assert ask(session, GetRequestNormal(0xC1, ENERGY)).result == ENERGY_NOW


def test_a_server_without_a_counter_answers_and_lives():
    def exhausted():
        raise RuntimeError("no counter is left")

    session = server(counter=exhausted)
    assert session.receive(CLIENT, aarq()) == bytes.fromhex("d80103")
    assert not session.associated(CLIENT)


def test_a_notification_is_protected_as_responses_are():
    pushed = DataNotification(1, b"", ENERGY_NOW)
    pair = Pair("gmac, dedicated key").associated()
    frame = pair.server.notification(CLIENT, pushed)
    assert frame[:10] == b"\xdb\x08" + METER_TITLE
    assert security.unprotect(CIPHER, frame, title=METER_TITLE, required=Protection.BOTH).apdu == apdu.encode(pushed)
    assert Pair("none").server.notification(CLIENT, pushed) == apdu.encode(pushed)
    with pytest.raises(ValueError, match="no association"):
        Pair().server.notification(CLIENT, pushed)


# --- any bytes at all


@pytest.mark.parametrize("lossy", [False, True], ids=["stream", "lossy"])
@pytest.mark.parametrize("context", CONTEXTS)
@settings(max_examples=60, deadline=None)
@given(frames=st.lists(st.binary(max_size=80) | st.sampled_from(range(0x60, 0x63)).map(lambda tag: bytes((tag, 0)))))
def test_any_bytes_give_an_answer_or_none(context, lossy, frames):
    pair = Pair(context, lossy=lossy).associated()
    for frame in frames:
        answer = pair.server.receive(CLIENT, frame)
        assert answer is None or isinstance(answer, bytes)
    if context not in ("none", "low"):
        assert pair.meter.done == []


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_mutated_request_gives_an_answer_or_none_and_is_not_done(draw):
    pair = Pair(draw.draw(st.sampled_from(["low, ciphered", "gmac, global key", "gmac, dedicated key"]))).associated()
    pristine = next(pair.client.set(LIMIT, b"\x00"))
    frame = bytearray(pristine)
    for _ in range(draw.draw(st.integers(1, 4))):
        frame[draw.draw(st.integers(0, len(frame) - 1))] ^= 1 << draw.draw(st.integers(0, 7))
    pair.server.receive(CLIENT, bytes(frame))
    assert pair.meter.done == [] or bytes(frame) == pristine
