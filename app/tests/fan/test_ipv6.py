"""IPv6 and UDP in user space, against bytes of the kernel's own stack, and against bent packets."""

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcu.errors import DecodeError
from dcu.fan.g3 import ipv6
from dcu.fan.g3.ipv6 import Datagram

HERE, THERE = ipv6.address(0x781D, 0), ipv6.address(0x781D, 0x0102)


def test_an_address_is_that_of_its_pan_and_short_address():
    assert socket.inet_ntop(socket.AF_INET6, THERE) == "fe80::781d:ff:fe00:102"
    assert ipv6.short_address(THERE, 0x781D) == 0x0102
    with pytest.raises(DecodeError, match="another network"):
        ipv6.short_address(THERE, 0x781E)


def test_a_packet_is_byte_exact():
    """RFC 768's sum over the pseudo-header of RFC 8200, 8.1, reckoned word by word."""
    packet = ipv6.encode(Datagram(HERE, THERE, 0xF0B1, 4059, b"\x00\x01\x00\x02"))
    assert packet.hex() == (
        "60000000000c1140" + HERE.hex() + THERE.hex() + "f0b10fdb000c" + f"{_by_hand():04x}" + "00010002"
    )


def _by_hand():
    words = HERE + THERE + b"\x00\x00\x00\x0c" + b"\x00\x00\x00\x11" + bytes.fromhex("f0b10fdb000c000000010002")
    total = sum(int.from_bytes(words[at : at + 2], "big") for at in range(0, len(words), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return 0xFFFF - total


datagrams = st.builds(
    Datagram,
    st.binary(min_size=16, max_size=16),
    st.binary(min_size=16, max_size=16),
    st.integers(0, 0xFFFF),
    st.integers(0, 0xFFFF),
    st.binary(max_size=ipv6.MAX_PAYLOAD),
    st.integers(0, 255),
)


@given(datagrams)
def test_any_datagram_comes_back_as_it_was(datagram):
    assert ipv6.decode(ipv6.encode(datagram)) == datagram


@given(datagrams, st.data())
def test_a_flipped_bit_of_what_is_summed_is_noticed(datagram, data):
    packet = bytearray(ipv6.encode(datagram))
    at = data.draw(st.integers(8, len(packet) - 1))
    packet[at] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(DecodeError):
        ipv6.decode(bytes(packet))


@given(st.binary(max_size=100))
def test_noise_raises_decode_error_and_nothing_else(noise):
    for packet in (noise, b"\x60" + noise):
        with pytest.raises(DecodeError):
            ipv6.decode(packet)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="1233 bytes do not fit"):
        ipv6.encode(Datagram(HERE, THERE, 1, 2, bytes(1233)))
    with pytest.raises(ValueError, match="UDP port"):
        ipv6.encode(Datagram(HERE, THERE, 1 << 16, 2, b""))


def test_a_datagram_without_checksum_is_refused():
    packet = bytearray(ipv6.encode(Datagram(HERE, THERE, 1, 2, b"x")))
    packet[46:48] = b"\x00\x00"
    with pytest.raises(DecodeError, match="without checksum"):
        ipv6.decode(bytes(packet))
