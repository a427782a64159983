"""A night over G3-PLC: the real collector and driver, the modem emulator, the line and the meters in one process.

The street begins joined and routed. The first collection opens associations and learns what the profiles are; it is
reported apart. Then it is midnight, and 24 h of four registers are due of every meter, less what the first collection
took after midnight: of 1,000 meters, whose first lasts three hours, 21 h on average. That is what is measured. How
the street stands by then is one of three:

- settled: routes and tone maps are laid anew a second before, as its noise is now: joined and routed;
- asked: the collector has asked each meter for its clock, twice, in the minutes before: what traffic makes of it;
- silent: nobody has said a word for hours, routes and tone maps have expired: every meter's are looked for again.

Collecting time is simulated seconds; the floor is that of docs/g3.md on the routes of that night; wall clock and
processor time are this machine's. While it goes on, meters that have been read or not say alarms, where that is asked
for, and their way to the collector's outbox is timed.

RSS is of the whole process, line and meters included; beside it stands what it had before the collector began.

`python -m bench.night 48 --seed 2 --start asked --alarms`, from ci/, prints one as JSON.
"""

import argparse
import asyncio
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from dcu.errors import DcuError
from neighbourhood.g3 import clockwork, floor
from neighbourhood.g3.street import Collecting, Scene, Street, collected, collecting
from neighbourhood.meter import Event

START = datetime(2025, 11, 20, 0, 2, tzinfo=UTC)
MIDNIGHT = 24 * 3600.0 - 120.0  # seconds from START to it
DELAY = 60.0  # seconds past midnight at which the night begins
A_METER = 6.0  # seconds that the warming of one meter takes, at most on average
CLOCK = "8,0-0:1.0.0*255,2"
ALARMS_EVERY = 3.0  # seconds between two alarms
LOST = 120.0  # seconds after which an alarm is not waited for
ROUNDS = 2  # of asking for clocks: the first finds the routes, the second the tone maps of those that are left


class Start(StrEnum):
    """How the street stands when the night begins."""

    SETTLED = "settled"
    ASKED = "asked"
    SILENT = "silent"


@dataclass(slots=True)
class Night:
    """seconds: simulated; first: of the first collection; wall, cpu: of the measured night."""

    meters: int
    first: float = 0.0
    first_wall: float = 0.0
    seconds: float = 0.0
    floor: float = 0.0
    wall: float = 0.0
    cpu: float = 0.0
    frames: int = 0
    datagrams: int = 0
    readings: int = 0
    alarms: list[float] = field(default_factory=list)  # seconds from the meter to the outbox
    alarm_limit: float = 0.0  # one exchange in flight (the longest), its hops times 120 ms, and half a second
    rss: int = 0
    rss_before: int = 0

    @property
    def ratio(self) -> float:
        return self.seconds / self.floor

    @property
    def p99(self) -> float:
        return sorted(self.alarms)[int(0.99 * len(self.alarms))] if self.alarms else 0.0

    @property
    def frames_per_second(self) -> float:
        """Data frames a second of processor time."""
        return self.frames / self.cpu


def night(meters: int, *, start: Start = Start.SETTLED, alarms: bool = False, seed: int = 1) -> Night:
    scene = Scene(meters=meters, seed=seed, joined=True, start=START, every=86400, delay=int(DELAY))
    street = Street.build(scene)
    found = Night(meters, rss_before=_rss())

    async def main(loop: clockwork.VirtualLoop) -> None:
        with tempfile.TemporaryDirectory() as folder:
            async with collecting(street, Path(folder), loop.enter) as house:
                await _prepare(loop, street, house, found, start)
                await _play(loop, street, house, found, alarms=alarms)

    clockwork.run(main, street.line.scheduler)
    found.rss = _rss()
    return found


async def _prepare(loop: clockwork.VirtualLoop, street: Street, house: Collecting, found: Night, start: Start) -> None:
    """The first collection, the day, and how the street stands just before the night."""
    began = time.perf_counter()
    await house.up()
    await house.register()
    found.first, found.first_wall = await collected(house), time.perf_counter() - began
    house.collector.polling.start()
    if start is Start.ASKED:
        await asyncio.sleep(max(0.0, MIDNIGHT - ROUNDS * A_METER * found.meters - loop.time()))
        for meter in ROUNDS * street.fleet.meters:
            with suppress(DcuError):
                await house.call("read", meter=meter.serial, objects=[CLOCK], timeout=600.0)
    await asyncio.sleep(max(0.0, MIDNIGHT + DELAY - 1.0 - loop.time()))
    if start is Start.SETTLED:
        loop.enter(house.settle)


