"""Bootstrapping at a meter: as a device that looks for a network and joins it (LBD), and, once it has, as the agent
(LBA) of those who cannot reach the coordinator themselves.

A device shouts for beacons, chooses the agent that promises the cheapest way, proves the key in four messages, and gets
its short address and the group key over EAP-PSK's channel. What fails is tried again, later and later, so that a street
that comes back does not drown in its own shouting. One that missed a change of the group key begins anew, too.

Sources: ITU-T G.9903, 9.4.4 (sequence, timeouts; what an agent may forward); Microchip smartenergy_g3.
"""

from collections.abc import Callable
from enum import StrEnum
from random import Random
from typing import Any

from dcu.errors import AuthenticationFailed, DecodeError, TagMismatch
from neighbourhood.g3 import eap_psk, lbp
from neighbourhood.g3.events import Scheduler, Timer
from neighbourhood.g3.frames import Frame
from neighbourhood.g3.lbs import LAST_SHORT, RETIRE, retire
from neighbourhood.g3.node import Node
from neighbourhood.g3.tables import COORDINATOR, NOT_JOINED, Beacon, Status

SCAN = 5.0  # seconds that a device listens for beacons
JOIN_WAIT = 20.0  # seconds from the first message to the last (adpMaxJoinWaitTime)
GOODBYE = 2.0  # seconds from being sent away to leaving: the acknowledgement has to go out
PAUSE, LONGEST_PAUSE = 10.0, 600.0
STRANDED = 7200.0  # [K] seconds in which nothing but frames under a key that it has not came to a joined device
HIGH_LQI, WEAK_LQI = 108, 52
UNKNOWN_COST = 0x7FFF


class Standing(StrEnum):
    OFF = "off"
    IDLE = "idle"
    SCAN = "scan"
    JOINING = "joining"
    CHALLENGE1 = "challenge1"  # the first challenge was answered
    CHALLENGE2 = "challenge2"
    ACCEPTED = "accepted"
    JOINED = "joined"
    DECLINED = "declined"
    LEFT = "left"
    KICKED = "kicked"


