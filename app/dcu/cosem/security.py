"""Ciphered APDUs, security suite 0: AES-128-GCM with 12-byte tags, and the GMAC of HLS 5.

On the wire a protected APDU is ``tag | [title] | length | SC | IC | text | authentication tag``. SC says which
protection was applied, IC is the sender's invocation counter; the nonce is the sender's system title and IC. With
authentication alone the text is plain and stands in the tag's input behind SC and the authentication key. With
encryption alone there is no tag: such a frame proves nothing, and only a policy that asks for no more lets it pass.

The header (tag, title, lengths) is not in the tag's input. A changed title changes the nonce; a changed tag promises
another service than the text holds; a changed length does not fit the frame: each is refused here.

The tag of an APDU that is authenticated only and the answer to a challenge of HLS 5 are one computation: GMAC over SC,
the authentication key and the APDU, or the challenge. The standard does not tell them apart; `begins_apdu` does.

Source: IEC 62056-5-3 (DLMS Green Book 9.2.3, 9.2.7).
"""

import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum, IntFlag

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from dcu.cosem import axdr
from dcu.cosem.apdu.names import service_name
from dcu.credentials import Secret
from dcu.errors import AuthenticationFailed, DecodeError, PolicyViolated, TagMismatch

SUITE = 0
KEY_SIZE = 16
TITLE_SIZE = 8
TAG_SIZE = 12
CHALLENGE_SIZE = 16  # of 8..64 allowed; some meters take 16 only
MAX_COUNTER = 0xFFFFFFFF
_HEADER = 5  # SC and IC
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


class Framing(IntEnum):
    """How a ciphered APDU names its service and its key."""

    GLOBAL = 0  # glo-get-request …: a tag a service, the global key, titles from the AARQ/AARE
    DEDICATED = 1  # ded-get-request …: the association's own key
    GENERAL_GLOBAL = 0xDB  # general-glo-ciphering: any APDU, the sender's title in the frame
    GENERAL_DEDICATED = 0xDC  # general-ded-ciphering


