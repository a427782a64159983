"""Security setup (class 64, version 1) as a client uses it: activate a policy, change keys, manage certificates.

Each is an exchange over an open association. New keys are for the associations that follow; who changed them keeps them
before he closes this one. What the meter answers is proven by the association, and the keys of key_agreement by the
meter's signature over each of its ephemeral keys as well.

Source: DLMS Blue Book (IEC 62056-6-2) class 64; Green Book 9.2.3.4.6 (C(2e,0s), key wrap), 9.2.6.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

from dcu import certificates
from dcu.certificates import Certificate, Purpose
from dcu.cosem import axdr, data
from dcu.cosem.asking import Asking
from dcu.cosem.association import Association
from dcu.cosem.axdr import Data
from dcu.cosem.exchange import Exchange
from dcu.cosem.security import Policy, Protection
from dcu.credentials import MeterKeys, Secret
from dcu.errors import AuthenticationFailed, DecodeError, MalformedAnswer, PolicyViolated
from dcu.model import MethodRef, Obis
from dcu.suites import SUITES, Suite, Use

CLASS = 64
CURRENT = Obis(bytes((0, 0, 43, 0, 0, 255)))
ACTIVATE, TRANSFER, AGREE, GENERATE, REQUEST, IMPORT, EXPORT, REMOVE = range(1, 9)  # the methods
_REQUEST_BITS, _RESPONSE_BITS = 2, 5  # where authenticated, encrypted and signed begin in a policy


class KeyId(IntEnum):
    UNICAST = 0  # GUEK
    BROADCAST = 1
    AUTHENTICATION = 2  # GAK
    MASTER = 3


class Entity(IntEnum):
    SERVER = 0
    CLIENT = 1
    AUTHORITY = 2
    OTHER = 3


_ENTITIES = range(len(Entity))
KIND = {Purpose.SIGNING: 0, Purpose.AGREEMENT: 1}  # certificate_type, and the key pair's


@dataclass(frozen=True, slots=True)
class Listed:
    """A line of the attribute `certificates`."""

    entity: Entity
    kind: int
    serial: bytes
    issuer: bytes
    subject: bytes


def policy_bits(policy: Policy, *, signed: bool = False) -> int:
    """The security policy of version 1."""
    request, response = (protection.value | (4 if signed else 0) for protection in (policy.request, policy.response))
    return request << _REQUEST_BITS | response << _RESPONSE_BITS


def policy_of(bits: int) -> tuple[Policy, bool]:
    """What the bits of version 1 ask for, and whether either direction is signed."""
    request, response = (Protection(bits >> at & Protection.BOTH) for at in (_REQUEST_BITS, _RESPONSE_BITS))
    return Policy(request, response), bool(bits & (4 << _REQUEST_BITS | 4 << _RESPONSE_BITS))


def use_of(key: KeyId) -> Use:
    return Use.WRAPPING if key is KeyId.MASTER else Use.CIPHERING


def signed_part(key: KeyId, public: bytes) -> bytes:
    """What is signed of an ephemeral key: the key's identifier and the key."""
    return bytes((key,)) + public


