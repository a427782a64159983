"""A small meter for tests: a register, a relay, a limit that can be written, a profile; and sessions that meet it."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import count
from typing import Any

from dcu.cosem import apdu, axdr, data
from dcu.cosem.apdu import ActionResult, Conformance, DataAccessResult
from dcu.cosem.application import Denied
from dcu.cosem.association import (
    AUTHENTICATED_ENCRYPTED,
    SUPPORTED,
    UNPROTECTED,
    Association,
    Authentication,
    Floors,
    ServerAssociation,
)
from dcu.cosem.client import ClientSession
from dcu.cosem.exchange import Exchange, T, drive
from dcu.cosem.hls import aes_ecb
from dcu.cosem.security import KEYED, Framing, Policy
from dcu.cosem.selection import Selection
from dcu.cosem.server import ServerSession
from dcu.credentials import MeterKeys
from dcu.model import AttributeRef, MethodRef, Obis

from .suite_keys import CLIENT_TITLE, keys

CLIENT = 1
KEYS, _ = keys(0)
METER_TITLE = KEYS.system_title  # the Green Book's examples: published, not secret

ENERGY = AttributeRef(3, Obis.parse("1-0:1.8.0*255"), 2)
SCALER = AttributeRef(3, Obis.parse("1-0:1.8.0*255"), 3)
LIMIT = AttributeRef(1, Obis.parse("0-0:94.91.0*255"), 2)
PROFILE = AttributeRef(7, Obis.parse("1-0:99.1.0*255"), 2)
MISSING = AttributeRef(3, Obis.parse("1-0:9.9.9*255"), 2)
BROKEN = AttributeRef(1, Obis.parse("0-0:96.99.0*255"), 2)
CONNECTED = AttributeRef(70, Obis.parse("0-0:96.3.10*255"), 2)
DISCONNECT = MethodRef(70, Obis.parse("0-0:96.3.10*255"), 1)
RECONNECT = MethodRef(70, Obis.parse("0-0:96.3.10*255"), 2)
ENERGY_NOW = axdr.encode(data.u32(123_456_789))


class SmallMeter:
    """`done` is what it did: the writes and calls, in order."""

    def __init__(self, rows: int = 40) -> None:
        self.values = {
            ENERGY: ENERGY_NOW,
            SCALER: axdr.encode(data.structure(data.i8(0), data.enum(30))),
            LIMIT: axdr.encode(data.u32(1000)),
            CONNECTED: axdr.encode(data.boolean(True)),
            PROFILE: axdr.encode(data.array(data.structure(data.u32(i), data.u16(i % 100)) for i in range(rows))),
        }
        self.done: list[tuple[object, bytes | None]] = []
        self.asked: list[tuple[AttributeRef, Selection | None]] = []

    def get(self, client_sap: int, attribute: AttributeRef, selection: Selection | None) -> bytes:
        self.asked.append((attribute, selection))
        if attribute == BROKEN:
            raise ZeroDivisionError
        if attribute not in self.values:
            raise Denied(DataAccessResult.OBJECT_UNDEFINED)
        return self.values[attribute]

    def set(self, client_sap: int, attribute: AttributeRef, selection: Selection | None, value: bytes) -> None:
        if attribute != LIMIT:
            raise Denied(DataAccessResult.READ_WRITE_DENIED)
        self.done.append((attribute, value))
        self.values[attribute] = value

    def action(self, client_sap: int, method: MethodRef, parameter: bytes | None) -> bytes | None:
        if method not in (DISCONNECT, RECONNECT):
            raise Denied(ActionResult.OBJECT_UNDEFINED)
        self.done.append((method, parameter))
        self.values[CONNECTED] = axdr.encode(data.boolean(method == RECONNECT))
        return axdr.encode(data.i8(0))


CONTEXTS: Mapping[str, tuple[Authentication, Policy, bool]] = {
    "none": (Authentication.NONE, UNPROTECTED, False),
    "low": (Authentication.LOW, UNPROTECTED, False),
    "low, ciphered": (Authentication.LOW, AUTHENTICATED_ENCRYPTED, False),
    "gmac, plain services": (Authentication.GMAC, UNPROTECTED, False),
    "gmac, global key": (Authentication.GMAC, AUTHENTICATED_ENCRYPTED, False),
    "gmac, dedicated key": (Authentication.GMAC, AUTHENTICATED_ENCRYPTED, True),
}
SUITE_CONTEXTS: Mapping[str, tuple[Authentication, Policy, bool, int]] = {  # as CONTEXTS, and the security suite
    **{
        f"{kind.name.lower()}, {how}": (kind, policy, False, 0)
        for kind in (Authentication.HIGH, Authentication.MD5, Authentication.SHA1, Authentication.SHA256)
        for how, policy in (("plain services", UNPROTECTED), ("global key", AUTHENTICATED_ENCRYPTED))
    },
    **{
        f"{kind.name.lower()}, suite {suite}, {how}": (kind, policy, dedicated, suite)
        for suite in (1, 2)
        for kind in (Authentication.GMAC, Authentication.ECDSA)
        for how, policy, dedicated in (
            ("plain services", UNPROTECTED, False),
            ("global key", AUTHENTICATED_ENCRYPTED, False),
            ("dedicated key", AUTHENTICATED_ENCRYPTED, True),
        )
    },
}
GENERAL_CONTEXTS: Mapping[str, tuple[Authentication, int, Framing, bool]] = {  # authenticated and encrypted
    **{
        f"suite {suite}, {framing.name.lower()}{', signed' if signed else ''}": (kind, suite, framing, signed)
        for suite, kind in ((0, Authentication.GMAC), (1, Authentication.ECDSA), (2, Authentication.GMAC))
        for framing in (Framing.GLOBAL, Framing.GENERAL_GLOBAL, *KEYED)
        for signed in (False, True)
        if suite or not (signed or framing in (Framing.ONE_PASS, Framing.STATIC))
    }
}
DEDICATED_CONTEXTS: Mapping[str, tuple[Authentication, int, Framing, bool]] = {  # general-ded-ciphering
    f"suite {suite}, general_global, {'signed, ' if signed else ''}dedicated key": (
        kind,
        suite,
        Framing.GENERAL_GLOBAL,
        signed,
    )
    for suite, kind in ((0, Authentication.GMAC), (1, Authentication.ECDSA), (2, Authentication.GMAC))
    for signed in (False, True)
    if suite or not signed
}
EVERY = (*CONTEXTS, *SUITE_CONTEXTS)
# Those of general protection want room: a signature has 96 bytes, a key 192
WHOLE = (*EVERY, *GENERAL_CONTEXTS, *DEDICATED_CONTEXTS)
SMALL = 160  # bytes that either side takes: everything of interest comes in blocks
GENERAL = SUPPORTED | Conformance.GENERAL_BLOCK_TRANSFER


def least(context: str) -> int:
    """As little as both sides can take at a time: signatures and agreed keys have some 400 bytes."""
    return SMALL if context in EVERY else 700


def text(size: int) -> bytes:
    """An octet-string in which no part looks like another."""
    return axdr.encode(data.octets(bytes(at % 251 for at in range(size))))


def protection_of(name: str) -> dict[str, Any]:
    """framing and signed, of both sides."""
    _, _, framing, signed = (GENERAL_CONTEXTS | DEDICATED_CONTEXTS).get(name, (None, 0, Framing.GLOBAL, False))
    return {"framing": framing, "signed": signed}


def offered(name: str) -> Conformance:
    """What each side says that it can do, by logical names."""
    framing, signed = protection_of(name).values()
    return SUPPORTED | Conformance.GENERAL_PROTECTION if signed or framing is not Framing.GLOBAL else SUPPORTED


def context_of(name: str) -> tuple[Authentication, Policy, bool, MeterKeys, MeterKeys]:
    """Authentication, policy, dedicated; the client's keys, the meter's."""
    if name in CONTEXTS:
        return *CONTEXTS[name], KEYS, KEYS
    if name in GENERAL_CONTEXTS or name in DEDICATED_CONTEXTS:
        authentication, suite, _, _ = (GENERAL_CONTEXTS | DEDICATED_CONTEXTS)[name]
        return authentication, AUTHENTICATED_ENCRYPTED, name in DEDICATED_CONTEXTS, *keys(suite)
    authentication, policy, dedicated, suite = SUITE_CONTEXTS[name]
    return authentication, policy, dedicated, *keys(suite)


SECURED = ("gmac, global key", "gmac, dedicated key")


def association(context: str, *, max_pdu: int = 0xFFFF) -> Association:
    authentication, policy, dedicated, held, _ = context_of(context)
    maker = aes_ecb if authentication is Authentication.HIGH else None
    return Association(
        CLIENT,
        1,
        authentication,
        held,
        CLIENT_TITLE,
        policy,
        dedicated,
        max_pdu=max_pdu,
        manufacturer=maker,
        **protection_of(context),
    )


def server_terms(context: str) -> ServerAssociation:
    authentication, policy, _, _, held = context_of(context)
    maker = aes_ecb if authentication is Authentication.HIGH else None
    return ServerAssociation(authentication, held, None, policy, manufacturer=maker, **protection_of(context))


ASSOCIATED = {  # our context's authentication, as docs/conformance.md names it
    Authentication.NONE: "without authentication",
    Authentication.LOW: "LLS",
    Authentication.HIGH: "HLS 2 (AES-128, a maker's)",
    Authentication.MD5: "HLS 3 MD5",
    Authentication.SHA1: "HLS 4 SHA-1",
    Authentication.GMAC: "HLS 5 GMAC",
    Authentication.SHA256: "HLS 6 SHA-256",
    Authentication.ECDSA: "HLS 7 ECDSA",
}
FRAMED = {
    Framing.GLOBAL: "glo-",
    Framing.GENERAL_GLOBAL: "general-glo-ciphering",
    Framing.IDENTIFIED: "general-ciphering, identified key",
    Framing.WRAPPED: "general-ciphering, wrapped key",
    Framing.ONE_PASS: "general-ciphering, C(1e,1s)",
    Framing.STATIC: "general-ciphering, C(0e,2s)",
}


def association_row(context: str) -> str:
    """The context's row in docs/conformance.md, section Association."""
    authentication, _, _, held, _ = context_of(context)
    signs = f", suite {held.suite}" if authentication is Authentication.ECDSA else ""
    return ASSOCIATED[authentication] + signs


