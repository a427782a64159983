"""`dcu write` and `dcu action`: what changes a meter goes out once; a value is read back, never assumed."""

from typing import Any

import click

from dcu.cli import exits, output, typed, values
from dcu.cli.access import Access, open_access
from dcu.cli.options import meter_options
from dcu.cosem import catalogue
from dcu.cosem.datetimes import TimeZoneRule
from dcu.cosem.described import encoded
from dcu.errors import AccessDenied, ConfigError, ServiceRefused
from dcu.model import AttributeRef, MethodRef

_UNCONFIRMED = click.option(
    "--unconfirmed", is_flag=True, help="Ask for no answer: the meter does it, or not, and only a look at it tells."
)


@click.command()
@meter_options
@output.json_option
@_UNCONFIRMED
@click.argument("attribute", metavar="CLASS,OBIS,ATTRIBUTE")
@click.argument("value", metavar="VALUE")
def write(attribute: str, value: str, as_json: bool, unconfirmed: bool, **where: Any) -> int:
    """Write one attribute of a meter, and read it back.

    VALUE has the type of what the meter holds there; or it says its type: u32:1000, octets:0A0B, text:abc, bits:0101,
    time:2026-11-20T12:00 (UTC), null, raw:HEX (encoded already). -- before a negative one. What is made of parts is
    JSON, with the names that `dcu read` shows: '[{"time": "06:00", "date": "*-*-*"}]'.
    """
    ref = AttributeRef.parse(attribute)
    what = catalogue.attributes(ref.class_id, ref.attribute)
    said = None if typed.typed(value) else typed.described(value, what)
    if typed.typed(value) and not value.startswith("time:"):
        typed.encoded(value)  # a mistake is told before anybody is asked
    access = open_access(**where)
    before, rule = None, access.rule
    if not where["broadcast"]:
        before, rule = _held(access, ref, needed=not typed.typed(value) and said is None)
    elif not typed.typed(value) and said is None:
        raise ConfigError(f"{value!r}: nobody is asked before a broadcast: say the type, as in u32:1000")
    if typed.typed(value):
        raw = typed.encoded(value, rule=rule)
    else:
        raw = typed.described(value, what, rule=rule) or typed.like(value, before or b"", rule=rule)
    after = access.write(ref, raw, unconfirmed=unconfirmed)
    confirmed = after in (None, raw)
    if as_json:
        shown = {"before": _meant(ref, before, rule), "after": _meant(ref, after, rule), "confirmed": after == raw}
        output.show_json({"object": str(ref), "name": values.named(ref), **shown})
    else:
        was, now = (values.spelled(_meant(ref, each, rule)) for each in (before, after))
        click.echo(f"{values.named(ref)}: {was} → {now if after is not None else 'written'}")
    if after is None and where["broadcast"]:
        output.note("sent to all; nobody answers")
    elif after is None:
        output.note("the meter took it; it does not let this client read it back")
    elif not confirmed:
        output.note("the meter took it, and holds another value")
    return exits.OK if confirmed else exits.FAILED


@click.command()
@meter_options
@output.json_option
@_UNCONFIRMED
@click.argument("method", metavar="CLASS,OBIS,METHOD")
@click.argument("parameter", metavar="[TYPE:VALUE]", required=False)
def action(method: str, parameter: str | None, as_json: bool, unconfirmed: bool, **where: Any) -> None:
    """Call one method of a meter's object; show what it returns.

    METHOD is its number, or its name in the catalogue: 15,0-0:40.0.0*255,add_user.

    The parameter says its type (i8:0), or is JSON where the catalogue knows what the method takes.

    It goes out once. Where no answer comes nobody can tell whether it was executed: look at the object before you
    call it again. Most methods take i8:0 where they need nothing.
    """
    ref = _method(method)
    raw = None if parameter is None else _parameter(ref, parameter)
    returned = open_access(**where).call(ref, raw, unconfirmed=unconfirmed)
    meant = None if returned is None else _meant(AttributeRef(0, ref.obis, 0), returned, None)
    if as_json:
        output.show_json({"method": str(ref), "returned": meant, "raw": returned})
    else:
        said = "sent; nobody answers" if unconfirmed or where["broadcast"] else "done"
        click.echo(said if returned is None else f"done; it returned {values.spelled(meant)}")


def _method(text: str) -> MethodRef:
    """Raises ConfigError."""
    head, _, name = text.rpartition(",")
    if not name.strip()[:1].isalpha():
        parsed = AttributeRef.parse(text)
        return MethodRef(parsed.class_id, parsed.obis, parsed.attribute)
    parsed = AttributeRef.parse(f"{head},0")
    known = catalogue.interface_class(parsed.class_id)
    names = known.methods if known else ()
    if name.strip() not in names:
        has = ", ".join(filter(None, names)) or "none that the catalogue knows"
        raise ConfigError(f"{text!r}: class {parsed.class_id} has the methods {has}")
    return MethodRef(parsed.class_id, parsed.obis, names.index(name.strip()) + 1)


def _parameter(ref: MethodRef, text: str) -> bytes:
    """Raises ConfigError."""
    if typed.typed(text):
        return typed.encoded(text)
    known = catalogue.interface_class(ref.class_id)
    what = known.parameter(ref.method) if known else None
    if what is None:
        raise ConfigError(f"{text!r}: a parameter says its type: i8:0, octets:0A0B, raw:HEX …")
    found = typed.described(text, [what])
    return encoded(text, what) if found is None else found


def _held(access: Access, ref: AttributeRef, *, needed: bool) -> tuple[bytes | None, TimeZoneRule | None]:
    """What the meter holds now; None where it does not say, and nobody needs it. Raises what ends the association."""
    (answer,) = access.read([ref])
    if answer.error and (needed or not isinstance(answer.error, AccessDenied | ServiceRefused)):
        raise answer.error
    return None if answer.error else answer.raw, access.rule


def _meant(ref: AttributeRef, raw: bytes | None, rule: TimeZoneRule | None) -> object:
    return None if raw is None else values.meaning(ref, raw, 0, "", rule)
