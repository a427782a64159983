"""Whether what a store holds is what happened: every reading in its files against the street's truth.

The store is opened strictly for reading, file by file, when nobody uses it any more: neither the collector's buffer nor
its queries stand between the files and the comparison. What is compared is UTC seconds and integers.
"""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import msgspec

from dcu.errors import StoreError
from dcu.model import Obis
from dcu.store import rows
from neighbourhood import truth
from neighbourhood.truth import Registers

LOAD_PROFILE = Obis.parse("1-0:99.1.0*255")
REGISTERS = tuple(Obis.parse(f"1-0:{group}.8.0*255").raw for group in (1, 2, 3, 4))
SHOWN = 10  # wrong readings that are told one by one

Truth = Callable[[int, int], Registers]  # meter number, what its clock showed (UTC seconds) → what it captured


class Stored(NamedTuple):
    """A row of the store's load profile. values: the four registers, as the profile's layout names them."""

    meter: str
    timestamp: int
    values: tuple[object, ...]


@dataclass(slots=True)
class Verdict:
    """meters: of whom there is a reading; wrong: readings that are not what happened, or that nobody captured."""

    meters: int = 0
    expected: int = 0
    readings: int = 0
    missing: int = 0
    wrong: int = 0
    examples: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        return self.expected > 0 and not self.missing and not self.wrong

    def note(self, text: str) -> None:
        if len(self.examples) < SHOWN:
            self.examples.append(text)


def stored(directory: Path, critical: str = "critical.db") -> Iterator[Stored]:
    """Every row of the load profile in the store of `directory`, in no particular order."""
    with closing(_opened(directory / critical)) as db:
        names = dict(db.execute("SELECT id, name FROM meters"))
        found = db.execute("SELECT id FROM profiles WHERE obis = ?", (LOAD_PROFILE.raw,)).fetchone()
        if found is None:
            return
        profile = found[0]
        query = "SELECT meter, columns FROM meter_layouts JOIN layouts ON layouts.id = layout WHERE profile = ?"
        places = {meter: _places(columns) for meter, columns in db.execute(f"{query} ORDER BY since", (profile,))}
    for path in sorted(directory.glob("readings-*.db")):
        with closing(_opened(path)) as db:
            for timestamp, meter, row in db.execute(
                "SELECT ts, meter, row FROM readings WHERE profile = ?", (profile,)
            ):
                values = rows.unpack(timestamp, rows.unseal(timestamp, meter, profile, row)).values
                chosen = tuple(values[place] for place in places[meter])
                yield Stored(names.get(meter, f"meter {meter}"), timestamp, chosen)


def judge(found: Iterator[Stored], meters: dict[str, int], first: int, last: int, period: int, what: Truth) -> Verdict:
    """Compare. meters: their numbers by name; first, last: the rows that must be there, every `period` seconds."""
    verdict = Verdict(expected=len(meters) * len(range(first, last + 1, period)))
    seen: set[tuple[str, int]] = set()
    for reading in found:
        verdict.readings += 1
        seen.add((reading.meter, reading.timestamp))
        number = meters.get(reading.meter)
        expected = None if number is None or reading.timestamp % period else what(number, reading.timestamp)
        if expected is None or reading.values != tuple(expected):
            verdict.wrong += 1
            verdict.note(f"{reading.meter} at {reading.timestamp}: stored {reading.values}, truth {_told(expected)}")
    verdict.meters = len({name for name, _ in seen})
    for name in meters:
        for timestamp in range(first, last + 1, period):
            if (name, timestamp) not in seen:
                verdict.missing += 1
                verdict.note(f"{name} at {timestamp}: missing")
    return verdict


def truth_of(seed: int, *, units: int = 0, seconds: int = 0) -> Truth:
    """The street's truth; off by some units or seconds it is the canary that a comparison must catch."""

    def what(number: int, timestamp: int) -> Registers:
        row = truth.captured(seed, number, timestamp + seconds)
        return row.registers._replace(active_import=row.registers.active_import + units)

    return what


def _told(registers: Registers | None) -> str:
    return "none" if registers is None else str(tuple(registers))


def _places(columns: bytes) -> list[int]:
    """Where in a row's values the four registers stand."""
    layout = [bytes(column[1]) for column in msgspec.msgpack.decode(columns)]
    captured = [obis for obis in layout if obis in REGISTERS]
    if sorted(captured) != sorted(REGISTERS):
        raise StoreError("the store's layout of the load profile lacks a register, or has one twice")
    return [layout.index(obis) for obis in REGISTERS]


def _opened(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
