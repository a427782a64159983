"""The client's end of an HDLC link: the primary station, which has the first word and the last.

It connects (SNRM, UA), then takes turns with the meter: what it sends ends with P, and the meter may speak until F.
Where no F comes in time it asks again with an RR, which repeats nothing; the answer's N(R) tells what got lost. After
`retries` of that the link is down with a LinkTimeout, and may be connected anew. HDLC frames do not say which
connection they belong to: redial on a line that is quiet.

Bytes in, bytes out; the time is handed in. `output()` is what to write now, `deadline` when to call `tick()`.

Source: IEC 62056-46 clause 6.4.4 and 6.4.5 (states of the primary station); jDLMS's and the echo's treatment is ours.
"""

from collections import deque
from dataclasses import dataclass, replace
from enum import Enum

from dcu.errors import DecodeError, LinkClosed, LinkError, LinkTimeout
from dcu.link.hdlc import ALL, LLC_COMMAND, Address, Control, Decoder, Frame, Kind, encode
from dcu.link.hdlc_echo import Echo
from dcu.link.hdlc_numbered import BACKLOG, Counted, Numbered
from dcu.link.hdlc_parameters import DEFAULT, Parameters, Reason, agree, decode_parameters, decode_rejection
from dcu.link.hdlc_parameters import encode_parameters as encode_terms
from dcu.link.segments import MAX_APDU, Joiner

ALL_STATIONS = Address(ALL[1])
_PROPOSED = Parameters(1024, 1024, 7, 7)
_TERMS = 32  # bytes of information in the answer to an SNRM: 23, by a meter that says all that it can
_TURN = 8  # frames without F that may stretch the wait: a window and one


@dataclass(frozen=True, slots=True)
class Setup:
    """How to speak with one meter. Times are in seconds.

    timeout: from the last byte sent to the first frame of the answer, and from frame to frame
    byte_time: what one byte takes on the line (10 ÷ baud where it is serial), added to the timeout for what is sent
    inter_octet: a gap in a frame that ends it
    poll: how long to wait before a meter that had no answer yet, or was not ready, is asked again
    echo: the line brings back what was sent (only to be said where client and server have the same address)
    announce: put the parameters into SNRM; without, the defaults hold (and jDLMS falls over)
    answer_acknowledges: an answer to the last request acknowledges that, whatever its N(R) says (jDLMS says 0)
    """

    client: Address
    server: Address
    parameters: Parameters = _PROPOSED
    timeout: float = 3.0
    retries: int = 3
    inter_octet: float = 1.0
    poll: float = 0.1
    byte_time: float = 0.0
    echo: bool = False
    announce: bool = True
    answer_acknowledges: bool = True
    max_apdu: int = MAX_APDU
    backlog: int = BACKLOG


class State(Enum):
    DISCONNECTED = "disconnected"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    DISCONNECTING = "disconnecting"


