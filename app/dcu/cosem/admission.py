"""The server's part in opening an association: an AARQ is admitted on the configured terms, or refused with a reason.

Nothing is lowered: the context, the mechanism, the protection of the initiate request and the client's system title are
what the client SAP is configured for. A refusal says as much as the standard's diagnostics do, and keeps nothing.

Source: DLMS Green Book (IEC 62056-5-3) clauses 9.2.2, 9.2.7.4, 9.4.2.
"""

import hmac
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from dcu.cosem import acse, apdu, hls, security
from dcu.cosem.acse import Aare, Aarq, AssociationResult, Diagnostic, Mechanism, UserDiagnostic
from dcu.cosem.apdu import (
    Block,
    ConfirmedService,
    ConfirmedServiceError,
    Conformance,
    ErrorClass,
    InitiateError,
    InitiateRequest,
    InitiateResponse,
)
from dcu.cosem.association import MAX_PDU, Authentication, BroadcastFloors, Counter, Floors, ServerAssociation
from dcu.cosem.ciphering import Ciphering, require_protection
from dcu.cosem.gbt import OVERHEAD, Transfer
from dcu.cosem.hls import Challenges, Hls
from dcu.cosem.security import Framing, Protection
from dcu.cosem.short_names import ASSOCIATION
from dcu.cosem.short_requests import ServerTranslator
from dcu.credentials import Secret
from dcu.errors import AuthenticationFailed, DecodeError, PolicyViolated, TagMismatch
from dcu.suites import SUITES

UNLIMITED = 1 << 31
LONGEST = 1 << 18  # bytes that a client's general blocks may add up to
_TITLE_SIZE = 8
_HEAD = 9 + 3  # what stands before a block's bytes in a GET response: tag to choice, and their length
_GENERAL = 1 + _TITLE_SIZE  # and the sender's title in general ciphering


@dataclass(slots=True)
class Link:
    """One client's association with the server, from its AARQ on.

    user: who of the client's users it is, as he says. stands: while the client has not proven itself, the association
    that it had before, if it was he who had it.
    """

    terms: ServerAssociation
    conformance: Conformance
    client_max_pdu: int
    ciphering: Ciphering | None
    peer: bytes = b""  # its title, as it says
    user: int | None = None
    hls: Hls | None = None
    challenges: Challenges | None = field(default=None, repr=False)
    proven: bool = True  # False: HLS pass 3 is still due
    long_get: "LongGet | None" = None
    long_put: "LongPut | None" = None
    transfer: Transfer | None = None
    stands: "Link | None" = None
    translator: ServerTranslator | None = None  # by short names
    agreed: Conformance | None = None  # where conformance also says it in the words of logical names

    @property
    def room(self) -> int:
        """How many bytes a block may carry so that the whole APDU, ciphered, is what the client receives."""
        if self.conformance & Conformance.GENERAL_BLOCK_TRANSFER:
            return UNLIMITED  # what is too long is cut after it was ciphered
        more = self.ciphering.overhead if self.ciphering else 0
        return room(self.client_max_pdu, self.terms.policy.response) - more


def new_transfer(link: Link) -> Transfer:
    """General blocks to and from a client."""
    return Transfer((link.client_max_pdu or MAX_PDU) - OVERHEAD, limit=LONGEST)


@dataclass(slots=True)
class LongGet:
    """An answer that is fetched block by block."""

    rest: memoryview = field(repr=False)
    block: int = 0
    returned: bool = False  # by a method, not read


@dataclass(slots=True)
class LongPut:
    """A request that comes block by block. target: what it is for, an attribute with its selection, or a list."""

    target: tuple[Any, ...]
    methods: bool = False
    many: bool = False
    size: int = 0
    parts: list[bytes] = field(default_factory=list, repr=False)

    def takes(self, block: Block) -> bool:
        """Keep the block if it is the next one. The one before it, once more, is as good: its answer was lost."""
        if self.parts and block.number == len(self.parts) and not block.last:
            return True
        if block.number != len(self.parts) + 1:
            return False
        self.parts.append(block.raw)
        self.size += len(block.raw) + 1
        return True

    def joined(self) -> bytes:
        return b"".join(self.parts)


