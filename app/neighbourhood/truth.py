"""What really happened in the street: registers, power, voltage and clock errors.

All are pure functions of (seed, meter, second). Nothing is stored and nothing is encoded: integers at UTC seconds, made
before any protocol sees them. What a test or the demo compares with comes from here, so this module imports nothing of
the product (design decision 11).

A cumulative register must be cheap at any second of any year, yet look like a household. So a day's energy is not
summed up from the beginning: the register at midnight is a straight line (or the year's sun) plus a bounded noise,
which leaves each day its mean ± noise and never less than nothing. Inside the day, 24 weights share that energy out
by habit, sun and chance; inside the hour three quarter marks are shifted; between those it is a straight line,
rounded down. Each step keeps the order of what it divides, so the register is monotonic by construction.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from itertools import accumulate
from typing import NamedTuple

DAY = 86_400
HOUR = 3_600
HOURS = 24  # of the day that demos and benchmarks collect
QUARTER = 900
INSTALLED = 1_577_836_800  # 2020-01-01T00:00:00Z: the street was fitted with these meters, and nothing moved before
DISCIPLINED_EVERY = 30 * DAY  # somebody sets each clock once in this time; in between it drifts

# How a household's need is spread over the hours of the (UTC) day.
HABITS = (
    (18, 15, 14, 13, 15, 25, 48, 62, 50, 38, 36, 42, 55, 46, 38, 38, 46, 68, 88, 86, 68, 48, 32, 21),  # at work
    (20, 16, 15, 15, 16, 22, 36, 48, 54, 54, 54, 60, 68, 58, 50, 48, 50, 58, 70, 68, 52, 36, 20, 12),  # at home
    (64, 66, 66, 64, 54, 38, 36, 40, 32, 26, 25, 28, 34, 30, 26, 26, 30, 42, 52, 52, 46, 40, 38, 45),  # car at night
    (8, 8, 8, 8, 9, 14, 36, 72, 88, 92, 90, 84, 72, 84, 88, 84, 68, 40, 14, 10, 8, 6, 5, 4),  # workshop
)
SUN = (0, 0, 0, 0, 0, 2, 14, 36, 64, 88, 106, 116, 118, 112, 98, 78, 56, 34, 16, 6, 0, 0, 0, 0)  # a clear day's hours
MONTHS = (300, 450, 800, 1150, 1400, 1500, 1480, 1300, 1000, 650, 370, 260)  # the year's sun, per mille of its mean
YEAR = tuple(MONTHS[day * 12 // 365] for day in range(365))
YEAR_SUM = (0, *accumulate(YEAR))
VACATION_EVERY = 120  # days; each such block has one holiday of the household's own length
MARKS = (-90, -30, 30, 90)  # per mille of an hour's energy by which a quarter mark is shifted; order is kept below 125


class Registers(NamedTuple):
    """The four cumulative registers: 1-0:1.8.0 and 2.8.0 in Wh, 1-0:3.8.0 and 4.8.0 in varh."""

    active_import: int
    active_export: int
    reactive_import: int
    reactive_export: int


class Row(NamedTuple):
    """One captured row: the moment that the meter's clock showed, in UTC seconds, and the registers then."""

    timestamp: int
    registers: Registers


@dataclass(frozen=True, slots=True)
class Household:
    """What a meter stands in. Energies are Wh (varh) a day."""

    key: int
    habit: int
    base: int  # fridge, router: also on holiday
    active: int  # mean of what its people use
    solar: int  # mean export, 0 without panels
    reactive: int
    capacitive: int
    holiday: int  # days in VACATION_EVERY
    counted: Registers  # what the registers showed on the day of installation
    drift: int  # of the meter's clock, parts per million


@lru_cache(maxsize=2048)
def household(seed: int, meter: int) -> Household:
    digest = blake2b(f"{seed}/{meter}".encode(), digest_size=40).digest()
    draw = [int.from_bytes(digest[at : at + 4], "big") for at in range(0, 40, 4)]
    return Household(
        key=draw[0] << 32 | draw[1],
        habit=draw[2] % len(HABITS),
        base=1_200 + draw[3] % 2_400,
        active=3_000 + draw[4] % 14_000,
        solar=6_000 + draw[5] % 18_000 if draw[5] % 10 < 4 else 0,
        reactive=600 + draw[6] % 3_000,
        capacitive=100 + draw[7] % 700,
        holiday=draw[8] % 18,
        counted=Registers(draw[8] % 9_000_000, draw[5] % 400_000 if draw[5] % 10 < 4 else 0, draw[9] % 2_000_000, 0),
        drift=draw[9] % 41 - 20,
    )


def registers(seed: int, meter: int, second: int) -> Registers:
    """What the registers hold at UTC `second`."""
    since = max(second - INSTALLED, 0)
    day, rest = divmod(since, DAY)
    hour, rest = divmod(rest, HOUR)
    quarter, rest = divmod(rest, QUARTER)
    course = _day(seed, meter, day)
    shift = course.shifts[hour]
    low, high = _mark(shift, quarter), _mark(shift, quarter + 1)
    share = low * QUARTER + (high - low) * rest  # of the hour's energy, in 1 / (1,000 · 900)
    return Registers._make(
        before + (after - before) * share // (1_000 * QUARTER)
        for before, after in ((marks[hour], marks[hour + 1]) for marks in course.marks)
    )


def power(seed: int, meter: int, second: int) -> tuple[int, int]:
    """Active power in and out, W: the mean of the running quarter of an hour."""
    start = second - second % QUARTER
    first, last = registers(seed, meter, start), registers(seed, meter, start + QUARTER)
    scale = HOUR // QUARTER
    return (
        (last.active_import - first.active_import) * scale,
        (last.active_export - first.active_export) * scale,
    )


