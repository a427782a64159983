"""A certification authority for tests: it issues what a utility's would, under keys made up here."""

from datetime import UTC, datetime
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from dcu.certificates import Purpose, der

START, END = datetime(2025, 1, 1, tzinfo=UTC), datetime(2045, 1, 1, tzinfo=UTC)
_CURVES = {1: ec.SECP256R1(), 2: ec.SECP384R1()}


@cache
def _key(number):
    return ec.derive_private_key(0xA07 + number, _CURVES[number])


def _named(name):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _built(subject, public, number, serial, *extensions):
    builder = x509.CertificateBuilder(_named(f"test authority {number}"), _named(subject), public, serial, START, END)
    for extension in extensions:
        builder = builder.add_extension(extension, critical=True)
    return builder.sign(_key(number), hashes.SHA384() if number == 2 else hashes.SHA256())


def _usage(**what):
    every = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
             "key_cert_sign", "crl_sign", "encipher_only", "decipher_only")  # fmt: skip
    return x509.KeyUsage(**{use: what.get(use, False) for use in every})


@cache
def authority(suite):
    number = suite.number
    basic = x509.BasicConstraints(ca=True, path_length=0)
    return _built(f"test authority {number}", _key(number).public_key(), number, 1, basic, _usage(key_cert_sign=True))


def issued(title, suite, public, purpose, serial=7, *, uses=None):
    """A certificate (DER) of `title`'s key; uses: other ones than the purpose's own."""
    key = ec.EllipticCurvePublicKey.from_encoded_point(_CURVES[suite.number], b"\x04" + public)
    use = "digital_signature" if purpose is Purpose.SIGNING else "key_agreement"
    usage = _usage(**dict.fromkeys(uses or (use,), True))
    return der(_built(title.hex().upper(), key, suite.number, serial, usage))
