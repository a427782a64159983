"""`dcu headend`: the head-end's keys."""

from pathlib import Path

import click

from dcu.cli import output
from dcu.cli.collector import FILE, ask, socket_option


@click.group()
def headend() -> None:
    """Take in the keys that protect what is sent to the head-end."""


@headend.command("import")
@click.argument("path", type=FILE, metavar="FILE")
@click.option(
    "--transport-key",
    type=FILE,
    metavar="FILE",
    required=True,
    help="A file with the key that utility and DCU share for this, in hexadecimal digits.",
)
@socket_option
@output.json_option
def import_(path: Path, transport_key: Path, socket: Path, as_json: bool) -> None:
    """Take in the head-end's keys from FILE (docs/last-gasp.md).

    They come wrapped by the transport key, and are wrapped anew by ours. Those that were there are replaced.
    """
    from dcu.keys import shipment

    key = shipment.load_transport_key(transport_key)
    text = shipment.read_head_end(path)
    result = ask(socket, "headend.import", file=text, transport_key=key.reveal().hex())
    if as_json:
        output.show_json(result)
    else:
        click.echo(f"head-end {result['system_title']}: keys imported, invocation counters from {result['counter']}")
