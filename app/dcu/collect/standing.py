"""How a meter stands: its state, where it is, and what it can be blamed for."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum

from dcu.collect.medium import Lane
from dcu.collect.meter_profile import MeterProfile
from dcu.streams import Channel

Dial = Callable[[int], Awaitable[Channel]]  # opens a channel to the meter for a client SAP

NONSENSE = 3  # answers without meaning, where anybody may have sent them, before the meter is to blame
NONSENSE_APART = 60.0  # seconds between two of them that count: one disturbance counts once


class State(StrEnum):
    NEW = "new"  # not heard of yet
    OK = "ok"
    UNREACHABLE = "unreachable"
    REFUSED = "refused"  # by the meter, or by us for what a wrong key or an attacker causes
    QUARANTINED = "quarantined"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a meter is, and of which family. lane: shared by the logical devices of one physical meter."""

    address: str
    profile: MeterProfile
    lane: Lane
    dial: Dial


class Nonsense:
    """Counts answers without meaning."""

    __slots__ = ("_at", "_count")

    def __init__(self) -> None:
        self._count = 0
        self._at = 0.0

    def again(self) -> bool:
        """One more; whether it has come again and again."""
        now = asyncio.get_running_loop().time()
        if self._count == 0 or now - self._at >= NONSENSE_APART:
            self._count += 1
            self._at = now
        return self._count >= NONSENSE

    def forget(self) -> None:
        self._count = 0


class Outranked(Exception):
    """A transfer was given up between two blocks because something more urgent waits for this meter."""
