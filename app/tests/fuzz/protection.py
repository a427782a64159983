"""What the security suites bring from the world: certificates, certification requests, general protection."""

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from dcu import certificates
from dcu.certificates import Purpose
from dcu.cosem import general, security
from dcu.cosem.apdu import short
from dcu.cosem.association_setup import decode_users
from dcu.cosem.push import PushReceiver, PushSource
from dcu.cosem.security import KEYED, Cipher, Framing, Protection
from dcu.cosem.security_setup import decode_certificates
from dcu.cosem.short_names import ShortNames, ShortObject, decode_short_names
from dcu.errors import DecodeError, KeysError, SecurityError
from dcu.model import Obis
from dcu.suites import SUITES
from tests.cosem.certificates import issued
from tests.cosem.suite_keys import CLIENT_TITLE, METER_TITLE, PRIVATE, keys

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


def protected(data):
    """A frame of the general kinds, taken apart and then opened with the right keys."""
    if data[:1] == bytes((general.SIGNING,)):
        signed = general.parse_signed(data)
        general.verify(METER, signed)
        return "signed"
    ciphered = general.parse(data)
    return ciphered.framing, len(general.unprotect(METER, ciphered, required=Protection.NONE))


_ISSUED = tuple(
    issued(METER_TITLE, suite, suite.public(PRIVATE[suite.number][1]), purpose)
    for suite in SUITES[1:]
    for purpose in Purpose
)
CLIENT, METER = keys(1)
_HEADER = general.Header(bytes(8), CLIENT_TITLE, METER_TITLE)
_GET = bytes.fromhex("C001C100030100010800FF0200")
_PROTECTED = (
    *(
        general.protect(CLIENT, _GET, framing=framing, header=_HEADER, protection=Protection.BOTH, counter=7)
        for framing in KEYED
    ),
    general.sign(CLIENT, _GET, _HEADER),
)
_SECURITY = (DecodeError, SecurityError)
_NAMES = ShortNames([ShortObject(0x0100, 3, 0, Obis.parse("1-0:1.8.0*255"))])
_SHORT = tuple(
    bytes.fromhex(raw)
    for raw in (
        "0501020108",
        "0502020108040308021105",
        "0c020011010104",
        "0601020208011105",
        "0d02000103",
        "180001020108011101",
        "060107000001010903020304",
        "0501060100020401040420",
        "0c0102000001020100",
        "0c01030001",
        "0d01020001",
    )
)


def short_service(data):
    return type(short.decode(data)).__name__


_LISTED = (bytes.fromhex("010102061600160009010709017409016d0900"),)


_USERS = bytes.fromhex("0101020211070A04416E6E61")


def users(data):
    return len(decode_users(data))


def push(data):
    """A push in general protection, from a meter that signs, or agrees on a key for each."""
    source = PushSource(CLIENT, framing=Framing.STATIC)
    if data[:1] == bytes((general.SIGNING,)):
        source = PushSource(CLIENT, signed=True)
    return PushReceiver(lambda title: source, lambda title: -1, title=CLIENT_TITLE).receive(data).protection


_FROM_METER = general.Header(bytes(8), METER_TITLE, CLIENT_TITLE)
_NEWS = bytes.fromhex("0F00000001000600000001")
_GLOBAL = security.protect(
    Cipher(METER.guek, METER.gak, suite=1),
    _NEWS,
    protection=Protection.BOTH,
    title=METER_TITLE,
    counter=7,
    framing=Framing.GENERAL_GLOBAL,
)
_PUSHES = (
    general.protect(METER, _NEWS, framing=Framing.STATIC, header=_FROM_METER, protection=Protection.BOTH, counter=7),
    general.sign(METER, _GLOBAL, _FROM_METER),
)


def listed(data):
    return len(decode_certificates(data))


def short_list(data):
    return len(decode_short_names(data).objects)


TARGETS = (
    Target("user-list", users, (_USERS,), ("dcu.cosem.association_setup.decode_users",)),
    Target("push-general", push, _PUSHES, allowed=(DecodeError, SecurityError, KeysError), seconds=0.1),
    Target("short-names", short_service, _SHORT, ("dcu.cosem.apdu.short.decode",)),
    Target("certificate-list", listed, _LISTED, ("dcu.cosem.security_setup.decode_certificates",)),
    Target("short-object-list", short_list, (_NAMES.encode(),), ("dcu.cosem.short_names.decode_short_names",)),
    Target(
        "general-protection",
        protected,
        _PROTECTED,
        ("dcu.cosem.general.parse", "dcu.cosem.general.parse_signed", "dcu.cosem.general.unprotect"),
        _SECURITY,
        seconds=0.1,
    ),
    Target("certificate", certificate, _ISSUED, ("dcu.certificates.parse",), seconds=0.1),
    Target("certification-request", request, (_request(),), ("dcu.certificates.parse_request",), seconds=0.1),
)
