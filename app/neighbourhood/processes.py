"""A collector and what it reads, each a process, that meet in one folder: started, followed, ended in good order."""

import asyncio
import signal
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from dcu.control.client import ControlClient
from dcu.errors import DcuError, LinkError
from neighbourhood import truth

START = 30.0  # seconds a process may take until it is ready
STALL = 60.0  # seconds without progress after which the collection is over
Tell = Callable[[int, int], None]  # readings expected, readings collected


class DemoFailed(DcuError):
    """The demo did not come to its comparison."""


class Processes:
    """Those that work in `folder`, each with a log there: `<module>.log`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @asynccontextmanager
    async def collector(self) -> AsyncIterator[Process]:
        async with self.started("dcu.cli.main", "run", "--config", "collector.toml") as process:
            deadline = time.monotonic() + START
            while not (self.folder / "control.sock").is_socket():
                if process.returncode is not None or time.monotonic() > deadline:
                    raise DemoFailed(f"the collector did not start: {self.log('dcu.cli.main')}")
                await asyncio.sleep(0.05)
            yield process

    @asynccontextmanager
    async def started(self, module: str, *arguments: str) -> AsyncIterator[Process]:
        """A command in a process of its own; ended by SIGTERM on leaving, and it has to end well then."""
        with (self.folder / f"{module}.log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", f"from {module} import main; main()", *arguments,
                stdin=asyncio.subprocess.DEVNULL, stdout=PIPE, stderr=log, cwd=self.folder,
            )  # fmt: skip
        try:
            yield process
        except BaseException:
            await _end(process)
            raise
        if (code := await _end(process)) != 0:
            raise DemoFailed(f"{module} ended with {code}: {self.log(module)}")

    async def control(self) -> ControlClient:
        deadline = time.monotonic() + START
        while True:
            try:
                return await ControlClient.connect(self.folder / "control.sock")
            except LinkError:
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(0.05)

    async def collect(self, control: ControlClient, meters: int, tell: Tell) -> None:
        """Import the meters, which has them polled, and follow the progress to its end."""
        await control.subscribe("progress")
        shipment = (self.folder / "shipment.toml").read_text()
        transport_key = (self.folder / "transport.key").read_text().strip()
        await control.call("meters.import", shipment=shipment, transport_key=transport_key)
        events = control.events()
        collected, deadline = -1, time.monotonic() + STALL
        try:
            while True:
                async with asyncio.timeout(max(deadline - time.monotonic(), 0.0)):
                    told = (await anext(events)).data
                if told["collected"] > collected:
                    collected, deadline = told["collected"], time.monotonic() + STALL
                tell(meters * truth.HOURS, collected)
                if told["complete"] and told["meters"] >= meters:
                    return
        except TimeoutError:
            raise DemoFailed(f"no reading came in {STALL:g} s: {self.log('dcu.cli.main')}") from None
        except StopAsyncIteration:
            raise DemoFailed(f"the collector went away: {self.log('dcu.cli.main')}") from None

    def log(self, module: str) -> str:
        lines = (self.folder / f"{module}.log").read_text(errors="replace").splitlines()
        return " / ".join(lines[-3:]) or "it said nothing"


async def _end(process: Process) -> int:
    with suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(START):
            await process.communicate()
    except TimeoutError:
        process.kill()
        await process.communicate()
    return process.returncode or 0


def peak(pid: int) -> int:
    """The most memory that a process ever had, bytes; 0 where that cannot be seen."""
    try:
        with open(f"/proc/{pid}/status", encoding="ascii") as status:
            return next((int(line.split()[1]) << 10 for line in status if line.startswith("VmHWM:")), 0)
    except OSError:
        return 0
