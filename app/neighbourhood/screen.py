"""What the demo shows to people: a progress bar, and a table at the end."""

import asyncio

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from neighbourhood import truth
from neighbourhood.demo import Outcome, Settings, run


def demo(settings: Settings) -> Outcome:
    """Run the demo with a progress bar and print its table. Raises DcuError."""
    console = Console(highlight=False)
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("readings"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(f"{settings.meters} meters × {truth.HOURS} h", total=settings.meters * truth.HOURS)

        def tell(expected: int, collected: int) -> None:
            progress.update(task, total=expected, completed=collected)

        outcome = asyncio.run(run(settings, tell))
    console.print(_table(outcome, settings))
    for example in outcome.verdict.examples:
        console.print(f"  {example}", markup=False)
    if outcome.good:
        console.print("[green]every reading is there and equals the truth of the street[/green]")
    else:
        console.print("[red]the store does not hold what happened in the street[/red]")
        console.print(f"kept: {outcome.kept}", markup=False)
    return outcome


def _table(outcome: Outcome, settings: Settings) -> Table:
    found = outcome.verdict
    table = Table(title="HLS 5, suite 0, ciphered; 4 registers, hourly", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for name, value in (
        ("meters", f"{found.meters:,} of {settings.meters:,}"),
        ("readings", f"{found.readings:,}"),
        ("missing", f"{found.missing:,}"),
        ("wrong", f"{found.wrong:,}"),
        ("frames refused by the meters", f"{sum(outcome.refused.values()):,}"),
        ("bytes on the wire", f"{outcome.bytes:,}"),
        ("seconds", f"{outcome.seconds:.1f}"),
        ("sessions a second", f"{found.meters / outcome.seconds:.0f}"),
        ("peak memory: collector, street", f"{outcome.collector_rss / 1e6:.0f} MB, {outcome.street_rss / 1e6:.0f} MB"),
    ):
        table.add_row(name, value)
    return table
