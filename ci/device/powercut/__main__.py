"""`python -m device.powercut` (`make powercut`): cuts the power of store, environment and device, in many states.

Exit code 0: nothing was lost and every canary was caught; 1: a state failed; 2: a canary was not caught, or the host
cannot run a rig.
"""

import argparse
import json
import random
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from device.cache import BuildError
from device.powercut import boots, canary, record, switch
from device.powercut.judged import KEPT, judged, scratch
from ota.errors import OtaError
from ota.powercut import campaign, host, log
from ota.powercut.campaign import Outcome
from ota.powercut.checks.device import DeviceJudge
from ota.powercut.replay import Replay, parse
from ota.powercut.rigs.environment import EnvironmentJudge
from ota.powercut.rigs.store import StoreJudge

SHOWN = 4  # findings of a state that are printed


def main() -> int:
    options = _parser().parse_args()
    options.states = options.states or (3000 if options.long else 200)
    options.boots = options.boots if options.boots is not None else 12 if options.long else 0
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(10**6)
    console = Console(stderr=True)
    console.print(f"SEED={seed}", highlight=False)
    try:
        if options.state:
            return _again(options.recording, options.state, console)
        outcomes = _run(options, seed, console)
        booted = boots.sample(options.boots, seed, console) if options.boots else []
    except (OtaError, BuildError, AssertionError) as error:
        console.print(f"[red]powercut: {error}[/]", highlight=False)
        return 2
    lost = any(not o.ok for rig, o in outcomes if not rig) or any(not boot.ok for boot in booted)
    uncaught = any(o.ok for rig, o in outcomes if rig)
    if options.json:
        shown = [{**_plain(outcome), "canary": is_canary} for is_canary, outcome in outcomes]
        booted_shown = [asdict(boot) for boot in booted]
        print(json.dumps({"seed": seed, "outcomes": shown, "boots": booted_shown, "ok": not (lost or uncaught)}))  # noqa: T201
    else:
        _show(outcomes, console)
        boots.show(booted, console)
    return 1 if lost else 2 if uncaught else 0


def _run(options: argparse.Namespace, seed: int, console: Console) -> list[tuple[bool, Outcome]]:
    """Return (is a canary, outcome) of every rig."""
    outcomes = []
    columns = (TextColumn("{task.description:28}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TextColumn("{task.fields[told]}"), console=console, disable=options.json) as progress:
        if options.only in ("all", "host"):
            for rig in (*host.RIGS, *host.CANARIES):
                shown = _Shown(progress, rig.name)
                outcome = host.check(rig, options.states, seed, shown, KEPT)
                shown.done(outcome, canary=rig.canary)
                outcomes.append((rig.canary, outcome))
        if options.only in ("all", "device"):
            outcomes += _installations(seed, progress)
            outcomes.append((False, _device("device", record.update(), options.states, seed, progress)))
            if options.long:
                told = "SWUpdate without dcu-flush.sh"
                outcomes.append((True, _device(told, canary.unflushed(), 100, seed, progress, canary=True)))
    return outcomes


def _installations(seed: int, progress: Progress) -> Iterator[tuple[bool, Outcome]]:
    """The installation on this host: as it is, and broken."""
    for order in switch.ORDERS:
        home, name = Path(tempfile.mkdtemp(prefix="powercut-")), f"installation, {order}"
        is_canary = order != switch.ORDERS[0]
        try:
            switch.install(home, order)
            yield is_canary, _device(name, home, 100, seed, progress, canary=is_canary)
        finally:
            shutil.rmtree(home, ignore_errors=True)


def _device(name: str, home: Path, states: int, seed: int, progress: Progress, *, canary: bool = False) -> Outcome:
    shown = _Shown(progress, name)
    outcome = judged(name, home, states, seed, shown.of, canary=canary)
    shown.done(outcome, canary=canary)
    return outcome


class _Shown:
    """A rig's line of progress."""

    def __init__(self, progress: Progress, name: str) -> None:
        self.name = name
        self._progress = progress
        self._task = progress.add_task(name, total=None, told="")

    def of(self, total: int) -> "_Shown":
        self._progress.update(self._task, total=total)
        return self

    def __call__(self, outcome: Outcome) -> None:
        told = f"{outcome.examined} examined" + (f", {outcome.failed} FAILED" if outcome.failed else "")
        self._progress.update(self._task, completed=outcome.states, told=told)

    def done(self, outcome: Outcome, *, canary: bool) -> None:
        verdict = ("caught" if outcome.failed else "NOT CAUGHT") if canary else "ok" if outcome.ok else "FAILED"
        self._progress.update(self._task, total=outcome.states, completed=outcome.states, told=verdict)


def _again(home: Path | None, state: str, console: Console) -> int:
    """Look at one state once more."""
    recording = log.read(home or record.update())
    position, choices = parse(state, recording.disks)
    replay, space = Replay(recording), scratch()
    try:
        names = {disk.name for disk in recording.disks}
        judge: campaign.Judge
        if names == {"card", "disk"}:
            judge = DeviceJudge(recording, space, Replay(recording).state({}))
        else:
            judge = EnvironmentJudge(recording) if names == {"card"} else StoreJudge(recording, space)
        replay.seek(position)
        found = judge.judge(replay.state(choices))
    finally:
        shutil.rmtree(space)
    for line in found or ["nothing is wrong with it"]:
        console.print(line, highlight=False)
    return 1 if found else 0


def _show(outcomes: list[tuple[bool, Outcome]], console: Console) -> None:
    table = Table("rig", "records", "states", "examined", "s", "verdict")
    for is_canary, outcome in outcomes:
        if is_canary:
            verdict = "[green]caught[/]" if outcome.failed else "[red]NOT CAUGHT[/]"
        else:
            verdict = "[green]nothing lost[/]" if outcome.ok else f"[red]{outcome.failed} states failed[/]"
        numbers = (outcome.records, outcome.states, outcome.examined, round(outcome.seconds))
        table.add_row(("canary: " if is_canary else "") + outcome.rig, *map(str, numbers), verdict)
    console.print(table)
    for is_canary, outcome in outcomes:
        for state, found in outcome.failures[: 1 if is_canary else campaign.KEPT]:
            console.print(f"{outcome.rig}: STATE={state}", highlight=False)
            for line in found[:SHOWN]:
                console.print(f"    {line}", highlight=False)
        if outcome.kept:
            console.print(f"again: make powercut RECORDING={outcome.kept} STATE=…", highlight=False)


def _plain(outcome: Outcome) -> dict[str, Any]:
    return {**asdict(outcome), "kept": str(outcome.kept) if outcome.kept else None, "ok": outcome.ok}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make powercut", description="Cut the power, in every state that matters.")
    parser.add_argument("--states", type=int, default=0, help="by lot, and at flushes at most, of each rig")
    parser.add_argument("--seed", type=int, help="of what is drawn; else a new one, which is printed")
    parser.add_argument("--boots", type=int, help="boot so many of the device's states in QEMU")
    parser.add_argument("--long", action="store_true", help="3000 states, 12 boots, and the canary that is an update")
    parser.add_argument("--only", choices=("all", "host", "device"), default="all")
    parser.add_argument("--state", help="look at this one state again")
    parser.add_argument("--recording", type=Path, help="of that state; else the device's")
    parser.add_argument("--json", action="store_true")
    return parser


if __name__ == "__main__":
    sys.exit(main())
