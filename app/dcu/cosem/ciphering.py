"""The keys of one association at work, the same on both sides: which key, which counter, which floor.

A frame that `open` returns has met what was required of it: its key was the agreed one, its tag held, its content is
the service that its tag promised, and its invocation counter was above the floor. An authenticated frame raises that
floor. One that is encrypted only does not: anybody can make one up, and with it would lock the peer out. So where a
policy asks for encryption alone, nothing is protected against replay, as nothing is against forgery. Each key has a
counter space of its own on the receiving side; sending, both draw from one counter, which is never reused.

An answer that comes in pieces (general-block-transfer) was counted before its first piece was sent. What the peer
ciphers and sends between the pieces has later counters and arrives before it. So a `Place` is kept while an answer is
awaited: the floor as it was when the request was sent, and what was accepted since. The whole is held against both: no
counter is accepted twice, and none from before the request. This is the window of RFC 4303 3.4.3, for one APDU only.

Source: DLMS Green Book (IEC 62056-5-3) 9.2.3 and 9.2.7.
"""

from collections.abc import Callable
from dataclasses import replace

from dcu.cosem import general
from dcu.cosem.association import Floors
from dcu.cosem.general import Header
from dcu.cosem.security import (
    KEYED,
    Cipher,
    Framing,
    Opened,
    Protection,
    is_ciphered,
    parse,
    protect,
    unprotect,
)
from dcu.credentials import MeterKeys, Secret
from dcu.errors import CounterReplayed, DecodeError, PolicyViolated

_GENERAL, _SIGNED = bytes((general.CIPHERING,)), bytes((general.SIGNING,))
WINDOW = 64  # counters accepted between the pieces of one APDU that are remembered one by one
_DEDICATED_OF = {Framing.GLOBAL: Framing.DEDICATED, Framing.GENERAL_GLOBAL: Framing.GENERAL_DEDICATED}
DEDICATED = (Framing.DEDICATED, Framing.GENERAL_DEDICATED)


class Place:
    """Where in the peer's count an awaited APDU may stand, by key space (True: the dedicated key's)."""

    __slots__ = ("_floors", "_taken")

    def __init__(self, floors: dict[bool, int]) -> None:
        self._floors = floors
        self._taken: dict[bool, set[int]] = {space: set() for space in floors}

    def take(self, space: bool, counter: int) -> None:
        """A counter was accepted. Of many, the lowest become the floor: what comes late then is refused, not kept."""
        taken = self._taken[space]
        taken.add(counter)
        if len(taken) > WINDOW:
            lowest = min(taken)
            taken.discard(lowest)
            self._floors[space] = max(self._floors[space], lowest)

    def floor(self, space: bool, counter: int) -> int:
        """What `counter` must be above: itself where it was accepted already."""
        return counter if counter in self._taken[space] else self._floors[space]


