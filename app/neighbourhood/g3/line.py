"""The street on its line: cables, noise, channel and devices from one seed, and what can happen to them on command.

Device 0 is the coordinator at the transformer, 1… are the homes, those after them intruders that somebody put there.
Faults: a cable cut and mended, a burst of noise, a device switched off and on, one that reboots, the whole street
without power, a frame sent again by an eavesdropper.
"""

from collections.abc import Sequence
from heapq import heappop, heappush
from random import Random
from typing import Any

from neighbourhood.g3 import cost, feeder, phy
from neighbourhood.g3.channel import Channel
from neighbourhood.g3.events import Scheduler, Timer
from neighbourhood.g3.feeder import Feeder, Place
from neighbourhood.g3.frames import Address
from neighbourhood.g3.node import Node
from neighbourhood.g3.noise import FLOOR, SIGNAL, Noise
from neighbourhood.g3.phy import Modulation
from neighbourhood.g3.tables import BROADCAST, COORDINATOR, Neighbour, Route
from neighbourhood.g3.trace import Tag, Trace

PAN = 0x781D
RETRIES = 10  # macMaxFrameRetries of the homes, as their utility has set it (5 as delivered): see docs/g3.md
EUI_PREFIX = bytes.fromhex("02dc0000")  # locally administered


def eui64(number: int) -> bytes:
    """The EUI-64 of a device of a street."""
    return EUI_PREFIX + number.to_bytes(4, "big")


