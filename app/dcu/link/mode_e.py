"""The way into a meter through its optical head or current loop: sign-on at 300 baud, then HDLC, or a plain read-out.

We send ``/?ADDRESS!``; the meter identifies itself, ``/XXXZ\\2IDENTIFICATION``: maker, greatest speed, and "\\2" where
it speaks HDLC. Acknowledged with ``ACK 2 Z 2`` both go on in HDLC at that speed (mode E); a meter that only knows mode
C takes ``ACK 0 Z 0`` and reads out all it shows as text, ``STX … ! ETX BCC``. Mode A and B meters read out without
being asked twice. Characters have seven bits and even parity; where the port gave us the parity bit, it is taken off.

Bytes in, values out; what drives it over a port is in `dcu.link.sign_on`.

Source: IEC 62056-21:2002 clauses 5 (character format), 6.3 (messages), 6.4 (modes), annex E (mode E, HDLC).
"""

import re
from collections import deque
from dataclasses import dataclass
from functools import reduce
from operator import xor

from dcu.errors import DecodeError

SIGN_ON = 300  # baud, 7E1
STX, ETX, ACK, NAK = b"\x02", b"\x03", b"\x06", b"\x15"
BAUDS = dict(zip("0123456", (300, 600, 1200, 2400, 4800, 9600, 19200), strict=True))  # mode C and E, by letter
MODE_B = dict(zip("ABCDEF", (600, 1200, 2400, 4800, 9600, 19200), strict=True))
LETTERS = {baud: letter for letter, baud in BAUDS.items()}
MAX_LINE = 128  # bytes of an identification: the standard has 24, meters are not so strict
MAX_READOUT = 1 << 18  # bytes of a read-out; at 19200 baud two minutes
MAX_ADDRESS = 32

_SEVEN = bytes(byte & 0x7F for byte in range(256))
_ADDRESS = re.compile(r"[0-9A-Za-z ]{0,32}")
_IDENTIFICATION = re.compile(rb"/([A-Za-z]{2}[A-Za-z@])([\x21-\x7e])((?:\\[\x21-\x7e])*)([^/!\r\n]*)\r\n")
_SET = re.compile(rb"([^()/!\r\n]*+)\(([^()\r\n]*+)\)")  # possessive: giving a byte back would never help


@dataclass(frozen=True, slots=True)
class Identification:
    """Who answered. letter: what it says of its speed; enhanced: the letters behind each backslash.

    baud: the greatest speed that it offers; mode: "A", "B", "C" or "E"
    """

    maker: str
    letter: str
    enhanced: str
    identification: str

    @property
    def mode(self) -> str:
        if self.letter in BAUDS:
            return "E" if "2" in self.enhanced else "C"
        return "B" if self.letter in MODE_B else "A"

    @property
    def baud(self) -> int:
        return BAUDS.get(self.letter) or MODE_B.get(self.letter) or SIGN_ON


@dataclass(frozen=True, slots=True)
class Value:
    """One value of a read-out, as the meter writes it."""

    text: str
    unit: str = ""


@dataclass(frozen=True, slots=True)
class DataSet:
    """One line's entry: ``1.8.0(000123.456*kWh)``; several values stand in several pairs of brackets."""

    address: str
    values: tuple[Value, ...]


def seven(data: bytes) -> bytes:
    """`data` without parity bits."""
    return data.translate(_SEVEN)


def encode_request(address: str = "") -> bytes:
    """Raises ValueError for an address that is none."""
    if not _ADDRESS.fullmatch(address):
        raise ValueError(f"device address {address!r}: up to {MAX_ADDRESS} letters, digits and blanks")
    return b"/?" + address.encode() + b"!\r\n"


def encode_acknowledgement(baud: int, mode: str) -> bytes:
    """mode: "E" (HDLC), "C" (read-out). Raises ValueError for what mode C and E do not have."""
    if baud not in LETTERS or mode not in ("C", "E"):
        raise ValueError(f"mode {mode} at {baud} baud")
    control = b"2" if mode == "E" else b"0"
    return ACK + control + LETTERS[baud].encode() + control + b"\r\n"


