"""The meter's security setup (class 64, version 1): what a client may do with its policy, keys and certificates.

It answers as a careful meter would: keys come wrapped under the master key or are agreed with a signed ephemeral key, a
policy is only strengthened, a certificate has to be of the meter's suite. New keys are for the associations that
follow; those that stand go on as they are.

Source: DLMS Blue Book (IEC 62056-6-2) class 64; Green Book 9.2.3.4.6, 9.2.6.
"""

from dataclasses import replace

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from dcu import certificates
from dcu.certificates import Purpose
from dcu.cosem import security_setup as setup
from dcu.cosem.axdr import Data
from dcu.cosem.security_setup import Entity, KeyId
from dcu.credentials import KeyPair, MeterKeys, Secret
from dcu.errors import AuthenticationFailed, DecodeError
from dcu.suites import SUITES
from neighbourhood import values
from neighbourhood.meter import Meter
from neighbourhood.objects import Attribute, Method, Right, Thing

MAX_CERTIFICATES = 16
_PURPOSES = {number: purpose for purpose, number in setup.KIND.items()}


class Refusal(ValueError):
    """The meter says no."""


def _parts(value: Data, count: int) -> tuple[Data, ...]:
    if not isinstance(value.value, tuple) or len(value.value) != count:
        raise ValueError(f"no structure of {count}")
    return value.value


def _number(value: Data) -> int:
    if isinstance(value.value, bool) or not isinstance(value.value, int):
        raise ValueError("no number")
    return value.value


def _bytes(value: Data) -> bytes:
    if not isinstance(value.value, bytes):
        raise ValueError("no octet-string")
    return value.value


def _activate(meter: Meter, client: int, value: Data) -> bytes | None:
    wanted = _number(value)
    if wanted & meter.policy != meter.policy or wanted & ~0xFC:
        raise Refusal("a policy is only strengthened")
    if setup.policy_of(wanted)[1] and meter.keys(client).signing is None:
        raise Refusal("there are no signing keys")
    meter.policy = wanted
    meter.reopen()
    return None


def _keys(value: Data) -> list[tuple[KeyId, bytes]]:
    if not isinstance(value.value, tuple) or not 1 <= len(value.value) <= len(KeyId):
        raise ValueError("no array of keys")
    return [(KeyId(_number(which)), _bytes(raw)) for which, raw in (_parts(item, 2) for item in value.value)]


def _with(keys: MeterKeys, which: KeyId, key: Secret) -> MeterKeys:
    if which is KeyId.UNICAST:
        return replace(keys, guek=key)
    if which is KeyId.AUTHENTICATION:
        return replace(keys, gak=key)
    return replace(keys, master=key) if which is KeyId.MASTER else replace(keys, broadcast=key)


def _transfer(meter: Meter, client: int, value: Data) -> bytes | None:
    keys = meter.keys(client)
    if keys.master is None:
        raise Refusal("there is no master key")
    suite, changed = SUITES[keys.suite], keys
    for which, wrapped in _keys(value):
        try:
            changed = _with(changed, which, suite.unwrap(keys.master, wrapped))
        except AuthenticationFailed as error:
            raise Refusal(str(error)) from None
    meter.rekey(client, changed)
    return None


def _agree(meter: Meter, client: int, value: Data) -> bytes | None:
    keys = meter.keys(client)
    if keys.signing is None:
        raise Refusal("there are no signing keys")
    suite, changed, answers = SUITES[keys.suite], keys, []
    for which, raw in _keys(value):
        public, signature = raw[: 2 * suite.width], raw[2 * suite.width :]
        try:
            suite.verify(keys.signing.peer, setup.signed_part(which, public), signature, "the client")
            private = suite.new_private()
            shared = suite.agree(private, public)
        except (AuthenticationFailed, DecodeError) as error:
            raise Refusal(str(error)) from None
        ours = suite.public(private)
        signed = suite.sign(keys.signing.private, setup.signed_part(which, ours))
        key = suite.derive(shared, setup.use_of(which), meter.client_titles.get(client, b""), keys.system_title)
        changed = _with(changed, which, key)
        answers.append(values.structure(values.enum(which), values.octets(ours + signed)))
    meter.rekey(client, changed)
    return values.array(answers)