class Rejected(Exception):
    """The AARQ is refused: what the AARE says. transient: another try may do."""

    def __init__(self, diagnostic: Diagnostic, error: InitiateError | None = None, *, transient: bool = False) -> None:
        super().__init__(str(diagnostic))
        self.diagnostic = diagnostic
        self.error = error
        self.result = AssociationResult.REJECTED_TRANSIENT if transient else AssociationResult.REJECTED_PERMANENT


def room(max_pdu: int, protection: Protection) -> int:
    return (max_pdu or 0xFFFF) - _HEAD - (security.SEALED + _GENERAL if protection else 0)


def admit(
    request: Aarq, terms: ServerAssociation, *, counter: Counter, floors: Floors, random: Callable[[int], bytes]
) -> tuple[Link, bytes]:
    """Return the new association and the AARE. Raises Rejected, CounterReplayed, and whatever the counter raises."""
    if terms.broadcast:
        raise Rejected(UserDiagnostic.NO_REASON_GIVEN)
    if request.context is not terms.context:
        raise Rejected(UserDiagnostic.APPLICATION_CONTEXT_NAME_NOT_SUPPORTED)
    _check_authentication(request, terms)
    if terms.users and request.user not in terms.users:
        raise Rejected(UserDiagnostic.CALLING_AE_INVOCATION_IDENTIFIER_NOT_RECOGNIZED)
    ciphering = _ciphering(request, terms, counter, floors)
    initiate, protection = _initiate(request, terms, ciphering)
    if initiate.dedicated_key is not None:
        # Whoever knows the key that we answer under finds the authentication key in two of our tags: so it has to be
        # our client's, unread by others.
        assert terms.keys or ciphering is None
        fit = terms.keys and len(initiate.dedicated_key) == SUITES[terms.keys.suite].key_size
        if ciphering is None or not fit or not protection.covers(Protection.BOTH):
            raise _not_initiated(InitiateError.OTHER)
        ciphering.use_dedicated(Secret(initiate.dedicated_key.reveal()))
    conformance = Conformance(initiate.conformance & terms.granted)
    if initiate.version < apdu.DLMS_VERSION:
        raise _not_initiated(InitiateError.DLMS_VERSION_TOO_LOW)
    if not conformance:
        raise _not_initiated(InitiateError.INCOMPATIBLE_CONFORMANCE)
    link = Link(terms, conformance, initiate.max_pdu, ciphering, peer=request.calling_title or b"", user=request.user)
    if link.room < 1:
        raise _not_initiated(InitiateError.PDU_SIZE_TOO_SHORT)
    if terms.authentication.high:
        assert terms.keys
        link.hls = Hls(
            terms.authentication,
            terms.keys,
            title=terms.keys.system_title,
            peer=request.calling_title or b"",
            ciphering=ciphering,
            manufacturer=terms.manufacturer,
        )
        ours = hls.new_challenge(terms.authentication, random)
        link.challenges = Challenges(ours, request.authentication_value or b"")
        link.proven = False
    return link, _accepted(link)


def standing(terms: ServerAssociation, *, counter: Counter, floors: Floors) -> Link:
    """A pre-established association: what an AARQ would have brought is configured."""
    ciphering = None
    if terms.ciphered:
        assert terms.keys
        assert terms.client_title
        ciphering = Ciphering(
            terms.keys,
            title=terms.keys.system_title,
            peer=terms.client_title,
            counter=counter,
            floors=BroadcastFloors(floors) if terms.broadcast else floors,
            preferred=terms.framing,
            signed=terms.signed,
            broadcast=terms.broadcast,
        )
    return Link(terms, terms.granted, terms.max_pdu, ciphering, peer=terms.client_title or b"")


def rejection(rejected: Rejected, context: acse.ApplicationContext) -> bytes:
    information = None
    if rejected.error is not None:
        error = ConfirmedServiceError(ConfirmedService.INITIATE_ERROR, ErrorClass.INITIATE, rejected.error)
        information = apdu.encode(error)
    return acse.encode(Aare(context, rejected.result, rejected.diagnostic, user_information=information))


