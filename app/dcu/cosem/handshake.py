"""The client's part in opening and closing an association: what it offers, and what it takes for an answer.

An AARE may not lower what was offered: context, mechanism, protection, and the meter's system title are as configured,
or the association does not come about. Source: DLMS Green Book (IEC 62056-5-3) clauses 9.2.2, 9.2.7.4, 9.4.2.
"""

from collections.abc import Callable
from contextlib import suppress

from dcu.cosem import acse, apdu, axdr, hls, security
from dcu.cosem.acse import Aare, Aarq, ApplicationContext, AssociationResult, Mechanism, Rlre, Rlrq, UserDiagnostic
from dcu.cosem.apdu import (
    ConfirmedServiceError,
    Conformance,
    ExceptionResponse,
    ExceptionService,
    InitiateRequest,
    InitiateResponse,
    Result,
)
from dcu.cosem.association import MIN_PDU, Association, Authentication, Negotiated, StaleAnswer, UnfitChallenge
from dcu.cosem.ciphering import Ciphering, require_protection
from dcu.cosem.exchange import Conclusive
from dcu.cosem.hls import Challenges, Hls
from dcu.cosem.security import Framing, Protection
from dcu.cosem.short_names import ASSOCIATION
from dcu.credentials import Secret
from dcu.errors import (
    AssociationRefused,
    AuthenticationFailed,
    DcuError,
    DecodeError,
    MalformedAnswer,
    PolicyViolated,
    ServiceRefused,
)
from dcu.model import MethodRef, Obis
from dcu.suites import SUITES

REPLY_TO_HLS = MethodRef(15, Obis(bytes((0, 0, 40, 0, 0, 255))), 1)  # of the current association
_AARE, _RLRE = 0x61, 0x63


class Handshake:
    """One attempt: its challenges live and die with it."""

    def __init__(self, association: Association, ciphering: Ciphering | None, random: Callable[[int], bytes]) -> None:
        self._association = association
        self._ciphering = ciphering
        self._random = random
        self._ours = self._theirs = b""
        self._vaa_name = ASSOCIATION if association.short else apdu.VAA_NAME_LN
        self._dedicated: Secret | None = None

    def aarq(self) -> bytes:
        settings = self._association
        if settings.authentication.high:
            self._ours = hls.new_challenge(settings.authentication, self._random)
        if settings.dedicated:
            assert settings.keys
            self._dedicated = SUITES[settings.keys.suite].new_key(self._random)
        value: bytes | None = self._ours or None
        if settings.authentication is Authentication.LOW and settings.keys and settings.keys.password:
            value = settings.keys.password.reveal()
        unauthenticated = settings.authentication is Authentication.NONE
        return acse.encode(
            Aarq(
                context=settings.context,
                calling_title=settings.client_title or None,
                mechanism=None if unauthenticated else settings.authentication.value,
                authentication_value=value,
                user_information=self._initiate(self._dedicated),
                user=settings.user,
            )
        )

    def aare(self, frame: bytes) -> Negotiated:
        """Take the AARE, and with it the dedicated key into use."""
        answer = _opening(frame)
        if answer.result != AssociationResult.ACCEPTED:
            raise Conclusive(_rejection(answer))
        self._check_terms(answer)
        initiated = self._initiated(answer.user_information)
        if initiated.version < apdu.DLMS_VERSION or initiated.vaa_name != self._vaa_name:
            raise MalformedAnswer(f"DLMS version {initiated.version}, VAA name {initiated.vaa_name:#x}")
        if 0 < initiated.max_pdu < MIN_PDU:
            raise MalformedAnswer(f"the meter says that it receives {initiated.max_pdu} bytes at most")
        if self._ciphering and self._dedicated:
            self._ciphering.use_dedicated(self._dedicated)
        conformance = Conformance(initiated.conformance & self._association.proposed)
        return Negotiated(conformance, initiated.max_pdu, answer.responding_title or b"")

    def answer(self) -> bytes:
        """HLS pass 3: f(StoC), encoded as the parameter of reply_to_HLS_authentication."""
        return proof(self._hls().prove(Challenges(self._ours, self._theirs)))

    def verify(self, value: Result | None, floor: int) -> None:
        """HLS pass 4: check f(CtoS). Its counter must be above what stood before the frame that brought it."""
        made = proof_in(value) if isinstance(value, bytes) else None
        if made is None:
            raise AuthenticationFailed("authentication failed: the meter's proof is missing or has the wrong form")
        self._hls().verify(made, Challenges(self._ours, self._theirs), floor)

    def _hls(self) -> Hls:
        settings = self._association
        assert settings.keys
        return Hls(
            settings.authentication,
            settings.keys,
            title=settings.client_title,
            peer=settings.server_title,
            ciphering=self._ciphering,
            manufacturer=settings.manufacturer,
        )

    def rlrq(self) -> bytes:
        protected = self._association.ciphered and self._association.protected_release
        return acse.encode(Rlrq(reason=0, user_information=self._initiate(None) if protected else None))

    def rlre(self, frame: bytes) -> Rlre:
        if frame[:1] != bytes((_RLRE,)):
            raise StaleAnswer("an RLRE was awaited")
        answer = acse.decode(frame)
        assert isinstance(answer, Rlre)
        if self._association.ciphered and self._association.protected_release:
            self._initiated(answer.user_information)
        return answer

    def _initiate(self, dedicated: Secret | None) -> bytes:
        settings = self._association
        plain = apdu.encode(InitiateRequest(settings.proposed, settings.max_pdu, dedicated))
        if self._ciphering is None:
            return plain
        return self._ciphering.seal(plain, settings.policy.request, Framing.GLOBAL)

    def _initiated(self, information: bytes | None) -> InitiateResponse:
        """The InitiateResponse inside user information, once it has met the policy."""
        required = self._association.policy.response
        plain = information or b""
        if self._ciphering and security.is_ciphered(plain):
            plain = self._ciphering.open(plain, required).apdu
        else:
            require_protection(required, Protection.NONE, "the initiate response")
        response = apdu.decode(plain)
        if isinstance(response, ConfirmedServiceError):
            raise ServiceRefused(f"the meter does not initiate: {response}")
        if not isinstance(response, InitiateResponse):
            raise MalformedAnswer(f"{type(response).__name__} where the initiate response is due")
        return response

    def _check_terms(self, answer: Aare) -> None:
        settings = self._association
        if answer.context is not settings.context and not _names_more(settings.context, answer.context):
            raise PolicyViolated(f"asked for context {settings.context.name}, the meter gave {answer.context.name}")
        wanted, given = settings.authentication.value, answer.mechanism
        # A missing name lowers nothing: with HLS the challenge and its proof are insisted on. jDLMS leaves it out.
        if given not in (None, wanted) and (given, wanted) != (Mechanism.NONE, Mechanism.LOW):
            raise PolicyViolated(f"asked for authentication {wanted.name}, the meter gave {given.name}")
        expected, title = settings.server_title, answer.responding_title
        if (settings.titled or (expected and title)) and title != expected:
            said = title.hex() if title else "none"
            raise AuthenticationFailed(f"authentication failed: system title {expected.hex()} configured, {said} came")
        if settings.authentication.high:
            self._theirs = _challenge(settings.authentication, answer.authentication_value, self._ours)
            if hls.signs_apdus(settings.authentication, settings.policy.request) and hls.begins_apdu(self._theirs):
                raise UnfitChallenge("the meter's challenge begins like an APDU, and our answer would sign that")
        elif answer.diagnostic == UserDiagnostic.AUTHENTICATION_REQUIRED:
            raise Conclusive(AssociationRefused("the meter wants high-level authentication: configure it"))


