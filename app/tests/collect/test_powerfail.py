"""The power-fail machine: whatever hangs, comes late or comes twice, it freezes, tells and switches off in time."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dcu.collect.powerfail import Do, PowerFail, Stage, Terms

TERMS = Terms(commit=0.5, send=2.0, note=0.5, off_before=2.0)
ANSWERED = {Do.COMMIT: "committed", Do.SEND: "sent", Do.NOTE: "noted"}


def ends(machine):
    """Let every step hang; return what was done, and when."""
    done = []
    while machine.until is not None:
        now = machine.until
        done += [(now, what) for what in machine.late(now)]
    return done


def test_an_outage_in_which_all_goes_well():
    machine = PowerFail(TERMS)
    assert machine.failed(100.0, 120.0) == (Do.HALT, Do.COMMIT)
    assert machine.until == 109.0
    assert machine.committed(1, 101.0, whole=True) == (Do.SEND,)
    assert machine.sent(1, 101.5) == (Do.NOTE,)
    assert machine.noted(1, 101.6) == (Do.FREEZE, Do.DONE)
    assert machine.late(117.9) == ()
    assert machine.late(118.0) == (Do.OFF,)
    assert machine.until is None


def test_mains_that_come_back_while_switching_off_let_it_go_on():
    machine = PowerFail(TERMS)
    machine.failed(0.0, 20.0)
    ends(machine)
    assert machine.stage is Stage.OFF
    assert machine.returned() == (Do.THAW, Do.RESUME, Do.TELL)
    assert machine.failed(30.0, 50.0) == (Do.HALT, Do.COMMIT)


def test_a_store_with_too_much_to_commit_is_frozen_before_anything_is_said():
    machine = PowerFail(TERMS)
    machine.failed(0.0, 20.0)
    assert machine.committed(1, 8.0, whole=False) == (Do.FREEZE, Do.SEND)
    assert machine.sent(1, 8.5) == (Do.DONE,)  # the audit log is behind the gate too


def test_where_every_step_hangs_all_that_must_happen_happens_in_time():
    machine = PowerFail(TERMS)
    machine.failed(0.0, 20.0)
    assert ends(machine) == [(9.0, Do.FREEZE), (9.0, Do.SEND), (11.0, Do.DONE), (18.0, Do.OFF)]


def test_a_short_notice_is_halved():
    machine = PowerFail(TERMS)
    machine.failed(0.0, 1.0)
    assert ends(machine) == [(0.25, Do.FREEZE), (0.25, Do.SEND), (0.5, Do.DONE), (0.5, Do.OFF)]


def test_a_failure_without_any_notice_still_freezes_and_tells():
    machine = PowerFail(TERMS)
    machine.failed(7.0, 3.0)
    assert ends(machine) == [(7.0, Do.FREEZE), (7.0, Do.SEND), (7.0, Do.DONE), (7.0, Do.OFF)]


@pytest.mark.parametrize("answers", range(4))
def test_mains_that_come_back_inside_the_window_bring_everything_back(answers):
    machine = PowerFail(TERMS)
    machine.failed(0.0, 20.0)
    for answer in (
        lambda: machine.committed(1, 1.0, whole=False),
        lambda: machine.sent(1, 2.0),
        lambda: machine.noted(1, 3.0),
    )[:answers]:
        answer()
    frozen = machine.frozen
    assert machine.returned() == ((Do.THAW,) if frozen else ()) + (Do.RESUME, Do.TELL)
    assert (machine.stage, machine.until, machine.frozen) == (Stage.POWERED, None, False)


def test_what_answers_an_earlier_outage_is_not_heard():
    machine = PowerFail(TERMS)
    machine.failed(0.0, 20.0)
    machine.returned()
    machine.failed(1.0, 21.0)
    assert machine.committed(1, 2.0, whole=True) == ()
    assert machine.stage is Stage.COMMITTING


# --- whatever happens


class World:
    """Does what it is told, and holds it against what must never be. `machine` is driven in time or by events."""

    def __init__(self, machine):
        self.machine = machine
        self.now = 0.0
        self.done = []  # of this outage
        self.halted = self.frozen = False
        self.deadline = math.inf

    def step(self, what):
        for do in what:
            self.obey(do)

    def obey(self, do):
        assert do not in self.done, f"{do.name} twice in one outage"
        back = do in (Do.THAW, Do.RESUME, Do.TELL)
        assert Do.OFF not in self.done or back, f"{do.name} after switching off"
        self.done.append(do)
        match do:
            case Do.HALT:
                self.halted = True
            case Do.COMMIT | Do.NOTE:
                assert self.halted
                assert not self.frozen, f"{do.name} behind the gate"
            case Do.FREEZE:
                self.frozen = True
            case Do.SEND:
                assert self.halted
                assert Do.COMMIT in self.done
            case Do.DONE:
                assert self.frozen
                assert Do.SEND in self.done
            case Do.OFF:
                assert self.done[-2] is Do.DONE
                assert self.frozen
                assert self.now >= self.machine.off_at
            case Do.THAW:
                assert self.frozen
                self.frozen = False
            case Do.RESUME:
                assert self.halted
                assert not self.frozen
                self.halted = False

    def fail(self, notice):
        if self.machine.stage is Stage.POWERED:
            self.done, self.deadline = [], self.now + notice
        self.step(self.machine.failed(self.now, self.now + notice))

    def pass_time(self, seconds):
        """The caller's duty: `late` when it is due."""
        end = self.now + seconds
        while self.machine.until is not None and self.machine.until <= end:
            self.now = max(self.now, self.machine.until)
            self.step(self.machine.late(self.now))
        self.now = end
        if self.now >= self.deadline and self.machine.stage is not Stage.POWERED:
            assert self.done.count(Do.OFF) == 1, "the forced end came first"

    def answer(self, do, outage, whole):
        if do is Do.COMMIT:
            self.step(self.machine.committed(outage, self.now, whole=whole))
        elif do is Do.SEND:
            self.step(self.machine.sent(outage, self.now))
        else:
            self.step(self.machine.noted(outage, self.now))

    def come_back(self):
        self.step(self.machine.returned())
        assert not self.frozen
        assert not self.halted
        assert (self.machine.stage, self.machine.until) == (Stage.POWERED, None)
        self.deadline = math.inf


