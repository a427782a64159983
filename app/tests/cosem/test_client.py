"""The client session against published bytes, and against a meter that tries to talk it into less.

The Green Book's examples: AARQs with LLS and with ciphering, the proofs of HLS 5.
"""

from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dcu.cosem import acse, apdu, axdr, data, hls, security
from dcu.cosem.acse import ApplicationContext, AssociationResult, Mechanism, UserDiagnostic
from dcu.cosem.apdu import (
    ActionResponseNormal,
    ActionResult,
    ConfirmedService,
    ConfirmedServiceError,
    Conformance,
    ErrorClass,
    InitiateResponse,
)
from dcu.cosem.association import AUTHENTICATED_ENCRYPTED, SUPPORTED, Association, Authentication
from dcu.cosem.client import ClientSession
from dcu.cosem.exchange import drive
from dcu.cosem.security import Policy, Protection
from dcu.credentials import MeterKeys
from dcu.errors import (
    AssociationRefused,
    AuthenticationFailed,
    CounterReplayed,
    DcuError,
    LinkTimeout,
    MalformedAnswer,
    PolicyViolated,
    SecurityError,
    ServiceRefused,
    TagMismatch,
)

from .meter_answers import CIPHER, GREEN_BOOK, INITIATED, aare, sealed
from .small_meter import CLIENT_TITLE, CONTEXTS, KEYS, LIMIT, METER_TITLE, Pair, association

# --- golden bytes


def test_aarq_with_low_level_authentication_is_the_green_books():
    session = ClientSession(
        Association(1, 1, Authentication.LOW, KEYS, max_pdu=0x04B0, conformance=GREEN_BOOK), counter=count().__next__
    )
    assert next(session.associate()).hex() == (
        "6036a1090607608574050801018a0207808b0760857405080201ac0a80083132333435363738"
        "be10040e01000000065f1f0400007e1f04b0"
    )


def test_aare_of_the_green_book_is_understood():
    session = ClientSession(Association(1, 1), counter=count().__next__)
    aare = "6129a109060760857405080101a203020100a305a103020100be10040e0800065f1f040000501f01f40007"
    negotiated = drive(session.associate(), lambda frame: bytes.fromhex(aare))
    assert negotiated.conformance == Conformance(0x00501F) & session.association.conformance
    assert (negotiated.server_max_pdu, negotiated.server_title) == (0x01F4, b"")


def test_ciphered_aarq_is_the_green_books():
    meter = MeterKeys(b"ANOTHER1", KEYS.guek, KEYS.gak, KEYS.password)
    settings_ = Association(
        1,
        1,
        Authentication.LOW,
        meter,
        METER_TITLE,  # the title that the example gives its client
        AUTHENTICATED_ENCRYPTED,
        dedicated=True,
        max_pdu=0x04B0,
        conformance=GREEN_BOOK,
    )
    key = bytes.fromhex("00112233445566778899AABBCCDDEEFF")
    session = ClientSession(settings_, counter=lambda: 0x01234567, random=lambda size: key[:size])
    assert next(session.associate()).hex() == (
        "6066a109060760857405080103a60a04084d4d4d0000bc614e"
        "8a0207808b0760857405080201ac0a80083132333435363738be34043221303001234567"
        "801302ff8a7874133d414ced25b42534d28db0047720606b175bd52211be6841db204d39ee6fdb8e356855"
    )


def test_hls_5_proofs_are_the_green_books():
    session = ClientSession(
        Association(1, 1, Authentication.GMAC, KEYS, CLIENT_TITLE),
        counter=lambda: 1,
        random=lambda size: b"K56iVagY",
    )
    exchange = session.associate()
    aarq = acse.decode(next(exchange))
    assert (aarq.mechanism, aarq.authentication_value) == (Mechanism.HIGH_GMAC, b"K56iVagY")
    proof = exchange.send(acse.encode(aare(context=ApplicationContext.LN, challenge=b"P6wRJ21F")))
    assert proof.hex() == "c301c1000f0000280000ff01010911" + "10000000011a52fe7dd3e72748973c1e28"
    with pytest.raises(StopIteration):
        exchange.send(bytes.fromhex("c701c100010009111001234567fe1466afb3dbcd4f9389e2b7"))
    assert session.associated
    assert session.floor == 0x01234567


# --- an AARE that offers less, or something else


