"""Security suites 0, 1 and 2: sizes of keys, and what each can do beyond AES-GCM: sign, agree keys, wrap keys.

Numbers on the wire: a public key is ``x || y``, a signature ``r || s``, each coordinate as wide as the curve's field; a
private key is its scalar. A shared secret is the x coordinate of ECDH (cofactor 1), a derived key the left part of one
hash (concatenation KDF, one round: no suite needs more).

Source: IEC 62056-5-3 (DLMS Green Book 9.2.2.4, 9.2.3.4); FIPS 186-4, NIST SP 800-56A 5.8.1, RFC 3394.
"""

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import keywrap

from dcu.credentials import Secret
from dcu.errors import AuthenticationFailed, DecodeError

if TYPE_CHECKING:  # imported where it is used: suite 0, which most meters have, needs no curve
    from cryptography.hazmat.primitives.asymmetric import ec

_ALGORITHMS = bytes.fromhex("608574050803")  # 2.16.756.5.8.3.x, the value of the object identifier alone


class Use(Enum):
    """What a derived key is for; with the suite it gives the AlgorithmID of the KDF."""

    CIPHERING = 0
    WRAPPING = 2


@dataclass(frozen=True, slots=True)
class Suite:
    """key_size: of AES, in bytes; width: of a coordinate, 0 where the suite has no curve."""

    number: int
    key_size: int
    width: int = 0

    @property
    def signature_size(self) -> int:
        return 2 * self.width

    def __str__(self) -> str:
        return f"security suite {self.number}"

    # --- keys

    def new_private(self) -> Secret:
        numbers = _elliptic().generate_private_key(self._curve()).private_numbers()
        return Secret(numbers.private_value.to_bytes(self.width, "big"))

    def public(self, private: Secret) -> bytes:
        """The public key of a private one. Raises ValueError."""
        return self.point(self._private(private).public_key())

    def point(self, public: "ec.EllipticCurvePublicKey") -> bytes:
        numbers = public.public_numbers()
        return numbers.x.to_bytes(self.width, "big") + numbers.y.to_bytes(self.width, "big")

    def check_public(self, public: bytes) -> None:
        """Raises DecodeError for what is no point of the curve."""
        self._public(public)

    def check_private(self, private: Secret) -> None:
        """Raises ValueError for what is no scalar of the curve; never shows it."""
        self._private(private)

    # --- signatures

    def sign(self, private: Secret, message: bytes) -> bytes:
        from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

        r, s = decode_dss_signature(self._private(private).sign(message, self._ecdsa()))
        return r.to_bytes(self.width, "big") + s.to_bytes(self.width, "big")

    def verify(self, public: bytes, message: bytes, signature: bytes, who: str) -> None:
        """Raises AuthenticationFailed, saying whose signature it should have been; DecodeError for a wrong key."""
        key = self._public(public)
        if len(signature) != self.signature_size:
            raise AuthenticationFailed(
                f"authentication failed: the signature of {who} has {len(signature)} bytes, {self} has "
                f"{self.signature_size}"
            )
        from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

        r, s = (int.from_bytes(part, "big") for part in (signature[: self.width], signature[self.width :]))
        try:
            key.verify(encode_dss_signature(r, s), message, self._ecdsa())
        except InvalidSignature:
            raise AuthenticationFailed(
                f"authentication failed: the signature of {who} does not fit: check its public key or certificate"
            ) from None

    # --- key agreement and transport

    def agree(self, private: Secret, public: bytes) -> Secret:
        """The shared secret Z. Raises DecodeError for what is no point of the curve."""
        return Secret(self._private(private).exchange(_elliptic().ECDH(), self._public(public)))

    def derive(self, shared: Secret, use: Use, party_u: bytes, party_v: bytes) -> Secret:
        """The concatenation KDF: one hash over counter 1, Z, AlgorithmID, PartyUInfo, PartyVInfo."""
        algorithm = _ALGORITHMS + bytes((use.value + (self.key_size == 32),))
        digest = hashlib.sha384 if self.number == 2 else hashlib.sha256
        made = digest(b"\x00\x00\x00\x01" + shared.reveal() + algorithm + party_u + party_v).digest()
        return Secret(made[: self.key_size])

    def wrap(self, wrapping: Secret, key: Secret) -> bytes:
        """AES key wrap (RFC 3394): 8 bytes longer than the key."""
        return keywrap.aes_key_wrap(wrapping.reveal(), key.reveal())

    def unwrap(self, wrapping: Secret, wrapped: bytes) -> Secret:
        """A key of the suite's size. Raises AuthenticationFailed."""
        try:
            key = Secret(keywrap.aes_key_unwrap(wrapping.reveal(), wrapped))
        except (keywrap.InvalidUnwrap, ValueError):
            key = Secret(b"")
        if len(key) != self.key_size:
            raise AuthenticationFailed("a wrapped key does not unwrap: check the master key")
        return key

    def new_key(self, random: Callable[[int], bytes] = secrets.token_bytes) -> Secret:
        return Secret(random(self.key_size))

    # --- the curve

    def _curve(self) -> "ec.EllipticCurve":
        if not self.width:
            raise ValueError("security suite 0 has no signatures and no key agreement: suites 1 and 2 have")
        return _elliptic().SECP384R1() if self.number == 2 else _elliptic().SECP256R1()  # type: ignore[no-any-return]

    def _ecdsa(self) -> "ec.ECDSA":
        from cryptography.hazmat.primitives import hashes

        return _elliptic().ECDSA(hashes.SHA384() if self.number == 2 else hashes.SHA256())  # type: ignore[no-any-return]

    def _private(self, private: Secret) -> "ec.EllipticCurvePrivateKey":
        curve = self._curve()
        if len(private) != self.width:
            raise ValueError(f"a private key of {self} has {self.width} bytes, not {len(private)}")
        try:
            return _elliptic().derive_private_key(int.from_bytes(private.reveal(), "big"), curve)  # type: ignore[no-any-return]
        except ValueError:
            raise ValueError(f"the private key is none of {self}") from None

    def _public(self, public: bytes) -> "ec.EllipticCurvePublicKey":
        curve = self._curve()
        if len(public) != 2 * self.width:
            raise DecodeError(f"a public key of {self} has {2 * self.width} bytes, not {len(public)}")
        try:
            return _elliptic().EllipticCurvePublicKey.from_encoded_point(curve, b"\x04" + public)  # type: ignore[no-any-return]
        except ValueError:
            raise DecodeError(f"the public key is no point of the curve of {self}") from None


def _elliptic() -> Any:
    from cryptography.hazmat.primitives.asymmetric import ec

    return ec


SUITES = (Suite(0, 16), Suite(1, 16, 32), Suite(2, 32, 48))
