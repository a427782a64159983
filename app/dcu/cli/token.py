"""`dcu token`: a prepayment token into a meter; it goes out once, and the meter says what it made of it."""

from typing import Any

import click

from dcu.cli import exits, output
from dcu.cli.access import open_access
from dcu.cli.options import meter_options
from dcu.collect.jobs.token import checked


@click.command()
@click.argument("digits", nargs=-1, required=True, metavar="TOKEN")
@meter_options
@output.json_option
def token(digits: tuple[str, ...], as_json: bool, **where: Any) -> int:
    """Enter a prepayment TOKEN of 20 digits; groups and dashes do not matter.

    It goes to the meter's token gateway, or where its --family says. Where no answer comes it is not sent again before
    the meter was looked at. Exit code 1 where the meter does not take it.
    """
    found = open_access(**where).token(checked(" ".join(digits)))
    if as_json:
        shown = {"accepted": found.accepted, "code": found.code, "meaning": found.meaning, "confirmed": found.confirmed}
        output.show_json(shown)
    else:
        verdict = {True: "taken", False: "not taken", None: "entered"}[found.accepted]
        click.echo(f"{verdict}: {found.meaning}")
    if not found.confirmed:
        output.note("the meter answered, and nothing shows that a token arrived: look at its credit")
    return exits.OK if found.accepted is not False and found.confirmed else exits.FAILED