async def _play(loop: clockwork.VirtualLoop, street: Street, house: Collecting, found: Night, *, alarms: bool) -> None:
    street.homes.counts.sizes.clear()
    frames, counts = [0], house.network.counts
    street.line.channel.reports.append(lambda *_: frames.__setitem__(0, frames[0] + 1))
    before = counts["datagrams-sent"] + counts["datagrams-received"]
    readings = sum(meter.readings for meter in house.collector.fleet)
    pushing = asyncio.ensure_future(_alarms(loop, street, house, found)) if alarms else None
    wall, cpu = time.perf_counter(), time.process_time()
    while house.collector.polling.progress.complete:  # noqa: ASYNC110 - until the round begins
        await asyncio.sleep(0.1)
    start = loop.time()
    await collected(house)
    found.seconds = loop.time() - start
    found.wall, found.cpu = time.perf_counter() - wall, time.process_time() - cpu
    found.frames = frames[0]
    found.datagrams = counts["datagrams-sent"] + counts["datagrams-received"] - before
    found.readings = sum(meter.readings for meter in house.collector.fleet) - readings
    if pushing is not None:
        pushing.cancel()
    floors = list(_floors(street))
    found.floor = sum(floors)
    hops = max((len(floor.way(street.line, street.line.nodes[home], 0)) for home in _reached(street)), default=0)
    found.alarm_limit = max(floors, default=0.0) + 0.12 * hops + 0.5


def _floors(street: Street) -> Iterator[float]:
    for home, size in street.homes.counts.sizes.items():
        with suppress(LookupError):
            yield floor.collection(street.line, [(home, *size)])


def _reached(street: Street) -> Iterator[int]:
    for home in street.homes.counts.sizes:
        with suppress(LookupError):
            floor.way(street.line, street.line.nodes[home], 0)
            yield home


async def _alarms(loop: clockwork.VirtualLoop, street: Street, house: Collecting, found: Night) -> None:
    """One after the other, each from another home; its limit is one exchange in flight, its hops and half a second."""
    waiting: dict[str, asyncio.Event] = {}

    def heard(topic: str, data: dict[str, Any]) -> None:
        if data.get("kind") == "push" and (event := waiting.get(data["meter"])):
            event.set()

    house.collector.services.events.listen(heard)
    home = 0
    while True:
        await asyncio.sleep(ALARMS_EVERY)
        home = (home + 7) % found.meters
        name = street.fleet.meters[home].serial
        waiting = {name: asyncio.Event()}
        began = loop.time()
        loop.enter(street.homes.push, home + 1, Event.POWER_UP)
        with suppress(TimeoutError):
            async with asyncio.timeout(LOST):
                await waiting[name].wait()
        found.alarms.append(round(loop.time() - began, 3))  # one that never came counts as late, too


def _rss() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def measure(meters: int, *, start: Start = Start.SETTLED, alarms: bool = False, seed: int = 1) -> dict[str, Any]:
    """In a process of its own, so that its memory is its own. Raises RuntimeError."""
    options = ["--start", start, "--seed", str(seed), *(["--alarms"] if alarms else [])]
    command = [sys.executable, "-m", "bench.night", str(meters), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=3600)  # noqa: S603 - our own program
    if done.returncode:
        raise RuntimeError(f"the night failed: {done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.night")
    parser.add_argument("meters", type=int)
    parser.add_argument("--start", type=Start, choices=list(Start), default=Start.SETTLED)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--alarms", action="store_true")
    asked = parser.parse_args()
    made = night(asked.meters, start=asked.start, alarms=asked.alarms, seed=asked.seed)
    shown = {"ratio": made.ratio, "p99": made.p99, "frames_per_second": made.frames_per_second}
    json.dump({**asdict(made), **shown}, sys.stdout, indent=1)


if __name__ == "__main__":
    main()
