"""`dcu meters`: who is read and how they do; importing a shipment; releasing from quarantine."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from dcu.cli import output
from dcu.cli.collector import FILE, ask, at, socket_option, written
from dcu.cli.terminal import line
from dcu.errors import ConfigError, KeysError

F = TypeVar("F", bound=Callable[..., Any])

_TIMES = ("since", "last_contact", "last_reading")


@click.group(invoke_without_command=True)
@click.option("--wide", is_flag=True, help="Show address, profile and last contact, too.")
@socket_option
@output.json_option
@click.pass_context
def meters(context: click.Context, wide: bool, socket: Path, as_json: bool) -> None:
    """List the collector's meters; import a shipment; release a meter from quarantine."""
    context.obj = socket
    if context.invoked_subcommand is None:
        rows = [_row(row) for row in ask(socket, "meters")]
        if as_json:
            output.show_json(rows)
        elif rows:
            _show(rows, wide=wide)
        else:
            click.echo("no meters yet: `dcu meters import SHIPMENT --transport-key FILE`")


def _socket_too(function: F) -> F:
    """`--socket` after the subcommand as well as before it."""
    return click.option("--socket", type=FILE, metavar="FILE", help="As of `dcu meters`.")(function)


@meters.command("import")
@click.argument("shipment", type=FILE)
@click.option(
    "--transport-key",
    type=FILE,
    metavar="FILE",
    required=True,
    help="A file with the key that maker and utility share, in hexadecimal digits.",
)
@_socket_too
@output.json_option
@click.pass_obj
def import_(default: Path, socket: Path | None, shipment: Path, transport_key: Path, as_json: bool) -> None:
    """Take in a maker's SHIPMENT of meters.

    Their keys come wrapped by the transport key, and are wrapped anew by ours. Of a meter that is known already the
    shipment's address, profile and keys replace what was.
    """
    from dcu.keys import shipment as shipments

    key = shipments.load_transport_key(transport_key)
    shipments.read(shipment)  # here, where a mistake can name the file
    names = ask(
        socket or default,
        "meters.import",
        shipment=shipment.read_text(encoding="utf-8"),
        transport_key=key.reveal().hex(),
    )["imported"]
    if as_json:
        output.show_json({"imported": names})
    else:
        click.echo(f"{len(names)} {'meter' if len(names) == 1 else 'meters'} imported from {shipment}")


@meters.command()
@click.argument("meter")
@_socket_too
@output.json_option
@click.pass_obj
def release(default: Path, socket: Path | None, meter: str, as_json: bool) -> None:
    """End the quarantine of METER: from now on it is read again."""
    socket = socket or default
    (before,) = ask(socket, "meters", names=[meter])
    if before["state"] != "quarantined":
        raise ConfigError(f"{meter} is not quarantined: its state is {before['state']}")
    after = ask(socket, "meters.release", meter=meter)
    if as_json:
        output.show_json(_row(after))
    else:
        click.echo(f"{meter} released; it was quarantined because {before['reason']}")


@meters.command()
@click.argument("meter")
@_socket_too
@output.json_option
@click.pass_obj
def counter(default: Path, socket: Path | None, meter: str, as_json: bool) -> None:
    """Have METER's own invocation counter believed once, however far ahead of ours it is.

    It is read without security: make sure that nobody else stands on the line, or change the meter's keys instead.
    """
    row = ask(socket or default, "meters.counter", meter=meter)
    if as_json:
        output.show_json(_row(row))
    else:
        click.echo(f"{meter}: its counter object is read and believed before the next association")


@meters.command()
def export() -> None:
    """Refused: keys go in, and never out."""
    raise KeysError(
        "keys are not exported: a meter that moves to another DCU is shipped to it by its maker's shipment file"
    )


def _row(row: dict[str, Any]) -> dict[str, Any]:
    """As the collector told it, with moments for seconds; None for never."""
    return {key: at(value) if key in _TIMES else value for key, value in row.items()}


def _show(rows: list[dict[str, Any]], *, wide: bool) -> None:
    narrow = {
        "meter": [row["name"] for row in rows],
        "state": [row["state"] for row in rows],
        "since (UTC)": [written(row["since"]) for row in rows],
        "last reading (UTC)": [written(row["last_reading"]) for row in rows],
        "readings": [row["readings"] for row in rows],
    }
    more = {
        "last contact (UTC)": [written(row["last_contact"]) for row in rows],
        "address": [row["address"] for row in rows],
        "profile": [row["profile"] for row in rows],
    }
    columns = narrow | (more if wide else {})
    output.show_table(list(columns), zip(*columns.values(), strict=True))
    for row in rows:
        if row["reason"]:
            click.echo(line(f"{row['name']} {row['state']}: {row['reason']}"))
    states = Counter(row["state"] for row in rows)
    click.echo(f"{len(rows)} meters: " + ", ".join(f"{count} {state}" for state, count in states.items()), err=True)
