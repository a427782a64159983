"""General block transfer: the blocks byte by byte, windows and lost blocks, and whole sessions over it."""

from contextlib import suppress
from dataclasses import replace
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dcu.cosem import gbt
from dcu.cosem.apdu import (
    AccessAction,
    Accessed,
    AccessGet,
    ActionResult,
    DataAccessResult,
)
from dcu.cosem.gbt import OVERHEAD, GeneralBlock, Received, Transfer
from dcu.errors import DecodeError, TagMismatch

from .small_meter import (
    CLIENT,
    DISCONNECT,
    ENERGY,
    ENERGY_NOW,
    GENERAL,
    LIMIT,
    PROFILE,
    SMALL,
    WHOLE,
    Pair,
    least,
    services_row,
    text,
)
from .strategies_apdu import mutated

# --- blocks


@pytest.mark.parametrize(
    ("block", "wire"),
    [
        (GeneralBlock(False, True, 3, 1, 0, b"\xc4\x01"), "E0 43 0001 0000 02 C401"),
        (GeneralBlock(True, False, 1, 258, 5, b""), "E0 81 0102 0005 00"),
        (GeneralBlock(False, False, 63, 65535, 65535, bytes(200)), "E0 3F FFFF FFFF 81C8" + "00" * 200),
    ],
)
def test_a_block_is_byte_exact_both_ways(block, wire):
    assert gbt.encode(block) == bytes.fromhex(wire)
    assert gbt.decode(bytes.fromhex(wire)) == block


@given(mutated(st.builds(lambda size: gbt.encode(GeneralBlock(True, True, 5, 7, 9, bytes(size))), st.integers(0, 300))))
def test_whatever_comes_is_a_block_or_refused(raw):
    with suppress(DecodeError):
        assert gbt.decode(gbt.encode(gbt.decode(raw))) == gbt.decode(raw)


# --- two sides


def carried(raw, answer, *, size=20, windows=(3, 5), lost=()):
    """Send `raw` one way and `answer` back; `lost` are the numbers of the frames that do not arrive. Both as received.

    A turn whose last block is lost is taken again by the one who waits, as a client does that asks once more.
    """
    here = Transfer(size, limit=1 << 20, window=windows[0])
    there = Transfer(size, limit=1 << 20, window=windows[1], theirs=1)
    heard = back = None
    frames, count, sender = list(here.say(raw)), 0, here
    for _ in range(3_000):
        if back is not None:
            return heard, back
        other = there if sender is here else here
        reply = None
        for frame in frames:
            count += 1
            if count in lost:
                continue
            whole, turn = other.take(gbt.decode(frame))
            if whole is not None and other is there and heard is None:
                heard = whole
                turn = there.say(answer)
            elif whole is not None and other is here:
                back = whole
            if whole is not None or not gbt.decode(frame).streaming:
                reply = list(turn)
        if reply is None:
            frames = list(sender.turn())  # nobody took it for his turn
        else:
            frames, sender = reply, other
    raise AssertionError(f"no end: {heard}, {back}")


@settings(max_examples=150, deadline=None)
@given(
    st.binary(min_size=1, max_size=1500),
    st.binary(min_size=1, max_size=1500),
    st.integers(1, 100),
    st.tuples(st.integers(1, 63), st.integers(1, 63)),
)
def test_both_ways_everything_arrives_whatever_the_sizes_and_windows(raw, answer, size, windows):
    assert carried(raw, answer, size=size, windows=windows) == (raw, answer)


@settings(max_examples=150, deadline=None)
@given(
    st.binary(min_size=1, max_size=800), st.binary(min_size=1, max_size=800), st.sets(st.integers(1, 60), max_size=25)
)
def test_lost_blocks_are_sent_again(raw, answer, lost):
    assert carried(raw, answer, lost=lost) == (raw, answer)


def test_canary_a_receiver_that_ignores_gaps_is_found_out(monkeypatch):
    def careless(self, block):
        self._held[block.number] = block.data
        self.arrived = max(self.arrived, block.number)
        if block.last and block.data:
            self._end = block.number

    monkeypatch.setattr(Received, "keep", careless)
    with pytest.raises((AssertionError, KeyError)):
        assert carried(bytes(range(200)), b"x", lost={4}) == (bytes(range(200)), b"x")


def test_only_what_was_lost_is_sent_again_not_what_was_confirmed():
    here = Transfer(10, limit=1000, theirs=4)
    first = here.say(bytes(100))
    assert [gbt.decode(frame).number for frame in first] == [1, 2, 3, 4]
    assert [gbt.decode(frame).streaming for frame in first] == [True, True, True, False]
    _, turn = here.take(GeneralBlock(False, False, 2, 1, 3, b""))
    assert [gbt.decode(frame).number for frame in turn] == [4, 5]


