"""What a power cut leaves: the model. A state is a place in the log, and a choice of what of the volatile was there.

A disk with a cache: a write is on the medium when a flush that covers it has been answered, or when it carried FUA and
was answered. Every other write, and the one under way, may be there, be missing, or be torn: any of its sectors. Of
several writes to a sector the last is never turned round with another, but an older one may be there without the newer.

An SD card: no flush reaches it (QEMU's card has none). A write command is complete when the card is no longer busy; its
blocks arrive one by one, in ascending order. So a run of blocks that follow each other is one command: any of them may
be there until the last was written, and all of them after it. That is a model: a real card's cache may hold on to more.
"""

import mmap
import random
import re
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ota.errors import OtaError
from ota.powercut.log import SECTOR, Disk, Flush, Mark, Recording, Write

_CHOICE = re.compile(r"none|all|(?:first|only|without|seed)-[0-9]{1,9}|bits-[0-9a-f]{1,8}")
_MANY = 1 << 14  # sectors


@dataclass(frozen=True, slots=True)
class Unit:
    """A write that is not yet sure to be on the medium. index: of its record."""

    index: int
    sector: int
    numbers: "array[int]"


@dataclass(frozen=True, slots=True)
class State:
    """What every disk holds: for each of its sectors, the number of its content."""

    position: int
    name: str
    disks: tuple["array[int]", ...]


