"""Day files: one SQLite file of readings for each UTC day, so that retention is an unlink.

A rollback journal, not a write-ahead log: rows are appended in bulk, new pages need no journal, and each is written
once (measured: 62 bytes of flash a reading against 98). A file that turns out damaged, foreign or too new is renamed,
never repaired: its readings are collected again.
"""

import contextlib
import logging
import re
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from dcu.durable import sync_directory
from dcu.errors import DecodeError, StoreError
from dcu.store import files, rows, schema
from dcu.store.buffer import Row
from dcu.store.rows import DAY

PAGE = 4096
_OPEN = 3  # connections kept: yesterday's stragglers, today, and one that is being read
_CACHE = 1024  # kB a connection
_EPOCH = date(1970, 1, 1)
_NAME = re.compile(r"readings-(\d{4}-\d{2}-\d{2})\.db")
_ASIDE = re.compile(r"readings-(\d{4}-\d{2}-\d{2})\.db\.damaged")
_DATED = "ts >= ? AND ts < ? AND typeof(ts) = 'integer'"  # what a damaged file may hold is no moment of its day
log = logging.getLogger(__name__)


def day_name(day: int) -> str:
    """The UTC date of a day's number (days since 1970)."""
    return (_EPOCH + timedelta(days=day)).isoformat()


def file_name(day: int) -> str:
    return f"readings-{day_name(day)}.db"


def day_of(name: str, pattern: re.Pattern[str] = _NAME) -> int | None:
    """The day of a file, None where the name is not a day file's."""
    match = pattern.fullmatch(name)
    try:
        return (date.fromisoformat(match[1]) - _EPOCH).days if match else None
    except ValueError:
        return None


