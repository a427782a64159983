"""What goes over the control socket: one JSON object a line, requests one way, responses and events the other.

The contract is docs/control.md. Everything is bounded: a request line, a response line, the events that may wait for a
subscriber who does not read.
"""

from typing import Annotated, Any

import msgspec

from dcu import errors

MAX_REQUEST = 4 << 20  # bytes in a line: a shipment of a thousand meters is 0.4 MB
MAX_RESPONSE = 16 << 20
MAX_EVENTS = 1_000  # that wait for one subscriber; beyond it they are dropped and counted
MAX_EVENT_BYTES = 1 << 20  # the same
DEFAULT_SOCKET = "/run/dcu/control.sock"


class Fault(msgspec.Struct, frozen=True):
    """Why a request failed: `kind` is the name of a class in dcu.errors."""

    kind: str
    message: str


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    id: Annotated[int, msgspec.Meta(ge=-(1 << 53), le=1 << 53)]  # what every JSON parser keeps exactly
    method: str
    params: dict[str, Any] = {}


class Response(msgspec.Struct, frozen=True, omit_defaults=True):
    """The answer to the request `id`: a result, or an error."""

    id: int
    result: Any = None
    error: Fault | None = None


class Event(msgspec.Struct, frozen=True):
    """Something that a subscriber asked to hear of. `topic`: reading, meter, progress, job, alarm."""

    topic: str
    data: dict[str, Any]


class Incoming(msgspec.Struct, frozen=True):
    """A line as the client reads it: a response where there is an id, else an event."""

    id: int | None = None
    result: Any = None
    error: Fault | None = None
    topic: str = ""
    data: dict[str, Any] = {}


def fault(error: errors.DcuError) -> Fault:
    return Fault(type(error).__name__, str(error))


def revive(fault: Fault) -> errors.DcuError:
    """The error as it was raised on the other side, or its root where this side does not know it."""
    kind = getattr(errors, fault.kind, errors.DcuError)
    if not (isinstance(kind, type) and issubclass(kind, errors.DcuError)):
        kind = errors.DcuError
    error = kind.__new__(kind)
    errors.DcuError.__init__(error, fault.message)
    return error