class Line:
    """start: UTC seconds of the street's zero. intruders: homes (their numbers) at whose mains a foreign device hangs.

    quiet: no appliances and no day (tests). cables: a feeder of one's own in place of a generated one.
    """

    def __init__(
        self, homes: int, seed: int, *, start: float = 0.0, trace: Trace | None = None, quiet: bool = False,
        intruders: Sequence[int] = (), cables: Feeder | None = None,
    ) -> None:  # fmt: skip
        self.seed = seed
        self.start = start
        self.homes = homes
        self.scheduler = Scheduler()
        self.trace = trace or Trace()
        self.feeder = cables or feeder.generate(homes, seed)
        for home in intruders:
            self.feeder.add(Place(self.feeder.places[home].junction, self.feeder.places[home].phase))
        self.noise = Noise(self.feeder, self.scheduler, self._chance("noise"), start, quiet=quiet)
        self.channel = Channel(self.feeder, self.noise, self.scheduler, self._chance("channel"))
        self.nodes = [
            Node(self.channel, number, eui64(number), self._chance(f"node {number}"), coordinator=number == 0)
            for number in range(len(self.feeder.places))
        ]
        for node in self.nodes[1:]:
            node.mac.max_retries = RETRIES
        self.trace.number_of = self.number_of
        self.trace.keys = lambda: self.nodes[COORDINATOR].keys.values()
        if trace is not None:
            self.channel.reports.append(trace.frame)
            for node in self.nodes:
                node.on_route = self._traced_route
        self._booting: dict[int, Timer] = {}
        self.noise.on_burst = lambda junction, db, until: self.trace.emit(
            "noise", self.scheduler.now, junction=junction, db=db, until=round(until, 6)
        )

    def describe(self, title: str, names: Sequence[str] = ()) -> None:
        """The trace's first event. names: of the homes, in their order (serial numbers)."""
        tree = self.feeder
        self.trace.emit(
            "street", self.scheduler.now, version=1, start=self.start, title=title,
            junctions=[{"id": one.id, "x": one.x, "y": one.y} for one in tree.junctions],
            cables=[{"id": one.id, "from": one.start, "to": one.end, "length": one.length} for one in tree.cables],
            nodes=[self._described(node, names) for node in self.nodes],
        )  # fmt: skip

    def number_of(self, short: int) -> int | None:
        """The device that has a short address now."""
        found = self.channel.addressed(self.nodes[0].pan, short)
        return found[0] if found else None

    # -- what can happen

    def cut(self, cable: int) -> None:
        """Raises IndexError for a cable that is not there."""
        self._switch(cable, True)

    def mend(self, cable: int) -> None:
        self._switch(cable, False)

    def burst(self, junction: int, db: float, seconds: float) -> None:
        """Noise of `db` over the floor at a junction, less with each metre from it."""
        self.noise.burst(junction, db, seconds)

    def off(self, number: int) -> None:
        self._power(number, False)

    def on(self, number: int) -> None:
        self._power(number, True)

    def reboot(self, number: int, seconds: float = 5.0) -> None:
        """A device starts anew and has forgotten its routes, keys and address. One without power stays without."""
        if self.nodes[number].up:
            self.off(number)
            self._booting[number] = self.scheduler.after(seconds, self.on, number)

    def blackout(self) -> None:
        """No home has power; the concentrator, at the transformer, has its own."""
        for node in self.nodes[1:]:
            self._power(node.number, False)

    def restore(self) -> None:
        for node in self.nodes[1:]:
            self._power(node.number, True)

    def replay(self, number: int, raw: bytes, destination: Address, modulation: Modulation = Modulation.ROBO) -> None:
        """An eavesdropper at a device's place sends a frame that it recorded, byte for byte."""
        self.channel.transmit(number, raw, modulation, phy.ALL_TONES, self.nodes[0].pan, destination,
                              destination != BROADCAST, Tag(number, None, "DATA"))  # fmt: skip

    # -- a street that has been at work for long

    def settle(self, key: bytes, *, key_index: int = 0, pan: int = PAN, homes: Sequence[int] | None = None) -> None:
        """Joined and routed: keys, short addresses (a home's number), tone maps, the cheapest routes.

        What joining and LOADng would leave behind, without their traffic: benchmarks begin here and say so. A street
        that is settled already is settled anew, as its noise is now.
        """
        members = {number: self.nodes[number] for number in (0, *(homes or range(1, self.homes + 1)))}
        self.nodes[0].start_pan(pan)
        for node in members.values():
            node.keys, node.active_key = {key_index: key}, key_index
            node.pan, node.short = pan, node.number
            node.routes.clear()
        costs = {node.number: self._meet(node, members) for node in members.values()}
        parents = _cheapest(costs)
        for number in list(members)[1:]:
            way = [number]
            while way[-1] != COORDINATOR:
                if way[-1] not in parents:
                    break  # nobody hears it
                way.append(parents[way[-1]])
            else:
                self._lay(way, costs)

    def _meet(self, node: Node, members: dict[int, Node]) -> dict[int, tuple[int, int]]:
        """Fill a node's neighbour table; (weak, cost) of the hop from each neighbour to it."""
        found = {}
        for number, loss in self.channel.reach[node.number].items():
            other = members.get(number)
            if other is None or loss > FAR:
                continue
            there, back = self.channel.link(other.number, node.number), self.channel.link(node.number, other.number)
            if there is None or back is None or min(there.lqi, back.lqi) < HEARD:
                continue
            modulation, tones = phy.choose(back.snr)
            now = self.scheduler.now
            until = now + node.mac.tone_map_ttl
            neighbour = Neighbour(other.short, there.lqi, now, back.lqi, modulation, tones, until)
            node.neighbours[other.short] = neighbour
            weights = node.loadng.weights
            found[other.number] = int(cost.weak(neighbour, weights)), cost.hop(neighbour, weights, 0.0)
        return found

    def _lay(self, way: list[int], costs: dict[int, dict[int, tuple[int, int]]]) -> None:
        """Routes both ways along a way, from a home to the coordinator."""
        for line in (way, way[::-1]):
            goal = line[-1]
            weak = price = 0
            for hops, (here, following) in enumerate(zip(line[-2::-1], line[:0:-1], strict=True), 1):
                weak, price = weak + costs[here][following][0], price + costs[here][following][1]
                routes = self.nodes[here].routes
                if goal not in routes:
                    sequence = self.nodes[goal].loadng.sequence
                    expires = self.scheduler.now + self.nodes[here].loadng.ttl
                    routes[goal] = Route(goal, following, price, hops, weak, sequence, expires)

    # --

    def _chance(self, what: str) -> Random:
        """A generator of its own for each part: what one draws does not move the others."""
        return Random(f"{what} {self.seed}")  # noqa: S311  the same street for the same seed

    def _described(self, node: Node, names: Sequence[str]) -> dict[str, Any]:
        place, number = self.feeder.places[node.number], node.number
        role = "coordinator" if number == 0 else "meter" if number <= self.homes else "intruder"
        name = names[number - 1] if 0 < number <= len(names) else role
        return {"id": number, "junction": place.junction, "phase": place.phase, "role": role, "name": name,
                "eui": node.eui64.hex()}  # fmt: skip

    def _switch(self, cable: int, cut: bool) -> None:
        found = self.feeder.cables[cable]
        (self.feeder.cut.add if cut else self.feeder.cut.discard)(cable)
        self.channel.recable(found.start)
        self.trace.emit("cable", self.scheduler.now, id=cable, state="cut" if cut else "whole")

    def _power(self, number: int, up: bool) -> None:
        self.scheduler.cancel(self._booting.pop(number, None))  # the last word counts: a reboot ends no blackout
        if self.nodes[number].up != up:
            self.nodes[number].power(up)
            self.trace.emit("node", self.scheduler.now, id=number, state="on" if up else "off")

    def _traced_route(self, node: Node, destination: int, route: Route | None) -> None:
        if not self.trace.wanted:
            return
        to = self.number_of(destination)
        if route is None:
            self.trace.emit("route", self.scheduler.now, node=node.number, to=to, next=None)
        else:
            found = {"next": self.number_of(route.next), "cost": route.cost, "hops": route.hops}
            self.trace.emit("route", self.scheduler.now, node=node.number, to=to, **found)


HEARD = 44  # LQI (1 dB): worse is no neighbour of a settled street
FAR = SIGNAL - FLOOR + 10.0  # dB: beyond, no night is quiet enough


def _cheapest(costs: dict[int, dict[int, tuple[int, int]]]) -> dict[int, int]:
    """Each device's next hop to the coordinator: fewest weak links, then lowest cost, then fewest hops."""
    parents: dict[int, int] = {}
    heap: list[tuple[int, int, int, int, int]] = [(0, 0, 0, COORDINATOR, COORDINATOR)]
    while heap:
        weak, price, hops, number, parent = heappop(heap)
        if number in parents:
            continue
        parents[number] = parent
        for other, (more_weak, more) in costs[number].items():
            if other not in parents:
                heappush(heap, (weak + more_weak, price + more, hops + 1, other, number))
    return parents
