"""USI: byte-exact frames, and what a line does to them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcu.fan.g3.usi import MAX_LONG, MAX_SHORT, Decoder, Frame, Protocol, crc, encode

long_protocols = st.sampled_from([Protocol.ADP, Protocol.COORDINATOR, Protocol.PRIME])
short_protocols = st.sampled_from([Protocol.MAC, Protocol.SNIFFER])
frames = st.one_of(
    st.builds(
        lambda protocol, command, rest: Frame(protocol, bytes((command,)) + rest),
        long_protocols,
        st.integers(0, 127),
        st.binary(max_size=MAX_LONG - 1),
    ),
    st.builds(Frame, short_protocols, st.binary(min_size=1, max_size=MAX_SHORT)),
)


@pytest.mark.parametrize(
    ("payload", "wire"),
    [
        pytest.param("0a0001", "7e00e50a00014e0c7e", id="initialise, CENELEC-A, coordinator"),
        pytest.param("0d781d", "7e00e50d781d46f77e", id="start PAN 781D"),
        pytest.param("10", "7e00651065107e", id="reset"),
        pytest.param("120000001c0000", "7e01e5120000001c0000e33c7e", id="get softVersion"),
        pytest.param("170000010a0000", "7e01e5170000010a000081ad7e", id="get neighbour[0]"),
    ],
)
def test_frame_is_byte_exact(payload, wire):
    assert encode(Frame(Protocol.ADP, bytes.fromhex(payload))).hex() == wire
    assert list(Decoder().feed(bytes.fromhex(wire))) == [Frame(Protocol.ADP, bytes.fromhex(payload))]


def test_crc_is_not_augmented():
    assert crc(b"123456789") == 0xBEEF  # XMODEM would give 31C3


def test_the_eleventh_bit_of_the_length_is_the_top_bit_of_the_command():
    wire = encode(Frame(Protocol.ADP, bytes((11,)) + bytes(1299)))
    assert wire[1:4] == bytes((1300 >> 2 & 0xFF, (1300 & 3) << 6 | 0x25, 0x80 | 11))
    (frame,) = Decoder().feed(wire)
    assert (frame.payload[0], len(frame.payload)) == (11, 1300)


@pytest.mark.parametrize(
    "frame",
    [
        pytest.param(Frame(Protocol.ADP, bytes(MAX_LONG + 1)), id="too long"),
        pytest.param(Frame(Protocol.ADP, b"\x80"), id="a command of 128"),
        pytest.param(Frame(Protocol.ADP, b""), id="nothing"),
        pytest.param(Frame(Protocol.MAC, bytes(MAX_SHORT + 1)), id="too long for ten bits"),
    ],
)
def test_what_cannot_be_sent_is_refused(frame):
    with pytest.raises(ValueError, match=r"payload"):
        encode(frame)


@given(st.lists(frames, max_size=4), st.integers(1, 64))
def test_frames_survive_any_cut_of_the_stream(sent, size):
    wire = b"".join(map(encode, sent))
    decoder = Decoder()
    received = [f for at in range(0, len(wire), size) for f in decoder.feed(wire[at : at + size])]
    assert received == sent
    assert decoder.skipped.total == 0


@given(frames, st.data())
def test_a_flipped_bit_costs_that_frame_only(frame, data):
    wire = bytearray(encode(frame))
    at = data.draw(st.integers(1, len(wire) - 2))
    wire[at] ^= 1 << data.draw(st.integers(0, 7))
    received = list(Decoder().feed(bytes(wire) + b"\x7e" + encode(frame)))
    assert received == [frame]


@given(st.binary(max_size=6000), frames)
def test_after_noise_the_next_frame_is_taken(noise, frame):
    decoder = Decoder()
    list(decoder.feed(noise))
    list(decoder.feed(b"\x7e"))
    assert list(decoder.feed(encode(frame))) == [frame]


def test_noise_without_a_flag_is_counted_once_and_kept_nowhere():
    decoder = Decoder()
    for _ in range(100):
        assert list(decoder.feed(bytes(10_000))) == []
    assert decoder.skipped.overflow == 1
    assert len(decoder._pending) == 0
