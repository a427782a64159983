"""How a meter stands: its state, where it is, and what it can be blamed for.

What goes wrong with a meter is judged here, once: a link error closes the association, a security error is audited.
Nonsense quarantines the meter where the meter itself vouches for it; where anybody may have sent it, only when it comes
again and again, or not at all: then the line is to blame.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum

from dcu.clock import epoch_seconds
from dcu.collect.medium import Lane
from dcu.collect.meter_profile import MeterProfile
from dcu.collect.services import Services
from dcu.cosem.association import Refused
from dcu.errors import (
    AssociationRefused,
    DcuError,
    JobError,
    KeysError,
    LinkError,
    LinkTimeout,
    MalformedAnswer,
    SecurityError,
    ServiceRefused,
)
from dcu.streams import Channel

Dial = Callable[[int], Awaitable[Channel]]  # opens a channel to the meter for a client SAP

LOST_IN_A_ROW = 2  # unanswered requests on a lossy channel before the association is given up
NONSENSE = 3  # answers without meaning, where anybody may have sent them, before the meter is to blame
NONSENSE_APART = 60.0  # seconds between two of them that count: one disturbance counts once

log = logging.getLogger(__name__)


class State(StrEnum):
    NEW = "new"  # not heard of yet
    OK = "ok"
    UNREACHABLE = "unreachable"
    REFUSED = "refused"  # by the meter, or by us for what a wrong key or an attacker causes
    QUARANTINED = "quarantined"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a meter is, and of which family. lane: shared by the logical devices of one physical meter.

    hops: how many lie on the way to it, None where that is not known.
    """

    address: str
    profile: MeterProfile
    lane: Lane
    dial: Dial
    hops: Callable[[], int | None] = lambda: None


class Standing:
    """The state of one meter, since when (epoch seconds) and why, and what an error means for it."""

    __slots__ = ("_meter", "_nonsense", "_services", "_unanswered", "reason", "since", "state")

    def __init__(self, meter: str, services: Services) -> None:
        self.state = State.NEW
        self.reason = ""
        self.since = 0
        self._meter = meter
        self._services = services
        self._unanswered = 0
        self._nonsense = _Nonsense()

    def restore(self, state: State, reason: str, since: int) -> None:
        """As another process left it; nobody is told."""
        self.state, self.reason, self.since = state, reason, since

    def require_released(self) -> None:
        if self.state is State.QUARANTINED:
            raise JobError(f"{self._meter} is quarantined ({self.reason}): see to it, then release it (`dcu meters`)")

    def judge(self, error: DcuError, *, proven: bool, waiting: bool, refused: Refused | None) -> bool:
        """What an error means for the state; whether the association is to be given up. `record` keeps what is kept.

        proven: the meter's answers are authenticated. waiting: an association is open over a channel that loses.
        refused: the frames that its session did not accept, which may be why nothing else came.
        """
        match error:
            case SecurityError():
                self.become(State.REFUSED, str(error))
                self._services.events.tell("alarm", meter=self._meter, kind=type(error).__name__, message=str(error))
            case MalformedAnswer():
                if self.to_blame(proven=proven):
                    self.become(State.QUARANTINED, str(error))
            case LinkTimeout() if waiting and self._unanswered + 1 < LOST_IN_A_ROW:
                self._unanswered += 1
                return False  # a lost datagram costs this exchange, not the association
            case LinkError():
                self._unanswered += 1
                if self._unanswered >= LOST_IN_A_ROW:
                    self.become(State.UNREACHABLE, _explained(error, refused))
            case AssociationRefused() | KeysError():
                self.become(State.REFUSED, str(error))
            case ServiceRefused():
                pass
            case _:
                return False
        return True

    async def record(self, error: DcuError) -> None:
        """Write down what is to be kept of an error that was judged."""
        store = self._services.store
        if isinstance(error, SecurityError):
            await store.audit("collector", "security", self._meter, f"{type(error).__name__}: {error}")
        elif isinstance(error, MalformedAnswer) and self.state is State.QUARANTINED:
            await store.quarantine(self._meter, self.reason)

    def to_blame(self, *, proven: bool) -> bool:
        """Whether nonsense that has come is the meter's: it vouches for it, or it comes again and again."""
        return proven or self._nonsense.again()

    def heard(self) -> None:
        """It has answered."""
        self._unanswered = 0
        self.become(State.OK)

    def cleared(self) -> None:
        """What it said made sense."""
        self._nonsense.forget()

    def become(self, state: State, reason: str = "") -> None:
        if state is self.state and reason == self.reason:
            return
        changed = state is not self.state
        self.state, self.reason = state, reason
        if changed:
            self.since = epoch_seconds(self._services.clock.now())
            level = logging.INFO if state in (State.OK, State.NEW) else logging.WARNING
            log.log(level, "meter %s: %s%s", self._meter, state, f": {reason}" if reason else "")
            self._services.events.tell("meter", meter=self._meter, state=str(state), reason=reason)


class _Nonsense:
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


def _explained(error: LinkError, refused: Refused | None) -> str:
    """Silence on a lossy channel may be frames that we did not accept: say so."""
    if not refused or not refused.total:
        return str(error)
    return f"{error} ({refused.total} frames were refused, the last: {refused.last})"