def _check_authentication(request: Aarq, terms: ServerAssociation) -> None:
    wanted = terms.authentication
    mechanism = request.mechanism or Mechanism.NONE
    if mechanism is Mechanism.NONE and wanted is not Authentication.NONE:
        raise Rejected(UserDiagnostic.AUTHENTICATION_REQUIRED)
    if mechanism is not wanted.value:
        raise Rejected(UserDiagnostic.AUTHENTICATION_MECHANISM_NAME_NOT_RECOGNISED)
    value = request.authentication_value or b""
    if wanted is Authentication.LOW:
        assert terms.keys
        assert terms.keys.password
        if not hmac.compare_digest(value, terms.keys.password.reveal()):
            raise Rejected(UserDiagnostic.AUTHENTICATION_FAILURE)
    if wanted.high:
        if not hls.fits(wanted, value):
            raise Rejected(UserDiagnostic.AUTHENTICATION_FAILURE)
        if hls.signs_apdus(wanted, terms.policy.response) and hls.begins_apdu(value):
            raise Rejected(UserDiagnostic.NO_REASON_GIVEN, transient=True)  # our answer to it would sign that APDU


def _ciphering(request: Aarq, terms: ServerAssociation, counter: Counter, floors: Floors) -> Ciphering | None:
    if not terms.titled:
        return None
    assert terms.keys
    title = request.calling_title or b""
    ours = terms.keys.system_title
    if len(title) != _TITLE_SIZE or title == ours or terms.client_title not in (None, title):
        raise Rejected(UserDiagnostic.CALLING_AP_TITLE_NOT_RECOGNIZED)
    if not terms.secured:
        return None
    return Ciphering(
        terms.keys,
        title=ours,
        peer=title,
        counter=counter,
        floors=floors,
        preferred=terms.framing,
        signed=terms.signed,
    )


def _initiate(
    request: Aarq, terms: ServerAssociation, ciphering: Ciphering | None
) -> tuple[InitiateRequest, Protection]:
    """The InitiateRequest, once it has met the policy, and how it came. Raises Rejected, CounterReplayed."""
    plain = request.user_information or b""
    protection = Protection.NONE
    try:
        if ciphering and security.is_ciphered(plain):
            opened = ciphering.open(plain, terms.policy.request)
            plain, protection = opened.apdu, opened.protection
        else:
            require_protection(terms.policy.request, Protection.NONE, "the initiate request")
        initiate = apdu.decode(plain)
    except (TagMismatch, PolicyViolated, AuthenticationFailed):
        raise Rejected(UserDiagnostic.AUTHENTICATION_FAILURE) from None
    except DecodeError:
        raise _not_initiated(InitiateError.OTHER) from None
    if not isinstance(initiate, InitiateRequest):
        raise _not_initiated(InitiateError.OTHER)
    return initiate, protection


def _not_initiated(error: InitiateError) -> Rejected:
    return Rejected(UserDiagnostic.NO_REASON_GIVEN, error)


def _accepted(link: Link) -> bytes:
    terms = link.terms
    high = terms.authentication.high
    return acse.encode(
        Aare(
            context=terms.context,
            result=AssociationResult.ACCEPTED,
            diagnostic=UserDiagnostic.AUTHENTICATION_REQUIRED if high else UserDiagnostic.NULL,
            responding_title=terms.keys.system_title or None if terms.keys else None,
            mechanism=terms.authentication.value if high else None,
            authentication_value=link.challenges.ours if link.challenges else None,
            user_information=initiate_response(link),
        )
    )


def initiate_response(link: Link) -> bytes:
    """The InitiateResponse as AARE and RLRE carry it, under the global key."""
    name = apdu.VAA_NAME_LN if link.terms.names is None else ASSOCIATION
    agreed = link.conformance if link.agreed is None else link.agreed
    plain = apdu.encode(InitiateResponse(agreed, link.terms.max_pdu, vaa_name=name))
    if link.ciphering is None:
        return plain
    return link.ciphering.seal(plain, link.terms.policy.response, Framing.GLOBAL)
