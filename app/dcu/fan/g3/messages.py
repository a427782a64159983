"""What host and G3 modem say to each other, as the payload of a USI frame of protocol ADP.

A message is ``command | fields``. The host requests, the modem reports: confirms of requests, and indications of its
own accord. Requests have to fit to the byte; a report may be longer than we know it, as newer firmware adds fields.
The messages themselves: `requests`, `reports`.

Source: Microchip smartenergy_g3, ADP and LBP serialization (the same interface in PL360 and PL460 firmware).
"""

from dcu.errors import DecodeError
from dcu.fan.g3 import message, reports, requests  # noqa: F401 - they register what there is
from dcu.fan.g3.fields import cut
from dcu.fan.g3.message import Message


def encode(said: Message) -> bytes:
    """Raises ValueError for values that do not fit their fields."""
    return bytes((said.COMMAND,)) + b"".join(field.put(getattr(said, name)) for name, field in said.FIELDS)


def decode_request(payload: bytes) -> Message:
    """Raises DecodeError."""
    said, end = _decode(payload, message.REQUESTS)
    if end != len(payload):
        raise DecodeError(f"{len(payload) - end} bytes behind a {type(said).__name__} request", end)
    return said


def decode_report(payload: bytes) -> Message:
    """Raises DecodeError, UnknownCommand."""
    return _decode(payload, message.REPORTS)[0]


class UnknownCommand(DecodeError):
    """A command that we do not know: a newer firmware's, perhaps."""


def _decode(payload: bytes, known: dict[int, type[Message]]) -> tuple[Message, int]:
    command = cut(payload, 0, 1)[0]
    kind = known.get(command)
    if kind is None:
        raise UnknownCommand(f"command {command}", 0)
    values, at = [], 1
    for _, field in kind.FIELDS:
        value, at = field.take(payload, at)
        values.append(value)
    return kind(*values), at


REQUESTS: tuple[type[Message], ...] = tuple(message.REQUESTS.values())
REPORTS: tuple[type[Message], ...] = tuple(message.REPORTS.values())
