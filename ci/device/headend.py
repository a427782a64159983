"""A head-end on this host that hears the last gasp: it reads the packet by itself, without our codecs.

Wrapper (IEC 62056-47), general-glo-ciphering and data-notification are taken apart here byte by byte, the keys used
through the cryptography library: what the device says has to be right, not only consistent with its own decoder.

Source: DLMS Green Book 9.2.7.2 (AES-GCM-128, 12-byte tag, AAD), 9.3.10, 9.5; Blue Book 4.1.6.1 (date-time).
"""

import socket
import struct
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from dcu.credentials import MeterKeys, Secret
from dcu.keys import shipment
from device.street import HOST

TITLE = bytes.fromhex("4845530000000001")
GUEK, GAK, TRANSPORT = bytes(range(16)), bytes(range(16, 32)), bytes(32)  # made up for these tests
BOTH = 0x30  # security control: suite 0, authenticated and encrypted, global unicast key


@dataclass(frozen=True, slots=True)
class Gasp:
    """What one packet says. left: seconds; heard: this host's monotonic clock."""

    sender: bytes
    counter: int
    identity: bytes
    failed: datetime
    doubtful: bool
    left: float
    heard: float
    datagram: bytes


class HeadEnd:
    """`with HeadEnd() as headend:` a UDP port that the device reaches at `address`; `keys` is what it imports."""

    def __enter__(self) -> "HeadEnd":
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.address = f"{HOST}:{self._socket.getsockname()[1]}"
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._socket.close()

    def keys(self, folder: Path, counter: int) -> bytes:
        """Return the file that brings the keys; counter: the first that the device may use."""
        path = folder / "headend.toml"
        shipment.write_head_end(
            path, "TK-BENCH", Secret(TRANSPORT), MeterKeys(TITLE, Secret(GUEK), Secret(GAK)), counter
        )
        return path.read_bytes()

    def hear(self, seconds: float) -> Gasp:
        """Return the next packet. Raises TimeoutError; AssertionError and InvalidTag when it is not as it must be."""
        self._socket.settimeout(seconds)
        datagram = self._socket.recv(2000)
        return read(datagram, time.monotonic())

    def silent(self, seconds: float) -> bool:
        """Whether nothing comes for so long."""
        self._socket.settimeout(seconds)
        try:
            self._socket.recv(2000)
        except TimeoutError:
            return True
        return False


def read(datagram: bytes, heard: float) -> Gasp:
    version, source, target, length = struct.unpack_from(">4H", datagram)
    assert (version, source, target, length) == (1, 1, 1, len(datagram) - 8)
    apdu = datagram[8:]
    assert apdu[:2] == b"\xdb\x08", "general-glo-ciphering with a system title of 8 bytes"
    sender, size, control = apdu[2:10], apdu[10], apdu[11]
    assert size == len(apdu) - 11 < 0x80
    assert control == BOTH
    (counter,) = struct.unpack_from(">I", apdu, 12)
    sealed, tag = apdu[16:-12], apdu[-12:]
    opened = Cipher(
        algorithms.AES(GUEK), modes.GCM(sender + struct.pack(">I", counter), tag, min_tag_length=12)
    ).decryptor()
    opened.authenticate_additional_data(bytes((control,)) + GAK)
    return _said(opened.update(sealed) + opened.finalize(), sender, counter, heard, datagram)


def _said(plain: bytes, sender: bytes, counter: int, heard: float, datagram: bytes) -> Gasp:
    """data-notification { long-invoke-id, date-time, structure { octet-string ×2, enum, double-long-unsigned } }"""
    assert plain[0] == 0x0F
    assert plain[5] == 12
    moment, body = plain[6:18], plain[18:]
    assert body[:3] == b"\x02\x04\x09"
    size = body[3]
    identity, rest = body[4 : 4 + size], body[4 + size :]
    assert rest[:2] == b"\x09\x0c"
    assert rest[2:14] == moment, "the time of the failure is that of the notification"
    assert rest[14:16] == b"\x16\x01", "status: power fail"
    assert rest[16] == 0x06
    assert len(rest) == 21
    year, month, day, _, hour, minute, second, hundredths, deviation, status = struct.unpack(">HBBBBBBBhB", moment)
    assert deviation == 0, "UTC"
    failed = datetime(year, month, day, hour, minute, second, hundredths * 10_000, UTC)
    left = struct.unpack_from(">I", rest, 17)[0] / 1000
    return Gasp(sender, counter, identity, failed, bool(status & 2), left, heard, datagram)
