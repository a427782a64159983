"""`dcu profile`: what was collected from a meter, as a table, CSV or JSON."""

import csv
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click

from dcu.cli import output, values
from dcu.cli.collector import at, pages, socket_option, span, written
from dcu.model import AttributeRef, Obis

DAY = timedelta(days=1)


@click.command()
@click.argument("meter")
@click.option("--profile", "obis", metavar="OBIS", help="Which profile. [default: the first that is polled]")
@click.option("--from", "start", metavar="TIME", help="2026-11-19 or 2026-11-19T06:00, UTC. [default: a day ago]")
@click.option("--to", "end", metavar="TIME", help="The moment before which it ends. [default: now]")
@click.option("--fetch", is_flag=True, help="Read what is missing from the meter first.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV, its quantities scaled.")
@socket_option
@output.json_option
def profile(
    meter: str,
    obis: str | None,
    start: str | None,
    end: str | None,
    fetch: bool,
    as_csv: bool,
    socket: Path,
    as_json: bool,
) -> None:
    """Show the load profile that was collected from METER, and what is missing in it."""
    if as_csv and as_json:
        raise click.UsageError("--csv or --json, not both")
    code = Obis.parse(obis) if obis else None
    since, until = span(start, end)
    until = until or datetime.now(UTC)
    since = since or until - DAY
    answer = pages(socket, meter, code, int(since.timestamp()), int(until.timestamp()), fetch=fetch)
    answer["rows"] = [[at(row[0]), *row[1:]] for row in answer["rows"]]
    answer["gaps"] = [[at(first), at(last)] for first, last in answer["gaps"]]
    if as_json:
        output.show_json({"meter": meter, **answer})
    elif as_csv:
        _csv(answer)
    else:
        _show(f"{meter} {answer['profile']}", answer, f"from {written(since)} to {written(until)} UTC")
    for first, last in answer["gaps"]:
        output.note(f"missing from {written(first)} to {written(last)} UTC")


def _csv(answer: dict[str, Any]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    heads = [f"{_head(column)} {column['unit']}".rstrip() for column in answer["columns"]]
    writer.writerow(["time", "status", *heads])
    for row in answer["rows"]:
        cells = ("" if cell is None else output.text(cell) for cell in (row[1], *_scaled(answer, row)))
        writer.writerow([row[0].isoformat(), *cells])


def _show(title: str, answer: dict[str, Any], when: str) -> None:
    if not answer["rows"]:
        click.echo(f"{title}: nothing was collected {when}")
        return
    heads = [f"{_head(column)}\n{column['unit']}" for column in answer["columns"]]
    rows = [(written(row[0]), row[1], *_scaled(answer, row)) for row in answer["rows"]]
    output.show_table(["time (UTC)", "status", *heads], rows, title=title)


def _scaled(answer: dict[str, Any], row: list[Any]) -> list[object]:
    scalers = [column["scaler"] for column in answer["columns"]]
    return [
        values.quantity(cell, scaler) if isinstance(cell, int | float) else cell
        for cell, scaler in zip(row[2:], scalers, strict=True)
    ]


def _head(column: dict[str, Any]) -> str:
    return values.head(AttributeRef.parse(column["attribute"]))
