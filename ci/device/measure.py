"""`python -m device.measure`: what an outage costs on the device, in guest time (docs/last-gasp.md has the figures).

With `-icount` every instruction takes 8 ns of the guest's time, however busy the host is: 125 million instructions a
second, a quarter of a small board's processor. The disk is the host's page cache: a slow card comes on top.
"""

# ruff: noqa: T201  (a command speaks)

import json
import re
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from device import bank, disk, system, uboot
from device.headend import HeadEnd
from device.qemu import Device
from device.tests.test_lastgasp import PYTHON, told_of

SLOW = 10  # times longer than without -icount
# A full buffer, of 1,000 meters; committed as in an outage, with that many seconds
FLUSH = """
import asyncio, json, shutil, sys, time
from pathlib import Path
from dcu.clock import SystemClock
from dcu.model import AttributeRef, Column, Obis, Reading
from dcu.store import Store
from dcu.store.records import Settings

METERS, PERIOD = 1000, 900
ROWS = Settings().commit_rows // METERS
PROFILE = Obis.parse("1-0:99.1.0*255")
COLUMNS = tuple(Column(AttributeRef.parse(f"3,1-0:{code}.8.0*255,2"), 0, "Wh") for code in (1, 2, 3, 4))

async def main(folder, seconds):
    shutil.rmtree(folder, ignore_errors=True)
    settings = Settings(30, 6 * 3600, 1 << 30, 8 << 20)
    store = await Store.open(Path(folder), clock=SystemClock(), settings=settings)
    names = [f"GDM{number:011d}" for number in range(METERS)]
    await store.add_meters([(name, "tcp://192.0.2.1:4059", "generic", bytes(8)) for name in names])
    end = int(time.time()) // PERIOD * PERIOD
    for number, name in enumerate(names):
        await store.set_layout(name, PROFILE, COLUMNS)
        rows = [Reading(end - PERIOD * back, 0, (number + back, 17, 23, back)) for back in range(ROWS, 0, -1)]
        await store.add(name, PROFILE, rows)
    done = await store.flush_within(seconds)
    store.freeze()
    print(json.dumps({"rows": done.rows, "left": done.left, "seconds": done.seconds}), flush=True)
    import os
    os._exit(0)

asyncio.run(main(sys.argv[1], float(sys.argv[2])))
"""
AS_COLLECTOR = "setpriv --reuid dcu --regid dcu --clear-groups"


@dataclass(frozen=True, slots=True)
class Flush:
    """A full buffer committed. allowed, seconds: guest time; committed, left: readings."""

    allowed: float
    committed: int
    left: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Measured:
    """notice, off: seconds from the failure to the forced end and to switching off; steps: seconds after the edge."""

    notice: float
    off: float
    flushes: tuple[Flush, ...]
    steps: tuple[tuple[float, str], ...]


def main() -> None:
    measured(tell)


def measured(tell: Callable[[str], None]) -> Measured:
    """Measure on a fresh device, telling each figure as it comes."""
    good = bank.build(system.build())
    with Device(uboot.build(), disk.build(good, good), icount=True) as dut, HeadEnd() as headend:
        dut.booted(90 * SLOW)
        dut.shell(
            "systemctl start var-lib-dcu.mount; systemctl stop dcu-health.service dcu-collector.service", 60 * SLOW
        )
        notice = int(dut.shell("cat /sys/class/misc/lastgasp/deadline_ms", 60 * SLOW)) / 1000
        off = max(notice - 2.0, notice / 2)  # `off_before`, as dcu.collect.powerfail counts
        tell(f"failure to forced end {notice:.1f} s, to switching off {off:.1f} s, to commit {off / 2:.1f} s")
        flushes = tuple(_flushed(dut, allowed, tell) for allowed in (off / 2, 0.2))
        dut.shell("systemctl start dcu-collector.service", 200 * SLOW)
        with tempfile.TemporaryDirectory() as folder:
            told_of(dut, headend, Path(folder), SLOW)
        return Measured(notice, off, flushes, _outage(dut, headend, tell))


def _flushed(dut: Device, allowed: float, tell: Callable[[str], None]) -> Flush:
    dut.put("/run/flush.py", FLUSH.encode())
    dut.shell("install -d -o dcu -g dcu /var/lib/dcu/measured", 60 * SLOW)
    command = f"{AS_COLLECTOR} {PYTHON} /run/flush.py /var/lib/dcu/measured/store {allowed}"
    done = json.loads(dut.shell(command, 120 * SLOW).splitlines()[-1])
    flush = Flush(allowed, done["rows"], done["left"], done["seconds"])
    tell(
        f"1,000 meters, {flush.committed + flush.left} readings in RAM, {allowed:.1f} s allowed: "
        f"{flush.committed} committed in {flush.seconds:.3f} s, {flush.left} left"
    )
    return flush


def tell(text: str) -> None:
    print(text, flush=True)


def _outage(dut: Device, headend: HeadEnd, tell: Callable[[str], None]) -> tuple[tuple[float, str], ...]:
    """Return when the collector took each of its steps, in seconds after the line's edge."""
    dut.shell("sleep 5", 60 * SLOW)
    dut.mains(present=False)
    headend.hear(30 * SLOW)
    dut.shell("sleep 2", 60 * SLOW)
    dut.mains(present=True)
    said = dut.shell("sleep 2; journalctl -b -u dcu-collector.service -o cat --no-pager", 60 * SLOW)
    edge = re.search(r"the mains failed at (\S+),", said)
    assert edge, said
    began = datetime.fromisoformat(edge[1]).replace(tzinfo=None)
    steps = []
    for line in said[edge.start() - 60 :].splitlines():
        if found := re.match(r"(\S+ \S+),(\d+) \w+ [\w.]+: (power failure: .*|last gasp: .*|the mains .*)", line):
            at = datetime.fromisoformat(found[1]) + timedelta(milliseconds=int(found[2]))
            steps.append(((at - began).total_seconds(), found[3]))
            tell(f"{steps[-1][0] * 1000:8.0f} ms  {found[3]}")
    return tuple(steps)


if __name__ == "__main__":
    sys.exit(main())
