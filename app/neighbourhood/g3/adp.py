"""Commands of a G3 modem's host interface, as the modem has them: requests come in, reports go out.

How they stand on the wire is in `adp_codec`. Source: Microchip smartenergy_g3, ADP serialization (protocol 25 of USI).
"""

from dataclasses import dataclass
from enum import IntEnum


class Verdict(IntEnum):
    """What `Status` says of a request that has no answer of its own."""

    DONE = 0
    NOT_ALLOWED = 1
    UNKNOWN = 2
    INVALID = 3


# --- requests


@dataclass(frozen=True, slots=True)
class Initialise:
    """band: 0 CENELEC-A, 1 CENELEC-B, 2 FCC, 3 ARIB. Answered by `Status`, once the stack is ready."""

    band: int
    coordinator: int


@dataclass(frozen=True, slots=True)
class Data:
    handle: int
    discover: int
    quality: int
    packet: bytes  # IPv6


@dataclass(frozen=True, slots=True)
class Discovery:
    seconds: int


@dataclass(frozen=True, slots=True)
class Start:
    pan: int


@dataclass(frozen=True, slots=True)
class Join:
    pan: int
    agent: int
    media: int


@dataclass(frozen=True, slots=True)
class Leave:
    pass


@dataclass(frozen=True, slots=True)
class Reset:
    pass


@dataclass(frozen=True, slots=True)
class Set:
    attribute: int
    index: int
    value: bytes


@dataclass(frozen=True, slots=True)
class Get:
    attribute: int
    index: int


@dataclass(frozen=True, slots=True)
class RouteDiscovery:
    destination: int
    max_hops: int


@dataclass(frozen=True, slots=True)
class PathDiscovery:
    destination: int
    metric: int


@dataclass(frozen=True, slots=True)
class MacSet:
    attribute: int
    index: int
    value: bytes


@dataclass(frozen=True, slots=True)
class MacGet:
    attribute: int
    index: int


@dataclass(frozen=True, slots=True)
class PlainData:
    """Without IPv6: to a short address."""

    destination: int
    handle: int
    discover: int
    quality: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class LbpSet:
    attribute: int
    index: int
    value: bytes


@dataclass(frozen=True, slots=True)
class ForceRegister:
    """For a device only: be joined without bootstrapping."""

    eui64: bytes
    short: int
    pan: int
    gmk: bytes


@dataclass(frozen=True, slots=True)
class Kick:
    short: int
    eui64: bytes


@dataclass(frozen=True, slots=True)
class Rekey:
    """distribute: send the new key; else: have it used."""

    short: int
    eui64: bytes
    distribute: int


@dataclass(frozen=True, slots=True)
class RekeyPhase:
    """started: challenges carry the new key alone."""

    started: int


@dataclass(frozen=True, slots=True)
class ActivateKey:
    pass


@dataclass(frozen=True, slots=True)
class AssignShort:
    """Answers `JoinRequest`; FFFF: it may not join."""

    eui64: bytes
    short: int


# --- reports


@dataclass(frozen=True, slots=True)
class Status:
    verdict: int
    command: int


@dataclass(frozen=True, slots=True)
class DataConfirm:
    status: int
    handle: int


@dataclass(frozen=True, slots=True)
class DataIndication:
    lqi: int
    packet: bytes


@dataclass(frozen=True, slots=True)
class NetworkStatus:
    """A frame that was not accepted. source, destination: a short address, or an EUI-64."""

    pan: int
    source: int | bytes
    destination: int | bytes
    status: int
    security: int
    key: int
    media: int


@dataclass(frozen=True, slots=True)
class DiscoveryConfirm:
    status: int


@dataclass(frozen=True, slots=True)
class StartConfirm:
    status: int


@dataclass(frozen=True, slots=True)
class JoinConfirm:
    status: int
    short: int
    pan: int


@dataclass(frozen=True, slots=True)
class LeaveConfirm:
    status: int


@dataclass(frozen=True, slots=True)
class LeaveIndication:
    pass


@dataclass(frozen=True, slots=True)
class ResetConfirm:
    status: int


@dataclass(frozen=True, slots=True)
class SetConfirm:
    status: int
    attribute: int
    index: int


@dataclass(frozen=True, slots=True)
class GetConfirm:
    status: int
    attribute: int
    index: int
    value: bytes


@dataclass(frozen=True, slots=True)
class RouteConfirm:
    status: int


@dataclass(frozen=True, slots=True)
class Hop:
    short: int
    not_supported: int  # the metric
    cost: int
    phase: int
    received: int  # media
    sent: int


@dataclass(frozen=True, slots=True)
class PathConfirm:
    status: int
    destination: int
    originator: int
    metric: int
    path: tuple[tuple[Hop, ...], tuple[Hop, ...]]  # there, and back


@dataclass(frozen=True, slots=True)
class MacSetConfirm:
    status: int
    attribute: int
    index: int


@dataclass(frozen=True, slots=True)
class MacGetConfirm:
    status: int
    attribute: int
    index: int
    value: bytes


@dataclass(frozen=True, slots=True)
class BufferIndication:
    """free: bit 0 a large buffer is, bit 1 a medium one, bit 2 a small one."""

    free: int


@dataclass(frozen=True, slots=True)
class DiscoveryIndication:
    pan: int
    lqi: int
    agent: int
    rc_coord: int
    media: int


@dataclass(frozen=True, slots=True)
class PathRequestIndication:
    pass


@dataclass(frozen=True, slots=True)
class RouteNotFound:
    source: int
    destination: int
    next: int
    previous: int
    cost: int
    hops: int
    weak: int
    broken: int  # the route just broke
    compressed: int  # packet begins with a 6LoWPAN header
    packet: bytes


@dataclass(frozen=True, slots=True)
class LbpSetConfirm:
    status: int
    attribute: int
    index: int


@dataclass(frozen=True, slots=True)
class JoinRequest:
    eui64: bytes


@dataclass(frozen=True, slots=True)
class JoinComplete:
    eui64: bytes
    short: int


@dataclass(frozen=True, slots=True)
class Left:
    short: int
