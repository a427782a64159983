import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dcu.errors import DecodeError
from neighbourhood.g3 import iphc, lowpan, messages
from neighbourhood.g3.lowpan import Mesh, Reassembly

from .packets import PAN, address, any_packet, packet, patient

shorts = st.integers(0, 0xFFFF)


def test_a_datagram_of_a_meter_has_14_bytes_before_its_payload():
    whole = packet(0x0000, 0x0005, b"DLMS")
    (body,) = lowpan.pieces(whole, PAN, 0, 5, 1)
    msdu = lowpan.encode_mesh(Mesh(8, 0, 5, None, body))
    assert len(msdu) == 14 + 4
    # mesh, 8 hops, 0000 to 0005 | IPHC: NHC, hop limit 64, both contexts, both elided | UDP NHC | ports | checksum
    assert msdu.hex() == "b8000000057e77f00fdb0fdb" + whole[46:48].hex() + "444c4d53"


PREFIX = "fe80000000000000"


@pytest.mark.parametrize(
    ("compressed", "source", "destination"),
    [
        pytest.param("7a33" "3a", PREFIX + "000000fffe000000", PREFIX + "000000fffe000005", id="stateless, elided"),
        pytest.param(
            "7a22" "3a" "0007" "0008", PREFIX + "000000fffe000007", PREFIX + "000000fffe000008", id="stateless, short"
        ),
        pytest.param("7a66" "3a" "0007" "0008", PREFIX + "781d00fffe000007", PREFIX + "781d00fffe000008", id="context"),
        pytest.param("7a3b" "3a" "01", PREFIX + "000000fffe000000", "ff02" + "00" * 13 + "01", id="to all nodes"),
        pytest.param("7af7" "00" "3a", PREFIX + "781d00fffe000000", PREFIX + "781d00fffe000005", id="context named"),
    ],
)  # fmt: skip
def test_rfc_6282_is_byte_exact(compressed, source, destination):
    whole = iphc.decompress(bytes.fromhex(compressed) + b"!", PAN, 0, 5)
    assert whole.hex() == "6000000000013a40" + source + destination + "21"


def test_an_elided_checksum_is_worked_out():
    whole = packet(0, 5, b"DLMS")
    assert iphc.decompress(bytes.fromhex("7e77f40fdb0fdb") + b"DLMS", PAN, 0, 5) == whole


@patient
@given(any_packet(), shorts, shorts)
def test_any_packet_comes_back_as_it_was(whole, origin, final):
    head, stands_for = iphc.compress(whole, PAN, origin, final)
    assert iphc.decompress(head + whole[stands_for:], PAN, origin, final) == whole


@patient
@given(shorts, shorts, st.binary(max_size=100))
def test_a_device_s_own_addresses_cost_nothing(origin, final, payload):
    head, _ = iphc.compress(packet(origin, final, payload), PAN, origin, final)
    assert len(head) == 9


@settings(patient, max_examples=30)
@given(any_packet(700), st.randoms(use_true_random=False), st.integers(60, 393))
def test_fragments_come_together_in_any_order(whole, random, room):
    parts = lowpan.pieces(whole, PAN, 3, 4, 7, room)
    assert all(len(part) <= room for part in parts)
    random.shuffle(parts)
    together = Reassembly()
    found = [together.feed(Mesh(8, 3, 4, None, part), PAN, 0.0) for part in parts]
    assert found == [None] * (len(parts) - 1) + [whole]


def test_reassembly_is_bounded_and_forgets():
    first = lowpan.pieces(packet(3, 4, bytes(1000)), PAN, 3, 4, 0)[0]
    together = Reassembly()
    for tag in range(1000):
        assert together.feed(Mesh(8, 3, 4, None, first[:2] + tag.to_bytes(2, "big") + first[4:]), PAN, 0.0) is None
    assert len(together._under_way) == Reassembly.MOST
    parts = lowpan.pieces(packet(3, 4, bytes(1000)), PAN, 3, 4, 9)
    late = Reassembly()
    assert late.feed(Mesh(8, 3, 4, None, parts[0]), PAN, 0.0) is None
    found = [late.feed(Mesh(8, 3, 4, None, part), PAN, Reassembly.TTL + 1) for part in parts[1:]]
    assert found[-1] is None


@patient
@given(st.integers(0, 255), shorts, shorts, st.none() | st.integers(0, 255), st.binary(min_size=1, max_size=300))
def test_a_mesh_header_comes_back_as_it_was(hops, origin, final, sequence, body):
    if sequence is None and body[0] == 0x50:
        body = b"\x60" + body
    mesh = Mesh(hops, origin, final, sequence, body)
    assert lowpan.decode_mesh(lowpan.encode_mesh(mesh)) == mesh


@patient
@given(st.binary(max_size=200), st.integers(0, 1280) | st.none())
def test_nonsense_is_a_decode_error(raw, size):
    for parse in (
        lambda: iphc.decompress(raw, PAN, 0, 1, size),
        lambda: iphc.decompress(b"\x7e" + raw, PAN, 0, 1, size),
        lambda: lowpan.decode_mesh(raw),
        lambda: Reassembly().feed(Mesh(8, 0, 1, None, b"\xc1\x00" + raw), PAN, 0.0),
        lambda: Reassembly().feed(Mesh(8, 0, 1, None, b"\xe1\x00" + raw), PAN, 0.0),
        lambda: messages.decode(raw),
    ):
        with contextlib.suppress(DecodeError):
            parse()


def test_what_is_no_packet_is_refused():
    with pytest.raises(ValueError, match="no IPv6"):
        lowpan.pieces(b"\x45" + bytes(60), PAN, 0, 1, 1)
    with pytest.raises(ValueError, match="at most 1280"):
        lowpan.pieces(packet(0, 1, bytes(1300)), PAN, 0, 1, 1)


def test_the_addresses_are_as_documented():
    assert iphc.address(0x781D, 0x0005) == address(5)
    assert address(5).hex() == "fe80000000000000781d00fffe000005"
