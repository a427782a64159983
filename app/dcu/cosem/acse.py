"""ACSE: the four APDUs that open and close an association (AARQ, AARE, RLRQ, RLRE), in BER.

Source: IEC 62056-5-3 / ISO 8650-1 (DLMS Green Book 9.4.2): tags, object identifiers of contexts and mechanisms.
"""

from dataclasses import dataclass, field
from enum import IntEnum

from dcu.cosem.named import Open


class ApplicationContext(IntEnum):
    """Last arc of 2.16.756.5.8.1.x: the referencing, and whether APDUs may be ciphered."""

    LN = 1
    SN = 2
    LN_CIPHERED = 3
    SN_CIPHERED = 4

    @property
    def ciphered(self) -> bool:
        return self >= ApplicationContext.LN_CIPHERED


class Mechanism(IntEnum):
    """Last arc of 2.16.756.5.8.2.x: how the parties prove who they are."""

    NONE = 0
    LOW = 1
    HIGH = 2
    HIGH_MD5 = 3
    HIGH_SHA1 = 4
    HIGH_GMAC = 5
    HIGH_SHA256 = 6
    HIGH_ECDSA = 7


class AssociationResult(Open):
    ACCEPTED = 0
    REJECTED_PERMANENT = 1
    REJECTED_TRANSIENT = 2


class UserDiagnostic(Open):
    """Why, as the ACSE service user (the DLMS server) says it."""

    NULL = 0
    NO_REASON_GIVEN = 1
    APPLICATION_CONTEXT_NAME_NOT_SUPPORTED = 2
    CALLING_AP_TITLE_NOT_RECOGNIZED = 3
    CALLING_AP_INVOCATION_IDENTIFIER_NOT_RECOGNIZED = 4
    CALLING_AE_QUALIFIER_NOT_RECOGNIZED = 5
    CALLING_AE_INVOCATION_IDENTIFIER_NOT_RECOGNIZED = 6
    CALLED_AP_TITLE_NOT_RECOGNIZED = 7
    CALLED_AP_INVOCATION_IDENTIFIER_NOT_RECOGNIZED = 8
    CALLED_AE_QUALIFIER_NOT_RECOGNIZED = 9
    CALLED_AE_INVOCATION_IDENTIFIER_NOT_RECOGNIZED = 10
    AUTHENTICATION_MECHANISM_NAME_NOT_RECOGNISED = 11
    AUTHENTICATION_MECHANISM_NAME_REQUIRED = 12
    AUTHENTICATION_FAILURE = 13
    AUTHENTICATION_REQUIRED = 14


class ProviderDiagnostic(Open):
    """Why, as the ACSE service provider says it."""

    NULL = 0
    NO_REASON_GIVEN = 1
    NO_COMMON_ACSE_VERSION = 2


Diagnostic = UserDiagnostic | ProviderDiagnostic


@dataclass(frozen=True, slots=True)
class Aarq:
    """The client asks for an association. user_information: an InitiateRequest, plain or ciphered, encoded."""

    context: ApplicationContext
    calling_title: bytes | None = None
    mechanism: Mechanism | None = None
    authentication_value: bytes | None = field(default=None, repr=False)
    user_information: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Aare:
    """The server's answer. HLS goes on after `accepted` with AUTHENTICATION_REQUIRED."""

    context: ApplicationContext
    result: AssociationResult
    diagnostic: Diagnostic
    responding_title: bytes | None = None
    mechanism: Mechanism | None = None
    authentication_value: bytes | None = field(default=None, repr=False)
    user_information: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Rlrq:
    """The client ends the association. reason: 0 normal, 1 urgent, 30 user-defined."""

    reason: int | None = None
    user_information: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Rlre:
    """The server's answer. reason: 0 normal, 1 not finished, 30 user-defined."""

    reason: int | None = None
    user_information: bytes | None = field(default=None, repr=False)


Acse = Aarq | Aare | Rlrq | Rlre


def encode(apdu: Acse) -> bytes:
    """Raises ValueError where a field cannot be sent."""
    raise NotImplementedError


def decode(raw: bytes) -> Acse:
    """Raises DecodeError."""
    raise NotImplementedError
