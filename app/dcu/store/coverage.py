"""Which readings are there, as bitmaps in RAM: one bit a period, one integer a day and meter.

A grid is a profile seen with a period: expected are the multiples of the period (plus a phase), and a reading counts
for the nearest one, since a meter's clock drifts. A day's file is scanned once, when a grid first asks for it.
A day of a grid is a list by the meter's number: 8 kB for 1,000 meters.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from dcu.store.rows import DAY

MAX_SLOTS = 1_000_000  # of one question: eleven days of seconds
_CELLS = 2_000_000  # of all grids, 16 MB: a month of 1,000 meters in 60 grids
Scan = Callable[[int, int], Iterable[tuple[int, int]]]  # (day, profile) -> (timestamp, meter) of every row


@dataclass(frozen=True, slots=True)
class Grid:
    profile: int
    period: int
    phase: int

    def slot(self, timestamp: int) -> int:
        """The expected moment that a reading of `timestamp` counts for."""
        return (timestamp - self.phase + self.period // 2) // self.period

    def moment(self, slot: int) -> int:
        return slot * self.period + self.phase

    def from_moment(self, timestamp: int) -> int:
        """The first expected moment at or after `timestamp`."""
        return -((self.phase - timestamp) // self.period)

    def day(self, slot: int) -> int:
        """The first day in which a reading of this slot may be dated."""
        return (self.moment(slot) - self.period // 2) // DAY


class Coverage:
    """`scan` reads the rows of a day, buffered ones included."""

    def __init__(self, scan: Scan) -> None:
        self._scan = scan
        self._grids: dict[Grid, dict[int, list[int]]] = {}

    def add(self, meter: int, profile: int, timestamps: Iterable[int]) -> None:
        """Note new rows, in the days that are in RAM."""
        grids = [(grid, days) for grid, days in self._grids.items() if grid.profile == profile]
        if not grids:
            return
        for timestamp in timestamps:
            day = timestamp // DAY
            for grid, days in grids:
                if (meters := days.get(day)) is not None:
                    bit = 1 << grid.slot(timestamp) - grid.slot(day * DAY)
                    meters.extend([0] * (meter + 1 - len(meters)))
                    meters[meter] |= bit

    def forget(self, day: int) -> None:
        """The day's file changed behind our back (dropped, set aside): scan it again when asked."""
        for days in self._grids.values():
            days.pop(day, None)

    def forget_before(self, day: int) -> None:
        for days in self._grids.values():
            for old in [known for known in days if known < day]:
                del days[old]

    def gaps(self, meter: int, grid: Grid, start: int, end: int) -> list[tuple[int, int]]:
        """Return the half-open ranges of [start, end) whose expected readings are missing."""
        first, last = grid.from_moment(start), grid.from_moment(end)
        if last <= first:
            return []
        if last - first > MAX_SLOTS:
            raise ValueError(f"{last - first} readings are expected there: ask for {MAX_SLOTS} at most")
        every = (1 << last - first) - 1
        missing = every & ~self._present(meter, grid, first, last)
        found = []
        while missing:
            low = (missing & -missing).bit_length() - 1
            run = missing >> low
            length = (~run & (run + 1)).bit_length() - 1
            missing &= ~(((1 << length) - 1) << low)
            begin, stop = grid.moment(first + low), grid.moment(first + low + length)
            found.append((begin, min(stop, end)))
        return found

    def _present(self, meter: int, grid: Grid, first: int, last: int) -> int:
        days = self._grids.pop(grid, {})
        self._grids[grid] = days  # the last used is last
        present = 0
        for day in range(grid.day(first), grid.day(last) + 1):
            if (meters := days.get(day)) is None:
                meters = days[day] = self._load(grid, day)
                self._bound()
            shift = grid.slot(day * DAY) - first
            bits = meters[meter] if meter < len(meters) else 0
            present |= bits << shift if shift >= 0 else bits >> -shift
        return present

    def _bound(self) -> None:
        """Let go of the grids that were not asked for longest; the one that is asked now stays whatever it takes."""
        cells = {grid: sum(map(len, days.values())) for grid, days in self._grids.items()}
        total = sum(cells.values())
        for grid in list(self._grids)[:-1]:
            if total <= _CELLS:
                return
            total -= cells[grid]
            del self._grids[grid]

    def _load(self, grid: Grid, day: int) -> list[int]:
        found: dict[int, int] = {}
        base = grid.slot(day * DAY)
        for timestamp, meter in self._scan(day, grid.profile):
            found[meter] = found.get(meter, 0) | 1 << grid.slot(timestamp) - base
        shared: dict[int, int] = {}  # most meters of a day have the same bits: one integer serves them all
        meters = [0] * (max(found, default=-1) + 1)
        for meter, bits in found.items():
            meters[meter] = shared.setdefault(bits, bits)
        return meters
