"""`dcu decode`: what is inside captured frames, deciphered and checked, as APDU XML or as JSON."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import click

from dcu.cli import capture, output
from dcu.cli.decoding import Decoded, Decoder, is_whole
from dcu.cli.shown import Shown
from dcu.cli.terminal import line
from dcu.cli.worker import Worker
from dcu.cosem.datetimes import TimeZoneRule
from dcu.errors import ConfigError, DcuError
from dcu.keys import keysfile


@click.command()
@click.argument("file", type=click.File("r", encoding="utf-8", errors="replace"), default="-")
@click.option("--keys", "keys_path", type=click.Path(path_type=Path), help="TOML: system_title, guek, gak.")
@click.option("--xml", "form", flag_value="xml", help="APDU XML, as the Gurux translator writes it (default).")
@click.option("--json", "form", flag_value="json", help="Typed values, OBIS names, date-times also in UTC.")
@click.option("--ignore-fcs", is_flag=True, help="Decode frames whose check sequence is wrong, as far as it goes.")
@click.option("--zone", metavar="NAME", help="Time zone for clocks that do not say theirs, e.g. Europe/Vienna.")
@click.option("--opposite-deviation", is_flag=True, help="The meter writes UTC = local - deviation.")
def decode(
    file: TextIO,
    keys_path: Path | None,
    form: str | None,
    ignore_fcs: bool,
    zone: str | None,
    opposite_deviation: bool,
) -> None:
    """Show what is inside captured frames.

    FILE (or standard input) is hex: HDLC frames, wrapper frames or bare APDUs, several, spaced or not. Segments and
    blocks are put together first.
    """
    keys = keysfile.load(keys_path) if keys_path else None
    for warning in keys.warnings if keys else ():
        output.note(warning)
    found: list[Decoded] = []
    shown = _shown(zone, opposite_deviation)
    try:
        for item in _decoded(file.read(), Decoder(keys), ignore_fcs):
            found.append(item)
    except DcuError:
        _show(found, shown, form)  # what came before it is shown all the same
        raise
    _show(found, shown, form)


def _decoded(text: str, decoder: Decoder, ignore_fcs: bool) -> Iterator[Decoded]:
    for captured in capture.read(text, is_whole, ignore_fcs=ignore_fcs):
        if (item := decoder.take(captured)) is not None:
            yield item
    decoder.finish()


def _show(found: list[Decoded], shown: Shown, form: str | None) -> None:
    if form == "json" and found:
        output.show_json([shown.decoded(item) for item in found], indent=2 if sys.stdout.isatty() else None)
        return
    with Worker() as worker:
        for number, item in enumerate(found, 1):
            click.echo(f"<!-- {number}: {_origin(item)} -->")
            for note in item.notes:
                click.echo(f"<!-- {_comment(note)} -->")
            if item.raw:
                click.echo(worker.apdu_to_xml(item.raw).rstrip())


def _origin(item: Decoded) -> str:
    link = item.captured.link
    words = [f"{link['framing']} {link.get('frame', '')}".rstrip()] if link else ["APDU"]
    if link:
        words.append(f"{link['source']} to {link['destination']}")
    if link.get("segments", 1) != 1:
        words.append(f"{link['segments']} segments")
    if item.captured.fault:
        words.append(f"wrong {item.captured.fault}")
    if item.opened is not None:
        title = item.opened.title.hex().upper()
        words.append(f"{item.opened.protection} by {title}, invocation counter {item.opened.counter}")
    return _comment(", ".join(words))


def _comment(text: str) -> str:
    return line(text).replace("--", "- -")  # which would end the comment


def _shown(zone: str | None, opposite: bool) -> Shown:
    sign = -1 if opposite else 1
    if zone is None:
        return Shown(TimeZoneRule(deviation_sign=sign))
    try:
        return Shown(TimeZoneRule(ZoneInfo(zone), sign), zoned=True)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ConfigError(f"--zone {zone}: no such time zone; write it as in Europe/Vienna") from None
