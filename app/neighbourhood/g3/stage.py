"""What the G3 demo shows to people: a progress bar, a table of ways, a table of results, and where the recording is."""

import json
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn
from rich.table import Table

from neighbourhood import truth
from neighbourhood.g3 import show, terminal
from neighbourhood.g3.show import Options, Outcome
from neighbourhood.g3.street import Scene

PTY_METERS = 10


def demo(options: Options, *, pty: bool, as_json: bool) -> bool:
    """Play it, in virtual time and then, where asked for, over a pseudo-terminal; whether all is well."""
    if as_json:
        outcome = show.run(options, lambda *_: None)
        click.echo(json.dumps(outcome.plain(), indent=1))
        return outcome.good
    console = Console(highlight=False)
    outcome = _virtual(console, options)
    _told(console, outcome, options)
    return outcome.good and (not pty or _terminal(console, options.scene.seed))


def _virtual(console: Console, options: Options) -> Outcome:
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("readings"),
    )
    meters = options.scene.meters
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(f"{meters} meters × {truth.HOURS} h over G3-PLC", total=meters * truth.HOURS)

        def tell(now: float, joined: int, expected: int, gathered: int) -> None:
            clock = f"{int(now) // 60:3d} min {int(now) % 60:02d} s, {joined} of {meters} joined"
            progress.update(task, total=expected, completed=gathered, description=clock)

        return show.run(options, tell)


def _told(console: Console, outcome: Outcome, options: Options) -> None:
    ways = Table("meter", "hops", "modulation of each hop, to the concentrator", "readings", box=None, pad_edge=False)
    for way in outcome.ways:
        ways.add_row(way.meter, str(way.hops), " ".join(way.modulations), str(way.readings))
    console.print(ways)
    found, air = outcome.verdict, sum(outcome.air.values())
    table = Table(title="a street over G3-PLC (CENELEC-A), HLS 5, suite 0, ciphered", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for name, value in (
        ("meters", f"{found.meters:,} of {options.scene.meters:,}"),
        ("readings, missing, wrong", f"{found.readings:,}, {found.missing:,}, {found.wrong:,}"),
        ("frames on the line, lost", f"{outcome.frames:,}, {outcome.lost:,}"),
        ("all had joined after", f"{outcome.joining:,.0f} s"),
        ("collecting took, joining and healing included", f"{outcome.seconds:,.0f} s"),
        ("the floor of reading alone", f"{outcome.floor:,.0f} s"),
        ("share of the physical limit", f"{outcome.share:.0%}"),
        ("air: " + ", ".join(f"{kind} {seconds / air:.0%}" for kind, seconds in _most(outcome.air)), f"{air:,.0f} s"),
        ("cable opened on the way; routes found since", f"{outcome.cable}; {outcome.healed:,}"),
        *_kept_out(outcome),
        ("wall clock", f"{outcome.wall:.1f} s"),
    ):
        table.add_row(name, value)
    console.print(table)
    for example in found.examples:
        console.print(f"  {example}", markup=False)
    for rogue in outcome.rogues:
        if not rogue.kept_out:
            what = "has joined" if rogue.joined else "was never heard"
            console.print(f"[red]the rogue {rogue.eui64} at home {rogue.home} {what}[/red]")
    if outcome.good:
        console.print("[green]every reading is there and equals the truth of the street[/green]")
    else:
        console.print("[red]the store does not hold what happened in the street[/red]")
        console.print(f"kept: {outcome.kept}", markup=False)
    if outcome.recording:
        console.print(f"recording: {Path(outcome.recording).absolute()} (opens in any browser)", markup=False)


def _kept_out(outcome: Outcome) -> list[tuple[str, str]]:
    if not outcome.rogues:
        return []
    refused, joined = (sum(getattr(rogue, what) for rogue in outcome.rogues) for what in ("refused", "joined"))
    return [("rogues with a wrong key; times refused, joined", f"{len(outcome.rogues)}; {refused}, {joined}")]


def _most(air: dict[str, float]) -> list[tuple[str, float]]:
    return sorted(air.items(), key=lambda item: -item[1])[:6]


def _terminal(console: Console, seed: int) -> bool:
    with Progress(SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), console=console) as progress:
        task = progress.add_task(
            f"{PTY_METERS} meters over a pseudo-terminal, in real time", total=PTY_METERS * truth.HOURS
        )
        outcome = terminal.play(
            Scene(meters=PTY_METERS, seed=seed), lambda _, collected: progress.update(task, completed=collected)
        )
    found = outcome.verdict
    good = "[green]all right[/green]" if outcome.good else f"[red]wrong[/red], kept: {outcome.kept}"
    console.print(
        f"over the pseudo-terminal: {found.readings:,} readings of {found.meters} meters in {outcome.seconds:.0f} s, "
        f"{found.missing} missing, {found.wrong} wrong: {good}"
    )
    return outcome.good