class ClientLink:
    """One link to one meter. `error` says why it went down where nobody asked it to; connect() clears it.

    `received` are the answers, `notifications` what came in UI frames. While `listening`, the meter is asked for the
    answers it still owes.
    """

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.state = State.DISCONNECTED
        self.error: LinkError | None = None
        self.counted = Counted()
        self.notifications: deque[bytes] = deque(maxlen=setup.backlog)
        self.listening = False
        self.decoder = Decoder()
        self._numbered = self._fresh(DEFAULT)
        self._joiner = Joiner(setup.max_apdu)
        self._damaged = 0
        self._echo = Echo(known=setup.echo)
        self._waiting: float | None = None  # until when, for the F of the last turn
        self._stretched = 0
        self._brought = 0  # I frames in the meter's last turn
        self._full = False  # the meter has used up a window of 1 and did not say F: it waits for us
        self._informed = False  # the last turn had information in it
        self._told_busy = False  # the last turn said RNR: the meter has to be told once that is over
        self._attempts = 0  # turns in a row that brought nothing
        self._ask: Kind | None = None  # SNRM, DISC or RR to send now
        self._poll_at: float | None = None
        self._octet_at = 0.0

    @property
    def parameters(self) -> Parameters:
        """What was agreed."""
        return self._numbered.parameters

    @property
    def received(self) -> deque[bytes]:
        return self._numbered.received

    @property
    def unsent(self) -> int:
        """Segments that were never put on the line yet."""
        return self._numbered.unsent

    @property
    def unacknowledged(self) -> int:
        """Segments that the meter has not acknowledged, sent or not."""
        return self._numbered.unacknowledged

    @property
    def owed(self) -> bool:
        """Whether more was asked than answered."""
        return self._numbered.asked > self._numbered.answered

    @property
    def cut_off(self) -> bool:
        """Whether the meter's last turn used up its window: it may have more to say that nobody asked for.

        The blocks of a general-block-transfer are many APDUs to one request, and a window may end with one of them.
        """
        return self._waiting is None and self._brought >= self.parameters.receive_window

    @property
    def idle(self) -> bool:
        """Whether it is the client's turn, and there is nothing to say."""
        return self._waiting is None and self._ask is None and self._poll_at is None and not self._to_send()

    @property
    def turn_until(self) -> float | None:
        """Until when the meter may still end the turn that it was given; None where it is ours."""
        return self._waiting

    @property
    def deadline(self) -> float | None:
        """When `tick()` has to be called, if nothing comes before."""
        times = [] if self._waiting is None else [self._waiting]
        if self._waiting is None and self._poll_at is not None and not self._held():
            times.append(self._poll_at)
        if self.decoder.pending > 1:
            times.append(self._octet_at + self.setup.inter_octet)
        return min(times, default=None)

    def connect(self) -> None:
        """Start to connect; what an earlier connection left behind is forgotten."""
        self.error = None
        self._numbered = self._fresh(DEFAULT)
        self.decoder.reset()
        self._go(State.CONNECTING, Kind.SNRM)

    def disconnect(self) -> None:
        """Start to disconnect, whatever is under way."""
        if self.state is not State.DISCONNECTED:
            self._go(State.DISCONNECTING, Kind.DISC)

    def give_up(self) -> None:
        """Be disconnected at once, without a word."""
        self._down(None)

    def send(self, apdu: bytes) -> None:
        """Queue an APDU. Raises ValueError when it is too long, LinkClosed where there is no link."""
        if self.state is not State.CONNECTED:
            raise self.error or LinkClosed("the HDLC link is not connected")
        self._numbered.queue(apdu)

    def poll(self) -> None:
        """Ask the meter for what it has, at the next turn."""
        self._poll_at = 0.0

    def feed(self, data: bytes, now: float) -> None:
        """Take what the line brought."""
        self._expire(now)
        self._octet_at = now
        for frame in self.decoder.feed(data):
            self._hear(frame, now)

    def tick(self, now: float) -> None:
        """Notice what did not come in time."""
        self._expire(now)
        if self._waiting is not None and now >= self._waiting and self._full:
            self._answered(now, brought=True)
        elif self._waiting is not None and now >= self._waiting:
            self._waiting = None
            self.counted.timeouts += 1
            if self._again():
                self._ask = _COMMANDS.get(self.state, Kind.RR)

    def output(self, now: float) -> bytes:
        """What to write now."""
        if self._waiting is not None:
            return b""
        frames = self._turn(now)
        if not frames:
            return b""
        self._ask = self._poll_at = None
        self._numbered.gap = self._numbered.progress = self._full = False
        self._stretched = self._brought = 0
        self._informed = frames[0].control.kind is Kind.I
        self._told_busy = frames[-1].control.kind is Kind.RNR
        self._echo.sent(frames)
        wire = b"".join(map(encode, frames))
        # an answer may be a window of full frames; each is waited for on its own
        answer = 32 + (self._numbered.parameters.receive if self.state is State.CONNECTED else _TERMS)
        self._waiting = now + self.setup.timeout + self.setup.byte_time * (len(wire) + answer)
        return wire

    def _turn(self, now: float) -> list[Frame]:
        here, there = self.setup.client, self.setup.server
        if self._ask is Kind.SNRM:
            terms = encode_terms(self.setup.parameters) if self.setup.announce else b""
            return [Frame(there, here, Control(Kind.SNRM, True), terms)]
        if self._ask is Kind.DISC:
            return [Frame(there, here, Control(Kind.DISC, True))]
        if self.state is not State.CONNECTED:
            return []
        if self._ask is Kind.RR:
            return [self._numbered.supervisory(there, here)]
        due = self._poll_at is not None and now >= self._poll_at and not self._held()
        return self._numbered.turn(there, here) if due or self._to_send() else []

    def _to_send(self) -> bool:
        numbered = self._numbered
        return self.state is State.CONNECTED and bool(numbered.unacknowledged) and not numbered.peer_busy

    def _held(self) -> bool:
        """Whether a poll would only bring what nobody takes yet."""
        return self._numbered.busy and not self._numbered.unacknowledged

    def _hear(self, frame: Frame, now: float) -> None:
        setup = self.setup
        if self._echo.cancels(frame) or frame.source != setup.server:
            self.counted.strays += 1
        elif frame.control.kind is Kind.UI and frame.destination in (setup.client, ALL_STATIONS):
            self._notified(frame)
        elif frame.destination != setup.client:
            self.counted.strays += 1
        elif self.state is State.CONNECTING and self._waiting is not None:
            self._connecting(frame)
        elif self.state is State.DISCONNECTING and frame.control.kind in (Kind.UA, Kind.DM):
            self._down(None)
        elif self.state is State.CONNECTED:
            self._connected(frame, now)

    def _connecting(self, frame: Frame) -> None:
        if frame.control.kind is Kind.DM:
            self._down(LinkError("the meter refuses the HDLC connection (DM): another client may be connected"))
        elif frame.control.kind is Kind.FRMR:
            why = f"the meter refuses the HDLC connection ({_rejected(frame.information)})"
            self._down(LinkError(f"{why}: hdlc.negotiate = false in its family leaves the parameters out"))
        elif frame.control.kind is Kind.UA:
            own = self.setup.parameters if self.setup.announce else DEFAULT
            try:
                terms = agree(own, decode_parameters(frame.information))
            except DecodeError:  # a UA that nobody can read still is one
                terms = agree(own, DEFAULT)
            self._numbered = self._fresh(terms)
            self._go(State.CONNECTED, None)

    def _connected(self, frame: Frame, now: float) -> None:
        kind, numbered = frame.control.kind, self._numbered
        if kind is Kind.DM:
            self._down(LinkClosed("the meter has ended the HDLC link (DM)"))
        elif kind is Kind.FRMR:
            self._down(LinkError(f"the meter rejected a frame ({_rejected(frame.information)}): connect again"))
        elif kind in (Kind.I, Kind.RR, Kind.RNR, Kind.REJ):
            self._brought += kind is Kind.I
            if numbered.hear(frame) is Reason.LENGTH:
                size, most = len(frame.information), numbered.parameters.receive
                self._down(LinkError(f"the meter sent {size} bytes of information, at most {most} were agreed"))
            elif self._waiting is not None and frame.control.final:
                self._answered(now, brought=kind is Kind.I)
            elif self._waiting is not None and kind is Kind.I and self._stretched < _TURN:
                self._stretched += 1
                if numbered.joining and numbered.parameters.receive_window == 1:
                    self._full = True  # (jDLMS) its segments have no F, though the window is used up; RNR may follow
                    self._waiting = now + self.setup.poll + self.setup.byte_time * 32
                    return
                receive = numbered.parameters.receive + 32
                self._waiting = max(self._waiting, now + self.setup.timeout + self.setup.byte_time * receive)

    def _answered(self, now: float, *, brought: bool) -> None:
        """The meter has given the turn back: is there a reason to give it to it once more?"""
        numbered = self._numbered
        self._waiting = None
        if numbered.progress or numbered.peer_busy or not numbered.unacknowledged:
            self._attempts = 0
        elif self._informed and not self._again():
            return
        if numbered.joining or numbered.gap or self._told_busy:
            self._poll_at = now
        elif numbered.peer_busy and numbered.unacknowledged:
            self._poll_at = now + self.setup.poll
        elif self.listening and self.owed:
            self._poll_at = now if brought else now + self.setup.poll

    def _again(self) -> bool:
        """Count one turn that brought nothing; whether there may be another."""
        self._attempts += 1
        if self._attempts > self.setup.retries:
            tried = f"{self._attempts} times asked"
            right = ", and are its address and the speed right" if self.state is State.CONNECTING else ""
            text = f"no answer from the meter over HDLC ({self.state.value}, {tried}): is it powered{right}?"
            self._down(LinkTimeout(text))
            return False
        return True

    def _notified(self, frame: Frame) -> None:
        if self.decoder.damage != self._damaged:
            self._damaged = self.decoder.damage
            self._joiner.lost()
        if message := self._joiner.add(frame):
            self.notifications.append(message.apdu)

    def _expire(self, now: float) -> None:
        if self.decoder.pending > 1 and now >= self._octet_at + self.setup.inter_octet:
            for frame in self.decoder.abandon():
                self._hear(frame, now)

    def _go(self, state: State, ask: Kind | None) -> None:
        self.state = state
        self._ask = ask
        self._waiting = self._poll_at = None
        self._attempts = 0

    def _down(self, error: LinkError | None) -> None:
        self.error = error
        self._go(State.DISCONNECTED, None)

    def _fresh(self, terms: Parameters) -> Numbered:
        setup = self.setup
        # a meter that sends longer frames than it agreed to, but no longer than we offered, is put up with
        terms = replace(terms, receive=max(terms.receive, setup.parameters.receive))
        return Numbered(
            terms,
            LLC_COMMAND,
            self.counted,
            max_apdu=setup.max_apdu,
            backlog=setup.backlog,
            answer_acknowledges=setup.answer_acknowledges,
        )


_COMMANDS = {State.CONNECTING: Kind.SNRM, State.DISCONNECTING: Kind.DISC}


def _rejected(information: bytes) -> str:
    try:
        rejection = decode_rejection(information)
    except DecodeError:
        return "FRMR, which does not say why"
    reasons = ", ".join(reason.name.lower() for reason in Reason if reason in rejection.reason and reason.name)
    return f"FRMR: control {rejection.control:02X}, {reasons or 'no reason'}"
