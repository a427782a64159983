"""A recording: every write, flush and mark of several disks in one sequence, with the contents by reference.

A directory with two files. `sectors` holds each different sector of 512 bytes once; sector number n stands at n * 512,
number 0 is all zeros. `log` is one line of JSON (the disks, in order), then records, big-endian:

    kind u8 | disk u8 | flags u16 | milliseconds u32 | length u32 | offset u64 | body

    WRITE  offset and length in bytes, whole sectors; body: the number of each sector, u32. Flag FUA: on the medium when
           it was answered
    FLUSH  offset: how many records of the log it covers: writes that had been answered when the flush was sent
    MARK   body: `length` bytes of UTF-8 JSON: what somebody outside knew to have happened by then
    END    offset: how many records stand before it

A disk begins with zeros; what it held at the start are its first writes, up to the mark "begin".
"""

import hashlib
import json
import struct
import time
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from types import TracebackType
from typing import Any

from ota.errors import OtaError

SECTOR = 512
BEGIN = "begin"
FUA = 1
LARGEST_WRITE = 32 << 20  # bytes, as NBD bounds them
LARGEST_MARK = 1 << 20
_LARGEST_HEADER = 64 << 10
_DISKS = 16
_RECORD = struct.Struct(">BBHIIQ")
_ZEROS = bytes(SECTOR)


class Kind(IntEnum):
    WRITE = 1
    FLUSH = 2
    MARK = 3
    END = 4


@dataclass(frozen=True, slots=True)
class Disk:
    """size: bytes. card: an SD card: no flush; a write is on the medium when the card is no longer busy."""

    name: str
    size: int
    card: bool = False


@dataclass(frozen=True, slots=True)
class Write:
    disk: int
    at: int  # milliseconds since the recording began
    sector: int
    numbers: "array[int]"
    fua: bool = False


@dataclass(frozen=True, slots=True)
class Flush:
    disk: int
    at: int
    covers: int  # records


@dataclass(frozen=True, slots=True)
class Mark:
    at: int
    what: str
    facts: Mapping[str, Any]


Record = Write | Flush | Mark


@dataclass(frozen=True, slots=True)
class Recording:
    """begin: the record after the mark "begin": cuts are from here on."""

    home: Path
    disks: tuple[Disk, ...]
    records: tuple[Record, ...]
    begin: int
    sectors: int  # how many numbers there are

    def disk(self, name: str) -> int:
        """Raises OtaError: no such disk."""
        for number, disk in enumerate(self.disks):
            if disk.name == name:
                return number
        raise OtaError(f"{self.home}: records no disk {name}: {', '.join(disk.name for disk in self.disks)}")


class Writer:
    """Writes a recording, in order. Not thread-safe: the order is the point."""

    def __init__(self, home: Path, disks: Sequence[Disk]) -> None:
        home.mkdir(parents=True, exist_ok=True)
        if not 0 < len(disks) <= _DISKS or any(disk.size % SECTOR or disk.size <= 0 for disk in disks):
            raise ValueError(f"1 to {_DISKS} disks of whole sectors")
        self.records = 0
        self._numbers = {_digest(_ZEROS): 0}
        self._log = (home / "log").open("wb")
        self._sectors = (home / "sectors").open("wb")
        self._sectors.write(_ZEROS)
        self._began = time.monotonic()
        described = [{"name": disk.name, "size": disk.size, "card": disk.card} for disk in disks]
        self._log.write(json.dumps({"powercut": 1, "disks": described}).encode() + b"\n")

    def __enter__(self) -> "Writer":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def write(self, disk: int, offset: int, content: bytes | memoryview, *, fua: bool = False) -> None:
        numbers = array("I", [self._number(bytes(content[at : at + SECTOR])) for at in range(0, len(content), SECTOR)])
        numbers.byteswap()  # big-endian in the file
        self._put(Kind.WRITE, disk, FUA if fua else 0, len(content), offset, numbers.tobytes())

    def flush(self, disk: int, covers: int) -> None:
        self._put(Kind.FLUSH, disk, 0, 0, covers)

    def mark(self, what: str, facts: Mapping[str, Any] | None = None) -> None:
        body = json.dumps({"what": what, **(facts or {})}, sort_keys=True).encode()
        if len(body) > LARGEST_MARK:
            raise ValueError(f"a mark of {len(body)} bytes")
        self._put(Kind.MARK, 0, 0, len(body), 0, body)

    def close(self) -> None:
        if not self._log.closed:
            self._put(Kind.END, 0, 0, 0, self.records)
            self._log.close()
            self._sectors.close()

    def _number(self, sector: bytes) -> int:
        digest = _digest(sector)
        if (number := self._numbers.get(digest)) is None:
            number = self._numbers[digest] = len(self._numbers)
            self._sectors.write(sector)
        return number

    def _put(self, kind: Kind, disk: int, flags: int, length: int, offset: int, body: bytes = b"") -> None:
        at = int((time.monotonic() - self._began) * 1000)
        self._log.write(_RECORD.pack(kind, disk, flags, at, length, offset) + body)
        self.records += kind is not Kind.END


