"""One G3 device: its place on the line, MAC, 6LoWPAN and LOADng. Bootstrapping and the modem's interface stand on it.

IPv6: `fe80::PPPP:00ff:fe00:SSSS` for the short address SSSS in PAN PPPP; RFC 6282 compresses that to nothing through
context 0, whose prefix is `fe80::PPPP:0:0:0/80` (docs/g3.md).
"""

from collections.abc import Callable
from typing import Any

from neighbourhood.g3.tables import NOT_JOINED, Beacon, Neighbour, Path, Route

Done = Callable[[int], None]


class Node:
    """`number`: its place in the street (0: the coordinator). `short` is 0xFFFF while it has not joined."""

    def __init__(self, number: int, eui64: bytes, *, coordinator: bool = False) -> None:
        self.number = number
        self.eui64 = eui64
        self.coordinator = coordinator
        self.up = True
        self.pan = 0xFFFF
        self.short = NOT_JOINED
        self.keys: dict[int, bytes] = {}
        self.active_key = 0
        self.frame_counter = 0
        self.routes: dict[int, Route] = {}
        self.neighbours: dict[int, Neighbour] = {}
        self.on_ipv6: Callable[[bytes, int], None] = _nobody
        self.on_lbp: Callable[[int | bytes, bytes], None] = _nobody
        self.network_status: Callable[..., None] = _nobody

    def reset(self) -> None:
        """Forget everything but the EUI-64 and the frame counter."""
        raise NotImplementedError

    def start_pan(self, pan: int) -> None:
        """Be the coordinator of `pan`, with the short address 0."""
        raise NotImplementedError

    def scan(self, seconds: float, done: Callable[[list[Beacon]], None]) -> None:
        """Ask for beacons; `done` gets what was heard within `seconds`, one a sender, the latest."""
        raise NotImplementedError

    def send_ipv6(
        self, destination: int, packet: bytes, done: Done, *, discover: bool = True, priority: bool = False
    ) -> None:
        """Send a whole IPv6 packet to a short address. done(status): tables.Status."""
        raise NotImplementedError

    def send_lbp(self, destination: int | bytes, payload: bytes, done: Done) -> None:
        """Send what follows `40 02`: to a short address over routes and secured, once this node has joined.

        To an EUI-64, or by a node that has not joined: one hop, unsecured.
        """
        raise NotImplementedError

    def discover_route(self, destination: int, max_hops: int, done: Done) -> None:
        raise NotImplementedError

    def path(self, destination: int, metric: int, done: Callable[[Path], None]) -> None:
        raise NotImplementedError


def _nobody(*_: Any) -> None:
    """Where nobody listens."""
