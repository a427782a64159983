"""The model of a power cut: nothing flushed is ever missing, and everything else may be."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ota.errors import OtaError
from ota.powercut import plans
from ota.powercut.log import SECTOR, Disk, Flush, Write
from ota.powercut.replay import Canvas, Replay, Sectors, kept, name, parse
from tests.ota.powercut.recordings import marks, recorded

SIZE = 8
DISK = Disk("disk", SIZE * SECTOR)
CARD = Disk("card", SIZE * SECTOR, card=True)

writes = st.builds(
    lambda at, values, fua: ("write", 0, at, values[: SIZE - at], *(["fua"] if fua else [])),
    st.integers(0, SIZE - 1),
    st.lists(st.integers(1, 99), min_size=1, max_size=4),
    st.sampled_from([False, False, False, True]),
)
steps = st.lists(st.one_of(writes, writes, st.just(("flush", 0))), max_size=14)
choices = st.one_of(
    st.sampled_from(["none", "all"]),
    st.builds("{}-{}".format, st.sampled_from(["first", "only", "without", "seed"]), st.integers(0, 10**6)),
    st.builds("bits-{:x}".format, st.integers(0, 0xFFFF)),
)


def allowed(recording, position):
    """Per sector, told simply: the last durable version, and every one after it, the write under way included."""
    versions = [[(0, True)] for _ in range(SIZE)]  # content, durable
    for index, record in enumerate(recording.records[: position + 1]):
        if isinstance(record, Write):
            done = index < position
            for place, number in enumerate(record.numbers, record.sector):
                versions[place].append((number, index, record.fua and done))
        elif isinstance(record, Flush) and index < position:
            for chain in versions:
                chain[:] = [(n, at[0], True) if at and at[0] < record.covers else (n, *at) for n, *at in chain]
    found = []
    for chain in versions:
        last = max(place for place, version in enumerate(chain) if version[-1])
        found.append({version[0] for version in chain[last:]})
    return found


@settings(max_examples=400, deadline=None)
@given(steps, choices, st.data())
def test_nothing_flushed_is_ever_missing(tmp_path_factory, taken, choice, data):
    recording = recorded(tmp_path_factory.mktemp("r"), [DISK], *taken)
    position = data.draw(st.integers(recording.begin, len(recording.records)))
    assert outside(recording, position, choice) == []


def outside(recording, position, choice):
    """Sectors of that state that hold what they cannot hold."""
    replay = Replay(recording)
    replay.seek(position)
    (content,) = replay.state({"disk": choice}).disks
    return [at for at, may in enumerate(allowed(recording, position)) if content[at] not in may]


def test_canary_a_model_that_forgets_flushes_is_caught(tmp_path, monkeypatch):
    recording = recorded(tmp_path, [DISK], ("write", 0, 0, [1]), ("flush", 0))
    assert outside(recording, len(recording.records), "none") == []
    monkeypatch.setattr(Replay, "_settle", lambda self, disk, covers: None)
    assert outside(recording, len(recording.records), "none") == [0]


def test_every_state_that_a_disk_may_leave_is_found(tmp_path):
    """Three volatile writes, two of them to one sector: each of the states that can be is among the plan's."""
    recording = recorded(
        tmp_path, [DISK], ("write", 0, 0, [1]), ("flush", 0), ("write", 0, 0, [2]), ("write", 0, 0, [3]),
        ("write", 0, 5, [4]), ("mark", "end", {}),
    )  # fmt: skip
    replay, seen = Replay(recording), set()
    for position, choice in plans.exhaustive(recording):
        if position == len(recording.records) - 1:
            replay.seek(position)
            content = marks(recording, replay.state(choice).disks[0])
            seen.add((content[0], content[5]))
    assert seen == set(itertools.product((1, 2, 3), (0, 4)))


