"""The seam of field-area networks: what a network of meters gives the collector, whichever carries it (G3-PLC, Wi-SUN).

A meter is named by its EUI-64, 8 bytes, for good; short addresses, routes and IPv6 addresses are the network's own
business. A network gives a `Datagram` to a meter (whole UDP payloads, lost or not, see `dcu.streams`), a snapshot of
who is there and how he is reached, and events. What must outlive the process (short addresses, frame counters, keys) it
keeps through a `Vault` that is given to it: no disk in here.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from dcu.credentials import NetworkKeys, Secret
from dcu.errors import ConfigError, LinkTimeout
from dcu.streams import Datagram

EUI64_SIZE = 8
DLMS_PORT = 4059  # IANA: dlms/cosem


def parse_eui64(text: str) -> bytes:
    """Read 16 hexadecimal digits, with `:` or `-` between them or not. Raises ConfigError."""
    digits = text.replace(":", "").replace("-", "")
    try:
        raw = bytes.fromhex(digits) if digits.isalnum() else b""
    except ValueError:
        raw = b""
    if len(raw) != EUI64_SIZE:
        raise ConfigError(f"{text!r} is no EUI-64: 16 hexadecimal digits, such as 0004A3FFFE000017")
    return raw


def written(eui64: bytes) -> str:
    """An EUI-64 as addresses and listings have it."""
    return eui64.hex().upper()


class Standing(StrEnum):
    """How a meter stands with its network."""

    EXPECTED = "expected"  # it may join, and has not yet
    JOINING = "joining"
    JOINED = "joined"
    SILENT = "silent"  # it has joined, and was not heard for its limit
    LEFT = "left"  # it said so, or was sent away


@dataclass(frozen=True, slots=True)
class Link:
    """One hop as the network measured it. quality: 0..255, larger is better (LQI; RSL in Wi-SUN); modulation: the
    carrier's name for it, "" where unknown; cost: as the routing counts it, None where unknown."""

    quality: int | None = None
    modulation: str = ""
    cost: int | None = None


@dataclass(frozen=True, slots=True)
class Node:
    """One meter in the network's eyes.

    address: the short one of this network, None where it has none; parent: the EUI-64 of the hop before it as seen
    from the concentrator, None where the concentrator reaches it itself or nothing is known (then `hops` is None, too);
    path: every hop from the concentrator to it, itself included; last_heard, since: UTC seconds, 0: never.
    """

    eui64: bytes
    standing: Standing
    address: int | None = None
    parent: bytes | None = None
    path: tuple[bytes, ...] = ()
    hops: int | None = None
    cost: int | None = None
    link: Link = Link()
    last_heard: int = 0
    since: int = 0


@dataclass(frozen=True, slots=True)
class Topology:
    """A snapshot. up: whether the network carries anything now; root: the concentrator's EUI-64, b"" before it is
    known; pan: the network's number."""

    name: str
    kind: str  # "g3", "wisun"
    up: bool
    root: bytes
    pan: int
    nodes: tuple[Node, ...]


class Change(StrEnum):
    """What a network tells of."""

    UP = "network-up"
    DOWN = "network-down"
    JOINED = "joined"
    LEFT = "left"
    REFUSED = "join-refused"  # a stranger: neither on the white-list nor registered
    SILENT = "silent"  # unheard for its limit: an alarm
    HEARD = "heard"  # again
    REKEYED = "rekeyed"
    KEYS_LOST = "frame-counter-lost"  # counters of a group key were lost: the key was given up, everybody joins anew
    TROUBLE = "trouble"  # of the modem or the line to it


ALARMS = frozenset({Change.DOWN, Change.REFUSED, Change.SILENT, Change.KEYS_LOST, Change.TROUBLE})


@dataclass(frozen=True, slots=True)
class Event:
    """eui64: of the meter, b"" where the network itself is meant."""

    network: str
    change: Change
    eui64: bytes = b""
    text: str = ""


Listener = Callable[[Event], None]


class Unreachable(LinkTimeout):
    """The network says that it has no way to the meter now: nothing was sent, or it was given up on the way.

    It is a timeout that is known early: an association is not lost by it.
    """


class FieldNetwork(Protocol):
    """A network of meters. `run` keeps it up until it is cancelled; everything else may be called at any time."""

    name: str

    async def run(self) -> None: ...

    async def close(self) -> None: ...

    def expect(self, meters: frozenset[bytes]) -> None:
        """Who may join: the EUI-64 of every registered meter."""
        ...

    async def datagram(self, eui64: bytes, port: int = DLMS_PORT) -> Datagram:
        """The UDP port of a meter, from the same port of ours. Raises Unreachable where it has not joined.

        `send` returns when the first hop has it and raises Unreachable where there is no route: that is sooner than a
        timeout. At most one datagram endpoint a meter and port is open: a new one takes the place of the old.
        """
        ...

    def topology(self) -> Topology: ...

    def hops(self, eui64: bytes) -> int | None:
        """How many hops lie on the way to a meter, as far as the network knows."""
        ...

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Call `listener` with every event from now on; returns how to end it. It must not block."""
        ...

    async def path(self, eui64: bytes) -> tuple[Node, ...]:
        """Ask the network which way it takes to the meter now: the hops in order, the meter last. Raises LinkError."""
        ...

    async def kick(self, eui64: bytes) -> None:
        """Send a meter away; it may come back only while it is expected. Raises LinkError."""
        ...

    async def rekey(self) -> int:
        """Give the network a new group key without losing a meter; return how many have it. Raises LinkError."""
        ...

    def statistics(self) -> dict[str, int]:
        """Counters since the start, by name."""
        ...


class Vault(Protocol):
    """What outlives the process, of one network. A write is durable when it returns. Raises StoreError, KeysError."""

    async def keys(self) -> NetworkKeys: ...

    async def keep_keys(self, keys: NetworkKeys) -> None: ...

    async def recall(self) -> bytes | None:
        """The network's own notes (short addresses and the like)."""
        ...

    async def remember(self, notes: bytes) -> None: ...

    async def reserve(self, count: int, key: Secret) -> range | None:
        """Take `count` frame counters under `key` for good.

        None where no floor is known, or none are left: the key must be given up.
        """
        ...

    async def begin(self, floor: int, key: Secret) -> None:
        """Frame counters under `key` go on at `floor`, or above what is known: nothing was used from there on."""
        ...
