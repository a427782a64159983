"""TLS of the page: the utility's certificate, or one that the device makes for itself.

Source: RFC 8446 (TLS 1.3); RFC 5280 (certificates).
"""

import logging
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from dcu.durable import place
from dcu.errors import ConfigError

VALID = timedelta(days=3650)
_EPOCH = datetime(2026, 1, 1, tzinfo=UTC)  # a clock that lost its time must not shut us out

log = logging.getLogger(__name__)


def context(certificate: Path, key: Path) -> ssl.SSLContext:
    """TLS 1.3 with the certificate, which is made where there is none. Raises ConfigError."""
    if not certificate.exists():
        make_certificate(certificate, key)
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    try:
        made.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"{certificate}, {key}: no certificate with its key ({error.strerror or error}): put the utility's there, "
            "or remove both: the device then makes its own"
        ) from None
    return made


def make_certificate(certificate: Path, key: Path) -> None:
    """Sign a certificate for the key with that key; its fingerprint is logged, to be compared in the browser.

    A key that is there already (the power failed after it was made) is kept, else one on P-256 is made. ConfigError.
    """
    try:
        certificate.parent.mkdir(parents=True, exist_ok=True)
        private = _private(key)
        made = _self_signed(private)
        place(certificate, made.public_bytes(serialization.Encoding.PEM), 0o644)
    except OSError as error:
        raise ConfigError(f"{certificate}: cannot be written: {error.strerror or error}") from None
    log.warning("made a certificate; SHA-256 fingerprint %s", made.fingerprint(hashes.SHA256()).hex(":"))


def _private(path: Path) -> ec.EllipticCurvePrivateKey:
    """The key in `path`, made if there is none. Raises OSError, ConfigError."""
    if path.exists():
        try:
            found = serialization.load_pem_private_key(path.read_bytes(), None)
        except (ValueError, TypeError) as error:
            raise ConfigError(f"{path}: no private key in PEM without a password: {error}: remove it") from None
        if not isinstance(found, ec.EllipticCurvePrivateKey):
            raise ConfigError(f"{path}: a key without its certificate: put the certificate there, or remove the key")
        return found
    private = ec.generate_private_key(ec.SECP256R1())
    plain = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    place(path, plain, 0o600)
    return private


def _self_signed(private: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "grid-dcu")])
    now = datetime.now(UTC)
    names = x509.SubjectAlternativeName([x509.DNSName("grid-dcu"), x509.DNSName("localhost")])
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(min(now, _EPOCH))
        .not_valid_after(max(now, _EPOCH) + VALID)
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(private, hashes.SHA256())
    )
