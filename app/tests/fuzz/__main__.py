"""`python -m tests.fuzz`, from app/: fuzz every parser, for as long as you like or for so many inputs each."""

import argparse
import json
import secrets
import sys
import time
from contextlib import suppress
from pathlib import Path

from .engine import Fuzzer, examine
from .targets import TARGETS

SLICE = 0.5  # seconds with one target before the next has its turn


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, help="in total, over all targets (60; with --inputs: no end)")
    parser.add_argument(
        "--inputs", type=int, help="for each target, those told in --figures included; quick ones first"
    )
    parser.add_argument("--figures", type=Path, help="keep count of the inputs of all runs in this file")
    parser.add_argument("--seed", type=int, help="repeat a run; else a fresh one, which is printed")
    parser.add_argument("--target", action="append", help="only this one; may be given again")
    parser.add_argument("--out", type=Path, default=Path("build/fuzz"), help="where failing inputs go (build/fuzz)")
    parser.add_argument("--replay", type=Path, help="try one kept input again")
    parser.add_argument("--list", action="store_true", help="list the targets")
    arguments = parser.parse_args()
    targets = {target.name: target for target in TARGETS}
    if arguments.list:
        print(*targets, sep="\n")
        return 0
    if arguments.replay:
        return replay(arguments.replay)
    seed = arguments.seed if arguments.seed is not None else secrets.randbelow(1 << 32)
    unknown = set(arguments.target or ()) - set(targets)
    if unknown:
        parser.error(f"no target {', '.join(sorted(unknown))}; --list shows them")
    print(f"seed {seed}", flush=True)
    seconds = arguments.seconds or (float("inf") if arguments.inputs else 60.0)
    search = Search([Fuzzer(targets[name], seed) for name in arguments.target or targets], arguments.out)
    if arguments.figures:
        search.figures = Figures(arguments.figures)
    with suppress(KeyboardInterrupt):  # Ctrl-C ends the search, not the report
        if arguments.inputs:
            search.so_many(arguments.inputs, time.monotonic() + seconds)
        else:
            search.so_long(time.monotonic() + seconds)
    search.report()
    return 1 if search.found else 0


class Figures:
    """How many inputs each target has had in all runs, in a JSON file."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self.inputs: dict[str, int] = json.loads(path.read_text()) if path and path.exists() else {}

    def add(self, name: str, runs: int) -> None:
        self.inputs[name] = self.inputs.get(name, 0) + runs
        if self._path:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            part = self._path.with_suffix(".part")
            part.write_text(json.dumps(self.inputs, indent=1))
            part.replace(self._path)


class Search:
    """Turns of several fuzzers; one with a finding is left out from then on."""

    def __init__(self, fuzzers: list[Fuzzer], out: Path) -> None:
        self.found = 0
        self.figures = Figures()
        self._all = fuzzers
        self._going = list(fuzzers)
        self._out = out

    def so_long(self, deadline: float) -> None:
        while self._going and (left := deadline - time.monotonic()) > 0:
            share = min(SLICE, left / len(self._going))
            for fuzzer in list(self._going):
                self._turn(fuzzer, share)

    def so_many(self, inputs: int, deadline: float) -> None:
        """Until each target has had so many, those first that are soonest done."""
        for fuzzer in list(self._going):
            self._turn(fuzzer, SLICE, self._left(fuzzer, inputs))
        for fuzzer in sorted(self._going, key=lambda fuzzer: self._left(fuzzer, inputs) / fuzzer.rate):
            while fuzzer in self._going and self._left(fuzzer, inputs) and time.monotonic() < deadline:
                self._turn(fuzzer, 20 * SLICE, self._left(fuzzer, inputs))
            print(f"{fuzzer.target.name:28} {self.figures.inputs.get(fuzzer.target.name, 0):10} inputs", flush=True)

    def report(self) -> None:
        for fuzzer in self._all:
            total = self.figures.inputs.get(fuzzer.target.name, 0)
            more = f"  {total:11,} in all runs" if total > fuzzer.runs else ""
            print(f"{fuzzer.target.name:28} {fuzzer.runs:11,} inputs  {len(fuzzer.outcomes):5} outcomes{more}")

    def _left(self, fuzzer: Fuzzer, inputs: int) -> int:
        return max(0, inputs - self.figures.inputs.get(fuzzer.target.name, 0))

    def _turn(self, fuzzer: Fuzzer, seconds: float, runs: int = 1 << 62) -> None:
        before, started = fuzzer.runs, time.monotonic()
        finding = fuzzer.run(seconds, runs)
        fuzzer.rate = max(1, fuzzer.runs - before) / (time.monotonic() - started)
        self.figures.add(fuzzer.target.name, fuzzer.runs - before)
        if finding is not None:
            self.found += 1
            self._going.remove(fuzzer)
            print(f"{finding}\n  kept in {finding.write(self._out)}", flush=True)


def replay(path: Path) -> int:
    lines = path.read_text().splitlines()
    name = lines[0].removeprefix("# ").partition(":")[0]
    (target,) = [target for target in TARGETS if target.name == name]
    outcome, finding = examine(target, bytes.fromhex(lines[-1]))
    print(finding or f"{name}: nothing wrong any more: {outcome}")
    return 1 if finding else 0


if __name__ == "__main__":
    sys.exit(main())
