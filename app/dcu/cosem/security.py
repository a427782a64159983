"""Ciphered APDUs, security suite 0: AES-128-GCM with 12-byte tags, and the GMAC of HLS 5.

A protected APDU is ``tag | [title] | length | SC | IC | ciphertext | tag``. Source: IEC 62056-5-3 (DLMS Green Book 9.2.7).
"""

from dataclasses import dataclass, field
from enum import IntEnum, IntFlag

from dcu.credentials import Secret


class Protection(IntFlag):
    NONE = 0
    AUTHENTICATED = 1
    ENCRYPTED = 2
    BOTH = 3


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


@dataclass(frozen=True, slots=True)
class SecurityControl:
    """The SC byte."""

    suite: int
    protection: Protection
    broadcast: bool = False
    compressed: bool = False


class Cipher:
    """One key with its authentication key, ready to use: make it once a meter, not once a frame."""

    __slots__ = ("broadcast",)

    def __init__(self, encryption: Secret, authentication: Secret, *, broadcast: bool = False) -> None:
        self.broadcast = broadcast


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
    raise NotImplementedError


def parse(frame: bytes) -> Ciphered:
    """Raises DecodeError."""
    raise NotImplementedError


def protect(
    cipher: Cipher,
    apdu: bytes,
    *,
    protection: Protection,
    title: bytes,
    counter: int,
    framing: Framing = Framing.GLOBAL,
) -> bytes:
    """Return `apdu` as a ciphered APDU, sent by `title` (8 bytes) under invocation counter `counter`."""
    raise NotImplementedError


def unprotect(
    cipher: Cipher, frame: bytes | Ciphered, *, title: bytes, required: Protection = Protection.NONE
) -> Opened:
    """Verify and decipher a frame that `title` must have sent. Raises DecodeError, TagMismatch, PolicyViolated."""
    raise NotImplementedError


def hls_answer(cipher: Cipher, *, title: bytes, counter: int, challenge: bytes) -> bytes:
    """HLS 5: f(challenge) = SC | IC | GMAC (17 bytes), made by `title`."""
    raise NotImplementedError


def hls_verify(cipher: Cipher, answer: bytes, *, title: bytes, challenge: bytes) -> int:
    """Check f(challenge) made by `title`; return its counter. Raises DecodeError, AuthenticationFailed."""
    raise NotImplementedError
