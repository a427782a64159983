"""The outbox's rows: bounded by bytes for each kind, so that what meters say unasked never eats the readings' disk.

Where a kind is full its least urgent, oldest items go, an eighth of its room at a time; that is told and counted.
"""

import logging
import sqlite3
from dataclasses import dataclass

from dcu.model import Priority

_ROW = 64  # bytes that a row costs beside its payload, at least
_EIGHTH = 8
_TIGHT = 4  # on a full disk a kind has a fourth of its room,
_STEP = 32 << 10  # bytes, and comes down to it step by step: what is deleted goes through the write-ahead log
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Dropped:
    """What gave way in one kind."""

    kind: str
    items: int
    size: int

    @property
    def text(self) -> str:
        return f"{self.items} unacknowledged items of kind {self.kind} gave way, {self.size} bytes: is the head-end up?"


@dataclass(slots=True)
class Outbox:
    """Inserts, and sees to the bound. `forget` after whatever else changes the table, and after a rollback."""

    limit: int  # bytes of a kind
    tight: bool = False  # the disk is full
    dropped: int = 0
    _sizes: dict[str, int] | None = None

    def forget(self) -> None:
        self._sizes = None

    def insert(
        self, db: sqlite3.Connection, now: int, kind: str, payload: bytes, priority: Priority, meter: str | None
    ) -> tuple[int, Dropped | None]:
        """Return the item's seq, and what had to go for it."""
        if self._sizes is None:
            query = "SELECT kind, sum(length(payload) + ?) FROM outbox GROUP BY kind"
            self._sizes = {name: int(size) for name, size in db.execute(query, (_ROW,))}
        cursor = db.execute(
            "INSERT INTO outbox (at, kind, priority, meter, payload) VALUES (?,?,?,?,?)",
            (now, kind, int(priority), meter, payload),
        )
        self._sizes[kind] = self._sizes.get(kind, 0) + len(payload) + _ROW
        dropped = None
        if self.tight and self._sizes[kind] > self.limit // _TIGHT:
            dropped = self._drop(db, kind, self._sizes[kind] - len(payload) - _ROW - _STEP)
        elif self._sizes[kind] > self.limit:
            dropped = self._drop(db, kind, self.limit - self.limit // _EIGHTH)
        return cursor.lastrowid or 0, dropped

    def _drop(self, db: sqlite3.Connection, kind: str, down_to: int) -> Dropped:
        assert self._sizes is not None
        before, gone = self._sizes[kind], []
        query = "SELECT seq, length(payload) FROM outbox WHERE kind = ? ORDER BY priority DESC, seq"
        for seq, size in db.execute(query, (kind,)):
            if self._sizes[kind] <= down_to:
                break
            gone.append((seq,))
            self._sizes[kind] -= size + _ROW
        db.executemany("DELETE FROM outbox WHERE seq = ?", gone)
        self.dropped += len(gone)
        return Dropped(kind, len(gone), before - self._sizes[kind])
