"""The cables of a street: a three-phase 400 V tree from the transformer to each home, and what they do to a signal.

Main cables leave the transformer's busbar; joints stand every 25-65 m; some joints have a branch, most have homes on
service cables. The concentrator sits at the busbar on all three phases, a home on one (one in ten on three). A signal
loses so much a metre, more at each joint it passes, more when it crosses to another phase, and is coloured on its way
(each pair has notches of its own, the same both ways). A cut cable is an opened link box: the supply comes round from
the ring's other side, and a signal crosses the open contacts weakened.

Source: figures of narrowband PLC on low-voltage cables as commonly measured; all of them are named constants [K].
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import cos, pi, sin
from random import Random

from neighbourhood.g3.phy import GROUPS

METRE_LOSS = 0.09  # dB/m at the middle of the band
JOINT_LOSS = 1.5  # dB where a cable with more than two ends is passed
SERVICE_LOSS = 3.0  # dB into and out of a home's service cable
PHASE_LOSS = 12.0  # dB from one phase to another
CUT_LOSS = 15.0  # dB across an opened link box
NOTCH = 6.0  # dB, the span of what a pair's multipath adds or takes in a group of tones
FARTHEST = 54.0  # dB: beyond, nothing is heard even in the quietest night

HOMES_A_FEEDER = 110  # at most
VILLAGE = 100  # homes: up to here two main cables, wide apart, else a town's
SPANS = {True: (40.0, 65.0), False: (25.0, 40.0)}  # m between joints, in a village and in a town
HOMES_A_JOINT = {True: (1, 1, 2, 2), False: (1, 2, 2, 3)}
PHASES = "ABC"


@dataclass(frozen=True, slots=True)
class Junction:
    id: int
    x: float
    y: float


@dataclass(frozen=True, slots=True)
class Cable:
    """`start` is the end nearer to the transformer. length in metres."""

    id: int
    start: int
    end: int
    length: float


@dataclass(frozen=True, slots=True)
class Place:
    """Where a device is connected: its junction and phase (A, B, C or ABC)."""

    junction: int
    phase: str


@dataclass(slots=True)
class Feeder:
    """The tree. places[0] is the concentrator's; `cut`: ids of the cables that are open."""

    seed: int
    junctions: list[Junction]
    cables: list[Cable]
    places: list[Place]
    cut: set[int] = field(default_factory=set)
    _around: list[list[tuple[int, Cable]]] = field(default_factory=list)
    _here: dict[int, list[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._around = [[] for _ in self.junctions]
        for cable in self.cables:
            self._around[cable.start].append((cable.end, cable))
            self._around[cable.end].append((cable.start, cable))
        for number, place in enumerate(self.places):
            self._here.setdefault(place.junction, []).append(number)

    def add(self, place: Place) -> None:
        """Connect one more device."""
        self._here.setdefault(place.junction, []).append(len(self.places))
        self.places.append(place)

    def reach(self, number: int) -> dict[int, float]:
        """What the cables take from this device's signal (dB) on the way to each other that could hear it."""
        place = self.places[number]
        return {
            other: loss
            for junction, passed in self._spread(place.junction)
            for other in self._here.get(junction, ())
            if other != number and (loss := passed + crossing(place.phase, self.places[other].phase)) <= FARTHEST
        }

    def between(self, one: int, other: int) -> list[Cable]:
        """The cables from one junction to another, in their order."""
        came: dict[int, tuple[int, Cable] | None] = {one: None}
        stack = [one]
        while stack and other not in came:
            junction = stack.pop()
            for following, cable in self._around[junction]:
                if following not in came:
                    came[following] = junction, cable
                    stack.append(following)
        way = []
        while (step := came[other]) is not None:
            other, cable = step
            way.append(cable)
        return way[::-1]

    def near(self, junction: int, loss: float) -> Iterator[tuple[int, float]]:
        """The devices that less than `loss` dB part from a junction, with the loss."""
        for there, passed in self._spread(junction):
            if passed < loss:
                for number in self._here.get(there, ()):
                    yield number, passed

    def colour(self, one: int, other: int) -> tuple[float, ...]:
        """dB that the way between two devices takes (or spares) in each group of tones, beside `reach`."""
        mixed = _mixed(self.seed, min(one, other), max(one, other))
        return tuple(NOTCH * ((mixed >> 10 * group & 1023) / 1023 - 0.5) for group in range(GROUPS))

    def _spread(self, junction: int) -> Iterator[tuple[int, float]]:
        """Each junction that a signal from `junction` reaches on its cable's own phase, with what it lost."""
        stack: list[tuple[int, int, float]] = [(junction, -1, 0.0)]
        while stack:
            here, came, loss = stack.pop()
            yield here, loss
            around = self._around[here]
            passing = JOINT_LOSS if came >= 0 and len(around) > 2 else 0.0
            for there, cable in around:
                if there != came:
                    lost = loss + passing + cable.length * METRE_LOSS
                    lost += SERVICE_LOSS * (len(self._around[there]) == 1 or len(around) == 1)
                    lost += CUT_LOSS * (cable.id in self.cut)
                    if lost <= FARTHEST:
                        stack.append((there, here, lost))


def crossing(one: str, other: str) -> float:
    return 0.0 if one == other or "ABC" in (one, other) else PHASE_LOSS


def generate(homes: int, seed: int) -> Feeder:
    """A street of `homes`, the same for the same seed. Device 0 is the concentrator, 1… are the homes."""
    return _Builder(Random(f"feeder {seed}"), seed).build(homes)  # noqa: S311  the same for the same seed


class _Builder:
    def __init__(self, random: Random, seed: int) -> None:
        self._random = random
        self._seed = seed
        self._village = False
        self._junctions = [Junction(0, 0.0, 0.0)]
        self._cables: list[Cable] = []
        self._places = [Place(0, "ABC")]

    def build(self, homes: int) -> Feeder:
        self._village = homes <= VILLAGE
        feeders = max(min(2, homes), -(-homes // HOMES_A_FEEDER))
        for number in range(feeders):
            here = homes * (number + 1) // feeders - homes * number // feeders
            self._main(2 * pi * (number + 0.15) / feeders, here)
        return Feeder(self._seed, self._junctions, self._cables, self._places)

    def _main(self, angle: float, homes: int) -> None:
        """One main cable with its branches, until its homes are connected."""
        joint, side = 0, 1
        while homes:
            joint = self._cable(joint, angle, self._random.uniform(*SPANS[self._village]))
            homes -= self._homes(joint, angle, min(homes, self._random.choice(HOMES_A_JOINT[self._village])))
            if homes > 4 and self._random.random() < 0.3:
                side = -side
                end, turned = joint, angle + side * self._random.uniform(0.9, 1.3)
                for _ in range(self._random.randint(2, 4)):
                    if homes:
                        end = self._cable(end, turned, self._random.uniform(*SPANS[self._village]))
                        homes -= self._homes(end, turned, min(homes, self._random.choice(HOMES_A_JOINT[self._village])))
            angle += self._random.uniform(-0.12, 0.12)

    def _homes(self, joint: int, angle: float, count: int) -> int:
        for side in range(count):
            turned = angle + (pi / 2 if side % 2 else -pi / 2) + self._random.uniform(-0.4, 0.4)
            home = self._cable(joint, turned, self._random.uniform(8, 25))
            phase = "ABC" if self._random.random() < 0.1 else PHASES[len(self._places) % 3]
            self._places.append(Place(home, phase))
        return count

    def _cable(self, start: int, angle: float, length: float) -> int:
        origin = self._junctions[start]
        end = len(self._junctions)
        x, y = origin.x + length * cos(angle), origin.y + length * sin(angle)
        self._junctions.append(Junction(end, round(x, 1), round(y, 1)))
        self._cables.append(Cable(len(self._cables), start, end, round(length, 1)))
        return end


def _mixed(*numbers: int) -> int:
    """64 bits that depend on nothing but `numbers`: the same in every run and on every machine."""
    mixed = 0x9E3779B97F4A7C15
    for number in (*numbers, 0, 0):
        mixed = ((mixed ^ number & 0xFFFFFFFF) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
        mixed ^= mixed >> 29
    return mixed
