"""IPv6 header compression: IPHC and the NHC of UDP, with one context.

Context 0 of a PAN is ``fe80:0:0:0:PPPP::/80``. RFC 6282 takes the bits that a context covers from it, the others from
``0000:00ff:fe00:SSSS``: the address ``fe80::PPPP:00ff:fe00:SSSS`` of a device costs nothing while the mesh header has
its short address, and two bytes elsewhere. What has no short form is carried whole.

Source: RFC 6282, 3 (IPHC) and 4.3 (UDP); RFC 4291 (addresses); RFC 8200, 8.1 (checksum).
"""

from dcu.errors import DecodeError

UDP = 17
IPV6_HEADER = 40
UDP_HEADER = 8
LINK_LOCAL = bytes.fromhex("fe80000000000000")
_MIDDLE = bytes.fromhex("00fffe00")
_SHORT_IID = bytes(2) + _MIDDLE
_HOP_LIMITS = {1: 1, 64: 2, 255: 3}


def address(pan: int, short: int) -> bytes:
    """The link-local address of a short address in a PAN."""
    return LINK_LOCAL + pan.to_bytes(2, "big") + _MIDDLE + short.to_bytes(2, "big")


def compress(packet: bytes, pan: int, origin: int, final: int) -> tuple[bytes, int]:
    """The compressed headers, and how many bytes of the packet they stand for (40, or 48 with UDP).

    origin, final: the mesh header's addresses. Raises ValueError for what is no IPv6 packet.
    """
    if (
        len(packet) < IPV6_HEADER
        or packet[0] >> 4 != 6
        or int.from_bytes(packet[4:6], "big") != len(packet) - IPV6_HEADER
    ):
        raise ValueError("no IPv6 packet")
    traffic = (packet[0] & 15) << 4 | packet[1] >> 4
    flow = int.from_bytes(packet[1:4], "big") & 0xFFFFF
    udp = packet[6] == UDP and len(packet) >= IPV6_HEADER + UDP_HEADER
    udp = udp and int.from_bytes(packet[44:46], "big") == len(packet) - IPV6_HEADER
    tf, inline = _traffic(traffic, flow)
    first = 0x60 | tf << 3 | udp << 2 | _HOP_LIMITS.get(packet[7], 0)
    if not udp:
        inline += packet[6:7]
    if not first & 3:
        inline += packet[7:8]
    source_mode, source = _unicast(packet[8:24], pan, origin)
    if packet[8:24] == bytes(16):
        source_mode, source = 0x40, b""
    if packet[24] == 0xFF:
        destination_mode, destination = _multicast(packet[24:40])
    else:
        mode, destination = _unicast(packet[24:40], pan, final)
        destination_mode = mode >> 4
    head = bytes((first, source_mode | destination_mode)) + inline + source + destination
    if not udp:
        return head, IPV6_HEADER
    return head + _udp(packet[40:48]), IPV6_HEADER + UDP_HEADER


def decompress(data: bytes, pan: int, origin: int, final: int, size: int | None = None) -> bytes:
    """The packet (or its beginning, where `size`, the whole packet's, says that more follows). Raises DecodeError."""
    take = _Reader(data)
    first, second = take(2)
    if first >> 5 != 3:
        raise DecodeError("no IPHC", 0)
    if second & 0x80 and take(1) != b"\x00":
        raise DecodeError("unknown context", 2)
    traffic, flow = _traffic_of(first >> 3 & 3, take)
    following = UDP if first & 4 else take(1)[0]
    hop_limit = (0, 1, 64, 255)[first & 3] or take(1)[0]
    source = _unicast_of(second >> 4 & 7, take, pan, origin)
    if second & 8:
        destination = _multicast_of(second & 7, take)
    elif second & 7 == 4:
        raise DecodeError("reserved destination mode", 1)
    else:
        destination = _unicast_of(second & 7, take, pan, final)
    ports_and_checksum = _udp_of(take) if first & 4 else None
    payload = data[take.at :]
    length = (size - IPV6_HEADER) if size is not None else len(payload) + UDP_HEADER * (ports_and_checksum is not None)
    if not 0 <= length <= 0xFFFF or length < len(payload):
        raise DecodeError("datagram size")
    head = (
        (6 << 28 | traffic << 20 | flow).to_bytes(4, "big") + length.to_bytes(2, "big") + bytes((following, hop_limit))
    )
    head += source + destination
    if ports_and_checksum is None:
        return head + payload
    ports, check = ports_and_checksum
    if check is None:
        if size is not None and len(payload) + UDP_HEADER != length:
            raise DecodeError("elided checksum of a datagram in pieces")
        check = checksum(head[8:40], ports + length.to_bytes(2, "big") + bytes(2) + payload)
    return head + ports + length.to_bytes(2, "big") + check + payload


