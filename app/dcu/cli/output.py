"""What commands print: tables for people (rich, imported when first needed), JSON for machines.

JSON has one shape everywhere: datetimes in ISO 8601 with their offset, bytes in hex, OBIS codes and references as they
are written on the command line.
"""

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal, TypeVar

import click
import msgspec

from dcu.cli.terminal import escaped, line, printable
from dcu.credentials import Secret
from dcu.model import AttributeRef, MethodRef, Obis

_SHORT = 20  # characters
_PIPED = 160  # columns, where there is no terminal to ask
_UNBOUND = 10_000

F = TypeVar("F", bound=Callable[..., Any])


def json_option(function: F) -> F:
    """`--json` as the parameter `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, for machines.")(function)


def show_json(value: object, *, indent: int | None = None) -> None:
    """Print one JSON document; `indent` for people who read it."""
    click.echo(to_json(value, indent=indent))


def to_json(value: object, *, indent: int | None = None) -> str:
    raw = _JSON.encode(_plain(value))
    return escaped((raw if indent is None else msgspec.json.format(raw, indent=indent)).decode())


def show_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, title: str | None = None) -> None:
    """Print a table; a column of numbers is set to the right, None is shown as a dash."""
    from rich import box
    from rich.cells import cell_len
    from rich.console import Console
    from rich.table import Table

    kept = [list(row) for row in rows]
    table = Table(
        title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False
    )
    for index, column in enumerate(columns):
        numeric = bool(kept) and all(isinstance(row[index], int | float | Decimal | None) for row in kept)
        cells = [column, *(text(row[index]) for row in kept)]
        short = all(len(cell) <= _SHORT for cell in cells[1:])  # a time, an OBIS code: never cut in two
        least = max(cell_len(part) for cell in cells for part in cell.split("\n")) if short else None
        justify: Literal["left", "right"] = "right" if numeric else "left"
        table.add_column(column, justify=justify, overflow="fold", no_wrap=short, min_width=least)
    for row in kept:
        table.add_row(*map(text, row))
    asked = sys.stdout.isatty() or "COLUMNS" in os.environ
    console = Console(markup=False, highlight=False, width=None if asked else _PIPED)
    least = console.measure(table, options=console.options.update(width=_UNBOUND)).minimum
    console.width = max(console.width, least)  # rather too wide than cut
    with console.capture() as printed:
        console.print(table)
    click.echo("\n".join(row.rstrip() for row in printed.get().splitlines()))


def show_records(records: Sequence[dict[str, object]], *, as_json: bool, title: str | None = None) -> None:
    """Print records that share their keys: as a table, or as a JSON array."""
    if as_json:
        show_json(records)
    else:
        columns = list(records[0]) if records else []
        show_table(columns, [list(record.values()) for record in records], title=title)


def note(message: str) -> None:
    """Something beside the answer: on stderr, so that the answer can be piped."""
    click.secho(line(message), err=True, fg="yellow")


def text(value: object) -> str:
    """One cell."""
    match value:
        case None:
            return "–"
        case datetime():
            return value.isoformat(sep=" ")
        case bytes():
            return value.hex(" ")
        case Decimal():
            return f"{value:f}"
        case _:
            return printable(str(value))


def _plain(value: object) -> object:
    match value:
        case Obis() | AttributeRef() | MethodRef():
            return str(value)
        case bytes() | bytearray() | memoryview():
            return bytes(value).hex()
        case Secret():
            raise TypeError("a secret is not printed")
        case dict():
            return {_key(key): _plain(item) for key, item in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_plain(item) for item in value]
        case _:
            return value


_JSON = msgspec.json.Encoder(enc_hook=_plain, decimal_format="number")


def _key(key: object) -> object:
    return _plain(key) if isinstance(key, Obis | AttributeRef | MethodRef) else key
