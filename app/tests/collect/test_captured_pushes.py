"""Notifications of real meters, from the socket to their values: push listener, deciphering, decoding, UTC.

What must come out is what another project decodes (tests/captures/README.md); the moments were worked out by hand from
the bytes and the zone in which each meter stands.
"""

import asyncio
import contextlib
import re
import xml.etree.ElementTree as ET
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from dcu.cosem import apdu, pushed, security
from dcu.cosem.apdu import DataNotification
from dcu.cosem.datetimes import CosemDateTime, TimeZoneRule
from dcu.cosem.push import PushReceiver, PushSource
from dcu.credentials import MeterKeys, Secret
from dcu.link import tcp, udp, wrapper
from dcu.link.push import PushListener
from tests.cosem.test_captures import AIDON, ENERGOMERA, KAIFA, SAGEMCOM, SALZBURG, same

CAPTURES = Path(__file__).parents[1] / "captures"
KAMSTRUP = "hdlc_kamstrup_omnipower"
LANDIS = "hdlc_landis_gyr_zmf100"
KAMSTRUP_TITLE = bytes.fromhex("4b414d4501349083")
HOST = "127.0.0.1"


def wire(name: str) -> bytes:
    return bytes.fromhex(re.sub(r"[^0-9A-Fa-f]", "", (CAPTURES / f"{name}.log").read_text()))


def expected(name: str) -> ET.Element:
    """The body as the other project decodes it."""
    root = ET.parse(CAPTURES / f"{name}_decoded.xml").getroot()
    found = root if root.tag == "DataNotification" else root.find("DataNotification")
    assert found is not None
    return found[1]


def key(kind: str) -> Secret:
    return Secret(bytes.fromhex((CAPTURES / f"{KAMSTRUP}.{kind}").read_text()))  # published with the capture


def receiver() -> PushReceiver:
    keys = MeterKeys(KAMSTRUP_TITLE, key("key"), key("gak"))
    sources = {KAMSTRUP_TITLE: PushSource(keys)}
    return PushReceiver(sources.get, lambda title: -1, plain=True)


async def heard(name: str, transport: str, patience: float = 10.0) -> list[bytes]:
    """The APDUs that the listener hands on when the capture arrives."""
    apdus: asyncio.Queue[bytes] = asyncio.Queue()

    async def take(peer: str, source: int, destination: int, received: bytes) -> None:
        apdus.put_nowait(received)

    listener = PushListener(take)
    frame = wire(name) if name.startswith("hdlc") else wrapper.encode(1, 102, wire(name))
    if transport == "tcp":
        sender = await tcp.connect(HOST, await listener.listen_tcp(HOST, 0))
        await sender.write(frame)
    else:
        sender = await udp.connect(HOST, await listener.listen_udp(HOST, 0))
        await sender.send(frame)
    found = []
    with contextlib.suppress(TimeoutError):
        found.append(await asyncio.wait_for(apdus.get(), patience))
    await sender.close()
    await listener.close()
    return found


def notification(received: bytes) -> DataNotification:
    return receiver().receive(received).notification


@pytest.mark.parametrize("name", [KAIFA, AIDON, ENERGOMERA, SAGEMCOM, SALZBURG, KAMSTRUP])
async def test_a_push_of_a_real_meter_arrives_with_its_values(name: str) -> None:
    (received,) = await heard(name, "tcp")
    data, _ = pushed.decode_body(notification(received).body)
    same(data, expected(name))


@pytest.mark.parametrize(
    ("name", "zone", "moment"),
    [
        pytest.param(SALZBURG, "Europe/Vienna", datetime(2022, 11, 12, 15, 54, tzinfo=UTC), id="deviation -60"),
        pytest.param(ENERGOMERA, "Europe/Moscow", datetime(2022, 11, 3, 12, 38, 25, tzinfo=UTC), id="deviation -180"),
        pytest.param(KAIFA, "Europe/Oslo", datetime(2017, 9, 15, 3, 33, 40, tzinfo=UTC), id="unspecified, summer"),
        pytest.param(KAMSTRUP, "Europe/Copenhagen", datetime(2026, 3, 12, 14, 24, 30, tzinfo=UTC), id="unspecified"),
    ],
)
async def test_its_date_time_is_right_in_utc(name: str, zone: str, moment: datetime) -> None:
    (received,) = await heard(name, "tcp")
    stamp = CosemDateTime.parse(notification(received).date_time)
    assert stamp.utc(TimeZoneRule(ZoneInfo(zone))) == moment


@pytest.mark.parametrize("name", [ENERGOMERA, SAGEMCOM, SALZBURG])
async def test_bare_notifications_arrive_over_udp_as_well(name: str) -> None:
    (received,) = await heard(name, "udp")
    data, _ = pushed.decode_body(notification(received).body)
    same(data, expected(name))


async def test_a_push_with_a_broken_check_sequence_is_not_handed_on() -> None:
    assert await heard(LANDIS, "tcp", patience=0.5) == []


async def test_the_ciphered_push_is_ciphered_on_the_wire() -> None:
    (received,) = await heard(KAMSTRUP, "tcp")
    assert security.is_ciphered(received)
    assert isinstance(apdu.decode(receiver().receive(received).payload), DataNotification)
