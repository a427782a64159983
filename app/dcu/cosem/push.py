"""Receiving pushes outside of an association: notifications, plain or in general-glo-, general-ciphering and -signing.

A push is good once: its counter must be above the floor of its sender. The floor is stored in the same transaction as
what the push brought (design decision 5), so the receiver returns the counter and the caller commits it. The receiver
remembers nothing itself: a push that could not be kept is welcome when it is sent again. Of two copies that come in
before either is kept, the commit refuses the second.

A push that is not authenticated has no counter to commit: anybody could have made it up, and with a high one would lock
the meter out. Where a source's pushes need not be authenticated, they are not protected against replay.

A push has to name its sender, who knows no association here: so the tags of services are none of those accepted. What a
source is known to protect its pushes with is what they must have: no key that is less fresh, and no signature missing.

Source: DLMS Green Book (IEC 62056-5-3) clauses 9.3.10 (data-notification) and 9.5 (general protection).
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from dcu.cosem import apdu, general, security
from dcu.cosem.apdu import DataNotification, EventNotification, Notification
from dcu.cosem.association import Refused
from dcu.cosem.ciphering import Ciphering, is_protected
from dcu.cosem.security import KEYED, Framing, Protection
from dcu.credentials import MeterKeys
from dcu.errors import DcuError, DecodeError, KeysError, LinkClosed, PolicyViolated


@dataclass(frozen=True, slots=True)
class PushSource:
    """A meter that may push: its keys, and the protection that its pushes must have, at least.

    framing: GENERAL_GLOBAL, or the one of general-ciphering that it must be; signed: in general-signing, too.
    """

    keys: MeterKeys
    required: Protection = Protection.BOTH
    framing: Framing = Framing.GENERAL_GLOBAL
    signed: bool = False

    def __post_init__(self) -> None:
        general.check_keys(self.keys, self.framing, signed=self.signed)
        if self.framing not in (Framing.GENERAL_GLOBAL, *KEYED):
            raise ValueError(f"{self.framing.name} ciphering does not name the sender of a push")


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

    title: our own system title, which general-ciphering and general-signing name, too. plain: whether notifications
    without any protection are let through (nothing here says who sent them).
    """

    def __init__(
        self,
        lookup: Callable[[bytes], PushSource | None],
        floor: Callable[[bytes], int],
        *,
        title: bytes = b"",
        plain: bool = False,
    ) -> None:
        self.refused = Refused()
        self._lookup = lookup
        self._floors = _Committed(floor)
        self._title = title
        self._plain = plain

    def receive(self, frame: bytes) -> Push:
        """Raises DecodeError, KeysError (a stranger), SecurityError; each is counted."""
        try:
            return self._protected(frame) if is_protected(frame) else self._unprotected(frame)
        except DcuError as error:
            self.refused.add(error)
            raise

    def _unprotected(self, frame: bytes) -> Push:
        notification = _notification(frame)
        if not self._plain:
            raise PolicyViolated("a push without protection: allow plain pushes, or have the meter protect them")
        return Push(b"", None, Protection.NONE, notification, frame)

    def _protected(self, frame: bytes) -> Push:
        title = _sender(frame)
        source = self._lookup(title)
        if source is None:
            raise KeysError(f"a push from system title {title.hex()}, which no meter here has: import its keys")
        ciphering = Ciphering(
            source.keys,
            title=self._title,
            peer=title,
            counter=_never,
            floors=self._floors,
            preferred=source.framing,
            signed=source.signed,
        )
        opened = ciphering.look_service(frame, source.required)
        ciphering.require_framing(opened.framing)
        notification = _notification(opened.apdu)
        counter = opened.counter if opened.protection.authentic else None
        return Push(title, counter, opened.protection, notification, opened.apdu)


class _Committed:
    """The caller's floors, which only he raises: `dcu.cosem.association.Floors`."""

    def __init__(self, floor: Callable[[bytes], int]) -> None:
        self.floor = floor

    def accept(self, title: bytes, counter: int) -> None:
        raise AssertionError("a receiver of pushes commits nothing")


def _sender(frame: bytes) -> bytes:
    """Who a push says that it is from; nothing is verified. Raises DecodeError, PolicyViolated."""
    if frame[0] == general.SIGNING:
        return general.parse_signed(frame).header.originator
    if frame[0] == general.CIPHERING:
        return general.parse(frame).header.originator
    ciphered = security.parse(frame)
    if ciphered.title is None:
        raise PolicyViolated("a push that does not name its sender: general-glo-ciphering is required")
    return ciphered.title


def _never() -> int:
    raise LinkClosed("a receiver of pushes ciphers nothing")


def _notification(plain: bytes) -> Notification:
    notification = apdu.decode(plain)
    if not isinstance(notification, DataNotification | EventNotification):
        raise DecodeError(f"{type(notification).__name__} where a data-notification is due")
    return notification