def voltage(seed: int, meter: int, second: int) -> int:
    """Voltage of the phase, tenths of a volt: need pulls it down, the sun lifts it, the network breathes."""
    taken, given = power(seed, meter, second)
    breath = _noise(seed, meter, second // 60) % 41 - 20
    return max(2_070, min(2_530, 2_315 - taken // 150 + given // 180 + breath))


def clock_error(seed: int, meter: int, second: int) -> int:
    """By how many seconds the meter's clock is ahead of UTC (below zero: behind), if nobody but the utility's monthly
    round sets it: it drifts since the last round."""
    return household(seed, meter).drift * (second - disciplined(seed, meter, second)) // 1_000_000


def disciplined(seed: int, meter: int, second: int) -> int:
    """When the monthly round last set this meter's clock: never near a capture, so that none is lost or doubled."""
    offset = household(seed, meter).key % (DISCIPLINED_EVERY // QUARTER) * QUARTER + QUARTER // 2
    return second - (second - INSTALLED - offset) % DISCIPLINED_EVERY


def captured(seed: int, meter: int, timestamp: int) -> Row:
    """The row that the meter captured when its own clock showed `timestamp`."""
    return Row(timestamp, registers(seed, meter, timestamp - clock_error(seed, meter, timestamp)))


def rows(seed: int, meter: int, first: int, last: int, period: int = HOUR) -> Iterator[Row]:
    """The load profile from `first` to `last` (both included where they are capture times)."""
    start = max(first, INSTALLED)
    for timestamp in range(start + -start % period, last + 1, period):
        yield captured(seed, meter, timestamp)


class _Course(NamedTuple):
    """A day of one meter: the registers at its 25 hour marks, and how the quarters of each hour are shifted."""

    marks: tuple[tuple[int, ...], ...]
    shifts: bytes


@lru_cache(maxsize=256)  # a profile read walks along two days of one meter; 256 serve the meters that are read at once
def _day(seed: int, meter: int, day: int) -> _Course:
    home = household(seed, meter)
    digest = blake2b(day.to_bytes(4, "big"), key=home.key.to_bytes(8, "big"), digest_size=60).digest()
    start, end = _midnight(home, day), _midnight(home, day + 1)
    spent = [last - first for first, last in zip(start, end, strict=True)]
    need = [habit * (60 + digest[hour] % 90) for hour, habit in enumerate(HABITS[home.habit])]
    total = sum(need)
    taken, given = [], []
    for hour, sun in enumerate(SUN):  # milliwatt-hours: the sum of the sun's hours is about 1,000
        load = need[hour] * spent[0] * 1_000 // total
        shine = sun * (70 + digest[24 + hour] % 61) * spent[1] // 60 if spent[1] else 0
        taken.append(max(load - shine, 0) + 1_000)
        given.append(max(shine - load, 0))
    night = [3 + digest[48 + hour % 12] % 3 if hour < 6 or hour > 21 else 1 for hour in range(24)]
    weights = (taken, given if any(given) else SUN, need, night)
    marks = tuple(
        tuple(first + energy * share // whole for share in (0, *accumulate(weight)))
        for first, energy, weight, whole in zip(start, spent, weights, map(sum, weights), strict=True)
    )
    return _Course(marks, digest[24:48])


def _midnight(home: Household, day: int) -> Registers:
    """The registers when day number `day` since the installation begins."""
    lived = _lived(home, day)
    return Registers(
        home.counted.active_import + home.base * day + home.active * lived + _bounded(home, 1, lived, home.active),
        home.counted.active_export + _sunned(home, day),
        home.counted.reactive_import + home.reactive * lived + _bounded(home, 2, lived, home.reactive),
        home.counted.reactive_export + home.capacitive * day + _bounded(home, 3, day, home.capacitive),
    )


def _lived(home: Household, day: int) -> int:
    """How many of the first `day` days the people were at home."""
    block, at = divmod(day, VACATION_EVERY)
    away = _mix(home.key ^ block) % (VACATION_EVERY - home.holiday)
    return block * (VACATION_EVERY - home.holiday) + at - min(max(at - away, 0), home.holiday)


def _sunned(home: Household, day: int) -> int:
    years, at = divmod(day, 365)
    seasons = home.solar * (years * YEAR_SUM[365] + YEAR_SUM[at]) // 1_000
    return seasons + _bounded(home, 4, day, home.solar * YEAR[at] // 1_000)


def _bounded(home: Household, stream: int, index: int, mean: int) -> int:
    """Noise from 0 to four fifths of a day's mean, so that the next midnight is never below this one."""
    return mean * 4 * (_mix(home.key + (stream << 40) + index) & 0xFFFF) // (5 << 16)


def _mark(shift: int, quarter: int) -> int:
    """Which share of the hour's energy, per mille, has gone by at a quarter mark."""
    return quarter * 250 + (MARKS[shift >> 2 * quarter & 3] if 0 < quarter < 4 else 0)


def _noise(seed: int, meter: int, index: int) -> int:
    return _mix(household(seed, meter).key ^ index << 8)


def _mix(value: int) -> int:
    """splitmix64: 64 well-mixed bits of an integer."""
    value = value + 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF
    value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9 & 0xFFFFFFFFFFFFFFFF
    value = (value ^ value >> 27) * 0x94D049BB133111EB & 0xFFFFFFFFFFFFFFFF
    return value ^ value >> 31
