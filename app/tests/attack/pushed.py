"""Pushes under attack: how a meter protects them, where they arrive, and what an attacker makes of one.

A push arrives at a listener, which knows no association, or inside of one. Either way `taken` is what its caller was
given, and that is all that an attack may change, or not. The attacker without keys has every frame that was ever sent;
another meter has keys of its own; and who holds the symmetric keys may try with less than what was configured.
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import count

from dcu.cosem import apdu, axdr, data, general, security
from dcu.cosem.apdu import DataNotification, EventNotification, GetResponseNormal, Notification
from dcu.cosem.association import MemoryFloors
from dcu.cosem.ciphering import Ciphering
from dcu.cosem.push import PushReceiver, PushSource
from dcu.cosem.security import KEYED, Framing, Protection
from dcu.credentials import KeyPair, MeterKeys, Secret
from dcu.errors import DcuError
from dcu.suites import SUITES
from tests.cosem.small_meter import CLIENT_TITLE, ENERGY, GENERAL_CONTEXTS, Pair
from tests.cosem.suite_keys import METER_TITLE, keys

OTHER_TITLE = b"MTR\x00\x00\x00\x00\x02"  # of another meter, which is known as well
STRANGER = b"STRANGER"
FIRST = 100  # the counter of the first push

Forgery = tuple[str, bytes]  # what was done, what became of the frame


def way(mode: str) -> tuple[int, Framing, bool]:
    """Suite, framing, signed: as small_meter's contexts of general protection name them."""
    _, suite, framing, signed = GENERAL_CONTEXTS[mode]
    return suite, framing, signed


LISTENED = tuple(mode for mode in GENERAL_CONTEXTS if way(mode)[1] is not Framing.GLOBAL)


def said(number: int, kind: str = "data") -> Notification:
    value = axdr.encode(data.structure(data.u32(number), data.octets(b"a push")))
    if kind == "event":
        return EventNotification(b"", ENERGY, value)
    return DataNotification(0x40000000 | number, b"", value)


class Sender:
    """A meter, or who would be one: seals with what it holds."""

    def __init__(
        self, held: MeterKeys, *, framing: Framing, signed: bool, title: bytes = METER_TITLE, peer: bytes = CLIENT_TITLE
    ) -> None:
        self._held, self._framing, self._signed, self._title, self._peer = held, framing, signed, title, peer

    def seal(self, plain: bytes, counter: int, protection: Protection = Protection.BOTH) -> bytes:
        ciphering = Ciphering(
            self._held,
            title=self._title,
            peer=self._peer,
            counter=lambda: counter,
            floors=MemoryFloors(),
            preferred=self._framing,
            signed=self._signed,
        )
        return ciphering.seal_service(plain, protection, self._framing)


def sender(mode: str, held: MeterKeys | None = None, **more: bytes) -> Sender:
    suite, framing, signed = way(mode)
    return Sender(held or keys(suite)[1], framing=framing, signed=signed, **more)


class Listener:
    """Pushes outside of an association, of two meters; what is taken is committed."""

    def __init__(self, mode: str, other: MeterKeys | None = None) -> None:
        suite, framing, signed = way(mode)
        held = keys(suite)[0]
        others = other or foreign(replace(held, system_title=OTHER_TITLE))
        sources = {
            METER_TITLE: PushSource(held, framing=framing, signed=signed),
            OTHER_TITLE: PushSource(others, framing=framing, signed=signed),
        }
        self.floors = dict.fromkeys(sources, FIRST - 1)
        self.taken: list[tuple[bytes, Notification]] = []
        self.receiver = PushReceiver(sources.get, self.floors.__getitem__, title=CLIENT_TITLE)

    def put(self, frame: bytes) -> DcuError | None:
        try:
            push = self.receiver.receive(frame)
        except DcuError as error:
            return error
        self.taken.append((push.title, push.notification))
        assert push.counter is not None
        self.floors[push.title] = push.counter
        return None


class Inside:
    """Pushes inside of an association over a lossy channel: what is not acceptable is dropped, and it goes on."""

    def __init__(self, context: str) -> None:
        self.pair = Pair(context, lossy=True).associated()

    @property
    def taken(self) -> list[Notification]:
        return [told.notification for told in self.pair.client.notifications]

    def put(self, frame: bytes) -> DcuError | None:
        before = self.pair.client.refused.total
        self.pair.client.receive(frame)
        return self.pair.client.refused.last if self.pair.client.refused.total > before else None


# --- keys that are not the meter's


def foreign(held: MeterKeys, *only: str) -> MeterKeys:
    """Other keys of the same suite, in place of all or of those named."""
    suite = SUITES[held.suite]
    size, made = suite.key_size, count(1)

    def another() -> Secret:
        return Secret(bytes((0xA0 + next(made),)) * size)

    def pair(known: KeyPair) -> KeyPair:
        private = Secret(bytes((next(made),)) * suite.width)
        return KeyPair(private, suite.public(Secret(bytes((next(made),)) * suite.width)) if known.peer else b"")

    changed = {"guek": another(), "gak": another(), "master": another()}
    if held.signing and held.agreement:
        changed |= {"signing": pair(held.signing), "agreement": pair(held.agreement)}
    return replace(held, **{name: key for name, key in changed.items() if not only or name in only})


def matters(mode: str) -> set[str]:
    """The keys of which each decides whether a push is the meter's."""
    _, framing, signed = way(mode)
    found = {"gak"}
    if framing in (Framing.GENERAL_GLOBAL, Framing.IDENTIFIED):
        found.add("guek")
    if framing is Framing.WRAPPED:
        found.add("master")
    if framing in (Framing.ONE_PASS, Framing.STATIC):
        found.add("agreement")
    if signed or framing is Framing.ONE_PASS:
        found.add("signing")
    return found


