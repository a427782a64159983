"""What the store's tests share: a clock that is set by hand, a street of names, readings that can be told apart."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from dcu.model import AttributeRef, Column, Obis, Reading
from dcu.store import Archive, Settings

HOURLY = Obis.parse("1-0:99.1.0")
DAILY = Obis.parse("1-0:98.1.0")
HOUR, DAY = 3600, 86400
START = int(datetime(2025, 3, 1, tzinfo=UTC).timestamp())
COLUMNS = tuple(
    Column(AttributeRef(3, Obis.parse(f"1-0:{c}.8.0"), 2), scaler=-1, unit="Wh" if c < 3 else "varh")
    for c in (1, 2, 3, 4)
)


class HandClock:
    def __init__(self, seconds: int = START, *, trusted: bool = True) -> None:
        self.seconds = seconds
        self.trusted = trusted

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.seconds, UTC)

    def advance(self, **by: float) -> None:
        self.seconds += int(timedelta(**by).total_seconds())


def reading(timestamp: int, seed: int = 0) -> Reading:
    return Reading(timestamp, 0, (1_000_000 + seed, 2_000_000 + timestamp % 9973, 30_000_000, 4_000_000))


def hours(start: int, count: int, seed: int = 0) -> list[Reading]:
    return [reading(start + hour * HOUR, seed) for hour in range(count)]


def opened(directory: Path, clock: HandClock, *meters: str, **settings: int) -> Archive:
    settings.setdefault("ballast", 0)
    archive = Archive.open(directory, clock=clock, settings=Settings(**settings))
    if meters:
        archive.critical.add_meters([(name, "tcp://192.0.2.1:4059", "generic", b"EXM\0\0\0\0\1") for name in meters])
    return archive


def alarms(archive: Archive) -> str:
    return " ".join(item.payload.decode() for item in archive.critical.pending() if item.kind == "alarm")