def answered(context, answer, *, lossy=False):
    session = ClientSession(association(context), counter=count(1).__next__, lossy=lossy)
    exchange = session.associate()
    next(exchange)
    return session, exchange, answer if isinstance(answer, bytes) else acse.encode(answer)


WEAKENED = {
    "context without ciphering": (aare(context=ApplicationContext.LN, information=sealed(INITIATED)), PolicyViolated),
    "mechanism none": (aare(mechanism=Mechanism.NONE, information=sealed(INITIATED)), PolicyViolated),
    "mechanism LLS": (aare(mechanism=Mechanism.LOW, information=sealed(INITIATED)), PolicyViolated),
    "mechanism HLS 2": (aare(mechanism=Mechanism.HIGH, information=sealed(INITIATED)), PolicyViolated),
    "plain initiate response": (aare(), PolicyViolated),
    "authenticated only": (aare(information=sealed(INITIATED, protection=Protection.AUTHENTICATED)), PolicyViolated),
    "encrypted only": (aare(information=sealed(INITIATED, protection=Protection.ENCRYPTED)), PolicyViolated),
    "no initiate response": (aare(information=b""), PolicyViolated),
    "another title": (aare(title=b"MALLORY1", information=sealed(INITIATED)), AuthenticationFailed),
    "no title": (aare(title=None, information=sealed(INITIATED)), AuthenticationFailed),
    "no challenge": (aare(challenge=None, information=sealed(INITIATED)), MalformedAnswer),
    "a challenge of 7 bytes": (aare(challenge=b"1234567", information=sealed(INITIATED)), MalformedAnswer),
    "a wrong tag": (aare(information=sealed(INITIATED)[:-1] + b"\x00"), TagMismatch),
    "something else inside": (
        aare(information=sealed(InitiateResponse(GREEN_BOOK, 500, vaa_name=0xFA00))),
        MalformedAnswer,
    ),
    "a request in place of an answer": (acse.encode(acse.Rlrq(0)), MalformedAnswer),
    "noise": (b"\x61\x03abc", MalformedAnswer),
    "nothing": (b"", MalformedAnswer),
}


@pytest.mark.parametrize("case", WEAKENED)
def test_a_stream_ends_with_an_aare_that_offers_less(case):
    answer, error = WEAKENED[case]
    session, exchange, frame = answered("gmac, global key", answer)
    with pytest.raises(error):
        exchange.send(frame)
    assert not session.associated


@pytest.mark.parametrize("case", WEAKENED)
def test_a_lossy_session_drops_an_aare_that_offers_less_and_takes_the_right_one(case):
    session, exchange, frame = answered("gmac, global key", WEAKENED[case][0], lossy=True)
    assert exchange.send(frame) is None
    assert session.refused.total == 1
    proof = exchange.send(acse.encode(aare(information=sealed(INITIATED, 200))))
    assert proof[0] == 0xCB


JDLMS_LOW = "612d80020780a109060760857405080103a203020100a305a103020100be10040e0800065f1f040000121dffff0007"
JDLMS_HLS_5 = (  # an AARE without mechanism name, its initiate response ciphered with keys that are not ours
    "616080020780a109060760857405080103a203020100a305a103020100a40a040849534b000000270faa1280107c09b57c86924f83b8348c"
    "66bac184b0be230421281f3000000001b2a46be7b7de949d758f8b04b9264ecde97b0766ba67ce108373"
)


def test_an_aare_of_jdlms_that_names_ciphering_for_plain_lls_is_taken():
    _, exchange, _ = answered("low", b"")
    with pytest.raises(StopIteration):
        exchange.send(bytes.fromhex(JDLMS_LOW))


def test_the_context_of_jdlms_does_not_stand_in_for_one_that_is_ciphered():
    _, exchange, _ = answered("low, ciphered", b"")
    with pytest.raises(AuthenticationFailed, match="none came"):
        exchange.send(bytes.fromhex(JDLMS_LOW))


def test_an_aare_of_jdlms_without_mechanism_name_still_meets_hls():
    """Its name is missing, its challenge is not: the session goes on to the proofs, and to nothing before them."""
    answer = acse.decode(bytes.fromhex(JDLMS_HLS_5))
    assert answer.mechanism is None
    nameless = aare(mechanism=None, challenge=answer.authentication_value, information=sealed(INITIATED))
    session, exchange, frame = answered("gmac, global key", nameless)
    assert exchange.send(frame)[0] == 0xCB
    assert not session.associated
    bare = aare(mechanism=None, challenge=None, information=sealed(INITIATED))
    _, exchange, frame = answered("gmac, global key", bare)
    with pytest.raises(MalformedAnswer, match="challenge"):
        exchange.send(frame)


