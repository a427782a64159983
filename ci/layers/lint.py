"""`make layer-lint`: everything that can be told of the layers without OpenEmbedded, in under a minute."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from device.paths import BSP, LAYER, ROOT

from layers import fragments, payload, rules, syntax

KINDS = (".bb", ".bbappend", ".inc", ".conf")


def main() -> int:
    """Run every check; return how many of them found something."""
    checks: tuple[tuple[str, Callable[[], Iterable[str]]], ...] = (
        ("kas: schema, every combination of fragments, pins", fragments.faults),
        ("recipes: sources, licences, versions, boards", rules.faults),
        ("recipes: BitBake's parser", syntax.faults),
        ("recipes: oelint-adv", style_faults),
        ("payload: manifest against the bench", payload.faults),
    )
    return sum(report(*check) for check in checks)


def report(name: str, check: Callable[[], Iterable[str]]) -> bool:
    """Print what a check found; return whether it did."""
    began = time.monotonic()
    found = list(check())
    print(f"{'FAILED' if found else 'ok':6} {name} ({time.monotonic() - began:.1f} s)")  # noqa: T201 -- a command
    for fault in found:
        print(f"       {fault}")  # noqa: T201
    return bool(found)


def style_faults() -> Iterator[str]:
    """oelint-adv with the rules of layers/oelint.cfg."""
    files = [path for layer in (LAYER, BSP) for path in sorted(layer.rglob("*")) if path.suffix in KINDS]
    command = [
        str(Path(sys.executable).with_name("oelint-adv")),
        "--quiet",
        "--jobs=2",
        *map(str, files),
    ]
    environment = {**os.environ, "OELINT_CONFIG": str(ROOT / "layers" / "oelint.cfg")}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)  # noqa: S603
    lines = done.stderr.splitlines() + done.stdout.splitlines()
    yield from (line.removeprefix(f"{ROOT}/") for line in lines if line.strip())
    if done.returncode and not lines:
        yield f"oelint-adv ended with {done.returncode}"
