"""A street in a process of its own, and a collector that is killed again and again; what it promised is written down.

The oracle stands outside of both: the meters say which counters they accepted, the control socket's answers say what
was promised to be durable (a flush that returned, a command that was reported), the files say what is there.
"""

import asyncio
import json
import signal
import sqlite3
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE
from collections import Counter
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from dcu.control.client import ControlClient
from dcu.errors import DcuError, LinkError
from dcu.keys.wrapped import new_kek
from dcu.store import Critical, check
from neighbourhood import truth

START = 30.0  # seconds a process may take to be ready
SEED = 11
FAMILY = """\
name = "simulated"
[security]
counter = "0-0:43.1.0*255"
[session]
max_pdu = 600
[clock]
adjust = "never"
[[poll]]
profile = "1-0:99.1.0*255"
scheduled = 86400.0
history = {history}.0
"""
# The bitrate bounds what a life can collect, also on a fast machine: there must be work left for the last of them.
CONFIG = """\
system_title = "4443550000000001"
meter_profiles = "families"
trust_clock = "never"
log = "warning"
[keys]
file = "keys"
kek = "kek"
[store]
directory = "store"
commit_every = 1
commit_rows = 400
retention_days = 400
[control]
socket = "control.sock"
[[medium]]
name = "loopback"
addresses = ["tcp://*"]
concurrency = 8
bitrate = 1.6e6
burst = 0.1
[limits]
counter_block = 16
"""
DONE = ("done", "unanswered, but done: read back")
COLLECTOR = "from dcu.cli.main import main; main()"


@dataclass(frozen=True)
class Told:
    """Readings that the collector said it had taken."""

    meter: str
    first: int
    last: int
    count: int


@dataclass
class Promises:
    """What the collector has promised to be durable."""

    readings: list[Told] = field(default_factory=list)
    audited: Counter = field(default_factory=Counter)  # (meter, action): how often "done" was reported
    flushes: int = 0


