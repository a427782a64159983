"""`dcu readout`: what a meter shows, as text through its optical head (IEC 62056-21, modes A, B, C): no DLMS, no keys.

For the meter that refuses HDLC, and for a look at who it is before anything else is known of it.
"""

import asyncio

import click

from dcu.cli import output
from dcu.cli.carriers import port_of
from dcu.cosem import catalogue
from dcu.errors import ConfigError
from dcu.link.mode_e import BAUDS, DataSet, Identification
from dcu.link.serial import Port, open_serial
from dcu.link.sign_on import read_out
from dcu.model import Obis


@click.command()
@click.option("--serial", "serial_at", metavar="DEV[:BAUD]", required=True, help="The port; at most that fast (19200).")
@click.option("--address", default="", metavar="TEXT", help="The meter's device address, where several hear us.")
@output.json_option
def readout(serial_at: str, address: str, as_json: bool) -> None:
    """Have a meter read out what it shows, without DLMS."""
    device, baud = port_of(serial_at)
    at_most = baud if serial_at != device else 19200
    if at_most not in BAUDS.values():
        at_most = max(speed for speed in BAUDS.values() if speed <= at_most)
    told, found = asyncio.run(_read(device, address, at_most))
    rows: list[dict[str, object]] = [
        {"object": item.address, "name": _name(item), "value": value.text, "unit": value.unit or None}
        for item in found
        for value in item.values
    ]
    if as_json:
        meter = {"maker": told.maker, "identification": told.identification, "mode": told.mode, "baud": told.baud}
        output.show_json({"meter": meter, "values": rows})
        return
    output.note(f"/{told.maker}{told.letter} {told.identification}: mode {told.mode}, up to {told.baud} baud")
    output.show_records(rows, as_json=False)


async def _read(device: str, address: str, at_most: int) -> tuple[Identification, tuple[DataSet, ...]]:
    stream = await open_serial(Port(device))
    try:
        return await read_out(stream, address, at_most=at_most)
    except ValueError as error:
        raise ConfigError(f"--address: {error}") from None
    finally:
        await stream.close()


def _name(item: DataSet) -> str | None:
    """What the catalogue calls it, where it is an OBIS code, whose medium is electricity when it is not said."""
    written = item.address if "-" in item.address else f"1-0:{item.address}"
    try:
        return catalogue.name(Obis.parse(written)) or None
    except ConfigError:
        return None
