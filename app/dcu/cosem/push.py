"""Receiving pushes outside of an association: data-notifications, plain or in general-glo-ciphering.

A push is good once: its counter must be above the floor of its sender. The floor is stored in the same transaction as
what the push brought (design decision 5), so the receiver returns the counter and the caller commits it. The receiver
remembers nothing itself: a push that could not be kept is welcome when it is sent again. Of two copies that come in
before either is kept, the commit refuses the second.

A push that is not authenticated has no counter to commit: anybody could have made it up, and with a high one would lock
the meter out. Where a source's pushes need not be authenticated, they are not protected against replay.

Source: DLMS Green Book (IEC 62056-5-3) clauses 9.3.10 (data-notification) and 9.5 (general-glo-ciphering).
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from dcu.cosem import apdu, security
from dcu.cosem.apdu import DataNotification, EventNotification, Notification
from dcu.cosem.association import Refused
from dcu.cosem.security import Cipher, Framing, Opened, Protection
from dcu.credentials import MeterKeys
from dcu.errors import CounterReplayed, DcuError, DecodeError, KeysError, PolicyViolated


@dataclass(frozen=True, slots=True)
class PushSource:
    """A meter that may push: its keys, and the least protection that its pushes must have."""

    keys: MeterKeys
    required: Protection = Protection.BOTH


@dataclass(frozen=True, slots=True)
class Push:
    """title: the sender, proven where `protection` has AUTHENTICATED; b"" in a plain notification.

    counter: to be committed with the payload, None where the push was not authenticated. payload: the plain APDU.
    """

    title: bytes
    counter: int | None
    protection: Protection
    notification: Notification
    payload: bytes = field(repr=False)


class PushReceiver:
    """lookup: a system title's source, None for a stranger; floor: the last counter committed of it, -1 for none.

    plain: whether notifications without any protection are let through (nothing here says who sent them).
    """

    def __init__(
        self, lookup: Callable[[bytes], PushSource | None], floor: Callable[[bytes], int], *, plain: bool = False
    ) -> None:
        self.refused = Refused()
        self._lookup = lookup
        self._floor = floor
        self._plain = plain

    def receive(self, frame: bytes) -> Push:
        """Raises DecodeError, KeysError (a stranger), SecurityError; each is counted."""
        try:
            return self._protected(frame) if security.is_ciphered(frame) else self._unprotected(frame)
        except DcuError as error:
            self.refused.add(error)
            raise

    def _unprotected(self, frame: bytes) -> Push:
        notification = _notification(frame)
        if not self._plain:
            raise PolicyViolated("a push without protection: allow plain pushes, or have the meter protect them")
        return Push(b"", None, Protection.NONE, notification, frame)

    def _protected(self, frame: bytes) -> Push:
        ciphered = security.parse(frame)
        title = ciphered.title
        if ciphered.framing is not Framing.GENERAL_GLOBAL or title is None:
            raise PolicyViolated("a push that does not name its sender: general-glo-ciphering is required")
        source = self._lookup(title)
        if source is None:
            raise KeysError(f"a push from system title {title.hex()}, which no meter here has: import its keys")
        cipher = Cipher(source.keys.guek, source.keys.gak, suite=source.keys.suite)
        opened = security.unprotect(cipher, ciphered, title=title, required=source.required)
        self._check_counter(opened)
        notification = _notification(opened.apdu)
        counter = opened.counter if opened.protection.authentic else None
        return Push(title, counter, opened.protection, notification, opened.apdu)

    def _check_counter(self, opened: Opened) -> None:
        floor = self._floor(opened.title)
        if opened.counter <= floor:
            raise CounterReplayed(
                f"a push from {opened.title.hex()} with invocation counter {opened.counter}, not above {floor}",
                floor,
                opened.counter,
            )


def _notification(plain: bytes) -> Notification:
    notification = apdu.decode(plain)
    if not isinstance(notification, DataNotification | EventNotification):
        raise DecodeError(f"{type(notification).__name__} where a data-notification is due")
    return notification
