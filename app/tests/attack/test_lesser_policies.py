"""What holds where a policy asks for less than authentication and encryption, and what the keys are worth then.

The attacker holds no key. He records, withholds, changes and makes up frames; each test is one attack that worked once.
"""

from contextlib import suppress
from dataclasses import replace
from itertools import count

import pytest

from dcu.cosem import acse, apdu, hls, security
from dcu.cosem.acse import Aarq, ApplicationContext, AssociationResult, Mechanism
from dcu.cosem.apdu import (
    ActionRequestNormal,
    DataNotification,
    GetRequestNormal,
    GetResponseNormal,
    InitiateRequest,
)
from dcu.cosem.apdu.names import SERVICES
from dcu.cosem.association import AUTHENTICATED_ENCRYPTED, SUPPORTED, Association, Authentication, ServerAssociation
from dcu.cosem.client import ClientSession
from dcu.cosem.exchange import drive
from dcu.cosem.handshake import REPLY_TO_HLS
from dcu.cosem.push import PushReceiver, PushSource
from dcu.cosem.security import Cipher, Framing, Policy, Protection
from dcu.cosem.server import ServerSession
from dcu.credentials import Secret
from dcu.errors import AssociationRefused, DcuError, LinkTimeout
from tests.cosem.small_meter import (
    CLIENT,
    CLIENT_TITLE,
    DISCONNECT,
    ENERGY,
    ENERGY_NOW,
    KEYS,
    METER_TITLE,
    SmallMeter,
)


class Line:
    """A client and a meter under a lesser policy."""

    def __init__(self, request, response, *, dedicated=False, random=None, lossy=True, start=1):
        policy = Policy(request, response)
        more = {"random": random} if random else {}
        authentication = Authentication.GMAC
        self.meter = SmallMeter(rows=0)
        self.server = ServerSession(
            self.meter,
            {CLIENT: ServerAssociation(authentication, KEYS, None, policy)},
            counter=count(5000).__next__,
            lossy=lossy,
        )
        settings = Association(CLIENT, 1, authentication, KEYS, CLIENT_TITLE, policy, dedicated)
        counter = count(start).__next__
        self.new_client = lambda: ClientSession(settings, counter=counter, lossy=lossy, **more)
        self.client = self.new_client()

    def answer(self, frame):
        return self.server.receive(CLIENT, frame)

    def run(self, exchange):
        return drive(exchange, self.answer)


def forged(plain, title, cipher, framing=Framing.GLOBAL):
    """An encrypted-only frame of the highest counter. The attacker needs luck for it, 1 in 256: it must say its tag."""
    return security.protect(
        cipher, plain, protection=Protection.ENCRYPTED, title=title, counter=0xFFFFFFFE, framing=framing
    )


@pytest.mark.parametrize("dedicated", [False, True], ids=["global key", "dedicated key"])
def test_a_forged_encrypted_frame_does_not_lock_the_meter_out(dedicated):
    request = Protection.BOTH if dedicated else Protection.ENCRYPTED
    line = Line(request, Protection.ENCRYPTED, dedicated=dedicated, random=lambda size: bytes(range(size)))
    line.run(line.client.associate())
    exchange = line.client.get(ENERGY)
    sent = next(exchange)
    cipher = Cipher(Secret(bytes(range(16))) if dedicated else KEYS.guek, KEYS.gak)
    framing = Framing.DEDICATED if dedicated else Framing.GLOBAL
    stale = apdu.encode(GetResponseNormal(0xCF, ENERGY_NOW))
    assert exchange.send(forged(stale, METER_TITLE, cipher, framing)) is None
    with pytest.raises(StopIteration) as stop:
        exchange.send(line.answer(sent))
    assert stop.value.value == ENERGY_NOW


def test_a_forged_encrypted_frame_does_not_lock_the_client_out():
    line = Line(Protection.ENCRYPTED, Protection.ENCRYPTED)
    line.run(line.client.associate())
    nonsense = forged(b"\xc0", CLIENT_TITLE, Cipher(KEYS.guek, KEYS.gak))
    line.answer(nonsense)
    assert line.run(line.client.get(ENERGY)) == ENERGY_NOW


