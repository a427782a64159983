"""U-Boot's environment on the medium, as U-Boot reads it: two copies, the newer good one counts.

A copy is ``CRC-32, little-endian | flags | NAME=value NUL … NUL NUL``; the checksum is of what follows the flags, which
count up with each save and wrap at 255.

Source: U-Boot, env/common.c (env_import_redund, env_check_redund).
"""

import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_HEADER = struct.Struct("<IB")


@dataclass(frozen=True, slots=True)
class Copies:
    """good: which copies are whole; values: of the one that counts, None where neither is."""

    good: tuple[bool, ...]
    values: dict[str, str] | None


def read(copies: Sequence[bytes], *, redundant: bool = True) -> Copies:
    """redundant: the copies carry flags; else there is one copy, and it has none."""
    header = _HEADER.size if redundant else 4
    good = tuple(len(raw) > header and zlib.crc32(raw[header:]) == struct.unpack_from("<I", raw)[0] for raw in copies)
    whole = [raw for raw, fits in zip(copies, good, strict=True) if fits]
    if not whole:
        return Copies(good, None)
    newest = whole[0]
    for raw in whole[1:]:
        if redundant and _newer(raw[4], newest[4]):
            newest = raw
    return Copies(good, _values(newest[header:]))


def pack(values: Mapping[str, str], size: int, flags: int | None = 1) -> bytes:
    """A copy of `size` bytes with these variables, as mkenvimage makes it; flags None: not redundant."""
    data = b"".join(f"{name}={value}".encode() + b"\0" for name, value in values.items()) + b"\0"
    mark = b"" if flags is None else bytes([flags])
    data = data.ljust(size - 4 - len(mark), b"\0")
    return struct.pack("<I", zlib.crc32(data)) + mark + data


def _newer(flags: int, than: int) -> bool:
    if {flags, than} == {0, 255}:
        return flags == 0
    return flags > than


def _values(data: bytes) -> dict[str, str]:
    texts = data.split(b"\0\0", 1)[0].split(b"\0")
    return dict(text.decode("latin-1").partition("=")[::2] for text in texts if b"=" in text)
