"""How a message of a G3 modem is described: each class names its command and its fields once.

Encoder, both decoders, tests and fuzzer work from that (`messages`).
"""

from enum import IntEnum
from typing import Any, ClassVar, TypeVar

from dcu.fan.g3.fields import Field

M = TypeVar("M", bound="type[Message]")


class Band(IntEnum):
    CENELEC_A = 0
    CENELEC_B = 1
    FCC = 2
    ARIB = 3


class Status(IntEnum):
    """Of confirms; MAC statuses (IEEE 802.15.4) come through, too, so not every number is here."""

    SUCCESS = 0x00
    INVALID_REQUEST = 0xA1
    FAILED = 0xA2
    NOT_PERMITTED = 0xA4
    ROUTE_ERROR = 0xA5
    TIMEOUT = 0xA6
    INVALID_INDEX = 0xA7
    INVALID_PARAMETER = 0xA8
    NO_BEACON = 0xA9
    READ_ONLY = 0xB0
    UNSUPPORTED_ATTRIBUTE = 0xB1
    INCOMPLETE_PATH = 0xB2
    BUSY = 0xB3
    NO_BUFFERS = 0xB4
    INTERNAL_ERROR = 0xFF


class Refusal(IntEnum):
    """Of the general status report."""

    SUCCESS = 0
    NOT_ALLOWED = 1
    UNKNOWN_COMMAND = 2
    INVALID_PARAMETER = 3


def named(status: int) -> str:
    try:
        return f"{Status(status).name} ({status:#04x})"
    except ValueError:
        return f"status {status:#04x}"


class Message:
    __slots__ = ()
    COMMAND: ClassVar[int]
    FIELDS: ClassVar[tuple[tuple[str, Field], ...]]


REQUESTS: dict[int, type[Message]] = {}
REPORTS: dict[int, type[Message]] = {}


def request(command: int, *fields: Field) -> Any:
    return _register(REQUESTS, command, fields)


def report(command: int, *fields: Field) -> Any:
    return _register(REPORTS, command, fields)


def _register(known: dict[int, type[Message]], command: int, fields: tuple[Field, ...]) -> Any:
    def register(kind: M) -> M:
        names = kind.__dataclass_fields__  # type: ignore[attr-defined]
        kind.COMMAND, kind.FIELDS = command, tuple(zip(names, fields, strict=True))
        known[command] = kind
        return kind

    return register
