"""`dcu meters`: who is read and how they do; importing a shipment; releasing from quarantine."""

from pathlib import Path

import click

from dcu.cli import output
from dcu.cli.collector import ask, at, socket_option
from dcu.errors import ConfigError


@click.group(invoke_without_command=True)
@socket_option
@output.json_option
@click.pass_context
def meters(context: click.Context, socket: Path, as_json: bool) -> None:
    """List the collector's meters; import a shipment; release a meter from quarantine."""
    context.obj = socket
    if context.invoked_subcommand is None:
        rows = ask(socket, "meters")
        if as_json:
            output.show_json(rows)
        else:
            _show(rows)


@meters.command("import")
@click.argument("shipment", type=click.Path(path_type=Path))
@click.option("--transport-key", type=click.Path(path_type=Path), required=True, help="File with the key, hexadecimal.")
@output.json_option
@click.pass_obj
def import_(socket: Path, shipment: Path, transport_key: Path, as_json: bool) -> None:
    """Take in a maker's SHIPMENT of meters: their keys are wrapped by the transport key, and re-wrapped by ours."""
    names = ask(socket, "meters.import", shipment=_text(shipment), transport_key=_text(transport_key).strip())[
        "imported"
    ]
    if as_json:
        output.show_json({"imported": names})
    else:
        click.echo(f"{len(names)} meters imported from {shipment}")


@meters.command()
@click.argument("meter")
@click.pass_obj
def release(socket: Path, meter: str) -> None:
    """End the quarantine of METER: it is read again from now on."""
    ask(socket, "meters.release", meter=meter)
    click.echo(f"{meter} released")


@meters.command()
def export() -> None:
    """Refused: keys go in, and never out."""
    from dcu.errors import KeysError

    raise KeysError(
        "keys are not exported: a meter that moves to another DCU is shipped to it by its maker's shipment file"
    )


def _show(rows: list[dict[str, object]]) -> None:
    columns = ("meter", "state", "since (UTC)", "last reading (UTC)", "readings", "profile", "address", "reason")
    output.show_table(
        columns,
        [
            (
                row["name"],
                row["state"],
                at(row["since"]),
                at(row["last_reading"]),
                row["readings"],
                row["profile"],
                row["address"],
                row["reason"] or None,
            )
            for row in rows
        ],
    )
    states: dict[object, int] = {}
    for row in rows:
        states[row["state"]] = states.get(row["state"], 0) + 1
    click.echo(f"{len(rows)} meters: " + ", ".join(f"{count} {state}" for state, count in states.items()), err=True)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: not a text file") from None