@pytest.mark.parametrize("context", ["none", "low"])
def test_a_meter_that_wants_hls_has_not_accepted_us(context):
    answer = aare(context=ApplicationContext.LN, mechanism=None, title=None, challenge=None)
    assert answer.diagnostic == UserDiagnostic.AUTHENTICATION_REQUIRED
    session, exchange, frame = answered(context, answer)
    with pytest.raises(AssociationRefused, match="wants high-level authentication"):
        exchange.send(frame)
    assert not session.associated


def test_what_the_meter_grants_beyond_what_was_offered_is_not_used():
    generous = InitiateResponse(Conformance(0xFFFFFF), 500)
    bare = {"context": ApplicationContext.LN, "mechanism": None, "title": None, "challenge": None}
    answer = aare(**bare, diagnostic=UserDiagnostic.NULL, information=apdu.encode(generous))
    session, exchange, frame = answered("none", answer)
    with pytest.raises(StopIteration) as done:
        exchange.send(frame)
    assert done.value.value.conformance == SUPPORTED
    assert not session.negotiated.conformance & Conformance.GENERAL_BLOCK_TRANSFER


def test_our_own_challenge_is_not_taken_back():
    session = ClientSession(
        association("gmac, global key"), counter=count(1).__next__, random=lambda size: b"0123456789ABCDEF"
    )
    exchange = session.associate()
    next(exchange)
    with pytest.raises(AuthenticationFailed, match="came back"):
        exchange.send(acse.encode(aare(information=sealed(INITIATED))))


@pytest.mark.parametrize("lossy", [False, True], ids=["stream", "lossy"])
@pytest.mark.parametrize(
    ("refusal", "error", "match"),
    [
        (aare(result=AssociationResult.REJECTED_PERMANENT), AssociationRefused, "rejected-permanent"),
        (
            aare(
                result=AssociationResult.REJECTED_PERMANENT,
                diagnostic=UserDiagnostic.AUTHENTICATION_FAILURE,
            ),
            AuthenticationFailed,
            "check the GAK",
        ),
        (
            aare(
                result=AssociationResult.REJECTED_TRANSIENT,
                diagnostic=UserDiagnostic.NO_REASON_GIVEN,
                information=apdu.encode(ConfirmedServiceError(ConfirmedService.INITIATE_ERROR, ErrorClass.INITIATE, 3)),
            ),
            AssociationRefused,
            "pdu-size-too-short",
        ),
        (bytes.fromhex("d80106000003e8"), ServiceRefused, "1000"),
        (bytes.fromhex("d80105"), AuthenticationFailed, "check the GAK"),
        (bytes.fromhex("0e010603"), ServiceRefused, "pdu-size-too-short"),
    ],
)
def test_a_refusal_ends_the_attempt_and_says_why(refusal, error, match, lossy):
    _, exchange, frame = answered("gmac, global key", refusal, lossy=lossy)
    with pytest.raises(error, match=match):
        exchange.send(frame)


def test_the_expected_counter_is_handed_on_as_a_hint():
    _, exchange, frame = answered("gmac, global key", bytes.fromhex("d80106000003e8"))
    with pytest.raises(ServiceRefused) as refused:
        exchange.send(frame)
    assert refused.value.counter == 1000


@pytest.mark.parametrize("context", ["none", "low"])
def test_without_ciphering_an_unknown_title_is_taken_and_a_wrong_one_is_not(context):
    plain = {"context": ApplicationContext.LN, "mechanism": None, "challenge": None}
    given_title = aare(title=b"SOMEBODY", diagnostic=UserDiagnostic.NULL, **plain)
    unknown = MeterKeys(b"", KEYS.guek, KEYS.gak, KEYS.password)
    session = ClientSession(Association(1, 1, CONTEXTS[context][0], unknown, CLIENT_TITLE), counter=count(1).__next__)
    assert drive(session.associate(), lambda frame: acse.encode(given_title)).server_title == b"SOMEBODY"
    _, exchange, frame = answered(context, given_title)
    with pytest.raises(AuthenticationFailed, match="system title"):
        exchange.send(frame)


# --- the proof of HLS


def proving(lossy=False):
    session, exchange, frame = answered("gmac, global key", aare(information=sealed(INITIATED, 100)), lossy=lossy)
    request = security.unprotect(CIPHER, exchange.send(frame), title=CLIENT_TITLE).apdu
    return session, exchange, apdu.decode(request).invoke


