"""`dcu profile`: what was collected from a meter, as a table, CSV or JSON."""

import csv
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click

from dcu.cli import output
from dcu.cli.collector import ask, at, moment, socket_option

PAGE = 5_000  # rows a call


@click.command()
@click.argument("meter")
@click.option("--profile", "obis", help="The profile's OBIS code; the first polled one if left out.")
@click.option("--from", "start", help="First moment, UTC unless it says otherwise; a day ago if left out.")
@click.option("--to", "end", help="Moment before which it ends; now if left out.")
@click.option("--fetch", is_flag=True, help="Read what is missing from the meter first.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
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
    now = datetime.now(UTC)
    since, until = moment(start, now - timedelta(days=1)), moment(end, now)
    assert since
    assert until
    answer = _all(socket, meter, obis, int(since.timestamp()), int(until.timestamp()), fetch or None)
    if as_json:
        output.show_json(answer)
        return
    columns = [column["attribute"] for column in answer["columns"]]
    if as_csv:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(["time", "status", *columns])
        writer.writerows(
            [datetime.fromtimestamp(row[0], UTC).isoformat(), *("" if cell is None else cell for cell in row[1:])]
            for row in answer["rows"]
        )
    else:
        heads = [f"{_short(column['attribute'])}\n{_unit(column)}" for column in answer["columns"]]
        rows = [(at(row[0]), row[1], *row[2:]) for row in answer["rows"]]
        output.show_table(["time (UTC)", "status", *heads], rows, title=f"{meter} {answer['profile']}")
    for first, last in answer["gaps"]:
        output.note(f"missing from {at(first)} to {at(last)} UTC")


def _all(socket: Path, meter: str, obis: str | None, start: int, end: int, fetch: bool | None) -> dict[str, Any]:
    """All pages as one answer. `from` is a keyword, hence the dictionary."""
    answer: dict[str, Any] | None = None
    while True:
        params = {"from": start, "to": end, "limit": PAGE, "fetch": fetch, "profile": obis}
        page = ask(socket, "profile", meter=meter, **params)
        if answer is None:
            answer = page
        else:
            answer["rows"] += page["rows"]
        if not page["more"] or not page["rows"]:
            answer["more"] = False
            return answer
        start, fetch = page["rows"][-1][0] + 1, None


def _short(attribute: str) -> str:
    parts = attribute.split(",")
    return parts[1] if len(parts) == 3 else attribute


def _unit(column: dict[str, Any]) -> str:
    scaler = column["scaler"]
    return f"10^{scaler} {column['unit']}" if scaler else str(column["unit"])