def decode_acknowledgement(raw: bytes) -> tuple[str, str]:
    """The speed's letter and the mode ("C", "E", or "" for another) of an acknowledgement. Raises DecodeError."""
    raw = seven(raw)
    if len(raw) != 6 or raw[:1] != ACK or raw[4:] != b"\r\n":
        raise DecodeError(f"{raw[:8].hex()} is no acknowledgement (IEC 62056-21)", 0)
    return chr(raw[2]), {b"22": "E", b"00": "C"}.get(raw[1:4:2], "")


def decode_identification(raw: bytes) -> Identification:
    """Read one identification message, from its / to its line end. Raises DecodeError."""
    match = _IDENTIFICATION.fullmatch(seven(raw)) if len(raw) <= MAX_LINE else None
    if match is None:
        raise DecodeError("no identification of a meter (IEC 62056-21)", 0)
    maker, letter, enhanced, identification = (part.decode("latin-1") for part in match.groups())
    return Identification(maker, letter, enhanced[1::2], identification)


def check(block: bytes | bytearray) -> int:
    """The block check character: of everything behind STX, ETX included."""
    return reduce(xor, block, 0)


def decode_readout(block: bytes) -> tuple[DataSet, ...]:
    """Read a data block, what stands between STX and ETX, up to its "!". Raises DecodeError."""
    text = seven(block)
    body, mark, rest = text.partition(b"!")
    if not mark or rest.strip(b"\r\n"):
        raise DecodeError("a read-out without its end, '!'")
    found: list[tuple[str, list[Value]]] = []
    for line in body.split(b"\r\n"):
        at = 0
        while at < len(line):
            match = _SET.match(line, at)  # here and nowhere behind: a search would look at every byte from each
            if match is None:
                raise DecodeError(f"a read-out with {line[at : at + 20]!r} outside of brackets")
            at = match.end()
            address, value = (part.decode("latin-1") for part in match.groups())
            text_, _, unit = value.partition("*")
            if address or not found:
                found.append((address, []))
            found[-1][1].append(Value(text_, unit))
    return tuple(DataSet(address, tuple(values)) for address, values in found)


class Lines:
    """Cuts what a meter sends into messages: lines, and data blocks with their check; holds a bounded rest.

    `ready` gets ("line", text), ("block", content), ("damaged", b"") for a block whose check is wrong, ("nak", b"").
    """

    def __init__(self) -> None:
        self.ready: deque[tuple[str, bytes]] = deque()
        self._pending = bytearray()
        self._block = False
        self._length = 0  # of the block, its end not found so far

    @property
    def in_block(self) -> bool:
        return self._block

    def feed(self, data: bytes) -> None:
        self._pending += seven(data)
        while (item := self._next()) is not None:
            if item[0]:
                self.ready.append(item)

    def _next(self) -> tuple[str, bytes] | None:
        """One message; None where there is none yet; ("", b"") where something was passed over."""
        pending = self._pending
        if self._block:
            return self._end_of_block()
        while pending and pending[0] in b"\x00\x7f\xff":  # a line that is woken up
            del pending[0]
        if pending[:1] == STX:
            del pending[:1]
            self._block, self._length = True, 0
            return "", b""
        if pending[:1] == NAK:
            del pending[:1]
            return "nak", b""
        end = pending.find(b"\n")
        start = pending.find(STX)
        if start >= 0 and (start < end or end < 0):
            del pending[:start]  # noise before a block
            return "", b""
        if end < 0:
            del pending[:-MAX_LINE]
            return None
        line = bytes(pending[: end + 1])
        del pending[: end + 1]
        return "line", line[-MAX_LINE:]

    def _end_of_block(self) -> tuple[str, bytes] | None:
        pending = self._pending
        end = pending.find(ETX, self._length)
        if end < 0 or end + 1 >= len(pending):
            self._length = len(pending) if end < 0 else end
            if len(pending) <= MAX_READOUT:
                return None
            pending.clear()
            self._block = False
            return "damaged", b""
        block, good = bytes(pending[:end]), check(pending[: end + 1]) == pending[end + 1]
        del pending[: end + 2]
        self._block = False
        return ("block", block) if good else ("damaged", b"")


def encode_block(text: bytes) -> bytes:
    """A data block as a meter sends it: `text` ends with "!" and a line end."""
    return STX + text + ETX + bytes((check(text + ETX),))
