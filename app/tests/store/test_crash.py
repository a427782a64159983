"""SIGKILL at random instants: what was acknowledged is there, and no invocation counter was given out twice."""

import random
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from dcu.store import check
from tests.store.crash_child import METERS
from tests.store.tools import HOUR, HOURLY, START, HandClock, opened, reading

APP = Path(__file__).parents[2]
KILLS = 30


@dataclass
class Promises:
    """What the children said before they died."""

    counters: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    outbox: dict[int, str] = field(default_factory=dict)
    gone: set[int] = field(default_factory=set)
    floors: dict[str, int] = field(default_factory=dict)
    readings: int = START

    def hear(self, line: str) -> None:
        kind, *words = line.split()
        if kind == "counters":
            self.counters.setdefault(words[0], []).append((int(words[1]), int(words[2])))
        elif kind == "outbox":
            self.outbox[int(words[0])] = words[1]
        elif kind == "push":
            self.outbox[int(words[0])] = f"push {words[2]}"
            self.floors[words[1]] = int(words[2])
        elif kind == "acknowledging":  # from here on it may be there or not
            self.outbox.pop(int(words[0]), None)
        elif kind == "acknowledged":
            self.gone.add(int(words[0]))
        elif kind == "readings":
            self.readings = int(words[0])

    def reused(self) -> list[str]:
        found = []
        for meter, ranges in self.counters.items():
            last = 0
            for start, stop in ranges:
                if start < last:
                    found.append(f"{meter}: {start} was given out before (up to {last})")
                last = max(last, stop)
        return found


def killed(directory: Path, seed: int, after: float, *options: str) -> list[str]:
    """Run a child, kill it `after` seconds from its first promise, return every whole line it said."""
    command = [sys.executable, "-m", "tests.store.crash_child", str(directory), str(seed), *options]
    # Unbuffered: what came in with the first line would not be seen by communicate().
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=APP, bufsize=0) as child:
        first = child.stdout.readline()
        time.sleep(after)
        child.kill()
        rest, errors = child.communicate()
    assert child.returncode == -9, errors.decode()
    said = (first + rest).decode()
    return said[: said.rfind("\n") + 1].splitlines()


def verify(directory: Path, promises: Promises) -> list[str]:
    """Return the promises that were broken."""
    report = check(directory)
    broken = [f"{finding.file}: {finding.text}" for finding in report.findings if finding.serious]
    store = opened(directory, HandClock(START + 300 * 24 * HOUR), retention_days=400)
    waiting = {item.seq: item.payload.decode() for item in store.critical.pending(1_000_000)}
    broken += [f"outbox {seq} is not what was put" for seq, text in promises.outbox.items() if waiting.get(seq) != text]
    broken += [f"outbox {seq} came back" for seq in promises.gone & waiting.keys()]
    for meter, floor in promises.floors.items():
        if store.critical.receive_floor(meter) < floor:
            broken.append(f"floor of {meter} fell below {floor}")
    for number, meter in enumerate(METERS):
        expected = [reading(moment, seed=number) for moment in range(START + HOUR, promises.readings + 1, HOUR)]
        found = store.readings(meter, HOURLY, START, promises.readings + 1)
        if found != expected:
            broken.append(f"{meter}: {len(found)} readings of {len(expected)} up to {promises.readings}")
        gaps = store.gaps(meter, HOURLY, START + HOUR, promises.readings + 1, HOUR)
        if gaps:
            broken.append(f"{meter}: gaps {gaps}")
    store.close()
    return broken


@pytest.mark.slow
def test_nothing_acknowledged_is_lost_and_no_counter_is_given_twice_over_thirty_kills(tmp_path):
    rng = random.Random(20250301)
    promises = Promises()
    for round_ in range(KILLS):
        for line in killed(tmp_path, round_, rng.uniform(0, 0.15)):
            promises.hear(line)
        assert verify(tmp_path, promises) == [], f"after kill {round_ + 1}"
    assert promises.reused() == []
    assert sum(len(ranges) for ranges in promises.counters.values()) > KILLS
    assert promises.readings > START


@pytest.mark.slow
def test_the_crash_test_notices_counters_that_are_handed_out_before_they_are_kept(tmp_path):
    promises = Promises()
    for round_ in range(6):
        for line in killed(tmp_path, round_, 0.02, "canary"):
            promises.hear(line)
    assert promises.reused()
