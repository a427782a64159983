"""`dcu objects`: what a meter holds for this client, as its association tells."""

from typing import Any

import click

from dcu.cli import output
from dcu.cli.access import access_options, open_access


@click.command()
@access_options
@output.json_option
def objects(as_json: bool, **where: Any) -> None:
    """List the objects that a meter shows to this client, with names from the catalogue and access rights."""
    from dcu.cosem import catalogue
    from dcu.cosem.objects import decode_object_list

    held = decode_object_list(open_access(**where).object_list())
    records: list[dict[str, object]] = []
    for item in sorted(held, key=lambda item: (item.class_id, item.obis)):
        known = catalogue.interface_class(item.class_id, item.version)
        records.append(
            {
                "class": item.class_id,
                "version": item.version,
                "object": str(item.obis),
                "name": catalogue.name(item.obis) or (known.name if known else "class unknown to us"),
                "kind": known.name if known else "unknown",
                "readable": [access.attribute for access in item.attribute_access if access.readable()],
                "writable": [access.attribute for access in item.attribute_access if access.writable()],
                "methods": [access.method for access in item.method_access if access.mode],
            }
        )
    if as_json:
        output.show_json(records)
        return
    output.show_table(
        ["class", "object", "name", "read", "write", "call"],
        [
            (f"{record['class']} {record['kind']}", record["object"], record["name"], *map(_numbers, rights(record)))
            for record in records
        ],
    )


def rights(record: dict[str, object]) -> tuple[object, object, object]:
    return record["readable"], record["writable"], record["methods"]


def _numbers(numbers: object) -> str | None:
    """1, 2, 3, 5 as 1–3, 5; None for none."""
    assert isinstance(numbers, list)
    ranges: list[list[int]] = []
    for number in sorted(numbers):
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    return ", ".join(f"{first}" if first == last else f"{first}–{last}" for first, last in ranges) or None
