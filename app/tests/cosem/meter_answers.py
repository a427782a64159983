"""What a meter may answer: an AARE to ask for less with, a ciphered APDU of any counter and protection."""

from dcu.cosem import apdu, security
from dcu.cosem.acse import Aare, ApplicationContext, AssociationResult, Mechanism, UserDiagnostic
from dcu.cosem.apdu import Conformance, InitiateResponse
from dcu.cosem.security import Cipher, Protection

from .small_meter import KEYS, METER_TITLE

GREEN_BOOK = Conformance(0x007E1F)
INITIATED = InitiateResponse(Conformance(0x00501F), 0x01F4)
LISTS = apdu.encode(InitiateResponse(Conformance.GET | Conformance.MULTIPLE_REFERENCES, 0))
CIPHER = Cipher(KEYS.guek, KEYS.gak)


def aare(
    *,
    context=ApplicationContext.LN_CIPHERED,
    result=AssociationResult.ACCEPTED,
    diagnostic=UserDiagnostic.AUTHENTICATION_REQUIRED,
    title=METER_TITLE,
    mechanism=Mechanism.HIGH_GMAC,
    challenge=b"0123456789ABCDEF",
    information=None,
):
    information = apdu.encode(INITIATED) if information is None else information
    return Aare(context, result, diagnostic, title, mechanism, challenge, information)


def sealed(plain, counter=100, protection=Protection.BOTH, **more):
    plain = plain if isinstance(plain, bytes) else apdu.encode(plain)
    return security.protect(CIPHER, plain, protection=protection, title=METER_TITLE, counter=counter, **more)
