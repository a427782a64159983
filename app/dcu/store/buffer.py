"""Readings that wait in RAM for their bulk commit. A crash loses them, and the gap that shows is read again."""

from collections.abc import Iterable, Iterator

from dcu.store.rows import DAY

Row = tuple[int, int, int, bytes]  # timestamp, meter, profile, packed reading


class Buffer:
    """Rows by meter and profile, so that a reader finds its own; sorted by the file's key when they are committed."""

    def __init__(self) -> None:
        self._series: dict[tuple[int, int], dict[int, bytes]] = {}
        self._count = 0
        self._since: int | None = None

    def __len__(self) -> int:
        return self._count

    def add(self, meter: int, profile: int, rows: Iterable[tuple[int, bytes]], now: int) -> None:
        """Keep (timestamp, packed reading); the last one of a timestamp stays."""
        series = self._series.setdefault((meter, profile), {})
        before = len(series)
        series.update(rows)
        self._count += len(series) - before
        if self._since is None and self._count:
            self._since = now

    def due(self, now: int, after: int) -> bool:
        """Whether the oldest row has waited for `after` seconds."""
        if self._since is None:
            return False
        self._since = min(self._since, now)  # the clock was set back: do not wait for it twice
        return now - self._since >= after

    def days(self) -> list[int]:
        return sorted({timestamp // DAY for series in self._series.values() for timestamp in series})

    def of_day(self, day: int) -> list[Row]:
        """Return the rows of a day in the order of the day file's key."""
        low, high = day * DAY, (day + 1) * DAY
        return sorted(
            (timestamp, meter, profile, row)
            for (meter, profile), series in self._series.items()
            for timestamp, row in series.items()
            if low <= timestamp < high
        )

    def forget(self, rows: Iterable[Row]) -> None:
        """Let go of committed rows."""
        for timestamp, meter, profile, _ in rows:
            series = self._series.get((meter, profile), {})
            if series.pop(timestamp, None) is not None:
                self._count -= 1
            if not series:
                self._series.pop((meter, profile), None)
        if not self._count:
            self._since = None

    def read(self, meter: int, profile: int, start: int, end: int) -> dict[int, bytes]:
        series = self._series.get((meter, profile), {})
        return {timestamp: row for timestamp, row in series.items() if start <= timestamp < end}

    def keys(self, day: int, profile: int) -> Iterator[tuple[int, int]]:
        """Yield (timestamp, meter) of a day's rows."""
        for (meter, load), series in self._series.items():
            if load == profile:
                yield from ((timestamp, meter) for timestamp in series if timestamp // DAY == day)
