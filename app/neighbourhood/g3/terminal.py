"""The same street in real time: the modem at a pseudo-terminal, which the collector opens as it opens a serial port.

The street begins joined and routed, since joining in real time takes minutes; everything above the terminal is what
runs on a device. `factor` makes the street faster than the wall clock.
"""

import asyncio
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from dcu.errors import DcuError
from neighbourhood import truth, verdict
from neighbourhood.g3.clockwork import RealTime
from neighbourhood.g3.street import Scene, Street, collected, collecting
from neighbourhood.processes import DemoFailed
from neighbourhood.verdict import Verdict

STALL = 120.0  # seconds without a reading


@dataclass(frozen=True, slots=True)
class Outcome:
    verdict: Verdict
    seconds: float
    datagrams: int
    bad_frames: int
    kept: str = ""

    @property
    def good(self) -> bool:
        return self.verdict.good


async def run(scene: Scene, tell: Callable[[int, int], None], *, factor: float = 1.0, noise: float = 0.0) -> Outcome:
    """noise: share of bytes on the serial line of which a bit turns. Raises DcuError; the directory then stays."""
    folder = Path(tempfile.mkdtemp(prefix="dcu-pty-"))
    street = Street.build(replace(scene, joined=True))
    bridge = RealTime(street.line.scheduler, factor)
    street.modem.uart.noise = noise
    try:
        async with collecting(street, folder, bridge.enter, pty=True) as house:
            await house.up()
            began = time.monotonic()
            await house.register()
            await collected(house, tell=tell, stall=STALL)
            seconds = time.monotonic() - began
            await house.collector.services.store.flush()
            counts = house.network.statistics()
    except (DcuError, TimeoutError) as error:
        raise DemoFailed(f"{error}\n(kept: {folder})") from None
    finally:
        bridge.close()
    last = int(scene.start.timestamp() - scene.delay) // truth.HOUR * truth.HOUR
    found = verdict.stored(folder / "store")
    what = verdict.truth_of(scene.seed)
    judged = verdict.judge(found, street.names(), last - (truth.HOURS - 1) * truth.HOUR, last, truth.HOUR, what)
    if judged.good:
        shutil.rmtree(folder)
    kept = "" if judged.good else str(folder)
    return Outcome(judged, seconds, counts.get("datagrams-received", 0), counts.get("bad-frames", 0), kept)


def play(scene: Scene, tell: Callable[[int, int], None], *, factor: float = 1.0) -> Outcome:
    return asyncio.run(run(scene, tell, factor=factor))
