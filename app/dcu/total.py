"""JSON and msgpack from somebody else: a typed value, or DecodeError and nothing else.

msgspec alone also lets UnicodeDecodeError, OverflowError and (deep nesting) RecursionError out.
"""

from typing import TypeVar

import msgspec

from dcu.errors import DecodeError

T = TypeVar("T")
_ESCAPES = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, OverflowError)


def from_json(raw: bytes | str, kind: type[T]) -> T:
    """Raises DecodeError."""
    try:
        return msgspec.json.decode(raw, type=kind)
    except _ESCAPES as error:
        raise DecodeError(_said(error)) from None


def from_msgpack(raw: bytes, kind: type[T]) -> T:
    """Raises DecodeError."""
    try:
        return msgspec.msgpack.decode(raw, type=kind)
    except _ESCAPES as error:
        raise DecodeError(_said(error)) from None


def _said(error: BaseException) -> str:
    return "nested too deep" if isinstance(error, RecursionError) else str(error)
