"""`dcu image`: firmware images into meters, through the collector, which goes on by itself, or over a link of ours."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from dcu.cli import exits, output
from dcu.cli.access import open_access
from dcu.cli.collector import FILE, ask, at, moment, written
from dcu.cli.options import meter_options
from dcu.collect.jobs.image import Order, Phase, ordered
from dcu.cosem.image import spelled
from dcu.errors import ConfigError, JobError

PIECE = 1 << 20  # bytes of an image in one call
LOOK_EVERY = 1.0  # seconds


@click.group()
def image() -> None:
    """Bring a firmware image into meters, look how it does, activate it.

    --meter names meters of the running collector: one, several with commas between, or `all`. The collector goes on
    when this command has ended, and after a restart; over a link of its own the same command again goes on.
    """


@image.command()
@click.argument("file", type=FILE)
@click.option(
    "--identifier", metavar="TEXT", help="What the transfer is begun with; hex:… for bytes. [the file's name]"
)
@click.option("--expect", metavar="TEXT", help="How the meter names the image that it would activate. [--identifier]")
@click.option("--signature", metavar="HEX", help="What the meter has to say of the image's signature.")
@click.option("--activate", is_flag=True, help="Activate it as soon as the meter has verified it.")
@click.option("--at", "when", metavar="TIME", help="Have the meter activate it at this time (UTC), by its own clock.")
@click.option("--no-wait", is_flag=True, help="Leave it to the collector at once.")
@meter_options
@output.json_option
def send(
    file: Path,
    identifier: str | None,
    expect: str | None,
    signature: str | None,
    activate: bool,
    when: str | None,
    no_wait: bool,
    as_json: bool,
    **where: Any,
) -> int:
    """Send the image in FILE: in blocks, only those that the meter lacks; verified, and checked, by the meter.

    Without --activate or --at it then waits for `dcu image activate`.
    """
    if activate and when:
        raise click.UsageError("--activate is now, --at is later: one of them")
    try:
        raw = file.read_bytes()
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from None
    order = ordered(
        raw,
        identifier=_bytes("--identifier", identifier or file.stem),
        expected=_bytes("--expect", expect) if expect else b"",
        signature=_hex("--signature", signature or ""),
        activate=activate,
        at=_at(when),
    )
    if where["meter"]:
        return _collected(_Collected(where), raw, order, wait=not no_wait, as_json=as_json)
    return _shown([_linked(where, order, file)], as_json=as_json)


@image.command()
@meter_options
@output.json_option
def status(as_json: bool, **where: Any) -> int:
    """Show how far images came: all orders of the collector, those of --meter, or what one meter itself says."""
    if where["meter"] or not any(where[place] for place in ("tcp_at", "udp_at", "serial_at")):
        made = _Collected(where, required=False)
        return _shown(made.call("image.status"), as_json=as_json, judged=False)
    from dcu.cosem.image import ImageObject, ImageStatus

    linked = _open(where)

    async def look(meter: Any) -> list[Any]:
        wanted = (ImageObject.status, ImageObject.first_missing, ImageObject.held, ImageObject.to_activate)
        return [await meter.run(lambda session, make=make: make(ImageObject(session))) for make in wanted]

    found, missing, held, images = linked.work(look)
    told = [
        {"size": each.size, "identification": spelled(each.identification), "signature": each.signature}
        for each in images
    ]
    if as_json:
        blocks = {"first_missing": missing, "blocks": sum(held), "count": len(held)}
        output.show_json({"status": found.name.lower(), **blocks, "to_activate": told})
        return exits.OK
    lacks = f", first block that is missing: {missing}" if not all(held) else ""
    there = f"; {sum(held)} of {len(held)} blocks{lacks}" if held else ""
    click.echo(f"{found.name.lower().replace('_', ' ')}{there}")
    which = "its image" if found is ImageStatus.ACTIVATION_SUCCESSFUL else "would activate"
    for each in told:
        click.echo(f"{which} {each['identification']}, {each['size']} B, signature {each['signature'].hex()}")
    return exits.OK


@image.command()
@click.option("--at", "when", metavar="TIME", help="Have the meter do it at this time (UTC), by its own clock.")
@click.option("--no-wait", is_flag=True, help="Leave it to the collector at once.")
@meter_options
@output.json_option
def activate(when: str | None, no_wait: bool, as_json: bool, **where: Any) -> int:
    """Activate images that were sent and verified. What the meter would activate is compared with what was sent."""
    if where["meter"]:
        made = _Collected(where)
        views = made.call("image.activate", meters=made.names, at=_at(when))
        return _shown(views if no_wait else _watched(made), as_json=as_json)
    from dcu.cli.carried import Notes

    known = Notes(_open(where).name).read()
    if known is None:
        raise JobError("no image was sent to this meter from here: send it first (`dcu image send`)")
    return _shown([_linked(where, _renewed(known, _at(when)), None)], as_json=as_json)


@image.command()
@meter_options
@output.json_option
def cancel(as_json: bool, **where: Any) -> int:
    """Send no more blocks. The same image, sent again, goes on where it was."""
    made = _Collected(where)
    return _shown(made.call("image.cancel", meters=made.names), as_json=as_json, judged=False)


# --- through the collector


class _Collected:
    """The collector, and which of its meters are meant; `required`: else all that have an order."""

    def __init__(self, where: dict[str, Any], *, required: bool = True) -> None:
        self._socket: Path = where["socket"]
        named = where["meter"]
        if required and not named:
            raise click.UsageError("say which meters of the collector: --meter NAME[,NAME…] or --meter all")
        self.names: list[str] | None = named.split(",") if named and named != "all" else None
        if named == "all" and required:
            self.names = [row["name"] for row in ask(self._socket, "meters")]

    def call(self, method: str, **params: Any) -> Any:
        if method == "image.status":
            params["meters"] = self.names
        return ask(self._socket, method, **params)


def _collected(made: _Collected, raw: bytes, order: Order, *, wait: bool, as_json: bool) -> int:
    have = made.call("image.offer", sha256=order.sha256, size=order.size)["have"]
    while have < order.size:
        piece = raw[have : have + PIECE].hex()
        have = made.call("image.offer", sha256=order.sha256, size=order.size, offset=have, data=piece)["have"]
    views = made.call(
        "image.send",
        meters=made.names,
        sha256=order.sha256,
        size=order.size,
        identifier=order.identifier.hex(),
        expected=order.expected.hex(),
        signature=order.signature.hex(),
        activate=order.activate,
        at=order.at,
    )
    if not wait:
        return _shown(views, as_json=as_json)
    try:
        return _shown(_watched(made), as_json=as_json)
    except KeyboardInterrupt:
        output.note("the collector goes on: see `dcu image status`")
        raise


def _watched(made: _Collected) -> list[dict[str, Any]]:
    """Wait until all orders have ended, showing how they do."""
    with _bars() as show:
        while True:
            views: list[dict[str, Any]] = made.call("image.status")
            for view in views:
                show(view["meter"], view["share"], view["message"] or view["phase"])
            if all(Phase(view["phase"]).ended for view in views):
                return views
            time.sleep(LOOK_EVERY)


# --- over a link of our own


def _open(where: dict[str, Any]) -> Any:
    from dcu.cli.linked import Linked

    access = open_access(**where)
    if not isinstance(access, Linked):
        raise JobError("this meter is the collector's: name it with --meter")
    return access


def _linked(where: dict[str, Any], order: Order, file: Path | None) -> dict[str, Any]:
    from dcu.cli.carried import Notes, carry, taken_up

    linked = _open(where)
    notes = Notes(linked.name)
    order = taken_up(order, notes.read())
    with _bars() as show:
        ended = carry(linked, order, file, notes, lambda share, text: show(linked.name, share, text))
    return {
        "meter": linked.name,
        "image": ended.sha256,
        "size": ended.size,
        "identifier": spelled(ended.identifier),
        "phase": str(ended.phase),
        "share": 1.0,
        "blocks": ended.count,
        "count": ended.count,
        "at": ended.at,
        "since": ended.since,
        "message": "",
    }


def _renewed(known: Order, when: int) -> Order:
    from msgspec.structs import replace

    return replace(known, activate=not when, at=when, asked=0)


# --- what is shown


@contextmanager
def _bars() -> Iterator[Callable[[str, float, str], None]]:
    """One bar a meter, where somebody looks."""
    if not sys.stderr.isatty():
        yield lambda name, share, text: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn

    columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[text]}")
    bars: dict[str, TaskID] = {}
    with Progress(*columns, console=Console(stderr=True)) as progress:

        def show(name: str, share: float, text: str) -> None:
            if name not in bars:
                bars[name] = progress.add_task(name, total=1.0, text="")
            progress.update(bars[name], completed=share, text=text)

        yield show


def _shown(views: Sequence[dict[str, Any]], *, as_json: bool, judged: bool = True) -> int:
    failed = [view for view in views if view["phase"] == Phase.FAILED]
    if as_json:
        output.show_json([{**view, "at": at(view["at"]), "since": at(view["since"])} for view in views])
    elif not views:
        click.echo("no image was ordered for any meter")
    else:
        heads = ["meter", "image", "identifier", "phase", "done", "message"]
        rows = [
            [
                view["meter"],
                view["image"][:12],
                view["identifier"],
                view["phase"] if not view["at"] else f"{view['phase']} {written(at(view['at']))} UTC",
                f"{view['share']:.0%}",
                view["message"] or None,
            ]
            for view in views
        ]
        output.show_table(heads, rows)
    return exits.code_of(JobError("")) if failed and judged else exits.OK


def _bytes(option: str, text: str) -> bytes:
    return _hex(option, text.removeprefix("hex:")) if text.startswith("hex:") else text.encode()


def _hex(option: str, text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise ConfigError(f"{option}: {text!r} is not hexadecimal") from None


def _at(when: str | None) -> int:
    """Raises ConfigError for what has passed."""
    if not when:
        return 0
    if (at_ := int(moment(when).timestamp())) <= time.time():
        raise ConfigError(f"--at {when}: has passed")
    return at_
