"""jDLMS (org.openmuc:jdlms, GPL-3.0) over HDLC, both ways: our client at its server, its client at our street.

Its client comes over the wrapper, too. HDLC goes over TCP: jDLMS has no server on a serial line. Where a test
meets a defect of jDLMS's own, it says so: "(jDLMS)".
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, timedelta

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

from .java import Program
from .jdlms import ASSOCIATIONS, ENERGY, LOAD_PROFILE, SECURED, SERIAL, START, Ports, counter


def setup(association: Association, size: int = 128, window: int = 1) -> Setup:
    parameters = Parameters(size, size, window, window)
    return Setup(Address(association.client_sap), Address(1, 17, 2), parameters, timeout=5.0, retries=1)


@asynccontextmanager
async def session(
    port: int, association: Association, **terms: int
) -> AsyncIterator[tuple[ClientSession, HdlcChannel]]:
    channel = await open_hdlc(await tcp.connect("127.0.0.1", port), setup(association, **terms))
    session = ClientSession(association, counter=counter)
    try:
        await converse(session.associate(), channel, timeout=10)
        yield session, channel
    finally:
        await channel.close()


@pytest.mark.conforms("Link", "HDLC", peer="jDLMS server", link="TCP")
@pytest.mark.parametrize("association", ASSOCIATIONS.values(), ids=ASSOCIATIONS)
async def test_our_client_reads_its_meter_over_hdlc(jdlms_meter: Ports, association: Association) -> None:
    async with session(jdlms_meter.hdlc, association) as (client, channel):
        for attribute, value in ((ENERGY, 123456), (SERIAL, b"40799390")):
            raw = await converse(client.get(attribute), channel, timeout=10)
            assert axdr.decode(raw).value == value


@pytest.mark.conforms("Link", "HDLC, segmentation", peer="jDLMS server", link="TCP")
@pytest.mark.parametrize(("size", "window"), [(128, 1), (128, 7), (1024, 1)])
async def test_a_profile_comes_in_segments(jdlms_meter: Ports, size: int, window: int) -> None:
    """(jDLMS) Its segments have no F, though its window is 1: each is asked for after a moment."""
    association = ASSOCIATIONS[SECURED]
    async with session(jdlms_meter.hdlc, association, size=size, window=window) as (client, channel):
        raw = await converse(client.get(LOAD_PROFILE, profile.by_entry(1, 120)), channel, timeout=30)
    rows = profile.decode_rows(raw, TimeZoneRule(UTC), period=3600)
    assert rows == [(START + timedelta(hours=n), 1000 + 17 * n, 3 * n) for n in range(120)]


@pytest.mark.conforms("Link", "HDLC, SNRM without parameters", peer="jDLMS server", defect="it falls over it")
async def test_its_server_falls_over_an_snrm_without_parameters(jdlms_meter: Ports) -> None:
    """(jDLMS) Our `hdlc.negotiate = false` is for other meters: here the connection never comes about."""
    bare = replace(setup(ASSOCIATIONS["none"]), announce=False, timeout=1.0)
    stream = await tcp.connect("127.0.0.1", jdlms_meter.hdlc)
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
def test_its_client_reads_a_meter_of_ours(jdlms_client: Program, tmp_path: object, secured: bool, hdlc: bool) -> None:
    street = Street(tmp_path, place=Addressing("127.0.0.1", 0, hdlc=hdlc))
    try:
        meter = street.meter
        meter.given = None
        keys = meter.keys(CONCENTRATOR)
        words = [f"port={street.fleet.place(meter).tcp}", f"client={1 if secured else 16}"]
        words += ["hdlc=17"] if hdlc else []
        if secured:
            words += ["title=GRX:1", f"counter={meter.heard.highest + 1}"]
            words += [f"guek={keys.guek.reveal().hex()}", f"gak={keys.gak.reveal().hex()}"]
        jdlms_client.say("open", *words)
        assert jdlms_client.say("get", "1,0.0.42.0.0.255,2") == meter.device_name.encode().hex()
        if secured:
            energy = int(jdlms_client.say("get", "3,1.0.1.8.0.255,2"))
            assert abs(energy - meter.registers(meter.now()).active_import) < 10
        jdlms_client.say("close")
    finally:
        street.close()
