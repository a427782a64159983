"""The MAC of one device: segmentation, CSMA/CA, acknowledgements, retries, security, the neighbour table, tone maps.

One MSDU is on its way at a time, those of high priority first. It goes out in as many segments as the neighbour's
modulation asks for; only the first contends for the line. A frame without acknowledgement is sent again as it is, with
a longer back-off; at last in ROBO, whose frames carry less, so the MSDU is cut anew. Whoever is spoken to without a
fresh tone map is asked for one.

A secured frame is taken once its key is known, its MIC holds and its counter is above the last of this sender and key.
Unsecured, a device takes bootstrapping messages and beacons only.

Source: ITU-T G.9903, 9.3 (CSMA/CA with priority, segmentation, tone map request); values marked [K] are unconfirmed.
"""

from collections import deque
from collections.abc import Callable
from random import Random
from typing import Any

from dcu.errors import DecodeError
from neighbourhood.g3 import frames, phy
from neighbourhood.g3.channel import Channel, Transmission
from neighbourhood.g3.events import Timer
from neighbourhood.g3.frames import Address, Command, Frame, Kind, Received
from neighbourhood.g3.msdu import Arrived, Counters, Msdu, Pieces, Sending
from neighbourhood.g3.phy import ALL_TONES, Modulation
from neighbourhood.g3.tables import BROADCAST, NOT_JOINED, Beacon, Neighbour, Status
from neighbourhood.g3.trace import Tag

MAX_RETRIES = 5  # macMaxFrameRetries, as delivered
MAX_BACKOFFS = 50
LAST_IN_ROBO = 3  # of the repetitions: a collision is not noise, and a longer frame collides again, [K]
TONE_MAP_TTL = 7200.0  # s; macTMRTTL is minutes in real devices: a utility that reads at night sets it longer, [K]
LAST_COUNTER = 0xFFFFFF00  # what is queued may still be sent: a counter that ran out needs a new key
MOST_QUEUED = 24  # MSDUs; a modem has fewer buffers towards its host
MOST_REASSEMBLED = 8  # MSDUs in pieces, each from a sender of its own
ENOUGH_BEACONS = 5  # heard from others as near to the coordinator: who asked has a choice, and the line is for others
BEACON_WINDOW = 4.0  # s over which the answers to a beacon request are spread, [K]
LBP = b"\x40\x02"


