"""Our client reads a meter made of jDLMS (org.openmuc:jdlms, GPL-3.0), a stack that shares nothing with ours.

The meter is ci/interop/jdlms, built with Maven and run as a program of its own. Its keys are the Green Book's examples.
"""

import os
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import pytest

from dcu.collect.dialogue import converse
from dcu.cosem import axdr, profile
from dcu.cosem.association import AUTHENTICATED_ENCRYPTED, Association, Authentication
from dcu.cosem.client import ClientSession
from dcu.cosem.datetimes import CosemDateTime, TimeZoneRule
from dcu.cosem.security import Policy, Protection
from dcu.cosem.selection import Selection
from dcu.credentials import MeterKeys, Secret
from dcu.errors import AccessDenied, DcuError, LinkClosed
from dcu.link import tcp
from dcu.link.channel import StreamChannel
from dcu.model import AttributeRef, MethodRef, Obis
from tests.cosem.small_meter import ASSOCIATED

METER = Path(__file__).parents[3] / "ci" / "interop" / "jdlms"
GUEK = Secret(bytes.fromhex("000102030405060708090A0B0C0D0E0F"))  # Green Book example keys: published, not secret
GAK = Secret(bytes.fromhex("D0D1D2D3D4D5D6D7D8D9DADBDCDDDEDF"))
METER_TITLE = b"ISK" + (9999).to_bytes(5, "big")
CLIENT_TITLE = b"DCU\x00\x00\x00\x00\x01"
START = datetime(2026, 1, 1, tzinfo=UTC)

ENERGY = AttributeRef(3, Obis.parse("1-0:1.8.0*255"), 2)
SERIAL = AttributeRef(1, Obis.parse("0-0:96.1.0*255"), 2)
LOAD_PROFILE = AttributeRef(7, Obis.parse("1-0:99.1.0*255"), 2)
RELAY = Obis.parse("0-0:96.3.10*255")
CLOCK = AttributeRef(8, Obis.parse("0-0:1.0.0*255"), 2)

# jDLMS answers a protected RLRQ with a bare RLRE: its release is left unprotected (`protected_release=False`).
ASSOCIATIONS = {
    "none": Association(16, 1),
    "low": Association(17, 1, Authentication.LOW, MeterKeys(METER_TITLE, GUEK, GAK, Secret(b"12345678"))),
    "gmac, authenticated and encrypted": Association(
        18,
        1,
        Authentication.GMAC,
        MeterKeys(METER_TITLE, GUEK, GAK),
        CLIENT_TITLE,
        AUTHENTICATED_ENCRYPTED,
        protected_release=False,
    ),
}

DEFECTS = {  # what jDLMS 1.8.0 as a server cannot do, seen on the wire
    "it drops an association with a dedicated key": Association(
        18,
        1,
        Authentication.GMAC,
        MeterKeys(METER_TITLE, GUEK, GAK),
        CLIENT_TITLE,
        AUTHENTICATED_ENCRYPTED,
        True,
        protected_release=False,
    ),
    "it encrypts what its security control calls authenticated only": Association(
        19,
        1,
        Authentication.GMAC,
        MeterKeys(METER_TITLE, GUEK, GAK),
        CLIENT_TITLE,
        Policy(Protection.AUTHENTICATED, Protection.AUTHENTICATED),
        protected_release=False,
    ),
}

