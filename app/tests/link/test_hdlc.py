"""HDLC frames of IEC 62056-46. Golden frames were made by gurux-dlms 1.0.203 or come from real meters."""

import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dcu.link.hdlc import MAX_INFORMATION, Address, Control, Decoder, Frame, Kind, encode, fcs

CLIENT = Address(16)
SERVER = Address(1)
AARQ = "e6e600601da109060760857405080101be10040e01000000065f1f0400401e5dffff"

UNNUMBERED = (Kind.SNRM, Kind.DISC, Kind.UA, Kind.DM, Kind.FRMR, Kind.UI)
one = st.builds(Address, st.integers(0, 0x7F), st.just(0), st.just(1))
two = st.builds(Address, st.integers(0, 0x7F), st.integers(0, 0x7F), st.just(2))
four = st.builds(Address, st.integers(0, 0x3FFF), st.integers(0, 0x3FFF), st.just(4))
addresses = one | two | four
numbers = st.integers(0, 7)
controls = (
    st.builds(Control, st.just(Kind.I), st.booleans(), numbers, numbers)
    | st.builds(Control, st.sampled_from((Kind.RR, Kind.RNR)), st.booleans(), st.just(0), numbers)
    | st.builds(Control, st.sampled_from(UNNUMBERED), st.booleans(), st.just(0), st.just(0))
)
frames = st.builds(Frame, addresses, addresses, controls, st.binary(max_size=300), st.booleans())


def decoded(wire, size=None, **options):
    decoder = Decoder(**options)
    size = size or max(1, len(wire))
    return [f for at in range(0, len(wire), size) for f in decoder.feed(wire[at : at + size])], decoder


@pytest.mark.parametrize(
    ("frame", "wire"),
    [
        pytest.param(Frame(SERVER, CLIENT, Control(Kind.SNRM, True)), "7ea0070321930f017e", id="SNRM, 1-byte address"),
        pytest.param(
            Frame(Address(1, 17, 2), CLIENT, Control(Kind.SNRM, True)), "7ea00802232193bd647e", id="SNRM, 2 bytes"
        ),
        pytest.param(
            Frame(Address(1, 0x1234, 4), CLIENT, Control(Kind.SNRM, True)),
            "7ea00a0002486921937bf77e",
            id="SNRM, 4 bytes",
        ),
        pytest.param(
            Frame(SERVER, CLIENT, Control(Kind.I, True), bytes.fromhex(AARQ)),
            f"7ea02b032110fbaf{AARQ}91237e",
            id="AARQ in an I frame",
        ),
        pytest.param(
            Frame(Address(1, 0x1234, 4), CLIENT, Control(Kind.I, True), bytes.fromhex(AARQ)),
            f"7ea02e0002486921101d4de6{AARQ[2:]}91237e",
            id="AARQ to a 4-byte address",
        ),
        pytest.param(
            Frame(SERVER, CLIENT, Control(Kind.I, True), bytes.fromhex(AARQ)[:17], segmented=True),
            "7ea81a03211092a5e6e600601da109060760857405080101be2b6f7e",
            id="first segment",
        ),
        pytest.param(
            Frame(SERVER, CLIENT, Control(Kind.I, True, 1), bytes.fromhex(AARQ)[17:]),
            "7ea01a032112a0dc10040e01000000065f1f0400401e5dffff900c7e",
            id="last segment",
        ),
    ],
)
def test_frame_is_byte_exact(frame, wire):
    assert encode(frame).hex() == wire
    assert decoded(bytes.fromhex(wire))[0] == [frame]


def test_the_check_sequence_is_crc_16_x25():
    assert fcs(b"123456789") == bytes.fromhex("6e90")  # the catalogue's check value 906E, low byte first


@given(st.binary(max_size=2047))
def test_the_check_sequence_is_the_standards_shift_register_at_any_length(data):
    register = 0xFFFF
    for byte in data:
        for bit in range(8):
            register = register >> 1 ^ (0x8408 if (register ^ byte >> bit) & 1 else 0)
    assert fcs(data) == (register ^ 0xFFFF).to_bytes(2, "little")


@pytest.mark.parametrize(
    ("byte", "control"),
    [
        (0x93, Control(Kind.SNRM, True)),
        (0x53, Control(Kind.DISC, True)),
        (0x73, Control(Kind.UA, True)),
        (0x1F, Control(Kind.DM, True)),
        (0x97, Control(Kind.FRMR, True)),
        (0x13, Control(Kind.UI, True)),
        (0x03, Control(Kind.UI)),
        (0x31, Control(Kind.RR, True, 0, 1)),
        (0xF5, Control(Kind.RNR, True, 0, 7)),
        (0xFE, Control(Kind.I, True, 7, 7)),
        (0x00, Control(Kind.I)),
        pytest.param(0xBF, Control(Kind.OTHER, True, 0xAF), id="XID"),
        pytest.param(0xE3, Control(Kind.OTHER, False, 0xE3), id="TEST"),
        pytest.param(0x3D, Control(Kind.OTHER, True, 0x2D), id="SREJ, N(R) 1"),
    ],
)
def test_control_bytes_are_those_of_the_standard(byte, control):
    assert control.encode() == byte
    wire = encode(Frame(SERVER, CLIENT, control))
    assert wire[5] == byte
    assert decoded(wire)[0][0].control == control


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (lambda: Control(Kind.RR, send=1).encode(), "RR frame"),
        (lambda: Control(Kind.SNRM, receive=1).encode(), "SNRM frame"),
        (lambda: Control(Kind.I, send=8).encode(), "I frame"),
        (lambda: Address(128).encode(), "does not fit 1"),
        (lambda: Address(1, 1).encode(), "does not fit 1"),
        (lambda: Address(1, 128, 2).encode(), "does not fit 2"),
        (lambda: Address(1, 1, 3).encode(), "does not fit 3"),
        (lambda: encode(Frame(SERVER, CLIENT, Control(Kind.UI), bytes(2039))), "at most 2047"),
    ],
)
def test_what_cannot_be_sent_is_the_callers_mistake(broken, message):
    with pytest.raises(ValueError, match=message):
        broken()


