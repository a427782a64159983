"""Ciphered APDUs: AES-GCM with 12-byte tags, 128 bits in security suites 0 and 1, 256 in suite 2.

On the wire a protected APDU is ``tag | [title] | length | SC | IC | text | authentication tag``. SC says which
protection was applied, IC is the sender's invocation counter; the nonce is the sender's system title and IC. With
authentication alone the text is plain and stands in the tag's input behind SC and the authentication key. With
encryption alone there is no tag: such a frame proves nothing, and only a policy that asks for no more lets it pass.

The header (tag, title, lengths) is not in the tag's input. A changed title changes the nonce; a changed tag promises
another service than the text holds; a changed length does not fit the frame: each is refused here.

Source: IEC 62056-5-3 (DLMS Green Book 9.2.3, 9.2.7).
"""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, IntFlag

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from dcu.cosem import axdr
from dcu.cosem.apdu.names import service_name
from dcu.credentials import Secret
from dcu.errors import AuthenticationFailed, DecodeError, PolicyViolated, TagMismatch
from dcu.suites import SUITES

TITLE_SIZE = 8
TAG_SIZE = 12
SEALED = 1 + 3 + 5 + TAG_SIZE  # bytes that ciphering adds to an APDU: tag, length, SC and IC, authentication tag
MAX_COUNTER = 0xFFFFFFFF
HEADER = 5  # bytes: SC and IC
_FULL_TAG = 16  # what GCM makes; the suite sends the first 12 bytes of it

_SUITE_BITS, _AUTHENTICATED, _ENCRYPTED, _BROADCAST, _COMPRESSED = 0x0F, 0x10, 0x20, 0x40, 0x80


class Protection(IntFlag):
    NONE = 0
    AUTHENTICATED = 1
    ENCRYPTED = 2
    BOTH = 3

    def __str__(self) -> str:
        return ("unprotected", "authenticated", "encrypted", "authenticated and encrypted")[self]

    def __format__(self, spec: str) -> str:  # IntFlag would format as the bare number
        return str.__format__(str(self), spec)

    @property
    def authentic(self) -> bool:
        return self.value & 1 == 1  # the operators of IntFlag take five times as long, and a frame is asked thrice

    @property
    def secret(self) -> bool:
        return self.value & 2 == 2

    def covers(self, required: "Protection") -> bool:
        return self is required or self.value & required.value == required.value


@dataclass(frozen=True, slots=True)
class Policy:
    """The least protection a frame must have, per direction."""

    request: Protection
    response: Protection

    @property
    def authentic(self) -> bool:
        """Whether it asks for a tag both ways."""
        return self.request.authentic and self.response.authentic


class Framing(IntEnum):
    """How a ciphered APDU names its service and its key."""

    GLOBAL = 0  # glo-get-request …: a tag a service, the global key, titles from the AARQ/AARE
    DEDICATED = 1  # ded-get-request …: the association's own key
    GENERAL_GLOBAL = 0xDB  # general-glo-ciphering: any APDU, the sender's title in the frame
    GENERAL_DEDICATED = 0xDC  # general-ded-ciphering
    # general-ciphering, by the key that it tells of (see `general`)
    IDENTIFIED = 2
    WRAPPED = 3
    ONE_PASS = 4  # C(1e,1s)
    STATIC = 5  # C(0e,2s)


KEYED = (Framing.IDENTIFIED, Framing.WRAPPED, Framing.ONE_PASS, Framing.STATIC)
GENERAL = {Framing.GLOBAL: Framing.GENERAL_GLOBAL, Framing.DEDICATED: Framing.GENERAL_DEDICATED}  # of the same key

