"""The critical file: what cannot be collected again. Every call is durable when it returns (WAL, synchronous = FULL).

Meters, layouts, invocation counters, receive floors, the outbox, the audit log and small state. Where the disk is full,
a write asks `on_full` to make room and tries again: alarms commit while there is anything left that may go.
"""

import contextlib
import logging
import secrets
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from dcu.clock import Clock, SystemClock, epoch_seconds
from dcu.errors import CounterReplayed, StoreError
from dcu.model import AttributeRef, Column, Obis, Priority
from dcu.store import files, schema
from dcu.store.records import AuditEntry, MeterRecord, MeterState, OutboxItem

R = TypeVar("R")
COUNTER_END = 1 << 32  # an invocation counter has 32 bits
_ROTATE_EVERY = 64  # audit entries between two rotations
_PAGE = 1024  # bytes: rows are small, and each commit writes whole pages (measured: 10 kB an alarm against 19)
_CHECKPOINT_PAGES = 256  # the write-ahead log stays about 256 kB: what a full disk must still hold
log = logging.getLogger(__name__)


class DamagedError(StoreError):
    """The critical file is not readable as what it is."""


class Critical:
    """The critical file, opened by its one writer. `on_full(attempt)` makes room, and says whether it did."""

    def __init__(self, path: Path, lock: files.Lock, connection: sqlite3.Connection, clock: Clock, audit_rows: int):
        self.path = path
        self.on_full: Callable[[int], bool] = lambda attempt: False
        self.gate = files.Gate()
        self._lock = lock
        self._db = connection
        self._clock = clock
        self._audit_rows = audit_rows
        self._alarms: dict[tuple[str, str], str] = {}  # of the store itself: they go with the next commit
        self._ids: dict[str, int] = {}
        self._profiles: dict[bytes, int] = {}
        self.reload()

    @classmethod
    def open(
        cls, path: Path, *, clock: Clock | None = None, audit_rows: int = 50_000, lock: files.Lock | None = None
    ) -> "Critical":
        """Open or create `path`; `lock`: where the caller holds it already. Raises StoreError."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            held = lock or files.Lock(path.with_name(path.name + ".lock"))
        except OSError as error:
            raise StoreError(f"{path.parent}: cannot be written: {error.strerror}") from None
        try:
            return cls(path, held, _open(path), clock or SystemClock(), audit_rows)
        except BaseException:
            if lock is None:
                held.release()
            raise

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
            except sqlite3.Error as error:
                full = files.is_full(error, self.path.parent)
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
        return [_meter(row) for row in self._read(_METERS + " ORDER BY id")]

    def meter(self, name: str) -> MeterRecord:
        rows = self._read(_METERS + " WHERE name = ?", name)
        if not rows:
            raise StoreError(f"meter {name!r} is not registered: import it, or see `dcu meters`")
        return _meter(rows[0])

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
        raw = msgspec.msgpack.encode(
            [(c.attribute.class_id, c.attribute.obis.raw, c.attribute.attribute, c.scaler, c.unit) for c in columns]
        )

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
        return _columns(rows[0][0]) if rows else None

    def profiles(self, meter: str) -> list[Obis]:
        rows = self._read(
            "SELECT DISTINCT obis FROM meter_layouts JOIN profiles ON id = meter_layouts.profile WHERE meter = ?"
            " ORDER BY obis",
            self.meter_id(meter),
        )
        return [Obis(bytes(obis)) for (obis,) in rows]

    # Counters

    def counter(self, meter: str) -> int | None:
        """Return the next counter that was never reserved; None: not known, so nothing may be ciphered yet."""
        rows = self._read("SELECT next FROM counters WHERE meter = ? AND known", meter)
        return int(rows[0][0]) if rows else None

    def raise_counter(self, meter: str, floor: int) -> int:
        """Set the next counter to max(persisted, `floor`), `floor` being the next one that the meter accepts."""
        if not 0 <= floor <= COUNTER_END:
            raise ValueError(f"an invocation counter has 32 bits: {floor} is outside")

        def update(db: sqlite3.Connection) -> int:
            db.execute(
                "INSERT INTO counters VALUES (?, ?, 1) ON CONFLICT (meter) DO UPDATE"
                " SET next = max(next, excluded.next), known = 1",
                (meter, floor),
            )
            return int(db.execute("SELECT next FROM counters WHERE meter = ?", (meter,)).fetchone()[0])

        known = self.counter(meter)
        return known if known is not None and known >= floor else self.write(update)

    def reserve_counters(self, meter: str, count: int) -> range:
        """Take `count` counters for good: whatever happens later, nobody is given them again."""
        (result,) = self.reserve_each([(meter, count)])
        if isinstance(result, BaseException):
            raise result
        return result

    def reserve_each(self, wanted: Sequence[tuple[str, int]]) -> list[range | BaseException]:
        """Reserve for many meters in one commit; what cannot be had stands as its error in the list."""

        def reserve(db: sqlite3.Connection) -> list[range | BaseException]:
            return [_reserve(db, meter, count) for meter, count in wanted]

        return self.write(reserve)

    def receive_floor(self, meter: str) -> int:
        """Return the highest counter of an accepted push, -1 where there was none."""
        rows = self._read("SELECT floor FROM floors WHERE meter = ?", meter)
        return int(rows[0][0]) if rows else -1

    def accept_push(
        self, meter: str, counter: int, payload: bytes, kind: str = "push", priority: Priority = Priority.ALARM
    ) -> int:
        """Raise the receive floor and put the outbox row in one transaction; return seq. Raises CounterReplayed."""

        def accept(db: sqlite3.Connection) -> int:
            row = db.execute("SELECT floor FROM floors WHERE meter = ?", (meter,)).fetchone()
            if row and counter <= row[0]:
                raise CounterReplayed(
                    f"push of {meter}: counter {counter} is not above {row[0]}: a replay, or the meter was reset",
                    int(row[0]),
                    counter,
                )
            db.execute(
                "INSERT INTO floors VALUES (?, ?) ON CONFLICT (meter) DO UPDATE SET floor = excluded.floor",
                (meter, counter),
            )
            return self._insert(kind, payload, priority, meter)

        return self.write(accept)

    # Outbox, audit, state

    def put(self, kind: str, payload: bytes, priority: Priority = Priority.ALARM, meter: str | None = None) -> int:
        return self.write(lambda db: self._insert(kind, payload, priority, meter))

    def _insert(self, kind: str, payload: bytes, priority: Priority, meter: str | None) -> int:
        row = (self._now(), kind, int(priority), meter, payload)
        cursor = self._db.execute("INSERT INTO outbox (at, kind, priority, meter, payload) VALUES (?,?,?,?,?)", row)
        return cursor.lastrowid or 0

    def pending(self, limit: int = 100, kind: str | None = None) -> list[OutboxItem]:
        rows = self._read(
            "SELECT seq, at, kind, priority, meter, payload FROM outbox WHERE ?1 IS NULL OR kind = ?1"
            " ORDER BY priority, seq LIMIT ?2",
            kind,
            limit,
        )
        return [replace(OutboxItem(*row), priority=Priority(row[3])) for row in rows]

    def ack(self, seqs: Iterable[int]) -> int:
        gone = [(seq,) for seq in seqs]
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
        row = (self._now(), actor, action, subject, detail)
        cursor = self._db.execute("INSERT INTO audit (at, actor, action, subject, detail) VALUES (?,?,?,?,?)", row)
        seq = cursor.lastrowid or 0
        if seq % _ROTATE_EVERY == 0:
            self._db.execute("DELETE FROM audit WHERE seq <= ?", (seq - self._audit_rows,))
        return seq

    def audit_log(self, limit: int = 100, before: int | None = None) -> list[AuditEntry]:
        rows = self._read(
            "SELECT seq, at, actor, action, subject, detail FROM audit WHERE seq < ? ORDER BY seq DESC LIMIT ?",
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


_METERS = "SELECT id, name, address, profile, system_title, state, reason, since FROM meters"


def _meter(row: Sequence[Any]) -> MeterRecord:
    return replace(MeterRecord(*row), state=MeterState(row[5]))


def _columns(raw: bytes) -> tuple[Column, ...]:
    rows = msgspec.msgpack.decode(raw, type=list[tuple[int, bytes, int, int, str]])
    return tuple(
        Column(AttributeRef(kind, Obis(obis), number), scaler, unit) for kind, obis, number, scaler, unit in rows
    )


def _reserve(db: sqlite3.Connection, meter: str, count: int) -> range | BaseException:
    if count < 1:
        return ValueError("at least one counter is reserved at a time")
    row = db.execute("SELECT next FROM counters WHERE meter = ? AND known", (meter,)).fetchone()
    if row is None:
        return StoreError(f"no invocation counter is known of {meter}: read the meter's counter object first")
    first = int(row[0])
    if first + count > COUNTER_END:
        return StoreError(f"the invocation counters of {meter} are used up: change its keys")
    db.execute("UPDATE counters SET next = ? WHERE meter = ?", (first + count, meter))
    return range(first, first + count)


def _open(path: Path) -> sqlite3.Connection:
    connection = None
    fresh = not path.exists()
    try:
        connection = files.connect(path)
        found = schema.version(connection)
        schema.require(found, schema.CRITICAL_VERSION, str(path))
        connection.execute(f"PRAGMA page_size = {_PAGE}")
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
            files.sync_directory(path.parent)
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
