"""`dcu objects`: what a meter holds for this client, as its association tells."""

from collections.abc import Sequence
from typing import Any

import click

from dcu.cli import output
from dcu.cli.access import open_access
from dcu.cli.options import meter_options

ASSOCIATION = 15


@click.command()
@meter_options
@output.json_option
def objects(as_json: bool, **where: Any) -> None:
    """List the objects that a meter shows to this client: names from the catalogue, what may be read, written, called.

    The numbers are those of attributes and methods.
    """
    records = _records(open_access(**where).object_list())
    if as_json:
        output.show_json(records)
        return
    columns = ["class", "object", "name", "read", "write", "call"]
    output.show_table(
        columns,
        [
            (
                f"{record['class']} {record['kind']}",
                record["object"],
                record["name"],
                *(_ranges(record[rights]) for rights in ("readable", "writable", "methods")),
            )
            for record in records
        ],
    )


def _records(raw: bytes) -> list[dict[str, Any]]:
    from dcu.collect.decoding import decoding
    from dcu.cosem import catalogue
    from dcu.cosem.objects import decode_object_list

    with decoding("the object list"):
        held = sorted(decode_object_list(raw), key=lambda item: (item.class_id, item.obis))
    association = next((item.version for item in held if item.class_id == ASSOCIATION), 0)  # how rights are written
    records = []
    for item in held:
        known = catalogue.interface_class(item.class_id, item.version)
        kind = known.name if known else "unknown"
        records.append(
            {
                "class": item.class_id,
                "version": item.version,
                "object": str(item.obis),
                "name": catalogue.name(item.obis) or (kind if known else None),
                "kind": kind,
                "readable": [a.attribute for a in item.attribute_access if a.readable(association)],
                "writable": [a.attribute for a in item.attribute_access if a.writable(association)],
                "methods": [access.method for access in item.method_access if access.mode],
            }
        )
    return records


def _ranges(numbers: Sequence[int]) -> str | None:
    """1, 2, 3, 5 as 1–3, 5; None for none."""
    ranges: list[list[int]] = []
    for number in sorted(numbers):
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    return ", ".join(f"{first}" if first == last else f"{first}–{last}" for first, last in ranges) or None
