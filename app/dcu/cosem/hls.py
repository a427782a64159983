"""High-level security: what a party answers to the other's challenge, and how it checks what it is answered.

Pass 1 and 2 bring the challenges (CtoS in the AARQ, StoC in the AARE), pass 3 the client's f(StoC), pass 4 the server's
f(CtoS). With P the party that proves, V the one that asked, X the challenge of V and Y that of P:

    2  manufacturer's    what `Manufacturer` makes of the secret and X
    3  MD5               MD5(X || secret)                 4  SHA-1: likewise
    5  GMAC              SC || IC || GMAC(SC || GAK || X) under the GUEK
    6  SHA-256           SHA-256(secret || title P || title V || X || Y)
    7  ECDSA             signature of P over title P || title V || X || Y

The answer of HLS 5 and the tag of an APDU that is authenticated only are one computation: GMAC over SC, the
authentication key and the APDU, or the challenge. The standard does not tell them apart; `begins_apdu` does.

Source: IEC 62056-5-3 (DLMS Green Book 9.2.7.4, table of HLS mechanisms).
"""

import hashlib
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from dcu.cosem.association import Authentication, Manufacturer
from dcu.cosem.ciphering import Ciphering
from dcu.cosem.security import HEADER, TAG_SIZE, Cipher, Protection, hex_title, nonce
from dcu.credentials import MeterKeys, Secret
from dcu.errors import AuthenticationFailed
from dcu.suites import SUITES

MAX_CHALLENGE = 64
MAX_PROOF = 96  # bytes: a signature of suite 2
_SIZES = {Authentication.ECDSA: 32}  # of our challenges; else 16, since some meters take no other size
_LEAST = {Authentication.ECDSA: 32}
_PLAIN_TAGS = frozenset(  # of all that a ciphered APDU may hold, short names included; 80..BF and printable are not
    bytes((tag,))
    for tag in (0x01, 0x05, 0x06, 0x08, 0x0C, 0x0D, 0x0E, 0x0F, 0x16, 0x18, *range(0xC0, 0xC8), 0xD8, 0xD9, 0xDA, 0xE0)
)


@dataclass(frozen=True, slots=True)
class Challenges:
    """Both challenges, as one of the parties sees them."""

    ours: bytes
    theirs: bytes


class Hls:
    """One party's proofs in one association. title: ours; peer: the other's; both may be empty with HLS 2, 3 and 4."""

    __slots__ = ("_ciphering", "_keys", "_kind", "_manufacturer", "_peer", "_title")

    def __init__(
        self,
        kind: Authentication,
        keys: MeterKeys,
        *,
        title: bytes,
        peer: bytes,
        ciphering: Ciphering | None = None,
        manufacturer: Manufacturer | None = None,
    ) -> None:
        self._kind, self._keys, self._title, self._peer = kind, keys, title, peer
        self._ciphering, self._manufacturer = ciphering, manufacturer

    def prove(self, challenges: Challenges) -> bytes:
        """Our answer to their challenge. Raises whatever the counter raises (HLS 5)."""
        if self._kind is Authentication.GMAC:
            assert self._ciphering
            return hls_answer(
                self._ciphering.cipher,
                title=self._title,
                counter=self._ciphering.next_counter(),
                challenge=challenges.theirs,
            )
        if self._kind is Authentication.ECDSA:
            assert self._keys.signing
            message = self._title + self._peer + challenges.theirs + challenges.ours
            return SUITES[self._keys.suite].sign(self._keys.signing.private, message)
        return self._digest(self._title, self._peer, challenges.theirs, challenges.ours)

    def verify(self, proof: bytes, challenges: Challenges, floor: int) -> None:
        """Check their answer to our challenge; floor: what stood before the frame that brought it (HLS 5).

        Raises AuthenticationFailed, CounterReplayed.
        """
        if self._kind is Authentication.GMAC:
            assert self._ciphering
            counter = hls_verify(self._ciphering.cipher, proof, title=self._peer, challenge=challenges.ours)
            self._ciphering.proven(counter, floor)
            return
        if self._kind is Authentication.ECDSA:
            assert self._keys.signing
            message = self._peer + self._title + challenges.ours + challenges.theirs
            who = f"system title {hex_title(self._peer)}"
            SUITES[self._keys.suite].verify(self._keys.signing.peer, message, proof, who)
            return
        expected = self._digest(self._peer, self._title, challenges.ours, challenges.theirs)
        if not hmac.compare_digest(expected, proof):
            raise AuthenticationFailed(
                "authentication failed: the other side did not prove that it holds the secret: check the password"
            )

    def _digest(self, prover: bytes, verifier: bytes, asked: bytes, other: bytes) -> bytes:
        assert self._keys.password
        secret = self._keys.password
        if self._kind is Authentication.HIGH:
            assert self._manufacturer
            return self._manufacturer(secret, asked)
        if self._kind is Authentication.SHA256:
            return hashlib.sha256(secret.reveal() + prover + verifier + asked + other).digest()
        digest: Callable[..., Any] = hashlib.md5 if self._kind is Authentication.MD5 else hashlib.sha1
        return digest(asked + secret.reveal(), usedforsecurity=False).digest()  # type: ignore[no-any-return]


