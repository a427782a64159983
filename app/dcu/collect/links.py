"""Opens channels to meters: the collector's `Connect`, and what the command line opens for itself.

Serial lines are kept: all meters of one share its port, one of them is spoken with at a time.
"""

from collections.abc import Awaitable, Callable, Iterable

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


class Links:
    """The collector's links."""

    def __init__(self, media: Iterable[MediumTable], networks: Networks | None = None) -> None:
        self._networks = networks
        self._lines = {table.name: (Line(_opener(port), turnaround=table.turnaround), port, table.echo)
                       for table in media if (port := table.port)}  # fmt: skip

    async def connect(self, address: str, client: int, profile: MeterProfile) -> Channel:
        """Open a channel to the meter at `address`. Raises LinkError, ConfigError."""
        reach = Reach.parse(address)
        if reach.carrier == G3 and self._networks is not None:
            return await self._networks.connect(address, client, profile)
        if reach.carrier != "serial":
            return await connect(reach, client, profile.addresses.server, profile.hdlc, profile.session.timeout)
        if reach.line not in self._lines:
            raise ConfigError(f"{address}: no [[medium]] of this name has a device")
        line, port, echo = self._lines[reach.line]
        seat = line.seat()
        setup = hdlc_setup(
            reach.physical, client, profile.addresses.server, profile.hdlc, byte_time=port.byte_time, echo=echo
        )
        return await open_hdlc(seat, setup, seat)

    async def close(self) -> None:
        for line, _, _ in self._lines.values():
            await line.close()


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
    stream: ByteStream
    if reach.carrier == "tcp":
        stream = await tcp.connect(reach.host, reach.port, timeout=within)
    else:
        stream = udp.DatagramStream(await udp.connect(reach.host, reach.port, timeout=within))
    return await open_hdlc(stream, setup)


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
