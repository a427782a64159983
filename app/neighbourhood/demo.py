"""The demo: a street and the collector, two processes that meet on loopback sockets, and a comparison of all they did.

The meters get keys of this run's own, shipped under a transport key and imported through the control socket; the
collector's key-encryption key is made for the run. When the last 24 hours of every meter are collected, the collector
is stopped, its store is opened for reading, and every reading is compared with the street's truth.
"""

import asyncio
import json
import secrets
import shutil
import tempfile
import time
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from dcu.errors import DcuError
from dcu.keys.wrapped import new_kek
from neighbourhood import truth, verdict
from neighbourhood.identity import serial
from neighbourhood.processes import START, DemoFailed, Processes, Tell, peak
from neighbourhood.verdict import Verdict

LINE = "cabinet"  # the serial line, where there is one
DELAY = 60  # seconds past the hour after which a row is asked for: meters' clocks are up to 52 s slow

FAMILY = """\
name = "simulated"
description = "a meter of the simulated street"

[security]
counter = "0-0:43.1.0*255"

[clock]
adjust = "never"

[[poll]]
profile = "1-0:99.1.0*255"
every = 3600.0
delay = {delay}.0
scheduled = {seconds}.0
history = {seconds}.0
"""
CONFIG = """\
system_title = "{title}"
meter_profiles = "families"
trust_clock = "never"
log = "{log}"

[keys]
file = "keys.wrapped"
kek = "kek"

[store]
directory = "store"

[control]
socket = "control.sock"

[[medium]]
name = "{medium}"
{medium_keys}
"""


@dataclass(frozen=True, slots=True)
class Settings:
    """units, seconds: by how much the truth is bent before the comparison, so that a test can see it fail."""

    meters: int = 48
    seed: int = 1
    concurrency: int = 32
    units: int = 0
    seconds: int = 0
    wired: bool = False  # all meters on one serial line


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the demo found. bytes: on the wire as the collector counts them; seconds: of collecting."""

    verdict: Verdict
    bytes: int
    seconds: float
    counter_reuse: int
    refused: dict[str, int]
    collector_rss: int
    street_rss: int
    kept: str = ""  # the directory, where the comparison failed

    @property
    def good(self) -> bool:
        return self.verdict.good and not self.counter_reuse and not self.refused

    def plain(self, settings: Settings) -> dict[str, Any]:
        """For machines."""
        return {
            "ok": self.good,
            **asdict(self.verdict),
            "meters_asked": settings.meters,
            "bytes": self.bytes,
            "seconds": round(self.seconds, 3),
            "sessions_per_second": round(self.verdict.meters / self.seconds, 1),
            "counter_reuse": self.counter_reuse,
            "refused": self.refused,
            "collector_rss": self.collector_rss,
            "street_rss": self.street_rss,
            "kept": self.kept,
        }


async def run(settings: Settings, tell: Tell) -> Outcome:
    """Run the demo in a directory of its own, which is removed; on failure it stays, and the error names it.

    Raises DcuError.
    """
    folder = Path(tempfile.mkdtemp(prefix="dcu-demo-"))
    try:
        outcome = await _Demo(folder, settings, tell).run()
    except DcuError as error:
        raise DemoFailed(f"{error}\n(kept: {folder})") from None
    if outcome.good:
        shutil.rmtree(folder)
    else:
        outcome = replace(outcome, kept=str(folder))
    return outcome


def window(now: float, meters: int) -> tuple[int, int]:
    """How long after a full hour its row is asked for, and the last row of those that are compared then.

    When an hour turns while we collect, some meters' last day would be another than the others': the row of that hour
    then waits until we are done.
    """
    longest = 120 + meters // 10  # seconds that collecting takes on a slow machine
    delay = DELAY
    if (now - delay) % truth.HOUR >= truth.HOUR - longest:
        delay += longest
    return delay, int(now - delay) // truth.HOUR * truth.HOUR


class _Demo:
    def __init__(self, folder: Path, settings: Settings, tell: Tell) -> None:
        self._folder = folder
        self._processes = Processes(folder)
        self._settings = settings
        self._tell = tell
        self._delay, self._last = window(time.time(), settings.meters)

    async def run(self) -> Outcome:
        self._prepare()
        settings = self._settings
        first = self._last - (truth.HOURS - 1) * truth.HOUR
        async with AsyncExitStack() as stack:
            street = await stack.enter_async_context(self._street())
            collector = await stack.enter_async_context(self._processes.collector())
            async with await self._processes.control() as control:
                started = time.monotonic()
                await self._processes.collect(control, settings.meters, self._tell)
                seconds = time.monotonic() - started
                await control.call("flush")
                media = (await control.call("status"))["media"]
            sizes = peak(collector.pid), peak(street.pid)
        seen = json.loads((self._folder / "street.json").read_text())
        names = {serial(settings.seed, number): number for number in range(1, settings.meters + 1)}
        found = verdict.stored(self._folder / "store")
        what = verdict.truth_of(settings.seed, units=settings.units, seconds=settings.seconds)
        judged = verdict.judge(found, names, first, self._last, truth.HOUR, what)
        return Outcome(
            judged,
            sum(medium["bytes"] for medium in media),
            seconds,
            seen["counter_reuse"],
            seen["refused"],
            *sizes,
        )

    def _prepare(self) -> None:
        folder = self._folder
        new_kek(folder / "kek")
        (folder / "store").mkdir()
        (folder / "families").mkdir()
        family = FAMILY.format(delay=self._delay, seconds=truth.HOURS * truth.HOUR)
        (folder / "families" / "simulated.toml").write_text(family)
        keys = f'addresses = ["tcp://*"]\nconcurrency = {self._settings.concurrency}'
        config = CONFIG.format(
            title=(b"DCU" + secrets.token_bytes(5)).hex(),
            medium=LINE if self._settings.wired else "loopback",
            medium_keys=f'device = "{LINE}.tty"\nbaud = 115200' if self._settings.wired else keys,
            log="warning",
        )
        (folder / "collector.toml").write_text(config)

    @asynccontextmanager
    async def _street(self) -> AsyncIterator[Process]:
        arguments = ("--count", self._settings.meters, "--seed", self._settings.seed, "--profile", "simulated")
        files = ("--shipment", "shipment.toml", "--transport-key", "transport.key", "--status", "street.json")
        wires = ("--pty", f"{LINE}.tty", "--line", LINE) if self._settings.wired else ()
        command = ("meters", "--json", *map(str, arguments), *files, *wires)
        async with self._processes.started("neighbourhood.cli", *command) as process:
            assert process.stdout
            try:
                async with asyncio.timeout(START + self._settings.meters * 0.05):
                    line = await process.stdout.readline()
            except TimeoutError:
                line = b""
            if not line:
                raise DemoFailed(f"the street did not start: {self._processes.log('neighbourhood.cli')}")
            yield process