_counter = count(1)  # one meter process for the module: its counters never go back


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    if not (shutil.which("java") and shutil.which("mvn")):
        pytest.skip("Java and Maven are not here: `make interop` needs both")
    subprocess.run(["mvn", "-q", "-B", "package"], cwd=METER, check=True, timeout=300)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    jars = os.pathsep.join((str(METER / "target/jdlms-meter.jar"), str(METER / "target/lib/*")))
    command = ["java", "-cp", jars, "interop.JdlmsMeter", str(port), "0"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as meter:
        assert meter.stdin
        assert meter.stdout
        assert meter.stdout.readline().split() == ["READY", str(port), METER_TITLE.hex()]
        yield port
        meter.stdin.close()
        meter.wait(20)


@asynccontextmanager
async def session(port: int, association: Association) -> "AsyncIterator[Reader]":
    channel = StreamChannel(
        await tcp.connect("127.0.0.1", port), client=association.client_sap, server=association.server_sap
    )
    reader = Reader(ClientSession(association, counter=lambda: next(_counter)), channel)
    try:
        await converse(reader.client.associate(), channel, timeout=10)
        yield reader
        await converse(reader.client.release(), channel, timeout=10)
    finally:
        await channel.close()


class Reader:
    def __init__(self, client: ClientSession, channel: StreamChannel) -> None:
        self.client = client
        self.channel = channel

    async def get(self, attribute: AttributeRef, selection: Selection | None = None) -> bytes:
        return await converse(self.client.get(attribute, selection), self.channel, timeout=20)

    async def value(self, attribute: AttributeRef) -> object:
        return axdr.decode(await self.get(attribute)).value

    async def act(self, method: MethodRef) -> None:
        await converse(self.client.action(method, axdr.encode(axdr.i8(0))), self.channel, timeout=10)


def _clock(hours: int) -> CosemDateTime:
    return CosemDateTime.from_utc(START + timedelta(hours=hours), TimeZoneRule(UTC))


every_association = pytest.mark.parametrize("association", ASSOCIATIONS.values(), ids=ASSOCIATIONS)


@pytest.mark.conforms("Service", "GET", peer="jDLMS server", link="wrapper")
@pytest.mark.conforms(
    "Association", lambda association: ASSOCIATED[association.authentication], peer="jDLMS server", link="wrapper"
)
@pytest.mark.conforms(
    "Protection",
    lambda association: "glo-, suite 0" if association.ciphered else "none",
    peer="jDLMS server",
    link="wrapper",
)
@every_association
async def test_registers_and_data_are_read(port: int, association: Association) -> None:
    async with session(port, association) as meter:
        assert await meter.value(ENERGY) == 123456
        assert await meter.value(SERIAL) == b"40799390"


@pytest.mark.conforms("Service", "GET in blocks", peer="jDLMS server", link="wrapper")
@every_association
async def test_a_profile_of_720_rows_comes_in_blocks(port: int, association: Association) -> None:
    async with session(port, association) as meter:
        rows = profile.decode_rows(await meter.get(LOAD_PROFILE), TimeZoneRule(UTC), period=3600)
    assert rows == [(START + timedelta(hours=n), 1000 + 17 * n, 3 * n) for n in range(720)]


@every_association
async def test_a_profile_is_read_by_range_and_by_entry(port: int, association: Association) -> None:
    expected = [(START + timedelta(hours=n), 1000 + 17 * n, 3 * n) for n in range(24, 48)]
    by_range = profile.by_range(profile.CLOCK, _clock(24), _clock(47))
    async with session(port, association) as meter:
        for selection in (by_range, profile.by_entry(25, 48)):
            raw = await meter.get(LOAD_PROFILE, selection)
            assert profile.decode_rows(raw, TimeZoneRule(UTC), period=3600) == expected


@every_association
async def test_the_relay_opens_and_closes(port: int, association: Association) -> None:
    state = AttributeRef(70, RELAY, 2)
    async with session(port, association) as meter:
        await meter.act(MethodRef(70, RELAY, 1))
        assert await meter.value(state) is False
        await meter.act(MethodRef(70, RELAY, 2))
        assert await meter.value(state) is True


@pytest.mark.conforms(
    "Protection",
    lambda association: "ded-, suite 0" if association.dedicated else None,
    peer="jDLMS server",
    defect="it drops an association with a dedicated key",
)
@pytest.mark.parametrize("association", DEFECTS.values(), ids=DEFECTS)
async def test_a_defect_of_the_peer_still_stands(port: int, association: Association) -> None:
    """Should jDLMS mend one of these, this fails: then move the association to those that are read."""
    with pytest.raises(LinkClosed):
        async with session(port, association):
            pytest.fail("associated")


async def test_an_object_that_is_not_there_is_denied_and_the_session_goes_on(port: int) -> None:
    async with session(port, ASSOCIATIONS["gmac, authenticated and encrypted"]) as meter:
        with pytest.raises(AccessDenied):
            await meter.get(CLOCK)
        assert await meter.value(ENERGY) == 123456


@pytest.mark.parametrize("wrong", ["guek", "gak"])
async def test_a_wrong_key_is_told_and_reads_nothing(port: int, wrong: str) -> None:
    keys = {"guek": GUEK, "gak": GAK} | {wrong: Secret(bytes(16))}
    association = Association(
        18, 1, Authentication.GMAC, MeterKeys(METER_TITLE, **keys), CLIENT_TITLE, AUTHENTICATED_ENCRYPTED
    )
    with pytest.raises(DcuError):
        async with session(port, association):
            pytest.fail("associated with a wrong key")