def read(home: Path) -> Recording:
    """Read a whole recording. Raises OtaError: it is none, or its end is missing."""
    try:
        raw = (home / "log").read_bytes()
        sectors = (home / "sectors").stat().st_size // SECTOR
    except OSError as error:
        raise OtaError(f"{error.filename}: {error.strerror}: no recording") from None
    disks, at = _header(raw)
    records = tuple(_records(raw, at, disks, sectors))
    begins = [number for number, record in enumerate(records) if isinstance(record, Mark) and record.what == BEGIN]
    if len(begins) != 1:
        raise OtaError(f"{home}: {len(begins)} marks say where the recording begins, not one")
    return Recording(home, disks, records, begins[0] + 1, sectors)


def _header(raw: bytes) -> tuple[tuple[Disk, ...], int]:
    end = raw.find(b"\n", 0, _LARGEST_HEADER)
    try:
        found = json.loads(raw[: max(end, 0)])
        disks = tuple(Disk(str(each["name"]), int(each["size"]), bool(each["card"])) for each in found["disks"])
        version = found["powercut"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise OtaError("the log's first line does not name its disks") from None
    if version != 1 or not 0 < len(disks) <= _DISKS or any(disk.size <= 0 or disk.size % SECTOR for disk in disks):
        raise OtaError("the log's first line is of another version, or names impossible disks")
    return disks, end + 1


def _records(raw: bytes, at: int, disks: Sequence[Disk], sectors: int) -> Iterator[Record]:
    count = 0
    while at + _RECORD.size <= len(raw):
        kind, disk, flags, moment, length, offset = _RECORD.unpack_from(raw, at)
        body, where = at + _RECORD.size, f"record {count} at byte {at}"
        if kind == Kind.END:
            if offset != count or body != len(raw):
                raise OtaError(f"{where}: the log ends in the wrong place")
            return
        if kind == Kind.WRITE:
            if disk >= len(disks) or (offset | length) % SECTOR or not 0 < length <= LARGEST_WRITE:
                raise OtaError(f"{where}: an impossible write")
            if offset + length > disks[disk].size or flags & ~FUA:
                raise OtaError(f"{where}: a write beyond the end of {disks[disk].name}")
            at = body + length // SECTOR * 4
            numbers = array("I")
            numbers.frombytes(_slice(raw, body, at, where))
            numbers.byteswap()
            if max(numbers) >= sectors:
                raise OtaError(f"{where}: names a sector that was not kept")
            yield Write(disk, moment, offset // SECTOR, numbers, bool(flags & FUA))
        elif kind == Kind.FLUSH:
            if disk >= len(disks) or offset > count or length or flags:
                raise OtaError(f"{where}: an impossible flush")
            at = body
            yield Flush(disk, moment, offset)
        elif kind == Kind.MARK and length <= LARGEST_MARK:
            at = body + length
            yield _mark(_slice(raw, body, at, where), moment, where)
        else:
            raise OtaError(f"{where}: of no kind that is known")
        count += 1
    raise OtaError(f"the log is cut short after {count} records: was the recorder killed?")


def _slice(raw: bytes, start: int, end: int, where: str) -> bytes:
    if end > len(raw):
        raise OtaError(f"{where}: cut short")
    return raw[start:end]


def _mark(raw: bytes, at: int, where: str) -> Mark:
    try:
        facts = json.loads(raw)
        return Mark(at, str(facts.pop("what")), facts)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise OtaError(f"{where}: a mark that says nothing") from None


def _digest(sector: bytes) -> bytes:
    return hashlib.blake2b(sector, digest_size=16).digest()
