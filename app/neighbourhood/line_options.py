"""The options that put a street's meters on a serial line, or on HDLC instead of the wrapper."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from neighbourhood.wires import FIRST, Wiring


def line_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """They arrive as keyword arguments, for `wiring()`."""
    for option in (
        click.option("--framing", type=click.Choice(["wrapper", "hdlc"]), default="wrapper", show_default=True,
                     help="What TCP and UDP carry."),
        click.option("--pty", type=click.Path(path_type=Path), metavar="LINK",
                     help="All on one pseudo-terminal, HDLC, as on an RS-485 bus; LINK is made to name it."),
        click.option("--serial", metavar="DEVICE", help="All on this serial port, HDLC."),
        click.option("--line", default="line", show_default=True, metavar="NAME",
                     help="What the collector calls that line ([[medium]] name): it stands in the shipment."),
        click.option("--physical", type=click.IntRange(1, 16_382), default=FIRST, show_default=True,
                     help="The first meter's HDLC physical address, the next has the next."),
        click.option("--pace", type=click.IntRange(300), metavar="BAUD", help="Be as slow as a line of this speed."),
        click.option("--turnaround", type=click.FloatRange(0, 10), default=0.0, metavar="SECONDS",
                     help="How long a meter takes to answer there."),
        click.option("--noise", type=click.FloatRange(0, 1), default=0.0, metavar="SHARE",
                     help="The share of bytes that arrive damaged there, both ways."),
        click.option("--mode-c", "head", flag_value="C", help="The same, but it refuses HDLC and only reads out."),
        click.option("--mode-e", "head", flag_value="E", default="",
                     help="The one meter is behind an optical head: a sign-on at 300 baud, then HDLC (IEC 62056-21)."),
        click.option("--echo", is_flag=True, help="The line brings back what was sent, as optical heads do."),
    ):  # fmt: skip
        function = option(function)
    return function


def wiring(options: dict[str, Any]) -> Wiring | None:
    """The line that the options ask for; None where they ask for none. Raises UsageError."""
    if options["pty"] is None and options["serial"] is None:
        if asked := [f"--{name}" for name in ("pace", "turnaround", "noise", "echo") if options[name]] + _head(options):
            raise click.UsageError(f"{', '.join(asked)}: of a line, which --pty LINK or --serial DEVICE makes")
        return None
    if options["pty"] is not None and options["serial"] is not None:
        raise click.UsageError("--pty and --serial exclude each other")
    return Wiring(
        options["pty"],
        options["serial"] or "",
        options["line"],
        options["physical"],
        10 / options["pace"] if options["pace"] else 0.0,
        options["turnaround"],
        options["noise"],
        options["echo"],
        options["head"] or "",
    )


def _head(options: dict[str, Any]) -> list[str]:
    return [f"--mode-{options['head'].lower()}"] if options["head"] else []
