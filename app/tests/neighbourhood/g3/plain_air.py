"""A line without physics for tests of bootstrapping: who hears whom is a set of pairs; nothing collides.

Towards a short address over routes: anybody reaches anybody, if they hold a key in common, as secured frames demand.
"""

from neighbourhood.g3.tables import NOT_JOINED, Beacon

HOP = 0.1


class Air:
    def __init__(self, scheduler):
        self.scheduler = scheduler
        self.nodes = []
        self.pairs = set()
        self.heard = []  # (source, destination, payload) of everything said
        self.lose = lambda payload: False

    def node(self, eui64, *neighbours):
        node = AirNode(self, eui64)
        self.nodes.append(node)
        self.pairs |= {frozenset((node.eui64, other.eui64)) for other in neighbours}
        return node

    def near(self, one):
        return [node for node in self.nodes if node.up and frozenset((one.eui64, node.eui64)) in self.pairs]


class AirNode:
    def __init__(self, air, eui64):
        self.air, self.eui64 = air, eui64
        self.up = True
        self.pan, self.short = 0xFFFF, NOT_JOINED
        self.keys, self.active_key, self.frame_counter = {}, 0, 0
        self.rc_coord = 0x7FFF
        self.on_lbp = self.on_ipv6 = lambda *_: None

    def reset(self):
        self.pan, self.short, self.keys, self.active_key = 0xFFFF, NOT_JOINED, {}, 0

    def start_pan(self, pan):
        self.pan, self.short, self.rc_coord = pan, 0, 0

    def scan(self, seconds, done):
        beacons = [
            Beacon(node.pan, node.short, node.rc_coord, 100) for node in self.air.near(self) if node.short != NOT_JOINED
        ]
        self.air.scheduler.after(seconds, done, beacons)

    def send_lbp(self, destination, payload, done):
        source = self.eui64 if self.short == NOT_JOINED else self.short
        routed = self.short != NOT_JOINED and isinstance(destination, int)
        self.air.heard.append((source, destination, payload))
        found = [
            node
            for node in (self.air.nodes if routed else self.air.near(self))
            if destination in (node.short, node.eui64) and node.up and node.pan == self.pan
        ]
        if routed:
            key = self.keys.get(self.active_key)
            found = [node for node in found if node.keys.get(self.active_key) == key]
        elif isinstance(destination, bytes):
            found = [node for node in found if node.short == NOT_JOINED]
        for node in found:
            if not self.air.lose(payload):
                self.air.scheduler.after(HOP, node.on_lbp, source, payload)
        self.air.scheduler.after(HOP, done, 0 if found else 0xE9)
