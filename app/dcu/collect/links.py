"""Opens channels to meters: the collector's `Connect`, and what the command line opens for itself.

Serial lines are kept: all meters of one share its port, one of them is spoken with at a time.
"""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field

from dcu.collect.meter_profile import Hdlc, MeterProfile
from dcu.collect.networks import Networks
from dcu.collect.reach import G3, Reach, client_address, server_address
from dcu.collect.settings import MediumTable
from dcu.errors import ConfigError
from dcu.link import tcp, udp
from dcu.link.channel import DatagramChannel, StreamChannel
from dcu.link.hdlc_channel import open_hdlc
from dcu.link.hdlc_client import Setup
from dcu.link.hdlc_parameters import Parameters
from dcu.link.line import Line
from dcu.link.serial import Port, open_serial
from dcu.streams import ByteStream, Channel

Opener = Callable[[Port], Callable[[], Awaitable[ByteStream]]]


@dataclass(frozen=True, slots=True)
class _Wired:
    """agreed: with mode E, the speeds at which meters were last spoken with, by their device addresses"""

    line: Line
    port: Port
    table: MediumTable
    agreed: dict[str, int] = field(default_factory=dict)


class Links:
    """The collector's links."""

    def __init__(
        self, media: Iterable[MediumTable], networks: Networks | None = None, opener: Opener | None = None
    ) -> None:
        """opener: opens a serial port, where it is not the operating system that does."""
        self._networks = networks
        opener = opener or _opener
        self._lines = {table.name: _Wired(Line(opener(port), turnaround=table.turnaround), port, table)
                       for table in media if (port := table.port)}  # fmt: skip

    async def connect(self, address: str, client: int, profile: MeterProfile) -> Channel:
        """Open a channel to the meter at `address`. Raises LinkError, ConfigError."""
        reach = Reach.parse(address)
        if reach.carrier == G3 and self._networks is not None:
            return await self._networks.connect(address, client, profile)
        server = reach.logical or profile.addresses.server
        if reach.carrier != "serial":
            return await connect(reach, client, server, profile.hdlc, profile.session.timeout)
        if reach.line not in self._lines:
            raise ConfigError(f"{address}: no [[medium]] of this name has a device")
        wired = self._lines[reach.line]
        seat = wired.line.seat()
        setup = hdlc_setup(
            reach.physical, client, server, profile.hdlc, byte_time=wired.port.byte_time, echo=wired.table.echo
        )
        if not wired.table.mode_e:
            return await open_hdlc(seat, setup, seat)
        from dcu.link.sign_on import open_hdlc_signed_on  # memory: few lines have a head

        baud, agreed = wired.port.baud, wired.agreed
        return await open_hdlc_signed_on(seat, setup, reach.number, at_most=baud, floor=seat, agreed=agreed)

    async def close(self) -> None:
        for wired in self._lines.values():
            await wired.line.close()


async def connect(reach: Reach, client: int, server: int, hdlc: Hdlc, within: float) -> Channel:
    """Open a channel over TCP or UDP. Raises LinkError, ConfigError."""
    if reach.carrier == G3:
        raise ConfigError(f"g3://{reach.eui64.hex()}: a G3-PLC meter is reached by the collector, which has the modem")
    if not reach.hdlc:
        if reach.carrier == "tcp":
            return StreamChannel(await tcp.connect(reach.host, reach.port, timeout=within), client, server)
        return DatagramChannel(await udp.connect(reach.host, reach.port, timeout=within), client, server)
    # datagrams may overtake each other: with a window of 1, an old one is never taken for the next
    window = 1 if reach.carrier == "udp" else hdlc.window
    setup = hdlc_setup(reach.physical, client, server, hdlc, window=window)
    return await open_hdlc(await hdlc_stream(reach, within), setup)


async def hdlc_stream(reach: Reach, within: float) -> ByteStream:
    """What carries HDLC over TCP or UDP. Raises LinkError."""
    if reach.carrier == "tcp":
        return await tcp.connect(reach.host, reach.port, timeout=within)
    return udp.DatagramStream(await udp.connect(reach.host, reach.port, timeout=within))


def hdlc_setup(
    physical: int | None,
    client: int,
    server: int,
    hdlc: Hdlc,
    *,
    window: int | None = None,
    byte_time: float = 0.0,
    echo: bool = False,
) -> Setup:
    """Raises ConfigError."""
    size, count = hdlc.information, window or hdlc.window
    return Setup(
        client_address(client),
        server_address(server, physical, hdlc.address_size),
        Parameters(size, size, count, count),
        timeout=hdlc.timeout,
        retries=hdlc.retries,
        inter_octet=hdlc.inter_octet,
        byte_time=byte_time,
        echo=echo,
        announce=hdlc.negotiate,
    )


def _opener(port: Port) -> Callable[[], Awaitable[ByteStream]]:
    return lambda: open_serial(port)
