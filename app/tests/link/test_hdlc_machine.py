"""HDLC delivers exactly what was sent, in order, whatever a line does that keeps the order; or it says that it is down.

Both ends send whenever they like, each with windows of its own; the line drops, flips, cuts, splits, repeats, delays,
merges and echoes frames. After an error the line is let fall quiet, and the two connect anew.
"""

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from dcu.errors import LinkTimeout
from dcu.link.hdlc import Address
from dcu.link.hdlc_client import Setup, State
from dcu.link.hdlc_numbered import Numbered
from dcu.link.hdlc_server import Terms

from .hdlc_line import CLIENT, SERVER, Fault, Line, parameters

faults = st.builds(
    Fault, st.sampled_from(["drop", "flip", "cut", "split", "twice", "late", "noise"]), st.integers(0, 2000)
)
apdus = st.binary(max_size=6) | st.integers(0, 255).map(lambda n: bytes((n,)) * 90)


class Hdlc(RuleBasedStateMachine):
    """What one end sent against what the other got, since the link was last set up."""

    @initialize(
        size=st.sampled_from([9, 40, 128]),
        windows=st.tuples(st.integers(1, 7), st.integers(1, 7)),
        echo=st.booleans(),
        same=st.booleans(),
        backlog=st.sampled_from([1, 16]),
    )
    def begin(self, size, windows, echo, same, backlog):
        client, server = (Address(1), Address(1)) if same and echo else (CLIENT, SERVER)
        setup = Setup(
            client, server, parameters(size, windows[0]), inter_octet=0.5, echo=echo, answer_acknowledges=False,
            backlog=backlog,
        )  # fmt: skip
        terms = Terms(parameters(size, windows[1]), inactivity=1e9, inter_octet=0.5, echo=echo, backlog=backlog)
        self.line = Line(self.at_meter, setup=setup, terms=terms, server=server, echo=echo)
        self.up, self.down, self.got_up, self.got_down = [], [], [], []
        self.dial()

    def at_meter(self, client, server, apdu):
        self.got_up.append(apdu)

    def dial(self):
        self.line.drain()
        self.line.meter.held = False
        self.up, self.down, self.got_up, self.got_down = [], [], [], []
        assert self.line.connect()

    @rule(apdu=apdus)
    def client_sends(self, apdu):
        if self.line.client.state is State.CONNECTED:
            self.up.append(apdu)
            self.line.client.send(apdu)

    @rule(apdu=apdus)
    def meter_sends(self, apdu):
        if self.line.client.state is State.CONNECTED:
            self.down.append(apdu)
            self.line.link.send(apdu)
            self.line.client.poll()

    @rule(faults=st.lists(faults, max_size=5))
    def weather(self, faults):
        self.line.faults.extend(faults)

    @rule(merge=st.booleans())
    def reads_are_merged(self, merge):
        self.line.merge = merge

    @rule(held=st.booleans())
    def meter_is_busy(self, held):
        self.line.meter.held = held
        if not held and self.line.meter.links:
            self.line.meter._handle(self.line.link)

    @rule(seconds=st.sampled_from([0.005, 0.1, 2.0, 10.0]))
    def time_passes(self, seconds):
        self.line.run(seconds)

    @rule()
    def client_reads(self):
        while self.line.client.received:
            self.got_down.append(self.line.client.received.popleft())

    @rule()
    def all_arrives(self):
        """On a line without faults everything gets there; a link that is down has said so and is set up anew."""
        self.line.faults.clear()
        self.meter_is_busy(False)
        for _ in range(60):
            if self.line.client.state is State.CONNECTED:
                self.line.client.poll()
            self.line.run(2)
            self.client_reads()
        if self.line.client.state is State.CONNECTED:
            assert self.got_up == self.up
            assert self.got_down == self.down
            assert self.line.client.unacknowledged == 0
        else:
            assert isinstance(self.line.client.error, LinkTimeout), self.line.client.error
            self.dial()

    @invariant()
    def nothing_is_lost_repeated_or_reordered(self):
        if hasattr(self, "line"):
            assert self.got_up == self.up[: len(self.got_up)]
            assert self.got_down == self.down[: len(self.got_down)]

    def teardown(self):
        if hasattr(self, "line"):
            self.all_arrives()


def search(examples, steps=25, phases=tuple(Phase)):
    run_state_machine_as_test(
        Hdlc,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            database=None,
            derandomize=True,
            print_blob=False,
            phases=phases,
        ),
    )


def test_hdlc_delivers_exactly_what_was_sent_in_order():
    search(120)


# --- the canaries: links broken on purpose


def _no_checkpoint(self):
    """What was sent is thought to have arrived."""
    self._segments = type(self._segments)(list(self._segments)[self._flown :])
    self._oldest = self.send
    self._flown = self._reached = 0


def _takes_all(self, frame):
    """Whatever comes is the next."""
    self.receive = (frame.control.send + 1) & 7
    self.progress = True
    self._joined += frame.information
    self._joining = frame.segmented
    if not frame.segmented:
        self._complete()
    return True


@pytest.mark.parametrize(
    ("method", "broken"),
    [
        pytest.param("_checkpoint", _no_checkpoint, id="what the checkpoint asks for is not sent again"),
        pytest.param("_checkpoint", lambda self: None, id="the checkpoint is switched off"),
        pytest.param("_accept", _takes_all, id="the numbers of I frames are not looked at"),
        pytest.param("_acknowledge", lambda self, receive: True, id="N(R) is not looked at"),
    ],
)
def test_a_broken_link_is_noticed(monkeypatch, method, broken):
    monkeypatch.setattr(Numbered, method, broken)
    with pytest.raises(AssertionError):
        search(1200, phases=(Phase.generate,))  # that it is noticed, not how briefly it can be said
