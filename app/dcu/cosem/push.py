"""Receiving pushes outside of an association: data-notifications, plain or in general-glo-ciphering.

The receive floor of a push is stored in the same transaction as what it brought (design decision 5), so the receiver
returns the counter and the caller commits it.
"""

from collections.abc import Callable
from dataclasses import dataclass

from dcu.cosem.apdu import DataNotification
from dcu.cosem.association import Refused
from dcu.cosem.security import Protection
from dcu.credentials import MeterKeys


@dataclass(frozen=True, slots=True)
class PushSource:
    """A meter that may push: its keys, and the least protection that its pushes must have."""

    keys: MeterKeys
    required: Protection = Protection.BOTH


@dataclass(frozen=True, slots=True)
class Push:
    """title: the sender, proven where protection has AUTHENTICATED; b"" in a plain notification.

    counter: to be committed with the payload, or None where the push was plain.
    """

    title: bytes
    counter: int | None
    protection: Protection
    notification: DataNotification
    payload: bytes  # the plain data-notification APDU


class PushReceiver:
    """lookup: a system title's source, or None (unknown: refused); floor: the persisted floor of a system title.

    plain: whether notifications without any protection are accepted (their sender is unknown here).
    """

    refused: Refused

    def __init__(
        self, lookup: Callable[[bytes], PushSource | None], floor: Callable[[bytes], int], *, plain: bool = False
    ) -> None: ...

    def receive(self, frame: bytes) -> Push:
        """Raises DecodeError, KeysError (unknown title), TagMismatch, CounterReplayed, PolicyViolated; counts each."""
        ...
