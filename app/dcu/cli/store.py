"""`dcu store check`: whether what is kept is whole, asked of the collector or of the files themselves."""

from pathlib import Path
from typing import Any

import click

from dcu.cli import exits, output
from dcu.cli.collector import FILE, ask, socket_option
from dcu.cli.terminal import printable


@click.group()
def store() -> None:
    """Look after what is kept."""


@store.command()
@click.option("--directory", type=FILE, metavar="DIR", help="Check these files, without a collector.")
@socket_option
@output.json_option
def check(directory: Path | None, socket: Path, as_json: bool) -> int:
    """Verify every file of the store.

    Exit code 1 when something is wrong. A store that is in use is only read.
    """
    report = _of_files(directory) if directory else ask(socket, "store.check")
    waiting = 0 if directory else ask(socket, "status")["store"]["buffered"]
    if as_json:
        output.show_json(report)
    else:
        _show(report, waiting)
    return exits.OK if report["ok"] else exits.FAILED


def _of_files(directory: Path) -> dict[str, Any]:
    import dataclasses

    from dcu.store import check as check_store

    report = check_store(directory)
    return {**dataclasses.asdict(report), "ok": report.ok}


def _show(report: dict[str, Any], waiting: int) -> None:
    """waiting: readings that the collector has not committed yet."""
    use = f"; in use, {waiting} more readings wait in RAM" if waiting else "; in use" if report["in_use"] else ""
    click.echo(
        f"{report['directory']}: files {report['files']}, meters {report['meters']}, readings {report['readings']}, "
        f"waiting for the head-end {report['outbox']}{use}"
    )
    for finding in report["findings"]:
        mark = click.style("WRONG", fg="red") if finding["serious"] else "note "
        click.echo(f"{mark}  {printable(finding['file'])}: {printable(finding['text'])}")
    click.secho("the store is whole" if report["ok"] else "the store is damaged", fg="green" if report["ok"] else "red")
