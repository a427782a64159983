"""The options by which a command of its own reaches a meter, and how the channel is opened that they ask for."""

from dataclasses import dataclass, field
from typing import Any

import click
import msgspec

from dcu.collect.links import connect, hdlc_setup, hdlc_stream
from dcu.collect.meter_profile import Hdlc
from dcu.collect.reach import NUMBER, Reach, client_address, endpoint, every_meter
from dcu.errors import ConfigError
from dcu.link.hdlc_broadcast import BroadcastChannel
from dcu.link.hdlc_channel import open_hdlc
from dcu.link.line import HalfDuplex
from dcu.link.serial import BAUDS, Port, open_serial
from dcu.link.sign_on import open_hdlc_signed_on
from dcu.link.tcp import address
from dcu.streams import Channel

TURNAROUND = 0.01  # seconds: what RS-485 transceivers need to let go of the line
PLACES = ("tcp_at", "udp_at", "serial_at")  # of these options exactly one
ONLY_HERE = (
    "framing",
    "physical",
    "address_size",
    "mode_e",
    "sign_on",
    "rs485",
)  # what only a link of our own asks for, beside them

LINK_OPTIONS = (
    click.option("--tcp", "tcp_at", metavar="HOST:PORT", help="Where the meter is: TCP."),
    click.option("--udp", "udp_at", metavar="HOST:PORT", help="Where the meter is: UDP."),
    click.option("--serial", "serial_at", metavar="DEV[:BAUD]", help="Where the meter is: a serial port (9600)."),
    click.option(
        "--framing", type=click.Choice(["wrapper", "hdlc"]), help="What is spoken. [default: wrapper; hdlc if serial]"
    ),
    click.option(
        "--physical", type=click.IntRange(1, 16_382), metavar="N", help="HDLC: the meter's physical (lower) address."
    ),
    click.option("--address-size", type=click.Choice(["1", "2", "4"]), help="HDLC: its bytes. [default: the fewest]"),
    click.option("--mode-e", is_flag=True, help="Sign on at 300 baud first, as at an optical head (IEC 62056-21)."),
    click.option("--sign-on", metavar="NUMBER", help="--mode-e: the meter's device address, where several hear us."),
    click.option(
        "--rs485",
        type=click.Choice(["rts", "rts-inverted"]),
        help="The port's driver switches the transmitter by RTS. [default: the adapter does it]",
    ),
)


@dataclass(frozen=True, slots=True)
class Carrier:
    """What carries the APDUs to one meter; with `broadcast`, over HDLC, to all meters of its line.

    agreed: the speed at which the meter was last spoken with, after a sign-on
    """

    reach: Reach
    port: Port | None
    hdlc: Hdlc
    mode_e: bool = False
    broadcast: bool = False
    agreed: dict[str, int] = field(default_factory=dict, compare=False)

    @property
    def lossy(self) -> bool:
        """Whether whole requests may be lost without anybody noticing."""
        return self.reach.carrier == "udp" and not self.reach.hdlc

    def __str__(self) -> str:
        reach = self.reach
        physical = f"/{reach.physical}" if reach.physical else ""
        physical += f"@{reach.number}" if reach.number else ""
        if self.port:
            return f"hdlc+serial://{self.port.device}{physical}"
        return f"{'hdlc+' if reach.hdlc else ''}{reach.carrier}://{address(reach.host, reach.port)}{physical}"

    async def open(self, client: int, server: int, timeout: float) -> Channel:  # noqa: ASYNC109 - to connect
        """Raises LinkError, ConfigError."""
        if self.broadcast:
            return await self._broadcasting(client, server, timeout)
        if self.port is None:
            return await connect(self.reach, client, server, self.hdlc, timeout)
        setup = hdlc_setup(self.reach.physical, client, server, self.hdlc, byte_time=self.port.byte_time)
        stream = HalfDuplex(await open_serial(self.port), TURNAROUND)
        if self.mode_e:
            number, baud = self.reach.number, self.port.baud
            return await open_hdlc_signed_on(stream, setup, number, at_most=baud, agreed=self.agreed)
        return await open_hdlc(stream, setup)

    async def _broadcasting(self, client: int, server: int, within: float) -> Channel:
        here, there = client_address(client), every_meter(server, self.hdlc.address_size)
        if self.port is None:
            return BroadcastChannel(await hdlc_stream(self.reach, within), here, there)
        return BroadcastChannel(await open_serial(self.port), here, there, byte_time=self.port.byte_time)


def carrier(
    *,
    tcp_at: str | None,
    udp_at: str | None,
    serial_at: str | None,
    framing: str | None,
    physical: int | None,
    address_size: str | None,
    rs485: Any,
    mode_e: bool,
    sign_on: str | None,
    hdlc: Hdlc,
) -> Carrier:
    """What the options say; `hdlc`: what the meter's family says. Raises ConfigError."""
    speaks_hdlc = framing == "hdlc" or serial_at is not None
    if serial_at is not None and framing == "wrapper":
        raise ConfigError("--framing wrapper is for TCP and UDP: on a serial line meters speak HDLC")
    if (rs485 or mode_e) and serial_at is None:
        raise ConfigError(f"{'--rs485' if rs485 else '--mode-e'} is for --serial")
    if sign_on is not None and not mode_e:
        raise ConfigError("--sign-on is for --mode-e")
    if sign_on is not None and not NUMBER.fullmatch(sign_on):
        raise ConfigError(f"--sign-on {sign_on}: a meter's number has 1 to 32 letters and digits")
    if not speaks_hdlc and (physical is not None or address_size):
        raise ConfigError("--physical and --address-size are for HDLC: say --framing hdlc")
    size = int(address_size or 0)
    if size:
        hdlc = msgspec.structs.replace(hdlc, address_size=size)
    if serial_at is not None:
        device, baud = port_of(serial_at)
        reach = Reach(True, "serial", line=device, physical=physical, number=sign_on or "")
        return Carrier(reach, Port(device, baud, rs485=rs485 or ""), hdlc, mode_e)
    host, port = located(tcp_at or udp_at or "")
    return Carrier(Reach(speaks_hdlc, "udp" if udp_at else "tcp", host, port, physical=physical), None, hdlc)


def located(written: str) -> tuple[str, int]:
    """Host and port of HOST:PORT. Raises ConfigError."""
    found = endpoint(written)
    if found is None or not found[1]:
        raise ConfigError(
            f"{written!r} is no address: write HOST:PORT, for instance 192.0.2.7:4059 or [2001:db8::7]:4059"
        )
    return found


def port_of(written: str) -> tuple[str, int]:
    """Device and speed of DEV[:BAUD]. Raises ConfigError."""
    device, colon, baud = written.rpartition(":")
    if not colon or not baud.isdecimal() or len(baud) > 9:
        return written, 9600
    if int(baud) not in BAUDS:
        raise ConfigError(f"{written}: {baud} baud: one of {', '.join(map(str, BAUDS))}")
    return device, int(baud)