def protection_row(context: str) -> str:
    """The context's row, section Protection."""
    _, policy, dedicated, held, _ = context_of(context)
    if not policy.request:
        return "none"
    framing, signed = protection_of(context).values()
    kind = FRAMED[framing]
    if dedicated:
        kind = {"glo-": "ded-", "general-glo-ciphering": "general-ded-ciphering"}[kind]
    return f"{kind}{', general-signing' if signed else ''}, suite {held.suite}"


def services_row(context: str) -> str:
    """The context's row in docs/conformance.md, section Services."""
    return f"{association_row(context)}; {protection_row(context)}"


class Pair:
    """A client and the small meter, joined by nothing but calls. `sent` and `answered` keep every frame."""

    def __init__(
        self,
        context: str = "gmac, global key",
        *,
        lossy: bool = False,
        max_pdu: int = 0xFFFF,
        floors: Floors | None = None,
        client_counter: Callable[[], int] | None = None,
        random: Callable[[int], bytes] | None = None,
    ) -> None:
        self.meter = SmallMeter()
        more = {} if random is None else {"random": random}
        self.server = ServerSession(
            self.meter,
            {CLIENT: server_terms(context)},
            counter=count(5000, 10).__next__,  # room for a forger between them
            floors=floors,
            lossy=lossy,
        )
        self.client = ClientSession(
            association(context, max_pdu=max_pdu), counter=client_counter or count(1).__next__, lossy=lossy, **more
        )
        self.sent: list[bytes] = []
        self.answered: list[bytes | None] = []

    def answer(self, frame: bytes) -> bytes | None:
        self.sent.append(frame)
        self.answered.append(self.server.receive(CLIENT, frame))
        return self.answered[-1]

    def run(self, exchange: Exchange[T]) -> T:
        return drive(exchange, self.answer)

    def associated(self) -> "Pair":
        self.run(self.client.associate())
        return self


def small(context="gmac, global key", *, max_pdu=0, conformance=SUPPORTED, lossy=False):
    """A pair whose meter, and whose client, take `max_pdu` bytes."""
    max_pdu = max_pdu or least(context)
    pair = Pair(context, max_pdu=max_pdu, lossy=lossy)
    terms = replace(pair.server._associations[CLIENT], max_pdu=max_pdu, conformance=conformance)
    pair.server._associations = {CLIENT: terms}
    return pair.associated()


def plain(pair, request):
    """What the server answers to a request of an unprotected association."""
    answer = pair.answer(apdu.encode(request))
    return None if answer is None else apdu.decode(answer)
