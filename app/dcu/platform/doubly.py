"""A small file written doubly: two copies, each with checksum and generation; one may be lost at any time.

On the flash each copy is ``magic | generation | length | SHA-256 of all that | content``, big-endian. A write replaces
one whole copy durably, then the other, so that a power cut finds at least one of them whole. A read takes the newest
good copy and writes the other anew where it is older or damaged: a corrupt copy costs nothing, two are noticed.
"""

import contextlib
import hashlib
import struct
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from dcu.durable import place, sync_directory
from dcu.errors import DecodeError, StoreError

MAGIC = b"DCU\x02"
LARGEST = 1 << 20  # bytes of content: an identity, an index, a thousand counters
_HEADER = struct.Struct(">4sQI32s")
_GENERATIONS = (1 << 64) - 1


class Copy(StrEnum):
    """What became of one of the two."""

    GOOD = "good"
    STALE = "older than its twin"
    MISSING = "missing"
    DAMAGED = "damaged"


@dataclass(frozen=True, slots=True)
class Found:
    """What both copies say: the content of the newest good one, None where there is none."""

    content: bytes | None
    generation: int
    first: Copy
    second: Copy

    @property
    def whole(self) -> bool:
        return (self.first, self.second) == (Copy.GOOD, Copy.GOOD)

    @property
    def lost(self) -> bool:
        """Whether something was written and is gone. Two missing copies tell nothing: perhaps there never was one."""
        return self.content is None and Copy.DAMAGED in (self.first, self.second)


def encode(generation: int, content: bytes) -> bytes:
    """Raises ValueError: too long, or a generation that does not fit."""
    if len(content) > LARGEST or not 0 <= generation <= _GENERATIONS:
        raise ValueError(f"{len(content)} bytes in generation {generation}: at most {LARGEST} bytes, 64 bits")
    return _HEADER.pack(MAGIC, generation, len(content), _digest(generation, content)) + content


def decode(raw: bytes) -> tuple[int, bytes]:
    """Return generation and content of one copy. Raises DecodeError."""
    if len(raw) < _HEADER.size:
        raise DecodeError(f"{len(raw)} bytes are no copy")
    magic, generation, length, digest = _HEADER.unpack_from(raw)
    content = raw[_HEADER.size :]
    if magic != MAGIC or length != len(content) or length > LARGEST:
        raise DecodeError("not a copy, or cut short")
    if digest != _digest(generation, content):
        raise DecodeError("the checksum does not fit")
    return generation, content


class Doubly:
    """The two copies of one file. `first` and `second` stand in directories of their own: one may be damaged too."""

    def __init__(self, first: Path, second: Path, *, mode: int = 0o600) -> None:
        self.paths = (first, second)
        self._mode = mode

    def look(self) -> Found:
        """Read both copies and change nothing."""
        first, second = (self._read(path) for path in self.paths)
        good = [state for state in (first, second) if not isinstance(state, Copy)]
        if not good:
            assert isinstance(first, Copy)
            assert isinstance(second, Copy)
            return Found(None, 0, first, second)
        generation, content = max(good)
        return Found(content, generation, _judged(first, generation, content), _judged(second, generation, content))

    def read(self) -> bytes | None:
        """Return the content, None where nothing was ever written; restore the copy that is damaged or older.

        Raises StoreError: both copies are lost.
        """
        found = self.look()
        if found.lost:
            names = " and ".join(str(path) for path in self.paths)
            raise StoreError(f"{names}: both copies are damaged or gone: what they held must be provisioned anew")
        if found.content is not None:
            for path, state in zip(self.paths, (found.first, found.second), strict=True):
                if state is not Copy.GOOD:
                    with contextlib.suppress(StoreError):  # the good copy was read: that a repair fails is shown later
                        self._replace(path, encode(found.generation, found.content))
        return found.content

    def write(self, content: bytes) -> None:
        """Replace the content, durably when this returns. Raises StoreError; then the old or the new content stands."""
        found = self.look()
        raw = encode(found.generation + 1, content)
        spare_first = found.first is not Copy.GOOD  # the last good copy is the last that is replaced
        for path in self.paths if spare_first else reversed(self.paths):
            self._replace(path, raw)

    def forget(self) -> None:
        """Remove both copies, durably, so that nothing was ever written. Raises StoreError."""
        for path in self.paths:
            try:
                path.unlink(missing_ok=True)
                if path.parent.is_dir():
                    sync_directory(path.parent)
            except OSError as error:
                raise StoreError(f"{path}: cannot be removed: {error.strerror or error}") from None

    def _read(self, path: Path) -> tuple[int, bytes] | Copy:
        try:
            with path.open("rb") as file:
                return decode(file.read(LARGEST + _HEADER.size + 1))
        except FileNotFoundError:
            return Copy.MISSING
        except (OSError, DecodeError):  # an I/O error is the flash's way to say that it is damaged
            return Copy.DAMAGED

    def _replace(self, path: Path, raw: bytes) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            place(path, raw, self._mode)
        except OSError as error:
            raise StoreError(f"{path}: cannot be written: {error.strerror or error}") from None


def _judged(copy: tuple[int, bytes] | Copy, generation: int, content: bytes) -> Copy:
    if isinstance(copy, Copy):
        return copy
    return Copy.GOOD if copy == (generation, content) else Copy.STALE


def _digest(generation: int, content: bytes) -> bytes:
    return hashlib.sha256(MAGIC + struct.pack(">QI", generation, len(content)) + content).digest()