@pytest.mark.parametrize(
    ("frames", "says"),
    [
        ([GeneralBlock(False, True, 1, 1, 9, b"x")], "was not sent"),
        ([GeneralBlock(False, True, 1, 1, 0, bytes(600)), GeneralBlock(False, True, 1, 2, 0, bytes(600))], "more than"),
        ([GeneralBlock(True, True, 1, 1, 0, b"x"), GeneralBlock(True, True, 1, 2, 0, b"y")], "behind the last"),
    ],
)
def test_blocks_that_cannot_be_are_refused(frames, says):
    transfer = Transfer(10, limit=1000)
    *before, last = frames
    for frame in before:
        transfer.take(frame)
    with pytest.raises(DecodeError, match=says):
        transfer.take(last)


def test_confirmations_without_end_come_to_one():
    transfer = Transfer(10, limit=1000, silent=True)

    def without_end():
        for number in range(1 << 17):
            transfer.take(GeneralBlock(False, False, 1, 5, min(number, 0xFFFF), b""))

    with pytest.raises(DecodeError, match="without end"):
        without_end()


def test_the_same_block_over_and_over_comes_to_an_end():
    """As a meter made of the Gurux Java library says it, for as long as anybody answers."""
    transfer = Transfer(10, limit=1000, silent=True)
    again = GeneralBlock(False, False, 1, 1, 0, b"once more")
    turns = count()

    def over_and_over():
        while next(turns) < 1000:
            transfer.take(again)

    with pytest.raises(DecodeError, match="without end"):
        over_and_over()
    assert next(turns) < 100


# --- sessions


def general(context="gmac, global key", *, max_pdu=SMALL, lossy=False):
    pair = Pair(context, max_pdu=max_pdu, lossy=lossy)
    pair.client.association = replace(pair.client.association, conformance=GENERAL)
    pair.server._associations = {
        CLIENT: replace(pair.server._associations[CLIENT], max_pdu=max_pdu, conformance=GENERAL)
    }
    return pair.associated()


def frames_of(pair):
    for each in (*pair.sent, *pair.answered):
        yield from (each,) if isinstance(each, bytes) else each or ()


@pytest.mark.conforms("Services", services_row, peer="general-block-transfer")
@pytest.mark.parametrize("context", WHOLE)
def test_a_whole_session_works_over_general_blocks(context):
    room = least(context)  # the handshake goes whole
    pair = general(context, max_pdu=room)
    done = len(pair.sent), len(pair.answered)
    assert pair.run(pair.client.get(PROFILE)) == pair.meter.values[PROFILE]
    pair.run(pair.client.set(LIMIT, text(900)))
    pair.meter.action = lambda sap, method, parameter: parameter
    assert pair.run(pair.client.action(DISCONNECT, text(700))) == text(700)
    outcomes = pair.run(pair.client.access([AccessGet(LIMIT), AccessAction(DISCONNECT, text(500))]))
    assert outcomes == (Accessed(DataAccessResult.SUCCESS, text(900)), Accessed(ActionResult.SUCCESS, text(500)))
    assert pair.run(pair.client.get(ENERGY)) == ENERGY_NOW
    pair.sent, pair.answered = pair.sent[done[0] :], pair.answered[done[1] :]
    assert all(len(frame) <= room for frame in frames_of(pair))
    assert pair.client.refused.total == pair.server.refused.total == 0


def test_blocks_are_streamed_not_asked_for_one_by_one():
    one_by_one = Pair("none", max_pdu=64).associated()
    one_by_one.run(one_by_one.client.get(PROFILE))
    streamed = general("none", max_pdu=64)
    streamed.run(streamed.client.get(PROFILE))
    assert len(streamed.sent) * 2 < len(one_by_one.sent)


def test_the_tag_covers_what_the_blocks_add_up_to():
    pair = general()
    answer = pair.answer

    def damaged(frame):
        given = answer(frame)
        blocks = [given] if isinstance(given, bytes) else given
        return tuple(each[:-1] + bytes((each[-1] ^ 1,)) for each in blocks)

    pair.answer = damaged
    with pytest.raises(TagMismatch):
        pair.run(pair.client.get(PROFILE))
    assert not pair.client.associated


def test_where_it_was_not_agreed_on_a_general_block_is_refused():
    """What is in it would be answered: the block itself is what nobody agreed on."""
    pair = Pair("none").associated()
    request = next(pair.client.get(ENERGY))
    answer = pair.answer(gbt.encode(GeneralBlock(True, False, 1, 1, 0, request)))
    assert answer[0] == 0xD8
    assert pair.server.refused.policy == 1
    assert pair.meter.asked == []


def test_a_client_that_begins_anew_is_heard():
    """It gave up in the middle: its next request's first block is not taken for one of the old."""
    pair = general("none", lossy=True)
    first = Transfer(SMALL - OVERHEAD, limit=1 << 18, theirs=2)
    for frame in first.say(text(900)):
        pair.answer(frame)
    pair.run(pair.client.set(LIMIT, text(900)))
    assert pair.meter.done == [(LIMIT, text(900))]
