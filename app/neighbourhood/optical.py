"""A meter's optical head: it signs on at 300 baud (IEC 62056-21) before it speaks HDLC, or reads out what it shows.

It hears only what is sent at the speed that it has itself: the other end of the pseudo-terminal tells at which the port
is set. Sans-IO but for that question.

Source: IEC 62056-21 clause 6.3, annex E.
"""

import re
from collections.abc import Callable
from enum import Enum, auto

from dcu.errors import DecodeError
from dcu.link.mode_e import ACK, BAUDS, LETTERS, NAK, SIGN_ON, decode_acknowledgement, encode_block, seven

_SIGN_ON = re.compile(rb"/\?([0-9A-Za-z ]*)!\r\n")
_ACKNOWLEDGED = re.compile(rb"\x06...\r\n", re.DOTALL)
_LONGEST = 64
INACTIVE = 120.0  # seconds without a byte after which it is signed off


class State(Enum):
    IDLE = auto()
    IDENTIFIED = auto()
    HDLC = auto()
    READ_OUT = auto()


class Head:
    """The head of one meter. text: what it reads out; only_c: it has no mode E; baud: the greatest speed it offers."""

    def __init__(
        self,
        address: str,
        text: Callable[[], bytes],
        hear: Callable[[bytes], bytes],
        *,
        baud: int = 9600,
        only_c: bool = False,
        confirms: bool = True,
    ) -> None:
        self.state = State.IDLE
        self.speed = SIGN_ON
        self.garbled = 0  # bytes that came at another speed than ours
        self._address = address
        self._text = text
        self._hear = hear
        self._baud = baud
        self._only_c = only_c
        self._confirms = confirms
        self._pending = b""
        self._heard_at = 0.0

    def feed(self, data: bytes, speed: int, now: float) -> bytes:
        """What it answers to bytes that were sent at `speed`; the answer goes out at the speed that held before."""
        if now - self._heard_at > INACTIVE or (self.state is State.READ_OUT and speed == SIGN_ON):
            self.sign_off()  # a read-out that nobody complains of is over
        self._heard_at = now
        # a pseudo-terminal takes no time: the port may be set anew before we read the acknowledgement that was sent
        if speed != self.speed and self.state is not State.IDENTIFIED:
            self.garbled += len(data)
            return b""
        if self.state is State.HDLC:
            return self._hear(data)
        self._pending = (self._pending + seven(data))[-_LONGEST:]
        return self._signing_on()

    def sign_off(self) -> None:
        """Wait for a sign-on again: the HDLC link has ended, or nobody speaks."""
        self.state, self.speed, self._pending = State.IDLE, SIGN_ON, b""

    def _signing_on(self) -> bytes:
        if match := _SIGN_ON.search(self._pending):
            self._pending = b""
            if match[1].lstrip(b"0") not in (b"", self._address.encode().lstrip(b"0")):
                return b""
            self.state = State.IDENTIFIED
            enhanced = b"" if self._only_c else b"\\2"
            return b"/GDM" + LETTERS[self._baud].encode() + enhanced + b"SIM" + self._address.encode() + b"\r\n"
        if self.state is State.READ_OUT and NAK in self._pending:
            self._pending = b""
            return encode_block(self._text())
        if self.state is State.IDENTIFIED and (match := _ACKNOWLEDGED.search(self._pending)):
            self._pending = b""
            return self._acknowledged(match[0])
        return b""

    def _acknowledged(self, raw: bytes) -> bytes:
        try:
            letter, mode = decode_acknowledgement(raw)
        except DecodeError:
            return b""
        if mode == "E" and not self._only_c and letter in BAUDS:
            self.state, self.speed = State.HDLC, BAUDS[letter]
            return ACK + b"2" + letter.encode() + b"2\r\n" if self._confirms else b""
        self.state = State.READ_OUT
        if mode == "C" and letter in BAUDS:
            self.speed = BAUDS[letter]
        return encode_block(self._text())  # without a common speed, at that of the sign-on
