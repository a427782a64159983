"""The numbered information of one HDLC link, as either station keeps it: what it sent, what it got, who is busy.

An APDU goes behind its LLC header in the information of one I frame, or cut into several of which all but the last
have the segmentation bit. Up to a window of them go out in one turn; the last frame of a turn has P/F. The answer to
that is the checkpoint: what its N(R) does not acknowledge is sent again, from N(R) on. There is no other recovery (no
REJ), so an I frame that is not the next one is dropped without a word.

Numbers are modulo 8 and windows at most 7: right on every line that keeps the order, whatever it loses or repeats.

Source: IEC 62056-46 clause 6.4.4 (NRM, two-way alternate), ISO/IEC 13239 clauses 5.6 and 5.7 (numbering, recovery).
"""

from collections import deque
from dataclasses import dataclass, replace

from dcu.link.hdlc import LLC_COMMAND, LLC_RESPONSE, Address, Control, Frame, Kind
from dcu.link.hdlc_parameters import Parameters, Reason
from dcu.link.segments import MAX_APDU

BACKLOG = 16  # whole APDUs that wait for the application before the peer is told RNR
_OWED = 4 * MAX_APDU  # bytes that a peer may ask for and not fetch before it is told RNR


@dataclass(slots=True)
class Counted:
    """What went wrong on a link and was put right, by cause."""

    repeated: int = 0  # I frames sent again
    disordered: int = 0  # I frames that were not the next: repeated ones, and those behind a lost one
    refused: int = 0  # I frames that came while we were busy
    misnumbered: int = 0  # N(R) of something that was never sent
    overlong: int = 0  # APDUs longer than max_apdu
    llc: int = 0  # APDUs without LLC header
    timeouts: int = 0  # turns that got no answer in time
    strays: int = 0  # frames from or for other addresses, and echoes