@pytest.mark.parametrize("response", [Protection.AUTHENTICATED, Protection.BOTH])
def test_nothing_is_answered_under_a_dedicated_key_that_the_attacker_chose(response):
    """Two tags under a key that he knows are 192 linear equations for the 128 bits of the authentication key."""
    meter = ServerSession(
        SmallMeter(),
        {CLIENT: ServerAssociation(keys=KEYS, policy=Policy(Protection.NONE, response))},
        counter=count(1).__next__,
    )
    chosen = Secret(bytes(range(16)))
    initiate = apdu.encode(InitiateRequest(SUPPORTED, 0xFFFF, chosen))
    meter.receive(CLIENT, acse.encode(Aarq(ApplicationContext.LN_CIPHERED, CLIENT_TITLE, user_information=initiate)))
    request = security.protect(
        Cipher(chosen, Secret(bytes(16))),
        apdu.encode(GetRequestNormal(0xC1, ENERGY)),
        protection=Protection.ENCRYPTED,
        title=CLIENT_TITLE,
        counter=1,
        framing=Framing.DEDICATED,
    )
    assert meter.receive(CLIENT, request) == bytes.fromhex("d80101")


# --- a made up AARQ, where requests need not be authenticated


def spoofed(policy):
    """All that it takes where a policy lets requests pass as they are."""
    context = ApplicationContext.LN_CIPHERED if policy.response else ApplicationContext.LN
    return acse.encode(
        Aarq(context, CLIENT_TITLE, Mechanism.HIGH_GMAC, bytes(16), apdu.encode(InitiateRequest(SUPPORTED, 0xFFFF)))
    )


unproven = pytest.mark.parametrize(
    "policy",
    [Policy(Protection.NONE, Protection.NONE), Policy(Protection.NONE, Protection.BOTH)],
    ids=["plain services", "responses protected"],
)


@unproven
def test_an_aarq_that_nobody_stands_behind_does_not_end_an_association(policy):
    line = Line(policy.request, policy.response)
    line.run(line.client.associate())
    for _ in range(3):
        assert acse.decode(line.answer(spoofed(policy))).result == AssociationResult.ACCEPTED
        assert line.server.associated(CLIENT)
        assert line.run(line.client.get(ENERGY)) == ENERGY_NOW
    wrong = ActionRequestNormal(0xC1, REPLY_TO_HLS, b"\x09\x11\x10" + bytes(16))
    line.answer(apdu.encode(wrong))
    assert line.run(line.client.get(ENERGY)) == ENERGY_NOW
    assert line.server._links[CLIENT].stands is None
    line.answer(spoofed(policy))
    line.run(line.client.release())
    assert not line.server.associated(CLIENT)


@unproven
def test_a_client_that_proves_itself_takes_the_place_of_its_earlier_association(policy):
    line = Line(policy.request, policy.response)
    line.run(line.client.associate())
    before = line.server._links[CLIENT]
    line.answer(spoofed(policy))
    again = line.new_client()
    line.run(again.associate())
    assert line.run(again.get(ENERGY)) == ENERGY_NOW
    assert line.server._links[CLIENT].stands is None
    assert line.server._links[CLIENT] is not before


@pytest.mark.parametrize("dedicated", [False, True], ids=["global key", "dedicated key"])
def test_a_client_that_ciphers_more_than_it_must_is_heard_beside_a_made_up_aarq(dedicated):
    policy = Policy(Protection.NONE, Protection.BOTH)
    line = Line(policy.request, policy.response)
    settings = Association(
        CLIENT, 1, Authentication.GMAC, KEYS, CLIENT_TITLE, AUTHENTICATED_ENCRYPTED, dedicated=dedicated
    )
    client = ClientSession(settings, counter=count(1).__next__, lossy=True)
    line.run(client.associate())
    line.answer(spoofed(policy))
    request = next(client.get(ENERGY))
    answer = line.answer(request)
    assert security.is_ciphered(answer)
    assert line.answer(request) is None  # and not twice
    assert line.run(client.get(ENERGY)) == ENERGY_NOW
    line.run(client.release())
    assert not line.server.associated(CLIENT)


# --- HLS 5 as an oracle: f(challenge) is the tag of an APDU that is authenticated only

AUTHENTICATED = Policy(Protection.AUTHENTICATED, Protection.AUTHENTICATED)
PLAIN = Policy(Protection.NONE, Protection.NONE)
CIPHER = Cipher(KEYS.guek, KEYS.gak)  # to look into what is authenticated only, which the attacker reads as well

streams = pytest.mark.parametrize("lossy", [False, True], ids=["stream", "lossy"])
readable = pytest.mark.parametrize("policy", [AUTHENTICATED, PLAIN], ids=["authenticated", "plain services"])


def proof_in(frame, title):
    """f(challenge) at the end of an ACTION request or response that is not encrypted; b"" where there is none."""
    plain = security.unprotect(CIPHER, frame, title=title).apdu if security.is_ciphered(frame) else frame
    return plain[-17:] if plain[:1] in (b"\xc3", b"\xc7") and plain[-17:-16] == b"\x10" else b""


