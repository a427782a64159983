"""The echo that every IPv6 device answers. Source: RFC 4443, 4.1 and 4.2."""

from neighbourhood.g3.iphc import IPV6_HEADER

ICMP, REQUEST, REPLY = 58, 128, 129


def replied(packet: bytes) -> bytes | None:
    """The answer to an echo request; None for whatever else `packet` is."""
    whole = len(packet) >= IPV6_HEADER + 8 and int.from_bytes(packet[4:6], "big") == len(packet) - IPV6_HEADER
    if not whole or packet[0] >> 4 != 6 or packet[6] != ICMP or packet[IPV6_HEADER] != REQUEST:
        return None
    source, destination = packet[8:24], packet[24:40]
    # both addresses stay in the pseudo-header's sum: the type alone is one more, so the checksum is one less (RFC 1624)
    checksum = int.from_bytes(packet[42:44], "big") - ((REPLY - REQUEST) << 8)
    checksum = checksum if checksum >= 0 else checksum + 0xFFFF
    return packet[:8] + destination + source + bytes((REPLY, 0)) + checksum.to_bytes(2, "big") + packet[44:]
