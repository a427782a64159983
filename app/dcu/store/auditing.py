"""The audit log's rows: three classes, each with its own room, so that none washes out what weighs more.

Deeds are what somebody did to a meter or to the keys. Chatter is what the collector says by itself, and what a meter
or an attacker can cause as often as they like: an equal entry within an hour is counted in the first one's row.
"""

import sqlite3
from collections import OrderedDict
from dataclasses import dataclass, field
from enum import IntEnum

ROTATE_EVERY = 64  # entries between two rotations
SAME = 3600  # seconds in which an equal entry is the same one
_REMEMBERED = 1000  # recent entries of chatter


class Class(IntEnum):
    DEED = 0  # commands, imports, and whatever is not known to be less
    UPKEEP = 1  # the store's own alarms, and what operators do about them
    CHATTER = 2


_CHATTER = {"security", "counter", "clock"}
_UPKEEP = {"release"}
_SHARE = {Class.DEED: 1, Class.UPKEEP: 4, Class.CHATTER: 4}  # deeds keep all of `audit_rows`, the others a fourth each


def classify(actor: str, action: str) -> Class:
    if actor == "collector" and action in _CHATTER:
        return Class.CHATTER
    return Class.UPKEEP if actor == "store" or action in _UPKEEP else Class.DEED


Entry = tuple[str, str, str, str]  # actor, action, subject, detail


@dataclass(slots=True)
class Auditing:
    """Inserts and rotates. What it remembers of chatter is checked against the row: that may have been rolled back."""

    rows: int
    _recent: OrderedDict[Entry, tuple[int, int]] = field(default_factory=OrderedDict)  # seq, first at

    def insert(self, db: sqlite3.Connection, now: int, entry: Entry) -> int:
        kind = classify(entry[0], entry[1])
        if kind is Class.CHATTER and (seq := self._again(db, now, entry)):
            return seq
        cursor = db.execute(
            "INSERT INTO audit (at, actor, action, subject, detail, class, last) VALUES (?,?,?,?,?,?,?)",
            (now, *entry, kind, now),
        )
        seq = cursor.lastrowid or 0
        if kind is Class.CHATTER:
            self._recent[entry] = seq, now
            while len(self._recent) > _REMEMBERED:
                self._recent.popitem(last=False)
        if seq % ROTATE_EVERY == 0:
            self._rotate(db)
        return seq

    def _again(self, db: sqlite3.Connection, now: int, entry: Entry) -> int:
        """Count an equal entry in the row of the first one; return its seq, 0 where there is none."""
        seq, since = self._recent.get(entry, (0, 0))
        if not seq or not 0 <= now - since < SAME:
            self._recent.pop(entry, None)
            return 0
        same = "seq = ? AND actor = ? AND action = ? AND subject = ? AND detail = ?"
        changed = db.execute(f"UPDATE audit SET count = count + 1, last = ? WHERE {same}", (now, seq, *entry))  # noqa: S608
        return seq if changed.rowcount else 0

    def _rotate(self, db: sqlite3.Connection) -> None:
        for kind, share in _SHARE.items():
            db.execute(
                "DELETE FROM audit WHERE class = ?1 AND seq <="
                " (SELECT seq FROM audit WHERE class = ?1 ORDER BY seq DESC LIMIT 1 OFFSET ?2)",
                (kind, max(self.rows // share, 1)),
            )
