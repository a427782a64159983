"""Invocation counters and receive floors: rows that only ever grow (design decision 6). Each function is one step of a
transaction of the critical file.

A nonce is a key, a system title and a counter, so a row belongs to what `MeterKeys.fingerprint` names, whichever meter
holds it: new keys start anew, and keys that come back, also under another name, go on where they were. Without a
fingerprint the meter's name stands for its key.
"""

import sqlite3
from collections.abc import Sequence
from typing import Any

from dcu.errors import CounterReplayed, StoreError

END = 1 << 32  # an invocation counter has 32 bits


def identity(meter: str, key: bytes) -> bytes:
    return b"k" + key if key else b"n" + meter.encode("utf-8", "surrogatepass")


def current(rows: Sequence[Any]) -> int | None:
    """Of rows (next, known): the next counter, None where it is not known."""
    return int(rows[0][0]) if rows and rows[0][1] else None


QUERY = "SELECT next, known FROM counters WHERE key = ?"


def raise_to(db: sqlite3.Connection, meter: str, key: bytes, floor: int) -> int:
    """Go on at `floor` or above what is kept; return where. The counter is known from now on."""
    if not 0 <= floor <= END:
        raise ValueError(f"an invocation counter has 32 bits, {floor} does not fit")
    db.execute(
        "INSERT INTO counters (key, meter, next, known) VALUES (?, ?, ?, 1) ON CONFLICT (key) DO UPDATE"
        " SET next = max(next, excluded.next), known = 1, meter = excluded.meter",
        (identity(meter, key), meter, floor),
    )
    return int(db.execute(QUERY, (identity(meter, key),)).fetchone()[0])


def learn(db: sqlite3.Connection, meter: str, key: bytes, last_used: int, margin: int) -> int:
    """Go on above what the meter says was used; return where. Raises StoreError: no counter is left."""
    row = db.execute(QUERY, (identity(meter, key),)).fetchone() or (0, 0)
    floor = max(int(row[0]), last_used + 1) + (0 if row[1] else margin)
    if floor > END:
        raise StoreError(f"the invocation counters of {meter} are used up: change its keys")
    return raise_to(db, meter, key, floor)


def reserve(db: sqlite3.Connection, meter: str, count: int, key: bytes) -> range | BaseException:
    if count < 1:
        return ValueError("at least one counter is reserved at a time")
    first = current(db.execute(QUERY, (identity(meter, key),)).fetchall())
    if first is None:
        return StoreError(f"no invocation counter is known of {meter}: read the meter's counter object first")
    if first + count > END:
        return StoreError(f"the invocation counters of {meter} are used up: change its keys")
    db.execute("UPDATE counters SET next = ? WHERE key = ?", (first + count, identity(meter, key)))
    return range(first, first + count)


def accept(db: sqlite3.Connection, meter: str, key: bytes, counter: int) -> None:
    """Raise the receive floor. Raises CounterReplayed."""
    row = db.execute("SELECT floor FROM floors WHERE key = ?", (identity(meter, key),)).fetchone()
    if row and counter <= row[0]:
        raise CounterReplayed(
            f"push of {meter}: counter {counter} is not above {row[0]}: a replay, or the meter was reset",
            int(row[0]),
            counter,
        )
    db.execute(
        "INSERT INTO floors (key, meter, floor) VALUES (?, ?, ?) ON CONFLICT (key) DO UPDATE"
        " SET floor = excluded.floor, meter = excluded.meter",
        (identity(meter, key), meter, counter),
    )