def proof(session, invoke, *, counter=101, challenge=None):
    challenge = challenge or b"x" * 16
    value = axdr.encode(data.octets(hls.hls_answer(CIPHER, title=METER_TITLE, counter=counter, challenge=challenge)))
    return ActionResponseNormal(invoke, ActionResult.SUCCESS, value)


@pytest.mark.parametrize("lossy", [False, True], ids=["stream", "lossy"])
@pytest.mark.parametrize(
    "answer",
    [
        lambda session, invoke: proof(session, invoke),
        lambda session, invoke: ActionResponseNormal(invoke, ActionResult.SUCCESS, None),
        lambda session, invoke: ActionResponseNormal(invoke, ActionResult.SUCCESS, b"\x09\x02\x10\x00"),
        lambda session, invoke: ActionResponseNormal(invoke, ActionResult.READ_WRITE_DENIED),
    ],
    ids=["of another challenge", "missing", "cut short", "refused"],
)
def test_an_authentic_but_wrong_proof_fails_the_authentication(answer, lossy):
    session, exchange, invoke = proving(lossy)
    with pytest.raises(AuthenticationFailed, match="authentication failed"):
        exchange.send(sealed(answer(session, invoke), 102))
    assert not session.associated


def test_a_proof_with_an_old_counter_is_a_replay():
    session = ClientSession(association("gmac, global key"), counter=count(1).__next__, random=lambda size: b"y" * size)
    exchange = session.associate()
    next(exchange)
    request = exchange.send(acse.encode(aare(information=sealed(INITIATED, 100))))
    invoke = apdu.decode(security.unprotect(CIPHER, request, title=CLIENT_TITLE).apdu).invoke
    with pytest.raises(CounterReplayed):
        exchange.send(sealed(proof(session, invoke, counter=100, challenge=b"y" * 16), 102))


# --- settings, and any bytes at all


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"authentication": Authentication.LOW}, "password"),
        ({"authentication": Authentication.GMAC}, "system title"),
        ({"policy": AUTHENTICATED_ENCRYPTED, "keys": KEYS}, "client system title"),
        ({"policy": AUTHENTICATED_ENCRYPTED, "keys": KEYS, "client_title": METER_TITLE}, "same system title"),
        ({"policy": AUTHENTICATED_ENCRYPTED, "keys": MeterKeys(b"", KEYS.guek, KEYS.gak)}, "system title"),
        *(
            (
                {
                    "dedicated": True,
                    "keys": KEYS,
                    "client_title": CLIENT_TITLE,
                    "policy": Policy(request, Protection.BOTH),
                },
                "must authenticate and encrypt",
            )
            for request in (Protection.NONE, Protection.AUTHENTICATED, Protection.ENCRYPTED)
        ),
        ({"max_pdu": 5}, "max PDU"),
    ],
)
def test_settings_that_cannot_be_secure_are_refused(arguments, match):
    with pytest.raises(ValueError, match=match):
        Association(1, 1, **arguments)


def test_no_key_shows_in_settings_sessions_or_errors():
    pair = Pair("gmac, dedicated key").associated()
    shown = repr(pair.client.association) + repr(vars(pair.client)) + repr(pair.client.refused)
    for secret in (KEYS.guek, KEYS.gak, KEYS.password):
        assert secret.reveal().hex() not in shown.lower()
        assert repr(secret.reveal()) not in shown


@pytest.mark.parametrize("lossy", [False, True], ids=["stream", "lossy"])
@pytest.mark.parametrize("context", CONTEXTS)
@settings(max_examples=40, deadline=None)
@given(noise=st.lists(st.binary(max_size=60), min_size=1, max_size=4))
def test_noise_gives_typed_errors_or_nothing(context, lossy, noise):
    for stage in (Pair(context, lossy=lossy), Pair(context, lossy=lossy).associated()):
        exchange = stage.client.get(LIMIT) if stage.client.associated else stage.client.associate()
        frames = iter(noise)
        with pytest.raises((DcuError, LinkTimeout)):
            drive(_swallowing(exchange), lambda frame, frames=frames: next(frames, None))
        assert not isinstance(stage.client.refused.last, SecurityError) or stage.client.refused.total


def _swallowing(exchange):
    """Feed noise for as long as the exchange listens."""
    received = yield next(exchange)
    while True:
        sent = exchange.send(received)
        received = yield sent or b"again"
