"""Segments joined and LLC stripped; captures of real meters."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcu.link.hdlc import Address, Control, Frame, Kind, encode, notification
from dcu.link.segments import Joiner, Listener, Message

CAPTURES = Path(__file__).parents[1] / "captures"
CLIENT = Address(16)
METER = Address(1, 17, 2)
LLC = b"\xe6\xe7\x00"


def numbered(*parts, segmented=True, start=0, source=METER):
    return [
        Frame(CLIENT, source, Control(Kind.I, False, (start + n) & 7), part, segmented and n < len(parts) - 1)
        for n, part in enumerate(parts)
    ]


def joined(frames):
    joiner = Joiner()
    return [m.apdu for f in frames if (m := joiner.add(f))], joiner.broken


def heard(wire, size=None, **options):
    listener = Listener(**options)
    size = size or len(wire)
    return [m for at in range(0, len(wire), size) for m in listener.feed(wire[at : at + size])], listener


def capture(name):
    return bytes.fromhex(re.sub(r"[^0-9A-Fa-f]", "", (CAPTURES / name).read_text()))


@pytest.mark.parametrize(
    ("name", "destination", "source", "size", "start"),
    [
        pytest.param("hdlc_kaifa_ma304h3e.log", Address(0), Address(1, 0, 2), 108, "0f40000000090c07e1", id="Kaifa"),
        pytest.param("hdlc_kamstrup_omnipower.log", Address(32), Address(1), 477, "db084b414d45", id="Kamstrup"),
        pytest.param("hdlc_norway_han_1phase.log", Address(32), Address(4, 65, 2), 197, "0f4000000000", id="Aidon"),
    ],
)
def test_frames_of_real_meters_are_whole(name, destination, source, size, start):
    (message,), listener = heard(capture(name), 16)
    assert (message.destination, message.source, len(message.apdu)) == (destination, source, size)
    assert message.apdu.hex().startswith(start)
    assert listener.damaged == 0


def test_the_landis_gyr_capture_has_a_bad_fcs_and_is_only_seen_by_who_inspects():
    wire = capture("hdlc_landis_gyr_zmf100.log")
    messages, listener = heard(wire)
    assert messages == []
    assert listener.decoder.skipped.fcs == 1
    (message,), _ = heard(wire, inspect=True)
    assert message.fault == "FCS"
    assert message.apdu.startswith(bytes.fromhex("0f40000000 00 0112 0202 0906 0101000281ff"))


@given(st.binary(min_size=1, max_size=3000), st.integers(4, 400), st.integers(1, 64))
def test_notifications_are_segmented_and_joined(apdu, information, size):
    frames = list(notification(CLIENT, METER, apdu, max_information=information))
    assert all(len(f.information) <= information for f in frames)
    assert [f.segmented for f in frames] == [True] * (len(frames) - 1) + [False]
    messages, listener = heard(b"".join(map(encode, frames)), size)
    assert messages == [Message(CLIENT, METER, apdu)]
    assert listener.damaged == 0


@given(st.binary(min_size=200, max_size=600), st.integers(20, 100), st.data())
def test_a_flipped_bit_in_one_ui_segment_never_delivers_a_message_with_a_hole(apdu, information, data):
    wire = bytearray(b"".join(map(encode, notification(CLIENT, METER, apdu, max_information=information))))
    wire[data.draw(st.integers(0, len(wire) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    good = b"".join(map(encode, notification(CLIENT, METER, b"next")))
    messages, _ = heard(bytes(wire) + good, data.draw(st.integers(1, 64)))
    assert [m.apdu for m in messages] == [b"next"]


def test_numbered_segments_are_joined_across_the_wrap():
    parts = [LLC + b"a", b"b", b"c", b"d"]
    assert joined(numbered(*parts, start=6)) == ([b"abcd"], Joiner().broken)


def test_a_segment_sent_again_is_taken_once():
    first, second, third = numbered(LLC + b"a", b"b", b"c")
    apdus, broken = joined([first, second, second, third])
    assert apdus == [b"abc"]
    assert broken.sequence == 1


def test_a_missing_segment_costs_its_message_only():
    first, _, third = numbered(LLC + b"a", b"b", b"c")
    apdus, broken = joined([first, third, *numbered(LLC + b"next", start=3)])
    assert apdus == [b"next"]
    assert broken.sequence == 1


def test_another_senders_frame_between_segments_is_not_mixed_in():
    first, second = numbered(LLC + b"a", b"b")
    (other,) = numbered(LLC + b"other", source=Address(2))
    apdus, broken = joined([first, other, second])
    assert apdus == [b"other"]
    assert (broken.interleaved, broken.llc) == (1, 1)


def test_acknowledgements_between_segments_do_not_disturb():
    first, second = numbered(LLC + b"a", b"b")
    ready = Frame(METER, CLIENT, Control(Kind.RR, True, 0, 1))
    assert joined([first, ready, second])[0] == [b"ab"]


def test_requests_of_clients_are_joined_too():
    assert joined([Frame(METER, CLIENT, Control(Kind.I), b"\xe6\xe6\x00ask")])[0] == [b"ask"]


def test_information_without_llc_is_counted_not_handed_on():
    apdus, broken = joined([Frame(CLIENT, METER, Control(Kind.UI), b"\x0f\x00")])
    assert apdus == []
    assert broken.llc == 1


def test_endless_segments_are_bounded():
    joiner = Joiner(max_apdu=1000)
    part = Frame(CLIENT, METER, Control(Kind.UI), bytes(100), True)
    assert [joiner.add(part) for _ in range(50)] == [None] * 50
    assert joiner.broken.length == 4
    assert len(joiner._joined) <= 1003


@given(st.lists(st.binary(max_size=40), max_size=20), st.lists(st.tuples(st.integers(0, 8), st.booleans())))
def test_any_order_of_frames_raises_nothing(parts, marks):
    joiner = Joiner(max_apdu=64)
    for part, (number, segmented) in zip(parts, marks, strict=False):
        control = Control(Kind.UI) if number == 8 else Control(Kind.I, False, number)
        joiner.add(Frame(CLIENT, METER, control, part, segmented))
    assert joiner.broken.messages >= 0