class Replay:
    """Walks along a recording. Forward is cheap; going back begins anew."""

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self._ends = _ends(recording)
        self._rewind()

    def _rewind(self) -> None:
        self.position = 0
        self.durable: list[array[int]] = [array("I", bytes(disk.size // SECTOR * 4)) for disk in self.recording.disks]
        self._pending: list[list[Unit]] = [[] for _ in self.recording.disks]
        for record in self.recording.records[: self.recording.begin]:
            if isinstance(record, Write):
                self._put(record.disk, record.sector, record.numbers)
        self.position = self.recording.begin

    def seek(self, position: int) -> None:
        """Go to the cut in front of record `position`: all before it were answered, it itself may be under way."""
        if not self.recording.begin <= position <= len(self.recording.records):
            raise OtaError(f"a cut is between {self.recording.begin} and {len(self.recording.records)}: {position}")
        if position < self.position:
            self._rewind()
        while self.position < position:
            self._answer(self.position, self.recording.records[self.position])
            self.position += 1

    def volatile(self, disk: int) -> list[Unit]:
        """What may be there or not, oldest first; what would change nothing is left out."""
        units = list(self._pending[disk])
        if self.position < len(self.recording.records):
            record = self.recording.records[self.position]
            if isinstance(record, Write) and record.disk == disk:
                units += self._units(self.position, record)
        return _effective(self.durable[disk], units)

    def state(self, choices: Mapping[str, str]) -> State:
        """The state here with this choice for each disk (see `kept`); a disk without one has "all"."""
        disks = []
        for number, disk in enumerate(self.recording.disks):
            content = array("I", self.durable[number])
            for sector, numbers in kept(self.volatile(number), choices.get(disk.name, "all")):
                content[sector : sector + len(numbers)] = numbers
            disks.append(content)
        return State(self.position, name(self.position, choices), tuple(disks))

    def _units(self, index: int, record: Write) -> list[Unit]:
        if not self.recording.disks[record.disk].card:
            return [Unit(index, record.sector, record.numbers)]
        return [Unit(index, record.sector + place, array("I", [n])) for place, n in enumerate(record.numbers)]

    def _answer(self, index: int, record: Write | Flush | Mark) -> None:
        if isinstance(record, Write):
            pending = self._pending[record.disk]
            if record.fua:
                self._put(record.disk, record.sector, record.numbers)
                pending[:] = [piece for unit in pending for piece in _outside(unit, record.sector, len(record.numbers))]
                return
            pending += self._units(index, record)
            if index in self._ends:
                self._settle(record.disk, index + 1)
        elif isinstance(record, Flush):
            self._settle(record.disk, record.covers)

    def _settle(self, disk: int, covers: int) -> None:
        pending = self._pending[disk]
        for unit in pending:
            if unit.index < covers:
                self._put(disk, unit.sector, unit.numbers)
        pending[:] = [unit for unit in pending if unit.index >= covers]

    def _put(self, disk: int, sector: int, numbers: "array[int]") -> None:
        self.durable[disk][sector : sector + len(numbers)] = numbers


def name(position: int, choices: Mapping[str, str]) -> str:
    """As `parse` reads it: 812,card=bits-5,disk=none."""
    return ",".join([str(position), *(f"{disk}={choice}" for disk, choice in sorted(choices.items()))])


def parse(text: str, disks: Sequence[Disk]) -> tuple[int, dict[str, str]]:
    """Read a state's name. Raises OtaError."""
    first, *rest = text.split(",")
    known = {disk.name for disk in disks}
    choices = dict(each.partition("=")[::2] for each in rest)
    if not re.fullmatch(r"[0-9]{1,12}", first) or len(choices) != len(rest) or choices.keys() - known:
        raise OtaError(f"{text!r} names no state: PLACE,DISK=CHOICE,… of {', '.join(sorted(known))}")
    if wrong := [choice for choice in choices.values() if not _CHOICE.fullmatch(choice)]:
        raise OtaError(f"{wrong[0]!r} is no choice: none, all, first-N, only-N, without-N, bits-HEX, seed-N")
    return int(first), choices


def kept(units: Sequence[Unit], choice: str) -> Iterator[tuple[int, "array[int]"]]:
    """Which sectors of the volatile writes reached the medium: (first sector, numbers), in order.

    none, all; first-N: the oldest N; only-N, without-N: the Nth, counted from 0; bits-HEX: those whose bit is set;
    seed-N: a draw that also tears writes.
    """
    what, _, text = choice.partition("-")
    number = int(text, 16 if what == "bits" else 10) if text else 0
    if what == "seed":
        yield from _drawn(units, random.Random(number))  # noqa: S311 - to be repeatable
        return
    for place, unit in enumerate(units):
        chosen = {
            "none": False,
            "all": True,
            "first": place < number,
            "only": place == number,
            "without": place != number,
            "bits": bool(number >> place & 1),
        }[what]
        if chosen:
            yield unit.sector, unit.numbers


def _drawn(units: Sequence[Unit], draw: random.Random) -> Iterator[tuple[int, "array[int]"]]:
    """Some writes, some of them torn; how many differs from draw to draw."""
    keep, tear = draw.choice((0.1, 0.5, 0.9, 1.0)), draw.choice((0.0, 0.3, 1.0))
    for unit in units:
        if draw.random() >= keep:
            continue
        if draw.random() >= tear:
            yield unit.sector, unit.numbers
            continue
        cut = draw.randint(0, len(unit.numbers))
        match draw.choice(("front", "back", "any")):
            case "front":
                yield unit.sector, unit.numbers[:cut]
            case "back":
                yield unit.sector + cut, unit.numbers[cut:]
            case _:
                for place, number in enumerate(unit.numbers):
                    if draw.random() < 0.5:
                        yield unit.sector + place, array("I", [number])


def _effective(durable: "array[int]", units: Sequence[Unit]) -> list[Unit]:
    """Without the writes that would leave everything as it is: there is nothing to choose. Not asked of very many."""
    if sum(len(unit.numbers) for unit in units) > _MANY:
        return list(units)
    over: dict[int, int] = {}
    found = []
    for unit in units:
        changes = False
        for place, number in enumerate(unit.numbers, unit.sector):
            if over.get(place, durable[place]) != number:
                changes = True
                over[place] = number
        if changes:
            found.append(unit)
    return found


def _outside(unit: Unit, sector: int, count: int) -> Iterator[Unit]:
    """What of `unit` is not in these sectors, which are newer."""
    front, back = sector - unit.sector, sector + count - unit.sector
    if front >= len(unit.numbers) or back <= 0:
        yield unit
        return
    if front > 0:
        yield Unit(unit.index, unit.sector, unit.numbers[:front])
    if back < len(unit.numbers):
        yield Unit(unit.index, unit.sector + back, unit.numbers[back:])


def _ends(recording: Recording) -> frozenset[int]:
    """The last write of each command to a card."""
    ends: set[int] = set()
    last: dict[int, tuple[int, int]] = {}  # disk: index, the sector that would follow
    for index, record in enumerate(recording.records):
        if isinstance(record, Write) and recording.disks[record.disk].card:
            before = last.get(record.disk)
            if before and before[1] != record.sector:
                ends.add(before[0])
            last[record.disk] = index, record.sector + len(record.numbers)
    return frozenset(ends | {index for index, _ in last.values()})


class Canvas:
    """An image file that shows a part of a disk in one state after the other; only what differs is written."""

    BLOCK = 128  # sectors that are compared, and written, at a time

    def __init__(self, path: Path, sectors: "Sectors", start: int, length: int) -> None:
        """start, length: of the part, in sectors."""
        self.path, self.start, self.length = path, start, length
        self._sectors = sectors
        self._shown = array("I", bytes(length * 4))
        with path.open("wb") as file:
            file.truncate(length * SECTOR)

    def show(self, content: "array[int]") -> None:
        wanted = content[self.start : self.start + self.length]
        before, after = memoryview(self._shown).cast("B"), memoryview(wanted).cast("B")
        step = self.BLOCK * 4
        with self.path.open("r+b") as file:
            for at in range(0, len(after), step):
                if before[at : at + step] != after[at : at + step]:
                    file.seek(at // 4 * SECTOR)
                    file.write(self._sectors.join(wanted[at // 4 : at // 4 + self.BLOCK]))
        self._shown = wanted


class Sectors:
    """The contents that numbers stand for."""

    def __init__(self, home: Path) -> None:
        with (home / "sectors").open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def join(self, numbers: "array[int]") -> bytes:
        take = self._map
        return b"".join([take[number * SECTOR : (number + 1) * SECTOR] for number in numbers])