class DayFiles:
    """The day files of a directory. `on_damage(day, why)` is told of each file that was set aside."""

    def __init__(
        self, directory: Path, store_id: int, on_damage: Callable[[int, str], None], gate: files.Gate | None = None
    ) -> None:
        self.directory = directory
        self._gate = gate or files.Gate()
        self._store_id = store_id
        self._on_damage = on_damage
        self._open: dict[int, sqlite3.Connection] = {}
        self._checked: set[int] = set()
        self._days = self._listed(_NAME)

    def _listed(self, pattern: re.Pattern[str]) -> set[int]:
        return {day for path in self.directory.iterdir() if (day := day_of(path.name, pattern)) is not None}

    def days(self) -> list[int]:
        return sorted(self._days)

    def aside(self) -> list[int]:
        """The days of which a damaged file is kept."""
        return sorted(self._listed(_ASIDE))

    def path(self, day: int) -> Path:
        return self.directory / file_name(day)

    def write(self, day: int, wanted: Sequence[Row]) -> None:
        """Commit rows of one day, sorted by key, in one transaction; what is there already costs no page.

        Raises files.FullError, files.FrozenError, StoreError.
        """
        self._gate.check()  # a new day's file would be laid out before the transaction
        for attempt in range(2):
            with self._guarded(day):
                connection = self._connection(day, create=True)
                assert connection is not None
                with files.transaction(connection, self._gate):
                    connection.executemany(
                        "INSERT INTO readings VALUES (?,?,?,?) ON CONFLICT (ts, meter, profile)"
                        " DO UPDATE SET row = excluded.row WHERE row IS NOT excluded.row",
                        ((ts, meter, load, rows.seal(ts, meter, load, row)) for ts, meter, load, row in wanted),
                    )
                return
            log.warning("%s: set aside while it was written (attempt %d)", file_name(day), attempt + 1)
        raise StoreError(f"{self.path(day)}: damaged again as soon as it was made: check the disk")

    def read(self, meter: int, profile: int, start: int, end: int) -> tuple[dict[int, bytes], list[int]]:
        """Return packed readings of [start, end) by timestamp, and the timestamps of those that are damaged."""
        found: dict[int, bytes] = {}
        damaged: list[int] = []
        for day in self.days():
            if start // DAY <= day <= (end - 1) // DAY:
                low, high = max(start, day * DAY), min(end, (day + 1) * DAY)
                query = f"SELECT ts, row FROM readings WHERE {_DATED} AND meter = ? AND profile = ?"  # noqa: S608
                for timestamp, sealed in self._query(day, query, low, high, meter, profile):
                    try:
                        found[timestamp] = rows.unseal(timestamp, meter, profile, sealed)
                    except DecodeError:
                        damaged.append(timestamp)
        return found, damaged

    def examine(self, day: int) -> list[tuple[Any, Any, Any]]:
        """Read a day's file to its end as if for the first time; return the keys of damaged rows.

        A file that is damaged as a whole is set aside.
        """
        self._close(day)
        damaged = []
        for key in self._query(day, "SELECT ts, meter, profile, row FROM readings"):
            try:
                rows.unpack(key[0], rows.unseal(*key))
            except DecodeError:
                damaged.append(key[:3])
        return damaged

    def keys(self, day: int, profile: int, highest: int) -> list[tuple[int, int]]:
        """Return (timestamp, meter) of every row of a day that is dated there and of a meter up to `highest`."""
        query = f"SELECT ts, meter FROM readings WHERE {_DATED} AND profile = ? AND meter BETWEEN 1 AND ?"  # noqa: S608
        query += " AND typeof(meter) = 'integer'"
        return self._query(day, query, day * DAY, (day + 1) * DAY, profile, highest)

    def remove(self, day: int, keys: Sequence[tuple[Any, Any, Any]]) -> None:
        """Delete single rows. Raises files.FullError, files.FrozenError, StoreError."""
        with self._guarded(day):
            if connection := self._connection(day, create=False):
                with files.transaction(connection, self._gate):
                    connection.executemany("DELETE FROM readings WHERE ts = ? AND meter = ? AND profile = ?", keys)

    def _query(self, day: int, query: str, *parameters: int) -> list[Any]:
        with self._guarded(day):
            connection = self._connection(day, create=False)
            return connection.execute(query, parameters).fetchall() if connection else []
        return []

    def drop(self, day: int) -> int:
        """Unlink a day's file; return the bytes it had."""
        self._gate.check()
        size = files.size(self.path(day))
        self._close(day)
        files.unlink(self.path(day))
        self._days.discard(day)
        return size

    def drop_aside(self, day: int) -> None:
        self._gate.check()
        files.unlink(self.path(day).with_name(file_name(day) + ".damaged"))

    def set_aside(self, day: int, why: str) -> None:
        """Rename a day's file out of the way and say so; an earlier one of that day gives way."""
        self._gate.check()
        self._close(day)
        target = self.path(day).with_name(file_name(day) + ".damaged")
        if self.path(day).exists():  # else it is aside already, and must not be unlinked there
            files.unlink(target)
            files.rename(self.path(day), target)
        self._days.discard(day)
        self._on_damage(day, why)

    def close(self) -> None:
        for day in list(self._open):
            self._close(day)

    def _close(self, day: int) -> None:
        self._checked.discard(day)
        if connection := self._open.pop(day, None):
            with contextlib.suppress(sqlite3.Error):
                connection.close()

    @contextlib.contextmanager
    def _guarded(self, day: int) -> Iterator[None]:
        """Set a damaged file aside and go on behind the `with`; raise files.FullError or StoreError for the rest."""
        try:
            yield
        except sqlite3.Error as error:
            if files.is_full(error, self.directory):
                raise files.FullError(f"{self.path(day)}: the disk is full") from None
            if not files.is_damage(error):
                raise StoreError(f"{self.path(day)}: {error}") from None
            self.set_aside(day, str(error))
        except _Unfit as unfit:
            self.set_aside(day, str(unfit))

    def _connection(self, day: int, *, create: bool) -> sqlite3.Connection | None:
        connection = self._open.pop(day, None)
        if connection is None:
            if not create and day not in self._days:
                return None
            connection = self._opened(day)
        self._open[day] = connection
        while len(self._open) > _OPEN:
            self._open.pop(next(iter(self._open))).close()
        return connection

    def _opened(self, day: int) -> sqlite3.Connection:
        connection = files.connect(self.path(day))
        connection.text_factory = bytes  # one bit makes a text of a blob; what it holds is judged by its seal
        try:
            connection.execute(f"PRAGMA cache_size = -{_CACHE}")
            connection.execute(f"PRAGMA page_size = {PAGE}")
            connection.execute("PRAGMA journal_mode = DELETE")
            # EXTRA syncs the directory after the journal is unlinked. With FULL a power cut can bring the journal back,
            # and the next start rolls back what was reported as committed (found by `make powercut`)
            connection.execute("PRAGMA synchronous = EXTRA")
            if not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                schema.create(connection, schema.DAY, schema.DAY_VERSION, self._store_id)
                sync_directory(self.directory)
            elif day not in self._checked:
                self._examine(connection)
        except BaseException:
            connection.close()
            raise
        self._days.add(day)
        self._checked.add(day)
        return connection

    def _examine(self, connection: sqlite3.Connection) -> None:
        if schema.application(connection) != self._store_id:
            raise _Unfit("it belongs to another store, whose meter numbers are not ours")
        if (found := schema.version(connection)) != schema.DAY_VERSION:
            age = "a newer" if found > schema.DAY_VERSION else "an older"
            raise _Unfit(f"written by {age} program (schema {found})")
        verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if verdict != b"ok":
            raise _Unfit(verdict.decode(errors="replace"))


class _Unfit(Exception):
    """A day file that SQLite can read and we must not use."""
