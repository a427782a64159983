"""`dcu run`: the collector, in the foreground, as a supervisor starts it."""

from pathlib import Path

import click


@click.command()
@click.option("--config", "path", type=click.Path(path_type=Path), required=True, help="See docs/collector.toml.")
def run(path: Path) -> None:
    """Run the collector until SIGTERM or Ctrl-C; what is buffered is committed before it ends."""
    import asyncio

    from dcu import collector

    asyncio.run(collector.run(path))
