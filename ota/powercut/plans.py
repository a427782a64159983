"""Which states are looked at: every one that matters and is one of few, and by lot from the rest."""

import random
from collections.abc import Iterator, Mapping

from ota.powercut.log import Flush, Mark, Recording, Write
from ota.powercut.replay import Replay

FEW = 6  # volatile writes of which every subset is tried
_EXTREMES = ("none", "all")

Plan = tuple[int, dict[str, str]]


def chosen(recording: Recording, states: int, seed: int) -> list[Plan]:
    """All beside writes of the environment; beside flushes and promises, and by lot, up to `states` of each."""
    boundaries = list(exhaustive(recording))
    cards = [number for number, disk in enumerate(recording.disks) if disk.card]
    beside = {at for at, r in enumerate(recording.records) if isinstance(r, Write) and r.disk in cards}
    beside |= {at + 1 for at in beside}
    always = [plan for plan in boundaries if plan[0] in beside]
    others = [plan for plan in boundaries if plan[0] not in beside]
    if len(others) > states:
        others = [others[at * len(others) // states] for at in range(states)]
    return sorted([*always, *others, *drawn(recording, states, seed)], key=lambda plan: plan[0])


def exhaustive(recording: Recording) -> Iterator[Plan]:
    """At each cut beside a write of the environment: every subset of it, with the other disks' extremes.

    At each cut beside a flush or a promise: nothing and everything of what is volatile, every subset where that is of
    few writes, else the older half, one write left out, and a draw.
    """
    replay = Replay(recording)
    cards = [disk.name for disk in recording.disks if disk.card]
    others = [disk.name for disk in recording.disks if not disk.card]
    for position in _boundaries(recording):
        replay.seek(position)
        choices = {name: _choices(replay, name, position) for name in (*cards, *others)}
        beside_card = any(len(choices[name]) > 1 for name in cards)
        for card in _product({name: choices[name] for name in cards}):
            if beside_card and others:
                rest = [dict.fromkeys(others, extreme) for extreme in _EXTREMES]
                rest.append(dict.fromkeys(others, f"seed-{position}"))
            else:
                rest = list(_product({name: choices[name] for name in others}))
            for other in rest:
                yield position, {**card, **other}


def drawn(recording: Recording, count: int, seed: int) -> list[Plan]:
    """`count` states by lot, in the order of their places: any cut, any part of the volatile, torn as it comes."""
    draw = random.Random(seed)  # noqa: S311 - to be repeatable
    places = [draw.randint(recording.begin, len(recording.records)) for _ in range(count)]
    return [
        (place, {disk.name: f"seed-{draw.randrange(10**9)}" for disk in recording.disks}) for place in sorted(places)
    ]


def _boundaries(recording: Recording) -> list[int]:
    """Cuts on both sides of each flush, each promise and each write to a card, and before the last record's end."""
    found = {recording.begin, len(recording.records)}
    for index in range(recording.begin, len(recording.records)):
        record = recording.records[index]
        if isinstance(record, Flush | Mark) or (isinstance(record, Write) and recording.disks[record.disk].card):
            found |= {index, index + 1}
    return sorted(found)


def _choices(replay: Replay, name: str, position: int) -> list[str]:
    disk = replay.recording.disk(name)
    count = len(replay.volatile(disk))
    if count == 0:
        return ["all"]
    if count <= (FEW if replay.recording.disks[disk].card else FEW // 2):
        return [f"bits-{bits:x}" for bits in range(1 << count)]
    return [*_EXTREMES, f"first-{count // 2}", f"without-{position % count}", f"seed-{position}"]


def _product(choices: Mapping[str, list[str]]) -> Iterator[dict[str, str]]:
    if not choices:
        yield {}
        return
    (name, values), rest = next(iter(choices.items())), dict(list(choices.items())[1:])
    for value in values:
        for other in _product(rest):
            yield {name: value, **other}