class Ciphering:
    """One side's view: `title` is ours, `peer` the other side's; `floors` holds what its global key has counted.

    preferred: how services are sent as long as there is no dedicated key; signed: whether each is signed, too.
    transaction: of the last request that we sent in general protection.
    """

    __slots__ = ("_counter", "_dedicated", "_dedicated_floor", "_floors", "_keys", "_place", "_preferred", "_signed",
                 "cipher", "peer", "title", "transaction")  # fmt: skip

    def __init__(
        self,
        keys: MeterKeys,
        *,
        title: bytes,
        peer: bytes,
        counter: Callable[[], int],
        floors: Floors,
        preferred: Framing = Framing.GLOBAL,
        signed: bool = False,
        broadcast: bool = False,
    ) -> None:
        """broadcast: under the broadcast key, in place of the unicast one."""
        key = keys.broadcast if broadcast else keys.guek
        assert key
        self.cipher = Cipher(key, keys.gak, suite=keys.suite, broadcast=broadcast)
        self.title = title
        self.peer = peer
        self._keys = keys
        self._counter = counter
        self._floors = floors
        self._preferred, self._signed = preferred, signed
        self.transaction = b""
        self._dedicated: Cipher | None = None
        self._dedicated_floor = -1
        self._place: Place | None = None

    @property
    def framing(self) -> Framing:
        """How services are sent: under the dedicated key once there is one."""
        return _DEDICATED_OF[self._preferred] if self._dedicated else self._preferred

    @property
    def overhead(self) -> int:
        """Bytes that a service has at most beside what its own tag and ciphering take."""
        return general.overhead(self._preferred, self._keys.suite, signed=self._signed)

    @property
    def floor(self) -> int:
        """What the peer's counter under the global key must exceed."""
        return self._floors.floor(self.peer)

    def use_dedicated(self, key: Secret) -> None:
        self._dedicated = Cipher(key, self._keys.gak, suite=self._keys.suite)
        self._dedicated_floor = -1

    def rest(self) -> None:
        """See `Cipher.rest`."""
        self.cipher.rest()
        if self._dedicated:
            self._dedicated.rest()

    def seal(self, apdu: bytes, protection: Protection, framing: Framing) -> bytes:
        """Return `apdu` protected; unchanged where nothing is asked. Raises whatever the counter raises."""
        if not protection:
            return apdu
        if framing in KEYED:
            raise ValueError("an APDU in general-ciphering is sealed as a service")
        cipher = self._dedicated if framing in DEDICATED else self.cipher
        if cipher is None:
            raise ValueError("no dedicated key was agreed")
        counter = self._counter()
        return protect(cipher, apdu, protection=protection, title=self.title, counter=counter, framing=framing)

    def seal_service(
        self, apdu: bytes, protection: Protection, framing: Framing, transaction: bytes | None = None
    ) -> bytes:
        """As `seal`, and signed where that is agreed. transaction: the request's, None where this is one."""
        if not protection or not (self._signed or framing in KEYED):
            return self.seal(apdu, protection, framing)
        counter = self._counter()
        if transaction is None:
            transaction = self.transaction = counter.to_bytes(8, "big")
        header = Header(transaction, self.title, self.peer)
        if framing in KEYED:
            sealed = general.protect(
                self._keys, apdu, framing=framing, header=header, protection=protection, counter=counter
            )
        else:
            sealed = self.seal(apdu, protection, framing)
        return general.sign(self._keys, sealed, header) if self._signed else sealed

    def begin(self) -> Place:
        """An APDU is awaited that may come in pieces: return its place, which is kept until `end`. One at a time."""
        self._place = Place({False: self.floor, True: self._dedicated_floor})
        return self._place

    def end(self, place: Place) -> None:
        """The APDU has come, or nobody waits for it any more."""
        if self._place is place:
            self._place = None

    def open(self, frame: bytes, required: Protection) -> Opened:
        """Raises DecodeError, TagMismatch, PolicyViolated, CounterReplayed."""
        opened = self.look(frame, required)
        self.accept(opened)
        return opened

    def look(self, frame: bytes, required: Protection, place: Place | None = None) -> Opened:
        """As `open`, and the floor stays as it is: the caller has still to decide whether the frame is for us.

        place: this frame's, where it came in pieces.
        """
        if frame[:1] == _GENERAL:
            return self._look_general(frame, required, place)
        ciphered = parse(frame)
        dedicated = ciphered.framing in DEDICATED
        cipher = self._dedicated if dedicated else self.cipher
        if cipher is None:
            raise PolicyViolated("a frame under a dedicated key, where none was agreed")
        opened = unprotect(cipher, ciphered, title=self.peer, required=required)
        self._require_new(dedicated, opened.counter, place)
        return opened

    def look_service(self, frame: bytes, required: Protection, place: Place | None = None) -> Opened:
        """As `look`, and the frame is signed where that is agreed. Raises AuthenticationFailed, too."""
        signed = None
        if frame[:1] == _SIGNED and self._signed:
            signed = general.parse_signed(frame)
            signed.header.require(self.peer, self.title)
            general.verify(self._keys, signed)
            frame = signed.apdu
        elif self._signed:
            raise PolicyViolated("the frame is not signed, required is: general-signing")
        opened = self.look(frame, required, place)
        if signed is None:
            return opened
        if opened.transaction not in (b"", signed.header.transaction):
            raise PolicyViolated("the signature is of another transaction than what it signs")
        return replace(opened, transaction=signed.header.transaction)

    def require_framing(self, framing: Framing, *, proof: bool = False) -> None:
        """Where general protection was configured, nothing less. Raises PolicyViolated.

        proof: of HLS, which peers send under its own tag before they turn to general-glo-ciphering (Gurux): it is the
        same key and the same protection.
        """
        if proof and framing is Framing.GLOBAL and self._preferred is Framing.GENERAL_GLOBAL:
            return
        if self._preferred is not Framing.GLOBAL and framing is not self.framing:
            raise PolicyViolated(f"a frame in {framing.name} ciphering, {self.framing.name} is required")

    def _look_general(self, frame: bytes, required: Protection, place: Place | None) -> Opened:
        ciphered = general.parse(frame)
        ciphered.header.require(self.peer, self.title)
        if ciphered.framing is not self._preferred:  # and no work for whom we do not expect
            raise PolicyViolated(f"a frame in {ciphered.framing.name} ciphering, {self.framing.name} is required")
        self._require_new(False, ciphered.counter, place)
        plain = general.unprotect(self._keys, ciphered, required=required)
        if is_ciphered(plain) or general.is_general(plain):
            raise DecodeError("general-ciphering holds what is ciphered once more")
        protection, counter, title = ciphered.control.protection, ciphered.counter, ciphered.header.originator
        return Opened(plain, protection, counter, title, ciphered.framing, ciphered.header.transaction)

    def accept(self, opened: Opened) -> None:
        if not opened.protection.authentic:
            return
        dedicated, counter = opened.framing in DEDICATED, opened.counter
        if self._place:
            self._place.take(dedicated, counter)
        if dedicated:
            self._dedicated_floor = max(self._dedicated_floor, counter)
        elif self._place is None or counter > self.floor:  # what came in pieces may be below others by now
            self._floors.accept(self.peer, counter)

    def require_latest(self, opened: Opened) -> None:
        """Nothing later has been accepted, however the frame came. Raises CounterReplayed."""
        self._require_new(opened.framing in DEDICATED, opened.counter, None)

    def next_counter(self) -> int:
        return self._counter()

    def proven(self, counter: int, floor: int) -> None:
        """The peer's proof of HLS 5 came under `counter`: it must be above `floor`. Raises CounterReplayed."""
        self.require_above(floor, counter)
        if counter > self.floor:  # the frame that brought it may have raised it already
            self._floors.accept(self.peer, counter)

    def _require_new(self, dedicated: bool, counter: int, place: Place | None) -> None:
        if place is None or place is not self._place:  # one that was replaced has missed what was accepted since
            self.require_above(self._dedicated_floor if dedicated else self.floor, counter)
        else:
            self.require_above(place.floor(dedicated, counter), counter)

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


def is_protected(frame: bytes) -> bool:
    """Whether `frame` is ciphered or signed in any way (by its tag)."""
    return is_ciphered(frame) or general.is_general(frame)
