"""An exchange: what one side sends and awaits for one service, as a generator without I/O.

It yields an APDU to send, or several in a row, or None to go on listening; whoever drives it sends the next received
APDU into it; it returns the service's result or raises from the error tree. Closing it (a time-out, a cancellation)
leaves the session usable where the channel is lossy, and ends it on a stream, where the answer may still come. Who
stops before what was yielded is sent throws `Unsent` into it: that leaves the session usable anywhere. `Unanswered`
asks it whether there is something that may be said once more.
"""

from collections import deque
from collections.abc import Callable, Generator
from typing import TypeVar

from dcu.cosem.apdu import Result, Returned
from dcu.cosem.apdu.wire import Reader
from dcu.cosem.apdu.writing import read_returned
from dcu.errors import DcuError, DecodeError, LinkTimeout
from dcu.streams import Sent, each

T = TypeVar("T")

Exchange = Generator[Sent, bytes, T]


class Conclusive(Exception):
    """Inside a session: `cause` goes to the caller, even where the channel is lossy. Never leaves an exchange."""

    def __init__(self, cause: DcuError) -> None:
        super().__init__(str(cause))
        self.cause = cause


class Unsent(Exception):
    """Thrown into an exchange by who drives it: the APDU that it yielded was not sent, and will not be."""


class Unanswered(Exception):
    """Thrown into an exchange over a lossy channel: nothing came for a while. Where general blocks are under way, it
    yields those that are to be said again; else it lets it through, and is over."""


def drive(exchange: Exchange[T], answer: Callable[[bytes], Sent]) -> T:
    """Run `exchange` against a function that answers each APDU at once. Raises LinkTimeout where it does not."""
    waiting: deque[bytes] = deque()
    try:
        sent = next(exchange)
        while True:
            for frame in each(sent):
                waiting.extend(each(answer(frame)))
            if not waiting:
                exchange.close()
                raise LinkTimeout("the other side did not answer")
            sent = exchange.send(waiting.popleft())
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]


def decode_results(raw: bytes, expected: int | None = None) -> tuple[Result, ...]:
    """Read the SEQUENCE OF Get-Data-Result that the joined blocks of a with-list answer hold. Raises DecodeError."""
    reader = Reader(raw)
    count = reader.length()
    if expected not in (None, count):
        raise DecodeError(f"{count} results for {expected} attributes", 0)
    results = tuple(reader.result(last=False) for _ in range(count))
    reader.end()
    return results


def decode_returned(raw: bytes) -> tuple[Returned, ...]:
    """Read the SEQUENCE OF Action-Response-With-Optional-Data that joined blocks hold. Raises DecodeError."""
    reader = Reader(raw)
    results = tuple(read_returned(reader, last=False) for _ in range(reader.length()))
    reader.end()
    return results
