"""What the security suites bring from the world: certificates and certification requests."""

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from dcu import certificates
from dcu.certificates import Purpose
from dcu.suites import SUITES
from tests.cosem.certificates import issued
from tests.cosem.suite_keys import METER_TITLE, PRIVATE

from .engine import Target


def _request():
    key = ec.derive_private_key(7, ec.SECP256R1())  # made up
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, METER_TITLE.hex())])
    made = x509.CertificateSigningRequestBuilder(name).sign(key, hashes.SHA256())
    return made.public_bytes(serialization.Encoding.DER)


def certificate(data):
    found = certificates.parse(data)
    return found.purpose, found.suite.number


def request(data):
    return certificates.parse_request(data)[1].number


_ISSUED = tuple(
    issued(METER_TITLE, suite, suite.public(PRIVATE[suite.number][1]), purpose)
    for suite in SUITES[1:]
    for purpose in Purpose
)
TARGETS = (
    Target("certificate", certificate, _ISSUED, ("dcu.certificates.parse",), seconds=0.1),
    Target("certification-request", request, (_request(),), ("dcu.certificates.parse_request",), seconds=0.1),
)
