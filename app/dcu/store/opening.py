"""Opens the critical file: its pragmas, its schema, and whether it is whole."""

import secrets
import sqlite3
from pathlib import Path

from dcu.durable import sync_directory
from dcu.errors import StoreError
from dcu.store import files, schema

_PAGE = 1024  # bytes: rows are small, and each commit writes whole pages (measured: 10 kB an alarm against 19)
_CACHE = 512  # kB: what is asked again and again is kept by its askers
_CHECKPOINT_PAGES = 256  # the write-ahead log stays about 256 kB: what a full disk must still hold


class DamagedError(StoreError):
    """The critical file is not readable as what it is."""


def open_file(path: Path) -> sqlite3.Connection:
    """Open or create. Raises DamagedError, files.FullError, StoreError."""
    connection = None
    fresh = not path.exists()
    try:
        connection = files.connect(path)
        found = schema.version(connection)
        schema.require(found, schema.CRITICAL_VERSION, str(path))
        connection.execute(f"PRAGMA page_size = {_PAGE}")
        connection.execute(f"PRAGMA cache_size = -{_CACHE}")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
        if not found:
            schema.create(connection, schema.CRITICAL, schema.CRITICAL_VERSION)
        connection.execute(
            "INSERT OR IGNORE INTO state VALUES ('store.id', ?)", ((secrets.randbits(30) + 1).to_bytes(4, "big"),)
        )
        verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if verdict != "ok":
            raise DamagedError(_damaged(path, verdict))
        if fresh:
            sync_directory(path.parent)
    except sqlite3.Error as error:
        if connection is not None:
            connection.close()
        if files.is_full(error, path.parent):
            raise files.FullError(f"{path}: the disk is full: make room") from None
        if files.is_damage(error):
            raise DamagedError(_damaged(path, str(error))) from None
        raise StoreError(f"{path}: cannot be opened: {error}") from None
    except StoreError:
        if connection is not None:
            connection.close()
        raise
    return connection


def _damaged(path: Path, why: str) -> str:
    return f"{path}: damaged ({why}): move it away; counters are then read from the meters, and readings collected anew"