_GLOBAL: Mapping[int, int] = {  # plaintext tag → ciphering tag
    0x01: 0x21,
    0x08: 0x28,
    0x0E: 0x2E,
    0xC0: 0xC8,
    0xC1: 0xC9,
    0xC2: 0xCA,
    0xC3: 0xCB,
    0xC4: 0xCC,
    0xC5: 0xCD,
    0xC7: 0xCF,
}
_DEDICATED: Mapping[int, int] = {
    0x0E: 0x4E,
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
_PLAIN_TAGS = (
    frozenset(  # of all that a ciphered APDU may hold, short names included; 80..BF and printable ones are not
        bytes((tag,))
        for tag in (
            0x01,
            0x05,
            0x06,
            0x08,
            0x0C,
            0x0D,
            0x0E,
            0x0F,
            0x16,
            0x18,
            *range(0xC0, 0xC8),
            0xD8,
            0xD9,
            0xDA,
            0xE0,
        )
    )
)
_GENERAL = (Framing.GENERAL_GLOBAL, Framing.GENERAL_DEDICATED)


@dataclass(frozen=True, slots=True)
class SecurityControl:
    """The SC byte of suite 0. broadcast: made with the broadcast key instead of the unicast one."""

    protection: Protection
    broadcast: bool = False

    @classmethod
    def read(cls, byte: int) -> "SecurityControl":
        """Raises DecodeError on what this suite cannot open."""
        if byte & _SUITE_BITS != SUITE:
            raise DecodeError(
                f"security control {byte:02X}: security suite {byte & _SUITE_BITS} is not supported, only 0"
            )
        if byte & _COMPRESSED:
            raise DecodeError(f"security control {byte:02X}: compression is not supported")
        return _CONTROLS[byte]

    @property
    def byte(self) -> int:
        return SUITE | self.protection << 4 | (_BROADCAST if self.broadcast else 0)


_CONTROLS = {  # made once: making them is what would cost most in sealing and opening a frame
    control.byte: control
    for flag in (False, True)
    for kind in range(4)
    for control in [SecurityControl(Protection(kind), flag)]
}


class Cipher:
    """One encryption key with its authentication key, ready to use: make it once a meter, not once a frame.

    Local names in here never hold a key, so that a traceback which prints them shows none.
    """

    __slots__ = ("_authentication", "_gcm", "broadcast")

    def __init__(self, encryption: Secret, authentication: Secret, *, broadcast: bool = False) -> None:
        self.broadcast = broadcast
        for name, key in (("encryption", encryption), ("authentication", authentication)):
            if len(key) != KEY_SIZE:
                raise ValueError(f"the {name} key has {len(key)} bytes, security suite 0 takes {KEY_SIZE}")
        self._gcm = AESGCM(encryption.reveal())
        self._authentication = authentication

    def __repr__(self) -> str:
        return f"Cipher(suite {SUITE}{', broadcast' if self.broadcast else ''})"

    def seal(self, control: SecurityControl, nonce: bytes, plaintext: bytes) -> bytes:
        """Return what follows SC and IC."""
        if control.protection == Protection.BOTH:
            return self._gcm.encrypt(nonce, plaintext, self._additional(control))[: TAG_SIZE - _FULL_TAG]
        if control.protection == Protection.ENCRYPTED:
            return self._keystream(nonce, plaintext)
        return plaintext + self.gmac(control, nonce, plaintext)

    def open(self, control: SecurityControl, nonce: bytes, content: bytes) -> bytes | None:
        """Return the plaintext, or None when the tag does not fit: nothing of it leaves before the tag is right.

        `cryptography`'s one-shot GCM knows 16-byte tags only, and its other interface takes three times as long: so
        the text is deciphered with the keystream, sealed again, and the tags are compared in constant time.
        """
        if control.protection == Protection.ENCRYPTED:
            return self._keystream(nonce, content)
        text, tag = content[:-TAG_SIZE], content[-TAG_SIZE:]
        if control.protection == Protection.AUTHENTICATED:
            expected = self.gmac(control, nonce, text)
        else:
            text = self._keystream(nonce, text)
            expected = self._gcm.encrypt(nonce, text, self._additional(control))[-_FULL_TAG : TAG_SIZE - _FULL_TAG]
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
    if size < _HEADER:
        raise DecodeError(f"{service_name(frame[0])}: {size} bytes do not hold SC and invocation counter", at)
    control = SecurityControl.read(frame[at])
    content = frame[at + _HEADER :]
    if len(content) <= (TAG_SIZE if control.protection.authentic else 0):
        raise DecodeError(f"{service_name(frame[0])} holds nothing", at + _HEADER)
    return Ciphered(framing, service, title, control, int.from_bytes(frame[at + 1 : at + _HEADER], "big"), content)


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
    control = _CONTROLS[protection << 4 | (_BROADCAST if cipher.broadcast else 0)]
    sealed = cipher.seal(control, _nonce(title, counter), apdu)
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
    if control.broadcast != cipher.broadcast:
        used, held = ("broadcast", "unicast") if control.broadcast else ("unicast", "broadcast")
        raise PolicyViolated(f"the frame uses the {used} key where the {held} key is required")
    if ciphered.title not in (None, title):
        raise AuthenticationFailed(f"the frame names system title {_hex(ciphered.title)}, expected is {_hex(title)}")
    apdu = cipher.open(control, _nonce(title, ciphered.counter), ciphered.content)
    if apdu is None:
        raise TagMismatch(
            f"the tag of a frame from system title {_hex(title)}, invocation counter {ciphered.counter}, "
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


def new_challenge(random: Callable[[int], bytes]) -> bytes:
    """HLS: a challenge that begins like no APDU (see `begins_apdu`)."""
    drawn = random(CHALLENGE_SIZE)
    return bytes((0x80 | drawn[0] & 0x3F,)) + drawn[1:] if begins_apdu(drawn) else drawn


def begins_apdu(challenge: bytes) -> bool:
    """Whether a DLMS APDU could begin like `challenge`, which 22 of 256 random ones do.

    f(challenge) is computed as the tag of an authenticated-only APDU is, under the same key. Who gives f of a challenge
    that is an APDU has signed that APDU.
    """
    return challenge[:1] in _PLAIN_TAGS


def hls_answer(cipher: Cipher, *, title: bytes, counter: int, challenge: bytes) -> bytes:
    """HLS 5: f(challenge) = SC | IC | GMAC (17 bytes), made by `title` under `counter`."""
    tag = cipher.gmac(_HLS, _nonce(title, counter), challenge)
    return bytes((_HLS.byte,)) + counter.to_bytes(4, "big") + tag


def hls_verify(cipher: Cipher, answer: bytes, *, title: bytes, challenge: bytes) -> int:
    """Check f(challenge) made by `title`; return its counter, still to be held against the floor.

    Raises AuthenticationFailed.
    """
    if len(answer) != _HEADER + TAG_SIZE or answer[0] != _HLS.byte:
        raise AuthenticationFailed(
            f"HLS 5: the answer of system title {_hex(title)} is no GMAC of suite 0 (10, counter, 12 bytes)"
        )
    counter = int.from_bytes(answer[1:_HEADER], "big")
    if not hmac.compare_digest(cipher.gmac(_HLS, _nonce(title, counter), challenge), answer[_HEADER:]):
        raise AuthenticationFailed(
            f"authentication failed: system title {_hex(title)} did not prove that it holds the keys: "
            "check the GAK, the GUEK and the system title"
        )
    return counter


_HLS = SecurityControl(Protection.AUTHENTICATED)


def _nonce(title: bytes, counter: int) -> bytes:
    if len(title) != TITLE_SIZE:
        raise ValueError(f"a system title has {TITLE_SIZE} bytes, not {len(title)}")
    if not 0 <= counter <= MAX_COUNTER:
        raise ValueError(f"an invocation counter is 0..{MAX_COUNTER}, not {counter}")
    return title + counter.to_bytes(4, "big")


def _hex(title: bytes | None) -> str:
    return (title or b"").hex().upper()