def test_the_longest_frame_passes():
    far = Address(1, 1, 4)
    frame = Frame(far, far, Control(Kind.I), bytes(MAX_INFORMATION))
    assert len(encode(frame)) == 2047 + 2
    assert decoded(encode(frame))[0] == [frame]


@given(st.lists(frames, max_size=4), st.integers(1, 64), st.booleans())
def test_frames_survive_any_cut_of_the_stream(sent, size, shared_flags):
    wire = b"".join(map(encode, sent))
    if shared_flags:
        wire = b"".join(encode(f)[:-1] for f in sent) + b"\x7e"
    received, decoder = decoded(wire, size)
    assert received == sent
    assert decoder.skipped.frames == decoder.skipped.noise == 0
    assert decoder.pending <= 1  # the last flag, which may open the next frame


@given(frames, st.data())
def test_a_flipped_bit_costs_that_frame_only(frame, data):
    wire = bytearray(encode(frame))
    at = data.draw(st.integers(0, len(wire) - 1))
    wire[at] ^= 1 << data.draw(st.integers(0, 7))
    received, decoder = decoded(bytes(wire) + encode(frame), data.draw(st.integers(1, 40)))
    assert received == [frame]
    assert decoder.skipped.frames + decoder.skipped.noise


@given(st.binary(max_size=3000), st.integers(1, 3000), st.booleans())
@example(b"\x7e" * 3000, 7, False)
@example(b"\x7e\xa7\xff" * 1000, 7, True)
def test_noise_raises_nothing_and_is_not_kept(noise, size, inspect):
    _, decoder = decoded(noise, size, inspect=inspect)
    assert decoder.pending <= 2048


@given(st.binary(max_size=60).filter(lambda noise: b"\x7e" not in noise), frames)
def test_a_frame_behind_noise_is_found(noise, frame):
    received, decoder = decoded(noise + encode(frame))
    assert received == [frame]
    assert decoder.skipped.noise == len(noise)


@pytest.mark.parametrize(
    ("wire", "cause"),
    [
        pytest.param("7ea0070321930f027e", "fcs", id="wrong check sequence"),
        pytest.param("7ea0070321930f0100", "flag", id="no closing flag"),
        pytest.param("7eb0070321930f017e", "format", id="format type that is not 3"),
        pytest.param("7ea0080321930f01007e", "length", id="too short for information, too long without"),
        pytest.param("7ea00a00024800024869217e", "address", id="address that does not end"),
        pytest.param("7ea008020005930f017e", "address", id="address of 3 bytes"),
        pytest.param(f"7ea02b032110fbae{AARQ}91237e", "hcs", id="wrong header check sequence"),
        pytest.param(f"7ea02b032110fbaf{AARQ}91247e", "fcs", id="wrong check sequence behind information"),
    ],
)
def test_what_is_skipped_is_counted_by_cause(wire, cause):
    received, decoder = decoded(bytes.fromhex(wire + "7ea0070321930f017e"))
    assert [f.control.kind for f in received] == [Kind.SNRM]
    assert getattr(decoder.skipped, cause) == 1


def test_a_wrong_header_check_is_noticed_before_the_length_it_announces_arrived():
    broken = bytearray(encode(Frame(SERVER, CLIENT, Control(Kind.I), bytes(100))))
    broken[1] |= 0x07
    assert decoded(bytes(broken[:8]) + encode(Frame(SERVER, CLIENT, Control(Kind.UA))))[0] != []


def test_inspecting_yields_frames_with_a_wrong_check_and_says_which():
    body = "7ea02b032110{}" + AARQ + "{}7e"
    for hcs, check, fault in (("fbaf", "9123", ""), ("fbaf", "9124", "FCS"), ("fbae", "9123", "HCS")):
        wire = bytes.fromhex(body.format(hcs, check))
        (frame,), _ = decoded(wire, inspect=True)
        assert frame.fault == fault
        assert frame.information.hex() == AARQ
        assert len(decoded(wire)[0]) == (not fault)


def test_a_reset_forgets_the_unfinished_frame():
    decoder = Decoder()
    list(decoder.feed(bytes.fromhex("7ea7ff0321")))
    decoder.reset()
    assert decoder.pending == 0
    assert len(list(decoder.feed(bytes.fromhex("7ea0070321930f017e")))) == 1


def test_headers_that_all_promise_long_frames_cost_bounded_time():
    header = bytes.fromhex("a7ff032103")
    stream = (b"\x7e" + header + fcs(header)) * 4096
    started = time.process_time()
    assert decoded(stream, 1500)[0] == []
    assert time.process_time() - started < 2
