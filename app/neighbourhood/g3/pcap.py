"""A capture of the line that Wireshark and tshark read: pcapng, 802.15.4 without FCS (DLT 230), deciphered.

G3's MAC is not quite 802.15.4: three bytes of segment control stand before the frame control, an MSDU of up to 400
bytes travels in segments, acknowledgements are part of the PHY's header, and ciphering hides all of it. So a capture
has one 802.15.4 frame an MSDU: written when its last segment has passed, with the whole MSDU as payload, in the clear,
without segment control, auxiliary security header and MIC. What that takes away stands in the packet's comment:
modulation, segments, key and counter, whether it was lost. Frames of which a segment is missing, or whose key is not
known, are counted and left out. `g3.lua`, beside this file, dissects what G3 adds.

Sources: pcapng (IETF draft-ietf-opsawg-pcapng), IEEE 802.15.4-2006, 7.2.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from struct import pack
from typing import IO

from dcu.errors import DecodeError
from neighbourhood.g3 import frames
from neighbourhood.g3.channel import Transmission
from neighbourhood.g3.frames import Address, Frame, Kind
from neighbourhood.g3.line import Line

DISSECTOR = Path(__file__).with_name("g3.lua")
DLT = 230  # IEEE802_15_4_NOFCS
_SECTION, _INTERFACE, _PACKET = 0x0A0D0D0A, 1, 6
_COMMENT, _RESOLUTION, _END = 1, 9, 0
_MOST_OPEN = 1024  # MSDUs of which segments have passed and not all: at most so many devices speak at a time


class Writer:
    """A file of packets. `start`: UTC seconds of the simulation's zero."""

    def __init__(self, file: IO[bytes], start: float = 0.0) -> None:
        self._file = file
        self._start = start
        self._block(_SECTION, pack("<IHHq", 0x1A2B3C4D, 1, 0, -1))
        self._block(_INTERFACE, pack("<HHI", DLT, 0, 0) + _option(_RESOLUTION, b"\x06") + _option(_END))

    def packet(self, t: float, data: bytes, comment: str = "") -> None:
        """t: seconds since the start."""
        moment = round((self._start + t) * 1e6)
        head = pack("<IIIII", 0, moment >> 32, moment & 0xFFFFFFFF, len(data), len(data))
        options = _option(_COMMENT, comment.encode()) + _option(_END) if comment else b""
        self._block(_PACKET, head + _padded(data) + options)

    def _block(self, kind: int, body: bytes) -> None:
        size = len(body) + 12
        self._file.write(pack("<II", kind, size) + body + pack("<I", size))


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def _option(code: int, value: bytes = b"") -> bytes:
    return pack("<HH", code, len(value)) + _padded(value)


class Capture:
    """What passes on a line, into a file. keys: every GMK that may fit; under which index it stands does not matter."""

    def __init__(self, file: IO[bytes], keys: Callable[[], Iterable[bytes]], start: float = 0.0) -> None:
        self.written = 0
        self.undeciphered = 0
        self.incomplete = 0
        self._writer = Writer(file, start)
        self._keys = keys
        self._open: dict[Address, tuple[int, int, bytes]] = {}  # sender → sequence, next segment, so far

    def passed(self, sent: Transmission, got: list[int], attenuation: list[float], lost: str | None) -> None:
        """The channel's report of a frame that ended. Acknowledgements have no bytes."""
        if sent.raw:
            outcome = f"lost: {lost}" if lost else f"received by {len(got)}"
            self.frame(sent.start, sent.raw, f"{sent.tag.kind or 'DATA'}, {sent.modulation.name}, {outcome}")

    def frame(self, t: float, raw: bytes, comment: str = "") -> None:
        """A frame as it is on the line, from segment control to FCS."""
        try:
            received = frames.decode(raw)
        except DecodeError:
            self.undeciphered += 1
            return
        frame, payload = received.frame, received.frame.payload
        if frame.key is not None:
            opened = (received.opened(key) for key in self._keys())
            found = next((plain for plain in opened if plain is not None), None)
            if found is None:
                self.undeciphered += 1
                return
            payload = found
            comment += f", key {frame.key}, counter {frame.counter}"
        whole = self._whole(frame, payload)
        if whole is not None:
            if frame.segment.number:
                comment += f", {frame.segment.number + 1} segments"
            self._writer.packet(t, plain(frame, whole), comment)
            self.written += 1

    def _whole(self, frame: Frame, payload: bytes) -> bytes | None:
        """The MSDU, once its last segment is there. A repetition of a segment is let pass in silence."""
        source, number = frame.source, frame.segment.number
        if source is None or (number == 0 and frame.segment.last):
            return payload
        sequence, expected, so_far = self._open.get(source, (-1, 0, b""))
        if number == 0:
            self._open.pop(source, None)
            if len(self._open) >= _MOST_OPEN:
                del self._open[next(iter(self._open))]
                self.incomplete += 1
            self._open[source] = frame.sequence, 1, payload
            return None
        if sequence != frame.sequence or number > expected:
            self.incomplete += 1
            self._open.pop(source, None)
            return None
        if number < expected:
            return None
        if frame.segment.last:
            del self._open[source]
            return so_far + payload
        self._open[source] = sequence, expected + 1, so_far + payload
        return None


@contextmanager
def recording(path: Path, line: Line) -> Iterator[Capture]:
    """Capture what passes on a line from now on, deciphered by the keys that the coordinator has, or had. OSError."""
    coordinator, known = line.nodes[0], dict[bytes, None]()

    def keys() -> Iterable[bytes]:
        known.update(dict.fromkeys(coordinator.keys.values()))
        return known

    with path.open("wb") as file:
        capture = Capture(file, keys, line.start)
        line.channel.reports.append(capture.passed)
        try:
            yield capture
        finally:
            line.channel.reports.remove(capture.passed)


def plain(frame: Frame, payload: bytes) -> bytes:
    """The frame as 802.15.4 has it: unsecured, unsegmented."""
    bits = frame.kind | frame.wants_ack << 5 | 1 << 12
    to = None if frame.kind == Kind.BEACON else frame.destination
    bits |= _mode(to) << 10 | _mode(frame.source) << 14
    if to is not None and frame.source is not None:
        bits |= 1 << 6  # one PAN
    pan = frame.pan.to_bytes(2, "little")
    head = bits.to_bytes(2, "little") + bytes((frame.sequence,)) + pan
    return head + _address(to) + _address(frame.source) + payload


def _mode(address: Address | None) -> int:
    return 0 if address is None else 2 if isinstance(address, int) else 3


def _address(address: Address | None) -> bytes:
    if isinstance(address, int):
        return address.to_bytes(2, "little")
    return b"" if address is None else address[::-1]