def test_a_flush_covers_what_was_answered_when_it_was_sent(tmp_path):
    """The second write was still under way for whoever sent the flush."""
    recording = recorded(tmp_path, [DISK], ("write", 0, 0, [1]), ("write", 0, 1, [2]), ("flush", 0, 2))
    replay = Replay(recording)
    replay.seek(len(recording.records))
    assert marks(recording, replay.state({"disk": "none"}).disks[0])[:2] == [1, 0]


def test_the_write_under_way_may_be_torn(tmp_path):
    recording = recorded(tmp_path, [DISK], ("write", 0, 0, [1, 2, 3, 4]))
    replay = Replay(recording)
    seen = {tuple(marks(recording, replay.state({"disk": f"seed-{n}"}).disks[0])[:4]) for n in range(3000)}
    assert {(0, 0, 0, 0), (1, 2, 3, 4), (1, 2, 0, 0), (0, 0, 3, 4)} <= seen
    assert len(seen) == 16  # any sectors of it


def test_a_cards_command_is_complete_with_its_last_block(tmp_path):
    recording = recorded(
        tmp_path, [CARD], ("write", 0, 0, [1]), ("write", 0, 1, [2]), ("write", 0, 2, [3]), ("write", 0, 0, [9])
    )
    replay = Replay(recording)
    first = recording.begin
    replay.seek(first + 2)
    assert len(replay.volatile(0)) == 3  # all three blocks of the command: two sent, one under way
    replay.seek(first + 3)
    assert marks(recording, replay.state({"card": "none"}).disks[0])[:3] == [1, 2, 3]
    assert [unit.sector for unit in replay.volatile(0)] == [0]


def test_going_back_gives_the_same_states(tmp_path):
    recording = recorded(tmp_path, [DISK], *[("write", 0, at % 7, [at]) for at in range(1, 20)], ("flush", 0))
    there = Replay(recording)
    there.seek(len(recording.records))
    there.seek(recording.begin + 5)
    fresh = Replay(recording)
    fresh.seek(recording.begin + 5)
    assert there.state({"disk": "seed-3"}) == fresh.state({"disk": "seed-3"})


@given(st.integers(0, 10**9), st.dictionaries(st.sampled_from(["card", "disk"]), choices))
def test_a_states_name_is_read_back(position, chosen):
    assert parse(name(position, chosen), (CARD, DISK)) == (position, chosen)


@pytest.mark.parametrize("text", ["", "x", "1,tape=all", "1,disk=some", "1,disk=all,disk=none", "1,disk=bits-", "-1"])
def test_what_names_no_state_is_refused(text):
    with pytest.raises(OtaError):
        parse(text, (CARD, DISK))


def test_a_choice_of_writes(tmp_path):
    recording = recorded(tmp_path, [DISK], *[("write", 0, at, [at + 1]) for at in range(4)])
    replay = Replay(recording)
    replay.seek(len(recording.records))
    units = replay.volatile(0)
    chosen = {c: [at for at, _ in kept(units, c)] for c in ("none", "all", "first-2", "only-1", "without-1", "bits-9")}
    assert chosen == {
        "none": [], "all": [0, 1, 2, 3], "first-2": [0, 1], "only-1": [1], "without-1": [0, 2, 3], "bits-9": [0, 3],
    }  # fmt: skip


def test_a_canvas_shows_each_state_as_it_is(tmp_path):
    recording = recorded(tmp_path, [DISK], ("write", 0, 1, [1, 2]), ("flush", 0), ("write", 0, 2, [0, 7]))
    canvas = Canvas(tmp_path / "image", Sectors(tmp_path), 1, 4)
    replay = Replay(recording)
    for position in (len(recording.records), recording.begin):
        replay.seek(position)
        content = replay.state({"disk": "all" if position > recording.begin else "none"}).disks[0]
        canvas.show(content)
        shown = (tmp_path / "image").read_bytes()
        assert [shown[at * SECTOR + 3] for at in range(4)] == marks(recording, content)[1:5]
