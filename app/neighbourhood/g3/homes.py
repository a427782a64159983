"""The meters on the line: what a home's G3 device hands to its DLMS meter, and what the meter answers or says unasked.

A device's application is UDP port 4059: a wrapper datagram comes in, the meter's session takes its time, the answer
goes back to where the question came from. This is the street's own small IPv6 and UDP: it shares nothing with the
driver's.

Sources: RFC 8200, RFC 768, IEC 62056-47.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from struct import Struct
from typing import Any

from dcu.errors import DecodeError
from dcu.link import wrapper
from dcu.link.listen import Handler
from dcu.streams import each
from neighbourhood.fleet import DLMS_PORT, Fleet
from neighbourhood.g3 import echo
from neighbourhood.g3.events import Scheduler
from neighbourhood.g3.node import Node
from neighbourhood.g3.tables import COORDINATOR, NOT_JOINED
from neighbourhood.meter import CONCENTRATOR, MANAGEMENT_DEVICE, Event
from neighbourhood.push import alarm

THINKING = 0.03  # seconds from a request at a meter to its answer
PUSH_AGAIN, PUSH_TRIES = 15.0, 20  # an alarm that could not be sent is said again
_PORTS = Struct(">4H")
_UDP, _HOPS = 17, 64
_LINK_LOCAL, _MIDDLE = b"\xfe\x80" + bytes(6), b"\x00\xff\xfe\x00"


@dataclass(slots=True)
class Counts:
    requests: int = 0
    answers: int = 0
    unsent: int = 0  # answers that the network gave up
    malformed: int = 0
    pushes: int = 0
    pushes_unsent: int = 0
    twice: int = 0  # requests that the network delivered a second time
    sizes: dict[int, tuple[int, int]] = field(default_factory=dict)  # home → bytes of its largest request and answer


class Peer:
    """Whom a meter's session answers: whoever carries the datagrams."""

    local = remote = ("g3", DLMS_PORT)

    def push(self, server_sap: int, client_sap: int, apdu: bytes) -> None:
        """Nobody pushes through a session here: `Homes.push` does."""

    def close(self) -> None:
        pass


class Homes:
    """`nodes[home]` has `fleet.meters[home - 1]`. heard(home, packet, sent): every packet, for who watches."""

    def __init__(self, fleet: Fleet, nodes: Sequence[Node], scheduler: Scheduler, thinking: float = THINKING) -> None:
        self.fleet = fleet
        self.counts = Counts()
        self.thinking = thinking
        self._nodes = nodes
        self._scheduler = scheduler
        self._talks: dict[int, Handler] = {}
        self._last: dict[int, bytes] = {}  # by home: what it was asked last
        for home in range(1, len(fleet.meters) + 1):
            nodes[home].on_ipv6 = self._taker(home)

    def forget(self, home: int) -> None:
        """The meter lost its power: its associations are gone."""
        self._talks.pop(home, None)

    def push(self, home: int, code: Event, sent: Callable[[float], Any] | None = None) -> None:
        """Send an alarm to the concentrator. sent: told when the network has taken it to its end."""
        meter = self.fleet.meters[home - 1]
        datagram = wrapper.encode(MANAGEMENT_DEVICE, CONCENTRATOR, alarm(meter, code))
        self._push(home, datagram, PUSH_TRIES, sent)

    def _push(self, home: int, datagram: bytes, tries: int, sent: Callable[[float], Any] | None) -> None:
        node = self._nodes[home]

        def done(status: int) -> None:
            if status == 0:
                self.counts.pushes += 1
                if sent is not None:
                    sent(self._scheduler.now)
            elif tries > 1:
                self._scheduler.after(PUSH_AGAIN, self._push, home, datagram, tries - 1, sent)
            else:
                self.counts.pushes_unsent += 1

        if node.short == NOT_JOINED:
            self._scheduler.after(PUSH_AGAIN, self._push, home, datagram, tries, sent)
        else:
            node.send_ipv6(COORDINATOR, packet(node, COORDINATOR, DLMS_PORT, DLMS_PORT, datagram), done, priority=True)

    def _taker(self, home: int) -> Callable[[bytes, int], None]:
        return lambda packet, lqi: self._took(home, packet)

    def _took(self, home: int, raw: bytes) -> None:
        if answer := echo.replied(raw):
            self._nodes[home].send_ipv6(COORDINATOR, answer, self._sent)
            return
        try:
            source_port, port, payload = unpacked(raw)
            frame = wrapper.decode(payload)
        except DecodeError:
            self.counts.malformed += 1
            return
        if self._last.get(home) == payload:  # its acknowledgement was lost, and it went out again: no client's doing
            self.counts.twice += 1
            return
        self._last[home] = payload
        if port == DLMS_PORT:
            self.counts.requests += 1
            self._scheduler.after(self.thinking, self._answer, home, source_port, frame, len(payload))

    def _answer(self, home: int, port: int, frame: wrapper.Frame, size: int) -> None:
        meter, node = self.fleet.meters[home - 1], self._nodes[home]
        if not node.up:
            return
        talk = self._talks.get(home)
        if talk is None:
            talk = self._talks[home] = self.fleet.talk(meter, Peer(), lossy=True)
        for apdu in each(talk(frame.source, frame.destination, frame.apdu)):
            answer = wrapper.encode(frame.destination, frame.source, apdu)
            before = self.counts.sizes.get(home, (0, 0))
            if len(answer) > before[1]:
                self.counts.sizes[home] = size, len(answer)
            node.send_ipv6(COORDINATOR, packet(node, COORDINATOR, DLMS_PORT, port, answer), self._sent)

    def _sent(self, status: int) -> None:
        self.counts.answers += status == 0
        self.counts.unsent += status != 0


def packet(node: Node, destination: int, source_port: int, port: int, payload: bytes) -> bytes:
    """An IPv6 packet from a device to a short address of its PAN."""
    size, pan = 8 + len(payload), node.pan.to_bytes(2, "big")
    addresses = b"".join(_LINK_LOCAL + pan + _MIDDLE + short.to_bytes(2, "big") for short in (node.short, destination))
    sums = addresses + size.to_bytes(4, "big") + bytes((0, 0, 0, _UDP)) + _PORTS.pack(source_port, port, size, 0)
    total = _sum(sums + payload) or 0xFFFF
    head = (6 << 28).to_bytes(4, "big") + size.to_bytes(2, "big") + bytes((_UDP, _HOPS))
    return head + addresses + _PORTS.pack(source_port, port, size, total) + payload


def unpacked(raw: bytes) -> tuple[int, int, bytes]:
    """Source port, port, payload. Raises DecodeError."""
    if len(raw) < 48 or raw[0] >> 4 != 6 or raw[6] != _UDP or int.from_bytes(raw[4:6], "big") != len(raw) - 40:
        raise DecodeError("no UDP over IPv6")
    source, port, size, _ = _PORTS.unpack_from(raw, 40)
    if size != len(raw) - 40 or _sum(raw[8:40] + size.to_bytes(4, "big") + bytes((0, 0, 0, _UDP)) + raw[40:]):
        raise DecodeError("a UDP datagram that was damaged")
    return source, port, raw[48:]


def _sum(data: bytes) -> int:
    """The internet checksum; 0 over what carries its own."""
    data += bytes(len(data) % 2)
    total = sum(int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return 0xFFFF - total
