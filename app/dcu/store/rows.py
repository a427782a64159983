"""A reading as bytes: msgpack of (status, *values), 22 bytes for four 32-bit registers and a status."""

from typing import Any

import msgspec

from dcu.errors import DecodeError
from dcu.model import Reading

DAY = 86400
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
