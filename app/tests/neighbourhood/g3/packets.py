"""IPv6/UDP packets as a meter's datagrams are, made here by hand."""

from struct import pack

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

PAN = 0x781D
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # on a machine that has much to do


def ones_complement(data: bytes) -> int:
    """RFC 1071, word by word."""
    total = 0
    for at in range(0, len(data + b"\0"[: len(data) % 2]), 2):
        total += int.from_bytes((data + b"\0")[at : at + 2], "big")
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def address(short: int, pan: int = PAN) -> bytes:
    return bytes.fromhex("fe80000000000000") + pack(">HHHH", pan, 0x00FF, 0xFE00, short)


def packet(source: int, destination: int, payload: bytes, ports: tuple[int, int] = (4059, 4059)) -> bytes:
    addresses = address(source) + address(destination)
    length = 8 + len(payload)
    pseudo = addresses + pack(">IHBB", length, 0, 0, 17)
    check = ones_complement(pseudo + pack(">HHHH", *ports, length, 0) + payload) or 0xFFFF
    return pack(">IHBB", 6 << 28, length, 17, 64) + addresses + pack(">HHHH", *ports, length, check) + payload


addresses = st.one_of(
    st.integers(0, 0xFFFF).map(address),
    st.integers(0, 0xFFFF).map(lambda short: address(short, 0)),
    st.integers(0, 0xFFFF).map(lambda short: address(short, 0x1234)),
    st.binary(min_size=8, max_size=8).map(lambda iid: bytes.fromhex("fe80000000000000") + iid),
    st.binary(min_size=16, max_size=16),
    st.just(bytes(16)),
    st.integers(0, 255).map(lambda group: b"\xff\x02" + bytes(13) + bytes((group,))),
    st.binary(min_size=5, max_size=5).map(lambda group: b"\xff\x05" + bytes(9) + group),
    st.binary(min_size=3, max_size=3).map(lambda group: b"\xff\x08" + bytes(11) + group),
)


@st.composite
def any_packet(draw, most: int = 60) -> bytes:
    """Any IPv6 packet, UDP or not, with every field that compresses and that does not."""
    payload = draw(st.binary(max_size=most))
    following = draw(st.sampled_from((17, 6, 58, 59)))
    if following == 17:
        ports = [draw(st.sampled_from((4059, 0xF0B3, 0xF0A0, 0x1234))) for _ in range(2)]
        payload = pack(">HHHH", *ports, 8 + len(payload), draw(st.integers(0, 0xFFFF))) + payload
    traffic = draw(st.sampled_from((0, 3, 0xB8))) << 20 | draw(st.sampled_from((0, 0xABCDE)))
    limit = draw(st.sampled_from((1, 64, 255, 17)))
    head = pack(">IHBB", 6 << 28 | traffic, len(payload), following, limit)
    return head + draw(addresses) + draw(addresses) + payload
