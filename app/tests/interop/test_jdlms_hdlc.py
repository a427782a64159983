"""jDLMS (org.openmuc:jdlms, GPL-3.0) over HDLC, both ways: our client at its server, its client at our street.

Its client comes over the wrapper, too. HDLC goes over TCP: jDLMS has no server on a serial line. Where a test
meets a defect of jDLMS's own, it says so: "(jDLMS)".
"""

import os
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import count

import pytest

from dcu.collect.dialogue import converse
from dcu.cosem import axdr, profile
from dcu.cosem.association import Association
from dcu.cosem.client import ClientSession
from dcu.cosem.datetimes import TimeZoneRule
from dcu.errors import LinkError
from dcu.link import tcp
from dcu.link.hdlc import Address
from dcu.link.hdlc_channel import HdlcChannel, open_hdlc
from dcu.link.hdlc_client import Setup
from dcu.link.hdlc_parameters import Parameters
from neighbourhood.fleet import Addressing
from neighbourhood.meter import CONCENTRATOR
from tests.cli.street import Street
from tests.interop.test_jdlms_server import ASSOCIATIONS, ENERGY, LOAD_PROFILE, METER, SERIAL, START, UTC, timedelta

CLASSES = os.pathsep.join((str(METER / "target/jdlms-meter.jar"), str(METER / "target/lib/*")))
_counter = count(100_000)  # above what the other module's session spends


@pytest.fixture(scope="module")
def built() -> None:
    if not (shutil.which("java") and shutil.which("mvn")):
        pytest.skip("Java and Maven are not here: `make interop` needs both")
    subprocess.run(["mvn", "-q", "-B", "package"], cwd=METER, check=True, timeout=300)


@pytest.fixture(scope="module")
def port(built: None) -> Iterator[int]:
    ports = []
    for _ in range(2):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            ports.append(probe.getsockname()[1])
    command = ["java", "-cp", CLASSES, "interop.JdlmsMeter", *map(str, ports)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as meter:
        assert meter.stdin
        assert meter.stdout
        assert meter.stdout.readline().startswith("READY")
        yield ports[1]
        meter.stdin.close()
        meter.wait(20)


def setup(association: Association, size: int = 128, window: int = 1) -> Setup:
    parameters = Parameters(size, size, window, window)
    return Setup(Address(association.client_sap), Address(1, 17, 2), parameters, timeout=5.0, retries=1)


@asynccontextmanager
async def session(
    port: int, association: Association, **terms: int
) -> AsyncIterator[tuple[ClientSession, HdlcChannel]]:
    channel = await open_hdlc(await tcp.connect("127.0.0.1", port), setup(association, **terms))
    session = ClientSession(association, counter=lambda: next(_counter))
    try:
        await converse(session.associate(), channel, timeout=10)
        yield session, channel
    finally:
        await channel.close()


@pytest.mark.conforms("Link", "HDLC", peer="jDLMS server", link="TCP")
@pytest.mark.parametrize("association", ASSOCIATIONS.values(), ids=ASSOCIATIONS)
async def test_our_client_reads_its_meter_over_hdlc(port: int, association: Association) -> None:
    async with session(port, association) as (client, channel):
        for attribute, value in ((ENERGY, 123456), (SERIAL, b"40799390")):
            raw = await converse(client.get(attribute), channel, timeout=10)
            assert axdr.decode(raw).value == value


@pytest.mark.conforms("Link", "HDLC, segmentation", peer="jDLMS server", link="TCP")
@pytest.mark.parametrize(("size", "window"), [(128, 1), (128, 7), (1024, 1)])
async def test_a_profile_comes_in_segments(port: int, size: int, window: int) -> None:
    """(jDLMS) Its segments have no F, though its window is 1: each is asked for after a moment."""
    association = ASSOCIATIONS["gmac, authenticated and encrypted"]
    async with session(port, association, size=size, window=window) as (client, channel):
        raw = await converse(client.get(LOAD_PROFILE, profile.by_entry(1, 120)), channel, timeout=30)
    rows = profile.decode_rows(raw, TimeZoneRule(UTC), period=3600)
    assert rows == [(START + timedelta(hours=n), 1000 + 17 * n, 3 * n) for n in range(120)]


@pytest.mark.conforms("Link", "HDLC, SNRM without parameters", peer="jDLMS server", defect="it falls over it")
async def test_its_server_falls_over_an_snrm_without_parameters(port: int) -> None:
    """(jDLMS) Our `hdlc.negotiate = false` is for other meters: here the connection never comes about."""
    bare = replace(setup(ASSOCIATIONS["none"]), announce=False, timeout=1.0)
    stream = await tcp.connect("127.0.0.1", port)
    with pytest.raises(LinkError):
        await open_hdlc(stream, bare)


@pytest.mark.conforms("Link", "HDLC", peer="jDLMS client", link=lambda hdlc: "TCP" if hdlc else None)
@pytest.mark.conforms(
    "Association",
    lambda secured: "HLS 5 GMAC" if secured else "without authentication",
    peer="jDLMS client",
    link=lambda hdlc: "HDLC" if hdlc else "wrapper",
)
@pytest.mark.conforms(
    "Protection",
    lambda secured: "glo-, suite 0" if secured else "none",
    peer="jDLMS client",
    link=lambda hdlc: "HDLC" if hdlc else "wrapper",
)
@pytest.mark.parametrize("hdlc", [True, False], ids=["hdlc", "wrapper"])
@pytest.mark.parametrize("secured", [False, True], ids=["none", "gmac, authenticated and encrypted"])
def test_its_client_reads_a_meter_of_ours(built: None, tmp_path: object, secured: bool, hdlc: bool) -> None:
    street = Street(tmp_path, place=Addressing("127.0.0.1", 0, hdlc=hdlc))
    try:
        meter = street.meter
        meter.given = None
        keys = meter.keys(CONCENTRATOR)
        secrets = [keys.guek.reveal().hex(), keys.gak.reveal().hex()] if secured else []
        wanted = ["1,0.0.42.0.0.255,2", *(["3,1.0.1.8.0.255,2"] if secured else [])]
        place = street.fleet.place(meter)
        way = "17" if hdlc else "wrapper"
        command = ["java", "-cp", CLASSES, "interop.JdlmsReader", str(place.tcp), way, str(meter.heard.highest + 1)]
        done = subprocess.run([*command, *secrets, *wanted], capture_output=True, text=True, timeout=60)
        lines = done.stdout.split()
        assert lines[:1] == [meter.device_name.encode().hex()], done.stdout + done.stderr
        if secured:
            assert abs(int(lines[1]) - meter.registers(meter.now()).active_import) < 10
    finally:
        street.close()
