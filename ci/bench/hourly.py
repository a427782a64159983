"""Bytes on the wire to read 24 hourly values of one register over HDLC, parameters negotiated, against the floor.

The floor is counted by hand, not taken from what is sent: a GET by range is 83 bytes protected (suite 0, authenticated
and encrypted), the answer with null-data time stamps 231; LLC is 3 bytes once an APDU, an I frame 14 bytes around its
information and an RR 12 (four-byte address). So 374 bytes where a frame carries 128, two of them for the answer and one
RR between, as a meter with a window of 1 needs it; 348 where a frame carries 1024.

`python ci/bench/hourly.py` prints what it found.
"""

import asyncio
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count

from bench.virtual import run
from dcu.collect.dialogue import converse
from dcu.cosem import axdr, data, profile
from dcu.cosem.association import AUTHENTICATED_ENCRYPTED, Association, Authentication, ServerAssociation
from dcu.cosem.client import ClientSession
from dcu.cosem.datetimes import CosemDateTime, TimeZoneRule
from dcu.cosem.selection import Selection
from dcu.cosem.server import ServerSession
from dcu.credentials import MeterKeys, Secret
from dcu.link.hdlc import Address
from dcu.link.hdlc_channel import open_hdlc
from dcu.link.hdlc_client import Setup
from dcu.link.hdlc_listen import serve_hdlc_stream
from dcu.link.hdlc_parameters import Parameters
from dcu.link.hdlc_server import Station
from dcu.link.memory import stream_pair
from dcu.model import AttributeRef, MethodRef, Obis

CLIENT = 1
KEYS = MeterKeys(
    b"MMM\x00\x00\xbcaN",
    Secret(bytes.fromhex("000102030405060708090A0B0C0D0E0F")),  # the Green Book's example keys: published, not secret
    Secret(bytes.fromhex("D0D1D2D3D4D5D6D7D8D9DADBDCDDDEDF")),
)
TITLE = b"DCU\x00\x00\x00\x00\x01"
LOAD = AttributeRef(7, Obis.parse("1-0:99.1.0*255"), 2)
START = datetime(2026, 1, 1, tzinfo=UTC)
RULE = TimeZoneRule(UTC)
FLOORS = {(128, 1): 374, (128, 7): 374, (1024, 1): 348}


class Meter:
    """24 rows of clock and register, as a meter that compresses time stamps sends them."""

    def get(self, client_sap: int, attribute: AttributeRef, selection: Selection | None) -> bytes:
        first = data.octets(CosemDateTime.from_utc(START, RULE).encode())
        rows = ((data.null() if hour else first, data.u32(100_000 + hour)) for hour in range(24))
        return axdr.encode(data.array(data.structure(*row) for row in rows))

    def set(self, client_sap: int, attribute: AttributeRef, selection: Selection | None, value: bytes) -> None: ...

    def action(self, client_sap: int, method: MethodRef, parameter: bytes | None) -> bytes | None: ...


@dataclass(frozen=True, slots=True)
class Found:
    information: int
    window: int
    size: int
    floor: int

    @property
    def ratio(self) -> float:
        return self.size / self.floor


async def _read(information: int, window: int) -> int:
    terms = ServerAssociation(Authentication.GMAC, KEYS, TITLE, AUTHENTICATED_ENCRYPTED)
    peer = ServerSession(Meter(), {CLIENT: terms}, counter=count(5000).__next__)
    handler: Callable[[int, int, bytes], bytes | None] = lambda client, server, apdu: peer.receive(client, apdu)  # noqa: E731
    near, far = stream_pair(delay=0.01)
    serving = asyncio.create_task(serve_hdlc_stream(far, Station(handler, physical=17)))
    parameters = Parameters(information, information, window, window)
    channel = await open_hdlc(near, Setup(Address(CLIENT), Address(1, 17, 4), parameters))
    association = Association(CLIENT, 1, Authentication.GMAC, KEYS, TITLE, AUTHENTICATED_ENCRYPTED)
    session = ClientSession(association, counter=count(1).__next__)
    await converse(session.associate(), channel, timeout=10)
    before = channel.sent + channel.received
    ends = [CosemDateTime.from_utc(START + timedelta(hours=hour), RULE) for hour in (0, 23)]
    raw = await converse(session.get(LOAD, profile.by_range(profile.CLOCK, *ends)), channel, timeout=10)
    values = axdr.decode(raw).value
    assert isinstance(values, tuple)
    assert [row.value[1].value for row in values] == [100_000 + hour for hour in range(24)]
    size = channel.sent + channel.received - before
    await channel.close()
    await serving
    return size


def measure() -> list[Found]:
    return [Found(*terms, run(_read(*terms)), floor) for terms, floor in FLOORS.items()]


if __name__ == "__main__":
    json.dump([[f.information, f.window, f.size, f.floor, f.ratio] for f in measure()], sys.stdout)
