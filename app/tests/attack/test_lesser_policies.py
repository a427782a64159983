"""What holds where a policy asks for less than authentication and encryption, and what the keys are worth then.

The attacker holds no key. He records, withholds, changes and makes up frames; each test is one attack that worked once.
"""

from itertools import count

import pytest

from dcu.cosem import acse, apdu, security
from dcu.cosem.acse import Aarq, ApplicationContext
from dcu.cosem.apdu import GetRequestNormal, GetResponseNormal, InitiateRequest
from dcu.cosem.association import SUPPORTED, Association, Authentication, ServerAssociation
from dcu.cosem.client import ClientSession
from dcu.cosem.exchange import drive
from dcu.cosem.security import Cipher, Framing, Policy, Protection
from dcu.cosem.server import ServerSession
from dcu.credentials import Secret
from tests.cosem.small_meter import CLIENT, CLIENT_TITLE, ENERGY, ENERGY_NOW, KEYS, METER_TITLE, SmallMeter


class Line:
    """A client and a meter under a lesser policy, on a lossy channel."""

    def __init__(self, request, response, *, authentication=Authentication.GMAC, dedicated=False, random=None):
        policy = Policy(request, response)
        more = {"random": random} if random else {}
        self.meter = SmallMeter(rows=0)
        self.server = ServerSession(
            self.meter,
            {CLIENT: ServerAssociation(authentication, KEYS, None, policy)},
            counter=count(5000).__next__,
            lossy=True,
        )
        settings = Association(CLIENT, 1, authentication, KEYS, CLIENT_TITLE, policy, dedicated)
        self.client = ClientSession(settings, counter=count(1).__next__, lossy=True, **more)

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