def new_challenge(kind: Authentication, random: Callable[[int], bytes]) -> bytes:
    """A challenge that begins like no APDU (see `begins_apdu`)."""
    drawn = random(_SIZES.get(kind, 16))
    return bytes((0x80 | drawn[0] & 0x3F,)) + drawn[1:] if begins_apdu(drawn) else drawn


def fits(kind: Authentication, challenge: bytes) -> bool:
    """Whether the other side's challenge has a length that the standard allows."""
    return _LEAST.get(kind, 8) <= len(challenge) <= MAX_CHALLENGE


def begins_apdu(challenge: bytes) -> bool:
    """Whether a DLMS APDU could begin like `challenge`, which 22 of 256 random ones do.

    f(challenge) of HLS 5 is computed as the tag of an authenticated-only APDU is, under the same key. Who gives f of a
    challenge that is an APDU has signed that APDU.
    """
    return challenge[:1] in _PLAIN_TAGS


def signs_apdus(kind: Authentication, protection: Protection) -> bool:
    """Whether an answer that travels under `protection` could be taken for the tag of an APDU."""
    return kind is Authentication.GMAC and not protection.secret


def hls_answer(cipher: Cipher, *, title: bytes, counter: int, challenge: bytes) -> bytes:
    """HLS 5: f(challenge) = SC | IC | GMAC (17 bytes), made by `title` under `counter`."""
    control = cipher.control(Protection.AUTHENTICATED)
    tag = cipher.gmac(control, nonce(title, counter), challenge)
    return bytes((control.byte,)) + counter.to_bytes(4, "big") + tag


def hls_verify(cipher: Cipher, answer: bytes, *, title: bytes, challenge: bytes) -> int:
    """Check f(challenge) made by `title`; return its counter, still to be held against the floor.

    Raises AuthenticationFailed.
    """
    control = cipher.control(Protection.AUTHENTICATED)
    if len(answer) != HEADER + TAG_SIZE or answer[0] != control.byte:
        raise AuthenticationFailed(
            f"authentication failed: the answer of system title {hex_title(title)} is no GMAC of suite {cipher.suite} "
            f"({control.byte:02X}, counter, 12 bytes)"
        )
    counter = int.from_bytes(answer[1:HEADER], "big")
    if not hmac.compare_digest(cipher.gmac(control, nonce(title, counter), challenge), answer[HEADER:]):
        raise AuthenticationFailed(
            f"authentication failed: system title {hex_title(title)} did not prove that it holds the keys: "
            "check the GAK, the GUEK and the system title"
        )
    return counter


def aes_ecb(secret: Secret, challenge: bytes) -> bytes:
    """HLS 2 as several makers have it: the challenge, zero-padded, enciphered block by block with AES-128.

    The secret, zero-padded to 16 bytes, is the key. Raises ValueError for a longer secret.
    """
    if len(secret) > 16:
        raise ValueError("HLS 2 by AES-128 takes a secret of at most 16 bytes")
    from cryptography.hazmat.primitives.ciphers import Cipher as BlockCipher
    from cryptography.hazmat.primitives.ciphers import algorithms, modes

    key = secret.reveal().ljust(16, b"\x00")
    padded = challenge + bytes(-len(challenge) % 16)
    return BlockCipher(algorithms.AES(key), modes.ECB()).encryptor().update(padded)  # noqa: S305 (the makers' choice)


MANUFACTURERS: Mapping[str, Manufacturer] = {"aes-128": aes_ecb}  # by the name that a meter profile gives
