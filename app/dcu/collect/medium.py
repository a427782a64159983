"""A shared medium: who may talk next, and whether there is air left for it.

The unit is the *exchange*: one request and its answer. A `Lane` is one meter on its medium; a `Turn` is the right to
one exchange with it. A lane waits at the medium as one, with the rank of the best that waits in it, and decides only
when the slot is granted who of its own goes: so an alarm waits for the exchange that is under way and for no other,
be it of its own meter or of a neighbour. Who holds a meter between two exchanges (block transfer, association) takes
over the rank of whoever waits behind (priority inheritance). Equals go in the order in which they came.

Air time is a token bucket in seconds of air: `duty` flows in each second, an exchange draws 8 × bytes / bitrate. The
last share of the bucket is kept for alarms and commands.
"""

import asyncio
import heapq
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count

from dcu.model import Priority

_URGENT = Priority.COMMAND  # this and better may draw on the reserve
_ROUNDING = 1e-9
_SWEEP = 64  # withdrawn tickets that may lie in the queue before it is swept


@dataclass(frozen=True, slots=True)
class AirTime:
    """What may be spent of a medium: bit/s, share of time, seconds that may be saved up, share kept for commands."""

    bitrate: float
    duty: float = 1.0
    burst: float = 60.0
    reserve: float = 0.2
    longest_answer: float = 5.0  # seconds of air that one answer may take: what everybody else may have to wait


class Budget:
    """The token bucket of one medium."""

    def __init__(self, settings: AirTime) -> None:
        self.settings = settings
        self.level = settings.burst
        self._at: float | None = None

    def wait(self, priority: Priority, now: float) -> float:
        """Seconds until an exchange of this priority may start; 0 when it may at once."""
        self._refill(now)
        floor = 0.0 if priority <= _URGENT else self.settings.reserve * self.settings.burst
        return 0.0 if self.level + _ROUNDING >= floor else (floor - self.level) / self.settings.duty

    def charge(self, size: int, now: float) -> float:
        """Draw what `size` bytes take; the level may fall below zero by what was under way."""
        self._refill(now)
        air = 8 * size / self.settings.bitrate
        self.level -= air
        return air

    def _refill(self, now: float) -> None:
        if self._at is not None:
            self.level = min(self.settings.burst, self.level + (now - self._at) * self.settings.duty)
        self._at = now


@dataclass(slots=True, eq=False)
class _Ticket:
    lane: "Lane | None"  # None: withdrawn
    priority: Priority


