"""What a client's parameter says, or ValueError: the small checks that every object of the street makes."""

from dcu.cosem.axdr import Data, Tag
from dcu.model import Obis


def integer(value: Data) -> int:
    if isinstance(value.value, bool) or not isinstance(value.value, int):
        raise ValueError("no integer")
    return value.value


def unsigned(value: Data, bits: int) -> int:
    """An integer that is written back in so many bits."""
    found = integer(value)
    if not 0 <= found < 1 << bits:
        raise ValueError(f"no unsigned integer of {bits} bits")
    return found


def signed(value: Data, bits: int) -> int:
    """An integer that is written back in so many bits, its sign included."""
    found = integer(value)
    if not -1 << (bits - 1) <= found < 1 << (bits - 1):
        raise ValueError(f"no signed integer of {bits} bits")
    return found


def flag(value: Data) -> bool:
    if not isinstance(value.value, bool):
        raise ValueError("no boolean")
    return value.value


def octets(value: Data) -> bytes:
    if not isinstance(value.value, bytes):
        raise ValueError("no octet-string")
    return value.value


def parts(value: Data, count: int) -> tuple[Data, ...]:
    """The fields of a structure."""
    if value.tag is not Tag.STRUCTURE or not isinstance(value.value, tuple) or len(value.value) != count:
        raise ValueError(f"no structure of {count}")
    return value.value


def items(value: Data, most: int) -> tuple[Data, ...]:
    """The elements of an array."""
    if value.tag is not Tag.ARRAY or not isinstance(value.value, tuple) or len(value.value) > most:
        raise ValueError(f"no array, or one of more than {most}")
    return value.value


def name(value: Data) -> Obis:
    return Obis(octets(value))