def hung_under(proof, head, text):
    """`text` as a ciphered APDU that is authenticated only: SC and counter of the proof before it, its GMAC behind."""
    body = proof[:5] + text + proof[5:]
    return head + bytes((len(body),)) + body


@streams
@readable
def test_a_client_does_not_sign_the_command_that_it_is_given_as_a_challenge(policy, lossy):
    """The meter has an association open that takes authenticated requests. Another AARQ of the client is swallowed and
    answered with an AARE made of an old one."""
    command = apdu.encode(ActionRequestNormal(0xC5, DISCONNECT, b"\x0f\x00"))
    victim = Line(Protection.AUTHENTICATED, Protection.AUTHENTICATED, lossy=lossy)
    victim.run(victim.client.associate())
    line = Line(policy.request, policy.response, lossy=lossy, start=100)
    recorded = acse.decode(line.answer(next(line.client.associate())))
    changed = acse.encode(replace(recorded, authentication_value=command))

    exchange = line.new_client().associate()
    seen = [next(exchange)]
    with suppress(DcuError, StopIteration):
        for _ in range(10):
            seen.append(exchange.send(changed) or b"")
    for proof in filter(None, (proof_in(frame, CLIENT_TITLE) for frame in seen)):
        victim.answer(hung_under(proof, b"\xcb", command))
    assert victim.meter.done == []
    assert [frame[:1] for frame in seen] == [b"\x60"] + ([b""] * 10 if lossy else [b"\x60"] * 3)


@streams
@readable
def test_a_meter_does_not_sign_the_alarm_that_it_is_given_as_a_challenge(policy, lossy):
    """The challenge of a client is changed on its way. The proof that answers it, a push receiver would believe."""
    alarm = apdu.encode(DataNotification(7, b"", b"\x06\x00\x00\x00\x01"))
    line = Line(policy.request, policy.response, lossy=lossy)
    pushes = PushReceiver(lambda title: PushSource(KEYS, Protection.AUTHENTICATED), lambda title: -1)

    exchange = line.client.associate()
    changed = acse.encode(replace(acse.decode(next(exchange)), authentication_value=alarm))
    answer = line.answer(changed)
    proof = b""
    with suppress(AssociationRefused):
        proof = proof_in(line.answer(exchange.send(answer)), METER_TITLE)
    with pytest.raises(DcuError):
        pushes.receive(hung_under(proof, b"\xdb\x08" + METER_TITLE, alarm))
    assert acse.decode(answer).result == AssociationResult.REJECTED_TRANSIENT


@streams
@readable
def test_an_honest_challenge_that_looks_like_an_apdu_costs_a_stream_another_aarq(policy, lossy):
    line = Line(policy.request, policy.response, lossy=lossy)
    challenges = iter([b"\xc3" + bytes(15), b"\x0f" * 16, b"P6wRJ21F" * 2])

    def answer(frame):
        answered = line.answer(frame)
        if answered[:1] != b"\x61":
            return answered
        link, challenge = line.server._links[CLIENT], next(challenges)
        link.challenges = replace(link.challenges, ours=challenge)
        return acse.encode(replace(acse.decode(answered), authentication_value=challenge))

    for _ in range(2 if lossy else 0):  # a changed AARE may stand before the true one: the caller asks anew
        with pytest.raises(LinkTimeout):
            drive(line.client.associate(), answer)
    drive(line.client.associate(), answer)
    assert line.client.associated
    assert line.client.refused.policy == 2
    assert line.run(line.client.get(ENERGY)) == ENERGY_NOW


def test_where_proofs_are_enciphered_any_challenge_is_answered():
    line = Line(Protection.BOTH, Protection.BOTH)
    exchange = line.client.associate()
    aare = acse.decode(line.answer(next(exchange)))
    assert exchange.send(acse.encode(replace(aare, authentication_value=b"\xc3" * 16)))[:1] == b"\xcb"


@pytest.mark.parametrize("first", range(256))
def test_our_own_challenges_begin_like_no_apdu(first):
    challenge = hls.new_challenge(Authentication.GMAC, lambda size: bytes((first,)) * size)
    assert len(challenge) == 16
    assert not hls.begins_apdu(challenge)
    assert challenge[1:] == bytes((first,)) * 15


def test_what_a_ciphered_frame_may_hold_begins_like_an_apdu():
    """By what can be ciphered at all: each tag that has a ciphered form, and those of general ciphering."""
    plain = [frame for frame in range(256) if hls.begins_apdu(bytes((frame,)))]
    assert len(plain) == 22
    for tag, name in SERVICES.items():
        ciphered = name.startswith(("glo-", "ded-", "general-glo", "general-ded", "general-cip", "general-sig"))
        assert (tag in plain) != (ciphered or name in ("aarq", "aare", "rlrq", "rlre"))
