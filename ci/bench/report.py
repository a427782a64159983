"""What a benchmark found: one row a measurement, shown in the terminal and written to docs/benchmarks.md."""

import sys
from dataclasses import dataclass
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Row:
    """target: the least ratio (or, where `most`, the largest figure) that the project promises; None: only reported."""

    what: str
    ours: str
    peer: str = ""
    measured: float | None = None
    target: float | None = None
    most: bool = False
    unit: str = "×"

    @property
    def holds(self) -> bool | None:
        """None: nothing was promised, or nothing could be measured."""
        if self.target is None or self.measured is None:
            return None
        return self.measured <= self.target if self.most else self.measured >= self.target

    def cells(self) -> tuple[str, str, str, str, str]:
        measured = "" if self.measured is None else f"{_short(self.measured)}{self.unit}"
        promised = "" if self.target is None else f"{'≤' if self.most else '≥'} {_short(self.target)}{self.unit}"
        return self.what, self.ours, self.peer, measured, promised


HEADS = ("what", "ours", "beside it", "measured", "at least")


def show(rows: list[Row]) -> None:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for head in (*HEADS, ""):
        table.add_column(head, justify="left" if head in HEADS[:1] else "right")
    marks = {True: "[green]holds[/]", False: "[red]missed[/]", None: ""}
    for row in rows:
        table.add_row(*row.cells(), marks[row.holds])
    Console(width=None if sys.stdout.isatty() else 140).print(table)


def write(rows: list[Row], path: Path, machine: str) -> None:
    lines = [
        "# Benchmarks",
        "",
        "Written by `make bench`: every ratio is of one run, the sides taking turns, the best round of each counting.",
        "Absolute times depend on the machine and are there only to be divided. Each side's answer is compared",
        f"with the truth before it is timed. Measured last on: {machine}.",
        "",
        "| " + " | ".join(HEADS) + " |",
        "|---|--:|--:|--:|--:|",
        *("| " + " | ".join(row.cells()) + " |" for row in rows),
        "",
        "What the rows are, and what they leave out, stands at the top of each file in `ci/bench/`.",
        "",
    ]
    path.write_text("\n".join(lines), encoding="utf-8")


def _short(value: float) -> str:
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}".removesuffix(".0") if value >= 10 else f"{value:.2f}".rstrip("0").rstrip(".")
