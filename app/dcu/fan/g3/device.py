"""One meter as its PAN knows it, and the datagrams that wait for whoever reads them."""

from collections.abc import Awaitable, Callable

from dcu.errors import LinkClosed, LinkError
from dcu.fan.base import Standing
from dcu.fan.g3.ipv6 import MAX_PAYLOAD
from dcu.mailbox import Mailbox


class Device:
    """last_heard, since: UTC seconds; unheard_since: the loop's time of the last word, or of when we began to wait."""

    __slots__ = (
        "cost",
        "eui64",
        "hops",
        "last_heard",
        "lqi",
        "modulation",
        "next_hop",
        "path",
        "since",
        "standing",
        "unheard_since",
    )

    def __init__(self, eui64: bytes, standing: Standing, now: float, since: int) -> None:
        self.eui64 = eui64
        self.standing = standing
        self.since = since
        self.last_heard = 0
        self.unheard_since = now
        self.lqi: int | None = None  # of the last hop to us, where it is a neighbour of ours
        self.modulation = ""
        self.next_hop: int | None = None
        self.hops: int | None = None
        self.cost: int | None = None
        self.path: tuple[int, ...] = ()  # short addresses, the device last, as a path discovery found


class Endpoint(Mailbox):
    """A `streams.Datagram` to one UDP port of one meter."""

    __slots__ = ("_send", "eui64", "port")

    def __init__(self, eui64: bytes, port: int, send: Callable[[bytes, int, bytes], Awaitable[None]]) -> None:
        super().__init__()
        self.eui64 = eui64
        self.port = port
        self._send = send

    async def send(self, data: bytes) -> None:
        """Return when the first hop has it. Raises LinkError, and Unreachable where there is no way."""
        if self.closed:
            raise LinkClosed("the datagram endpoint is closed")
        if len(data) > MAX_PAYLOAD:
            raise LinkError(f"{len(data)} bytes do not fit a datagram, at most {MAX_PAYLOAD} do: lower max_pdu")
        await self._send(self.eui64, self.port, data)

    async def close(self) -> None:
        self.shut()

    def lose(self, error: LinkError) -> None:
        """What somebody waits for now will not come: say so, sooner than his patience would."""
        if self.awaited:
            self.fail(error)
