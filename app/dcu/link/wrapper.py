"""The wrapper: how an APDU goes over TCP and UDP.

On the wire a frame is ``version 0001 | source wPort | destination wPort | length | APDU``, four big-endian 16-bit
words and then `length` bytes. A stream has no other mark to find a frame by, so a wrong version ends it: what follows
cannot be trusted to be a header. In a datagram it costs that datagram.

Source: IEC 62056-47 (DLMS Green Book, clause 7.3, TCP-UDP/IP communication profile).
"""

from collections.abc import Generator
from dataclasses import dataclass
from struct import Struct

from dcu.errors import DecodeError

VERSION = 1
HEADER_SIZE = 8
MAX_APDU = 0xFFFF  # what the length field can say

_HEADER = Struct(">4H")


@dataclass(frozen=True, slots=True)
class Frame:
    """One APDU with its addresses: from a client `source` is the client SAP, from a server the server's."""

    source: int
    destination: int
    apdu: bytes


def encode(source: int, destination: int, apdu: bytes) -> bytes:
    """Return `apdu` as it goes on the wire.

    Raises ValueError for an address that is no 16-bit number or an APDU longer than 65535 bytes.
    """
    if len(apdu) > MAX_APDU:
        raise ValueError(f"wrapper APDU of {len(apdu)} bytes, at most {MAX_APDU}")
    if not (0 <= source <= 0xFFFF and 0 <= destination <= 0xFFFF):
        raise ValueError(f"wrapper ports {source} and {destination}: 0..65535")
    return _HEADER.pack(VERSION, source, destination, len(apdu)) + apdu


def decode(datagram: bytes) -> Frame:
    """Read the one frame that fills `datagram`. Raises DecodeError."""
    if len(datagram) < HEADER_SIZE:
        raise DecodeError(f"wrapper header cut short: {len(datagram)} of {HEADER_SIZE} bytes", len(datagram))
    version, source, destination, size = _HEADER.unpack_from(datagram)
    if version != VERSION:
        raise _wrong_version(version)
    if len(datagram) - HEADER_SIZE != size:
        raise DecodeError(f"wrapper announces {size} bytes, {len(datagram) - HEADER_SIZE} came", 6)
    return Frame(source, destination, datagram[HEADER_SIZE:])


class Decoder:
    """Turns a byte stream into frames, however the bytes are cut; holds at most one unfinished frame."""

    __slots__ = ("_failed", "_pending", "max_apdu")

    def __init__(self, max_apdu: int = MAX_APDU) -> None:
        self.max_apdu = max_apdu
        self._pending = bytearray()
        self._failed: DecodeError | None = None

    @property
    def pending(self) -> int:
        """Bytes of an unfinished frame."""
        return len(self._pending)

    def feed(self, data: bytes) -> Generator[Frame, None, None]:
        """Yield the frames that `data` completes. Raises DecodeError after the last good one; the stream is then over.

        The frames are cut as they are asked for: iterate to the end, or close the generator and call with b"" later.
        """
        pending = self._pending
        pending += data
        at = 0
        try:
            while self._failed is None and (end := self._end(at)) <= len(pending):
                _, source, destination, _ = _HEADER.unpack_from(pending, at)
                frame = Frame(source, destination, bytes(pending[at + HEADER_SIZE : end]))
                at = end
                yield frame
        except DecodeError as error:
            self._failed = error
        finally:
            del pending[:at]
        if self._failed is not None:
            pending.clear()
            raise self._failed

    def _end(self, at: int) -> int:
        """Where the frame at `at` ends, as far as can be said yet."""
        have = len(self._pending) - at
        if have >= 2 and self._pending[at : at + 2] != b"\x00\x01":
            raise _wrong_version(int.from_bytes(self._pending[at : at + 2], "big"))
        if have < HEADER_SIZE:
            return at + HEADER_SIZE
        size = int.from_bytes(self._pending[at + 6 : at + 8], "big")
        if size > self.max_apdu:
            raise DecodeError(f"wrapper announces {size} bytes, at most {self.max_apdu} are accepted", 6)
        return at + HEADER_SIZE + size


def _wrong_version(version: int) -> DecodeError:
    return DecodeError(f"wrapper version {version:04X}, not 0001", 0)
