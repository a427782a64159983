"""`dcu run`: the collector, in the foreground, as a supervisor starts it."""

import sys
from pathlib import Path

import click

from dcu.cli.collector import FILE


@click.command()
@click.option(
    "--config",
    "path",
    type=FILE,
    metavar="FILE",
    required=True,
    help="What it is to do (TOML): docs/collector.toml explains every key.",
)
def run(path: Path) -> None:
    """Run the collector until SIGTERM or Ctrl-C; what is buffered is committed before it ends.

    It logs to stderr, one line an event. Other commands reach it through its control socket.
    """
    # asyncio takes 1.5 MB of TLS with it where there is any; the collector speaks none, gateway and updater do
    sys.modules.setdefault("ssl", None)  # type: ignore[arg-type]
    import asyncio

    from dcu import running

    asyncio.run(running.run(path))