# --- what an attacker makes of a push


def flips(frame: bytes, step: int = 1) -> Iterator[Forgery]:
    """step: 0: every bit; else one bit of each so many bytes."""
    for at in range(0, len(frame), step or 1):
        for bit in range(8) if step == 0 else (at % 8,):
            yield f"byte {at}, bit {bit}", frame[:at] + bytes((frame[at] ^ 1 << bit,)) + frame[at + 1 :]


def resized(frame: bytes, step: int = 1) -> Iterator[Forgery]:
    for size in range(0, len(frame), step):
        yield f"cut to {size}", frame[:size]
    for tail in (b"\x00", b"\xff", bytes(12), frame):
        yield f"followed by {tail[:4].hex()}", frame + tail


def stripped(frame: bytes, plain: bytes) -> Iterator[Forgery]:
    """Less protection claimed, by who knows what was said: no signature, tag or cipher, another security control."""
    yield "in the clear", plain
    inner = frame
    wrapped = lambda new: new  # noqa: E731
    if frame[0] == general.SIGNING:
        signed = general.parse_signed(frame)
        inner = signed.apdu
        yield "without its signature", inner
        yield "with an empty signature", frame[: -1 - len(signed.signature)] + b"\x00"
        head, tail = frame.split(inner)
        wrapped = lambda new: head + new + tail  # noqa: E731 - of the same length
        yield "in the clear, under the signature of what was ciphered", _resigned(signed, plain)
    control, content = _opened(inner)
    at = len(inner) - len(content) - security.HEADER
    for other in set(range(256)) - {control}:
        yield f"security control {other:02X}", wrapped(inner[:at] + bytes((other,)) + inner[at + 1 :])
    known = bytes(a ^ b for a, b in zip(content, plain, strict=False))  # the keystream
    wanted = apdu.encode(said(666))[: len(plain)]
    padded = bytes(security.TAG_SIZE)
    enciphered = bytes(a ^ b for a, b in zip(known, wanted, strict=False)) + padded
    for protection, text in ((Protection.ENCRYPTED, enciphered), (Protection.AUTHENTICATED, wanted + padded)):
        byte = bytes((control & 0xF | protection << 4,))
        counter = inner[at + 1 : at + security.HEADER]
        yield f"forged as {protection.name}", wrapped(inner[:at] + byte + counter + text)


def _resigned(signed: general.Signed, plain: bytes) -> bytes:
    octets = lambda raw: axdr.encode_length(len(raw)) + raw  # noqa: E731
    return bytes((general.SIGNING,)) + signed.header.encoded() + octets(plain) + octets(signed.signature)


def _opened(frame: bytes) -> tuple[int, bytes]:
    """Security control and what it covers."""
    found = general.parse(frame) if frame[0] == general.CIPHERING else security.parse(frame)
    return found.control.byte, found.content


def renamed(frame: bytes) -> Iterator[Forgery]:
    """Another sender or recipient named, everywhere or once; nothing where the frame names nobody."""
    if METER_TITLE not in frame:
        return
    for name, title in (("stranger", STRANGER), ("other meter", OTHER_TITLE), ("client", CLIENT_TITLE)):
        yield f"its sender called {name}", frame.replace(METER_TITLE, title)
        if frame.count(METER_TITLE) > 1:
            yield f"its sender called {name}, once", frame.replace(METER_TITLE, title, 1)
            yield f"its sender called {name}, inside", title.join(frame.rsplit(METER_TITLE, 1))
    if CLIENT_TITLE in frame:
        yield "its recipient another", frame.replace(CLIENT_TITLE, STRANGER)
    swapped = frame.replace(METER_TITLE, STRANGER).replace(CLIENT_TITLE, METER_TITLE).replace(STRANGER, CLIENT_TITLE)
    yield "sender and recipient exchanged", swapped


def lesser(mode: str, plain: bytes, counter: int) -> Iterator[Forgery]:
    """By who holds the meter's keys: every other way of the same suite, and less protection in this one."""
    suite, framing, signed = way(mode)
    for other in GENERAL_CONTEXTS:
        if other != mode and way(other)[0] == suite and _fits(way(other)[1], plain):
            yield f"in {other}", sender(other).seal(plain, counter)
    for protection in (Protection.AUTHENTICATED, Protection.ENCRYPTED):
        yield f"{protection.name} only", sender(mode).seal(plain, counter, protection)
    held = keys(suite)[1]
    dedicated = security.Cipher(held.guek, held.gak, suite=suite)
    for kind in (Framing.GENERAL_DEDICATED, Framing.DEDICATED):
        if _fits(kind, plain):
            made = security.protect(
                dedicated, plain, protection=Protection.BOTH, title=METER_TITLE, counter=counter, framing=kind
            )
            yield f"in {kind.name} ciphering", made
    if suite and framing is Framing.GENERAL_GLOBAL and not signed:
        weaker = replace(keys(0)[1], guek=Secret(held.guek.reveal()[:16]), gak=Secret(held.gak.reveal()[:16]))
        yield "of a weaker suite", Sender(weaker, framing=framing, signed=False).seal(plain, counter)


def _fits(framing: Framing, plain: bytes) -> bool:
    """A data-notification has no tag of its own for ciphering."""
    return plain[0] != 0x0F or framing in (Framing.GENERAL_GLOBAL, Framing.GENERAL_DEDICATED, *KEYED)


def answer(mode: str, counter: int) -> bytes:
    """What the meter answers in an association of this mode: authentic, and no push."""
    return sender(mode).seal(apdu.encode(GetResponseNormal(0xC1, axdr.encode(data.u32(1)))), counter)
