"""What a collection tells beside what happens on the line: readings, profiles, progress, air by kind, the share."""

from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

from neighbourhood import truth
from neighbourhood.g3 import floor
from neighbourhood.g3.decoded import Layers
from neighbourhood.g3.street import Collecting, Street
from neighbourhood.g3.trace import Event, Trace
from neighbourhood.verdict import LOAD_PROFILE


class Watched:
    """`count` is a sink of the trace; `follow` begins when there is a collector. now: the simulation's seconds."""

    def __init__(self, trace: Trace) -> None:
        self.air: dict[str, float] = defaultdict(float)
        self.counts: Counter[str] = Counter()
        self.first = -1.0  # when the first readings came; below 0: not yet
        self._trace = trace

    def count(self, event: Event) -> None:
        if event["e"] == "frame":
            self.counts["frames"] += 1
            self.counts["lost"] += event["lost"] is not None
            self.air[event["kind"]] += event["d"]

    def follow(self, house: Collecting, now: Callable[[], float], read: Callable[[str], None] | None = None) -> None:
        """Tell of readings from now on, and look into frames. read: hears the name of a meter that was read."""
        names = house.street.names()
        layers = Layers(house.street.fleet, house.collector.services.client_title)
        layers.home_of = house.street.line.number_of
        self._trace.layers_of = layers.of

        def heard(topic: str, data: dict[str, Any]) -> None:
            if topic == "reading" and data["meter"] in names:
                rows = min(truth.HOURS, house.collector.fleet.get(data["meter"]).readings)
                self._trace.emit("reading", now(), node=names[data["meter"]], rows=rows, of=truth.HOURS)
                if read is not None:
                    read(data["meter"])

        house.collector.services.events.listen(heard)

    def progress(self, street: Street, now: float, gathered: int) -> None:
        if gathered and self.first < 0:
            self.first = now
        air = {kind: round(seconds, 2) for kind, seconds in self.air.items()}
        least = least_air(street)
        spent = now - max(self.first, 0.0)
        share = round(min(1.0, least / spent), 3) if spent > 0 else 0.0
        fields = {"air": air, "floor": round(least, 2), "share": share}
        self._trace.emit("progress", now, collected=gathered, expected=street.scene.meters * truth.HOURS, **fields)

    async def profile(self, house: Collecting, name: str, now: float) -> None:
        """What was read of a meter, for the page's plot: active import of the last day."""
        found = await house.collector.services.store.readings(name, LOAD_PROFILE, 0, 1 << 40)
        rows = [[row.timestamp, row.values[0]] for row in found[-truth.HOURS :]]
        self._trace.emit("profile", now, node=house.street.names()[name], unit="Wh", rows=rows)


def gathered(house: Collecting) -> int:
    """Readings of the last day, of all meters."""
    return sum(min(truth.HOURS, meter.readings) for meter in house.collector.fleet)


def least_air(street: Street) -> float:
    """The floor of reading the meters that have a way now, in seconds."""
    total = 0.0
    for home, size in dict(street.homes.counts.sizes).items():
        try:
            total += floor.collection(street.line, [(home, *size)])
        except LookupError:
            continue
    return total
