"""X.509 certificates as DLMS uses them: whose they are, what their key is for, and whether their issuer signed them.

The subject's common name is the owner's system title, 16 hexadecimal digits; the key usage says digital signature or
key agreement, never both; the curve is the suite's. What a certificate says is worth something once its issuer has
been checked, or once a person has brought it from a place he trusts.

Source: IEC 62056-5-3 (DLMS Green Book 9.2.6.4); RFC 5280.
"""

import hashlib
import warnings
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidSignature

from dcu.credentials import KeyPair, Secret
from dcu.errors import AuthenticationFailed, DecodeError
from dcu.suites import SUITES, Suite

if TYPE_CHECKING:  # imported where it is used: it brings megabytes, and most DCUs never see a certificate
    from cryptography import x509

MAX_SIZE = 4096  # bytes: a DLMS certificate has some 500
_CURVES = {"secp256r1": SUITES[1], "secp384r1": SUITES[2]}


class Purpose(Enum):
    SIGNING = "digital signature"
    AGREEMENT = "key agreement"


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a certificate says. public: x || y; raw: its DER, as it came."""

    title: bytes
    purpose: Purpose
    suite: Suite
    public: bytes
    issuer: str
    serial: int
    not_before: datetime
    not_after: datetime
    raw: bytes

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(self.raw).hexdigest()

    def require(self, title: bytes, purpose: Purpose, suite: int) -> None:
        """Raises AuthenticationFailed where it is another's, for another use, or of another suite."""
        if self.title != title:
            raise AuthenticationFailed(f"the certificate is of {self.title.hex()}, expected is {title.hex()}")
        if self.purpose is not purpose:
            raise AuthenticationFailed(f"the certificate is for {self.purpose.value}, needed is {purpose.value}")
        if self.suite.number != suite:
            raise AuthenticationFailed(f"the certificate is of {self.suite}, configured is suite {suite}")

    def require_issuer(self, authority: "x509.Certificate") -> None:
        """Raises AuthenticationFailed unless `authority` signed it."""
        from cryptography import x509

        try:
            x509.load_der_x509_certificate(self.raw).verify_directly_issued_by(authority)
        except (InvalidSignature, ValueError, TypeError):
            raise AuthenticationFailed(f"the certificate was not issued by {_name(authority.subject)}") from None

    def require_valid(self, now: datetime) -> None:
        """Raises AuthenticationFailed outside of its time."""
        if not self.not_before <= now <= self.not_after:
            raise AuthenticationFailed(f"the certificate is valid from {self.not_before} to {self.not_after}")


def parse(raw: bytes) -> Certificate:
    """Read a DER certificate. Raises DecodeError."""
    if len(raw) > MAX_SIZE:
        raise DecodeError(f"a certificate of {len(raw)} bytes, at most {MAX_SIZE} are read")
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # what the library only warns of is no certificate of a utility's
            found = x509.load_der_x509_certificate(raw)
            key, usage = found.public_key(), found.extensions.get_extension_for_class(x509.KeyUsage).value
            issuer, subject = _name(found.issuer), _name(found.subject)
            validity = found.not_valid_before_utc, found.not_valid_after_utc
            serial = found.serial_number
    except Exception as error:  # what the library raises for a mangled certificate is no small set
        raise DecodeError(f"no certificate in DER ({type(error).__name__})") from None
    suite = _CURVES.get(key.curve.name) if isinstance(key, ec.EllipticCurvePublicKey) else None
    if suite is None:
        raise DecodeError("the certificate's key is on neither P-256 nor P-384")
    assert isinstance(key, ec.EllipticCurvePublicKey)
    if usage.digital_signature is usage.key_agreement:
        raise DecodeError("the certificate is for neither digital signature nor key agreement, or for both")
    purpose = Purpose.SIGNING if usage.digital_signature else Purpose.AGREEMENT
    return Certificate(_title(subject), purpose, suite, suite.point(key), issuer, serial, *validity, raw)


def parse_request(raw: bytes) -> tuple[bytes, Suite, bytes]:
    """Read a DER certification request (PKCS #10): title, suite, the public key it proves to hold. DecodeError."""
    if len(raw) > MAX_SIZE:
        raise DecodeError(f"a certification request of {len(raw)} bytes, at most {MAX_SIZE} are read")
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = x509.load_der_x509_csr(raw)
            key, subject, holds = found.public_key(), _name(found.subject), found.is_signature_valid
    except Exception as error:
        raise DecodeError(f"no certification request that can be read ({type(error).__name__})") from None
    suite = _CURVES.get(key.curve.name) if isinstance(key, ec.EllipticCurvePublicKey) else None
    if suite is None or not holds:
        raise DecodeError("the certification request has no key on P-256 or P-384, or does not prove to hold it")
    assert isinstance(key, ec.EllipticCurvePublicKey)
    return _title(subject), suite, suite.point(key)


def public_of(raw: bytes, title: bytes, purpose: Purpose, suite: int) -> bytes:
    """A public key given as it is (x || y), or in a certificate. Raises DecodeError, AuthenticationFailed."""
    if len(raw) == 2 * SUITES[suite].width:
        SUITES[suite].check_public(raw)
        return raw
    certificate = parse(raw)
    certificate.require(title, purpose, suite)
    return certificate.public


def pair_of(private: Secret, raw: bytes, title: bytes, purpose: Purpose, suite: int, own: bytes = b"") -> KeyPair:
    """Our private key, and the public one (see `public_of`) of who has `title`; `own`: our certificate.

    Raises ValueError for a private key that is none, DecodeError, AuthenticationFailed.
    """
    SUITES[suite].check_private(private)
    public = public_of(raw, title, purpose, suite)
    return KeyPair(private, public, b"" if raw == public else raw, own)


def der(certificate: "x509.Certificate") -> bytes:
    from cryptography.hazmat.primitives import serialization

    return certificate.public_bytes(serialization.Encoding.DER)


def _name(name: "x509.Name") -> str:
    from cryptography.x509.oid import NameOID

    found = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found[0].value) if found else name.rfc4514_string()


def _title(common_name: str) -> bytes:
    try:
        title = bytes.fromhex(common_name)
    except ValueError:
        title = b""
    if len(title) != 8:
        raise DecodeError("the common name is no system title of 16 hexadecimal digits")
    return title