_GLOBAL: Mapping[int, int] = {  # plaintext tag → ciphering tag
    0x01: 0x21,
    0x05: 0x25,
    0x06: 0x26,
    0x08: 0x28,
    0x0C: 0x2C,
    0x0D: 0x2D,
    0x0E: 0x2E,
    0x16: 0x36,
    0x18: 0x38,
    0xC0: 0xC8,
    0xC1: 0xC9,
    0xC2: 0xCA,
    0xC3: 0xCB,
    0xC4: 0xCC,
    0xC5: 0xCD,
    0xC7: 0xCF,
}
_DEDICATED: Mapping[int, int] = {
    0x05: 0x45,
    0x06: 0x46,
    0x0C: 0x4C,
    0x0D: 0x4D,
    0x0E: 0x4E,
    0x16: 0x56,
    0x18: 0x58,
    0xC0: 0xD0,
    0xC1: 0xD1,
    0xC2: 0xD2,
    0xC3: 0xD3,
    0xC4: 0xD4,
    0xC5: 0xD5,
    0xC7: 0xD7,
}
_PROMISES: Mapping[int, tuple[Framing, int]] = {
    **{ciphered: (Framing.GLOBAL, plain) for plain, ciphered in _GLOBAL.items()},
    **{ciphered: (Framing.DEDICATED, plain) for plain, ciphered in _DEDICATED.items()},
}
_GENERAL = (Framing.GENERAL_GLOBAL, Framing.GENERAL_DEDICATED)


@dataclass(frozen=True, slots=True)
class SecurityControl:
    """The SC byte. broadcast: made with the broadcast key instead of the unicast one."""

    protection: Protection
    broadcast: bool = False
    suite: int = 0

    @classmethod
    def read(cls, byte: int) -> "SecurityControl":
        """Raises DecodeError on what cannot be opened here: a suite that does not exist, V.44 compression."""
        if byte & _SUITE_BITS >= len(SUITES):
            raise DecodeError(f"security control {byte:02X}: there is no security suite {byte & _SUITE_BITS}")
        if byte & _COMPRESSED:
            raise DecodeError(f"security control {byte:02X}: compression (V.44) is not supported: switch it off")
        return _CONTROLS[byte]

    @property
    def byte(self) -> int:
        return self.suite | self.protection << 4 | (_BROADCAST if self.broadcast else 0)


_CONTROLS = {  # made once: making them is what would cost most in sealing and opening a frame
    control.byte: control
    for suite in range(len(SUITES))
    for flag in (False, True)
    for kind in range(4)
    for control in [SecurityControl(Protection(kind), flag, suite)]
}


