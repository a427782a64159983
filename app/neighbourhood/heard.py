"""What a meter has heard of its clients: the highest invocation counter of each, and every one that came twice.

Source: DLMS Green Book (IEC 62056-5-3) 9.2.3.3 (invocation counters).
"""

from dataclasses import dataclass

KEPT = 200  # counters that came twice, of one meter


@dataclass(frozen=True, slots=True)
class Reuse:
    """A client's invocation counter that was not above the last one accepted."""

    meter: str
    floor: int
    received: int


class Heard:
    """The counters that a meter accepted, per client title: a `dcu.cosem.association.Floors`.

    A client has one system title and one key, so the title stands for the key. It outlives connections, and it keeps
    its own account of reuse: a session that accepted a counter twice would be found out here as well.
    """

    __slots__ = ("_born", "_floors", "accepted", "doubled")

    def __init__(self, born: int) -> None:
        self._born = born  # where the factory left the counter
        self._floors: dict[bytes, int] = {}
        self.accepted = 0
        self.doubled: list[tuple[int, int]] = []

    def floor(self, title: bytes) -> int:
        return self._floors.get(title, self._born)

    def accept(self, title: bytes, counter: int) -> None:
        floor = self.floor(title)
        if counter <= floor and len(self.doubled) < KEPT:
            self.doubled.append((floor, counter))
        self._floors[title] = max(counter, floor)
        self.accepted += 1

    @property
    def highest(self) -> int:
        return max(self._floors.values(), default=self._born)
