"""The MAC between two or three devices: segments, retries, tone maps, and what is taken for new."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neighbourhood.g3 import cost, frames, phy
from neighbourhood.g3.channel import Transmission
from neighbourhood.g3.feeder import Cable, Feeder, Junction, Place
from neighbourhood.g3.line import PAN, Line
from neighbourhood.g3.mac import LAST_IN_ROBO, MAX_RETRIES
from neighbourhood.g3.msdu import Arrived, Msdu
from neighbourhood.g3.phy import ALL_TONES, Modulation
from neighbourhood.g3.tables import Neighbour, Status
from neighbourhood.g3.trace import Tag

KEY = bytes(range(16))
TAG = Tag(0, None, "DATA")


class Pair:
    """Two devices on one cable, and what the second gets."""

    def __init__(self, metres: float = 50.0) -> None:
        cables = Feeder(
            1, [Junction(0, 0, 0), Junction(1, metres, 0)], [Cable(0, 0, 1, metres)], [Place(0, "A"), Place(1, "A")]
        )
        self.line = Line(1, 1, quiet=True, cables=cables)
        self.one, self.other = (node.mac for node in self.line.nodes)
        for mac in (self.one, self.other):
            mac.keys = {0: KEY}
            mac.associate(PAN, mac.number)
        self.got: list[Arrived] = []
        self.other.on_data = self.got.append
        self.frames: list[Transmission] = []
        self.line.channel.reports.append(lambda sent, got, attenuation, lost: self.frames.append(sent))

    def send(self, payload: bytes, seconds: float = 10.0) -> Status:
        ended: list[Status] = []
        self.one.send(Msdu(1, payload, ended.append, TAG))
        self.line.scheduler.run_until(self.line.scheduler.now + seconds)
        return ended[0]

    def data(self) -> list[Transmission]:
        return [sent for sent in self.frames if sent.raw and sent.sender == 0]


@settings(max_examples=30, deadline=None)
@given(st.binary(min_size=1, max_size=400), st.sampled_from(Modulation))
def test_an_msdu_arrives_whole_in_as_many_segments_as_its_modulation_asks_for(payload, modulation):
    pair = Pair()
    pair.one.neighbours[1] = Neighbour(1, 120, 0.0, 120, modulation, ALL_TONES, 1e9)
    assert pair.send(payload) is Status.OK
    assert [arrived.payload for arrived in pair.got] == [payload]
    room = phy.longest(modulation) - frames.OVERHEAD
    sent = pair.data()
    assert len(sent) == -(-len(payload) // room)
    assert {one.modulation for one in sent} == {modulation}
    assert all(one.length <= phy.longest(modulation) for one in sent)
    assert [one.decoded().frame.segment.number for one in sent] == list(range(len(sent)))
    assert [one.decoded().frame.segment.last for one in sent] == [False] * (len(sent) - 1) + [True]


def test_only_the_first_segment_contends():
    pair = Pair()
    pair.send(bytes(400))
    data = pair.data()
    assert len(data) == 4  # ROBO
    for before, after in pairwise(data):
        assert after.start - before.reserved == pytest.approx(phy.CIFS)


def test_a_stranger_is_spoken_to_in_robo_and_asked_for_a_tone_map_once():
    pair = Pair()
    pair.send(b"first")
    pair.send(b"second")
    first, second = pair.data()[0], pair.data()[-1]
    assert (first.modulation, first.decoded().frame.segment.tone_map) == (Modulation.ROBO, True)
    assert (second.modulation, second.decoded().frame.segment.tone_map) == (Modulation.D8PSK, False)
    told = pair.one.neighbours[1]
    link = pair.line.channel.link(0, 1)
    assert (told.modulation, told.tones) == phy.choose(link.snr)
    assert told.reverse_lqi == link.lqi


def test_a_tone_map_ends_with_its_time():
    pair = Pair()
    pair.one.tone_map_ttl = 60.0
    pair.send(b"first")
    pair.send(b"again", 61.0)
    pair.send(b"later")
    assert pair.data()[-1].modulation is Modulation.ROBO


def test_a_modulation_that_no_longer_carries_is_left_for_the_last_three_repetitions():
    pair = Pair(365.0)
    pair.one.neighbours[1] = Neighbour(1, 120, 0.0, 120, Modulation.D8PSK, ALL_TONES, 1e9)
    link = pair.line.channel.link(0, 1)
    assert phy.error_100(phy.over(link.snr, ALL_TONES), Modulation.D8PSK) > 0.99
    assert pair.send(bytes(300)) is Status.OK
    tried = [sent.modulation for sent in pair.data()]
    usual = MAX_RETRIES + 1 - LAST_IN_ROBO
    assert tried[:usual] == [Modulation.D8PSK] * usual
    assert tried[usual : usual + 3] == [Modulation.ROBO] * 3  # in as many segments
    assert [arrived.payload for arrived in pair.got] == [bytes(300)]


def test_a_repetition_is_byte_for_byte_the_same_and_taken_once():
    pair = Pair()
    pair.one.neighbours[1] = Neighbour(1, 120, 0.0, 120, Modulation.DBPSK, ALL_TONES, 1e9)
    channel = pair.line.channel
    fate, lost = channel._fate, []

    def lose_first_acknowledgement(sent, receiver):
        if not sent.raw and not lost:
            lost.append(sent)
            return "noise"
        return fate(sent, receiver)

    channel._fate = lose_first_acknowledgement
    assert pair.send(b"once") is Status.OK
    first, second = pair.data()
    assert first.raw == second.raw
    assert [arrived.payload for arrived in pair.got] == [b"once"]
    assert (pair.other.counters.duplicate, pair.other.counters.replayed) == (1, 0)


def test_nobody_there_is_told_after_six_attempts():
    pair = Pair()
    pair.other.up = False
    assert pair.send(b"?", 30) is Status.NO_ACK
    assert len(pair.data()) == 6
    assert pair.one.counters.no_ack == 1


def test_a_full_queue_says_so_at_once():
    pair = Pair()
    ended: list[Status] = []
    for _ in range(60):
        pair.one.send(Msdu(1, b"x", ended.append, TAG))
    assert ended
    assert set(ended) == {Status.NO_BUFFERS}
    pair.line.scheduler.run_until(100)
    assert ended.count(Status.OK) + ended.count(Status.NO_BUFFERS) == 60


@pytest.mark.parametrize(("keys", "counter"), [({}, 0), ({0: KEY}, 0xFFFFFFFF)])
def test_without_a_key_or_a_counter_nothing_is_sent(keys, counter):
    pair = Pair()
    pair.one.keys, pair.one.frame_counter = keys, counter
    assert pair.send(b"?") is Status.NOT_PERMITTED
    assert pair.data() == []


def test_an_msdu_over_400_bytes_is_refused():
    with pytest.raises(ValueError, match="at most 400"):
        Pair().one.send(Msdu(1, bytes(401), None, TAG))


def test_the_frame_counter_never_repeats():
    pair = Pair()
    for _ in range(5):
        pair.send(bytes(400))
    frames_by_counter: dict[int, set[bytes]] = {}
    for sent in pair.data():
        frames_by_counter.setdefault(sent.decoded().frame.counter, set()).add(sent.raw)
    assert all(len(raws) == 1 for raws in frames_by_counter.values())  # a repetition is the same frame
    assert pair.one.frame_counter == max(frames_by_counter) + 1


@pytest.mark.parametrize(
    ("lqi", "modulation", "tones", "weights", "expected"),
    [
        pytest.param(80, 3, 63, cost.Weights(), 0, id="a good link"),
        pytest.param(44, 0, 63, cost.Weights(), 10, id="the worst quality"),
        pytest.param(62, 0, 63, cost.Weights(), 5, id="half of it"),
        pytest.param(71, 0, 63, cost.Weights(kq=2), 0, id="a half is rounded down"),
        pytest.param(80, 0, 63, cost.Weights(kr=7, km=2), 13, id="ROBO"),
        pytest.param(80, 2, 7, cost.Weights(km=2, kc=8), 8, id="DQPSK with half its tones"),
    ],
)
def test_the_cost_of_a_direction(lqi, modulation, tones, weights, expected):
    assert cost.direction(lqi, modulation, tones, weights) == expected


def test_the_cost_of_a_hop_is_its_dearer_direction():
    weights = cost.Weights(krt=6, add_reverse=3)
    assert cost.hop(Neighbour(1, 80, 0.0, 44), weights, 0.5) == 10 + 3 + 4
    assert cost.hop(Neighbour(1, 80, 0.0), weights, 0.0) == 3 + 4  # nothing known of the way back
    assert cost.hop(Neighbour(1, 80, 0.0, reverse_cost=9), weights, 0.0) == 9 + 4
    assert cost.weak(Neighbour(1, 80, 0.0, 51), weights)
    assert not cost.weak(Neighbour(1, 52, 0.0), weights)