class Cipher:
    """One encryption key with its authentication key: make it once a meter, not once a frame.

    It is ready while it is used: OpenSSL takes 2.4 kB for a key's schedule, so who is done for a while lets it `rest`.

    Local names in here never hold a key, so that a traceback which prints them shows none.
    """

    __slots__ = ("_authentication", "_encryption", "_ready", "broadcast", "suite")

    def __init__(self, encryption: Secret, authentication: Secret, *, suite: int = 0, broadcast: bool = False) -> None:
        self.broadcast = broadcast
        self.suite = suite
        size = SUITES[suite].key_size
        for name, key in (("encryption", encryption), ("authentication", authentication)):
            if len(key) != size:
                raise ValueError(f"the {name} key has {len(key)} bytes, security suite {suite} takes {size}")
        self._encryption = encryption
        self._authentication = authentication
        self._ready: AESGCM | None = None

    def __repr__(self) -> str:
        return f"Cipher(suite {self.suite}{', broadcast' if self.broadcast else ''})"

    def rest(self) -> None:
        """Give the key's schedule back; the next frame makes it anew."""
        self._ready = None

    @property
    def _gcm(self) -> AESGCM:
        if self._ready is None:
            self._ready = AESGCM(self._encryption.reveal())
        return self._ready

    def control(self, protection: Protection) -> SecurityControl:
        """The SC of what this key protects so."""
        return _CONTROLS[self.suite | protection << 4 | (_BROADCAST if self.broadcast else 0)]

    def seal(self, control: SecurityControl, nonce: bytes, plaintext: bytes, header: bytes = b"") -> bytes:
        """Return what follows SC and IC. header: what the tag covers beside it (general-ciphering)."""
        if control.protection == Protection.BOTH:
            return self._gcm.encrypt(nonce, plaintext, self._additional(control) + header)[: TAG_SIZE - _FULL_TAG]
        if control.protection == Protection.ENCRYPTED:
            return self._keystream(nonce, plaintext)
        return plaintext + self.gmac(control, nonce, header + plaintext)

    def open(self, control: SecurityControl, nonce: bytes, content: bytes, header: bytes = b"") -> bytes | None:
        """Return the plaintext, or None when the tag does not fit: nothing of it leaves before the tag is right.

        `cryptography`'s one-shot GCM knows 16-byte tags only, and its other interface takes three times as long: so
        the text is deciphered with the keystream, sealed again, and the tags are compared in constant time.
        """
        if control.protection == Protection.ENCRYPTED:
            return self._keystream(nonce, content)
        text, tag = content[:-TAG_SIZE], content[-TAG_SIZE:]
        if control.protection == Protection.AUTHENTICATED:
            expected = self.gmac(control, nonce, header + text)
        else:
            text = self._keystream(nonce, text)
            sealed = self._gcm.encrypt(nonce, text, self._additional(control) + header)
            expected = sealed[-_FULL_TAG : TAG_SIZE - _FULL_TAG]
        return text if hmac.compare_digest(expected, tag) else None

    def gmac(self, control: SecurityControl, nonce: bytes, message: bytes) -> bytes:
        """The 12-byte tag over SC, the authentication key and `message`."""
        return self._gcm.encrypt(nonce, b"", self._additional(control) + message)[:TAG_SIZE]

    def _keystream(self, nonce: bytes, text: bytes) -> bytes:
        return self._gcm.encrypt(nonce, text, None)[:-_FULL_TAG]  # enciphers and deciphers alike

    def _additional(self, control: SecurityControl) -> bytes:
        return bytes((control.byte,)) + self._authentication.reveal()


@dataclass(frozen=True, slots=True)
class Ciphered:
    """A ciphered APDU taken apart, nothing verified. title: the sender's, where the frame says it (general-*)."""

    framing: Framing
    service: int | None  # the plaintext tag that the ciphering tag promises; None: any (general-*)
    title: bytes | None
    control: SecurityControl
    counter: int
    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Opened:
    """What a frame held, its tag verified where it had one. The caller still checks the counter against its floor."""

    apdu: bytes = field(repr=False)
    protection: Protection
    counter: int
    title: bytes
    framing: Framing
    transaction: bytes = b""  # of general-ciphering and general-signing, else b""


def is_ciphered(frame: bytes) -> bool:
    """Whether `frame` is one of the ciphered APDUs (by its tag)."""
    return bool(frame) and (frame[0] in _PROMISES or frame[0] in _GENERAL)


def parse(frame: bytes) -> Ciphered:
    """Take a ciphered APDU apart without a key: a push listener looks the keys up by its title. Raises DecodeError."""
    if not is_ciphered(frame):
        raise DecodeError(f"{service_name(frame[0]) if frame else 'nothing'} where a ciphered APDU is expected", 0)
    at, title = 1, None
    framing, service = _PROMISES.get(frame[0], (None, None))
    if framing is None:
        framing = Framing(frame[0])
        size, start = axdr.decode_length(frame, at)
        at = start + size
        if size not in (0, TITLE_SIZE) or at > len(frame):
            raise DecodeError(f"{service_name(frame[0])}: a system title has {TITLE_SIZE} bytes, not {size}", start)
        title = frame[start:at] or None  # empty: the title that the association told
    size, at = axdr.decode_length(frame, at)
    if size != len(frame) - at:
        raise DecodeError(f"{service_name(frame[0])} announces {size} bytes, {len(frame) - at} follow", at)
    if size < HEADER:
        raise DecodeError(f"{service_name(frame[0])}: {size} bytes do not hold SC and invocation counter", at)
    control = SecurityControl.read(frame[at])
    content = frame[at + HEADER :]
    if len(content) <= (TAG_SIZE if control.protection.authentic else 0):
        raise DecodeError(f"{service_name(frame[0])} holds nothing", at + HEADER)
    return Ciphered(framing, service, title, control, int.from_bytes(frame[at + 1 : at + HEADER], "big"), content)


