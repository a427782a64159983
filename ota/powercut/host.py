"""What needs no QEMU: the store, the doubly written files, the environment; each with its canaries."""

import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ota.errors import OtaError
from ota.powercut import campaign, log, plans
from ota.powercut.campaign import Judge, Outcome
from ota.powercut.log import Recording
from ota.powercut.rigs import environment, mounted, store

Tell = Callable[[Outcome], None]
TURNS, SAVES = 60, 40  # of a short run; a long one works longer, too


@dataclass(frozen=True, slots=True)
class Rig:
    """canary: what is broken on purpose: then a failure must be found."""

    name: str
    record: Callable[[Path, int, int], None]  # where, seed, how many states are wanted
    judge: Callable[[Recording, Path], Judge]
    canary: bool = False


def _of_store(recording: Recording, scratch: Path) -> Judge:
    return store.StoreJudge(recording, scratch)


def _of_environment(recording: Recording, scratch: Path) -> Judge:
    return environment.EnvironmentJudge(recording)


RIGS = (
    Rig("store", lambda home, seed, states: store.record(home, max(TURNS, states // 20), seed), _of_store),
    Rig(
        "environment",
        lambda home, seed, states: environment.record(home, max(SAVES, states // 20), seed),
        _of_environment,
    ),
)
CANARIES = (
    Rig("store without fsync", lambda home, seed, _: store.record(home, 12, seed, "fsync"), _of_store, True),
    Rig("day files without EXTRA", lambda home, seed, _: store.record(home, 40, seed, "directory"), _of_store, True),
    Rig("store that answers first", lambda home, seed, _: store.record(home, 12, seed, "answer"), _of_store, True),
    Rig(
        "environment saved in place",
        lambda home, seed, _: environment.record(home, 12, seed, environment.IN_PLACE),
        _of_environment,
        True,
    ),
)


def check(rig: Rig, states: int, seed: int, tell: Tell, kept: Path) -> Outcome:
    """Record and judge (see plans.chosen); a canary until it is caught. What fails is kept in `kept`, but no canary's.

    Raises OtaError: the host cannot do it.
    """
    if why := mounted.why_not():
        raise OtaError(why)
    home = Path(tempfile.mkdtemp(prefix="powercut-"))
    scratch = Path(tempfile.mkdtemp(prefix="powercut-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None))  # noqa: S108
    try:
        rig.record(home, seed, states)
        recording = log.read(home)
        chosen = plans.chosen(recording, states, seed)
        outcome = campaign.run(
            rig.name, recording, rig.judge(recording, scratch), chosen, tell, enough=1 if rig.canary else 0
        )
        if outcome.failed and not rig.canary:
            outcome.kept = campaign.keep(outcome, recording, kept)
        return outcome
    finally:
        for each in (home, scratch):
            with suppress(OSError):
                shutil.rmtree(each)
