"""`dcu run`: the collector, in the foreground, as a supervisor starts it."""

from pathlib import Path

import click


@click.command()
@click.option(
    "--config", "path", type=click.Path(path_type=Path), required=True, help="Explained in docs/collector.toml."
)
@click.option("--verbose", "-v", is_flag=True, help="Log every job.")
def run(path: Path, verbose: bool) -> None:
    """Run the collector until SIGTERM or Ctrl-C; what is buffered is committed before it ends."""
    from dcu import collector

    collector.main(path, verbose=verbose)