class Device:
    """A meter's side. announce(standing, short) tells of every change. `psk`: 16 bytes; a rogue has another."""

    def __init__(
        self,
        node: Node,
        scheduler: Scheduler,
        random: Random,
        psk: bytes,
        *,
        id_p: bytes | None = None,
        announce: Callable[[Standing, int], Any] | None = None,
    ) -> None:
        self.node, self.scheduler = node, scheduler
        self.psk, self.id_p = psk, id_p or node.eui64
        self.standing = Standing.OFF
        self.automatic = True  # tries again by itself
        self.agent = NOT_JOINED
        self.attempts = 0
        self.undecoded = 0
        self.forged = 0  # messages of a server that does not hold the key
        self.ignored = 0
        self.relayed = 0
        self._announce = announce or _nobody
        self._random = random
        self._peer: eap_psk.Peer | None = None
        self._offered: tuple[lbp.Configuration, ...] = ()
        self._timer: Timer | None = None
        self._failures: dict[int, int] = {}
        self._understood = (-1, 0.0)  # frames taken so far, and since when there was none but foreign ones
        node.on_lbp = self.heard

    # --- coming and going

    def start(self, delay: float = 0.0) -> None:
        """Look for a network, `delay` seconds from now."""
        self._wait(delay, self._scan)

    def stop(self) -> None:
        """The power is gone."""
        self.scheduler.cancel(self._timer)
        self._peer = None
        self._be(Standing.OFF)

    def register(self, pan: int, short: int, index: int, gmk: bytes) -> None:
        """Be joined without bootstrapping (FORCE_REGISTER; a street that begins joined)."""
        self.scheduler.cancel(self._timer)
        self.node.pan, self.node.short = pan, short
        self.node.keys, self.node.active_key = {index: gmk}, index
        self._be(Standing.JOINED)

    def leave(self) -> None:
        """Say goodbye to the coordinator, and stay away until the next `start()`."""
        message = lbp.Message(lbp.Code.KICK_FROM_DEVICE, self.node.eui64)
        self.node.send_lbp(COORDINATOR, message.encode(), lambda status: self._leave(Standing.LEFT))

    def _leave(self, standing: Standing) -> None:
        self.scheduler.cancel(self._timer)
        self.node.reset()
        self._peer = None
        self._be(standing)

    # --- joining

    def _scan(self) -> None:
        self._be(Standing.SCAN)
        self.node.scan(SCAN, self._choose)

    def _choose(self, beacons: list[Beacon]) -> None:
        if self.standing is not Standing.SCAN:
            return
        best = min(beacons, key=self._cost, default=None)
        if best is None:
            self._later()
            return
        self.join(best.pan, best.short)

    def join(self, pan: int, agent: int) -> None:
        """Join a network through an agent."""
        self.node.pan, self.agent = pan, agent
        self._peer = eap_psk.Peer(self.psk, self.id_p, self._random.randbytes, extension=self._configured)
        self._be(Standing.JOINING)
        self._wait(JOIN_WAIT, self._failed)
        self._say(self.agent, lbp.Message(lbp.Code.JOINING, self.node.eui64))

    def _cost(self, beacon: Beacon) -> tuple[int, int]:
        """The way on from the agent, the link to it as LOADng would count it, and how often it has failed us."""
        link = 4 + round(10 * min(1.0, max(0.0, (HIGH_LQI - beacon.lqi) / (HIGH_LQI - WEAK_LQI))))
        unknown = 64 if beacon.rc_coord >= UNKNOWN_COST else beacon.rc_coord
        return unknown + link + 24 * self._failures.get(beacon.short, 0), -beacon.lqi

    def _failed(self) -> None:
        self._failures[self.agent] = self._failures.get(self.agent, 0) + 1
        self._later()

    def _later(self) -> None:
        self.scheduler.cancel(self._timer)
        self._peer = None
        self.node.pan = NOT_JOINED
        self._be(Standing.IDLE)
        if not self.automatic:
            return
        self.attempts += 1
        pause = min(LONGEST_PAUSE, PAUSE * 1.5 ** min(self.attempts, 20))
        self._wait(pause * self._random.uniform(0.5, 1.5), self._scan)

    # --- what is heard

    def heard(self, source: int | bytes, payload: bytes) -> None:
        """An LBP message, its dispatch taken off. source: a short address; an EUI-64 where the sender has none."""
        try:
            message = lbp.decode(payload)
            if message.eui64 == self.node.eui64:
                self._mine(source, message)
            elif self.standing is Standing.JOINED:
                self._relay(source, message, payload)
            else:
                self.ignored += 1
        except DecodeError:
            self.undecoded += 1
        except (AuthenticationFailed, TagMismatch):
            self.forged += 1

    def _mine(self, source: int | bytes, message: lbp.Message) -> None:
        joined = self.standing is Standing.JOINED
        if not isinstance(source, int) or source != (COORDINATOR if joined else self.agent):
            self.ignored += 1
        elif message.code is lbp.Code.CHALLENGE and message.eap is not None:
            self._challenged(source, message.eap)
        elif message.code is lbp.Code.ACCEPTED and message.eap is not None:
            self._accepted(message.eap)
        elif message.code is lbp.Code.ACCEPTED and joined:
            answer, _ = self._configured(lbp.EXTENSION + message.data)
            self._apply()
            self._say(source, lbp.Message(lbp.Code.JOINING, self.node.eui64, answer[1:] or _ALL_WELL))
        elif message.code is lbp.Code.DECLINE and self._peer is not None and not joined:
            self._be(Standing.DECLINED)
            self._failed()
        elif message.code is lbp.Code.KICK_TO_DEVICE and joined:
            self._wait(GOODBYE, self._kicked)
        else:
            self.ignored += 1

    def _challenged(self, source: int, packet: bytes) -> None:
        if self._peer is None:  # joined: the key is being changed
            self._peer = eap_psk.Peer(self.psk, self.id_p, self._random.randbytes, extension=self._configured)
        said = self._peer.receive(packet)
        if said is None:
            return
        if self.standing is not Standing.JOINED:
            self._be(Standing.CHALLENGE2 if packet[5] >> 6 == 2 else Standing.CHALLENGE1)
        self._say(source, lbp.of_eap(lbp.Code.JOINING, self.node.eui64, said))

    def _configured(self, carried: bytes) -> tuple[bytes, bool]:
        """What the coordinator gives us: refused with the parameter that does not fit, kept until it says that all is
        well. Returns what to answer, and whether it fits; nothing is answered where it does."""
        if carried[:1] != lbp.EXTENSION:
            return _refusal(0, lbp.Outcome.MISSING), False
        self._offered = ()
        offered = lbp.decode_parameters(carried[1:])
        keys = {*self.node.keys, *(part.index for part in offered if isinstance(part, lbp.Gmk))}
        for part in offered:
            if (outcome := _fits(part, keys)) is not lbp.Outcome.SUCCESS:
                return _refusal(_number(part), outcome), False
        kinds = {type(part) for part in offered}
        wanted = () if self.standing is Standing.JOINED else (lbp.ShortAddress, lbp.Gmk, lbp.Activation)
        for kind, number in zip(wanted, (7, 9, 10), strict=False):
            if kind not in kinds:
                return _refusal(number, lbp.Outcome.MISSING), False
        self._offered = offered
        return b"", True

    def _accepted(self, packet: bytes) -> None:
        if self._peer is None:
            self.ignored += 1
            return
        self._peer.receive(packet)
        if self._peer.state is not eap_psk.State.SUCCESS:
            return
        self._peer = None
        if self.standing is Standing.JOINED:
            self._apply()
            return
        self.scheduler.cancel(self._timer)
        self._be(Standing.ACCEPTED)
        self.node.keys = {}
        self._apply()
        self.attempts = 0
        self._failures.clear()
        self._be(Standing.JOINED)

    def _apply(self) -> None:
        node = self.node
        for part in self._offered:
            match part:
                case lbp.ShortAddress(short):
                    node.short = short
                case lbp.Gmk(index, key):
                    node.keys[index] = key
                case lbp.Activation(index):
                    old, node.active_key = node.active_key, index
                    if old != index:
                        self.scheduler.after(RETIRE, retire, node, old, node.keys.get(old))
                case lbp.Removal(index):
                    retire(node, index, node.keys.get(index))
        self._offered = ()

    def _kicked(self) -> None:
        self._leave(Standing.KICKED)
        self._later()

    def refused(self, frame: Frame, status: Status) -> None:
        """The MAC did not take a frame. Where all talk under a key that we have not, we missed it: begin anew."""
        if status is not Status.UNAVAILABLE_KEY or self.standing is not Standing.JOINED or not self.automatic:
            return
        counters, now = self.node.counters, self.scheduler.now
        taken = counters.rx_data + counters.rx_broadcast
        if taken != self._understood[0]:
            self._understood = taken, now
        elif now - self._understood[1] >= STRANDED:
            self._understood = (-1, 0.0)
            self._leave(Standing.LEFT)
            self._later()

    # --- the agent

    def _relay(self, source: int | bytes, message: lbp.Message, payload: bytes) -> None:
        """From a device one hop away to the server, and back: only what either may say."""
        if message.code is lbp.Code.JOINING and source == message.eui64:
            self._say(COORDINATOR, message)
        elif message.code in _DOWN and source == COORDINATOR:
            self._say(message.eui64, message)
        else:
            self.ignored += 1
            return
        self.relayed += 1

    # --- small things

    def _say(self, destination: int | bytes, message: lbp.Message) -> None:
        self.node.send_lbp(destination, message.encode(), _nobody)

    def _wait(self, seconds: float, call: Callable[[], None]) -> None:
        self.scheduler.cancel(self._timer)
        self._timer = self.scheduler.after(seconds, call)

    def _be(self, standing: Standing) -> None:
        if standing is not self.standing:
            self.standing = standing
            self._announce(standing, self.node.short)


_DOWN = frozenset((lbp.Code.CHALLENGE, lbp.Code.ACCEPTED, lbp.Code.DECLINE))


def _fits(part: lbp.Configuration, keys: set[int]) -> lbp.Outcome:
    match part:
        case lbp.ShortAddress(short):
            fits = 0 < short <= LAST_SHORT
        case lbp.Gmk(index, _):
            fits = index in (0, 1)
        case lbp.Activation(index) | lbp.Removal(index):
            fits = index in keys
        case _:
            return lbp.Outcome.UNKNOWN
    return lbp.Outcome.SUCCESS if fits else lbp.Outcome.INVALID


def _number(part: lbp.Configuration) -> int:
    if isinstance(part, lbp.Unknown):
        return part.parameter
    return lbp.encode_parameters(part)[0] >> 2


def _refusal(number: int, outcome: lbp.Outcome) -> bytes:
    return lbp.EXTENSION + lbp.encode_parameters(lbp.Answer(number, outcome))


_ALL_WELL = lbp.encode_parameters(lbp.Answer(0, lbp.Outcome.SUCCESS))


def _nobody(*_: Any) -> None:
    """Where nobody listens."""
