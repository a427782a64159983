"""General block transfer: any APDU in numbered pieces, both ways, in windows, with lost pieces sent again; sans-IO.

An APDU that is too long for the other side is cut after it was ciphered, so the pieces themselves prove nothing: what
they add up to is then judged like any other frame. Every block says how many the sender of it takes in a row (window),
and the last one that it has received without a gap. A side that streams sends as many as the other takes; then it is
the other's turn, who sends blocks of its own, or an empty one that only confirms. What was not confirmed is sent again.

Source: DLMS Green Book (IEC 62056-5-3) clauses 9.3.5 and 9.4.6.13, 9.5 (General-Block-Transfer).
"""

from dataclasses import dataclass, field

from dcu.cosem.apdu import wire
from dcu.cosem.apdu.wire import Reader
from dcu.errors import DecodeError

TAG = 0xE0
OVERHEAD = 1 + 1 + 2 + 2 + 3  # bytes of a block that are not data: tag, control, two numbers, length
WINDOW = 63  # the most that the field holds
_LAST, _STREAMING = 0x80, 0x40
_NUMBERS = 0xFFFF
_FUTILE = 32  # turns in a row in which nothing moves: more than frames are lost in a row where anything arrives


@dataclass(frozen=True, slots=True)
class GeneralBlock:
    """last: no data follows; streaming: it is still the sender's turn. window: blocks that its sender takes in a row.

    number counts the sender's blocks from 1; received is the last of the other side's that came without a gap.
    """

    last: bool
    streaming: bool
    window: int
    number: int
    received: int
    data: bytes = field(repr=False)


def encode(block: GeneralBlock) -> bytes:
    if not 0 <= block.window <= WINDOW:
        raise ValueError(f"a window of {block.window} blocks: 0..{WINDOW}")
    control = (_LAST if block.last else 0) | (_STREAMING if block.streaming else 0) | block.window
    numbers = block.number.to_bytes(2, "big") + block.received.to_bytes(2, "big")
    return bytes((TAG, control)) + numbers + wire.octets(block.data)


def decode(raw: bytes) -> GeneralBlock:
    """Read one general-block-transfer APDU. Raises DecodeError."""
    reader = Reader(raw)
    if reader.u8() != TAG:
        raise DecodeError("not a general-block-transfer", 0)
    control = reader.u8()
    number, received, data = reader.u16(), reader.u16(), reader.octets()
    reader.end()
    return GeneralBlock(bool(control & _LAST), bool(control & _STREAMING), control & WINDOW, number, received, data)


class Received:
    """The blocks of one APDU as they come, in any order. limit: bytes that they may add up to."""

    __slots__ = ("_end", "_held", "_limit", "_taken", "arrived")

    def __init__(self, limit: int) -> None:
        self.arrived = 0  # the number of the last one that came without a gap
        self._end = 0  # the number of the last one with data, 0: not known
        self._held: dict[int, bytes] = {}
        self._limit = limit
        self._taken = 0

    @property
    def begun(self) -> bool:
        return bool(self._held)

    @property
    def whole(self) -> bytes | None:
        """What the blocks add up to; None while one is missing."""
        if not self._end or self.arrived < self._end:
            return None
        return b"".join(self._held[number] for number in range(1, self._end + 1))

    def another(self, block: GeneralBlock) -> bool:
        """Whether a block is the first of another APDU than this one."""
        return block.number == 1 and bool(block.data) and self._held.get(1) != block.data

    def keep(self, block: GeneralBlock) -> bool:
        """Return whether it brought new data. Raises DecodeError for a block that cannot be of this APDU."""
        number = block.number
        if not self.arrived < number <= self.arrived + WINDOW or number in self._held:
            return False  # once more, or further than anybody may be ahead
        if self._end and number > self._end and block.data:
            raise DecodeError(f"block {number} has data behind the last one, {self._end}", 2)
        self._taken += len(block.data)
        if self._taken > self._limit:
            raise DecodeError(f"more than {self._limit} bytes in blocks", 2)
        self._held[number] = block.data
        if block.last and (block.data or number == self.arrived + 1) and not self._end:
            self._end = number
        while self.arrived + 1 in self._held:
            self.arrived += 1
        return bool(block.data)


class Transfer:
    """One side of a transfer. size: bytes of data that a block to the other side may carry; limit: what we take in all.

    window: blocks that we take in a row; theirs: what the other side takes, as far as it is known. silent: we have
    nothing to say in blocks, and only confirm.
    """

    __slots__ = (
        *("_blocks", "_confirmed", "_futile", "_received", "_said", "_sent", "_size", "_told", "theirs", "window"),
    )

    def __init__(self, size: int, *, limit: int, window: int = 8, theirs: int = 1, silent: bool = False) -> None:
        if size < 1:
            raise ValueError(f"a block of {size} bytes")
        self.window = window
        self.theirs = theirs
        self._size = size
        self._received = Received(limit)
        self._blocks: list[bytes] = []  # ours, in order; one without data only confirms
        self._said = 0 if silent else _NUMBERS + 1  # the number of our last one with data
        self._sent = 0
        self._confirmed = 0
        self._futile = 0
        self._told = False  # that theirs is whole

    def say(self, raw: bytes) -> tuple[bytes, ...]:
        """Begin to send `raw`; return the first turn's blocks."""
        self._blocks += [raw[at : at + self._size] for at in range(0, len(raw), self._size)]
        self._said = len(self._blocks)
        if self._said > _NUMBERS - WINDOW:
            raise ValueError(f"{self._said} blocks: at most {_NUMBERS - WINDOW} can be numbered")
        return self.turn()

    def take(self, block: GeneralBlock) -> tuple[bytes | None, tuple[bytes, ...]]:
        """Take a block; return once what all of theirs add up to when it is whole, and what is to be sent now.

        Raises DecodeError for a block that cannot be of this transfer, and where turns go on and bring nothing.
        """
        if block.received > self._sent:
            raise DecodeError(f"block {block.received} is confirmed, which was not sent", 4)
        moved = any(self._blocks[self._confirmed : block.received])
        self._confirmed = max(self._confirmed, block.received)
        self.theirs = max(1, block.window)
        if self._received.keep(block) or moved:
            self._futile = 0
        if block.streaming:
            return None, ()
        self._futile += 1
        if self._futile > _FUTILE:
            raise DecodeError(f"a transfer without end: {_FUTILE} turns brought nothing", 2)
        if not self._told and (whole := self._received.whole):
            self._told = True
            return whole, ()
        return None, self.turn()

    def begins_anew(self, block: GeneralBlock) -> bool:
        """Whether a block is the first of another APDU than the one that we take, or have taken."""
        return self._received.another(block)

    @property
    def begun(self) -> bool:
        """Whether blocks are under way: then a turn may be said once more, which costs nothing but the blocks."""
        return bool(self._sent or self._received.begun)

    def turn(self) -> tuple[bytes, ...]:
        """Our blocks of one turn: those not confirmed, as many as the other side takes; else one that confirms."""
        if self._confirmed == len(self._blocks):
            if self._confirmed == _NUMBERS:
                raise DecodeError("a transfer without end: the block numbers are used up", 0)
            self._blocks.append(b"")
        final = min(self._confirmed + self.theirs, len(self._blocks))
        self._sent = max(self._sent, final)
        return tuple(
            encode(
                GeneralBlock(
                    number >= self._said,
                    number != final,
                    self.window,
                    number,
                    self._received.arrived,
                    self._blocks[number - 1],
                )
            )
            for number in range(self._confirmed + 1, final + 1)
        )