class SecuritySetup:
    """The meter's object, over `session`, in its association's words."""

    def __init__(self, session: Asking, obis: Obis = CURRENT) -> None:
        self._session = session
        self._obis = obis

    # --- policy and keys

    def activate(self, policy: Policy, *, signed: bool = False) -> Exchange[None]:
        """Ask for a policy, never one below what this association is protected with. Raises PolicyViolated."""
        held = self._association.policy
        if not (policy.request.covers(held.request) and policy.response.covers(held.response)):
            raise PolicyViolated("a security policy is strengthened, never weakened: that is the meter's maker's to do")
        yield from self._call(ACTIVATE, data.enum(policy_bits(policy, signed=signed)))

    def transfer(self, keys: Mapping[KeyId, Secret]) -> Exchange[None]:
        """Send new keys, each wrapped under the master key. Raises ValueError without it."""
        held, suite = self._held()
        if held.master is None:
            raise ValueError("key transfer needs the master key, which wraps the new ones")
        for key in keys.values():
            if len(key) != suite.key_size:
                raise ValueError(f"a key of {suite} has {suite.key_size} bytes")
        self._require_secret()
        master = held.master
        yield from self._call(
            TRANSFER,
            data.array(
                data.structure(data.enum(which), data.octets(suite.wrap(master, key))) for which, key in keys.items()
            ),
        )

    def agree(
        self, wanted: Sequence[KeyId], new_private: Callable[[], Secret] | None = None
    ) -> Exchange[dict[KeyId, Secret]]:
        """Agree on new keys, C(2e,0s): both sides' ephemeral keys, signed. Return them: the meter has them by now."""
        held, suite = self._held()
        if held.signing is None:
            raise ValueError("key agreement needs signing keys: security suite 1 or 2")
        ours = {which: (new_private or suite.new_private)() for which in dict.fromkeys(wanted)}
        sent = []
        for which, private in ours.items():
            public = suite.public(private)
            signature = suite.sign(held.signing.private, signed_part(which, public))
            sent.append(data.structure(data.enum(which), data.octets(public + signature)))
        answer = yield from self._call(AGREE, data.array(sent))
        theirs = _key_data(answer)
        if [which for which, _ in theirs] != list(ours):
            raise MalformedAnswer("key agreement: the meter answered for other keys than were asked for")
        return {which: self._agreed(held, suite, which, ours[which], raw) for which, raw in theirs}

    def _agreed(self, held: MeterKeys, suite: Suite, which: KeyId, private: Secret, raw: bytes) -> Secret:
        assert held.signing
        public, signature = raw[: 2 * suite.width], raw[2 * suite.width :]
        suite.verify(held.signing.peer, signed_part(which, public), signature, "the meter, over its ephemeral key")
        if public == suite.public(private):
            raise AuthenticationFailed("key agreement: our own ephemeral key came back")
        try:
            shared = suite.agree(private, public)
        except DecodeError as error:
            raise MalformedAnswer(f"key agreement: {error}") from None
        return suite.derive(shared, use_of(which), self._association.client_title, held.system_title)

    # --- certificates

    def generate_pair(self, purpose: Purpose) -> Exchange[None]:
        """Have the meter make a key pair; it is used once its certificate has been imported."""
        yield from self._call(GENERATE, data.enum(KIND[purpose]))

    def request_certificate(self, purpose: Purpose) -> Exchange[bytes]:
        """The meter's certification request (PKCS #10, DER) for its new pair: of its title, and it holds the key."""
        held, suite = self._held()
        raw = _octets((yield from self._call(REQUEST, data.enum(KIND[purpose]))))
        try:
            title, found, _ = certificates.parse_request(raw)
        except DecodeError as error:
            raise MalformedAnswer(str(error)) from None
        if title != held.system_title or found.number != suite.number:
            raise AuthenticationFailed("the certification request is of another meter, or of another suite")
        return raw

    def import_certificate(self, raw: bytes) -> Exchange[None]:
        """Raises DecodeError for what is none: nothing is sent then."""
        certificates.parse(raw)
        yield from self._call(IMPORT, data.octets(raw))

    def export_certificate(self, entity: Entity, purpose: Purpose, title: bytes) -> Exchange[Certificate]:
        """Raises AuthenticationFailed where another's comes."""
        raw = _octets((yield from self._call(EXPORT, by_entity(entity, purpose, title))))
        try:
            found = certificates.parse(raw)
        except DecodeError as error:
            raise MalformedAnswer(str(error)) from None
        found.require(title, purpose, self._held()[1].number)
        return found

    def remove_certificate(self, entity: Entity, purpose: Purpose, title: bytes) -> Exchange[None]:
        yield from self._call(REMOVE, by_entity(entity, purpose, title))

    # --- what they share

    @property
    def _association(self) -> Association:
        return self._session.association

    def _held(self) -> tuple[MeterKeys, Suite]:
        keys = self._association.keys
        if keys is None:
            raise ValueError("an association without keys")
        return keys, SUITES[keys.suite]

    def _require_secret(self) -> None:
        """A wrapped key is safe anywhere; that it is the meter which took it, only a protected answer says."""
        if not self._association.policy.response.authentic:
            raise PolicyViolated("keys are changed in an association whose answers are authenticated")

    def _call(self, method: int, parameter: Data) -> Exchange[bytes | None]:
        return (yield from self._session.action(MethodRef(CLASS, self._obis, method), axdr.encode(parameter)))


def by_entity(entity: Entity, purpose: Purpose, title: bytes) -> Data:
    """certificate_identification, by entity."""
    return data.structure(data.enum(0), data.structure(data.enum(entity), data.enum(KIND[purpose]), data.octets(title)))


def decode_certificates(raw: bytes) -> tuple[Listed, ...]:
    """Read the attribute `certificates`. Raises DecodeError."""
    found = []
    for item in _elements(axdr.decode(raw)):
        match [part.value for part in _elements(item)]:
            case [int(entity), int(kind), bytes(serial), bytes(issuer), bytes(subject), *_] if entity in _ENTITIES:
                found.append(Listed(Entity(entity), kind, serial, issuer, subject))
            case _:
                raise DecodeError("a line of the certificates is not entity, type, serial, issuer and subject")
    return tuple(found)


def _key_data(raw: bytes | None) -> list[tuple[KeyId, bytes]]:
    try:
        items = [[part.value for part in _elements(item)] for item in _elements(axdr.decode(raw or b""))]
        return [(KeyId(which), key) for which, key in items if isinstance(key, bytes) and isinstance(which, int)]
    except (DecodeError, ValueError):
        raise MalformedAnswer("key agreement: the meter's key data have not the form that they must") from None


def _octets(raw: bytes | None) -> bytes:
    try:
        value = axdr.decode(raw or b"").value
    except DecodeError:
        value = None
    if not isinstance(value, bytes):
        raise MalformedAnswer("the meter returned no octet-string")
    return value


def _elements(value: Data) -> tuple[Data, ...]:
    if not isinstance(value.value, tuple):
        raise DecodeError("no array or structure where one is due")
    return value.value