events = st.one_of(
    st.tuples(st.just("fail"), st.floats(0, 30)),
    st.tuples(st.just("pass_time"), st.floats(0, 15)),
    st.tuples(st.just("answer"), st.sampled_from(list(ANSWERED)), st.integers(0, 3), st.booleans()),
    st.tuples(st.just("come_back")),
)
terms = st.builds(Terms, st.floats(0, 1), st.floats(0, 5), st.floats(0, 2), st.floats(0, 20))


@settings(max_examples=300, deadline=None)
@given(terms, st.lists(events, max_size=25))
def test_whatever_happens_the_order_holds_and_the_end_is_in_time(chosen, happenings):
    world = World(PowerFail(chosen))
    for name, *arguments in happenings:
        getattr(world, name)(*arguments)
    if world.machine.stage is not Stage.POWERED:
        world.pass_time(60.0)
        assert world.done[-1] is Do.OFF
        assert Do.SEND in world.done


class Writes(PowerFail):
    """Broken on purpose: keeps its line in the audit log also behind the gate."""

    def sent(self, outage, now):
        if not self._answers(outage, Stage.SENDING):
            return ()
        self._enter(Stage.NOTING, self.off_at)
        return (Do.NOTE,)


class Waits(PowerFail):
    """Broken on purpose: waits for a flush that never ends."""

    def late(self, now):
        if self.stage is Stage.COMMITTING and now >= self.until:
            self.until = now + 1000.0
            return ()
        return super().late(now)


class Repeats(PowerFail):
    """Broken on purpose: sends its one packet again when it is late."""

    def late(self, now):
        repeated = (Do.SEND,) if self.stage is Stage.SENDING and now >= self.until else ()
        return repeated + super().late(now)


def hang(world, *, after_sending):
    world.pass_time(9.5)
    if after_sending:
        world.answer(Do.SEND, 1, True)
    world.pass_time(60.0)


@pytest.mark.parametrize(
    ("broken", "sent", "caught"),
    [
        pytest.param(Writes, True, "behind the gate", id="a write after the freeze"),
        pytest.param(Waits, False, "the forced end came first", id="a flush that ignores the deadline"),
        pytest.param(Repeats, False, "SEND twice", id="a packet sealed twice"),
    ],
)
def test_canary_a_broken_machine_is_caught(broken, sent, caught):
    world = World(broken(TERMS))
    world.fail(20.0)
    with pytest.raises(AssertionError, match=caught):
        hang(world, after_sending=sent)
