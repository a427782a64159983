"""One G3 device: its place on the line, MAC, 6LoWPAN and LOADng. Bootstrapping and the modem's interface stand on it.

IPv6: `fe80::PPPP:00ff:fe00:SSSS` for the short address SSSS in PAN PPPP; RFC 6282 compresses that to nothing through
context 0, whose prefix is `fe80::PPPP:0:0:0/80` (docs/g3.md).
"""

from collections.abc import Callable
from random import Random

from neighbourhood.g3.adaptation import Adaptation, Done
from neighbourhood.g3.channel import Channel
from neighbourhood.g3.mac import Mac
from neighbourhood.g3.msdu import Counters
from neighbourhood.g3.tables import COORDINATOR, NOT_JOINED, Beacon, Neighbour, Path, Route, Status
from neighbourhood.g3.trace import Tag


class Node:
    """`number`: its place in the street (0: the coordinator). `short` is 0xFFFF while it has not joined.

    on_ipv6(packet, lqi); on_lbp(sender: short or EUI-64, what follows `40 02`); network_status(unreachable, reporter):
    a RERR came; on_power(up): the mains came or went.
    """

    def __init__(
        self, channel: Channel, number: int, eui64: bytes, random: Random, *, coordinator: bool = False
    ) -> None:
        self.number = number
        self.eui64 = eui64
        self.coordinator = coordinator
        self.scheduler = channel.scheduler
        self.mac = Mac(channel, number, eui64, random)
        self.adaptation = Adaptation(self.mac, random)
        self.loadng = self.adaptation.loadng
        self.loadng.on_route = self._route
        if coordinator:
            self.loadng.rreq_wait = 0.0  # as a utility sets it that reads one meter after the other, [K]
        self.network_status: Callable[[int, int], None] = _nobody
        self.on_power: Callable[[bool], None] = _nobody
        self.on_route: Callable[[Node, int, Route | None], None] = _nobody
        self.loadng.on_lost = lambda unreachable, reporter: self.network_status(unreachable, reporter)

    # -- who it is

    @property
    def pan(self) -> int:
        return self.mac.pan

    @pan.setter
    def pan(self, pan: int) -> None:
        self.mac.associate(pan, self.mac.short)

    @property
    def short(self) -> int:
        return self.mac.short

    @short.setter
    def short(self, short: int) -> None:
        self.mac.associate(self.mac.pan, short)
        self.loadng.short = short

    @property
    def keys(self) -> dict[int, bytes]:
        """GMK by index."""
        return self.mac.keys

    @keys.setter
    def keys(self, keys: dict[int, bytes]) -> None:
        self.mac.keys = keys

    @property
    def active_key(self) -> int:
        return self.mac.active_key

    @active_key.setter
    def active_key(self, index: int) -> None:
        self.mac.active_key = index

    @property
    def frame_counter(self) -> int:
        """The next frame's; it must never go back."""
        return self.mac.frame_counter

    @frame_counter.setter
    def frame_counter(self, value: int) -> None:
        self.mac.frame_counter = value

    @property
    def up(self) -> bool:
        return self.mac.up

    @property
    def routes(self) -> dict[int, Route]:
        return self.loadng.routes

    @property
    def neighbours(self) -> dict[int, Neighbour]:
        return self.mac.neighbours

    @property
    def counters(self) -> Counters:
        return self.mac.counters

    @property
    def on_ipv6(self) -> Callable[[bytes, int], None]:
        return self.adaptation.on_packet

    @on_ipv6.setter
    def on_ipv6(self, call: Callable[[bytes, int], None]) -> None:
        self.adaptation.on_packet = call

    @property
    def on_lbp(self) -> Callable[[int | bytes, bytes], None]:
        return self.adaptation.on_lbp

    @on_lbp.setter
    def on_lbp(self, call: Callable[[int | bytes, bytes], None]) -> None:
        self.adaptation.on_lbp = call

    # -- requests

    def reset(self) -> None:
        """Forget everything but the EUI-64, the frame counter and LOADng's sequence number."""
        self.adaptation.forget()
        self.mac.forget()
        self.mac.keys = {}
        self.mac.active_key = 0
        self.mac.associate(0xFFFF, NOT_JOINED)
        self.mac.rc_coord = 0xFFFF
        self.loadng.short = NOT_JOINED

    def power(self, up: bool) -> None:
        """The mains: what was in memory is gone with them."""
        if up != self.mac.up:
            self.reset()
            self.mac.up = up
            self.on_power(up)

    def start_pan(self, pan: int) -> None:
        """Be the coordinator of `pan`, with the short address 0."""
        self.mac.associate(pan, COORDINATOR)
        self.mac.rc_coord = 0
        self.loadng.short = COORDINATOR

    def scan(self, seconds: float, done: Callable[[list[Beacon]], None]) -> None:
        """Ask for beacons; `done` gets what was heard within `seconds`, the best of each sender."""
        heard: dict[tuple[int, int], Beacon] = {}

        def beacon(came: Beacon) -> None:
            known = heard.get((came.pan, came.short))
            if known is None or known.lqi <= came.lqi:
                heard[came.pan, came.short] = came

        def over() -> None:
            if self.mac.on_beacon is beacon:
                self.mac.on_beacon = None
                done(list(heard.values()))

        self.mac.on_beacon = beacon
        self.mac.request_beacons(Tag(self.number, None, "BEACON"))
        self.scheduler.after(seconds, over)

    def send_ipv6(
        self, destination: int, packet: bytes, done: Done, *, discover: bool = True, priority: bool = False
    ) -> None:
        """Send a whole IPv6 packet to a short address. done(status): tables.Status."""
        self.adaptation.send_packet(destination, packet, done, discover, priority)

    def send_lbp(self, destination: int | bytes, payload: bytes, done: Done) -> None:
        """Send what follows `40 02`: to a short address over routes and secured, once this node has joined.

        To an EUI-64, or by a node that has not joined: one hop, unsecured. Raises ValueError over 398 bytes.
        """
        self.adaptation.send_lbp(destination, payload, done)

    def discover_route(self, destination: int, max_hops: int, done: Done) -> None:
        """Flood for a route. done(status): OK, ROUTE_ERROR, INVALID_REQUEST."""
        self.loadng.discover(destination, done, max_hops)

    def path(self, destination: int, metric: int, done: Callable[[Path], None]) -> None:
        """Collect the hops of the route to a device, and of its route back."""
        self.loadng.paths.find(destination, metric, done)

    def _route(self, destination: int, route: Route | None) -> None:
        if destination == COORDINATOR and not self.coordinator:
            self.mac.rc_coord = 0xFFFF if route is None else route.cost
        self.on_route(self, destination, route)


def _nobody(*_: object) -> None:
    """Where nobody listens."""


__all__ = ["Beacon", "Done", "Node", "Path", "Status"]