def protect(
    cipher: Cipher,
    apdu: bytes,
    *,
    protection: Protection,
    title: bytes,
    counter: int,
    framing: Framing = Framing.GLOBAL,
) -> bytes:
    """Return `apdu` as a ciphered APDU, sent by `title` (8 bytes) under invocation counter `counter`.

    The caller never gives the same counter twice with one key (design decision 6). Raises ValueError.
    """
    if protection == Protection.NONE:
        raise ValueError("a ciphered APDU without protection: send it plain")
    if not apdu or is_ciphered(apdu):
        raise ValueError(f"{service_name(apdu[0]) if apdu else 'nothing'} cannot be ciphered")
    control = cipher.control(protection)
    sealed = cipher.seal(control, nonce(title, counter), apdu)
    body = bytes((control.byte,)) + counter.to_bytes(4, "big") + sealed
    if framing in _GENERAL:
        head = bytes((framing, TITLE_SIZE)) + title
    else:
        tag = (_GLOBAL if framing is Framing.GLOBAL else _DEDICATED).get(apdu[0])
        if tag is None:
            raise ValueError(f"{service_name(apdu[0])} has no {framing.name.lower()} tag: use general ciphering")
        head = bytes((tag,))
    return head + axdr.encode_length(len(body)) + body


def unprotect(
    cipher: Cipher, frame: bytes | Ciphered, *, title: bytes, required: Protection = Protection.NONE
) -> Opened:
    """Verify and decipher a frame that `title` must have sent, protected at least as `required`.

    Raises DecodeError, PolicyViolated (less protection, another key than `cipher` holds), AuthenticationFailed
    (another sender), TagMismatch.
    """
    ciphered = frame if isinstance(frame, Ciphered) else parse(frame)
    control = ciphered.control
    if not control.protection or not control.protection.covers(required):
        least = required or "at least authenticated or encrypted"
        raise PolicyViolated(f"the frame is {control.protection}, required is: {least}")
    if control.suite != cipher.suite:
        raise PolicyViolated(f"the frame is of security suite {control.suite}, configured is {cipher.suite}")
    if control.broadcast != cipher.broadcast:
        used, held = ("broadcast", "unicast") if control.broadcast else ("unicast", "broadcast")
        raise PolicyViolated(f"the frame uses the {used} key where the {held} key is required")
    if ciphered.title not in (None, title):
        raise AuthenticationFailed(
            f"the frame names system title {hex_title(ciphered.title)}, expected is {hex_title(title)}"
        )
    apdu = cipher.open(control, nonce(title, ciphered.counter), ciphered.content)
    if apdu is None:
        raise TagMismatch(
            f"the tag of a frame from system title {hex_title(title)}, invocation counter {ciphered.counter}, "
            "does not fit: check the GAK, the GUEK and the system title"
        )
    _check_promise(ciphered, apdu)
    return Opened(apdu, control.protection, ciphered.counter, title, ciphered.framing)


def _check_promise(ciphered: Ciphered, apdu: bytes) -> None:
    kept = not is_ciphered(apdu) if ciphered.service is None else apdu[0] == ciphered.service
    if not kept:
        promised = "a plain APDU" if ciphered.service is None else service_name(ciphered.service)
        hint = "" if ciphered.control.protection.authentic else ": check the GUEK and the system title"
        raise DecodeError(f"the deciphered frame does not hold {promised}, as its tag says{hint}")


def nonce(title: bytes, counter: int) -> bytes:
    if len(title) != TITLE_SIZE:
        raise ValueError(f"a system title has {TITLE_SIZE} bytes, not {len(title)}")
    if not 0 <= counter <= MAX_COUNTER:
        raise ValueError(f"an invocation counter is 0..{MAX_COUNTER}, not {counter}")
    return title + counter.to_bytes(4, "big")


def hex_title(title: bytes | None) -> str:
    return (title or b"").hex().upper()
