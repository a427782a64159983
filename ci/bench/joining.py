"""How a street of G3-PLC joins: everybody's device is switched on within some hours, as in a roll-out.

Each looks for an agent, proves its key over EAP-PSK through it, and becomes one itself; the collector assigns
addresses, and reads each meter for the first time as soon as it is a member. Told are the simulated hours until the
last has joined, and what that cost here. A street that comes up at once is another matter: 48 meters join in minutes
(`make demo`), 1,000 drown in their own shouting and back off for hours.

`python -m bench.joining 1000 --hours 6`, from ci/, prints one as JSON.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from neighbourhood.g3 import clockwork
from neighbourhood.g3.street import Scene, Street, collecting

START = datetime(2025, 11, 20, 0, 2, tzinfo=UTC)
LOOK_EVERY = 30.0  # simulated seconds
PATIENCE = 2.0  # times the hours, then what has not joined is told as such


@dataclass(slots=True)
class Joined:
    """hours: simulated, from the first device to the last that joined; frames: data frames meanwhile."""

    meters: int
    over: float
    joined: int = 0
    hours: float = 0.0
    cpu: float = 0.0
    frames: int = 0


def joining(meters: int, hours: float, *, seed: int = 1) -> Joined:
    street = Street.build(Scene(meters=meters, seed=seed, start=START, every=86400))
    found = Joined(meters, hours)

    async def main(loop: clockwork.VirtualLoop) -> None:
        with tempfile.TemporaryDirectory() as folder:
            async with collecting(street, Path(folder), loop.enter) as house:
                await house.up()
                await house.register()
                began, cpu = loop.time(), time.process_time()
                loop.enter(street.wake, hours * 3600)
                while street.joined < meters and loop.time() - began < PATIENCE * hours * 3600:  # noqa: ASYNC110
                    await asyncio.sleep(LOOK_EVERY)
                found.joined, found.hours = street.joined, (loop.time() - began) / 3600
                found.cpu, found.frames = time.process_time() - cpu, street.line.channel.sent

    clockwork.run(main, street.line.scheduler)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.joining")
    parser.add_argument("meters", type=int)
    parser.add_argument("--hours", type=float, default=6.0)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    json.dump(asdict(joining(asked.meters, asked.hours, seed=asked.seed)), sys.stdout, indent=1)


if __name__ == "__main__":
    main()
