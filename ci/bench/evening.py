"""The first collection of a street of G3-PLC in the evening: noise is loudest, and routes that were laid break.

The street has joined, its routes are laid at six o'clock, and the collector opens an association with each meter and
reads its last day: what a concentrator that was put up in the afternoon has before it. Told is how many meters have
been read by each full hour; it ends when all are, or at six in the morning.

A route has at most adpMaxHops hops, 8 as devices are delivered, and an evening's noise makes the hops of a long feeder
short: `--max-hops` sets the concentrator's and the meters'.

`python -m bench.evening 1000 --max-hops 14`, from ci/, prints one as JSON.
"""

import argparse
import asyncio
import json
import sys
import tempfile
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from neighbourhood.g3 import clockwork
from neighbourhood.g3.street import Scene, Street, collecting

START = datetime(2025, 11, 20, 18, 0, tzinfo=UTC)
HOUR, UNTIL = 3600.0, 12 * 3600.0  # simulated seconds


@dataclass(slots=True)
class Evening:
    """read: meters by hours since START; hours: until all were read, None where they were not."""

    meters: int
    max_hops: int
    read: list[int] = field(default_factory=list)
    hours: float | None = None


def evening(meters: int, max_hops: int, *, seed: int = 1) -> Evening:
    scene = Scene(meters=meters, seed=seed, joined=True, start=START, every=86400, max_hops=max_hops)
    street, found = Street.build(scene), Evening(meters, max_hops)

    async def main(loop: clockwork.VirtualLoop) -> None:
        with tempfile.TemporaryDirectory() as folder:
            async with collecting(street, Path(folder), loop.enter) as house:
                await house.up()
                await house.register()
                while found.hours is None and loop.time() < UNTIL:
                    await asyncio.sleep(60.0)
                    progress = house.collector.polling.progress
                    read = sum(1 for meter in house.collector.fleet if meter.readings)
                    if loop.time() // HOUR > len(found.read):
                        found.read.append(read)
                    if progress.complete and read == meters:
                        found.hours = loop.time() / HOUR

    clockwork.run(main, street.line.scheduler)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.evening")
    parser.add_argument("meters", type=int)
    parser.add_argument("--max-hops", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    json.dump(asdict(evening(asked.meters, asked.max_hops, seed=asked.seed)), sys.stdout, indent=1)


if __name__ == "__main__":
    main()
