"""The xDLMS APDUs as values. A COSEM value inside them stays encoded (A-XDR bytes) until its type is known.

`invoke` is the Invoke-Id-And-Priority byte as it stands on the wire. Source: IEC 62056-5-3 (DLMS Green Book 9.5).
"""

from dataclasses import dataclass, field

from dcu.cosem.apdu.access import AccessRequest, AccessResponse
from dcu.cosem.apdu.results import (
    ConfirmedService,
    Conformance,
    ErrorClass,
    ExceptionService,
    ExceptionState,
    InitiateError,
    Result,
)
from dcu.cosem.apdu.written import Written
from dcu.cosem.selection import Selection
from dcu.credentials import Secret
from dcu.model import AttributeRef

DLMS_VERSION = 6
VAA_NAME_LN = 0x0007  # what a server that uses logical names answers


@dataclass(frozen=True, slots=True)
class InitiateRequest:
    """What the client proposes. max_pdu: the largest APDU it takes, 0 for no limit."""

    conformance: Conformance
    max_pdu: int
    dedicated_key: Secret | None = None
    response_allowed: bool = True
    quality_of_service: int | None = None
    version: int = DLMS_VERSION


@dataclass(frozen=True, slots=True)
class InitiateResponse:
    """What the server grants."""

    conformance: Conformance
    max_pdu: int
    quality_of_service: int | None = None
    version: int = DLMS_VERSION
    vaa_name: int = VAA_NAME_LN


@dataclass(frozen=True, slots=True)
class ConfirmedServiceError:
    """Why a confirmed service failed; in an AARE, why the initiate did."""

    service: ConfirmedService
    error_class: ErrorClass
    value: int

    def __str__(self) -> str:
        value = str(self.value)
        if self.error_class is ErrorClass.INITIATE and self.value in InitiateError.__members__.values():
            value = str(InitiateError(self.value))
        return f"{self.service}: {self.error_class}: {value}"


@dataclass(frozen=True, slots=True)
class ExceptionResponse:
    """The server could not even take the request. counter: what it expects, with invocation-counter-error only."""

    state: ExceptionState
    service: ExceptionService
    counter: int | None = None

    def __str__(self) -> str:
        expected = "" if self.counter is None else f", expected counter {self.counter}"
        return f"{self.state}: {self.service}{expected}"


@dataclass(frozen=True, slots=True)
class GetRequestNormal:
    invoke: int
    attribute: AttributeRef
    selection: Selection | None = None


@dataclass(frozen=True, slots=True)
class GetRequestNext:
    """Asks for the block after `block`, which it acknowledges."""

    invoke: int
    block: int


@dataclass(frozen=True, slots=True)
class GetRequestList:
    invoke: int
    attributes: tuple[tuple[AttributeRef, Selection | None], ...]


@dataclass(frozen=True, slots=True)
class GetResponseNormal:
    invoke: int
    result: Result = field(repr=False)


@dataclass(frozen=True, slots=True)
class GetResponseBlock:
    """One block: a piece of the encoded value (`result`), to be joined in order of `block`."""

    invoke: int
    last: bool
    block: int
    result: Result = field(repr=False)


@dataclass(frozen=True, slots=True)
class GetResponseList:
    invoke: int
    results: tuple[Result, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class DataNotification:
    """A push. long_invoke: Long-Invoke-Id-And-Priority; date_time: the 12 bytes of a COSEM date-time, or none."""

    long_invoke: int
    date_time: bytes
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class EventNotification:
    """An attribute's value that the server sends unasked. date_time: as in DataNotification."""

    date_time: bytes
    attribute: AttributeRef
    value: bytes = field(repr=False)


Notification = DataNotification | EventNotification

Apdu = (
    InitiateRequest
    | InitiateResponse
    | ConfirmedServiceError
    | ExceptionResponse
    | GetRequestNormal
    | GetRequestNext
    | GetRequestList
    | GetResponseNormal
    | GetResponseBlock
    | GetResponseList
    | Written
    | AccessRequest
    | AccessResponse
    | Notification
)
