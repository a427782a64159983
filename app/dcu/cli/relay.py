"""`dcu disconnect` and `dcu reconnect`: a meter's supply relay; what it did is read back, never assumed."""

from typing import Any

import click

from dcu.cli import exits, output
from dcu.cli.access import open_access
from dcu.cli.options import meter_options


@click.command()
@meter_options
@output.json_option
def disconnect(as_json: bool, **where: Any) -> int:
    """Open a meter's supply relay (remote disconnect), and read back what it did.

    The command goes out once; where no answer comes, the relay itself tells whether it was executed.
    """
    return _switch("disconnect", as_json, where)


@click.command()
@meter_options
@output.json_option
def reconnect(as_json: bool, **where: Any) -> int:
    """Close a meter's supply relay (remote reconnect), and read back what it did.

    Some meters then wait for the customer's button: their relay is ready for reconnection.
    """
    return _switch("reconnect", as_json, where)


def _switch(command: str, as_json: bool, where: dict[str, Any]) -> int:
    found = open_access(**where).relay(command)
    if as_json:
        output.show_json({"output": found.output, "state": found.state, "confirmed": found.confirmed})
    else:
        supply = "connected" if found.output else "disconnected"
        click.echo(f"supply {supply}, relay {found.state.replace('_', ' ')}")
    if not found.confirmed:
        output.note(f"the meter took the {command}, and its relay did not follow: look at its control mode")
    return exits.OK if found.confirmed else exits.FAILED
