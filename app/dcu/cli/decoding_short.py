"""Captured services by short names: blocks of long requests and answers put together, both ways.

A block is told by its service and its number alone, so of each service one transfer is followed at a time; what answers
or asks anything else ends it.
Source: IEC 62056-5-3 (DLMS Green Book 9.3.13 to 9.3.16, 9.5).
"""

from dcu.cosem import axdr
from dcu.cosem.apdu import service_name, short
from dcu.cosem.apdu.short import (
    Name,
    NextBlock,
    ReadBlock,
    ReadRequest,
    ReadResponse,
    RequestBlock,
    Short,
    Taken,
    WriteRequest,
    WriteResponse,
)
from dcu.errors import DecodeError

TAGS = frozenset(
    (short.READ, short.WRITE, short.READ_RESPONSE, short.WRITE_RESPONSE, short.UNCONFIRMED_WRITE, short.REPORT)
)
Piece = tuple[int, bool, int, bytes]  # of which service, whether it is the last, its number, what it holds


def decode(raw: bytes) -> Short:
    """A service by short names whose values can be read. Raises DecodeError."""
    found = short.decode(raw)
    parts = getattr(found, "values", ()) + getattr(found, "results", ()) + getattr(found, "variables", ())
    for part in parts:
        value = part.parameter if isinstance(part, Name) else part
        if isinstance(value, bytes) and value:
            axdr.decode(value)
    return found


class Blocks:
    """The blocks of one exchange. limit: bytes that they may add up to."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._service = 0  # of what is under way; 0: nothing
        self._number = 0
        self._joined = bytearray()

    def take(self, found: Short) -> Short | None:
        """`found`, or what it and the blocks before it add up to; None while some are missing. Raises DecodeError."""
        piece = _piece(found)
        if piece is None:
            if not _of_a_transfer(found):
                self._service = 0
            return found
        service, last, number, raw = piece
        under_way, self._service = self._service, 0  # what does not go on has ended
        if number == 1:
            under_way, self._number = service, 0
            self._joined.clear()
        due = self._number + 1 if under_way == service else 1
        again = 0 < number == due - 1 and not last
        if number != due and not again:
            raise DecodeError(f"{service_name(service)}: block {number} came where block {due} is due")
        if not again:
            self._number = number
            self._joined += raw
        if len(self._joined) > self._limit:
            raise DecodeError(f"{service_name(service)}: more than {self._limit} bytes in blocks")
        if last:
            return _whole(service, bytes(self._joined))
        self._service = service
        return None

    def finish(self) -> None:
        """Raises DecodeError where a transfer has not come to its end."""
        if self._service:
            raise DecodeError(
                f"the {service_name(self._service)} ends after {self._number} blocks, the last one is missing"
            )


def _piece(found: Short) -> Piece | None:
    """Raises DecodeError for a block of a write that holds none."""
    match found:
        case ReadRequest(variables=(RequestBlock(last, number, bytes() as raw),)):
            return short.READ, last, number, raw
        case WriteRequest(variables=(RequestBlock(last, number, None),), values=(value,)):
            held = short.piece(value)
            if held is None:
                raise DecodeError("a block of a write-request is an octet-string")
            return short.WRITE, last, number, held
        case ReadResponse(results=(ReadBlock(last, number, raw),)):
            return short.READ_RESPONSE, last, number, raw
    return None


def _of_a_transfer(found: Short) -> bool:
    """Whether it only asks for the next block, or says that one has come."""
    match found:
        case (
            ReadRequest(variables=(NextBlock(),)) | ReadResponse(results=(Taken(),)) | WriteResponse(results=(Taken(),))
        ):
            return True
    return False


def _whole(service: int, joined: bytes) -> Short:
    try:
        return decode(bytes((service,)) + joined)
    except DecodeError:
        if service != short.READ_RESPONSE:
            raise
        axdr.decode(joined)
        return ReadResponse((joined,))  # some stacks (Gurux) leave out what stands before the value
