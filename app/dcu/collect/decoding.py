"""Where an authentic answer does not decode, the meter is to blame: DecodeError becomes MalformedAnswer."""

from collections.abc import Iterator
from contextlib import contextmanager

from dcu.errors import DecodeError, MalformedAnswer


@contextmanager
def decoding(what: str) -> Iterator[None]:
    """`what` was being decoded: for the message."""
    try:
        yield
    except DecodeError as error:
        raise MalformedAnswer(f"{what} does not decode: {error}") from None
