"""`dcu store check`: whether the files of a store are whole, and whether what they say fits together.

It works on a store that is in use (then strictly reading) and on a damaged one; where nobody uses it, it holds the
writer's lock and lets SQLite roll back what a power cut left half-done, as the next start would.
"""

import contextlib
import sqlite3
from pathlib import Path
from typing import Any

from dcu.errors import DecodeError, StoreError
from dcu.store import files, rows, schema
from dcu.store.archive import BALLAST, CRITICAL
from dcu.store.dayfiles import day_of
from dcu.store.records import Finding, StoreReport
from dcu.store.rows import DAY
from dcu.store.salvage import READY

_TRIGGERS = {"counters_only_grow", "counters_stay", "floors_only_grow", "floors_stay"}
_CROSS_CHECKS = (
    ("invocation counters outside 32 bits", "SELECT count(*) FROM counters WHERE next NOT BETWEEN 0 AND 4294967296"),
    ("receive floors outside 32 bits", "SELECT count(*) FROM floors WHERE floor NOT BETWEEN 0 AND 4294967295"),
    (
        "outbox items numbered above the sequence: numbers would be given twice",
        "SELECT count(*) FROM outbox WHERE seq >"
        " (SELECT ifnull(max(seq), 0) FROM sqlite_sequence WHERE name = 'outbox')",
    ),
    (
        "meters in a state that is none: they count as quarantined",
        "SELECT count(*) FROM meters WHERE state NOT IN ('ok', 'quarantined')",
    ),
    (
        "layouts of meters or profiles that are not registered",
        "SELECT count(*) FROM meter_layouts WHERE meter NOT IN (SELECT id FROM meters)"
        " OR profile NOT IN (SELECT id FROM profiles) OR layout NOT IN (SELECT id FROM layouts)",
    ),
)


def check(directory: Path) -> StoreReport:
    """Examine every file of the store in `directory`. Raises StoreError where there is no store."""
    if not (directory / CRITICAL).exists() and not any(directory.glob("readings-*.db")):
        raise StoreError(f"{directory}: there is no store: is the path right?")
    lock, in_use = None, False
    try:
        lock = files.Lock(directory / f"{CRITICAL}.lock")
    except StoreError:
        in_use = True
    except OSError:  # a read-only file system, or somebody else's directory
        pass
    try:
        return _Check(directory, "rw" if lock else "ro").run(in_use)
    finally:
        if lock:
            lock.release()


class _Check:
    def __init__(self, directory: Path, mode: str) -> None:
        self._directory = directory
        self._mode = mode
        self._findings: list[Finding] = []
        self._damaged: set[int] = set()
        self._meters: set[int] = set()
        self._profiles: set[int] = set()
        self._store_id: int | None = None
        self._outbox = self._readings = self._files = 0

    def run(self, in_use: bool) -> StoreReport:
        critical = self._directory / CRITICAL
        if critical.exists():
            self._file(critical, self._critical)
        else:
            self._note(critical, "is missing: day files cannot be read without it", serious=True)
        for path in sorted(self._directory.glob("readings-*.db")):
            if day_of(path.name) is not None and path.stat().st_size:
                self._file(path, self._day)
        if (ready := critical.with_name(CRITICAL + READY)).exists():
            self._note(ready, "what was saved of a damaged file: the next start puts it in its place")
        for path in sorted(self._directory.glob("*.damaged")):
            self._note(path, "was set aside as damaged; its readings are collected again")
        self._ballast()
        return StoreReport(
            str(self._directory),
            in_use,
            self._files,
            self._readings,
            len(self._meters),
            self._outbox,
            tuple(self._findings),
            tuple(sorted(self._damaged)),
        )

    def _note(self, path: Path, text: str, *, serious: bool = False) -> None:
        self._findings.append(Finding(path.name, text, serious))
        if serious and (day := day_of(path.name)) is not None:
            self._damaged.add(day)

    def _file(self, path: Path, examine: Any) -> None:
        self._files += 1
        try:
            with contextlib.closing(files.connect(path, mode=self._mode)) as connection:
                verdicts = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(10)")]
                for verdict in verdicts:
                    if verdict != "ok":
                        self._note(path, verdict, serious=True)
                examine(path, connection)
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", 0)
            if code & 0xFF in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN):
                text = f"cannot be read without writing ({error}): check it as the user that runs the collector"
                self._note(path, text)
            else:
                self._note(path, str(error), serious=True)

    def _critical(self, path: Path, db: sqlite3.Connection) -> None:
        if (found := schema.version(db)) != schema.CRITICAL_VERSION:
            self._note(path, f"schema {found}, this program knows {schema.CRITICAL_VERSION}", serious=True)
            return
        self._meters = {number for (number,) in db.execute("SELECT id FROM meters")}
        self._profiles = {number for (number,) in db.execute("SELECT id FROM profiles")}
        self._outbox = db.execute("SELECT count(*) FROM outbox").fetchone()[0]
        identity = db.execute("SELECT value FROM state WHERE key = 'store.id'").fetchone()
        if identity is None:
            self._note(path, "has no store id: its day files cannot be told from foreign ones", serious=True)
        else:
            self._store_id = int.from_bytes(identity[0], "big")
        for text, query in _CROSS_CHECKS:
            if count := db.execute(query).fetchone()[0]:
                self._note(path, f"{count} {text}", serious=True)
        triggers = {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")}
        if missing := _TRIGGERS - triggers:
            self._note(path, f"nothing keeps counters from going back: {', '.join(sorted(missing))}", serious=True)
        unknown = db.execute("SELECT count(*) FROM counters WHERE NOT known").fetchone()[0]
        if unknown:
            self._note(path, f"{unknown} invocation counters to be read from their meters first")

    def _day(self, path: Path, db: sqlite3.Connection) -> None:
        if not db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            return  # killed while it was made: empty, and begun anew when rows come
        if (found := schema.version(db)) != schema.DAY_VERSION:
            self._note(path, f"schema {found}, this program knows {schema.DAY_VERSION}", serious=True)
            return
        if self._store_id is not None and schema.application(db) != self._store_id:
            self._note(path, "belongs to another store", serious=True)
        day = day_of(path.name)
        assert day is not None
        low, high = day * DAY, (day + 1) * DAY
        outside = unknown = broken = 0
        db.text_factory = bytes
        for timestamp, meter, profile, row in db.execute("SELECT ts, meter, profile, row FROM readings"):
            self._readings += 1
            outside += type(timestamp) is not int or not low <= timestamp < high
            unknown += meter not in self._meters or profile not in self._profiles
            try:
                rows.unpack(timestamp, rows.unseal(timestamp, meter, profile, row))
            except (DecodeError, TypeError):
                broken += 1
        for count, what in (
            (outside, "dated on another day"),
            (unknown, "of meters or profiles that are not registered"),
            (broken, "whose checksum does not fit: to be collected again"),
        ):
            if count:
                self._note(path, f"{count} readings {what}", serious=True)

    def _ballast(self) -> None:
        path = self._directory / BALLAST
        try:
            held = path.stat().st_blocks * 512
        except FileNotFoundError:
            held = 0
        if not held:
            self._note(path, "holds no blocks: on a full disk alarms have no reserve (was it released? make room)")
