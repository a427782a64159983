"""One meter as the collector has it: its association, its counters, its state, and its exchanges one after the other.

`run` is the one way to it: it waits for its turn by priority, opens the association where there is none, and holds the
medium for one request and its answer at a time. What goes wrong is judged here, once: a link error closes the
association, nonsense quarantines the meter, a security error is audited. Retrying is the scheduler's business, but for
one thing: a meter that complains of the invocation counter has its counter object read again, once.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import TypeVar

from dcu.clock import epoch_seconds
from dcu.collect import associations
from dcu.collect.counters import Counters
from dcu.collect.dialogue import Exchange, converse
from dcu.collect.medium import Lane, Medium, Turn
from dcu.collect.meter_profile import MeterProfile
from dcu.collect.services import Services
from dcu.cosem import apdu
from dcu.cosem.apdu import DataNotification
from dcu.cosem.client import ClientSession
from dcu.errors import (
    AssociationRefused,
    DcuError,
    JobError,
    KeysError,
    LinkClosed,
    LinkError,
    LinkTimeout,
    MalformedAnswer,
    SecurityError,
    ServiceRefused,
)
from dcu.model import Priority
from dcu.streams import Channel

T = TypeVar("T")
Dial = Callable[[int], Awaitable[Channel]]  # opens a channel to the meter for a client SAP

LOST_IN_A_ROW = 2  # unanswered requests on a lossy channel before the association is given up
SILENT_OPENINGS = 2  # associations that came to nothing before the counter is doubted: some meters drop without a word

log = logging.getLogger(__name__)


class State(StrEnum):
    NEW = "new"  # not heard of yet
    OK = "ok"
    UNREACHABLE = "unreachable"
    REFUSED = "refused"  # by the meter, or by us for what a wrong key or an attacker causes
    QUARANTINED = "quarantined"


class Outranked(Exception):
    """A transfer was given up between two blocks because something more urgent waits for this meter."""


class Meter:
    """One meter. `engaged` keeps its association open between exchanges of a job."""

    __slots__ = (
        "_channel",
        "_counters",
        "_dial",
        "_doubted",
        "_engaged",
        "_failed_openings",
        "_idle",
        "_services",
        "_session",
        "_unanswered",
        "address",
        "lane",
        "last_contact",
        "last_reading",
        "name",
        "profile",
        "readings",
        "reason",
        "since",
        "state",
    )

    def __init__(
        self, name: str, address: str, profile: MeterProfile, medium: Medium, dial: Dial, services: Services
    ) -> None:
        self.name = name
        self.address = address
        self.profile = profile
        self.lane = Lane(medium)
        self.state = State.NEW
        self.reason = ""
        self.since = 0
        self.last_contact = 0
        self.last_reading = 0
        self.readings = 0
        self._dial = dial
        self._services = services
        self._counters = Counters(services.store, name, services.counter_block)
        self._session: ClientSession | None = None
        self._channel: Channel | None = None
        self._engaged = 0
        self._idle: asyncio.TimerHandle | None = None
        self._unanswered = 0
        self._failed_openings = 0
        self._doubted = False

    @property
    def associated(self) -> bool:
        return self._session is not None and self._session.associated

    @property
    def ciphered(self) -> bool:
        """Whether the meter refuses a request that arrives after a later one: its counter is not above the floor."""
        return self.profile.security.request != "none"

    async def run(
        self,
        make: Callable[[ClientSession], Exchange[T]],
        priority: Priority,
        *,
        gives_way: Priority | None = None,
        repeatable: bool = True,
    ) -> T:
        """Run one exchange with the meter and return what it returns.

        gives_way: raise Outranked between two blocks when something more urgent, of this rank or better, waits for us.
        repeatable: it may be sent again at once where an association kept open turns out to be dead.
        Each step towards it (counter, association, the exchange) waits for a turn of its own.
        """
        kept, complained, sent = self.associated, False, False
        while True:
            async with self.lane.turn(priority) as turn:
                self._require_released()
                try:
                    if self._session and self._channel and self._session.associated:
                        await self._ready_counters()
                        sent = True
                        result = await self._converse(make(self._session), self._channel, turn, gives_way)
                        self._heard()
                        return result
                    kept = False
                    await self._prepare(turn)
                except LinkClosed as closed:
                    if not (kept and repeatable):
                        await self._judge(closed)
                        raise
                    kept = False
                    self._drop()
                except ServiceRefused as refused:
                    again = repeatable or not sent
                    if refused.counter is None or complained or not again or not self.profile.security.ciphered:
                        await self._judge(refused)
                        raise
                    log.warning("meter %s: %s; its counter object is read again", self.name, refused)
                    complained = self._doubted = True
                    self._drop()
                except (DcuError, asyncio.CancelledError) as error:
                    await self._judge(error)
                    raise

    @contextmanager
    def engaged(self) -> Iterator[None]:
        """Keep the association open until the block ends, then for the profile's idle time."""
        self._engaged += 1
        if self._idle:
            self._idle.cancel()
            self._idle = None
        try:
            yield
        finally:
            self._engaged -= 1
            self._settle()

    async def quarantine(self, reason: str) -> None:
        """Leave the meter alone until somebody releases it."""
        if self.state is State.QUARANTINED:
            return
        self._drop()
        self._become(State.QUARANTINED, reason)
        await self._services.store.quarantine(self.name, reason)

    async def release(self) -> None:
        """End a quarantine."""
        await self._services.store.release(self.name)
        self._become(State.NEW)

    async def part(self) -> None:
        """Close the association, telling the meter where its profile wants that."""
        if self.profile.session.release and self.associated:
            try:
                async with self.lane.turn(Priority.BACKFILL) as turn:
                    if self._session and self._channel and not self._engaged:
                        await self._converse(self._session.release(), self._channel, turn)
            except DcuError as error:
                log.info("meter %s: release: %s", self.name, error)
        if not self._engaged:
            self._drop()

    # --- an exchange

    async def _converse(
        self, exchange: Exchange[T], channel: Channel, turn: Turn, gives_way: Priority | None = None
    ) -> T:
        """Drive an exchange; between its steps the medium goes to whoever is next, the meter stays ours."""
        before = channel.sent + channel.received

        def account() -> None:
            nonlocal before
            total = channel.sent + channel.received
            turn.bytes += total - before
            before = total

        async def between() -> None:
            account()
            if gives_way is not None and turn.outranked(gives_way):
                raise Outranked
            await turn.again()
            await self._ready_counters()

        try:
            return await converse(exchange, channel, timeout=self.profile.session.timeout, between=between)
        finally:
            account()

    async def _ready_counters(self) -> None:
        if self.profile.security.ciphered:
            await self._counters.ensure()

    # --- the association

    async def _prepare(self, turn: Turn) -> None:
        """Do the next step towards an association: learn the counter where it is in doubt, else open."""
        self._drop()
        if self.profile.security.ciphered and (self._doubted or not await self._counters.known()):
            await self._learn_counter(turn)
            self._doubted = False
        else:
            await self._open(turn)

    async def _open(self, turn: Turn) -> None:
        settings = associations.secured(self.name, self.profile, self._services)
        await self._ready_counters()
        channel = await self._dial(self.profile.addresses.client)
        session = ClientSession(settings, counter=self._counters.take, lossy=channel.lossy)
        self._services.open.count += 1
        self._session, self._channel = session, channel
        self._failed_openings += 1
        if self._failed_openings == SILENT_OPENINGS:
            self._doubted = True  # for the next time, should this one fail too
        await self._converse(session.associate(), channel, turn)
        self._failed_openings = 0
        self._doubted = False

    async def _learn_counter(self, turn: Turn) -> None:
        """Read the meter's counter object through the public client, which needs no counter itself."""
        channel = await self._dial(self.profile.addresses.public)
        try:
            session = ClientSession(associations.public(self.profile), counter=_never, lossy=channel.lossy)
            await self._converse(session.associate(), channel, turn)
            await turn.again()
            raw = await self._converse(session.get(associations.counter_object(self.profile)), channel, turn)
        finally:
            await channel.close()
        floor = await self._counters.learn(associations.counter_value(raw))
        text = f"goes on from {floor}: read from the meter"
        await self._services.store.audit("collector", "counter", self.name, text)

    def _drop(self) -> None:
        """Forget the association; what is still on its way belongs to nobody."""
        channel, self._channel, self._session = self._channel, None, None
        if self._idle:
            self._idle.cancel()
            self._idle = None
        if channel:
            self._services.open.count -= 1
            self._services.aside(channel.close())

    def _settle(self) -> None:
        if self._engaged or not self._session:
            return
        if self.profile.session.idle == 0 or self._services.open.crowded or not self._session.associated:
            self._services.aside(self.part())
        else:
            loop = asyncio.get_running_loop()
            self._idle = loop.call_later(self.profile.session.idle, lambda: self._services.aside(self.part()))

    # --- the judgement

    def _require_released(self) -> None:
        if self.state is State.QUARANTINED:
            raise JobError(f"{self.name} is quarantined ({self.reason}): see to it, then release it (`dcu meters`)")

    async def _judge(self, error: BaseException) -> None:
        lossy = bool(self._channel and self._channel.lossy)
        match error:
            case SecurityError():
                self._drop()
                self._become(State.REFUSED, str(error))
                self._services.events.tell("alarm", meter=self.name, kind=type(error).__name__, message=str(error))
                await self._services.store.audit("collector", "security", self.name, f"{type(error).__name__}: {error}")
            case MalformedAnswer():
                await self.quarantine(str(error))
            case LinkTimeout() if lossy and self.associated and self._unanswered + 1 < LOST_IN_A_ROW:
                self._unanswered += 1  # a lost datagram costs this exchange, not the association
            case LinkError():
                self._unanswered += 1
                if self._unanswered >= LOST_IN_A_ROW:
                    self._become(State.UNREACHABLE, self._explained(error))
                self._drop()
            case AssociationRefused() | KeysError():
                self._drop()
                self._become(State.REFUSED, str(error))
            case ServiceRefused():
                self._drop()
            case asyncio.CancelledError() if not lossy:
                self._drop()  # an answer may still come, and must not be taken for that of the next request

    def _explained(self, error: LinkError) -> str:
        """Silence on a lossy channel may be frames that we did not accept: say so."""
        refused = self._session.refused if self._session else None
        if not refused or not refused.total:
            return str(error)
        return f"{error} ({refused.total} frames were refused, the last: {refused.last})"

    def _heard(self) -> None:
        self._unanswered = 0
        while self._session and self._session.notifications:
            self._services.aside(self._keep(self._session.notifications.popleft()))
        self.last_contact = epoch_seconds(self._services.clock.now())
        self._become(State.OK)

    async def _keep(self, notification: DataNotification) -> None:
        """A push inside of the association: proven by it, its counter is the association's."""
        seq = await self._services.store.put("push", apdu.encode(notification), Priority.ALARM, self.name)
        self._services.events.tell("alarm", meter=self.name, kind="push", message=f"outbox {seq}")

    def _become(self, state: State, reason: str = "") -> None:
        if state is self.state and reason == self.reason:
            return
        changed = state is not self.state
        self.state, self.reason = state, reason
        if changed:
            self.since = epoch_seconds(self._services.clock.now())
            level = logging.INFO if state in (State.OK, State.NEW) else logging.WARNING
            log.log(level, "meter %s: %s%s", self.name, state, f": {reason}" if reason else "")
            self._services.events.tell("meter", meter=self.name, state=str(state), reason=reason)


def _never() -> int:
    raise LinkClosed("the public client ciphers nothing")
