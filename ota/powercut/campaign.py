"""Judges many states of a recording, and keeps what failed so that it can be looked at again."""

import os
import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from ota.powercut.log import Recording
from ota.powercut.plans import Plan
from ota.powercut.replay import Replay, State, name

KEPT = 20  # failures that are told in full


class Judge(Protocol):
    examined: int

    def judge(self, state: State) -> list[str]: ...


@dataclass(slots=True)
class Outcome:
    """failures: state and what is wrong with it; examined: how often a part of a disk had to be looked at; kept: where
    the recording of failures is.
    """

    rig: str
    records: int
    states: int = 0
    examined: int = 0
    failed: int = 0
    seconds: float = 0.0
    failures: list[tuple[str, list[str]]] = field(default_factory=list)
    kept: Path | None = None

    @property
    def ok(self) -> bool:
        return not self.failed


def run(
    rig: str,
    recording: Recording,
    judge: Judge,
    plans: Iterable[Plan],
    tell: Callable[[Outcome], None] = lambda outcome: None,
    *,
    enough: int = 0,
) -> Outcome:
    """Judge the states of `plans`, which go forward. enough: stop after so many failures, 0: never."""
    outcome = Outcome(rig, len(recording.records) - recording.begin)
    replay, began = Replay(recording), time.monotonic()
    for position, choices in plans:
        replay.seek(position)
        found = judge.judge(replay.state(choices))
        outcome.states += 1
        outcome.examined, outcome.seconds = judge.examined, time.monotonic() - began
        if found:
            outcome.failed += 1
            if len(outcome.failures) < KEPT:
                outcome.failures.append((name(position, choices), found))
            if enough and outcome.failed >= enough:
                break
        tell(outcome)
    return outcome


def keep(outcome: Outcome, recording: Recording, where: Path) -> Path:
    """Keep a recording with failing states; return its directory."""
    home = where / f"{outcome.rig.replace(' ', '-')}-{time.strftime('%Y%m%d-%H%M%S')}"
    home.mkdir(parents=True)
    for each in ("log", "sectors"):
        try:
            os.link(recording.home / each, home / each)
        except OSError:
            shutil.copyfile(recording.home / each, home / each)
    lines = [
        line for state, found in outcome.failures for line in (f"STATE={state}", *(f"    {text}" for text in found))
    ]
    (home / "failures.txt").write_text("\n".join(lines) + "\n")
    return home
