"""IPv6 and UDP in user space: as much as a concentrator and its meters need, whole packets in and out.

A device's address is link-local with the interface identifier of its PAN and short address,
``fe80::PAN:00ff:fe00:SHORT`` (ITU-T G.9903, 9.4; RFC 6282, 3.2.2); or has another prefix in front of it. A packet is
taken when everything in it holds: version, lengths, next header, UDP checksum. There are no extension headers and no
ICMP between a concentrator and its meters: what carries some is counted by its cause and dropped, unless a passage to
Linux has use for it (`opened`).

Sources: RFC 8200 (header, pseudo-header), RFC 768 and 8200 8.1 (a UDP checksum is never zero over IPv6).
"""

from dataclasses import dataclass
from struct import Struct

from dcu.errors import DecodeError

MTU = 1280
HEADER, UDP_HEADER = 40, 8
MAX_PAYLOAD = MTU - HEADER - UDP_HEADER
HOP_LIMIT = 64
UDP, ICMP = 17, 58
ICMP_HEADER = 8
LINK_LOCAL = bytes.fromhex("fe80000000000000")

_IPV6 = Struct(">IHBB16s16s")
_UDP = Struct(">4H")
_PSEUDO = Struct(">16s16sI3xB")


@dataclass(frozen=True, slots=True)
class Datagram:
    """One UDP datagram; source and destination are IPv6 addresses, 16 bytes."""

    source: bytes
    destination: bytes
    source_port: int
    destination_port: int
    payload: bytes
    hop_limit: int = HOP_LIMIT


def address(pan: int, short: int, prefix: bytes = LINK_LOCAL) -> bytes:
    """The IPv6 address of a device in a PAN; prefix: 8 bytes."""
    return prefix + pan.to_bytes(2, "big") + b"\x00\xff\xfe\x00" + short.to_bytes(2, "big")


def short_address(raw: bytes, pan: int) -> int:
    """The short address that an IPv6 address stands for in this PAN. Raises DecodeError: it is another's."""
    if raw[8:10] != pan.to_bytes(2, "big") or raw[10:14] != b"\x00\xff\xfe\x00":
        raise DecodeError("an IPv6 address of another network", 8)
    return int.from_bytes(raw[14:16], "big")


@dataclass(frozen=True, slots=True)
class Opened:
    """A packet of UDP or ICMPv6 whose lengths and checksum hold. body: from its own header on, at least 8 bytes."""

    source: bytes
    destination: bytes
    following: int
    body: bytes


def opened(packet: bytes) -> Opened:
    """Look into a packet of either kind. Raises DecodeError."""
    if not HEADER + ICMP_HEADER <= len(packet) <= MTU:
        raise DecodeError(f"an IPv6 packet of {len(packet)} bytes", 0)
    first, size, following, _, source, destination = _IPV6.unpack_from(packet)
    if first >> 28 != 6 or size != len(packet) - HEADER:
        raise DecodeError("no IPv6 packet of the length that it announces", 0)
    if following not in (UDP, ICMP):
        raise DecodeError(f"next header {following}, neither UDP nor ICMPv6", 6)
    body = packet[HEADER:]
    if checksum(source, destination, following, body) != 0:
        raise DecodeError("a checksum that does not fit", HEADER)
    return Opened(source, destination, following, body)


def encode(datagram: Datagram) -> bytes:
    """Raises ValueError: longer than the MTU, or a port that is none."""
    payload = datagram.payload
    if len(payload) > MAX_PAYLOAD:
        raise ValueError(f"{len(payload)} bytes do not fit a datagram, at most {MAX_PAYLOAD} do")
    for port in (datagram.source_port, datagram.destination_port):
        if not 0 <= port <= 0xFFFF:
            raise ValueError(f"UDP port {port}: 0..65535")
    size = UDP_HEADER + len(payload)
    ports = datagram.source_port, datagram.destination_port, size
    sum_ = checksum(datagram.source, datagram.destination, UDP, _UDP.pack(*ports, 0) + payload) or 0xFFFF
    header = _IPV6.pack(6 << 28, size, UDP, datagram.hop_limit, datagram.source, datagram.destination)
    return header + _UDP.pack(*ports, sum_) + payload


def decode(packet: bytes) -> Datagram:
    """Read the one UDP datagram that fills `packet`. Raises DecodeError."""
    if len(packet) < HEADER + UDP_HEADER:
        raise DecodeError(f"an IPv6 packet of {len(packet)} bytes", len(packet))
    first, size, following, hops, source, destination = _IPV6.unpack_from(packet)
    if first >> 28 != 6:
        raise DecodeError(f"IP version {first >> 28}", 0)
    if size != len(packet) - HEADER:
        raise DecodeError(f"IPv6 announces {size} bytes, {len(packet) - HEADER} came", 4)
    if following != UDP:
        raise DecodeError(f"next header {following}, not UDP", 6)
    body = packet[HEADER:]
    source_port, destination_port, length, given = _UDP.unpack_from(body)
    if length != size:
        raise DecodeError(f"UDP announces {length} bytes, {size} came", HEADER + 4)
    if given == 0:
        raise DecodeError("a UDP datagram without checksum", HEADER + 6)
    if checksum(source, destination, UDP, body) != 0:
        raise DecodeError("a UDP checksum that does not fit", HEADER + 6)
    return Datagram(source, destination, source_port, destination_port, body[UDP_HEADER:], hops)


def checksum(source: bytes, destination: bytes, protocol: int, body: bytes) -> int:
    """The internet checksum over pseudo-header and body; 0 where a checksum inside of `body` is right."""
    whole = _PSEUDO.pack(source, destination, len(body), protocol) + body
    total = int.from_bytes(whole + b"\x00" * (len(whole) % 2), "big") % 0xFFFF  # 2^16 = 1 modulo 2^16 - 1
    return (0xFFFF - total) % 0xFFFF
