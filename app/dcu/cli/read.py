"""`dcu read`: attributes and profiles of one meter, by OBIS code or CLASS,OBIS,ATTRIBUTE."""

from datetime import datetime
from typing import Any

import click

from dcu.cli import output, values
from dcu.cli.access import Access, Answer, Rows, Window, open_access
from dcu.cli.collector import span, written
from dcu.cli.options import meter_options
from dcu.cosem.datetimes import TimeZoneRule
from dcu.errors import AccessDenied, DcuError, DecodeError, MalformedAnswer
from dcu.model import AttributeRef, Obis

PROFILE = 7
UNDEFINED = 4  # data-access-result object-undefined
CLOCK = 8

Result = Answer | Rows


@click.command()
@meter_options
@click.option("--from", "start", metavar="TIME", help="First row of a profile: 2026-11-19 or 2026-11-19T06:00, UTC.")
@click.option("--to", "end", metavar="TIME", help="Last row of a profile; now if left out.")
@click.option("--last", type=click.IntRange(1, 1_000_000), metavar="N", help="The newest N rows of a profile.")
@output.json_option
@click.argument("objects", nargs=-1, required=True, metavar="OBJECT...")
def read(
    objects: tuple[str, ...], start: str | None, end: str | None, last: int | None, as_json: bool, **where: Any
) -> None:
    """Read OBJECTs: 1-0:1.8.0*255, 1.0.1.8.0.255 (class from the meter's object list) or CLASS,OBIS,ATTRIBUTE.

    Of a profile (class 7) --from and --to, or --last, select rows; without them all of its buffer is read.
    """
    if last and (start or end):
        raise click.UsageError("--last stands alone: it counts rows, --from and --to name times")
    if end and not start:
        raise click.UsageError("--to needs --from")
    window = Window(*span(start, end), last)
    for name in objects:
        _ = AttributeRef.parse(name) if "," in name else Obis.parse(name)
    access = open_access(**where)
    wanted = _resolved(access, objects)
    if not window.whole and not any(_is_profile(item) for item in wanted):
        raise click.UsageError("--from, --to and --last select rows of a profile, and none of these objects is one")
    results = _results(access, wanted, window)
    failures = [result.error for result in results if isinstance(result, Answer) and result.error]
    if len(failures) < len(results):
        _show(results, access, as_json=as_json)
    if failures:
        raise failures[0]


def _resolved(access: Access, names: tuple[str, ...]) -> list[AttributeRef | Answer]:
    """The attribute that each name means; for an object that the meter has not got, the answer is there already."""
    classes: dict[Obis, int] = {}
    if any("," not in name for name in names):
        from dcu.collect.decoding import decoding
        from dcu.cosem.objects import decode_object_list

        with decoding("the object list"):
            classes = {item.obis: item.class_id for item in decode_object_list(access.object_list())}
    found: list[AttributeRef | Answer] = []
    for name in names:
        if "," in name:
            found.append(AttributeRef.parse(name))
        elif (obis := Obis.parse(name)) in classes:
            found.append(AttributeRef(classes[obis], obis, values.VALUE))
        else:
            denied = AccessDenied(f"the meter holds no object {obis} for this client: see `dcu objects`", UNDEFINED)
            found.append(Answer(AttributeRef(0, obis, values.VALUE), error=denied))
    return found


def _results(access: Access, wanted: list[AttributeRef | Answer], window: Window) -> list[Result]:
    """In the order of the names: all attributes in one go, then the profiles."""
    plain = [item for item in wanted if isinstance(item, AttributeRef) and not _is_profile(item)]
    answers = iter(access.read(plain) if plain else ())
    results: list[Result] = []
    for item in wanted:
        if isinstance(item, Answer):
            results.append(item)
        elif _is_profile(item):
            results.append(_profile(access, item, window))
        else:
            results.append(_sound(next(answers)))
    return results


def _profile(access: Access, ref: AttributeRef, window: Window) -> Result:
    try:
        return access.profile(ref.obis, window)
    except DcuError as error:
        return Answer(ref, error=error)


def _sound(answer: Answer) -> Answer:
    """An answer whose value decodes, or says that it does not."""
    from dcu.cosem import axdr

    try:
        if not answer.error:
            axdr.decode(answer.raw)
    except DecodeError as error:
        return Answer(answer.attribute, error=MalformedAnswer(f"{answer.attribute}: no value of any type: {error}"))
    return answer


def _is_profile(item: AttributeRef | Answer) -> bool:
    return isinstance(item, AttributeRef) and (item.class_id, item.attribute) == (PROFILE, values.VALUE)


def _show(results: list[Result], access: Access, *, as_json: bool) -> None:
    answers = [result for result in results if isinstance(result, Answer)]
    rule = access.rule if any(not answer.error for answer in answers) else None
    if as_json:
        output.show_json([_record(item, rule) if isinstance(item, Answer) else _table(item) for item in results])
        return
    if answers:
        output.show_table(["object", "name", "value", "unit"], [_line(answer, rule) for answer in answers])
    for number, result in enumerate(results):
        if isinstance(result, Rows):
            if number or answers:
                click.echo()
            show_rows(result)


def _line(answer: Answer, rule: TimeZoneRule | None) -> tuple[object, ...]:
    ref = answer.attribute
    if answer.error:
        why = str(answer.error).removeprefix(f"{ref}: ")
        return _written(ref), values.named(ref) if ref.class_id else None, f"not read: {why}", ""
    value = values.explained(ref, values.meaning(ref, answer.raw, answer.scaler, answer.unit, rule))
    return _written(ref), values.named(ref), values.spelled(value), answer.unit


def _record(answer: Answer, rule: TimeZoneRule | None) -> dict[str, object]:
    ref, error = answer.attribute, answer.error
    if error:
        return {"object": _written(ref), "error": {"kind": type(error).__name__, "message": str(error)}}
    return {
        "object": _written(ref),
        "name": values.named(ref),
        "value": values.meaning(ref, answer.raw, answer.scaler, answer.unit, rule),
        "unit": answer.unit,
        "raw": answer.raw,
    }


def _written(ref: AttributeRef) -> str:
    return str(ref) if ref.class_id else str(ref.obis)


def _table(table: Rows) -> dict[str, object]:
    return {
        "profile": str(table.profile),
        "name": values.named(AttributeRef(PROFILE, table.profile, values.VALUE)),
        "columns": [
            {"attribute": str(column.attribute), "scaler": column.scaler, "unit": column.unit}
            for column in table.columns
        ],
        "rows": table.rows,
    }


def show_rows(table: Rows) -> None:
    """Print a profile's rows, its quantities scaled."""
    title = f"{table.profile} {values.named(AttributeRef(PROFILE, table.profile, values.VALUE))}"
    if not table.rows:
        click.echo(f"{title}: no rows")
        return
    heads = [
        "time (UTC)" if column.attribute.class_id == CLOCK else f"{values.head(column.attribute)}\n{column.unit}"
        for column in table.columns
    ]
    scalers = [column.scaler for column in table.columns]
    refs = [column.attribute for column in table.columns]
    rows = [
        [values.explained(ref, _cell(cell, scaler)) for ref, cell, scaler in zip(refs, row, scalers, strict=True)]
        for row in table.rows
    ]
    output.show_table(heads, rows, title=title)
    if not table.zoned:
        output.note("taken for UTC: the meter does not say its deviation, and no --family its zone")


def _cell(cell: object, scaler: int) -> object:
    if isinstance(cell, datetime):
        return written(cell)
    return values.quantity(cell, scaler) if scaler and isinstance(cell, int | float) else cell
