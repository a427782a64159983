"""Starts the store although its critical file is damaged: what can be read of it is carried into a new one.

The new file is built beside the damaged one, committed and synced, and only then takes its name: whatever interrupts a
salvage, the next start finds either the damaged file or all that was saved of it. Rows are carried one by one, and what
is lost is told.

Counters come over as lower bounds only: every meter's counter is read before anything is ciphered again (design
decision 6). Day files stay ours only where the meters and profiles could all be read; else their numbers mean nothing.
"""

import contextlib
import logging
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dcu.clock import Clock, epoch_seconds
from dcu.store import files, schema
from dcu.store.critical import Critical
from dcu.store.opening import DamagedError
from dcu.store.records import Settings

READY = ".salvaged"  # the whole new file, waiting for its name
_FRESH = ".new"
ASIDE = ".damaged"
_SEQUENCES = ("outbox", "audit")  # begin again at the seconds since 1970, which is above any number given before
_KEPT_SEQUENCES = ("meters", "profiles")  # numbers that rows carry: never given to another, also not a lost row's
log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Carried:
    """What became of one table."""

    rows: int = 0
    dropped: int = 0  # rows that could be read and not be kept
    whole: bool = True  # whether the table could be read to its end


def open_critical(path: Path, *, clock: Clock, settings: Settings) -> Critical:
    """Open or create the critical file; a damaged one is set aside and salvaged. Raises StoreError."""
    lock = Critical.lock(path)
    try:
        _swap(path)  # where the power went between the end of a salvage and its renames
        try:
            return Critical.open(path, clock=clock, settings=settings, lock=lock)
        except DamagedError as error:
            log.error("%s", error)
            _build(path, str(error), clock, settings)
        _swap(path)
        return Critical.open(path, clock=clock, settings=settings, lock=lock)
    except BaseException:
        lock.release()
        raise


def _build(path: Path, why: str, clock: Clock, settings: Settings) -> None:
    """Make the new file, whole and durable, under the name that `_swap` looks for."""
    fresh = path.with_name(path.name + _FRESH)
    files.unlink(fresh)
    critical = Critical.open(fresh, clock=clock, settings=settings)
    try:
        saved = _carry(path, critical, epoch_seconds(clock.now()))
        critical.alarm("critical-file-damaged", path.name + ASIDE, f"{why}; carried over: {saved}")
        critical.settle()
        critical.checkpoint()
    finally:
        critical.close()
        files.lock_path(fresh).unlink(missing_ok=True)
    files.rename(fresh, path.with_name(path.name + READY))


def _swap(path: Path) -> None:
    """Give the new file its name, the damaged one having gone aside: every step can be the last one before a crash."""
    ready = path.with_name(path.name + READY)
    if not ready.exists():
        return
    aside = path.with_name(path.name + ASIDE)
    if path.exists():
        files.unlink(aside)
        files.rename(path, aside)
    files.unlink(path)  # of a rename that was cut short: a log left behind would be taken for the new file's
    files.rename(ready, path)


def _carry(source: Path, critical: Critical, now: int) -> str:
    """Copy what can be read; return what that was, in words."""

    def copy(db: sqlite3.Connection) -> dict[str, _Carried]:
        with contextlib.closing(_opened(source)) as old:
            return _copied(old, db, now)

    tables = critical.write(copy)
    ours = tables["meters"].whole and tables["profiles"].whole
    texts = [f"{table.rows} {name}" for name, table in tables.items() if name != "state"]
    texts += [f"{table.dropped} damaged rows of {name} dropped" for name, table in tables.items() if table.dropped]
    texts += [f"{name} not read to the end" for name, table in tables.items() if not table.whole]
    return ", ".join(texts) + ("" if ours else "; the day files are no longer ours")


def _opened(source: Path) -> sqlite3.Connection:
    try:
        old = files.connect(source, mode="rw")
    except sqlite3.Error:
        old = sqlite3.connect(":memory:")
    old.text_factory = lambda raw: raw.decode("utf-8", "surrogateescape")  # refused row by row, where it is inserted
    return old


def _copied(old: sqlite3.Connection, db: sqlite3.Connection, now: int) -> dict[str, _Carried]:
    tables = {table: _table(old, db, table, columns) for table, columns in schema.COLUMNS.items()}
    if tables["meters"].whole and tables["profiles"].whole:
        _table(old, db, "state", "key, value", "WHERE key = 'store.id'", "REPLACE")
    db.execute("UPDATE counters SET known = 0")
    tables["meter_layouts"].dropped += db.execute(
        "DELETE FROM meter_layouts WHERE meter NOT IN (SELECT id FROM meters)"
        " OR profile NOT IN (SELECT id FROM profiles) OR layout NOT IN (SELECT id FROM layouts)"
    ).rowcount
    before = {name: number for name, number in _rows(old, "sqlite_sequence", "name, seq") if type(number) is int}
    for table in _KEPT_SEQUENCES:
        _sequence(db, table, min(before.get(table, 0), 1 << 31))
    for table in _SEQUENCES:
        _sequence(db, table, now)
    return tables


def _table(
    old: sqlite3.Connection, db: sqlite3.Connection, table: str, columns: str, only: str = "", otherwise: str = "IGNORE"
) -> _Carried:
    """Copy a table row by row, from its end where it cannot be read from its beginning."""
    result, marks = _Carried(), ",".join("?" * (columns.count(",") + 1))
    insert = f"INSERT OR {otherwise} INTO {table} ({columns}) VALUES ({marks})"  # noqa: S608
    seen: set[Any] = set()
    for order in ("", "DESC"):
        rows = _Rows(old, table, columns, only, order)
        for row in rows:
            key = row[: schema.KEYS.get(table, 1)]
            if key in seen:
                if order:
                    break  # where the other direction came to
                continue
            seen.add(key)
            kept = _inserted(db, insert, row)
            result.rows += kept
            result.dropped += not kept and not (table == "state" and key == ("store.id",))
        if rows.whole:
            return result
    result.whole = False
    return result


def _inserted(db: sqlite3.Connection, insert: str, row: tuple[Any, ...]) -> bool:
    try:
        return db.execute(insert, row).rowcount == 1
    except (sqlite3.IntegrityError, sqlite3.DataError, sqlite3.InterfaceError, UnicodeEncodeError, OverflowError):
        return False


def _rows(old: sqlite3.Connection, table: str, columns: str) -> "_Rows":
    return _Rows(old, table, columns, "", "")


class _Rows:
    """The rows of a table as far as they can be read; then `whole` says whether that is all of them."""

    def __init__(self, old: sqlite3.Connection, table: str, columns: str, only: str, order: str) -> None:
        keys = ", ".join(f"{key} {order}" for key in columns.split(", ")[: schema.KEYS.get(table, 1)])
        self._query = f"SELECT {columns} FROM {table} {only} ORDER BY {keys}"  # noqa: S608
        self._old = old
        self.whole = False

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        try:
            yield from self._old.execute(self._query)
            self.whole = True
        except (sqlite3.Error, OverflowError) as error:
            log.error("salvage: %s: %s", self._query, error)


def _sequence(db: sqlite3.Connection, table: str, least: int) -> None:
    changed = db.execute("UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = ?", (least, table))
    if not changed.rowcount:
        db.execute("INSERT INTO sqlite_sequence VALUES (?, ?)", (table, least))
