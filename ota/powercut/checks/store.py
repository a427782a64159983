"""A store after a power cut, opened by the product's own code as the next start would."""

import hashlib
import logging
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

from dcu.clock import SystemClock
from dcu.errors import DcuError
from dcu.store import Archive, Settings, check
from ota.powercut.checks.ledger import Kept

DONE = ("done", "unanswered, but done: read back")
_CRITICAL = "critical.db"


def examine(directory: Path) -> Kept:
    """Open, and read everything. What cannot be opened, or had to be salvaged, is in `wrong`."""
    if not (directory / _CRITICAL).exists():
        return Kept()
    logging.getLogger("dcu").setLevel(logging.CRITICAL)  # what it would say is in `wrong`
    try:
        Archive.open(directory, clock=SystemClock(), settings=Settings(ballast=0, retention_days=36_500)).close()
        wrong = [f"{path.name}: set aside, or salvaged" for path in sorted(directory.glob("*.damaged"))]
        wrong += [f"{finding.file}: {finding.text}" for finding in check(directory).findings if finding.serious]
        return _read(directory, tuple(wrong))
    except (DcuError, sqlite3.Error) as error:
        return Kept((f"the store does not open: {error}",))


def _read(directory: Path, wrong: tuple[str, ...]) -> Kept:
    with closing(sqlite3.connect(directory / _CRITICAL)) as db:
        names = dict(db.execute("SELECT id, name FROM meters"))
        counters = {
            meter: after if known else None
            for meter, after, known in db.execute("SELECT meter, max(next), min(known) FROM counters GROUP BY meter")
        }
        audited = Counter(
            f"{subject} {action}"
            for subject, action, detail in db.execute("SELECT subject, action, detail FROM audit")
            if detail in DONE
        )
        outbox = {seq: digest(payload) for seq, payload in db.execute("SELECT seq, payload FROM outbox")}
        floors = dict(db.execute("SELECT meter, max(floor) FROM floors GROUP BY meter"))
        seen = db.execute("SELECT value FROM state WHERE key = 'keys.generation'").fetchone()
    generation = int.from_bytes(seen[0], "big") if seen else 0
    readings = _readings(directory, names)
    return Kept(wrong, frozenset(names.values()), readings, counters, audited, outbox, floors, generation)


def digest(payload: bytes) -> str:
    """What a mark says of an outbox item's payload."""
    return hashlib.sha256(payload).hexdigest()[:16]


def _readings(directory: Path, names: dict[int, str]) -> dict[str, frozenset[int]]:
    found: dict[str, set[int]] = {}
    for path in directory.glob("readings-*.db"):
        with closing(sqlite3.connect(path)) as db:
            if db.execute("SELECT 1 FROM sqlite_master WHERE name = 'readings'").fetchone():
                for at, meter in db.execute("SELECT ts, meter FROM readings"):
                    found.setdefault(names.get(meter, f"number {meter}"), set()).add(at)
    return {name: frozenset(times) for name, times in found.items()}
