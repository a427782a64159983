"""`dcu clock`: a meter's clock beside ours; set only from a synchronised clock."""

from typing import Any

import click

from dcu.cli import output
from dcu.cli.access import open_access
from dcu.cli.collector import written
from dcu.cli.options import meter_options


@click.command()
@meter_options
@click.option("--sync", is_flag=True, help="Set it right; only while this machine's own clock is synchronised.")
@output.json_option
def clock(sync: bool, as_json: bool, **where: Any) -> None:
    """Show a meter's clock and how far it is off; --sync sets it and reads it back.

    A clock that is off by less than its family's tolerance (3 s) is left as it is; one that is off by more than what
    may be set (900 s) is refused.
    """
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
    else:
        click.echo(f"{written(found.meter_time)} UTC, {_off(found.offset)}")
        if found.adjusted and found.after is not None:
            click.echo(f"set; now {_off(found.after)}")
        elif sync:
            click.echo("left as it is")
    if not found.zoned:
        output.note("taken for UTC: the meter does not say its deviation, and no --family its zone")


def _off(offset: float) -> str:
    if abs(offset) < 1.5:  # a clock shows whole seconds
        return "as ours"
    return f"{abs(offset):.0f} s {'ahead of' if offset > 0 else 'behind'} ours"
