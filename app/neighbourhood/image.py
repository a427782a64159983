"""A meter's image transfer (class 18): what it has been given of a new firmware, and what it makes of it.

It keeps its own account of what it was sent, so that a test can tell a block that came twice from one that did not.
Verifying and activating take time, in which the meter says temporary-failure, as real ones do.

A firmware of this maker is text, a version, and a digest, which stands in place of a signature:
`GDM firmware VERSION\\0`, the code, SHA-256 of all that.

Source: DLMS Blue Book (IEC 62056-6-2) clause 4.4.6.
"""

import hashlib
import re
from dataclasses import dataclass, field
from enum import IntEnum

DIGEST = 32
LARGEST = 4 << 20
VERIFYING = 5  # seconds: as with a real meter, only shorter
ACTIVATING = 6
FACTORY = "1.0.0"  # the firmware that meters come with
_HEAD = re.compile(rb"GDM firmware ([0-9A-Za-z.+-]{1,32})\0")


class Status(IntEnum):
    NOT_INITIATED = 0
    INITIATED = 1
    VERIFYING = 2
    VERIFIED = 3
    NOT_VERIFIED = 4
    ACTIVATING = 5
    ACTIVATED = 6
    NOT_ACTIVATED = 7


class Busy(Exception):
    """It takes time: temporary-failure."""


def firmware(version: str, size: int, seed: int = 1) -> bytes:
    """A firmware that this maker's meters take, of `size` bytes. Raises ValueError."""
    head = b"GDM firmware " + version.encode() + b"\0"
    code = size - len(head) - DIGEST
    if not _HEAD.match(head) or code < 0:
        raise ValueError(f"a version has letters, digits, dots; a firmware has {len(head) + DIGEST} bytes at least")
    body = head + hashlib.shake_128(f"{seed}/{version}".encode()).digest(code)
    return body + hashlib.sha256(body).digest()


def version_of(image: bytes) -> str | None:
    """The version of a firmware that is whole, else None."""
    body, digest = image[:-DIGEST], image[-DIGEST:]
    head = _HEAD.match(body)
    return head[1].decode() if head and hashlib.sha256(body).digest() == digest else None


@dataclass(slots=True)
class ImageTransfer:
    """sent: how often each block came; repeated: blocks that came although they were there."""

    block_size: int
    version: str = FACTORY
    enabled: bool = True
    identifier: bytes = b""
    size: int = 0
    image: bytearray = field(default_factory=bytearray)
    held: bytearray = field(default_factory=bytearray)  # one byte a block: 1 where it is there
    blocks: int = 0  # that came
    repeated: int = 0
    initiated: int = 0
    _status: Status = Status.NOT_INITIATED
    _until: int = 0  # true second at which what takes time is over

    @property
    def known(self) -> Status:
        """What it was when it was last looked at."""
        return self._status

    def status(self, now: int) -> Status:
        """What time brings is brought first."""
        if self._status is Status.VERIFYING and now >= self._until:
            self._status = Status.VERIFIED if version_of(bytes(self.image)) else Status.NOT_VERIFIED
        if self._status is Status.ACTIVATING and now >= self._until:
            found = version_of(bytes(self.image))
            self._status = Status.ACTIVATED if found else Status.NOT_ACTIVATED
            self.version = found or self.version
        return self._status

    def upcoming(self, after: int) -> int | None:
        """When what takes time is over."""
        busy = self._status in (Status.VERIFYING, Status.ACTIVATING)
        return max(self._until, after + 1) if busy else None

    @property
    def first_missing(self) -> int:
        found = self.held.find(0)
        return len(self.held) if found < 0 else found

    @property
    def digest(self) -> bytes:
        return bytes(self.image[-DIGEST:])

    def initiate(self, identifier: bytes, size: int) -> bool:
        if not self.enabled or not 0 < size <= LARGEST or not 0 < len(identifier) <= 64:
            return False
        self.identifier, self.size = identifier, size
        self.image = bytearray(size)
        self.held = bytearray(-(-size // self.block_size))
        self._status = Status.INITIATED
        self.initiated += 1
        return True

    def take(self, number: int, block: bytes) -> bool:
        if not self.enabled or self._status is not Status.INITIATED or not 0 <= number < len(self.held):
            return False
        at = number * self.block_size
        if len(block) != min(self.block_size, self.size - at):
            return False
        self.blocks += 1
        self.repeated += self.held[number]
        self.image[at : at + len(block)] = block
        self.held[number] = 1
        return True

    def verify(self, now: int) -> bool:
        """Raises Busy while it goes on."""
        status = self.status(now)
        if status is Status.VERIFYING:
            raise Busy
        if status is Status.INITIATED and all(self.held):
            self._status, self._until = Status.VERIFYING, now + VERIFYING
            raise Busy
        return status is Status.VERIFIED

    def activate(self, now: int) -> bool:
        """Raises Busy while it goes on. What was not verified is verified now."""
        status = self.status(now)
        if status is Status.ACTIVATING:
            raise Busy
        if status is Status.VERIFIED or (status is Status.INITIATED and all(self.held)):
            self._status, self._until = Status.ACTIVATING, now + ACTIVATING
            raise Busy
        return status is Status.ACTIVATED
