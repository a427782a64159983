"""`dcu keys`: the collector's key file, where something is wrong with it."""

from pathlib import Path

import click

from dcu.cli import output
from dcu.cli.collector import ask, socket_option


@click.group()
def keys() -> None:
    """See to the collector's key file."""


@keys.command()
@socket_option
@output.json_option
def reset(socket: Path, as_json: bool) -> None:
    """Begin an empty key file in place of a damaged or lost one; then import the shipments again.

    What is there is set aside, not deleted. Refused where the file is sound.
    """
    result = ask(socket, "keys.reset")
    if as_json:
        output.show_json(result)
        return
    for path in result["set_aside"]:
        click.echo(f"set aside: {path}")
    click.echo("the key file is empty: `dcu meters import SHIPMENT --transport-key FILE` for each shipment")