class Medium:
    """The slots of one medium; `concurrency` exchanges may be under way at once."""

    def __init__(self, name: str, *, concurrency: int = 1, air: AirTime | None = None) -> None:
        self.name = name
        self.concurrency = concurrency
        self.exchanges = 0
        self.bytes = 0
        self.air_seconds = 0.0
        self._budget = Budget(air) if air else None
        self._under_way = 0
        self._held = False
        self._withdrawn = 0
        self._waiting: list[tuple[Priority, int, _Ticket]] = []
        self._order = count()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def waiting(self) -> int:
        return sum(ticket.lane is not None for _, _, ticket in self._waiting)

    @property
    def under_way(self) -> int:
        return self._under_way

    @property
    def largest_answer(self) -> int:
        """Bytes that one answer should have at most."""
        if not self._budget:
            return 0xFFFF
        settings = self._budget.settings
        return max(128, int(settings.bitrate * settings.longest_answer / 8))

    @property
    def air_left(self) -> float | None:
        """Seconds of air in the bucket, or None where air is not counted."""
        return self._budget.level if self._budget else None

    def hold(self) -> None:
        """Let no further exchange begin; the one that is under way ends in peace."""
        self._held = True

    def release(self) -> None:
        """Go on, with whoever is next."""
        self._held = False
        self._admit()

    def queue(self, lane: "Lane", priority: Priority) -> _Ticket:
        ticket = _Ticket(lane, priority)
        heapq.heappush(self._waiting, (priority, next(self._order), ticket))
        self._admit()
        return ticket

    def withdraw(self, ticket: _Ticket) -> None:
        ticket.lane = None
        self._withdrawn += 1
        if self._withdrawn > _SWEEP + len(self._waiting) // 2:  # those of low rank would never come to the top
            self._waiting = [entry for entry in self._waiting if entry[2].lane is not None]
            heapq.heapify(self._waiting)
            self._withdrawn = 0

    def give_back(self, size: int) -> None:
        """End an exchange that put `size` bytes on the medium."""
        self._under_way -= 1
        self.exchanges += 1
        self.bytes += size
        if self._budget:
            self.air_seconds += self._budget.charge(size, asyncio.get_running_loop().time())
        self._admit()

    def _admit(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None
        while self._waiting and self._under_way < self.concurrency and not self._held:
            priority, _, ticket = self._waiting[0]
            if ticket.lane is None:
                heapq.heappop(self._waiting)
                continue
            if wait := self._short_of_air(priority):
                self._timer = asyncio.get_running_loop().call_later(wait, self._admit)
                return
            heapq.heappop(self._waiting)
            lane, ticket.lane = ticket.lane, None
            self._under_way += lane.granted()

    def _short_of_air(self, priority: Priority) -> float:
        return self._budget.wait(priority, asyncio.get_running_loop().time()) if self._budget else 0.0


class Turn:
    """The right to one exchange with one meter now; `again` asks for the next while the meter stays ours."""

    __slots__ = ("_lane", "bytes", "has_slot", "priority")

    def __init__(self, lane: "Lane", priority: Priority) -> None:
        self._lane = lane
        self.priority = priority
        self.bytes = 0  # what the exchange under way has put on the medium; set by who exchanges
        self.has_slot = True

    def outranked(self, by: Priority = Priority.BACKFILL) -> bool:
        """Whether something strictly more urgent than we waits for this meter, of the rank `by` or better."""
        best = self._lane.best_waiting()
        return best is not None and best < self.priority and best <= by

    async def again(self) -> None:
        """Give the slot back, wait for the next one."""
        await self._lane.again(self)


class Lane:
    """One physical meter on its medium: its exchanges one after the other, the most urgent first."""

    __slots__ = ("__weakref__", "_holder", "_order", "_resume", "_ticket", "_waiting", "medium")

    def __init__(self, medium: Medium) -> None:
        self.medium = medium
        self._waiting: list[tuple[Priority, int, asyncio.Future[Turn]]] = []
        self._order = 0
        self._holder: Turn | None = None
        self._resume: asyncio.Future[None] | None = None  # the holder, between two of its exchanges
        self._ticket: _Ticket | None = None

    @asynccontextmanager
    async def turn(self, priority: Priority) -> AsyncIterator[Turn]:
        turn = await self._acquire(priority)
        try:
            yield turn
        finally:
            self._release(turn)

    def best_waiting(self) -> Priority | None:
        while self._waiting and self._waiting[0][2].done():
            heapq.heappop(self._waiting)
        return self._waiting[0][0] if self._waiting else None

    def granted(self) -> bool:
        """A slot is there: hand it to the holder, or to the best that waits. False when nobody wants it any more."""
        self._ticket = None
        if self._holder:
            if self._resume is None or self._resume.done():
                return False
            self._holder.has_slot = True
            self._resume.set_result(None)
            return True
        if self.best_waiting() is None:
            return False
        priority, _, future = heapq.heappop(self._waiting)
        self._holder = Turn(self, priority)
        future.set_result(self._holder)
        return True

    async def again(self, turn: Turn) -> None:
        self._resume = asyncio.get_running_loop().create_future()
        self._hand_over(turn)
        try:
            await self._resume
        finally:
            self._resume = None
            self._queue()  # cancelled: nothing waits for the ticket

    async def _acquire(self, priority: Priority) -> Turn:
        future: asyncio.Future[Turn] = asyncio.get_running_loop().create_future()
        self._order += 1
        heapq.heappush(self._waiting, (priority, self._order, future))
        self._queue()
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():
                self._release(future.result())  # granted in the moment in which it was withdrawn
            else:
                future.cancel()
                self._queue()
            raise

    def _release(self, turn: Turn) -> None:
        self._holder = None
        self._hand_over(turn)

    def _hand_over(self, turn: Turn) -> None:
        """Queue up what waits here before the slot goes: else a neighbour of lower rank would slip in between."""
        had_slot, turn.has_slot = turn.has_slot, False
        size, turn.bytes = turn.bytes, 0
        self._queue()
        if had_slot:
            self.medium.give_back(size)

    def _queue(self) -> None:
        """Stand at the medium with the rank that this lane has now, or not at all."""
        wanted = self._wanted()
        if self._ticket:
            if wanted == self._ticket.priority:
                return
            self.medium.withdraw(self._ticket)
            self._ticket = None
        if wanted is not None:
            ticket = self.medium.queue(self, wanted)
            if ticket.lane is not None:  # not granted at once
                self._ticket = ticket

    def _wanted(self) -> Priority | None:
        best = self.best_waiting()
        if self._holder is None:
            return best
        if self._resume is None or self._resume.done():
            return None  # the holder has its slot, or has just left
        return self._holder.priority if best is None else min(best, self._holder.priority)
