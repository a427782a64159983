"""The critical file: what cannot be collected again. Every call is durable when it returns (WAL, synchronous = FULL).

Meters, layouts, invocation counters, receive floors, the outbox, the audit log and small state. Where the disk is full,
a write asks `on_full` to make room and tries again: alarms commit while there is anything left that may go.
"""

import contextlib
import logging
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from dcu.clock import Clock, SystemClock, epoch_seconds
from dcu.errors import StoreError
from dcu.model import Column, Obis, Priority
from dcu.store import counters, entries, files
from dcu.store.auditing import Auditing
from dcu.store.opening import open_file
from dcu.store.outbox import Outbox
from dcu.store.records import AuditEntry, MeterRecord, MeterState, OutboxItem, Settings

R = TypeVar("R")
log = logging.getLogger(__name__)


class Critical:
    """The critical file, opened by its one writer. `on_full(attempt)` makes room, and says whether it did."""

    def __init__(self, path: Path, lock: files.Lock, connection: sqlite3.Connection, clock: Clock, settings: Settings):
        self.path = path
        self.on_full: Callable[[int], bool] = lambda attempt: False
        self.gate = files.Gate()
        self._lock = lock
        self._db = connection
        self._clock = clock
        self._auditing = Auditing(settings.audit_rows)
        self._outbox = Outbox(settings.outbox_bytes)
        self._alarms: dict[tuple[str, str], str] = {}  # of the store itself: they go with the next commit
        self._ids: dict[str, int] = {}
        self._profiles: dict[bytes, int] = {}
        self.reload()

    @staticmethod
    def lock(path: Path) -> files.Lock:
        """Become the one writer of `path`. Raises StoreError."""
        try:
            files.make_directory(path.parent)
            return files.Lock(files.lock_path(path))
        except OSError as error:
            raise StoreError(f"{path.parent}: cannot be written: {error.strerror}") from None

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        clock: Clock | None = None,
        settings: Settings | None = None,
        lock: files.Lock | None = None,
    ) -> "Critical":
        """Open or create `path`; `lock`: where the caller holds it already. Raises StoreError."""
        held = lock or cls.lock(path)
        try:
            return cls(path, held, open_file(path), clock or SystemClock(), settings or Settings())
        except BaseException:
            if lock is None:
                held.release()
            raise

    def checkpoint(self) -> None:
        """Bring everything into the one file, durably. Raises StoreError."""
        try:
            busy, _, _ = self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except sqlite3.Error as error:
            if files.is_full(error, self.path.parent):
                raise files.FullError(f"{self.path}: the disk is full: make room") from None
            raise StoreError(f"{self.path}: {error}") from None
        if busy:
            raise StoreError(f"{self.path}: in use by another process")

    def close(self) -> None:
        with contextlib.suppress(StoreError):  # what could not be kept was logged
            self.settle()
        if not self.gate.shut:  # closing the last connection copies the write-ahead log back: that is writing
            self._db.close()
        self._lock.release()

    def reload(self) -> None:
        """Fetch the names and numbers that are kept in RAM."""
        self._ids = dict(self._read("SELECT name, id FROM meters"))
        self._profiles = dict(self._read("SELECT obis, id FROM profiles"))

    def write(self, work: Callable[[sqlite3.Connection], R]) -> R:
        """Run `work` in a transaction, durable when this returns; it runs again after room was made."""
        attempt = 0
        while True:
            try:
                with files.transaction(self._db, self.gate):
                    for (kind, subject), text in self._alarms.items():
                        self._insert_alarm(kind, subject, text)
                    result = work(self._db)
                self._alarms.clear()
                return result
            except BaseException as error:
                self._outbox.forget()
                if not isinstance(error, sqlite3.Error):
                    raise
                full = files.is_full(error, self.path.parent)
                if full and not self._outbox.tight:
                    self._outbox.tight = True  # first of all the outbox takes less
                    continue
                if full and self.on_full(attempt):
                    attempt += 1
                    continue
                if full:
                    raise files.FullError(f"{self.path}: the disk is full and nothing is left that may go") from None
                raise StoreError(f"{self.path}: {error}") from None

    def _read(self, query: str, *parameters: object) -> list[Any]:
        try:
            return self._db.execute(query, parameters).fetchall()
        except sqlite3.Error as error:
            raise StoreError(f"{self.path}: {error}: run `dcu store check`") from None

    def _now(self) -> int:
        return epoch_seconds(self._clock.now())

    def relax(self) -> None:
        """The disk is no longer full: the outbox has all its room again."""
        self._outbox.tight = False

    @property
    def outbox_dropped(self) -> int:
        """Unacknowledged items that gave way since the start."""
        return self._outbox.dropped

    @property
    def highest_meter(self) -> int:
        return max(self._ids.values(), default=0)

    @property
    def store_id(self) -> int:
        """Random, kept for the life of this file: what ties day files to it."""
        value = self.recall("store.id")
        if value is None:
            raise StoreError(f"{self.path}: has no store id: run `dcu store check`")
        return int.from_bytes(value, "big")

    # Meters and layouts

    def add_meter(self, name: str, address: str, profile: str, system_title: bytes) -> MeterRecord:
        return self.add_meters([(name, address, profile, system_title)])[0]

    def add_meters(self, meters: Iterable[tuple[str, str, str, bytes]]) -> list[MeterRecord]:
        """Register, or change what is registered, in one commit; ids and states stay."""
        wanted = list(meters)
        rows = [(*meter, MeterState.OK, "", self._now()) for meter in wanted]
        if any(not name or len(name) > 64 for name, *_ in wanted):
            raise ValueError("a meter's name has 1 to 64 characters")

        def insert(db: sqlite3.Connection) -> None:
            db.executemany(
                "INSERT INTO meters (name, address, profile, system_title, state, reason, since) VALUES (?,?,?,?,?,?,?)"
                " ON CONFLICT (name) DO UPDATE SET address = excluded.address, profile = excluded.profile,"
                " system_title = excluded.system_title",
                rows,
            )

        self.write(insert)
        self.reload()
        records = {record.name: record for record in self.meters()}
        return [records[name] for name, *_ in wanted]

    def meters(self) -> list[MeterRecord]:
        """Return every registered meter in order of its id."""
        return [entries.meter(row) for row in self._read(entries.METERS + " ORDER BY id")]

    def meter(self, name: str) -> MeterRecord:
        rows = self._read(entries.METERS + " WHERE name = ?", name)
        if not rows:
            raise StoreError(f"meter {name!r} is not registered: import it, or see `dcu meters`")
        return entries.meter(rows[0])

    def meter_id(self, name: str) -> int:
        return self._ids.get(name) or self.meter(name).id

    def quarantine(self, name: str, reason: str) -> None:
        self._set_state(name, MeterState.QUARANTINED, reason)

    def release(self, name: str) -> None:
        self._set_state(name, MeterState.OK, "")

    def _set_state(self, name: str, state: MeterState, reason: str) -> None:
        row = (state, reason, self._now(), self.meter_id(name))
        self.write(lambda db: db.execute("UPDATE meters SET state = ?, reason = ?, since = ? WHERE id = ?", row))

    def profile_id(self, profile: Obis) -> int:
        """Return the number under which rows of a load profile are kept."""
        if profile.raw not in self._profiles:
            self.write(lambda db: db.execute("INSERT OR IGNORE INTO profiles (obis) VALUES (?)", (profile.raw,)))
            self.reload()
        return self._profiles[profile.raw]

    def set_layout(self, meter: str, profile: Obis, columns: Sequence[Column], since: int | None = None) -> None:
        """Nothing is written where the layout is the one in force. The first one also holds for older rows."""
        current = self.layout(meter, profile)
        if current == tuple(columns):
            return
        moment = self._now() if since is None else since
        number, load = self.meter_id(meter), self.profile_id(profile)
        raw = entries.packed(columns)

        def insert(db: sqlite3.Connection) -> None:
            db.execute("INSERT OR IGNORE INTO layouts (columns) VALUES (?)", (raw,))
            db.execute(
                "INSERT OR REPLACE INTO meter_layouts SELECT ?, ?, ?, id FROM layouts WHERE columns = ?",
                (number, load, moment if current is not None else 0, raw),
            )

        self.write(insert)

    def layout(self, meter: str, profile: Obis, at: int | None = None) -> tuple[Column, ...] | None:
        rows = self._read(
            "SELECT columns FROM meter_layouts JOIN layouts ON layouts.id = layout"
            " WHERE meter = ? AND profile = ? AND since <= ? ORDER BY since DESC LIMIT 1",
            self.meter_id(meter),
            self._profiles.get(profile.raw, 0),
            at if at is not None else 1 << 62,
        )
        return entries.columns(rows[0][0]) if rows else None

    def profiles(self, meter: str) -> list[Obis]:
        rows = self._read(
            "SELECT DISTINCT obis FROM meter_layouts JOIN profiles ON id = meter_layouts.profile WHERE meter = ?"
            " ORDER BY obis",
            self.meter_id(meter),
        )
        return [Obis(bytes(obis)) for (obis,) in rows]

    # Counters (counters.py says what `key` is)

    def counter(self, meter: str, key: bytes = b"") -> int | None:
        """Return the next counter that was never reserved; None: not known, so nothing may be ciphered yet."""
        return counters.current(self._read(counters.QUERY, counters.identity(meter, key)))

    def raise_counter(self, meter: str, floor: int, key: bytes = b"") -> int:
        """Go on at `floor` at least; return the next counter."""
        if not 0 <= floor <= counters.END:
            raise ValueError(f"an invocation counter has 32 bits, {floor} does not fit")
        known = self.counter(meter, key)
        if known is not None and known >= floor:
            return known
        return self.write(lambda db: counters.raise_to(db, meter, key, floor))

    def learn_counter(self, meter: str, last_used: int, margin: int = 0, key: bytes = b"") -> int:
        """Go on above what the meter says was used; return the next counter. Raises StoreError: there is none.

        margin: what may have been sent and never heard, for where no counter is known; known ones need none.
        """
        return self.write(lambda db: counters.learn(db, meter, key, last_used, margin))

    def doubt_counters(self, why: str) -> int:
        """This file is older than what was sent: every counter is read from its meter first. Return how many."""

        def doubt(db: sqlite3.Connection) -> int:
            changed = db.execute("UPDATE counters SET known = 0 WHERE known").rowcount
            self._insert_alarm("counters-unknown", self.path.name, f"{changed} to be read from their meters: {why}")
            return changed

        log.error("%s: the counters are read from the meters anew: %s", self.path, why)
        return self.write(doubt)

    def reserve_counters(self, meter: str, count: int, key: bytes = b"") -> range:
        """Take `count` counters for good: whatever happens later, nobody is given them again."""
        (result,) = self.reserve_each([(meter, count, key)])
        if isinstance(result, BaseException):
            raise result
        return result

    def reserve_each(self, wanted: Sequence[tuple[str, int, bytes]]) -> list[range | BaseException]:
        """Reserve for many meters in one commit; what cannot be had stands as its error in the list."""

        def reserve(db: sqlite3.Connection) -> list[range | BaseException]:
            return [counters.reserve(db, *what) for what in wanted]

        return self.write(reserve)

    def receive_floor(self, meter: str, key: bytes = b"") -> int:
        """Return the highest counter of an accepted push, -1 where there was none."""
        rows = self._read("SELECT floor FROM floors WHERE key = ?", counters.identity(meter, key))
        return int(rows[0][0]) if rows else -1

    def accept_push(
        self,
        meter: str,
        counter: int,
        payload: bytes,
        kind: str = "push",
        priority: Priority = Priority.ALARM,
        key: bytes = b"",
    ) -> int:
        """Raise the receive floor and put the outbox row in one transaction; return seq. Raises CounterReplayed."""

        def accept(db: sqlite3.Connection) -> int:
            counters.accept(db, meter, key, counter)
            return self._insert(kind, payload, priority, meter)

        return self.write(accept)

    # Outbox, audit, state

    def put(self, kind: str, payload: bytes, priority: Priority = Priority.ALARM, meter: str | None = None) -> int:
        return self.write(lambda db: self._insert(kind, payload, priority, meter))

    def _insert(self, kind: str, payload: bytes, priority: Priority, meter: str | None) -> int:
        seq, dropped = self._outbox.insert(self._db, self._now(), kind, payload, priority, meter)
        if dropped:
            log.error("outbox-full: %s", dropped.text)
            if kind == "alarm":  # not one more of them
                self._insert_audit("store", "outbox-full", kind, dropped.text)
            else:
                self._insert_alarm("outbox-full", kind, dropped.text)
        return seq

    def pending(self, limit: int = 100, kind: str | None = None) -> list[OutboxItem]:
        rows = self._read(
            "SELECT seq, at, kind, priority, meter, payload FROM outbox WHERE ?1 IS NULL OR kind = ?1"
            " ORDER BY priority, seq LIMIT ?2",
            kind,
            limit,
        )
        return [entries.item(row) for row in rows]

    def ack(self, seqs: Iterable[int]) -> int:
        gone = [(seq,) for seq in seqs]
        self._outbox.forget()
        return self.write(lambda db: db.executemany("DELETE FROM outbox WHERE seq = ?", gone).rowcount) if gone else 0

    def alarm(self, kind: str, subject: str, text: str) -> None:
        """Say something of the store itself, loudly: the log now, outbox and audit with the next commit (`settle`)."""
        log.error("%s: %s: %s", kind, subject, text)
        if (kind, subject) not in self._alarms:
            self._alarms[kind, subject] = text

    def settle(self) -> None:
        """Commit the store's own alarms now, if there are any."""
        if self._alarms:
            self.write(lambda db: None)

    def _insert_alarm(self, kind: str, subject: str, text: str) -> None:
        payload = msgspec.json.encode({"event": kind, "subject": subject, "text": text})
        self._insert("alarm", payload, Priority.ALARM, None)
        self._insert_audit("store", kind, subject, text)

    def audit(self, actor: str, action: str, subject: str = "", detail: str = "") -> int:
        return self.write(lambda db: self._insert_audit(actor, action, subject, detail))

    def _insert_audit(self, actor: str, action: str, subject: str, detail: str) -> int:
        return self._auditing.insert(self._db, self._now(), (actor, action, subject, detail))

    def audit_log(self, limit: int = 100, before: int | None = None) -> list[AuditEntry]:
        rows = self._read(
            "SELECT seq, at, actor, action, subject, detail, count, max(at, last) FROM audit WHERE seq < ?"
            " ORDER BY seq DESC LIMIT ?",
            before if before is not None else 1 << 62,
            limit,
        )
        return [AuditEntry(*row) for row in rows]

    def remember(self, key: str, value: bytes) -> None:
        self.remember_all({key: value})

    def remember_all(self, values: Mapping[str, bytes]) -> None:
        rows = list(values.items())
        self.write(lambda db: db.executemany("INSERT OR REPLACE INTO state VALUES (?, ?)", rows))

    def recall(self, key: str) -> bytes | None:
        rows = self._read("SELECT value FROM state WHERE key = ?", key)
        return bytes(rows[0][0]) if rows else None

    def recall_all(self, prefix: str) -> dict[str, bytes]:
        """What is remembered under keys that begin so."""
        rows = self._read("SELECT key, value FROM state WHERE substr(key, 1, length(?1)) = ?1 ORDER BY key", prefix)
        return {key: bytes(value) for key, value in rows}
