"""COSEM values as a meter writes them (A-XDR), in the few types that it has.

A meter knows its types beforehand, so a value is joined from bytes and never goes through a tree. Apart from the
product's codec on purpose: what our client reads from our meter is then not merely its own encoder undone.

Source: IEC 61334-6, DLMS Blue Book 4.1.5.
"""

from collections.abc import Sequence

NULL = b"\x00"


def boolean(value: bool) -> bytes:
    return b"\x03\x01" if value else b"\x03\x00"


def u8(value: int) -> bytes:
    return b"\x11" + value.to_bytes(1, "big")


def u16(value: int) -> bytes:
    return b"\x12" + value.to_bytes(2, "big")


def u32(value: int) -> bytes:
    return b"\x06" + (value & 0xFFFFFFFF).to_bytes(4, "big")  # a register rolls over


def i8(value: int) -> bytes:
    return b"\x0f" + value.to_bytes(1, "big", signed=True)


def i16(value: int) -> bytes:
    return b"\x10" + value.to_bytes(2, "big", signed=True)


def i32(value: int) -> bytes:
    return b"\x05" + value.to_bytes(4, "big", signed=True)


def enum(value: int) -> bytes:
    return b"\x16" + value.to_bytes(1, "big")


def octets(value: bytes) -> bytes:
    return b"\x09" + size(len(value)) + value


def visible(value: str) -> bytes:
    return b"\x0a" + size(len(value)) + value.encode("ascii")


def structure(*items: bytes) -> bytes:
    return b"\x02" + size(len(items)) + b"".join(items)


def array(items: Sequence[bytes]) -> bytes:
    return b"\x01" + size(len(items)) + b"".join(items)


def bits(value: int, length: int) -> bytes:
    return b"\x04" + size(length) + (value << -length % 8).to_bytes((length + 7) // 8, "big")


def size(value: int) -> bytes:
    if value < 0x80:
        return bytes((value,))
    width = (value.bit_length() + 7) // 8
    return bytes((0x80 | width,)) + value.to_bytes(width, "big")
