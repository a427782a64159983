"""From HDLC frames to APDUs: segments joined, the LLC header stripped.

An APDU goes as LLC header and APDU in the information of one I or UI frame, or cut into several of which all but the
last have the segmentation bit. I frames are numbered, UI frames are not: there, anything unusable between two segments
spoils the whole. This is the listener's side, which acknowledges nothing.

Source: IEC 62056-46 clause 6.4.4 (segmentation), ISO/IEC 8802-2 as used by IEC 62056-46 clause 5 (LLC).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from dcu.link import hdlc
from dcu.link.hdlc import LLC_COMMAND, LLC_RESPONSE, Address, Frame, Kind

MAX_APDU = 0xFFFF  # as much as the wrapper carries


@dataclass(frozen=True, slots=True)
class Message:
    """A whole APDU that came in one frame or in segments. `fault` as in Frame."""

    destination: Address
    source: Address
    apdu: bytes
    fault: str = ""


@dataclass(slots=True)
class Broken:
    """Information that the joiner could not use, by cause."""

    sequence: int = 0  # an I frame that is not the next one
    interleaved: int = 0  # segments of one sender broken off by another's
    length: int = 0  # longer than MAX_APDU
    llc: int = 0  # no E6 E6 00 or E6 E7 00 in front
    lost: int = 0  # UI segments, which carry no number, with something unusable between them

    @property
    def messages(self) -> int:
        return self.sequence + self.interleaved + self.length + self.llc + self.lost


class Joiner:
    """Puts the information of I and UI frames together again and strips the LLC header. Other frames pass it by.

    For listening: it takes the segments as they come and acknowledges nothing.
    """

    def __init__(self, max_apdu: int = MAX_APDU) -> None:
        self.broken = Broken()
        self.max_apdu = max_apdu
        self._first: Frame | None = None
        self._last: Frame | None = None
        self._joined = bytearray()

    def add(self, frame: Frame) -> Message | None:
        """Take one frame; return the message that it completes."""
        if frame.control.kind not in (Kind.I, Kind.UI) or not frame.information:
            return None
        if self._first is not None and not self._continues(frame):
            return None
        if self._first is None and not frame.segmented:
            return self._message(frame, frame.information)  # whole in one, as most are
        if self._first is None:
            self._first = replace(frame, information=b"")
            self._joined.clear()
        first = self._first
        self._last = frame
        self._joined += frame.information
        if len(self._joined) > self.max_apdu + len(LLC_RESPONSE):
            self.broken.length += 1
            self._drop()
            return None
        if frame.fault and not first.fault:
            self._first = first = replace(first, fault=frame.fault)
        if frame.segmented:
            return None
        whole = bytes(self._joined)
        self._drop()
        return self._message(first, whole)

    def _message(self, first: Frame, whole: bytes) -> Message | None:
        if len(whole) > self.max_apdu + len(LLC_RESPONSE):
            self.broken.length += 1
            return None
        if not whole.startswith((LLC_RESPONSE, LLC_COMMAND)):
            self.broken.llc += 1
            return None
        return Message(first.destination, first.source, whole[len(LLC_RESPONSE) :], first.fault)

    def lost(self) -> None:
        """Something was lost on the line: what UI segments have joined so far cannot be trusted to be whole."""
        if self._last is not None and self._last.control.kind is Kind.UI:
            self.broken.lost += 1
            self._drop()

    def _continues(self, frame: Frame) -> bool:
        """Whether `frame` is to be taken; what it breaks off is dropped."""
        last = self._last
        assert last is not None
        here = (frame.destination, frame.source, frame.control.kind)
        if here != (last.destination, last.source, last.control.kind):
            self.broken.interleaved += 1
            self._drop()
            return True  # the first of something new
        if frame.control.kind is Kind.UI or frame.control.send == (last.control.send + 1) & 7:
            return True
        self.broken.sequence += 1
        if frame.control.send != last.control.send:  # else sent again, because the answer to it got lost
            self._drop()
        return False

    def _drop(self) -> None:
        self._first = self._last = None
        self._joined.clear()


class Seams:
    """Says where a decoder passed something over: UI segments on both sides of that do not belong together."""

    def __init__(self, decoder: hdlc.Decoder) -> None:
        self._decoder = decoder
        self._damage = 0

    def mark(self, frames: Iterable[Frame]) -> Iterator[Frame | None]:
        """`frames` as they are decoded, with a None before each that something unusable precedes."""
        for frame in frames:
            if self._decoder.damage != self._damage:
                self._damage = self._decoder.damage
                yield None
            yield frame


class Listener:
    """Turns a byte stream into whole messages: `Decoder` and `Joiner` in a row."""

    def __init__(self, *, inspect: bool = False, max_apdu: int = MAX_APDU) -> None:
        self.decoder = hdlc.Decoder(inspect=inspect)
        self.joiner = Joiner(max_apdu)
        self._seams = Seams(self.decoder)

    @property
    def damaged(self) -> int:
        """Frames and messages that could not be used."""
        return self.decoder.skipped.frames + self.joiner.broken.messages

    def feed(self, data: bytes) -> Iterator[Message]:
        """Yield the messages that `data` completes. Iterate to the end before the next call."""
        for frame in self._seams.mark(self.decoder.feed(data)):
            if frame is None:
                self.joiner.lost()
            elif message := self.joiner.add(frame):
                yield message
