import pytest
from hypothesis import given
from hypothesis import strategies as st

from neighbourhood.g3.usi import ADP, MAC, SNIFFER, Frame, Receiver, check, encode

payloads = st.builds(
    lambda first, rest: bytes((first,)) + rest, st.integers(0, 127), st.binary(max_size=40) | st.just(bytes(1500))
)


@pytest.mark.parametrize(
    ("payload", "wire"),
    [
        pytest.param("0a0001", "7e00e50a00014e0c7e", id="initialise, CENELEC-A, coordinator"),
        pytest.param("0d781d", "7e00e50d781d46f77e", id="start PAN 781D"),
        pytest.param("10", "7e00651065107e", id="reset"),
        pytest.param("120000001c0000", "7e01e5120000001c0000e33c7e", id="get the software version"),
        pytest.param("170000010a0000", "7e01e5170000010a000081ad7e", id="get the first neighbour"),
    ],
)
def test_frame_is_byte_exact(payload, wire):
    assert encode(ADP, bytes.fromhex(payload)).hex() == wire
    assert list(Receiver().feed(bytes.fromhex(wire))) == [Frame(ADP, bytes.fromhex(payload))]


def test_the_check_is_of_the_frame_itself():
    assert check(b"123456789") == 0xBEEF  # XMODEM would give 31C3


@given(st.lists(payloads, max_size=4), st.integers(1, 64))
def test_frames_survive_any_cut_of_the_stream(sent, size):
    wire = b"".join(encode(ADP, payload) for payload in sent)
    receiver = Receiver()
    heard = [f for at in range(0, len(wire), size) for f in receiver.feed(wire[at : at + size])]
    assert heard == [Frame(ADP, payload) for payload in sent]
    assert receiver.spoilt == 0


def test_a_payload_of_more_than_ten_bits_keeps_its_eleventh_in_the_command():
    wire = encode(ADP, b"\x0b" + bytes(1300))
    assert wire[3] == 0x8B
    assert list(Receiver().feed(wire)) == [Frame(ADP, b"\x0b" + bytes(1300))]
    for protocol in (MAC, SNIFFER):
        with pytest.raises(ValueError, match="1301"):
            encode(protocol, b"\x0b" + bytes(1300))
    with pytest.raises(ValueError, match="2048"):
        encode(ADP, bytes(2048))


@given(payloads, st.data())
def test_a_flipped_bit_costs_that_frame_only(payload, data):
    wire = bytearray(encode(ADP, payload))
    wire[data.draw(st.integers(1, len(wire) - 2))] ^= 1 << data.draw(st.integers(0, 7))
    receiver = Receiver()
    heard = list(receiver.feed(bytes(wire) + b"\x7e" + encode(ADP, payload)))
    assert heard == [Frame(ADP, payload)]
    assert receiver.spoilt >= 1


@given(st.lists(st.binary(max_size=3000), max_size=4))
def test_noise_raises_nothing_and_is_not_kept(noise):
    receiver = Receiver()
    for part in noise:
        list(receiver.feed(part))
        assert len(receiver._open) <= 5000
