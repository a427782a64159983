"""What a node knows of its surroundings: the rows behind the PIB tables, and the shapes of results.

Source: ITU-T G.9903, 9.4.2 (status values).
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

BROADCAST = 0xFFFF
NOT_JOINED = 0xFFFF
COORDINATOR = 0x0000


class Status(IntEnum):
    """What a request ended with (`done(status)`), as the modem reports it."""

    OK = 0x00
    INVALID_REQUEST = 0x80
    NOT_PERMITTED = 0x84  # e.g. not joined
    FRAME_TOO_LONG = 0xE5
    ROUTE_ERROR = 0xA5  # no route found, or the message was lost on its way from here
    TIMEOUT = 0xA6
    BUSY = 0xB3
    NO_BUFFERS = 0xB4
    COUNTER_ERROR = 0xDB  # not above the last
    CHANNEL_ACCESS_FAILURE = 0xE1
    SECURITY_ERROR = 0xE4
    NO_ACK = 0xE9
    UNAVAILABLE_KEY = 0xF3


class Beacon(NamedTuple):
    """A beacon that a scan heard. rc_coord: the sender's route cost to the coordinator; lqi of the beacon itself."""

    pan: int
    short: int
    rc_coord: int
    lqi: int


@dataclass(slots=True)
class Route:
    """A row of the routing table. `cost`, `weak` (weak links) and `hops` are of the whole way; expires: simulated s."""

    destination: int
    next: int
    cost: int
    hops: int
    weak: int
    sequence: int
    expires: float
    valid: bool = True


@dataclass(slots=True)
class Neighbour:
    """A row of the neighbour table: what was heard of one device, and how it asked to be spoken to.

    lqi: of what was received from it, 0.25 dB a step from -10 dB; reverse_lqi: what it said of us, None: nothing yet.
    modulation (phy.Modulation) and tones (a bit for each group of six tones) hold until `tones_until`, simulated s.
    """

    short: int
    lqi: int
    heard: float
    reverse_lqi: int | None = None
    modulation: int = 0
    tones: int = 0x3F
    tones_until: float = 0.0
    reverse_cost: int | None = None


class PathHop(NamedTuple):
    """One hop that a path discovery collected: its address, link cost, and where it lies: 0 way there, 1 way back."""

    short: int
    flags: int
    cost: int


class Path(NamedTuple):
    """Outcome of a path discovery: hops there and back, each from its sender to its receiver."""

    status: int
    destination: int
    originator: int
    metric: int
    forward: tuple[PathHop, ...]
    reverse: tuple[PathHop, ...]
