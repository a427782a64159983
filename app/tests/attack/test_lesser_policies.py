"""What holds where a policy asks for less than authentication and encryption, and what the keys are worth then.

The attacker holds no key. He records, withholds, changes and makes up frames; each test is one attack that worked once.
"""

from itertools import count

import pytest

from dcu.cosem import acse, apdu, security
from dcu.cosem.acse import Aarq, ApplicationContext
from dcu.cosem.apdu import GetRequestNormal, InitiateRequest
from dcu.cosem.association import SUPPORTED, ServerAssociation
from dcu.cosem.security import Cipher, Framing, Policy, Protection
from dcu.cosem.server import ServerSession
from dcu.credentials import Secret
from tests.cosem.small_meter import CLIENT, CLIENT_TITLE, ENERGY, KEYS, SmallMeter


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
