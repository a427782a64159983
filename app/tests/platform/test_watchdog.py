"""The watchdog is fed while every subsystem makes progress, and only then."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcu.platform.watchdog import Feeder, Liveness


class Bench:
    """A clock set by hand, and what systemd and the log were told."""

    def __init__(self):
        self.now = 0.0
        self.told = []
        self.log = []
        self.liveness = Liveness(lambda: self.now)
        self.feeder = Feeder(self.liveness, self.told.append, self.log.append)


@pytest.fixture
def bench():
    return Bench()


def test_a_beating_subsystem_is_alive_until_it_is_overdue(bench):
    beat = bench.liveness.beating("event loop", 10)
    bench.now = 10
    assert bench.feeder.feed()
    bench.now = 10.5
    assert not bench.feeder.feed()
    beat()
    assert bench.feeder.feed()


def test_a_watched_one_is_alive_while_its_marker_moves(bench):
    steps = 0
    bench.liveness.watched("scheduler", 10, lambda: steps)
    for bench.now in range(0, 100, 9):
        steps += 1
        assert bench.feeder.feed()
    bench.now += 11
    assert not bench.feeder.feed()


def test_an_idle_one_is_alive_however_long(bench):
    busy = False
    bench.liveness.watched("uplink", 10, lambda: 0, lambda: busy)
    bench.now = 1000
    assert bench.feeder.feed()
    busy = True
    bench.now = 1009
    assert bench.feeder.feed()
    bench.now = 1011
    assert not bench.feeder.feed()


def test_one_stuck_subsystem_among_many_starves_the_watchdog_and_is_named(bench):
    beats = {name: bench.liveness.beating(name, 10) for name in ("event loop", "store writer", "scheduler", "uplink")}
    bench.now = 20
    for name, beat in beats.items():
        if name != "store writer":
            beat()
    assert not bench.feeder.feed()
    assert bench.told == ["STATUS=stuck: store writer"]
    assert bench.log == ["store writer: no progress for 20 s: the watchdog is not fed"]
    assert not bench.feeder.feed()
    assert len(bench.log) == 1  # said once, not at every look
    beats["store writer"]()
    assert bench.feeder.feed()
    assert bench.told[1:] == ["STATUS=", "WATCHDOG=1"]


def test_a_subsystem_that_ended_on_purpose_is_not_missed(bench):
    bench.liveness.beating("uplink", 1)
    bench.liveness.forget("uplink")
    bench.now = 100
    assert bench.feeder.feed()


def test_a_name_is_given_once(bench):
    bench.liveness.beating("uplink", 1)
    with pytest.raises(ValueError, match="uplink"):
        bench.liveness.beating("uplink", 1)


@given(st.lists(st.tuples(st.sampled_from("ab"), st.floats(0.1, 8)), max_size=40))
def test_it_is_fed_exactly_while_all_are_within_their_bounds(steps):
    bench = Bench()
    beats = {"a": bench.liveness.beating("a", 5), "b": bench.liveness.beating("b", 12)}
    last = {"a": 0.0, "b": 0.0}
    for name, wait in steps:
        bench.now += wait
        assert bench.feeder.feed() == (bench.now - last["a"] <= 5 and bench.now - last["b"] <= 12)
        beats[name]()
        last[name] = bench.now


def test_canary_a_feeder_that_only_asks_whether_the_process_lives_is_caught(bench):
    """What many daemons do: feed from a timer. The test of one stuck subsystem tells it apart."""
    bench.liveness.beating("store writer", 10)
    bench.now = 20
    feed_from_a_timer = True
    assert feed_from_a_timer != bench.feeder.feed()
