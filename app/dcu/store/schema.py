"""The tables of the critical file and of a day file, and the versions that this program can read.

`application_id` of a day file is the id of the store that wrote it: meter numbers mean nothing in another store.
"""

import sqlite3

from dcu.errors import StoreError
from dcu.store import files

CRITICAL_VERSION = 2
DAY_VERSION = 2

# Counters and floors belong to a key, whichever meter holds it (identity.py): they outlive a registration, and a key
# that comes back goes on where it was. `known` = 0: a lower bound only. The triggers hold what no code path may break:
# a nonce is never used twice.
CRITICAL = """
CREATE TABLE state (key TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE meters (
    id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, address TEXT NOT NULL, profile TEXT NOT NULL,
    system_title BLOB NOT NULL, state TEXT NOT NULL, reason TEXT NOT NULL, since INTEGER NOT NULL) STRICT;
CREATE TABLE profiles (
    id INTEGER PRIMARY KEY AUTOINCREMENT, obis BLOB NOT NULL UNIQUE CHECK (length(obis) = 6)) STRICT;
CREATE TABLE layouts (id INTEGER PRIMARY KEY, columns BLOB NOT NULL UNIQUE) STRICT;
CREATE TABLE meter_layouts (
    meter INTEGER NOT NULL, profile INTEGER NOT NULL, since INTEGER NOT NULL, layout INTEGER NOT NULL,
    PRIMARY KEY (meter, profile, since)) STRICT, WITHOUT ROWID;
CREATE TABLE counters (
    key BLOB PRIMARY KEY, meter TEXT NOT NULL, next INTEGER NOT NULL CHECK (next BETWEEN 0 AND 4294967296),
    known INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE floors (
    key BLOB PRIMARY KEY, meter TEXT NOT NULL, floor INTEGER NOT NULL CHECK (floor BETWEEN 0 AND 4294967295)
    ) STRICT, WITHOUT ROWID;
CREATE TABLE outbox (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, kind TEXT NOT NULL, priority INTEGER NOT NULL,
    meter TEXT, payload BLOB NOT NULL) STRICT;
CREATE TABLE audit (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, actor TEXT NOT NULL, action TEXT NOT NULL,
    subject TEXT NOT NULL, detail TEXT NOT NULL, class INTEGER NOT NULL DEFAULT 0, count INTEGER NOT NULL DEFAULT 1,
    last INTEGER NOT NULL DEFAULT 0) STRICT;
CREATE TRIGGER counters_only_grow BEFORE UPDATE ON counters WHEN NEW.next < OLD.next
    BEGIN SELECT RAISE(ABORT, 'an invocation counter never goes back'); END;
CREATE TRIGGER counters_stay BEFORE DELETE ON counters
    BEGIN SELECT RAISE(ABORT, 'an invocation counter is never forgotten'); END;
CREATE TRIGGER floors_only_grow BEFORE UPDATE ON floors WHEN NEW.floor <= OLD.floor
    BEGIN SELECT RAISE(ABORT, 'a receive floor never goes back'); END;
CREATE TRIGGER floors_stay BEFORE DELETE ON floors
    BEGIN SELECT RAISE(ABORT, 'a receive floor is never forgotten'); END;
"""
# What a salvage carries over, in this order.
COLUMNS = {
    "meters": "id, name, address, profile, system_title, state, reason, since",
    "profiles": "id, obis",
    "layouts": "id, columns",
    "meter_layouts": "meter, profile, since, layout",
    "counters": "key, meter, next, known",
    "floors": "key, meter, floor",
    "outbox": "seq, at, kind, priority, meter, payload",
    "audit": "seq, at, actor, action, subject, detail, class, count, last",
    "state": "key, value",
}
KEYS = {"meter_layouts": 3}  # columns of the primary key, where they are not one

# What stands in `row`: rows.seal. In order of time first: one wave of readings is one run of pages
# (measured: 86 B a reading against 8,399 by meter).
DAY = """
CREATE TABLE readings (
    ts INTEGER NOT NULL, meter INTEGER NOT NULL, profile INTEGER NOT NULL, row BLOB NOT NULL,
    PRIMARY KEY (ts, meter, profile)) WITHOUT ROWID;
"""


def version(connection: sqlite3.Connection) -> int:
    """Return the schema version of a file, 0 for an empty one."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def application(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA application_id").fetchone()[0])


def create(connection: sqlite3.Connection, tables: str, number: int, application_id: int = 0) -> None:
    """Lay out an empty file, in one transaction."""
    with files.transaction(connection):
        for statement in _statements(tables):
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {application_id:d}")
        connection.execute(f"PRAGMA user_version = {number:d}")


def _statements(tables: str) -> list[str]:
    found, pending = [], ""
    for line in tables.splitlines():
        pending += line + "\n"
        if sqlite3.complete_statement(pending):
            found.append(pending)
            pending = ""
    return [statement for statement in found if statement.strip()]


def require(found: int, known: int, name: str) -> None:
    """Raises StoreError for a file of another program; 0 is a file that is still empty."""
    if 0 < found < known:
        raise StoreError(
            f"{name}: written by an older program (schema {found}, this one reads {known}): "
            "move the store away and collect anew; counters are then read from the meters"
        )
    if found > known:
        raise StoreError(
            f"{name}: written by a newer program (schema {found}, this one reads up to {known}): "
            "install that version again, or move the store away and collect anew"
        )
