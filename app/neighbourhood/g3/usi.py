"""USI at the modem's end of the serial line: frames of the host interface of a PL360/PL460.

``7E | length and protocol (2) | payload | check (2) | 7E``, 7D escapes 7E and itself (the byte after it is turned by
20). The length has 10 bits in the header; protocols that need longer payloads keep an eleventh in bit 7 of the
payload's first byte. The check is the remainder of the frame itself by x¹⁶+x¹²+x⁵+1; XMODEM has that of the frame
times x¹⁶.

It shares nothing with the driver's codec, so that neither can hide a mistake of the other. Source: Microchip
smartenergy, service USI.
"""

import re
from binascii import crc_hqx
from collections.abc import Iterator
from typing import NamedTuple

SNIFFER, MAC, ADP, COORDINATOR, PHY = 0x23, 0x24, 0x25, 0x26, 0x30
LONG = frozenset((ADP, COORDINATOR, PHY))  # their first byte gives its bit 7 to the length
FLAG, ESCAPE, TURN = 0x7E, 0x7D, 0x20
LIMIT = (1 << 11) - 1
_WHOLE = 2 * (2 + LIMIT + 2)  # the longest frame, every byte of it escaped


class Frame(NamedTuple):
    """`payload` begins with the command, below 80."""

    protocol: int
    payload: bytes


def encode(protocol: int, payload: bytes) -> bytes:
    """Raises ValueError for a payload that is longer than its protocol allows."""
    size, body = len(payload), bytearray(payload)
    if size > (LIMIT if protocol in LONG else LIMIT >> 1):
        raise ValueError(f"USI payload of {size} bytes")
    if size >> 10:
        body[0] |= 0x80
    body[:0] = (size >> 2 & 0xFF, (size & 3) << 6 | protocol)
    body += check(body).to_bytes(2, "big")
    return b"\x7e" + _SPECIAL.sub(lambda found: bytes((ESCAPE, found[0][0] ^ TURN)), body) + b"\x7e"


def check(frame: bytes | bytearray) -> int:
    """Of header and payload. What binascii computes is the remainder of its argument times x¹⁶."""
    return crc_hqx(frame[:-2], 0) ^ int.from_bytes(frame[-2:], "big")


class Receiver:
    """Frames out of what the host sends, however it is cut; what is no frame is counted in `spoilt` and skipped."""

    def __init__(self) -> None:
        self.spoilt = 0
        self._open = bytearray()  # since the last flag

    def feed(self, data: bytes) -> Iterator[Frame]:
        begin = 0
        while (end := data.find(FLAG, begin)) >= 0:
            self._open += data[begin:end]
            begin = end + 1
            if self._open:
                frame = self._close()
                self.spoilt += frame is None
                if frame:
                    yield frame
        self._open += data[begin:]
        del self._open[_WHOLE:]  # no flag for so long: this will be no frame

    def _close(self) -> Frame | None:
        raw = _ESCAPED.sub(lambda found: bytes((found[1][0] ^ TURN,)), self._open)
        self._open.clear()
        if len(raw) < 5 or check(raw[:-2]).to_bytes(2, "big") != raw[-2:]:
            return None
        size, protocol, payload = raw[0] << 2 | raw[1] >> 6, raw[1] & 0x3F, raw[2:-2]
        if protocol in LONG:
            size |= (payload[0] & 0x80) << 3
            payload = bytes((payload[0] & 0x7F,)) + payload[1:]
        return Frame(protocol, payload) if size == len(payload) else None


_SPECIAL = re.compile(b"[\x7d\x7e]")
_ESCAPED = re.compile(b"\x7d(.)", re.DOTALL)