def refusal(answer: ExceptionResponse | ConfirmedServiceError) -> DcuError:
    """What an exception-response or a confirmed-service-error tells the caller."""
    if isinstance(answer, ExceptionResponse):
        if answer.service == ExceptionService.DECIPHERING_ERROR:
            return AuthenticationFailed("authentication failed: the meter cannot decipher: check the GAK and the GUEK")
        return ServiceRefused(f"the meter refused: {answer}", answer.counter)
    return ServiceRefused(f"the meter refused: {answer}")


def _opening(frame: bytes) -> Aare:
    if frame[:1] == bytes((_AARE,)):
        answer = acse.decode(frame)
        assert isinstance(answer, Aare)
        return answer
    if frame[:1] in (b"\x0e", b"\xd8"):
        error = apdu.decode(frame)
        assert isinstance(error, ExceptionResponse | ConfirmedServiceError)
        raise Conclusive(refusal(error))
    raise StaleAnswer("an AARE was awaited")


def _rejection(answer: Aare) -> DcuError:
    text = f"{answer.result}: {answer.diagnostic}"
    if answer.user_information:
        with suppress(DecodeError):  # only a word more for people
            text += f"; {apdu.decode(answer.user_information)}"
    if answer.diagnostic == UserDiagnostic.AUTHENTICATION_FAILURE:
        return AuthenticationFailed(f"authentication failed: {text}: check the GAK, the GUEK or the password")
    return AssociationRefused(f"the meter refused the association: {text}")


def _names_more(wanted: ApplicationContext, given: ApplicationContext) -> bool:
    """jDLMS names the context with ciphering where it was asked for the one without: nothing is lowered by that."""
    return (wanted, given) in (
        (ApplicationContext.LN, ApplicationContext.LN_CIPHERED),
        (ApplicationContext.SN, ApplicationContext.SN_CIPHERED),
    )


def proof(made: bytes) -> bytes:
    """An answer to a challenge, encoded as reply_to_HLS_authentication carries it: an octet-string."""
    return b"\x09" + axdr.encode_length(len(made)) + made


def proof_in(value: bytes) -> bytes | None:
    """The answer in what reply_to_HLS_authentication carries, None where it has not the form of one."""
    if len(value) < 3 or value[0] != 0x09 or value[1] != len(value) - 2 or value[1] > hls.MAX_PROOF:
        return None
    return value[2:]


def _challenge(kind: Authentication, value: bytes | None, ours: bytes) -> bytes:
    if value is None or not hls.fits(kind, value):
        raise MalformedAnswer("the meter's challenge is missing, or has not the length that the standard allows")
    if value == ours:
        raise AuthenticationFailed("authentication failed: our own challenge came back")
    return value
