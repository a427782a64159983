"""What had been promised by a place in the recording, and whether a store keeps it.

A mark stands where somebody outside of the device (or the process) knew of the promise: every state at or after it is
held to it. Marks: meters, counters (used, of each meter the highest), readings, audited, outbox, acknowledging, floors.
"""

import bisect
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ota.powercut.log import Mark, Recording


@dataclass(slots=True)
class Promises:
    """readings: (meter, first, last, how many); used: the highest counter; flags: further marks, by name."""

    meters: frozenset[str] = frozenset()
    readings: tuple[tuple[str, int, int, int], ...] = ()
    used: dict[str, int] = field(default_factory=dict)
    audited: dict[str, int] = field(default_factory=dict)
    outbox: dict[int, str] = field(default_factory=dict)
    gone: frozenset[int] = frozenset()
    floors: dict[str, int] = field(default_factory=dict)
    flags: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    def heard(self, mark: Mark) -> "Promises":
        facts = mark.facts
        new = Promises(
            self.meters, self.readings, dict(self.used), dict(self.audited), dict(self.outbox), self.gone,
            dict(self.floors), dict(self.flags),
        )  # fmt: skip
        match mark.what:
            case "meters":
                new.meters |= set(facts["names"])
            case "readings":
                new.readings += tuple((str(m), int(a), int(b), int(n)) for m, a, b, n in facts["told"])
            case "counters":
                for meter, highest in facts["used"].items():
                    new.used[meter] = max(new.used.get(meter, -1), int(highest))
            case "audited":
                new.audited.update(facts["counts"])
            case "outbox":
                new.outbox[int(facts["seq"])] = str(facts["payload"])
            case "acknowledging":
                new.outbox.pop(int(facts["seq"]), None)
            case "acknowledged":
                new.gone |= {int(facts["seq"])}
            case "floor":
                new.floors[facts["meter"]] = int(facts["floor"])
            case _:
                new.flags[mark.what] = facts
        return new


class Ledger:
    """The promises of a recording, by place."""

    def __init__(self, recording: Recording) -> None:
        self._places: list[int] = [0]
        self._promises = [Promises()]
        for index, record in enumerate(recording.records):
            if isinstance(record, Mark) and index >= recording.begin:
                self._places.append(index + 1)
                self._promises.append(self._promises[-1].heard(record))

    def at(self, position: int) -> Promises:
        return self._promises[bisect.bisect_right(self._places, position) - 1]


@dataclass(frozen=True, slots=True)
class Kept:
    """What a store holds. counters: of each meter the next, None: to be read from the meter; wrong: what is damaged."""

    wrong: tuple[str, ...] = ()
    meters: frozenset[str] = frozenset()
    readings: Mapping[str, frozenset[int]] = field(default_factory=dict)
    counters: Mapping[str, int | None] = field(default_factory=dict)
    audited: Counter[str] = field(default_factory=Counter)
    outbox: Mapping[int, str] = field(default_factory=dict)
    floors: Mapping[str, int] = field(default_factory=dict)
    generation: int = 0  # of the key file, as the store last saw it


def broken(kept: Kept, promised: Promises) -> Iterable[str]:
    """Yield each promise that is not kept, in words."""
    yield from kept.wrong
    yield from _of_meters(kept, promised)
    yield from _of_the_outbox(kept, promised)
    for what, count in promised.audited.items():
        if kept.audited[what] < count:
            yield f"{what}: reported {count} times, audited {kept.audited[what]} times"


def _of_meters(kept: Kept, promised: Promises) -> Iterable[str]:
    if lost := promised.meters - kept.meters:
        yield f"meters are lost: {', '.join(sorted(lost))}"
    for meter, used in promised.used.items():
        after = kept.counters.get(meter)
        if after is None:
            yield f"{meter}: counter {used} was used, none is known"
        elif after <= used:
            yield f"{meter}: counter {used} was used, and {after} would be the next: given out twice"
    for meter, first, last, count in promised.readings:
        have = sum(first <= at <= last for at in kept.readings.get(meter, ()))
        if have < count:
            yield f"{meter}: {count} readings from {first} to {last} were committed, {have} are there"
    for meter, floor in promised.floors.items():
        if kept.floors.get(meter, -1) < floor:
            yield f"{meter}: receive floor {floor} was reached, {kept.floors.get(meter, -1)} is kept"


def _of_the_outbox(kept: Kept, promised: Promises) -> Iterable[str]:
    for seq, payload in promised.outbox.items():
        if kept.outbox.get(seq) != payload:
            yield f"outbox {seq} was put, and is {'gone' if seq not in kept.outbox else 'another'}"
    if back := promised.gone & kept.outbox.keys():
        yield f"outbox {min(back)} was acknowledged, and is back"
