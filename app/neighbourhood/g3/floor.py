"""The floor of a collection: the air time below which no collector gets, on the routes and links that there are.

Over all messages: MSDUs × hops × the time of their exchanges in each link's mode, mean back-off included, nothing lost,
nothing at the same time, for the least traffic that does the job: one request by range and its answer a meter, in an
association that stands and counters that are known.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from neighbourhood.g3 import iphc, lowpan, phy
from neighbourhood.g3.frames import LONGEST_MSDU, OVERHEAD
from neighbourhood.g3.line import Line
from neighbourhood.g3.node import Node
from neighbourhood.g3.phy import Modulation
from neighbourhood.g3.tables import COORDINATOR

MESH = 5


@dataclass(frozen=True, slots=True)
class Hop:
    """How a hop's sender speaks to its receiver."""

    modulation: Modulation
    tones: int


def way(line: Line, origin: Node, final: int) -> list[Hop]:
    """The hops from a device to a short address, as the tables have them now. Raises LookupError: no route."""
    hops: list[Hop] = []
    node = origin
    while node.short != final:
        following = node.loadng.next_hop(final)
        number = None if following is None else line.number_of(following)
        if following is None or number is None or len(hops) > 15:
            raise LookupError(f"no route from {origin.number} to {final:04X}")
        neighbour = node.neighbours.get(following)
        known = neighbour is not None and neighbour.tones_until >= line.scheduler.now
        if neighbour is not None and known:
            hops.append(Hop(Modulation(neighbour.modulation), neighbour.tones))
        else:
            hops.append(Hop(Modulation.ROBO, phy.ALL_TONES))
        node = line.nodes[number]
    return hops


def message(packet: bytes, pan: int, origin: int, final: int, hops: Sequence[Hop]) -> float:
    """Seconds that an IPv6 packet takes over these hops, one exchange after the other."""
    parts = lowpan.pieces(packet, pan, origin, final, 0, LONGEST_MSDU - 7)
    return sum(msdu(MESH + len(part), hop) for part in parts for hop in hops)


def msdu(size: int, hop: Hop) -> float:
    """Seconds that an MSDU takes over one hop, in as many segments as its modulation asks for."""
    room = phy.longest(hop.modulation, hop.tones) - OVERHEAD
    full, rest = divmod(size, room)
    took = full * phy.exchange(room + OVERHEAD, hop.modulation, hop.tones)
    return took + (phy.exchange(rest + OVERHEAD, hop.modulation, hop.tones) if rest else 0.0)


def collection(line: Line, sizes: Iterable[tuple[int, int, int]]) -> float:
    """The floor of reading meters. sizes: (home, bytes of its request, of its answer), wrapper headers included."""
    total = 0.0
    coordinator = line.nodes[0]
    for home, request, answer in sizes:
        node = line.nodes[home]
        down, up = way(line, coordinator, node.short), way(line, node, COORDINATOR)
        total += message(_packet(coordinator, node, request), node.pan, COORDINATOR, node.short, down)
        total += message(_packet(node, coordinator, answer), node.pan, node.short, COORDINATOR, up)
    return total


def _packet(source: Node, destination: Node, payload: int) -> bytes:
    """A UDP datagram of this size between the two."""
    length = iphc.UDP_HEADER + payload
    head = bytes((0x60, 0, 0, 0)) + length.to_bytes(2, "big") + bytes((iphc.UDP, 64))
    head += iphc.address(source.pan, source.short) + iphc.address(destination.pan, destination.short)
    return head + _PORTS + length.to_bytes(2, "big") + bytes(2) + bytes(payload)


_PORTS = (4059).to_bytes(2, "big") * 2
