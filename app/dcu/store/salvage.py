"""Starts the store although its critical file is damaged: what can be read of it is carried into a new one.

Counters come over as lower bounds only: every meter's counter is read before anything is ciphered again (design
decision 6). Day files stay ours only where all meters and profiles came over; otherwise their numbers mean nothing.
"""

import logging
import sqlite3
from pathlib import Path
from typing import Any

from dcu.clock import Clock, epoch_seconds
from dcu.store import files
from dcu.store.critical import Critical, DamagedError

_TABLES = {
    "meters": "id, name, address, profile, system_title, state, reason, since",
    "profiles": "id, obis",
    "layouts": "id, columns",
    "meter_layouts": "meter, profile, since, layout",
    "floors": "meter, floor",
    "outbox": "seq, at, kind, priority, meter, payload",
    "audit": "seq, at, actor, action, subject, detail",
    "state": "key, value",
}
log = logging.getLogger(__name__)


def open_critical(path: Path, *, clock: Clock, audit_rows: int) -> Critical:
    """Open or create the critical file; a damaged one is set aside and salvaged. Raises StoreError."""
    try:
        return Critical.open(path, clock=clock, audit_rows=audit_rows)
    except DamagedError as error:
        log.error("%s", error)
        why = str(error)
    aside = path.with_name(path.name + ".damaged")
    files.unlink(aside)
    files.rename(path, aside)
    critical = Critical.open(path, clock=clock, audit_rows=audit_rows)
    saved = _carry(aside, critical, epoch_seconds(clock.now()))
    critical.alarm("critical-file-damaged", aside.name, f"{why}; carried over: {saved}")
    critical.settle()
    return critical


def _carry(source: Path, critical: Critical, now: int) -> str:
    """Copy what can be read; return what that was, in words."""
    try:
        old = files.connect(source, mode="rw")
    except sqlite3.Error:
        old = sqlite3.connect(":memory:")
    try:
        tables = {table: _rows(old, table, columns) for table, columns in _TABLES.items()}
        counters, _ = _rows(old, "counters", "meter, next")
    finally:
        old.close()
    ours = all(tables[table][1] for table in ("meters", "profiles", "layouts", "meter_layouts"))

    def insert(db: sqlite3.Connection) -> None:
        for table, (rows, _) in tables.items():
            kept = [row for row in rows if table != "state" or row[0] != "store.id" or ours]
            marks = ",".join("?" * (_TABLES[table].count(",") + 1))
            db.executemany(f"INSERT OR REPLACE INTO {table} ({_TABLES[table]}) VALUES ({marks})", kept)  # noqa: S608
        db.executemany("INSERT OR IGNORE INTO counters VALUES (?, ?, 0)", counters)
        for table in ("outbox", "audit"):  # a sequence never begins again: seconds since 1970 are above any
            db.execute("DELETE FROM sqlite_sequence WHERE name = ?", (table,))
            db.execute("INSERT INTO sqlite_sequence VALUES (?, ?)", (table, now))

    critical.write(insert)
    critical.reload()
    counts = ", ".join(f"{len(rows)} {table}" for table, (rows, _) in tables.items() if table != "state")
    return counts + ("" if ours else "; the day files are no longer ours")


def _rows(old: sqlite3.Connection, table: str, columns: str) -> tuple[list[tuple[Any, ...]], bool]:
    """Return the rows that can be read from either end, and whether they are all."""
    found: dict[tuple[Any, ...], None] = {}
    first = columns.partition(",")[0]
    for order in ("ASC", "DESC"):
        try:
            for row in old.execute(f"SELECT {columns} FROM {table} ORDER BY {first} {order}"):  # noqa: S608
                found[row] = None
        except (sqlite3.Error, OverflowError, UnicodeDecodeError):
            continue
        return list(found), True
    return list(found), False
