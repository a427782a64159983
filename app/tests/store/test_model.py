"""The store against a dict: whatever is done in whatever order, a reader sees the same in both."""

import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from dcu.model import Reading
from dcu.store import check
from tests.store.tools import DAILY, DAY, HOUR, HOURLY, START, HandClock, opened

METERS = ("A", "B", "C")
KEEP = 3
meters = st.sampled_from(METERS)
profiles = st.sampled_from((HOURLY, DAILY))
values = st.tuples(st.integers(0, 9), st.one_of(st.integers(-5, 2**40), st.none(), st.text(max_size=3)))


class StoreAgainstDict(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.directory = Path(tempfile.mkdtemp())
        self.clock = HandClock(START + 5 * DAY)
        self.model = {}
        self.counters = dict.fromkeys(METERS, 0)
        self.outbox = {}

    @initialize()
    def begin(self):
        self.store = opened(self.directory, self.clock, *METERS, retention_days=KEEP, commit_rows=40)
        for meter in METERS:
            self.store.critical.raise_counter(meter, 0)

    def low(self):
        return (self.clock.seconds // DAY - KEEP) * DAY

    @rule(meter=meters, profile=profiles, back=st.integers(0, 5 * 24), many=st.integers(1, 30), what=values)
    def add(self, meter, profile, back, many, what):
        first = self.clock.seconds // HOUR * HOUR - back * HOUR
        rows = [Reading(first + hour * HOUR, what[0], what) for hour in range(many)]
        kept = [row for row in rows if self.low() <= row.timestamp < self.clock.seconds + DAY]
        assert self.store.add(meter, profile, rows) == len(kept)
        self.model.update(((meter, profile, row.timestamp), row) for row in kept)

    @rule()
    def flush(self):
        self.store.flush()

    @rule(hours=st.integers(1, 40))
    def wait(self, hours):
        self.clock.advance(hours=hours)
        self.store.maintain()
        self.model = {key: row for key, row in self.model.items() if key[2] >= self.low()}

    @rule()
    def restart(self):
        self.store.close()
        report = check(self.directory)
        assert report.ok, report.findings
        self.store = opened(self.directory, self.clock, retention_days=KEEP, commit_rows=40)

    @rule(meter=meters, count=st.integers(1, 500))
    def reserve(self, meter, count):
        got = self.store.critical.reserve_counters(meter, count)
        assert got == range(self.counters[meter], self.counters[meter] + count)
        self.counters[meter] = got.stop

    @rule(payload=st.binary(max_size=5))
    def put(self, payload):
        seq = self.store.critical.put("event", payload)
        assert seq not in self.outbox
        self.outbox[seq] = payload

    @rule(data=st.data())
    def acknowledge(self, data):
        seqs = data.draw(st.lists(st.integers(1, 30), max_size=4))
        assert self.store.critical.ack(seqs) == len({seq for seq in seqs if self.outbox.get(seq) is not None})
        for seq in seqs:
            if seq in self.outbox:
                self.outbox[seq] = None

    @invariant()
    def reads_are_the_same(self):
        if not hasattr(self, "store"):
            return
        for meter in METERS:
            for profile in (HOURLY, DAILY):
                expected = [
                    row
                    for key, row in sorted(self.model.items(), key=lambda item: item[0][2])
                    if key[:2] == (meter, profile)
                ]
                assert self.store.readings(meter, profile, 0, START * 2) == expected
                end = self.clock.seconds // HOUR * HOUR
                there = {row.timestamp for row in expected}
                missing = [moment for moment in range(self.low(), end, HOUR) if moment not in there]
                gaps = self.store.gaps(meter, profile, self.low(), end, HOUR)
                assert [moment for low, high in gaps for moment in range(low, high, HOUR)] == missing
        waiting = {item.seq: item.payload for item in self.store.critical.pending(1000)}
        assert waiting == {seq: payload for seq, payload in self.outbox.items() if payload is not None}

    def teardown(self):
        if hasattr(self, "store"):
            self.store.close()
        shutil.rmtree(self.directory)


TestStoreAgainstDict = StoreAgainstDict.TestCase
TestStoreAgainstDict.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