class Numbered:
    """One station's side of the numbered exchange, from SNRM to DISC. `header` is the LLC header of what it sends."""

    def __init__(
        self,
        parameters: Parameters,
        header: bytes,
        counted: Counted,
        *,
        max_apdu: int = MAX_APDU,
        backlog: int = BACKLOG,
        answer_acknowledges: bool = False,
    ) -> None:
        self.parameters = parameters
        self.received: deque[bytes] = deque()
        self.peer_busy = False
        self.progress = False  # whether anything was acknowledged or accepted since it was last cleared
        self.gap = False  # whether an I frame was dropped since it was last cleared
        self.receive = 0  # V(R)
        self.asked = 0  # APDUs queued
        self.answered = 0  # APDUs received
        self._counted = counted
        self._header = header
        self._max_apdu = max_apdu
        self._backlog = backlog
        self._answer_acknowledges = answer_acknowledges
        self._segments: deque[tuple[bytes, bool]] = deque()  # not acknowledged; the first has the number _oldest
        self._oldest = 0  # V(A)
        self._flown = 0  # of the segments, sent since the last checkpoint: V(S) is V(A) + this
        self._reached = 0  # of the segments, ever sent
        self._owed = 0  # bytes in them
        self._joined = bytearray()
        self._joining = False

    @property
    def send(self) -> int:
        """V(S)."""
        return (self._oldest + self._flown) & 7

    @property
    def unacknowledged(self) -> int:
        """Segments that the peer has not acknowledged, sent or not."""
        return len(self._segments)

    @property
    def unsent(self) -> int:
        """Segments that never went out yet."""
        return len(self._segments) - self._reached

    @property
    def joining(self) -> bool:
        """Whether segments of an APDU came, and its last did not."""
        return self._joining

    @property
    def busy(self) -> bool:
        return len(self.received) >= self._backlog or self._owed > _OWED

    def queue(self, apdu: bytes) -> None:
        """Take an APDU to be sent. Raises ValueError when it is too long."""
        if len(apdu) > self._max_apdu:
            raise ValueError(f"APDU of {len(apdu)} bytes, at most {self._max_apdu}")
        whole, size = self._header + apdu, self.parameters.transmit
        for at in range(0, len(whole), size):
            self._segments.append((whole[at : at + size], at + size < len(whole)))
        self._owed += len(whole)
        self.asked += 1

    def turn(self, destination: Address, source: Address) -> list[Frame]:
        """The frames of one turn: I frames as far as the window and the peer allow; the last frame has P/F."""
        frames = [] if self.peer_busy else self._window(destination, source)
        if frames and not self.busy:
            # P/F on an I frame says "not busy" too, so a busy station ends with RNR instead
            frames[-1] = replace(frames[-1], control=frames[-1].control._replace(final=True))
        else:
            frames.append(self.supervisory(destination, source))
        return frames

    def supervisory(self, destination: Address, source: Address) -> Frame:
        """RR or RNR with P/F: says what came, and asks nothing but an answer."""
        return Frame(destination, source, Control(Kind.RNR if self.busy else Kind.RR, True, 0, self.receive))

    def hear(self, frame: Frame) -> Reason | None:
        """Take an I, RR or RNR frame (or REJ, which says no more than RR). Returns why it is to be rejected."""
        control = frame.control
        if control.kind is not Kind.I and frame.information:
            return Reason.INFORMATION
        if len(frame.information) > self.parameters.receive:
            return Reason.LENGTH
        wrong = None if self._acknowledge(control.receive) else Reason.NUMBER
        if control.kind is Kind.RNR:
            self.peer_busy = True
        elif control.kind is not Kind.I or control.final:
            self.peer_busy = False
        # what a rejected frame brings is not taken: a command would be executed, and its sender told to start anew
        taken = control.kind is Kind.I and (wrong is None or self._answer_acknowledges) and self._accept(frame)
        if taken and self._is_answer():
            # a peer that never counts (jDLMS: N(R) = 0) has shown in another way that it got the request
            self._acknowledge(self.send)
            wrong = None
        if control.final:
            self._checkpoint()
        return wrong

    def _window(self, destination: Address, source: Address) -> list[Frame]:
        frames = []
        while self._flown < min(self.parameters.transmit_window, len(self._segments)):
            information, more = self._segments[self._flown]
            frames.append(
                Frame(destination, source, Control(Kind.I, False, self.send, self.receive), information, more)
            )
            self._counted.repeated += self._flown < self._reached
            self._flown += 1
        self._reached = max(self._reached, self._flown)
        return frames

    def _acknowledge(self, receive: int) -> bool:
        """Everything before N(R) arrived. False: N(R) is of something that was never sent."""
        count = (receive - self._oldest) & 7
        if count > self._reached:
            self._counted.misnumbered += 1
            return False
        for _ in range(count):
            self._owed -= len(self._segments.popleft()[0])
        self._oldest = receive
        self._reached -= count
        self._flown = max(0, self._flown - count)
        self.progress = self.progress or count > 0
        return True

    def _checkpoint(self) -> None:
        """The peer has answered our last P/F: what it did not acknowledge it did not get."""
        self._flown = 0

    def _accept(self, frame: Frame) -> bool:
        """Take the information of an I frame; whether it was the next."""
        if frame.control.send != self.receive:
            self._counted.disordered += 1
            self.gap = True
            return False
        if self.busy:
            self._counted.refused += 1
            self.gap = True
            return False
        self.receive = (self.receive + 1) & 7
        self.progress = True
        if len(self._joined) <= self._max_apdu + len(self._header):
            self._joined += frame.information
        self._joining = frame.segmented
        if not frame.segmented:
            self._complete()
        return True

    def _complete(self) -> None:
        whole = bytes(self._joined)
        self._joined.clear()
        self.answered += 1
        if len(whole) > self._max_apdu + len(self._header):
            self._counted.overlong += 1
        elif not whole.startswith((LLC_RESPONSE, LLC_COMMAND)):
            self._counted.llc += 1
        else:
            self.received.append(whole[len(self._header) :])

    def _is_answer(self) -> bool:
        """Whether what was just accepted is of the answer to the last request: as many answers as requests now."""
        return self._answer_acknowledges and not self.unsent and self.answered + self._joining == self.asked