def checksum(addresses: bytes, udp: bytes) -> bytes:
    """UDP's checksum over the pseudo-header. `udp`: header and payload, its checksum field zero."""
    data = addresses + len(udp).to_bytes(4, "big") + bytes((0, 0, 0, UDP)) + udp + bytes(len(udp) % 2)
    total = int.from_bytes(data, "big") % 0xFFFF  # the sum of all 16-bit words, carries added in
    return ((0xFFFF - total) or 0xFFFF).to_bytes(2, "big")


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self.at = 0

    def __call__(self, count: int) -> bytes:
        piece = self._data[self.at : self.at + count]
        if len(piece) != count:
            raise DecodeError("cut off", len(self._data))
        self.at += count
        return piece


def _traffic(traffic: int, flow: int) -> tuple[int, bytes]:
    """IPHC has ECN before DSCP, IPv6 the other way round."""
    turned = (traffic & 3) << 6 | traffic >> 2
    if not flow:
        return (2, bytes((turned,))) if traffic else (3, b"")
    if not traffic >> 2:
        return 1, ((traffic & 3) << 22 | flow).to_bytes(3, "big")
    return 0, bytes((turned,)) + flow.to_bytes(3, "big")


def _traffic_of(tf: int, take: _Reader) -> tuple[int, int]:
    if tf == 3:
        return 0, 0
    if tf == 1:
        bits = int.from_bytes(take(3), "big")
        return bits >> 22, bits & 0xFFFFF
    turned = take(1)[0]
    traffic = (turned & 0x3F) << 2 | turned >> 6
    return traffic, int.from_bytes(take(3), "big") & 0xFFFFF if tf == 0 else 0


def _unicast(wanted: bytes, pan: int, short: int) -> tuple[int, bytes]:
    """Mode (SAC, SAM in the source's place) and what is carried."""
    if wanted[:8] != LINK_LOCAL:
        return 0x00, wanted
    if wanted[10:14] == _MIDDLE:
        context = 0x40 if wanted[8:10] == pan.to_bytes(2, "big") else 0x00
        if context or wanted[8:10] == bytes(2):
            same = wanted[14:] == short.to_bytes(2, "big")
            return (context | 0x30, b"") if same else (context | 0x20, wanted[14:])
    return 0x10, wanted[8:]


def _unicast_of(mode: int, take: _Reader, pan: int, short: int) -> bytes:
    context, form = mode & 4, mode & 3
    if form == 0:
        return bytes(16) if context else take(16)
    iid = take(8) if form == 1 else _SHORT_IID + (take(2) if form == 2 else short.to_bytes(2, "big"))
    return LINK_LOCAL + (pan.to_bytes(2, "big") + iid[2:] if context else iid)


def _multicast(wanted: bytes) -> tuple[int, bytes]:
    if wanted[1] == 2 and not any(wanted[2:15]):
        return 0x0B, wanted[15:]
    if not any(wanted[2:13]):
        return 0x0A, wanted[1:2] + wanted[13:]
    if not any(wanted[2:11]):
        return 0x09, wanted[1:2] + wanted[11:]
    return 0x08, wanted


def _multicast_of(mode: int, take: _Reader) -> bytes:
    if mode & 4:
        raise DecodeError("multicast under a unicast prefix that the context does not have", 1)
    if mode == 0:
        return take(16)
    if mode == 3:
        return b"\xff\x02" + bytes(13) + take(1)
    scope, rest = take(1), take(3 if mode == 2 else 5)
    return b"\xff" + scope + bytes(14 - len(rest)) + rest


def _udp(header: bytes) -> bytes:
    """The checksum is always carried: nobody authorised its elision (RFC 6282, 4.3.2)."""
    source, destination = int.from_bytes(header[:2], "big"), int.from_bytes(header[2:4], "big")
    if source >> 4 == destination >> 4 == 0xF0B:
        return bytes((0xF3, (source & 15) << 4 | destination & 15)) + header[6:8]
    if destination >> 8 == 0xF0:
        return b"\xf1" + header[:2] + header[3:4] + header[6:8]
    if source >> 8 == 0xF0:
        return b"\xf2" + header[1:2] + header[2:4] + header[6:8]
    return b"\xf0" + header[:4] + header[6:8]


def _udp_of(take: _Reader) -> tuple[bytes, bytes | None]:
    kind = take(1)[0]
    if kind >> 3 != 0x1E:
        raise DecodeError("a next header whose compression is unknown", take.at - 1)
    match kind & 3:
        case 0:
            ports = take(4)
        case 1:
            ports = take(2) + b"\xf0" + take(1)
        case 2:
            ports = b"\xf0" + take(1) + take(2)
        case _:
            both = take(1)[0]
            ports = bytes((0xF0, 0xB0 | both >> 4, 0xF0, 0xB0 | both & 15))
    return ports, None if kind & 4 else take(2)
