"""cpio archives as SWUpdate reads them: "new ASCII with checksum" (070702), names and data padded to four bytes.

A header is ``070702`` and 13 numbers of 8 hexadecimal digits: ino mode uid gid nlink mtime filesize devmajor devminor
rdevmajor rdevminor namesize check; `check` is the sum of the data's bytes, modulo 2³². What is written depends on names
and contents only. The reader is total: whatever comes, it gives members or an OtaError.

Source: cpio(5), "New CRC Format"; SWUpdate, core/cpio_utils.c.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ota.errors import OtaError

MAGIC = b"070702"
TRAILER = "TRAILER!!!"
LONGEST_NAME = 256  # SWUpdate's own bound
_HEADER = 110
_CHUNK = 1 << 20
_LARGEST = (1 << 32) - 1


@dataclass(frozen=True, slots=True)
class Member:
    """A file in the archive; `at` is where its data begin."""

    name: str
    size: int
    check: int
    at: int


def write(out: BinaryIO, files: list[tuple[str, Path]]) -> None:
    """Write `files` as (name in the archive, file) in this order. Raises OtaError."""
    for number, (name, path) in enumerate(files, 1):
        size, check = path.stat().st_size, _check(path)
        if size > _LARGEST:
            raise OtaError(f"{path}: {size} bytes: a cpio member has at most {_LARGEST}")
        _header(out, number, name, size, check)
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                out.write(chunk)
        out.write(bytes(-size % 4))
    _header(out, 0, TRAILER, 0, 0)


def members(source: BinaryIO) -> Iterator[Member]:
    """The files of an archive, in order, without reading their data. Raises OtaError."""
    size = source.seek(0, 2)
    at = 0
    while True:
        source.seek(at)
        member = _member(source.read(_HEADER), source, at)
        if member.at + member.size > size:
            raise OtaError(f"{member.name}: the file ends before it does: was it copied whole?")
        if member.name == TRAILER:
            return
        yield member
        at = member.at + member.size + -member.size % 4


def content(source: BinaryIO, member: Member) -> Iterator[bytes]:
    """The data of a member, in chunks."""
    source.seek(member.at)
    left = member.size
    while left:
        chunk = source.read(min(left, _CHUNK))
        if not chunk:
            raise OtaError(f"{member.name}: cut short")
        left -= len(chunk)
        yield chunk


def _member(header: bytes, source: BinaryIO, at: int) -> Member:
    if len(header) != _HEADER or header[:6] not in (MAGIC, b"070701"):
        raise OtaError(f"no cpio header at byte {at}: is this a .swu?")
    try:
        numbers = [int(header[place : place + 8], 16) for place in range(6, _HEADER, 8)]
    except ValueError:
        raise OtaError(f"a damaged cpio header at byte {at}") from None
    size, length, check = numbers[6], numbers[11], numbers[12]
    if not 1 < length <= LONGEST_NAME:
        raise OtaError(f"a name of {length} bytes at byte {at}")
    raw = source.read(length)
    if len(raw) != length or raw[-1]:
        raise OtaError(f"a damaged name at byte {at}")
    name = raw[:-1].decode("ascii", errors="replace")
    end = at + _HEADER + length
    return Member(name, size, check, end + -end % 4)


def _header(out: BinaryIO, number: int, name: str, size: int, check: int) -> None:
    raw = name.encode("ascii") + b"\0"
    if len(raw) > LONGEST_NAME:
        raise OtaError(f"{name}: at most {LONGEST_NAME - 1} characters")
    mode = 0 if name == TRAILER else 0o100644
    numbers = (number, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, len(raw), check)
    head = MAGIC + b"".join(b"%08X" % value for value in numbers) + raw
    out.write(head + bytes(-len(head) % 4))


def _check(path: Path) -> int:
    total = 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            total = total + sum(chunk) & 0xFFFFFFFF
    return total
