"""What disturbs the receivers of a street: the mains' coloured noise over the day, and the appliances of its homes.

The floor falls with the frequency and follows the day: quiet before dawn, loud in the evening. Each home switches
appliances on and off; one raises the noise in its own home by its full strength, and in the homes nearby by what the
cables leave of it. A burst (a drill, a welder) is an appliance that somebody commands.

Source: the shape of noise on low-voltage lines as commonly measured; the figures are named constants [K].
"""

from collections.abc import Callable
from math import log10
from random import Random

from neighbourhood.g3.events import Scheduler
from neighbourhood.g3.feeder import Feeder
from neighbourhood.g3.phy import GROUPS

SIGNAL = 120.0  # dBµV of a transmitter
FLOOR = 76.0  # dBµV at a receiver, middle of the band, mean of the day
COLOUR = tuple(4.0 - 1.6 * group for group in range(GROUPS))  # more at low frequencies
DAY = (-4, -5, -5, -5, -4, -3, 0, 2, 1, 0, 0, 1, 2, 1, 0, 0, 1, 2, 3, 4, 4, 2, 0, -2)  # dB by the hour
QUARTER = 900.0
STRENGTH = (3.0, 12.0)  # dB over the floor that an appliance adds in its own home
SWITCHED = 3.0  # times an hour that a home switches one on, by day
LASTS = (120.0, 2400.0)  # s that it runs
HEARD = 20.0  # dB of cable beyond which an appliance disturbs nobody


class Noise:
    """`at(device)`: the noise (dBµV, flat part) at a receiver; it changed where `version(device)` did.

    start: UTC seconds of the simulation's zero: what hour it is. quiet: no appliances and an even floor (for tests).
    """

    def __init__(
        self, feeder: Feeder, scheduler: Scheduler, random: Random, start: float, *, quiet: bool = False
    ) -> None:
        self._feeder = feeder
        self._scheduler = scheduler
        self._random = random
        self._start = start
        self._added = [0.0] * len(feeder.places)  # power over the floor's, linear, by device
        self.versions = [0] * len(feeder.places)
        self._quiet = quiet
        self._day = 0.0
        self._hour = 0.0
        self.on_burst: Callable[[int, float, float], None] = lambda junction, db, until: None
        if not quiet:
            self._quarter()
            for number in range(1, len(feeder.places)):
                scheduler.after(random.expovariate(SWITCHED / 3600), self._switch_on, number)

    def at(self, device: int) -> float:
        return FLOOR + self._day + 10 * log10(1 + self._added[device])

    def burst(self, junction: int, db: float, seconds: float) -> None:
        """An appliance of `db` over the floor at a junction, for so long."""
        touched = self._touch(junction, db)
        self._scheduler.after(seconds, self._untouch, touched)
        self.on_burst(junction, db, self._scheduler.now + seconds)

    def _switch_on(self, home: int) -> None:
        if self._random.random() < 0.5 + DAY[int(self._hour)] / 10:  # the hour's own habit: nobody cooks at four
            touched = self._touch(self._feeder.places[home].junction, self._random.uniform(*STRENGTH))
            self._scheduler.after(self._random.uniform(*LASTS), self._untouch, touched)
        self._scheduler.after(self._random.expovariate(SWITCHED / 3600), self._switch_on, home)

    def _touch(self, junction: int, db: float) -> list[tuple[int, float]]:
        power = 10 ** (db / 10)
        touched = [(number, power * 10 ** (-loss / 10)) for number, loss in self._feeder.near(junction, max(HEARD, db))]
        self._add(touched, 1)
        return touched

    def _untouch(self, touched: list[tuple[int, float]]) -> None:
        self._add(touched, -1)

    def _add(self, touched: list[tuple[int, float]], sign: int) -> None:
        for number, power in touched:
            self._added[number] = max(0.0, self._added[number] + sign * power)
            self.versions[number] += 1

    def _quarter(self) -> None:
        """A quarter of an hour later, between two hours' values."""
        self._hour = (self._start + self._scheduler.now) % 86_400 / 3600
        before, share = int(self._hour), self._hour % 1
        self._day = DAY[before] * (1 - share) + DAY[(before + 1) % 24] * share
        self.versions = [version + 1 for version in self.versions]
        self._scheduler.after(QUARTER, self._quarter)
