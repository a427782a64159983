"""The fields that messages of a G3 modem are made of: each writes a value, and reads it back from any bytes.

All numbers are big-endian. Sources: Microchip smartenergy_g3, ADP serialization.
"""

from dataclasses import dataclass
from typing import Any, Protocol

from dcu.errors import DecodeError


class Field(Protocol):
    def put(self, value: Any) -> bytes:
        """Raises ValueError for what does not fit."""
        ...

    def take(self, data: bytes, at: int) -> tuple[Any, int]:
        """Return the value at `at` and where the next one begins. Raises DecodeError."""
        ...


@dataclass(frozen=True, slots=True)
class Number:
    size: int

    def put(self, value: Any) -> bytes:
        try:
            return int(value).to_bytes(self.size, "big")
        except OverflowError:
            raise ValueError(f"{value} does not fit {self.size} bytes") from None

    def take(self, data: bytes, at: int) -> tuple[Any, int]:
        end = at + self.size
        return int.from_bytes(cut(data, at, end), "big"), end


class Flag:
    """A byte: zero is False."""

    def put(self, value: Any) -> bytes:
        return b"\x01" if value else b"\x00"

    def take(self, data: bytes, at: int) -> tuple[Any, int]:
        return cut(data, at, at + 1) != b"\x00", at + 1


@dataclass(frozen=True, slots=True)
class Octets:
    """A fixed number of bytes: EUI-64, keys."""

    size: int

    def put(self, value: Any) -> bytes:
        if len(value) != self.size:
            raise ValueError(f"{len(value)} bytes where {self.size} belong")
        return bytes(value)

    def take(self, data: bytes, at: int) -> tuple[Any, int]:
        end = at + self.size
        return cut(data, at, end), end


@dataclass(frozen=True, slots=True)
class Counted:
    """Bytes behind their length, which takes `size` bytes."""

    size: int

    def put(self, value: Any) -> bytes:
        return Number(self.size).put(len(value)) + bytes(value)

    def take(self, data: bytes, at: int) -> tuple[Any, int]:
        length, at = Number(self.size).take(data, at)
        return cut(data, at, at + length), at + length


class Address:
    """A device's address behind its size: 2 bytes, a short one (a number), or 8, an EUI-64 (bytes); 0: none."""

    def put(self, value: Any) -> bytes:
        if value is None:
            return b"\x00"
        return b"\x02" + U16.put(value) if isinstance(value, int) else b"\x08" + EUI64.put(value)

    def take(self, data: bytes, at: int) -> tuple[Any, int]:
        size = cut(data, at, at + 1)[0]
        if size == 2:
            return U16.take(data, at + 1)
        if size == 8:
            return EUI64.take(data, at + 1)
        if size == 0:
            return None, at + 1
        raise DecodeError(f"a device's address of {size} bytes", at)


def cut(data: bytes, at: int, end: int) -> bytes:
    """Raises DecodeError where there is less."""
    if end > len(data):
        raise DecodeError(f"cut short: {len(data)} bytes, {end} announced", len(data))
    return data[at:end]


U8, U16, U32 = Number(1), Number(2), Number(4)
FLAG = Flag()
EUI64 = Octets(8)
KEY = Octets(16)
SHORT_DATA, LONG_DATA = Counted(1), Counted(2)
ADDRESS = Address()
