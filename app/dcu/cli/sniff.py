"""`dcu sniff`: what passes on a serial line, live: each HDLC frame, each APDU put together, deciphered with the keys.

It only listens. The port is one of its own (a second adapter on the pair): the collector's it cannot share.
"""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from dcu.cli import output
from dcu.cli.capture import Captured
from dcu.cli.carriers import port_of
from dcu.cli.decoding import Decoder
from dcu.cli.shown import Shown
from dcu.cli.terminal import line
from dcu.errors import DcuError, DecodeError
from dcu.keys import keysfile
from dcu.link import hdlc
from dcu.link.hdlc import Frame, Kind
from dcu.link.hdlc_parameters import Reason, decode_parameters, decode_rejection
from dcu.link.segments import Joiner
from dcu.link.serial import FORMATS, Port, open_serial

SILENCE = 0.2  # seconds without a byte that end a frame
_WIDEST = 600  # characters of one APDU; --json has it all

Json = dict[str, Any]


@click.command()
@click.option("--serial", "serial_at", metavar="DEV[:BAUD]", required=True, help="The port (9600).")
@click.option("--format", "form", type=click.Choice(FORMATS), default="8N1", show_default=True, help="Its format.")
@click.option("--keys", "keys_path", type=click.Path(path_type=Path), help="TOML: system_title, guek, gak.")
@click.option("--seconds", type=click.FloatRange(0, min_open=True), help="End after so long. [default: Ctrl-C]")
@click.option("--frames/--no-frames", default=True, help="Show frames that carry no APDU, too.")
@output.json_option
def sniff(
    serial_at: str, form: str, keys_path: Path | None, seconds: float | None, frames: bool, as_json: bool
) -> None:
    """Show live what passes on a serial line."""
    keys = keysfile.load(keys_path) if keys_path else None
    device, baud = port_of(serial_at)
    asyncio.run(_listen(Port(device, baud, form), Tap(Decoder(keys)), seconds, frames=frames, as_json=as_json))


async def _listen(port: Port, tap: "Tap", seconds: float | None, *, frames: bool, as_json: bool) -> None:
    stream = await open_serial(port)
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds if seconds else None
    try:
        while end is None or loop.time() < end:
            silence = loop.time() + SILENCE
            try:
                async with asyncio.timeout_at(min(silence, end or silence)):
                    data = await stream.read()
            except TimeoutError:
                found = tap.silence()
            else:
                found = tap.feed(data)
            now = datetime.now(UTC)
            for item in found:
                if frames or "apdu" in item or "damage" in item:
                    click.echo(output.to_json({"at": now, **item}) if as_json else _line(now, item))
    finally:
        await stream.close()


class Tap:
    """Turns what a line brings into records: `frame` and its `from`, `to` and `detail`; `apdu`, or `damage`."""

    def __init__(self, decoder: Decoder) -> None:
        self._frames = hdlc.Decoder(inspect=True)
        self._joiner = Joiner()
        self._decoder = decoder
        self._shown = Shown()
        self._lost = 0

    def feed(self, data: bytes) -> Iterator[Json]:
        for frame in self._frames.feed(data):
            yield from self._seen(frame)
        if not self._frames.pending:
            yield from self._damage()

    def silence(self) -> Iterator[Json]:
        """Nothing comes: an unfinished frame will not be finished."""
        if self._frames.pending > 1:  # one is a flag that may open the next
            for frame in self._frames.abandon():
                yield from self._seen(frame)
        yield from self._damage()

    def _seen(self, frame: Frame) -> Iterator[Json]:
        yield from self._damage()
        record: Json = {
            "frame": frame.control.kind.name,
            "from": _address(frame.source),
            "to": _address(frame.destination),
            "detail": _detail(frame),
        }
        if frame.fault:
            yield record | {"damage": f"wrong {frame.fault}"}
            return
        message = self._joiner.add(frame)
        if message is None:
            yield record
            return
        ends = frozenset((f"HDLC {record['from']}", f"HDLC {record['to']}"))
        try:
            item = self._decoder.take(Captured(message.apdu, {}, ends))
        except DcuError as error:
            yield record | {"apdu": {"raw": message.apdu.hex()}, "note": str(error)}
            return
        if item is None:
            yield record | {"detail": f"{record['detail']}, a block of more"}
            return
        shown = self._shown.decoded(item)
        record["apdu"] = shown["apdu"] or {"raw": message.apdu.hex()}
        if shown["security"]:
            record["security"] = shown["security"]
        if item.notes:
            record["note"] = "; ".join(item.notes)
        yield record

    def _damage(self) -> Iterator[Json]:
        skipped = self._frames.skipped
        lost, self._lost = skipped.noise + skipped.frames - self._lost, skipped.noise + skipped.frames
        if lost:
            self._joiner.lost()
            yield {"damage": "bytes that are no frame"}


def _detail(frame: Frame) -> str:
    control = frame.control
    parts = ["P/F"] if control.final else []
    if control.kind is Kind.OTHER:
        parts.insert(0, f"control {control.encode():02X}")
    if control.kind is Kind.I:
        parts.append(f"N(S) {control.send}")
    if control.kind in (Kind.I, Kind.RR, Kind.RNR, Kind.REJ):
        parts.append(f"N(R) {control.receive}")
    if frame.information:
        parts.append(f"{len(frame.information)} B")
    if frame.segmented:
        parts.append("segment")
    try:
        if control.kind in (Kind.SNRM, Kind.UA) and frame.information:
            terms = decode_parameters(frame.information)
            parts.append(f"information {terms.transmit}/{terms.receive}")
            parts.append(f"window {terms.transmit_window}/{terms.receive_window}")
        elif control.kind is Kind.FRMR:
            told = decode_rejection(frame.information)
            why = "+".join(reason.name.lower() for reason in Reason if reason in told.reason and reason.name)
            parts.append(f"rejects control {told.control:02X}: {why or 'no reason'}")
    except DecodeError as error:
        parts.append(str(error))
    return ", ".join(parts)


def _line(now: datetime, item: Json) -> str:
    """A record in one line, its APDU in a second one."""
    at = now.astimezone().strftime("%H:%M:%S.%f")[:-3]
    if "frame" not in item:
        return f"{at}  {item['damage']}"
    head = f"{at}  {item['from']} > {item['to']}  {item['frame']} {item['detail']}".rstrip()
    if "damage" in item:
        return f"{head}  {item['damage']}"
    if "apdu" not in item:
        return head
    text = _flat(item["apdu"])
    if len(text) > _WIDEST:
        text = f"{text[:_WIDEST]} …"
    if security := item.get("security"):
        text += f"  [{security['protection']}, counter {security['invocation_counter']}]"
    if item.get("note"):
        text += f"  ({item['note']})"
    return f"{head}\n              {line(text)}"


def _flat(value: Any) -> str:
    """JSON as few words: a value without its type, an object with its names."""
    if isinstance(value, dict):
        if "reference" in value:
            return f"{value['reference']} ({value['name']})" if value.get("name") else str(value["reference"])
        if "type" in value and "value" in value:
            seen = next((value[key] for key in ("text", "obis", "date_time") if value.get(key)), value["value"])
            return _flat(seen)
        service = [str(value["service"])] if "service" in value else []
        return " ".join(service + [f"{k}={_flat(v)}" for k, v in value.items() if k != "service" and v is not None])
    if isinstance(value, list):
        return f"[{', '.join(map(_flat, value))}]"
    return str(value)


def _address(address: hdlc.Address) -> str:
    return f"{address.upper}/{address.lower}" if address.size > 1 else str(address.upper)
