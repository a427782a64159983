"""`dcu read`: attributes and profiles of one meter, by OBIS code or CLASS,OBIS,ATTRIBUTE."""

from decimal import Decimal
from typing import Any

import click

from dcu.cli import output
from dcu.cli.access import Access, Answer, Rows, Window, access_options, open_access
from dcu.cli.collector import moment
from dcu.errors import AccessDenied, ConfigError, DecodeError
from dcu.model import AttributeRef, Obis

BUFFER = 2


@click.command()
@access_options
@click.option("--from", "start", help="First row of a profile, UTC unless it says otherwise.")
@click.option("--to", "end", help="Last row of a profile.")
@click.option("--last", type=click.IntRange(1), help="The newest N rows of a profile.")
@click.option("--family", help="The meter's profile (a name, or a TOML file): its time zone and deviation sign.")
@output.json_option
@click.argument("objects", nargs=-1, required=True, metavar="OBJECT...")
def read(
    objects: tuple[str, ...], start: str | None, end: str | None, last: int | None, as_json: bool, **where: Any
) -> None:
    """Read OBJECTs: 1-0:1.8.0*255, 1.0.1.8.0.255 (class and type from the meter's object list) or CLASS,OBIS,ATTRIBUTE.

    A profile (class 7) takes --from and --to, or --last.
    """
    window = Window(moment(start), moment(end), last)
    if last and (start or end):
        raise ConfigError("--last stands alone: it counts rows, --from and --to name times")
    for name in objects:
        _ = AttributeRef.parse(name) if "," in name else Obis.parse(name)
    access = open_access(**where)
    names, profiles = _sorted(access, objects)
    answers = access.read(names) if names else []
    tables = [access.profile(obis, window) for obis in profiles]
    if as_json:
        output.show_json([_answer(answer) for answer in answers] + [_table(table) for table in tables])
    else:
        _show(answers, tables)
    if failed := next((answer for answer in answers if answer.error), None):
        raise AccessDenied(f"{failed.asked}: {failed.error}", 0)


def _sorted(access: Access, names: tuple[str, ...]) -> tuple[list[str], list[Obis]]:
    """What is read as it is, and the profiles, whose rows are selected."""
    from dcu.cosem.objects import decode_object_list

    held = decode_object_list(access.object_list()) if any("," not in name for name in names) else ()
    classes = {item.obis: item.class_id for item in held}
    plain: list[str] = []
    profiles: list[Obis] = []
    for name in names:
        if "," in name:
            ref = AttributeRef.parse(name)
        else:
            obis = Obis.parse(name)
            if obis not in classes:
                raise AccessDenied(f"the meter holds no object {obis} for this client: see `dcu objects`", 4)
            ref = AttributeRef(classes[obis], obis, BUFFER)
        if ref.class_id == 7 and ref.attribute == BUFFER:
            profiles.append(ref.obis)
        else:
            plain.append(str(ref))
    return plain, profiles


def _value(answer: Answer) -> object:
    from dcu.cosem import axdr
    from dcu.cosem.objects import interpret

    assert answer.attribute
    try:
        data = axdr.decode(answer.raw)
    except DecodeError as error:
        raise DecodeError(f"{answer.attribute}: the meter's value does not decode: {error}") from None
    if isinstance(data.value, int) and (answer.scaler or answer.unit):
        return Decimal(data.value).scaleb(answer.scaler)
    return interpret(answer.attribute, data)


def _named(ref: AttributeRef) -> str:
    from dcu.cosem import catalogue

    known = catalogue.interface_class(ref.class_id)
    attribute = known.attribute(ref.attribute) if known else None
    name = catalogue.name(ref.obis) or (known.name if known else "")
    return name if ref.attribute == BUFFER or not attribute else f"{name}: {attribute.name}"


def _answer(answer: Answer) -> dict[str, object]:
    if answer.error or not answer.attribute:
        return {"object": answer.asked, "error": answer.error}
    value = _value(answer)
    return {
        "object": str(answer.attribute),
        "name": _named(answer.attribute),
        "value": str(value) if isinstance(value, Decimal) else value,
        "unit": answer.unit,
        "raw": answer.raw,
    }


def _table(table: Rows) -> dict[str, object]:
    return {
        "profile": str(table.profile),
        "columns": [
            {"attribute": str(column.attribute), "scaler": column.scaler, "unit": column.unit}
            for column in table.columns
        ],
        "rows": table.rows,
    }


def _show(answers: list[Answer], tables: list[Rows]) -> None:
    if answers:
        output.show_table(
            ["object", "name", "value", "unit"],
            [
                (str(answer.attribute), _named(answer.attribute), _value(answer), answer.unit)
                if answer.attribute
                else (answer.asked, None, answer.error, "")
                for answer in answers
            ],
        )
    for table in tables:
        heads = [
            "time (UTC)" if column.attribute.class_id == 8 else f"{column.attribute.obis}\n{column.unit}".rstrip()
            for column in table.columns
        ]
        scalers = [column.scaler for column in table.columns]
        rows = [
            tuple(
                cell.strftime("%Y-%m-%d %H:%M:%S")
                if hasattr(cell, "strftime")
                else Decimal(cell).scaleb(scaler)
                if scaler and isinstance(cell, int)
                else cell
                for cell, scaler in zip(row, scalers, strict=True)
            )
            for row in table.rows
        ]
        output.show_table(heads, rows, title=f"{table.profile} {_named(AttributeRef(7, table.profile, BUFFER))}")
