"""Clients and meters of the Gurux Java library, made as the contexts of our own tests are."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from itertools import count
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from dcu.collect import associations
from dcu.collect.dialogue import converse
from dcu.cosem.apdu import Conformance
from dcu.cosem.association import SUPPORTED, Association, Authentication
from dcu.cosem.client import ClientSession
from dcu.cosem.exchange import Exchange, T
from dcu.cosem.hls import aes_ecb
from dcu.cosem.short_names import ShortNames
from dcu.credentials import KeyPair, MeterKeys, Secret
from dcu.link import tcp
from dcu.link.channel import StreamChannel
from dcu.link.hdlc import Address
from dcu.link.hdlc_channel import open_hdlc
from dcu.link.hdlc_client import Setup
from dcu.link.hdlc_parameters import Parameters
from dcu.model import AttributeRef, MethodRef
from dcu.streams import Channel
from tests.cosem.small_meter import CLIENT, CLIENT_TITLE, context_of, protection_of

from .door import Door
from .java import No, Program

JAVA = {
    Authentication.NONE: "NONE",
    Authentication.LOW: "LOW",
    Authentication.HIGH: "HIGH",
    **{
        kind: f"HIGH_{kind.name}"
        for kind in Authentication
        if kind not in (Authentication.NONE, Authentication.LOW, Authentication.HIGH)
    },
}
CURVES = {1: ec.SECP256R1(), 2: ec.SECP384R1()}
TEXT = AttributeRef.parse("1,0-0:96.1.1*255,2")  # of its meter: 3,000 octets


def attempts(*, signs: bool = True) -> Iterator[int]:
    """(gurux) A coordinate of a signature that begins with a zero byte is cut, and not verified: two in 256 fail."""
    return reversed(range(8 if signs else 1))


def dotted(ref: AttributeRef | MethodRef) -> str:
    """As the programs in Java name it."""
    number = ref.attribute if isinstance(ref, AttributeRef) else ref.method
    return f"{ref.class_id},{'.'.join(map(str, ref.obis.raw))},{number}"


def _pkcs8(suite: int, private: Secret) -> str:
    key = ec.derive_private_key(int.from_bytes(private.reveal(), "big"), CURVES[suite])
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.DER, form, serialization.NoEncryption()).hex()


def _spki(suite: int, public: bytes) -> str:
    key = ec.EllipticCurvePublicKey.from_encoded_point(CURVES[suite], b"\x04" + public)
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_bytes(serialization.Encoding.DER, form).hex()


def _words(context: str, kind: Authentication | None, held: MeterKeys, title: bytes) -> list[str]:
    usual, policy, _, _, _ = context_of(context)
    authentication = kind or usual
    given = [f"authentication={JAVA[authentication]}", f"suite={held.suite}", f"title={title.hex()}"]
    given += [f"guek={held.guek.reveal().hex()}", f"gak={held.gak.reveal().hex()}"]
    if policy.request:
        given.append("ciphered=")

    def pair(name: str, keys: KeyPair | None) -> None:
        if keys:
            given.append(f"{name}={_pkcs8(held.suite, keys.private)},{_spki(held.suite, keys.peer)}")

    if authentication is Authentication.ECDSA or protection_of(context)["signed"]:
        pair("signing", held.signing)
    pair("agreement", held.agreement)
    return given


class Client:
    """Its client, at our door; not associated before `open`."""

    def __init__(self, program: Program, door: Door, words: list[str]) -> None:
        self.say = program.say
        self.door = door
        self._words = words

    def open(self) -> None:
        """Raises No."""
        self.say("open", f"port={self.door.port}", *self._words)


@contextmanager
def visitor(
    program: Program,
    context: str,
    *words: str,
    names: ShortNames | None = None,
    kind: Authentication | None = None,
    hdlc: bool = False,
    conformance: Conformance = SUPPORTED,
    max_pdu: int = 0xFFFF,
) -> Iterator[Client]:
    """A client of its at a door of ours. words: as Given.java reads them; kind: another authentication than usual."""
    _, _, dedicated, held, _ = context_of(context)
    given = [*_words(context, kind, held, CLIENT_TITLE), *words]
    given += ["sn="] * bool(names) + ["hdlc="] * hdlc
    if dedicated:
        given.append(f"dedicated={bytes(range(len(held.guek))).hex()}")
    with Door(context, names, kind=kind, hdlc=hdlc, conformance=conformance, max_pdu=max_pdu) as door:
        try:
            yield Client(program, door, given)
        finally:
            with suppress(No):
                program.say("close")


@contextmanager
def client(program: Program, context: str, *words: str, **terms: Any) -> Iterator[Client]:
    """The same, associated. Raises No."""
    with visitor(program, context, *words, **terms) as it:
        it.open()
        yield it


class Visit:
    """Our client, in one association with its meter."""

    ciphered = True

    def __init__(self, session: ClientSession, channel: Channel, patience: float) -> None:
        self.session = session
        self.channel = channel
        self._patience = patience

    async def __call__(self, make: Callable[[ClientSession], Exchange[T]]) -> T:
        return await converse(make(self.session), self.channel, timeout=self._patience)


@asynccontextmanager
async def meter(
    program: Program,
    context: str,
    *words: str,
    kind: Authentication | None = None,
    short: bool = False,
    hdlc: Parameters | None = None,
    conformance: Conformance = SUPPORTED,
    max_pdu: int = 0xFFFF,
    patience: float = 5.0,
) -> AsyncIterator[Visit]:
    """A visit to a new meter, which has one only; afterwards the program says its `state`.

    words, kind: as for `visitor`. patience: seconds for an answer.
    """
    usual, policy, dedicated, held, meters = context_of(context)
    given = [*_words(context, kind, meters, held.system_title), f"client={CLIENT_TITLE.hex()}", *words]
    port = int(program.say("serve", *given, *["sn="] * short, *["hdlc="] * bool(hdlc)))
    terms = Association(
        CLIENT,
        1,
        kind or usual,
        held,
        CLIENT_TITLE,
        policy,
        dedicated,
        max_pdu,
        conformance,
        short=short,
        manufacturer=aes_ecb if usual is Authentication.HIGH else None,
        **protection_of(context),
    )
    stream = await tcp.connect("127.0.0.1", port)
    channel: Channel
    if hdlc:
        channel = await open_hdlc(stream, Setup(Address(CLIENT), Address(1), hdlc, timeout=2.0, retries=1))
    else:
        channel = StreamChannel(stream, client=CLIENT, server=1)
    visit = Visit(associations.session(terms, count(1).__next__, lossy=False), channel, patience)
    try:
        await visit(lambda session: session.associate())
        yield visit
    finally:
        await channel.close()
