"""100 meters on one 9600-baud RS-485 line: the time that reading 24 hourly rows of each takes, against the least.

All in one process under virtual time: the collector's meters, medium, line and links as they are, the street's meters
at the other end of a bus on which every byte takes its time and everybody turns around in 20 ms. The least is what the
standard makes of the same APDUs: information cut at what was negotiated, LLC once an APDU, 12 bytes a frame around it
(two-byte addresses), a turn each way; for a whole session SNRM, UA, DISC and UA besides. Nothing of it is taken from
what was sent.

`python ci/bench/multidrop.py` prints what it found.
"""

import asyncio
import json
import sys
import tempfile
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

from bench.virtual import run
from dcu.clock import LoopClock
from dcu.collect.events import Events
from dcu.collect.fleet import Fleet, Media
from dcu.collect.links import hdlc_setup
from dcu.collect.medium import Medium
from dcu.collect.meter import Meter
from dcu.collect.meter_profile import Families, MeterProfile
from dcu.collect.services import OpenAssociations, Services
from dcu.cosem import profile
from dcu.cosem.datetimes import CosemDateTime
from dcu.credentials import MeterKeys
from dcu.link.hdlc_channel import open_hdlc
from dcu.link.hdlc_parameters import encode_parameters
from dcu.link.hdlc_server import Station
from dcu.link.line import Line
from dcu.model import AttributeRef, Obis, Priority
from dcu.store import Store
from dcu.streams import Channel
from neighbourhood import fleet as street
from neighbourhood.bus import Bus
from neighbourhood.wires import FIRST

METERS = 100
BYTE, TURNAROUND = 10 / 9600, 0.02  # seconds
AROUND = 12  # bytes of a frame with information: flags, format, addresses (2 + 1), control, HCS, FCS
BARE = 10  # and without
LOAD = AttributeRef(7, Obis.parse("1-0:99.1.0*255"), 2)
EPOCH = datetime(2025, 11, 20, 12, 2, tzinfo=UTC)
TITLE = bytes.fromhex("4443550000000001")


@dataclass
class Least:
    """What has to go over the line: bytes, and turns."""

    size: int = 0
    turns: int = 0

    def apdu(self, length: int, information: int) -> None:
        frames = -(-(length + 3) // information)
        self.size += length + 3 + frames * AROUND
        self.turns += 1

    def link(self, parameters: int) -> None:
        """SNRM and UA with parameters, DISC and UA."""
        self.size += 2 * (parameters + AROUND) + 2 * BARE
        self.turns += 4

    @property
    def seconds(self) -> float:
        return self.size * BYTE + self.turns * TURNAROUND


class _Keys:
    def __init__(self, fleet: street.Fleet) -> None:
        self._keys = {meter.serial: meter.shipped_keys() for meter in fleet.meters}

    def meter(self, name: str) -> MeterKeys:
        return self._keys[name]

    def names(self) -> list[str]:
        return sorted(self._keys)


class _Peer:
    local = remote = ("bus", 0)

    def push(self, server_sap: int, client_sap: int, apdu: bytes) -> None: ...

    def close(self) -> None: ...


class _Run:
    """The street and the collector's inside, joined by a bus."""

    def __init__(self, store: Store, clock: LoopClock, meters: int) -> None:
        self.street = street.Fleet(meters, 1, lambda: int(clock.now().timestamp()))
        self.least = Least()
        self._family: MeterProfile = Families().get("generic")
        stations = {FIRST + index: self._station(index) for index in range(meters)}
        self.bus = Bus(stations, byte_time=BYTE, turnaround=TURNAROUND)
        self.line = Line(self.bus.open, turnaround=TURNAROUND)
        random = Random(7)  # noqa: S311 - of waits, no secret
        keys, associations = _Keys(self.street), OpenAssociations(256)
        services = Services(clock, random, store, keys, Events(), TITLE, counter_block=1000, open=associations)
        self.services = services
        media = Media([(("hdlc+serial://*",), Medium("line"))])
        self.fleet = Fleet(services, Families(), media, self._connect)

    async def register(self) -> list[Meter]:
        records = await self.services.store.add_meters(
            [
                (meter.serial, f"hdlc+serial://line/{FIRST + index}", "generic", meter.system_title)
                for index, meter in enumerate(self.street.meters)
            ]
        )
        return [meter for record in records if (meter := self.fleet.take(record))]

    def _station(self, index: int) -> Station:
        handler = self.street.talk(self.street.meters[index], _Peer())
        information = self._family.hdlc.information

        def answer(client: int, server: int, apdu: bytes) -> bytes | None:
            answered = handler(client, server, apdu)
            assert answered is not None
            self.least.apdu(len(apdu), information)
            self.least.apdu(len(answered), information)
            return answered

        return Station(answer, physical=FIRST + index)

    async def _connect(self, address: str, client: int, family: MeterProfile) -> Channel:
        physical = int(address.rpartition("/")[2])
        setup = hdlc_setup(physical, client, family.addresses.server, family.hdlc, byte_time=BYTE)
        self.least.link(len(encode_parameters(setup.parameters)))
        seat = self.line.seat()
        return await open_hdlc(seat, setup, seat)


async def _measure(meters: int) -> dict[str, Any]:
    clock = LoopClock(EPOCH)
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        store = await Store.open(folder, clock=clock, inline=True)
        stack.push_async_callback(store.close)
        made = _Run(store, clock, meters)
        fleet = await made.register()
        await _read(made, fleet)  # counters are learnt, associations opened
        await _hang_up(made, fleet)
        sessions = await _timed(made, fleet, hang_up=True)
        await _read(made, fleet)  # associations are opened, and kept
        kept = await _timed(made, fleet, hang_up=False)
        await _hang_up(made, fleet)
        assert made.bus.collisions == 0
        return {"meters": meters, "sessions": sessions, "kept": kept}


async def _timed(made: _Run, fleet: list[Meter], *, hang_up: bool) -> dict[str, float]:
    made.least, made.bus.bytes = Least(), 0
    loop = asyncio.get_running_loop()
    started = loop.time()
    await _read(made, fleet)
    if hang_up:
        await _hang_up(made, fleet)
    seconds = loop.time() - started
    least = made.least
    return {
        "seconds": seconds,
        "least": least.seconds,
        "ratio": seconds / least.seconds,
        "bytes": made.bus.bytes,
        "least_bytes": least.size,
    }


async def _read(made: _Run, fleet: list[Meter]) -> None:
    """The last 24 hourly rows of every meter, all asked for at once, as a poll does it."""
    now = int(made.services.clock.now().timestamp()) // 3600 * 3600
    rule = fleet[0].profile.time_rule
    ends = [CosemDateTime.from_utc(datetime.fromtimestamp(at, UTC), rule) for at in (now - 23 * 3600, now)]
    selection = profile.by_range(profile.CLOCK, *ends)
    raws = await asyncio.gather(
        *(meter.run(lambda session: session.get(LOAD, selection), Priority.SCHEDULED) for meter in fleet)
    )
    assert all(raw[:2] == b"\x01\x18" for raw in raws)  # an array of 24


async def _hang_up(made: _Run, fleet: list[Meter]) -> None:
    for meter in fleet:
        meter.hang_up()
        await made.services.settled()  # which has a bound: not for all at once


def measure(meters: int = METERS) -> dict[str, Any]:
    """Seconds and bytes of whole sessions (from SNRM to DISC), and of one GET in associations that were kept."""
    return run(_measure(meters))


if __name__ == "__main__":
    json.dump(measure(), sys.stdout, indent=1)
