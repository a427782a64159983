"""A line between an HDLC client and a station, with faults to order and a clock of its own. It keeps the order."""

import heapq
from collections import deque
from dataclasses import dataclass
from itertools import count

from dcu.link.hdlc import Address, Decoder, Kind
from dcu.link.hdlc_client import ClientLink, Setup, State
from dcu.link.hdlc_parameters import Parameters
from dcu.link.hdlc_server import Station, Terms

LATENCY = 0.01
CLIENT, SERVER = Address(16), Address(1, 17, 4)


@dataclass(frozen=True)
class Fault:
    """What happens to one frame. kind: drop, flip, cut (off), split, twice, late or noise; `at`: where, how much."""

    kind: str
    at: int = 0

    def apply(self, wire):
        """Return (delay, bytes) of what arrives."""
        at = self.at % len(wire)
        flipped = bytearray(wire)
        flipped[at] ^= 1 << self.at % 8
        return {
            "drop": [],
            "flip": [(0.0, bytes(flipped))],
            "cut": [(0.0, wire[:at])],
            "split": [(0.0, wire[:at]), (0.05, wire[at:])],
            "twice": [(0.0, wire), (0.0, wire)],
            "late": [(self.at % 40 / 10, wire)],
            "noise": [(0.0, bytes(flipped[at:])), (0.0, wire)],
        }[self.kind]


class Meter(Station):
    """A station whose application can be made to stop reading."""

    held = False

    def _handle(self, link):
        if not self.held:
            super()._handle(link)


class Line:
    """Client and station, joined. `faults` are used up frame by frame; `log` has every frame: (from client, frame)."""

    def __init__(self, handler, *, setup=None, terms=None, server=SERVER, echo=False, **station):
        self.now = 0.0
        self.client = ClientLink(setup or Setup(CLIENT, server))
        self.meter = Meter(handler, terms=terms or Terms(), **station)
        self.faults = deque()
        self.merge = False
        self.silent = False
        self.echo = echo
        self.log = []
        self.bytes = 0
        self._flying = []
        self._order = count()
        self._last = {True: 0.0, False: 0.0}

    def frames(self, kind=None, *, up=None):
        return [f for out, f in self.log if (kind is None or f.control.kind is kind) and (up is None or out is up)]

    def transmit(self, wire, from_client):
        self.bytes += len(wire)
        for part in frames_of(wire):
            frame = next(Decoder().feed(part))
            self.log.append((from_client, frame))
            if self.echo:
                self._fly(0.0, part, not from_client)
            if self.silent and not from_client:
                continue
            for delay, piece in self.faults.popleft().apply(part) if self.faults else [(0.0, part)]:
                self._fly(delay, piece, from_client)

    def _fly(self, delay, piece, to_meter):
        at = self._last[to_meter] = max(self._last[to_meter], self.now + LATENCY + delay)
        heapq.heappush(self._flying, (at, next(self._order), to_meter, piece))

    def run(self, seconds=60.0, until=lambda: False):
        """Let time pass, but no longer than something happens."""
        end = self.now + seconds
        while not until():
            self.transmit(self.client.output(self.now), True)
            times = [t for t in (self.client.deadline, self.meter.deadline) if t is not None]
            if self._flying:
                times.append(self._flying[0][0])
            if not times or min(times) > end:
                break
            self.now = max(self.now, min(times))
            self._arrive()
            self.client.tick(self.now)
            self.transmit(self.meter.tick(self.now), False)
        self.now = end if not until() else self.now

    def _arrive(self):
        if not self._flying or self._flying[0][0] > self.now:
            return
        _, _, to_meter, data = heapq.heappop(self._flying)
        while self.merge and self._flying and self._flying[0][0] <= self.now and self._flying[0][2] is to_meter:
            data += heapq.heappop(self._flying)[3]
        if to_meter:
            self.transmit(self.meter.feed(data, self.now), False)
        else:
            self.client.feed(data, self.now)

    def drain(self):
        """Until the line is quiet, both ends of it."""
        self.faults.clear()
        while self._flying:
            self.run(10)

    def connect(self):
        self.client.connect()
        self.run(30, lambda: self.client.state is not State.CONNECTING)
        return self.client.state is State.CONNECTED

    def ask(self, apdu, seconds=60):
        self.client.send(apdu)
        self.client.listening = True
        self.run(seconds, lambda: self.client.received or self.client.error)
        if self.client.error:
            raise self.client.error
        return self.client.received.popleft()

    @property
    def link(self):
        return next(iter(self.meter.links.values()))


def frames_of(wire):
    at = 0
    while at < len(wire):
        size = (wire[at + 1] << 8 & 0x700 | wire[at + 2]) + 2
        yield wire[at : at + size]
        at += size


def parameters(size, window):
    return Parameters(size, size, window, window)


def windows(line, *, up):
    """How many I frames each turn had, that is until the other side spoke."""
    counts = [0]
    for out, frame in line.log:
        if out is not up:
            counts.append(0)
        elif frame.control.kind is Kind.I:
            counts[-1] += 1
    return [n for n in counts if n]
