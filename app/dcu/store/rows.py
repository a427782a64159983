"""A reading as bytes: msgpack of (status, *values), 22 bytes for four 32-bit registers and a status.

In a file each row is sealed: four bytes of CRC-32 over its key and its content. SQLite notices a torn page, not a bit
that turned over inside a value; and a sound value under another meter's key would be a lie as well.
"""

import struct
import zlib
from typing import Any

import msgspec

from dcu.errors import DecodeError
from dcu.model import Reading

DAY = 86400
_KEY = struct.Struct(">qqq")
_SEAL = 4  # bytes
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[Any])
_STATUS = (int, type(None))  # no bool: what comes back would be a number
_SCALARS = {int, float, str, bytes, bool, type(None)}


def pack(reading: Reading) -> bytes:
    """Raises ValueError for whatever `unpack` would refuse: a status that is no integer, an integer beyond 64 bits."""
    if type(reading.status) not in _STATUS or not _SCALARS.issuperset(map(type, reading.values)):
        raise ValueError(f"reading of {reading.timestamp}: the status is an integer or None, values are scalars")
    try:
        return _encoder.encode((reading.status, *reading.values))
    except (OverflowError, TypeError, UnicodeEncodeError) as error:
        raise ValueError(f"a reading holds scalars of at most 64 bits: {error}") from None


def unpack(timestamp: int, row: bytes) -> Reading:
    """Raises DecodeError."""
    try:
        status, *values = _decoder.decode(row)
    except (msgspec.MsgspecError, TypeError, ValueError, RecursionError) as error:
        raise DecodeError(f"row of {timestamp}: {error}") from None
    if type(status) not in _STATUS or not _SCALARS.issuperset(map(type, values)):
        raise DecodeError(f"row of {timestamp}: holds what is no scalar")
    return Reading(timestamp, status, tuple(values))


def seal(timestamp: int, meter: int, profile: int, row: bytes) -> bytes:
    """Return the packed reading as it stands in a file under this key."""
    return row + zlib.crc32(row, zlib.crc32(_KEY.pack(timestamp, meter, profile))).to_bytes(_SEAL, "big")


def unseal(timestamp: int, meter: int, profile: int, sealed: bytes) -> bytes:
    """Return the packed reading. Raises DecodeError: changed since it was sealed, or of another key."""
    try:
        row = sealed[:-_SEAL]
        if seal(timestamp, meter, profile, row) == sealed:
            return row
    except (struct.error, TypeError):  # a damaged file may hold anything
        pass
    raise DecodeError(f"row of {timestamp}: its checksum does not fit")
