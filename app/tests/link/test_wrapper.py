"""The wrapper of IEC 62056-47."""

import tracemalloc
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcu.errors import DecodeError
from dcu.link.wrapper import MAX_APDU, Decoder, Frame, decode, encode

ports = st.integers(0, 0xFFFF)
frames = st.builds(Frame, ports, ports, st.binary(max_size=300))

AARQ = Frame(16, 1, bytes.fromhex("601da109060760857405080101be10040e01000000065f1f0400401e5dffff"))
AARQ_WIRE = bytes.fromhex("000100100001001f601da109060760857405080101be10040e01000000065f1f0400401e5dffff")


def wire(frame):
    return encode(frame.source, frame.destination, frame.apdu)


def test_frame_is_byte_exact():
    assert wire(AARQ) == AARQ_WIRE  # gurux-dlms 1.0.203: client 16, server 1, no authentication
    assert decode(AARQ_WIRE) == AARQ


@given(st.lists(frames, max_size=4), st.integers(1, 64))
def test_frames_survive_any_cut_of_the_stream(sent, size):
    stream = b"".join(map(wire, sent))
    decoder = Decoder()
    assert [f for at in range(0, len(stream), size) for f in decoder.feed(stream[at : at + size])] == sent
    assert decoder.pending == 0


def test_the_longest_apdu_passes_and_one_byte_more_is_the_callers_mistake():
    longest = encode(1, 2, bytes(MAX_APDU))
    assert decode(longest).apdu == bytes(MAX_APDU)
    assert [len(f.apdu) for f in Decoder().feed(longest)] == [MAX_APDU]
    with pytest.raises(ValueError, match="65536 bytes"):
        encode(1, 2, bytes(MAX_APDU + 1))


@pytest.mark.parametrize(("source", "destination"), [(-1, 1), (1, 0x10000)])
def test_an_address_of_more_than_16_bits_is_the_callers_mistake(source, destination):
    with pytest.raises(ValueError, match=r"0\.\.65535"):
        encode(source, destination, b"")


def test_a_wrong_version_ends_the_stream_after_the_last_good_frame():
    decoder = Decoder()
    stream = decoder.feed(AARQ_WIRE + b"\x00\x02" + AARQ_WIRE)
    assert next(stream) == AARQ
    with pytest.raises(DecodeError, match="version 0002"):
        next(stream)
    with pytest.raises(DecodeError, match="version 0002"):
        next(decoder.feed(AARQ_WIRE))
    assert decoder.pending == 0


def test_a_wrong_version_is_noticed_before_the_rest_of_the_header_came():
    with pytest.raises(DecodeError):
        list(Decoder().feed(b"GE"))


def test_a_frame_longer_than_the_decoder_takes_ends_the_stream_at_its_header():
    with pytest.raises(DecodeError, match="at most 16"):
        list(Decoder(max_apdu=16).feed(AARQ_WIRE[:8]))


def test_frames_not_asked_for_yet_wait_in_the_decoder():
    decoder = Decoder()
    stream = decoder.feed(AARQ_WIRE * 3)
    next(stream)
    stream.close()
    assert list(decoder.feed(b"")) == [AARQ, AARQ]


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        pytest.param(b"", "cut short", id="nothing"),
        pytest.param(AARQ_WIRE[:7], "7 of 8", id="half a header"),
        pytest.param(AARQ_WIRE[:-1], "announces 31 bytes, 30 came", id="truncated"),
        pytest.param(AARQ_WIRE + b"\x00", "announces 31 bytes, 32 came", id="trailing byte"),
        pytest.param(b"\x01\x00" + AARQ_WIRE[2:], "version 0100", id="wrong version"),
    ],
)
def test_a_datagram_that_is_no_frame_is_named(raw, message):
    with pytest.raises(DecodeError, match=message):
        decode(raw)


@given(st.binary(max_size=400), st.integers(1, 64))
def test_noise_raises_nothing_but_decode_error(noise, size):
    decoder = Decoder()
    for at in range(0, len(noise), size):
        try:
            list(decoder.feed(noise[at : at + size]))
        except DecodeError:
            assert noise[:2] != b"\x00\x01" or len(noise) > 8
    with suppress(DecodeError):
        assert wire(decode(noise)) == noise


def test_a_byte_at_a_time_holds_no_more_than_one_frame():
    stream = encode(1, 2, bytes(MAX_APDU))
    decoder = Decoder()
    tracemalloc.start()
    for _ in range(2):
        for byte in stream:
            list(decoder.feed(bytes((byte,))))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 6 * MAX_APDU