class Mac:
    """A station on the channel. `on_data` gets each MSDU, `on_beacon` each beacon while somebody scans, `on_refused`
    each secured frame that was not taken, and why."""

    def __init__(self, channel: Channel, number: int, eui64: bytes, random: Random) -> None:
        self.channel = channel
        self.scheduler = channel.scheduler
        self.number = number
        self.eui64 = eui64
        self.up = True
        self.pan = 0xFFFF
        self.short = NOT_JOINED
        self.rc_coord = 0xFFFF
        self.keys: dict[int, bytes] = {}
        self.active_key = 0
        self.frame_counter = 0
        self.neighbours: dict[int, Neighbour] = {}
        self.counters = Counters()
        self.on_data: Callable[[Arrived], None] = lambda arrived: None
        self.on_beacon: Callable[[Beacon], None] | None = None
        self.on_refused: Callable[[Frame, Status], None] = lambda frame, status: None
        self.tone_map_ttl = TONE_MAP_TTL
        self.max_retries = MAX_RETRIES
        self._random = random
        self._sequence = random.randrange(256)
        self._queue: deque[Msdu] = deque()
        self._urgent: deque[Msdu] = deque()
        self._sending: Sending | None = None
        self._timer: Timer | None = None
        self._heard_counters: dict[tuple[Address, int], int] = {}
        self._heard_unsecured: dict[Address, int] = {}
        self._pieces: dict[Address, Pieces] = {}
        self._beacon_due = False
        self._better_beacons = 0
        channel.attach(self)

    # -- who it is

    def associate(self, pan: int, short: int) -> None:
        """Be `short` in `pan` from now on; NOT_JOINED: reached by the EUI-64 only."""
        if self.short != NOT_JOINED:
            self.channel.address(self.number, self.pan, self.short, False)
        self.channel.address(self.number, self.pan, self.eui64, False)
        self.pan, self.short = pan, short
        self.channel.address(self.number, pan, self.eui64, True)
        if short != NOT_JOINED:
            self.channel.address(self.number, pan, short, True)

    def forget(self) -> None:
        """What a power cut takes: everything but the EUI-64 and the frame counter."""
        self.scheduler.cancel(self._timer)
        self._queue.clear()
        self._urgent.clear()
        self._sending = self._timer = self.on_beacon = None
        self.neighbours.clear()
        self._heard_counters.clear()
        self._heard_unsecured.clear()
        self._pieces.clear()
        self._beacon_due = False

    # -- sending

    @property
    def queued(self) -> int:
        return len(self._queue) + len(self._urgent) + (self._sending is not None)

    def send(self, msdu: Msdu) -> None:
        """Queue an MSDU; done(NO_BUFFERS or NOT_PERMITTED) where no room or no key is. Raises ValueError over 400."""
        if len(msdu.payload) > frames.LONGEST_MSDU:
            raise ValueError(f"MSDU of {len(msdu.payload)} bytes, at most {frames.LONGEST_MSDU}")
        refused = Status.NO_BUFFERS if self.queued >= MOST_QUEUED or not self.up else None
        if msdu.secured and (self.active_key not in self.keys or self.frame_counter > LAST_COUNTER):
            refused = Status.NOT_PERMITTED
        if refused is not None:
            if msdu.done is not None:
                msdu.done(refused)
            return
        (self._urgent if msdu.priority else self._queue).append(msdu)
        if self._sending is None:
            self._next()

    def _next(self) -> None:
        if self._urgent or self._queue:
            self._sending = Sending(self, self._urgent.popleft() if self._urgent else self._queue.popleft())
            self._contend(self._sending)

    def _contend(self, sending: Sending) -> None:
        """Wait for the line to be free, and for a slot drawn in the window of this priority."""
        now, free = self.scheduler.now, self.channel.busy_until(self.number)
        if sending.msdu.priority:
            wait = phy.CFS + int(self._random.random() * phy.PRIORITY_SLOTS) * phy.SLOT
        else:
            wait = phy.CFS + phy.HPCW + int(self._random.random() * (1 << sending.exponent)) * phy.SLOT
        self._timer = self.scheduler.at((free if free > now else now) + phy.CIFS + wait, self._attempt, sending)

    def _attempt(self, sending: Sending) -> None:
        if self.channel.busy_until(self.number) > self.scheduler.now:
            sending.backoffs += 1
            sending.exponent = min(sending.exponent + 1, phy.MAX_BE)
            if sending.backoffs > MAX_BACKOFFS:
                self.counters.csma_fail += 1
                self._finish(sending, Status.CHANNEL_ACCESS_FAILURE)
            else:
                self._contend(sending)
        elif sending.msdu.still is not None and not sending.msdu.still():
            self._finish(sending, Status.OK)
        else:
            self._transmit(sending)

    def _transmit(self, sending: Sending) -> None:
        msdu = sending.msdu
        self.channel.transmit(
            self.number,
            sending.frame(),
            sending.modulation,
            sending.tones,
            self.pan,
            msdu.destination,
            sending.wants_ack,
            msdu.tag,
        )

    def confirmed(self, sent: Transmission, acknowledged: bool) -> None:
        """The channel: what was sent is over."""
        sending = self._sending
        if sending is None or sending.raw is not sent.raw:
            return  # a power cut came between, or somebody replays
        if acknowledged:
            if sending.advance():
                self._timer = self.scheduler.after(phy.CIFS, self._transmit, sending)  # without contention
            else:
                self._finish(sending, Status.OK)
            return
        sending.retries += 1
        if sending.retries > self.max_retries:
            self.counters.no_ack += 1
            self._finish(sending, Status.NO_ACK)
            return
        sending.backoffs = 0
        sending.exponent = min(sending.exponent + 1, phy.MAX_BE)
        if sending.retries > self.max_retries - LAST_IN_ROBO and sending.modulation is not Modulation.ROBO:
            sending.plan(robust=True)
        self._contend(sending)

    def _finish(self, sending: Sending, status: Status) -> None:
        msdu = sending.msdu
        self._sending = None
        if status is Status.OK:
            if msdu.kind == Kind.COMMAND:
                self.counters.tx_command += 1
            elif msdu.destination == BROADCAST:
                self.counters.tx_broadcast += 1
            else:
                self.counters.tx_data += 1
        if msdu.done is not None:
            msdu.done(status)
        if self._sending is None:
            self._next()

    def next_sequence(self) -> int:
        self._sequence = self._sequence + 1 & 0xFF
        return self._sequence

    # -- receiving

    def heard(self, sent: Transmission, lqi: int) -> None:
        """The channel: a frame came, for this station or for everybody."""
        try:
            received = sent.decoded()
            frame = received.frame
            if frame.kind == Kind.DATA and frame.key is not None:
                payload = self._opened(sent, frame)
            else:
                payload = self._in_the_clear(sent, received, lqi)
            if payload is not None and frame.source is not None:
                self._taken(frame, payload, lqi, sent)
        except DecodeError as error:
            if str(error) == "FCS":
                self.counters.bad_crc += 1
            else:
                self.counters.malformed += 1

    def _opened(self, sent: Transmission, frame: Frame) -> bytes | None:
        """The payload of a secured frame; None: it is refused, and counted."""
        if frame.pan != self.pan:
            return None
        assert frame.key is not None
        key = self.keys.get(frame.key)
        if key is None:
            self.counters.unknown_key += 1
            self.on_refused(frame, Status.UNAVAILABLE_KEY)
            return None
        payload = sent.opened(key)
        if payload is None:
            self.counters.bad_mic += 1
            self.on_refused(frame, Status.SECURITY_ERROR)
            return None
        assert frame.source is not None
        who = (frame.source, frame.key)
        last = self._heard_counters.get(who, -1)
        if not self.fresh(frame.counter, last):
            if frame.counter == last:
                self.counters.duplicate += 1  # our acknowledgement was lost
            else:
                self.counters.replayed += 1
                self.on_refused(frame, Status.COUNTER_ERROR)
            return None
        self._heard_counters[who] = frame.counter
        return payload

    @staticmethod
    def fresh(counter: int, last: int) -> bool:
        """Whether a frame counter was not used before."""
        return counter > last

    def _in_the_clear(self, sent: Transmission, received: Received, lqi: int) -> bytes | None:
        frame = received.frame
        if frame.kind == Kind.BEACON:
            self._beacon_came(frame, lqi)
            return None
        if frame.kind == Kind.COMMAND:
            if frame.key is None and frame.payload[:1] == bytes((Command.BEACON_REQUEST,)):
                self._asked_for_beacon()
                return None
            payload = self._opened(sent, frame) if frame.key is not None else None
            if payload is not None:
                self._command(frame, payload, lqi)
            return None
        if frame.pan != self.pan or frame.source is None:
            return None
        if frame.payload[:2] != LBP and frame.segment.number == 0:
            self.counters.unsecured += 1
            return None
        if self._heard_unsecured.get(frame.source) == frame.sequence << 6 | frame.segment.number:
            self.counters.duplicate += 1
            return None
        if len(self._heard_unsecured) >= MOST_QUEUED:
            self._heard_unsecured.clear()  # devices that join come and go
        self._heard_unsecured[frame.source] = frame.sequence << 6 | frame.segment.number
        return frame.payload

    def _taken(self, frame: Frame, payload: bytes, lqi: int, sent: Transmission) -> None:
        source = frame.source
        assert source is not None
        broadcast = frame.destination == BROADCAST
        if isinstance(source, int):
            neighbour = self._neighbour(source, lqi)
            if frame.segment.tone_map and not broadcast:
                self._answer_tone_map(sent.sender, neighbour)
        if broadcast:
            self.counters.rx_broadcast += 1
        if not frame.segment.last or frame.segment.number:
            whole = self._join(frame, payload)
            if whole is None:
                return
            payload = whole
        if not broadcast:
            self.counters.rx_data += 1
        self.on_data(Arrived(source, payload, lqi, frame.key is not None, broadcast, frame.segment.priority, sent.tag))

    def _neighbour(self, short: int, lqi: int) -> Neighbour:
        """The row of a device that was just heard."""
        neighbour = self.neighbours.get(short)
        if neighbour is None:
            neighbour = self.neighbours[short] = Neighbour(short, lqi, self.scheduler.now)
        else:
            neighbour.lqi = lqi
            neighbour.heard = self.scheduler.now
        return neighbour

    def _join(self, frame: Frame, payload: bytes) -> bytes | None:
        """The whole MSDU once its last segment is there; a gap costs the MSDU."""
        assert frame.source is not None
        number = frame.segment.number
        pieces = self._pieces.get(frame.source)
        secured = frame.key is not None
        if number == 0:
            if len(self._pieces) >= MOST_REASSEMBLED:
                del self._pieces[next(iter(self._pieces))]
            self._pieces[frame.source] = Pieces(frame.sequence, secured, payload)
            return None
        if pieces is None or (pieces.sequence, pieces.secured, pieces.expected) != (frame.sequence, secured, number):
            return None
        pieces.payload += payload
        pieces.expected += 1
        if len(pieces.payload) > frames.LONGEST_MSDU or frame.segment.last:
            del self._pieces[frame.source]
            return pieces.payload if len(pieces.payload) <= frames.LONGEST_MSDU else None
        return None

    # -- commands and beacons

    def request_beacons(self, tag: Any) -> None:
        self.send(Msdu(BROADCAST, bytes((Command.BEACON_REQUEST,)), None, tag, secured=False, kind=Kind.COMMAND))

    def _asked_for_beacon(self) -> None:
        if self.short != NOT_JOINED and not self._beacon_due:
            self._beacon_due = True
            self._better_beacons = 0
            self.scheduler.after(self._random.random() * BEACON_WINDOW, self._send_beacon)

    def _send_beacon(self) -> None:
        due, self._beacon_due = self._beacon_due, False
        if due and self.short != NOT_JOINED and self._better_beacons < ENOUGH_BEACONS:
            payload = b"\xff\x0f\x00\x00" + self.rc_coord.to_bytes(
                2, "little"
            )  # no superframe, no GTS, nothing pending
            self.send(Msdu(BROADCAST, payload, None, Tag(self.number, None, "BEACON"), secured=False, kind=Kind.BEACON))

    def _beacon_came(self, frame: Frame, lqi: int) -> None:
        if not isinstance(frame.source, int) or len(frame.payload) != 6:
            return
        rc_coord = int.from_bytes(frame.payload[4:], "little")
        self._better_beacons += frame.pan == self.pan and rc_coord <= self.rc_coord
        if self.on_beacon is not None:
            self.on_beacon(Beacon(frame.pan, frame.source, rc_coord, lqi))

    def _answer_tone_map(self, sender: int, neighbour: Neighbour) -> None:
        """Tell a sender how to speak to us: modulation, tone map, LQI."""
        link = self.channel.link(sender, self.number)
        if link is not None:
            modulation, tones = phy.choose(link.snr)
            tag = Tag(self.number, neighbour.short, "TMR")
            body = bytes((Command.TONE_MAP_RESPONSE, modulation, tones, link.lqi, 0, 0, 0))
            self.send(
                Msdu(
                    neighbour.short,
                    body,
                    None,
                    tag,
                    priority=True,
                    kind=Kind.COMMAND,
                )
            )

    def _command(self, frame: Frame, payload: bytes, lqi: int) -> None:
        self.counters.rx_command += 1
        if len(payload) < 4 or payload[0] != Command.TONE_MAP_RESPONSE or not isinstance(frame.source, int):
            return
        modulation, tones = payload[1] & 7, payload[2] & ALL_TONES
        neighbour = self._neighbour(frame.source, lqi)
        if modulation in Modulation.__members__.values() and tones:
            neighbour.modulation, neighbour.tones, neighbour.reverse_lqi = modulation, tones, payload[3]
            neighbour.tones_until = self.scheduler.now + self.tone_map_ttl
