"""The medium that all devices of a street share: who hears whom, how well, and what a transmission meets on its way.

A transmission is worked out once, when it ends: for the device that it is addressed to, or for each that hears a
broadcast. It is lost to noise (the link's SNR in the tones used), to a collision (others on the air meanwhile, hidden
ones above all), or because its receiver was sending. Acknowledgements are transmissions like others. A device senses
what began at least a slot ago, and reserves the time of the acknowledgement it expects; two that begin in one slot
collide.
"""

from collections.abc import Callable
from random import Random
from typing import Any, Protocol

from dcu.errors import DecodeError
from neighbourhood.g3 import frames, phy
from neighbourhood.g3.events import Scheduler
from neighbourhood.g3.feeder import Feeder
from neighbourhood.g3.frames import Address, Received
from neighbourhood.g3.noise import COLOUR, SIGNAL, Noise
from neighbourhood.g3.phy import Modulation

BROADCAST = 0xFFFF
EVERYBODY = -1  # a transmission's `target`
NEVER = 1e-7  # a chance too small to be drawn for
HOPELESS = 1 - 1e-6
FCH_SHARE = 0.05  # of 100 bytes: what an acknowledgement, all of it header, has to survive


class Station(Protocol):
    """What the channel needs of a device's MAC."""

    number: int
    up: bool

    def heard(self, sent: "Transmission", lqi: int) -> None:
        """A whole frame came."""

    def confirmed(self, sent: "Transmission", acknowledged: bool) -> None:
        """What this station sent is over."""


class Link:
    """One direction between two devices. Its SNR (dB a group) is that of `version`, the receiver's noise."""

    __slots__ = (
        "_errors",
        "colour",
        "flat",
        "loss",
        "lqi",
        "power",
        "receiver",
        "robust",
        "sender",
        "snr",
        "version",
    )  # fmt: skip

    def __init__(self, sender: int, receiver: int, loss: float, colour: tuple[float, ...]) -> None:
        self.sender = sender
        self.receiver = receiver
        self.loss = loss
        self.colour = colour
        self.version = -1
        self.snr: tuple[float, ...] = ()
        self.lqi = 0
        self.flat = self.power = 0.0  # mean SNR of all tones: dB, and as a ratio
        self.robust = 1.0  # the probability that 100 bytes in ROBO are lost
        self._errors: dict[tuple[int, int], float] = {}

    def update(self, noise: Noise) -> None:
        self.version = noise.versions[self.receiver]
        left = SIGNAL - self.loss - noise.at(self.receiver)
        self.snr = tuple([left - colour for colour in self.colour])
        self.flat = phy.over(self.snr, phy.ALL_TONES)
        self.power = float(10 ** (self.flat / 10))
        self.lqi = phy.lqi(self.flat)
        self._errors.clear()
        self.robust = self.error(Modulation.ROBO, phy.ALL_TONES)

    def error(self, modulation: int, tones: int) -> float:
        """The probability that 100 bytes are lost to noise."""
        key = (modulation, tones)
        if (found := self._errors.get(key)) is None:
            found = self._errors[key] = phy.error_100(phy.over(self.snr, tones), modulation)
        return found


class Transmission:
    """A frame, or an acknowledgement, on the air. `tag`: what the trace knows of it; no protocol looks at that."""

    __slots__ = ("_decoded", "_opened", "end", "length", "modulation", "overlaps", "raw", "reserved", "sender", "start",
                 "tag", "target", "tones", "wants_ack")  # fmt: skip

    def __init__(
        self,
        sender: int,
        raw: bytes,
        modulation: Modulation,
        tones: int,
        start: float,
        target: int,
        wants_ack: bool,
        tag: Any,
    ) -> None:
        self.sender = sender
        self.raw = raw
        self.length = len(raw)
        self.modulation = modulation
        self.tones = tones
        self.start = start
        self.end = start + phy.air(len(raw), modulation, tones)
        self.reserved = self.end + phy.AFTER if wants_ack else self.end
        self.target = target
        self.wants_ack = wants_ack
        self.overlaps: list[Transmission] | None = None
        self.tag = tag
        self._decoded: Received | DecodeError | None = None
        self._opened: tuple[bytes, bytes | None] | None = None

    def decoded(self) -> Received:
        """The frame, taken apart once for all who hear it. Raises DecodeError."""
        if self._decoded is None:
            try:
                self._decoded = frames.decode(self.raw)
            except DecodeError as error:
                self._decoded = error
        if isinstance(self._decoded, DecodeError):
            raise self._decoded
        return self._decoded

    def opened(self, key: bytes) -> bytes | None:
        """The payload under a key, worked out once for all who hold it."""
        if self._opened is None or self._opened[0] != key:
            self._opened = (key, self.decoded().opened(key))
        return self._opened[1]


class _Ack(Transmission):
    __slots__ = ("confirms",)

    def __init__(self, sender: int, confirms: Transmission) -> None:
        self.sender = sender
        self.confirms = confirms
        self.raw = b""
        self.length = 0
        self.modulation = Modulation.ROBO
        self.tones = phy.ALL_TONES
        self.start = confirms.end + phy.RIFS
        self.end = self.reserved = confirms.reserved
        self.target = confirms.sender
        self.wants_ack = False
        self.overlaps = None
        self.tag = confirms.tag