class Rig:
    def __init__(self, folder: Path, meters: int, days: int, seed: int) -> None:
        self.folder = folder
        self.random = Random(seed)
        self.meters = meters
        self.days = days
        self.promises = Promises()
        self.street = None
        self.collector = None
        self.command = COLLECTOR
        self.rows = 0
        self.log = (folder / "collector.log").open("wb")
        new_kek(folder / "kek")
        (folder / "families").mkdir()
        (folder / "families" / "simulated.toml").write_text(FAMILY.format(history=days * truth.DAY))
        (folder / "collector.toml").write_text(CONFIG)

    async def open_street(self) -> None:
        arguments = (
            f"meters --count {self.meters} --seed {SEED} --profile simulated --shipment shipment.toml"
            " --transport-key transport.key --status street.json --json"
        )
        self.street = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "neighbourhood", *arguments.split(), stdin=DEVNULL, stdout=PIPE, cwd=self.folder
        )
        async with asyncio.timeout(START):
            assert await self.street.stdout.readline()

    async def spawn(self) -> None:
        self.collector = await asyncio.create_subprocess_exec(
            sys.executable, "-c", self.command, "run", "--config", "collector.toml",
            stdin=DEVNULL, stdout=DEVNULL, stderr=self.log, cwd=self.folder,
        )  # fmt: skip

    async def control(self) -> ControlClient:
        """Connect as soon as the collector listens. Raises LinkError when it has ended, or does not start."""
        deadline = time.monotonic() + START
        while True:
            try:
                return await ControlClient.connect(self.folder / "control.sock")
            except LinkError:
                if self.collector.returncode is not None or time.monotonic() > deadline:
                    raise
                await asyncio.sleep(0.01)

    async def kill(self) -> None:
        with suppress(ProcessLookupError):
            self.collector.kill()
        await self.collector.wait()

    async def close(self) -> None:
        for process in (self.collector, self.street):
            if process and process.returncode is None:
                process.kill()
                await process.wait()
        if self.street:
            self.street._transport.close()
        self.log.close()

    # --- a life of the collector

    async def live_and_die(self) -> None:
        """Start the collector, ask things of it, kill it at a random instant."""
        random = self.random
        await self.spawn()
        if random.random() < 0.15:  # while it starts
            await asyncio.sleep(random.uniform(0.2, 0.8))
            await self.kill()
            return
        client = await self.control()
        talking = asyncio.create_task(self._talk(client))
        await asyncio.sleep(random.uniform(0.0, 0.7))
        await self.kill()
        await talking
        await client.close()

    async def _talk(self, client: ControlClient) -> None:
        """Follow the events; flush and command now and then; write down what was promised."""
        told: list[Told] = []
        names = [f"GDM{SEED:04d}{number:05d}" for number in range(1, self.meters + 1)]

        async def listen() -> None:
            async for event in client.events():
                data = event.data
                assert "dropped" not in data
                told.append(Told(data["meter"], data["first"], data["last"], data["count"]))

        async def flush() -> None:
            while True:
                await asyncio.sleep(self.random.uniform(0.02, 0.3))
                before = list(told)
                await client.call("flush")
                self.promises.readings += before
                self.promises.flushes += 1

        async def switch() -> None:
            while True:
                meter, command = self.random.choice(names), self.random.choice(("disconnect", "reconnect"))
                await client.call("command", meter=meter, command=command)
                self.promises.audited[meter, command] += 1

        with suppress(DcuError):
            await client.subscribe("reading")
            tasks = [asyncio.create_task(work()) for work in (listen, flush, switch)]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                task.cancel()
            for outcome in await asyncio.gather(*tasks, return_exceptions=True):
                if isinstance(outcome, Exception) and not isinstance(outcome, DcuError):
                    raise outcome

    # --- the examination

    async def examine(self) -> None:
        """After a death: the store is whole, and nothing that was promised is missing."""
        store = self.folder / "store"
        if not (store / "critical.db").exists():
            return
        report = check(store)
        assert report.ok, report.findings
        names, stored = self._stored(store)
        assert len(stored) >= self.rows, "committed readings were lost"
        self.rows = len(stored)
        ids = {name: number for number, name in names.items()}
        for promise in self.promises.readings:
            rows = range(promise.first, promise.last + 1, truth.HOUR)
            have = sum((at, ids[promise.meter]) in stored for at in rows)
            assert have >= promise.count, f"{promise} was flushed, {have} are there"
        self.promises.readings.clear()  # from here on `rows` keeps watch
        await self._examine_critical(store)

    async def _examine_critical(self, store: Path) -> None:
        seen = await self.status()
        assert seen["counter_reuse"] == 0, seen["reused"]
        critical = Critical.open(store / "critical.db")
        try:
            done = Counter((e.subject, e.action) for e in critical.audit_log(1 << 20) if e.detail in DONE)
        finally:
            critical.close()
        with closing(sqlite3.connect(store / "critical.db")) as db:
            unused = dict(db.execute("SELECT meter, max(next) FROM counters GROUP BY meter"))
        for meter, highest in seen["counters"].items():
            assert unused.get(meter, 0) > highest, (
                f"{meter}: counter {highest} was used, {unused.get(meter)} is the next"
            )
        for what, times in self.promises.audited.items():
            assert done[what] >= times, f"{what} was reported {times} times, audited {done[what]}"

    @staticmethod
    def _stored(store: Path) -> tuple[dict[int, str], set[tuple[int, int]]]:
        with closing(sqlite3.connect(store / "critical.db")) as db:
            names = dict(db.execute("SELECT id, name FROM meters"))
        stored: set[tuple[int, int]] = set()
        for path in store.glob("readings-*.db"):
            with closing(sqlite3.connect(path)) as db:
                if db.execute("SELECT 1 FROM sqlite_master WHERE name = 'readings'").fetchone():
                    stored.update(db.execute("SELECT ts, meter FROM readings"))  # else killed while it was made
        return names, stored

    async def status(self) -> dict:
        """What the meters have seen."""
        path = self.folder / "street.json"
        path.unlink(missing_ok=True)
        self.street.send_signal(signal.SIGUSR1)
        async with asyncio.timeout(START):
            while not path.exists():
                await asyncio.sleep(0.01)
        return json.loads(path.read_text())
