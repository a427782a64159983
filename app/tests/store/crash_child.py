"""A store that works until it is killed. Each line of its output is a promise: what it names is durable.

Run as `python -m tests.store.crash_child DIRECTORY SEED [canary]`; the canary hands counters out before it keeps them.
"""

import random
import sys
from pathlib import Path

from dcu.store import Critical
from tests.store.tools import HOUR, HOURLY, START, HandClock, opened, reading

METERS = [f"M{number}" for number in range(8)]


def work(directory: Path, seed: int) -> None:
    rng = random.Random(seed)
    clock = HandClock(START)
    store = opened(directory, clock, *METERS, retention_days=400, audit_rows=50, ballast=64 << 10)
    critical = store.critical
    for meter in METERS:
        critical.raise_counter(meter, 0)
    clock.seconds = max([START, *(row.timestamp for row in store.readings(METERS[0], HOURLY, 0, 2 * START))])
    for number, meter in enumerate(METERS):  # what waited in RAM is read again
        for low, high in store.gaps(meter, HOURLY, START + HOUR, clock.seconds + HOUR, HOUR):
            store.add(meter, HOURLY, [reading(moment, number) for moment in range(low, high, HOUR)])
    while True:
        clock.seconds += HOUR
        for meter in METERS:
            store.add(meter, HOURLY, [reading(clock.seconds, seed=METERS.index(meter))])
        meter = rng.choice(METERS)
        got = critical.reserve_counters(meter, rng.randint(1, 20))
        say("counters", meter, got.start, got.stop)
        payload = rng.randbytes(rng.randint(1, 400)).hex()
        say("outbox", critical.put("event", payload.encode()), payload)
        floor = critical.receive_floor(meter) + rng.randint(1, 5)
        say("push", critical.accept_push(meter, floor, b"push %d" % floor), meter, floor)
        if rng.random() < 0.3:
            gone = rng.choice(critical.pending(5)).seq
            say("acknowledging", gone)
            critical.ack([gone])
            say("acknowledged", gone)
        critical.audit("child", "loop", meter)
        if rng.random() < 0.3:
            store.flush()
            say("readings", clock.seconds)


def say(*words: object) -> None:
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def hand_out_first() -> None:
    """Break the promise: counters come from RAM, and only every tenth time are they kept."""
    keep, ram, calls = Critical.reserve_counters, {}, [0]

    def careless(self: Critical, meter: str, count: int) -> range:
        calls[0] += 1
        first = ram.get(meter, self.counter(meter))
        ram[meter] = first + count
        if calls[0] % 10 == 0:
            keep(self, meter, ram[meter] - self.counter(meter))
        return range(first, first + count)

    Critical.reserve_counters = careless


if __name__ == "__main__":
    if "canary" in sys.argv:
        hand_out_first()
    work(Path(sys.argv[1]), int(sys.argv[2]))
