"""The keys of one association at work, the same on both sides: which key, which counter, which floor.

A frame that `open` returns has met what was required of it: its key was the agreed one, its tag held, its content is
the service that its tag promised, and its invocation counter was above the floor. An authenticated frame raises that
floor. One that is encrypted only does not: anybody can make one up, and with it would lock the peer out. So where a
policy asks for encryption alone, nothing is protected against replay, as nothing is against forgery. Each key has a
counter space of its own on the receiving side; sending, both draw from one counter, which is never reused.

Source: DLMS Green Book (IEC 62056-5-3) 9.2.3 and 9.2.7.
"""

from collections.abc import Callable

from dcu.cosem.association import Floors
from dcu.cosem.security import (
    Cipher,
    Framing,
    Opened,
    Protection,
    parse,
    protect,
    unprotect,
)
from dcu.credentials import MeterKeys, Secret
from dcu.errors import CounterReplayed, PolicyViolated

_DEDICATED = (Framing.DEDICATED, Framing.GENERAL_DEDICATED)


class Ciphering:
    """One side's view: `title` is ours, `peer` the other side's; `floors` holds what its global key has counted."""

    __slots__ = ("_counter", "_dedicated", "_dedicated_floor", "_floors", "_keys", "cipher", "peer", "title")

    def __init__(
        self, keys: MeterKeys, *, title: bytes, peer: bytes, counter: Callable[[], int], floors: Floors
    ) -> None:
        self.cipher = Cipher(keys.guek, keys.gak, suite=keys.suite)
        self.title = title
        self.peer = peer
        self._keys = keys
        self._counter = counter
        self._floors = floors
        self._dedicated: Cipher | None = None
        self._dedicated_floor = -1

    @property
    def framing(self) -> Framing:
        """How services are sent: under the dedicated key once there is one."""
        return Framing.DEDICATED if self._dedicated else Framing.GLOBAL

    @property
    def floor(self) -> int:
        """What the peer's counter under the global key must exceed."""
        return self._floors.floor(self.peer)

    def use_dedicated(self, key: Secret) -> None:
        self._dedicated = Cipher(key, self._keys.gak, suite=self._keys.suite)
        self._dedicated_floor = -1

    def seal(self, apdu: bytes, protection: Protection, framing: Framing) -> bytes:
        """Return `apdu` protected; unchanged where nothing is asked. Raises whatever the counter raises."""
        if not protection:
            return apdu
        cipher = self._dedicated if framing in _DEDICATED else self.cipher
        if cipher is None:
            raise ValueError("no dedicated key was agreed")
        counter = self._counter()
        return protect(cipher, apdu, protection=protection, title=self.title, counter=counter, framing=framing)

    def open(self, frame: bytes, required: Protection) -> Opened:
        """Raises DecodeError, TagMismatch, PolicyViolated, CounterReplayed."""
        opened = self.look(frame, required)
        self.accept(opened)
        return opened

    def look(self, frame: bytes, required: Protection) -> Opened:
        """As `open`, and the floor stays as it is: the caller has still to decide whether the frame is for us."""
        ciphered = parse(frame)
        dedicated = ciphered.framing in _DEDICATED
        cipher = self._dedicated if dedicated else self.cipher
        if cipher is None:
            raise PolicyViolated("a frame under a dedicated key, where none was agreed")
        opened = unprotect(cipher, ciphered, title=self.peer, required=required)
        self.require_above(self._dedicated_floor if dedicated else self.floor, opened.counter)
        return opened

    def accept(self, opened: Opened) -> None:
        if not opened.protection.authentic:
            return
        if opened.framing in _DEDICATED:
            self._dedicated_floor = opened.counter
        else:
            self._floors.accept(self.peer, opened.counter)

    def next_counter(self) -> int:
        return self._counter()

    def proven(self, counter: int, floor: int) -> None:
        """The peer's proof of HLS 5 came under `counter`: it must be above `floor`. Raises CounterReplayed."""
        self.require_above(floor, counter)
        if counter > self.floor:  # the frame that brought it may have raised it already
            self._floors.accept(self.peer, counter)

    @staticmethod
    def require_above(floor: int, counter: int) -> None:
        if counter <= floor:
            raise CounterReplayed(
                f"invocation counter {counter} is not above {floor}: a frame was replayed, or the counter was set back",
                floor,
                counter,
            )


def require_protection(required: Protection, held: Protection, what: str) -> None:
    """Raises PolicyViolated where `held` lacks something of `required`."""
    if not held.covers(required):
        raise PolicyViolated(f"{what} is {held}, required is: {required}")
