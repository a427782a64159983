"""`dcu clock`: a meter's clock beside ours; set only from a synchronised clock."""

from typing import Any

import click

from dcu.cli import output
from dcu.cli.access import access_options, open_access


@click.command()
@access_options
@click.option("--sync", is_flag=True, help="Set the meter's clock right; only while this machine's is synchronised.")
@click.option("--family", help="The meter's profile (a name, or a TOML file): its time zone and deviation sign.")
@output.json_option
def clock(sync: bool, as_json: bool, **where: Any) -> None:
    """Show a meter's clock and how far it is off; --sync sets it and reads it back."""
    found = open_access(**where).clock(sync)
    if as_json:
        output.show_json(
            {
                "meter_time": found.meter_time,
                "offset": round(found.offset, 1),
                "adjusted": found.adjusted,
                "after": None if found.after is None else round(found.after, 1),
            }
        )
        return
    click.echo(f"{found.meter_time:%Y-%m-%d %H:%M:%S} UTC, {_off(found.offset)}")
    if found.adjusted and found.after is not None:
        click.echo(f"set; now {_off(found.after)}")


def _off(offset: float) -> str:
    if abs(offset) < 1.5:  # a clock shows whole seconds
        return "right"
    return f"{abs(offset):.0f} s {'ahead' if offset > 0 else 'behind'}"
