import contextlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcu.errors import DecodeError
from neighbourhood.g3 import frames
from neighbourhood.g3.frames import Frame, Kind, Segment

from .packets import patient

KEY = bytes(range(16))
shorts = st.integers(0, 0xFFFF)
addresses = shorts | st.binary(min_size=8, max_size=8)
segments = st.builds(Segment, st.integers(0, 63), *[st.booleans()] * 4)
secured = st.builds(
    Frame, st.sampled_from((Kind.DATA, Kind.COMMAND)), st.integers(0, 255), shorts, addresses, addresses, segments,
    st.binary(max_size=400), st.booleans(), st.integers(0, 255), st.integers(0, 2**32 - 1),
)  # fmt: skip
unsecured = st.builds(
    Frame, st.sampled_from((Kind.DATA, Kind.COMMAND)), st.integers(0, 255), shorts, addresses, addresses | st.none(),
    segments, st.binary(max_size=400), st.booleans(),
)  # fmt: skip
EUI = bytes.fromhex("0011223344556677")


def test_the_fcs_is_that_of_802_15_4():
    assert frames.fcs(b"123456789").hex() == "8921"  # CRC-16/KERMIT: 0x2189, low byte first


@pytest.mark.parametrize(
    ("frame", "wire"),
    [
        pytest.param(
            Frame(Kind.DATA, 7, 0x781D, 0x0001, 0x0000, Segment(tone_map=True), b"\x40\x01", True),
            "090002" "6198" "07" "1d78" "0100" "0000" "4001",
            id="data, unsecured, short to short, acknowledged, asking for a tone map",
        ),
        pytest.param(
            Frame(Kind.DATA, 1, 0x781D, 0x0000, EUI, Segment(), b"\x40\x02\x10", True),
            "010003" "61d8" "01" "1d78" "0000" "7766554433221100" "400210",
            id="bootstrapping, from an EUI-64",
        ),
        pytest.param(
            Frame(Kind.COMMAND, 9, 0xFFFF, 0xFFFF, None, Segment(), b"\x07"),
            "010001" "0318" "09" "ffff" "ffff" "07",
            id="beacon request",
        ),
        pytest.param(
            Frame(Kind.BEACON, 3, 0x781D, 0xFFFF, 0x0005, Segment(), b"\xff\x0f\x00\x00\x12\x00"),
            "010006" "0090" "03" "1d78" "0500" "ff0f00001200",
            id="beacon",
        ),
    ],
)  # fmt: skip
def test_an_unsecured_frame_is_byte_exact(frame, wire):
    body = bytes.fromhex(wire)
    assert frames.encode(frame).hex() == (body + frames.fcs(body)).hex()
    assert frames.decode(frames.encode(frame)).frame == frame


def test_a_secured_frame_has_24_bytes_beside_its_payload():
    frame = Frame(Kind.DATA, 0, 0x781D, 1, 0, Segment(), bytes(50), True, 0, 1)
    wire = frames.encode(frame, KEY)
    assert len(wire) == 50 + frames.OVERHEAD
    assert wire[3:18].hex() == "6998001d78010000000d0100000000"


@patient
@given(secured)
def test_a_secured_frame_is_opened_with_its_key_only(frame):
    received = frames.decode(frames.encode(frame, KEY))
    assert received.opened(KEY) == frame.payload
    assert received.opened(bytes(16)) is None
    assert replace(received.frame, payload=frame.payload) == frame


@patient
@given(unsecured)
def test_an_unsecured_frame_is_as_it_was(frame):
    assert frames.decode(frames.encode(frame)).frame == frame


@patient
@given(secured, st.data())
def test_no_bit_of_a_secured_frame_can_be_changed(frame, data):
    wire = bytearray(frames.encode(frame, KEY)[:-2])
    at = data.draw(st.integers(0, len(wire) - 1))
    wire[at] ^= 1 << data.draw(st.integers(0, 7))
    forged = bytes(wire) + frames.fcs(bytes(wire))  # whoever forges computes the FCS, too
    try:
        received = frames.decode(forged)
    except DecodeError:
        return
    assert received.frame.key is None or received.opened(KEY) is None


@patient
@given(secured, st.data())
def test_noise_is_seen_by_the_fcs(frame, data):
    wire = bytearray(frames.encode(frame, KEY))
    at = data.draw(st.integers(0, len(wire) - 1))
    wire[at] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(DecodeError):
        frames.decode(bytes(wire))


@patient
@given(st.binary(max_size=300))
def test_nonsense_is_a_decode_error(raw):
    for wire in (raw, raw + frames.fcs(raw)):
        with contextlib.suppress(DecodeError):
            frames.decode(wire)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="segment 64"):
        frames.encode(Frame(Kind.DATA, 0, 0, 0, 0, Segment(64), b""))
    with pytest.raises(ValueError, match="no key"):
        frames.encode(Frame(Kind.DATA, 0, 0, 0, 0, Segment(), b"", False, 3, 0))
