"""The store and the doubly written files at work on a recorded ext4, and the judge of what a cut leaves of them."""

import hashlib
import random
import sqlite3
import time
from array import array
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dcu.model import AttributeRef, Column, Obis, Reading
from dcu.platform.doubly import Doubly
from dcu.store import Archive, Settings, files
from ota.powercut.checks import filesystem, store
from ota.powercut.checks.ledger import Kept, Ledger, broken
from ota.powercut.log import SECTOR, Recording
from ota.powercut.recorder import Recorder
from ota.powercut.replay import Canvas, Sectors, State
from ota.powercut.rigs import mounted

MEGABYTES = 48
METERS = tuple(f"M{number}" for number in range(8))
PROFILE = Obis.parse("1-0:99.1.0")
COLUMNS = (Column(AttributeRef(3, Obis.parse("1-0:1.8.0"), 2), scaler=0, unit="Wh"),)
START, HOUR = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp()), 3600
DISK = "data"


class Hours:
    """A clock that is set by hand."""

    trusted = True
    seconds = START

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.seconds, UTC)


def record(home: Path, turns: int, seed: int, canary: str = "") -> None:
    """Let a store work for so many turns (about five commits each) on a fresh file system; record it in `home`."""
    home.mkdir(parents=True, exist_ok=True)
    image = home / "data.img"
    mounted.formatted(image, MEGABYTES)
    draw = random.Random(seed)  # noqa: S311 - to be repeatable
    broken_on_purpose = CANARIES[canary] if canary else _as_it_is
    with Recorder(home, {DISK: image}) as recorder, mounted.ext4(recorder, DISK, home) as point, broken_on_purpose():
        work(point, recorder.mark, turns, draw)
    image.unlink()


@contextmanager
def _as_it_is() -> Iterator[None]:
    yield


def work(point: Path, mark: Callable[..., Any], turns: int, draw: random.Random) -> None:
    """What a collector does, quickly. Each mark is made after the call that promises has returned."""
    clock = Hours()
    archive = Archive.open(
        point / "store", clock=clock, settings=Settings(ballast=1 << 20, audit_rows=100, retention_days=400)
    )
    critical = archive.critical
    critical.add_meters([(name, "tcp://192.0.2.1:4059", "generic", b"EXM\0\0\0\0\1") for name in METERS])
    mark("meters", names=METERS)
    for meter in METERS:
        critical.raise_counter(meter, 0)
        critical.set_layout(meter, PROFILE, COLUMNS)
    twice = Doubly(point / "device" / "value", point / "device.twin" / "value")
    added = START
    for turn in range(turns):
        clock.seconds += HOUR
        for meter in METERS:
            archive.add(meter, PROFILE, [Reading(clock.seconds, 0, (turn, draw.randrange(1 << 30)))])
        meter = draw.choice(METERS)
        got = critical.reserve_counters(meter, draw.randint(1, 20))
        mark("counters", used={meter: got.stop - 1})
        _put(critical, mark, draw, meter, turn)
        if draw.random() < 0.3:
            twice.write(b"%d" % turn)
            mark("doubly", value=turn)
        if draw.random() < 0.2:
            archive.flush()
            hours = (clock.seconds - added) // HOUR
            mark("readings", told=[[name, added + 1, clock.seconds, hours] for name in METERS])
            added = clock.seconds
        if draw.random() < 0.1:
            time.sleep(draw.uniform(0, 0.5))  # the file system writes by itself after a while
    archive.close()


def _put(critical: Any, mark: Callable[..., Any], draw: random.Random, meter: str, turn: int) -> None:
    payload = draw.randbytes(draw.randint(1, 3000))
    mark("outbox", seq=critical.put("event", payload), payload=store.digest(payload))
    floor = critical.receive_floor(meter) + draw.randint(1, 5)
    pushed = b"push %d" % turn
    mark("outbox", seq=critical.accept_push(meter, floor, pushed), payload=store.digest(pushed))
    mark("floor", meter=meter, floor=floor)
    if draw.random() < 0.4:
        gone = draw.choice(critical.pending(5)).seq
        mark("acknowledging", seq=gone)
        critical.ack([gone])
        mark("acknowledged", seq=gone)


class StoreJudge:
    """Judges the one file system of such a recording."""

    def __init__(self, recording: Recording, scratch: Path) -> None:
        self._disk = recording.disk(DISK)
        self._ledger = Ledger(recording)
        self._scratch = scratch
        self._canvas = Canvas(
            scratch / "data.img", Sectors(recording.home), 0, recording.disks[self._disk].size // SECTOR
        )
        self._known: dict[bytes, tuple[Kept, int]] = {}
        self.examined = 0

    def judge(self, state: State) -> list[str]:
        promised = self._ledger.at(state.position)
        content = state.disks[self._disk]
        key = hashlib.blake2b(content, digest_size=16).digest()
        if key not in self._known:
            self.examined += 1
            self._known[key] = self._look(content)
        kept, value = self._known[key]
        found = list(broken(kept, promised))
        told = promised.flags.get("doubly")
        if told and value < told["value"]:
            found.append(f"doubly written: {told['value']} was kept, {'nothing' if value < 0 else value} is there")
        return found

    def _look(self, content: "array[int]") -> tuple[Kept, int]:
        self._canvas.show(content)
        image, wrong = filesystem.replayed(self._canvas.path, self._scratch)
        if wrong:
            return Kept((wrong,)), -1
        target = self._scratch / "files"
        filesystem.dumped(image, ["/store", "/device", "/device.twin"], target)
        found = Doubly(target / "device" / "value", target / "device.twin" / "value").look()
        return store.examine(target / "store"), -1 if found.content is None else int(found.content)


@contextmanager
def _instead(level: str, *, of: str) -> Iterator[None]:
    """SQLite with another `synchronous` than was asked for; of: "" for any."""
    connect = files.connect

    class Careless(sqlite3.Connection):
        def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
            asked = sql.removeprefix("PRAGMA synchronous = ")
            changed = asked != sql and of in asked
            return super().execute(f"PRAGMA synchronous = {level}" if changed else sql, *parameters)

    def careless(path: Path, *, mode: str = "rwc") -> sqlite3.Connection:
        uri = f"{path.absolute().as_uri()}?mode={mode}"
        return sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, factory=Careless)

    files.connect = careless
    try:
        yield
    finally:
        files.connect = connect


def never_synchronous() -> AbstractContextManager[None]:
    """Canary: what is committed is left to the page cache."""
    return _instead("OFF", of="")


def directory_not_synced() -> AbstractContextManager[None]:
    """Canary: day files as they were until this rig found it: an unlinked journal may come back."""
    return _instead("FULL", of="EXTRA")


@contextmanager
def answer_before_commit() -> Iterator[None]:
    """Canary: every fourth transaction is committed, the others wait for it; the callers do not."""
    transaction, calls = files.transaction, [0]

    @contextmanager
    def late(connection: sqlite3.Connection, gate: files.Gate | None = None) -> Iterator[None]:
        calls[0] += 1
        if not connection.in_transaction:
            connection.execute("BEGIN IMMEDIATE")
        yield
        if calls[0] % 4 == 0:
            connection.execute("COMMIT")

    files.transaction = late
    try:
        yield
    finally:
        files.transaction = transaction


CANARIES = {"fsync": never_synchronous, "directory": directory_not_synced, "answer": answer_before_commit}