Report = Callable[[Transmission, list[int], list[float], str | None], None]
"""Told of each frame that ended: who got it, with what loss (dB), and what destroyed it where its target did not."""


class Channel:
    """The street's medium. Stations are attached by number; what they are addressed by is told with `address`."""

    def __init__(self, feeder: Feeder, noise: Noise, scheduler: Scheduler, random: Random) -> None:
        self.feeder = feeder
        self.noise = noise
        self.scheduler = scheduler
        self._chance = random.random
        self.stations: list[Station | None] = [None] * len(feeder.places)
        self.reach = [feeder.reach(number) for number in range(len(feeder.places))]
        self._sensed = [self._who_senses(number) for number in range(len(feeder.places))]
        self._links: dict[tuple[int, int], Link] = {}
        self._fans: dict[int, list[Link]] = {}  # the links from a sender, for its broadcasts
        self._addresses: dict[tuple[int, Address], list[int]] = {}
        self._active: list[Transmission] = []
        self.reports: list[Report] = []
        self.sent = 0
        self.acknowledged = 0
        self.collisions = 0

    def attach(self, station: Station) -> None:
        self.stations[station.number] = station

    def address(self, number: int, pan: int, address: Address, here: bool) -> None:
        """A station is (or is no longer) addressed so. Two may have one address: both get what is sent to it."""
        numbers = self._addresses.setdefault((pan, address), [])
        if here and number not in numbers:
            numbers.append(number)
        elif not here and number in numbers:
            numbers.remove(number)

    def addressed(self, pan: int, address: Address) -> list[int]:
        """The stations that have an address now."""
        return self._addresses.get((pan, address), [])

    def recable(self, junction: int) -> None:
        """A cable at this junction was cut or mended: work out anew who hears whom."""
        near = {number for number, _ in self.feeder.near(junction, 1e9)}
        for number in near | {other for this in near for other in self.reach[this]}:
            self.reach[number] = self.feeder.reach(number)
            self._sensed[number] = self._who_senses(number)
        self._fans.clear()
        self._links = {pair: link for pair, link in self._links.items() if pair[0] not in near and pair[1] not in near}

    def link(self, sender: int, receiver: int) -> Link | None:
        """The link as it is now; None: out of reach."""
        link = self._links.get((sender, receiver))
        if link is None:
            loss = self.reach[sender].get(receiver)
            if loss is None:
                return None
            back = self._links.get((receiver, sender))
            link = Link(sender, receiver, loss, self._colour(sender, receiver) if back is None else back.colour)
            self._links[sender, receiver] = link
        if link.version != self.noise.versions[receiver]:
            link.update(self.noise)
        return link

    def busy_until(self, number: int) -> float:
        """When the line will be free, as far as this station senses it; in the past: it is."""
        latest = 0.0
        if self._active:
            sensed, begun = self._sensed[number], self.scheduler.now - phy.SLOT + 1e-9
            for sent in self._active:
                if sent.reserved > latest and sent.start <= begun and sensed >> sent.sender & 1:
                    latest = sent.reserved
        return latest

    def transmit(
        self,
        sender: int,
        raw: bytes,
        modulation: Modulation,
        tones: int,
        pan: int,
        to: Address,
        wants_ack: bool,
        tag: Any,
    ) -> Transmission:
        """Put a frame on the air, now. The sender's `confirmed` is called when it is over."""
        target = EVERYBODY if to == BROADCAST else self._find(sender, pan, to)
        sent = Transmission(sender, raw, modulation, tones, self.scheduler.now, target, wants_ack, tag)
        self.sent += 1
        self._begin(sent)
        self.scheduler.at(sent.end, self._ended, sent)
        return sent

    def _find(self, sender: int, pan: int, to: Address) -> int:
        """Whom an address means, of several the nearest; nobody in reach: the sender itself."""
        found = self._addresses.get((pan, to), ())
        if len(found) == 1:
            return found[0]
        reach = self.reach[sender]
        return min((number for number in found if number in reach), key=reach.__getitem__, default=sender)

    def _begin(self, sent: Transmission) -> None:
        for other in self._active:
            if other.end > sent.start and other.start < sent.end:
                if other.overlaps is None:
                    other.overlaps = []
                if sent.overlaps is None:
                    sent.overlaps = []
                other.overlaps.append(sent)
                sent.overlaps.append(other)
        self._active.append(sent)

    def _ended(self, sent: Transmission) -> None:
        if sent.target == EVERYBODY:
            self._active.remove(sent)
            self._broadcast(sent)
            self._confirm(sent, True)
            return
        fate = self._fate(sent, sent.target)
        if self.reports:
            self._report(sent, [] if fate else [sent.target], fate)
        if not sent.wants_ack:
            self._active.remove(sent)
            self._confirm(sent, True)
        else:
            acknowledgement = None
            if fate is None:
                acknowledgement = _Ack(sent.target, sent)
                self._begin(acknowledgement)
            self.scheduler.at(sent.reserved, self._over, sent, acknowledgement)
        receiver = self.stations[sent.target]
        if fate is None and receiver is not None:
            receiver.heard(sent, self._links[sent.sender, sent.target].lqi)

    def _over(self, sent: Transmission, acknowledgement: "_Ack | None") -> None:
        """The time of the acknowledgement is over, whether it came or not."""
        self._active.remove(sent)
        fate: str | None = "none sent"
        if acknowledgement is not None:
            self._active.remove(acknowledgement)
            fate = self._fate(acknowledgement, sent.sender)
            if self.reports:
                self._report(acknowledgement, [] if fate else [sent.sender], fate)
        self.acknowledged += fate is None
        self._confirm(sent, fate is None)

    def _confirm(self, sent: Transmission, acknowledged: bool) -> None:
        station = self.stations[sent.sender]
        if station is not None:
            station.confirmed(sent, acknowledged)

    def _broadcast(self, sent: Transmission) -> None:
        got = self._hearers(sent)
        if self.reports:
            self._report(sent, [link.receiver for link in got], None if got else "noise")
        for link in got:
            station = self.stations[link.receiver]
            if station is not None:
                station.heard(sent, link.lqi)

    def _hearers(self, sent: Transmission) -> list[Link]:
        """The links over which a broadcast (always in ROBO) got through: `_fate`, for all at once."""
        links = self._fans.get(sent.sender)
        if links is None:
            found = (self.link(sent.sender, number) for number in self.reach[sent.sender])
            links = self._fans[sent.sender] = [link for link in found if link is not None]
        got, versions, noise, share = [], self.noise.versions, self.noise, sent.length / 100
        beside = self._beside(sent)
        for link in links:
            if link.version != versions[link.receiver]:
                link.update(noise)
            error = link.robust
            if error > HOPELESS or (error > NEVER and self._chance() > (1 - error) ** share):
                continue
            station = self.stations[link.receiver]
            if station is None or not station.up:
                continue
            if beside and self._jammed(sent, link.receiver, link, beside):
                self.collisions += 1
            else:
                got.append(link)
        return got

    def _fate(self, sent: Transmission, receiver: int) -> str | None:
        """What keeps a transmission from a receiver, "noise" or "collision"; None: it gets there."""
        station = self.stations[receiver]
        link = self._links.get((sent.sender, receiver))
        if link is None or link.version != self.noise.versions[receiver]:
            link = self.link(sent.sender, receiver)
        if link is None or station is None or not station.up:
            return "noise"
        error = link.error(sent.modulation, sent.tones)
        if error > NEVER and self._chance() > (1 - error) ** (sent.length / 100 or FCH_SHARE):
            return "noise"
        if sent.overlaps is not None and self._jammed(sent, receiver, link, self._beside(sent)):
            self.collisions += 1
            return "collision"
        return None

    def _beside(self, sent: Transmission) -> list[Transmission]:
        """What else was on the air meanwhile."""
        return [other for other in sent.overlaps or () if other.end > sent.start and other.start < sent.end]

    def _jammed(self, sent: Transmission, receiver: int, link: Link, beside: list[Transmission]) -> bool:
        """Whether others on the air drown it at this receiver."""
        drowned = 0.0
        for other in beside:
            if other.sender == receiver:
                return True
            if receiver in self.reach[other.sender]:
                between = self.link(other.sender, receiver)
                if between is not None:
                    drowned += between.power
        if not drowned:
            return False
        snr = phy.beside(link.flat if sent.tones == phy.ALL_TONES else phy.over(link.snr, sent.tones), drowned)
        error = phy.error_100(snr, sent.modulation)
        return error > NEVER and self._chance() > (1 - error) ** (sent.length / 100 or FCH_SHARE)

    def _colour(self, one: int, other: int) -> tuple[float, ...]:
        """Way and noise together, the same both ways."""
        return tuple(way + noise for way, noise in zip(self.feeder.colour(one, other), COLOUR, strict=True))

    def _report(self, sent: Transmission, got: list[int], lost: str | None) -> None:
        reach = self.reach[sent.sender]
        attenuation = [reach[number] for number in got]
        if lost == "noise" and sent.target >= 0 and self._is_cut(sent.sender, sent.target):
            lost = "cut"
        for report in self.reports:
            report(sent, got, attenuation, lost)

    def _is_cut(self, sender: int, receiver: int) -> bool:
        cut = self.feeder.cut
        if not cut:
            return False
        places = self.feeder.places
        return any(cable.id in cut for cable in self.feeder.between(places[sender].junction, places[receiver].junction))

    def _who_senses(self, number: int) -> int:
        """A bit for each station whose signal this one senses in a mean hour, its own among them."""
        from_here = 1 << number
        for other, loss in self.reach[number].items():
            if SIGNAL - loss - self.noise.at(number) >= phy.SENSED:
                from_here |= 1 << other
        return from_here