def _generate(meter: Meter, client: int, value: Data) -> bytes | None:
    suite = SUITES[meter.keys(client).suite]
    if not suite.width:
        raise Refusal("suite 0 has no key pairs")
    meter.new_pairs[_PURPOSES[_number(value)]] = suite.new_private()
    return None


def _request(meter: Meter, client: int, value: Data) -> bytes | None:
    private = meter.new_pairs.get(_PURPOSES[_number(value)])
    if private is None:
        raise Refusal("no key pair was generated")
    curve = ec.SECP384R1() if meter.keys(client).suite == 2 else ec.SECP256R1()
    key = ec.derive_private_key(int.from_bytes(private.reveal(), "big"), curve)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, meter.system_title.hex().upper())])
    algorithm = hashes.SHA384() if meter.keys(client).suite == 2 else hashes.SHA256()
    made = x509.CertificateSigningRequestBuilder(name).sign(key, algorithm)
    return values.octets(made.public_bytes(serialization.Encoding.DER))


def _import(meter: Meter, client: int, value: Data) -> bytes | None:
    keys = meter.keys(client)
    try:
        found = certificates.parse(_bytes(value))
    except DecodeError as error:
        raise Refusal(str(error)) from None
    ours = found.title == meter.system_title
    pair = keys.signing if found.purpose is Purpose.SIGNING else keys.agreement
    if found.suite.number != keys.suite or pair is None or len(meter.certificates) >= MAX_CERTIFICATES:
        raise Refusal("a certificate of another suite, or one too many")
    if ours:
        private = meter.new_pairs.get(found.purpose)
        if private is None or found.suite.public(private) != found.public:
            raise Refusal("a certificate of a key that the meter has not")
        pair = KeyPair(private, pair.peer)
    elif found.title == meter.client_titles.get(client):
        pair = KeyPair(pair.private, found.public)
    entity = Entity.SERVER if ours else Entity.CLIENT
    meter.certificates[entity, found.purpose, found.title] = found.raw
    signs = found.purpose is Purpose.SIGNING
    meter.rekey(client, replace(keys, signing=pair) if signs else replace(keys, agreement=pair))
    return None


def _identified(meter: Meter, value: Data) -> tuple[Entity, Purpose, bytes]:
    kind, which = _parts(value, 2)
    if _number(kind) != 0:
        raise Refusal("certificates are named by entity here")
    entity, purpose, title = _parts(which, 3)
    found = Entity(_number(entity)), _PURPOSES[_number(purpose)], _bytes(title)
    if found not in meter.certificates:
        raise Refusal("no such certificate")
    return found


def _export(meter: Meter, _client: int, value: Data) -> bytes | None:
    return values.octets(meter.certificates[_identified(meter, value)])


def _remove(meter: Meter, _client: int, value: Data) -> bytes | None:
    del meter.certificates[_identified(meter, value)]
    return None


def _listed(meter: Meter, _client: int) -> bytes:
    lines = []
    for (entity, purpose, title), raw in meter.certificates.items():
        found = certificates.parse(raw)
        size = (found.serial.bit_length() + 7) // 8
        texts = found.serial.to_bytes(size, "big"), found.issuer.encode(), title.hex().upper().encode(), b""
        lines.append(
            values.structure(values.enum(entity), values.enum(setup.KIND[purpose]), *map(values.octets, texts))
        )
    return values.array(lines)


SECURITY_SETUP = Thing(
    setup.CLASS,
    1,
    setup.CURRENT,
    (
        Attribute(2, lambda m, _: values.enum(m.policy)),
        Attribute(3, lambda m, c: values.enum(m.keys(c).suite)),
        Attribute(4, lambda m, c: values.octets(m.client_titles.get(c, b""))),
        Attribute(5, lambda m, _: values.octets(m.system_title)),
        Attribute(6, _listed),
    ),
    tuple(
        Method(number, call=call, right=Right.SECURED)
        for number, call in (
            (setup.ACTIVATE, _activate),
            (setup.TRANSFER, _transfer),
            (setup.AGREE, _agree),
            (setup.GENERATE, _generate),
            (setup.REQUEST, _request),
            (setup.IMPORT, _import),
            (setup.EXPORT, _export),
            (setup.REMOVE, _remove),
        )
    ),
)
