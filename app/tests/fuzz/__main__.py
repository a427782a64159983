"""`python -m tests.fuzz`, from app/: fuzz every parser for as long as you like."""

import argparse
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
    parser.add_argument("--seconds", type=float, default=60, help="in total, over all targets (60)")
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
    print(f"seed {seed}")
    return fuzz([Fuzzer(targets[name], seed) for name in arguments.target or targets], arguments.seconds, arguments.out)


def fuzz(fuzzers: list[Fuzzer], seconds: float, out: Path) -> int:
    """Give the targets their turns until the time is over; a target with a finding is left out from then on."""
    deadline = time.monotonic() + seconds
    going, found = list(fuzzers), 0
    with suppress(KeyboardInterrupt):  # Ctrl-C ends the search, not the report
        while going and (left := deadline - time.monotonic()) > 0:
            share = min(SLICE, left / len(going))
            for fuzzer in list(going):
                finding = fuzzer.run(share)
                if finding is not None:
                    found += 1
                    going.remove(fuzzer)
                    print(f"{finding}\n  kept in {finding.write(out)}", flush=True)
    for fuzzer in fuzzers:
        print(f"{fuzzer.target.name:28} {fuzzer.runs:10} inputs  {len(fuzzer.outcomes):5} outcomes")
    return 1 if found else 0


def replay(path: Path) -> int:
    lines = path.read_text().splitlines()
    name = lines[0].removeprefix("# ").partition(":")[0]
    (target,) = [target for target in TARGETS if target.name == name]
    outcome, finding = examine(target, bytes.fromhex(lines[-1]))
    print(finding or f"{name}: nothing wrong any more: {outcome}")
    return 1 if finding else 0


if __name__ == "__main__":
    sys.exit(main())
