"""jDLMS (org.openmuc:jdlms 1.8.0, GPL-3.0): a meter with our client at it, and a client at our door.

Keys are the Green Book's examples.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import UTC, datetime
from itertools import count
from typing import NamedTuple

from dcu.collect.dialogue import converse
from dcu.cosem import axdr
from dcu.cosem.apdu import Conformance
from dcu.cosem.association import AUTHENTICATED_ENCRYPTED, SUPPORTED, Association, Authentication
from dcu.cosem.client import ClientSession
from dcu.cosem.exchange import Exchange, T
from dcu.cosem.selection import Selection
from dcu.cosem.short_names import ShortNames
from dcu.credentials import MeterKeys, Secret
from dcu.link import tcp
from dcu.link.channel import StreamChannel
from dcu.model import AttributeRef, MethodRef, Obis
from tests.cosem.small_meter import CLIENT, CLIENT_TITLE, context_of

from .door import Door
from .java import No, Program

GUEK = Secret(bytes.fromhex("000102030405060708090A0B0C0D0E0F"))  # Green Book example keys: published, not secret
GAK = Secret(bytes.fromhex("D0D1D2D3D4D5D6D7D8D9DADBDCDDDEDF"))
METER_TITLE = b"ISK" + (9999).to_bytes(5, "big")
OUR_TITLE = b"DCU\x00\x00\x00\x00\x01"
START = datetime(2026, 1, 1, tzinfo=UTC)

ENERGY = AttributeRef(3, Obis.parse("1-0:1.8.0*255"), 2)
SERIAL = AttributeRef(1, Obis.parse("0-0:96.1.0*255"), 2)
LOAD_PROFILE = AttributeRef(7, Obis.parse("1-0:99.1.0*255"), 2)
RELAY = Obis.parse("0-0:96.3.10*255")
CLOCK = AttributeRef(8, Obis.parse("0-0:1.0.0*255"), 2)
ECHO = MethodRef(9, Obis.parse("0-0:10.0.100*255"), 1)  # what it is given, a hundred times over
SECURED = "gmac, authenticated and encrypted"

# jDLMS answers a protected RLRQ with a bare RLRE: its release is left unprotected (`protected_release=False`).
ASSOCIATIONS = {
    "none": Association(16, 1),
    "low": Association(17, 1, Authentication.LOW, MeterKeys(METER_TITLE, GUEK, GAK, Secret(b"12345678"))),
    SECURED: Association(
        18,
        1,
        Authentication.GMAC,
        MeterKeys(METER_TITLE, GUEK, GAK),
        OUR_TITLE,
        AUTHENTICATED_ENCRYPTED,
        protected_release=False,
    ),
}


class Ports(NamedTuple):
    """Where it listens: for the wrapper, for HDLC, and for the wrapper by short names."""

    wrapper: int
    hdlc: int
    short: int


counter = count(1).__next__  # one meter process for all: its counters never go back


class Reader:
    """Our client, in one association with it."""

    def __init__(self, client: ClientSession, channel: StreamChannel) -> None:
        self.client = client
        self.channel = channel

    async def do(self, exchange: Exchange[T]) -> T:
        return await converse(exchange, self.channel, timeout=20)

    async def get(self, attribute: AttributeRef, selection: Selection | None = None) -> bytes:
        return await self.do(self.client.get(attribute, selection))

    async def value(self, attribute: AttributeRef) -> object:
        return axdr.decode(await self.get(attribute)).value

    async def act(self, method: MethodRef) -> None:
        await self.do(self.client.action(method, axdr.encode(axdr.i8(0))))


@asynccontextmanager
async def session(port: int, association: Association) -> AsyncIterator[Reader]:
    channel = StreamChannel(
        await tcp.connect("127.0.0.1", port), client=association.client_sap, server=association.server_sap
    )
    reader = Reader(ClientSession(association, counter=counter), channel)
    try:
        await reader.do(reader.client.associate())
        yield reader
        await reader.do(reader.client.release())
    finally:
        await channel.close()


@contextmanager
def visitor(
    program: Program,
    context: str,
    names: ShortNames | None = None,
    *,
    conformance: Conformance = SUPPORTED,
    max_pdu: int = 0xFFFF,
    takes: int = 0,
) -> Iterator[Door]:
    """Its client, associated at our door. takes: bytes; it says 65,535 of itself, and cannot be told to take less."""
    authentication, policy, _, held, _ = context_of(context)
    words = [f"client={CLIENT}", *["sn="] * bool(names)]
    if authentication is Authentication.LOW:
        assert held.password
        words.append(f"password={held.password.reveal().decode()}")
    if policy.request:
        words += [f"title={CLIENT_TITLE[:3].decode()}:{int.from_bytes(CLIENT_TITLE[3:], 'big')}", "counter=1"]
        words += [f"guek={held.guek.reveal().hex()}", f"gak={held.gak.reveal().hex()}"]
    with Door(context, names, conformance=conformance, max_pdu=max_pdu) as door:
        try:
            program.say("open", f"port={door.port}", *words)
            if takes:
                door.server._links[CLIENT].client_max_pdu = takes
            yield door
        finally:
            with suppress(No):
                program.say("close")
