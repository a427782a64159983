"""What a host asks of a G3 modem.

Source: Microchip smartenergy_g3, ADP and LBP serialization (the same interface in PL360 and PL460 firmware).
"""

from dataclasses import dataclass, field

from dcu.fan.g3.fields import EUI64, FLAG, KEY, LONG_DATA, SHORT_DATA, U8, U16, U32
from dcu.fan.g3.message import Message, request


@request(10, U8, FLAG)
@dataclass(frozen=True, slots=True)
class Initialise(Message):
    """Answered by a ModemStatus, when the stack is ready."""

    band: int
    coordinator: bool = True


@request(11, U8, FLAG, U8, LONG_DATA)
@dataclass(frozen=True, slots=True)
class Data(Message):
    """An IPv6 packet. quality: 0 normal, 1 high priority."""

    handle: int
    discover_route: bool
    quality: int
    packet: bytes


@request(12, U8)
@dataclass(frozen=True, slots=True)
class Discover(Message):
    seconds: int


@request(13, U16)
@dataclass(frozen=True, slots=True)
class StartNetwork(Message):
    pan: int


@request(14, U16, U16, U8)
@dataclass(frozen=True, slots=True)
class Join(Message):
    """A device's; media: 0 PLC, 1 RF."""

    pan: int
    agent: int
    media: int = 0


@request(15)
@dataclass(frozen=True, slots=True)
class Leave(Message):
    """A device's."""


@request(16)
@dataclass(frozen=True, slots=True)
class Reset(Message):
    pass


@request(17, U32, U16, SHORT_DATA)
@dataclass(frozen=True, slots=True)
class Set(Message):
    """An attribute of the adaptation layer's information base."""

    attribute: int
    index: int
    value: bytes


@request(18, U32, U16)
@dataclass(frozen=True, slots=True)
class Get(Message):
    attribute: int
    index: int = 0


@request(20, U16, U8)
@dataclass(frozen=True, slots=True)
class DiscoverRoute(Message):
    destination: int
    max_hops: int


@request(21, U16, U8)
@dataclass(frozen=True, slots=True)
class DiscoverPath(Message):
    destination: int
    metric: int = 0x0F


@request(22, U32, U16, SHORT_DATA)
@dataclass(frozen=True, slots=True)
class MacSet(Message):
    """An attribute of the MAC layer's information base."""

    attribute: int
    index: int
    value: bytes = field(repr=False)  # a key, perhaps


@request(23, U32, U16)
@dataclass(frozen=True, slots=True)
class MacGet(Message):
    attribute: int
    index: int = 0


@request(24, U16, U8, FLAG, U8, LONG_DATA)
@dataclass(frozen=True, slots=True)
class NoIpData(Message):
    destination: int
    handle: int
    discover_route: bool
    quality: int
    data: bytes


@request(60, U32, U16, SHORT_DATA)
@dataclass(frozen=True, slots=True)
class LbpSet(Message):
    """A parameter of the bootstrapping server."""

    attribute: int
    index: int
    value: bytes = field(repr=False)  # a key, perhaps


@request(61, EUI64, U16, U16, KEY)
@dataclass(frozen=True, slots=True)
class ForceRegister(Message):
    """A device's: join without bootstrapping."""

    eui64: bytes
    short: int
    pan: int
    group_key: bytes = field(repr=False)


@request(62, U16, EUI64)
@dataclass(frozen=True, slots=True)
class Kick(Message):
    short: int
    eui64: bytes


@request(63, U16, EUI64, FLAG)
@dataclass(frozen=True, slots=True)
class Rekey(Message):
    """distribute: give the device the next group key; else have it use it. A JoinComplete says that it is done."""

    short: int
    eui64: bytes
    distribute: bool


@request(64, FLAG)
@dataclass(frozen=True, slots=True)
class RekeyPhase(Message):
    start: bool


@request(65)
@dataclass(frozen=True, slots=True)
class ActivateKey(Message):
    """From now on the coordinator itself uses the next group key."""


@request(66, EUI64, U16)
@dataclass(frozen=True, slots=True)
class AssignShort(Message):
    """The answer to a JoinRequest; DECLINED (0xFFFF) sends the device away."""

    eui64: bytes
    short: int


DECLINED = 0xFFFF
