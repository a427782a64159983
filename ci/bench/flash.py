"""How much flash a reading costs: sectors that reached a loop-mounted ext4, its journal included.

1,000 meters, hourly, four registers, committed every six hours; 40 days go through a retention of 30, so that whole
days are created, filled and dropped. Beside it the same street with one meter in ten late, the alarms and counters of
the critical file, and the naive way: a commit per reading (rollback journal, synchronous = FULL) into the same table,
on 10,000 readings.

`python ci/bench/flash.py` prints JSON (root, losetup); other benchmarks call `measure()`.
"""

import contextlib
import json
import logging
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from dcu.model import Obis, Reading
from dcu.store import Archive, Settings, counters

METERS = 1000
DAYS = 40
RETENTION = 30
SAMPLE = 10_000  # readings of the naive way
PROFILE = Obis.parse("1-0:99.1.0")
START = int(datetime(2025, 3, 1, tzinfo=UTC).timestamp())
HOUR, DAY = 3600, 86400
MEGABYTES = 1024
Result = dict[str, float | int | str]


class HandClock:
    trusted = True

    def __init__(self) -> None:
        self.seconds = START

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.seconds, UTC)


class Street:
    """Registers that count up as a household's do, and one row of all meters at a time."""

    def __init__(self) -> None:
        self._rng = random.Random(1)  # noqa: S311
        self._registers = [[self._rng.randrange(10**6, 10**8) for _ in range(4)] for _ in range(METERS)]

    def wave(self, timestamp: int) -> list[Reading]:
        rows = []
        for registers in self._registers:
            for channel in range(4):
                registers[channel] += self._rng.randrange(1500)
            rows.append(Reading(timestamp, 0, tuple(registers)))
        return rows


def measure(days: int = DAYS) -> Result:
    """Return bytes a reading of each way, and their ratio; `skipped` says why where nothing can be mounted."""
    if reason := _why_not():
        return {"skipped": reason}
    logging.getLogger("dcu.store").setLevel(logging.ERROR)
    started = time.monotonic()
    readings = days * 24 * METERS
    in_order = _flash(lambda point: _collect(point, days, late=0)) / readings
    with_late = _flash(lambda point: _collect(point, days, late=10)) / readings
    naive = _flash(_naive) / SAMPLE
    alarm = _flash(_alarms) / 1000
    reservation = _flash(_counters) / (100 * METERS)
    return {
        "readings": readings,
        "bytes_a_reading": round(in_order, 1),
        "bytes_a_reading_with_stragglers": round(with_late, 1),
        "bytes_a_reading_naive": round(naive),
        "ratio": round(naive / in_order),
        "bytes_an_alarm": round(alarm),
        "bytes_a_counter_reservation": round(reservation),
        "sqlite": sqlite3.sqlite_version,
        "seconds": round(time.monotonic() - started, 1),
    }


def _collect(point: Path, days: int, late: int) -> None:
    """Collect hour by hour; `late`: every so many-th meter is offline for six hours in turn, and brings them after."""
    clock, street = HandClock(), Street()
    store = Archive.open(
        point / "store", clock=clock, settings=Settings(retention_days=RETENTION, commit_every=6 * HOUR)
    )
    names = [f"M{number:04}" for number in range(METERS)]
    store.critical.add_meters([(name, "tcp://192.0.2.1:4059", "generic", b"EXM\0\0\0\0\1") for name in names])
    waiting: dict[str, list[Reading]] = {name: [] for name in names}
    for hour in range(days * 24):
        clock.seconds = START + hour * HOUR
        for number, reading in enumerate(street.wave(clock.seconds)):
            rows = waiting[names[number]]
            rows.append(reading)
            if late and number % late == hour // 6 % late:
                continue
            store.add(names[number], PROFILE, rows)
            rows.clear()
        store.maintain()
    store.close()
    kept = len(list((point / "store").glob("readings-*.db")))
    if kept > RETENTION + 1:
        raise RuntimeError(f"retention left {kept} days")


def _naive(point: Path) -> None:
    db = sqlite3.connect(point / "naive.db", isolation_level=None)
    db.execute("PRAGMA journal_mode = DELETE")
    db.execute("PRAGMA synchronous = FULL")
    db.execute("CREATE TABLE readings (ts, meter, a, b, c, d, PRIMARY KEY (ts, meter)) WITHOUT ROWID")
    street, done, hour = Street(), 0, 0
    while done < SAMPLE:
        for number, reading in enumerate(street.wave(START + hour * HOUR)):
            db.execute("INSERT INTO readings VALUES (?,?,?,?,?,?)", (reading.timestamp, number, *reading.values))
            done += 1
        hour += 1
    db.close()


def _alarms(point: Path) -> None:
    store = Archive.open(point / "store", clock=HandClock(), settings=Settings(ballast=0))
    for counter in range(1000):
        store.critical.accept_push("M1", counter, b"cover opened" + bytes(100))
    store.close()


def _counters(point: Path) -> None:
    """A hundred times a block for every meter, 50 meters to a commit."""
    store = Archive.open(point / "store", clock=HandClock(), settings=Settings(ballast=0))
    names = [f"M{number:04}" for number in range(METERS)]
    store.critical.write(lambda db: [counters.learn(db, name, b"", -1, 0) for name in names])
    for _ in range(100):
        for first in range(0, METERS, 50):
            store.critical.reserve_each([(name, 100, b"") for name in names[first : first + 50]])
    store.close()


def _why_not() -> str:
    if os.geteuid() != 0:
        return "needs root to mount a loop device"
    missing = [tool for tool in ("losetup", "mkfs.ext4", "mount") if not shutil.which(tool)]
    return f"needs {', '.join(missing)}" if missing else ""


def _flash(work: Callable[[Path], None]) -> int:
    """Bytes written to a fresh ext4 while `work` runs on it, and until it is unmounted."""
    with tempfile.TemporaryDirectory(prefix="flash-") as scratch, _loop(Path(scratch)) as device:
        point = Path(scratch) / "mount"
        point.mkdir()
        _run("mount", device, str(point))
        try:
            _run("sync", "-f", str(point))
            before = _written(device)
            work(point)
        finally:
            _run("umount", str(point))
        return _written(device) - before


@contextlib.contextmanager
def _loop(scratch: Path) -> Iterator[str]:
    image = scratch / "image"
    with image.open("wb") as file:
        file.truncate(MEGABYTES << 20)
    device = _run("losetup", "-f", "--show", str(image))
    try:
        _run("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0", device)
        yield device
    finally:
        _run("losetup", "-d", device)


def _written(device: str) -> int:
    """Bytes: the seventh field counts sectors of 512 bytes (Documentation/block/stat.rst)."""
    return int(Path(f"/sys/block/{Path(device).name}/stat").read_text().split()[6]) * 512


def _run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()  # noqa: S603


if __name__ == "__main__":
    json.dump(measure(), sys.stdout, indent=2)
    sys.stdout.write("\n")
