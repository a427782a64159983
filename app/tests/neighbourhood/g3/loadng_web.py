"""Devices that run LOADng on a medium without losses: a graph whose links have the qualities that a test gives them."""

from itertools import pairwise
from random import Random

from neighbourhood.g3 import cost, messages
from neighbourhood.g3.events import Scheduler
from neighbourhood.g3.loadng import Loadng
from neighbourhood.g3.tables import BROADCAST, Neighbour, Status

HOP = 0.05  # s
Edges = dict[tuple[int, int], int]  # (one, other) → LQI, the same both ways


class Web:
    def __init__(self, edges: Edges, seed: int = 1) -> None:
        self.scheduler = Scheduler()
        self.edges = {(min(edge), max(edge)): lqi for edge, lqi in edges.items()}
        self.cut: set[tuple[int, int]] = set()
        self.deaf: set[tuple[int, int]] = set()  # (sender, receiver)
        self.sent: list[tuple[int, int, messages.Message]] = []
        self.neighbours = {node: self._table(node) for edge in self.edges for node in edge}
        self.nodes = {node: self._node(node, seed) for node in sorted(self.neighbours)}

    def discover(self, origin: int, destination: int) -> Status:
        ended: list[Status] = []
        self.nodes[origin].discover(destination, ended.append)
        self.scheduler.run_until(self.scheduler.now + 60)
        assert len(ended) == 1
        return Status(ended[0])

    def walk(self, origin: int, destination: int) -> list[int]:
        """The way of a message; it ends early where there is no route, and after as many hops as there are nodes."""
        way = [origin]
        while way[-1] != destination and len(way) <= len(self.nodes):
            following = self.nodes[way[-1]].next_hop(destination)
            if following is None:
                break
            way.append(following)
        return way

    def loops(self) -> list[tuple[int, int]]:
        """(device, destination) whose routes lead round in a circle."""
        return [(node, destination) for destination in self.nodes for node in self.nodes
                if len(self.walk(node, destination)) > len(self.nodes)]  # fmt: skip

    def price(self, way: list[int]) -> tuple[int, int]:
        """(weak links, cost) of a way, from the edges and nothing else."""
        lqis = [self.edges[min(pair), max(pair)] for pair in pairwise(way)]
        return sum(lqi < 52 for lqi in lqis), sum(cost.direction(lqi, 0, 63, cost.Weights()) + 4 for lqi in lqis)

    def hears(self, sender: int, receiver: int) -> bool:
        edge = min(sender, receiver), max(sender, receiver)
        return edge in self.edges and edge not in self.cut and (sender, receiver) not in self.deaf

    def _table(self, node: int) -> dict[int, Neighbour]:
        return {other: Neighbour(other, lqi, 0.0, lqi) for edge, lqi in self.edges.items() if node in edge
                for other in edge if other != node}  # fmt: skip

    def _node(self, number: int, seed: int) -> Loadng:
        def send(destination, message, done, still=None):
            self.sent.append((number, destination, message))
            self.scheduler.after(HOP, self._arrive, number, destination, messages.encode(message), done)

        node = Loadng(self.scheduler, Random(f"{seed} {number}"), self.neighbours[number], send)
        node.short = number
        return node

    def _arrive(self, sender: int, destination: int, wire: bytes, done) -> None:
        if destination == BROADCAST:
            for other in self.nodes:
                if other != sender and self.hears(sender, other):
                    self.nodes[other].received(messages.decode(wire), sender)
            return
        heard = self.hears(sender, destination)
        if heard:
            self.nodes[destination].received(messages.decode(wire), sender)
        if done is not None:
            done(Status.OK if heard and self.hears(destination, sender) else Status.NO_ACK)
