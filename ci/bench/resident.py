"""How much memory a collector takes for 1,000 meters over G3-PLC: `dcu run`, alone in its process, as on a device.

At the other end of a pseudo-terminal, in this process, are a scripted modem and the meters. There is no line between
them: a datagram is confirmed, and answered, at once, since what a line makes of it takes time and no memory of the
collector's. All have joined, and the collector finds that so, as after a restart; the modem's tables name a route to
each and as many neighbours as a concentrator hears. It imports the meters, associates with each, keeps all
associations open, and collects a day of four registers; every reading is compared with the truth, and a run that
misses one is no measurement.

`python -m bench.resident 1000`, from ci/, prints what it found as JSON.
"""

import argparse
import asyncio
import compileall
import json
import secrets
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import dcu
from dcu.collect import settings
from dcu.collector import Collector
from dcu.control.client import ControlClient
from dcu.credentials import Secret
from dcu.fan.g3 import ipv6, pib
from dcu.link import wrapper
from dcu.link.listen import Handler
from dcu.streams import each
from neighbourhood import truth, verdict
from neighbourhood.demo import window
from neighbourhood.fleet import Fleet
from neighbourhood.g3.homes import Peer
from neighbourhood.g3.port import Pty
from neighbourhood.g3.street import Scene, Street, prepare, remembered
from neighbourhood.processes import Processes, peak
from tests.fan.scripted import ScriptedModem

NEIGHBOURS = 60  # that a concentrator hears of a street of 1,000
HOPS = 5
LONGEST = 60.0  # seconds until the network is up


@dataclass(frozen=True, slots=True)
class Resident:
    """Bytes: when the network was up, and the most ever; seconds of the collection on the wall clock."""

    meters: int
    readings: int
    before: int
    most: int
    seconds: float


class Instant(ScriptedModem):
    """A modem whose devices answer at once, each for the meter behind it."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._talks: dict[int, Handler] = {}
        super().__init__()
        self.deliver = self._delivered

    def power_up(self) -> None:
        super().power_up()
        shorts = range(1, len(self._fleet.meters) + 1)
        self.routes = [
            pib.encode_route(pib.Route(short, 1 + short % NEIGHBOURS, 9, short % HOPS, 0, 0, 360)) for short in shorts
        ]
        self.neighbours = [
            short.to_bytes(2, "big") + b"\x3f\x00\x00\x02" + bytes(8) + b"\x00\x00\x5a\x00\x0a"
            for short in shorts[:NEIGHBOURS]
        ]

    def _delivered(self, modem: ScriptedModem, handle: int, packet: bytes) -> None:
        asked = ipv6.decode(packet)
        short, frame = int.from_bytes(asked.destination[-2:], "big"), wrapper.decode(asked.payload)
        self.confirm(handle)
        if short not in self._talks:
            self._talks[short] = self._fleet.talk(self._fleet.meters[short - 1], Peer(), lossy=True)
        for apdu in each(self._talks[short](frame.source, frame.destination, frame.apdu)):
            self.from_device(short, wrapper.encode(frame.destination, frame.source, apdu), to=asked.source_port)


async def _measured(meters: int, folder: Path) -> Resident:
    delay, last = window(time.time(), meters)
    scene = Scene(meters, joined=True, start=datetime.now(UTC), delay=delay)
    street = Street.build(scene, now=lambda: int(time.time()))
    prepare(scene, folder)
    await _joined(street, folder)
    transport, processes = Secret(secrets.token_bytes(16)), Processes(folder)
    street.ship(folder / "shipment.toml", transport)
    (folder / "transport.key").write_text(transport.reveal().hex())
    async with AsyncExitStack() as stack:
        terminal = Pty(folder / "modem.tty")
        stack.push_async_callback(terminal.close)
        modem = asyncio.ensure_future(Instant(street.fleet).serve(terminal.stream))
        stack.callback(modem.cancel)
        collector = await stack.enter_async_context(processes.collector())
        async with await processes.control() as control:
            await _up(control)
            before, began = peak(collector.pid), time.monotonic()
            await processes.collect(control, meters, lambda expected, collected: None)
            seconds = time.monotonic() - began
            known = len((await control.call("network"))[0]["nodes"])
            most = peak(collector.pid)
    first = last - (truth.HOURS - 1) * truth.HOUR
    found = verdict.judge(
        verdict.stored(folder / "store"), street.names(), first, last, truth.HOUR, verdict.truth_of(scene.seed)
    )
    if not found.good or known != meters:
        raise RuntimeError(f"readings are missing or wrong: {found}; {known} nodes of {meters}")
    return Resident(meters, found.readings, before, most, seconds)


async def _joined(street: Street, folder: Path) -> None:
    """Leave behind what a collector remembers of a street that has joined."""
    async with AsyncExitStack() as stack:
        collector = await Collector.open(stack, settings.load(folder / "collector.toml"))
        await remembered(street, collector)


async def _up(control: ControlClient) -> None:
    async with asyncio.timeout(LONGEST):
        while not (await control.call("network"))[0]["up"]:  # noqa: ASYNC110 - it is another process's
            await asyncio.sleep(0.2)


def installed() -> None:
    """Bytecode beside the collector's source, as a device has it: who compiles 200 modules first, needs 4 MB for it."""
    compileall.compile_dir(Path(dcu.__file__).parent, quiet=1)


def measure(meters: int = 1000) -> Resident:
    """Raises RuntimeError where a reading was missing or wrong, DcuError where the collection did not end."""
    installed()
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(_measured(meters, Path(folder)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("meters", type=int)
    json.dump(asdict(measure(parser.parse_args().meters)), sys.stdout, indent=1)
