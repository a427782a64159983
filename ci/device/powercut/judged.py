"""Judges a recording of the device's disks."""

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from device.paths import OUT
from ota.powercut import campaign, log, plans
from ota.powercut.campaign import Outcome
from ota.powercut.checks.device import DeviceJudge
from ota.powercut.replay import Replay

KEPT = OUT / "powercut-failures"
Started = Callable[[int], Callable[[Outcome], None]]  # is told how many states there will be


def judged(
    name: str, home: Path, states: int, seed: int, started: Started = lambda _: lambda _: None, *, canary: bool = False
) -> Outcome:
    """Judge the recording in `home` (see plans.chosen); a canary until it is caught. What fails is kept in KEPT."""
    recording = log.read(home)
    chosen = plans.chosen(recording, states, seed)
    space = scratch()
    try:
        judge = DeviceJudge(recording, space, Replay(recording).state({}))
        outcome = campaign.run(name, recording, judge, chosen, started(len(chosen)), enough=1 if canary else 0)
    finally:
        shutil.rmtree(space)
    if outcome.failed and not canary:
        outcome.kept = campaign.keep(outcome, recording, KEPT)
    return outcome


def scratch() -> Path:
    memory = Path("/dev/shm")  # noqa: S108 - a directory of our own in it
    return Path(tempfile.mkdtemp(prefix="powercut-", dir=memory if memory.is_dir() else None))
