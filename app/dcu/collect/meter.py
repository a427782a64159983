"""One meter as the collector has it: its association, its counters, and its exchanges one after the other.

`run` is the one way to it: it waits for its turn by priority, opens the association where there is none, and holds the
medium for one request and its answer at a time. What goes wrong is judged once, by its `Standing`. Retrying is the
scheduler's business, but for one thing: a meter that complains of the invocation counter has its counter object read
again, once.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from dcu.clock import epoch_seconds
from dcu.collect import associations
from dcu.collect.counters import Counters
from dcu.collect.dialogue import converse
from dcu.collect.medium import Lane, Turn
from dcu.collect.parting import part
from dcu.collect.patience import Patience, Waiting
from dcu.collect.services import Services
from dcu.collect.standing import Outranked, Place, Standing, State
from dcu.cosem.association import Association, StaleAnswer
from dcu.cosem.client import ClientSession
from dcu.cosem.conversation import Told
from dcu.cosem.exchange import Exchange
from dcu.cosem.short_names import ShortNames
from dcu.errors import (
    CounterReplayed,
    DcuError,
    LinkClosed,
    LinkError,
    MalformedAnswer,
    ServiceRefused,
)
from dcu.model import Priority
from dcu.streams import Channel

T = TypeVar("T")

SILENT_OPENINGS = 2  # associations that came to nothing before the counter is doubted: some meters drop without a word

log = logging.getLogger(__name__)


class Meter:
    """One meter. `engaged` keeps its association open between exchanges of a job."""

    __slots__ = (
        "_believing",
        "_channel",
        "_counters",
        "_dial",
        "_doubted",
        "_engaged",
        "_failed_openings",
        "_floor",
        "_hops",
        "_idle",
        "_moving",
        "_names",
        "_patience",
        "_services",
        "_session",
        "address",
        "lane",
        "last_contact",
        "last_reading",
        "name",
        "profile",
        "readings",
        "standing",
    )

    def __init__(self, name: str, place: Place, services: Services) -> None:
        self.name = name
        self.address = place.address
        self.profile = place.profile
        self.lane = place.lane
        self.standing = Standing(name, services)
        self.last_contact = 0
        self.last_reading = 0
        self.readings = 0
        self._dial = place.dial
        self._hops = place.hops
        self._patience = Patience()
        self._services = services
        self._counters = Counters(services.store, name, services.counter_block, services.reserved)
        self._session: ClientSession | None = None
        self._channel: Channel | None = None
        self._engaged = 0
        self._idle: asyncio.TimerHandle | None = None
        self._failed_openings = 0
        self._floor: tuple[bytes, int] = (b"", -1)  # the key, and what the meter has counted under it
        self._doubted = False
        self._believing = False
        self._moving: Place | None = None
        self._names: ShortNames | None = None  # as the last association by short names found them

    @property
    def state(self) -> State:
        return self.standing.state

    @property
    def reason(self) -> str:
        return self.standing.reason

    @property
    def associated(self) -> bool:
        return self._session is not None and self._session.associated

    @property
    def ciphered(self) -> bool:
        """Whether the meter refuses a request that arrives after a later one: its counter is not above the floor."""
        return self.profile.security.request != "none"

    @property
    def proven(self) -> bool:
        """Whether its answers are authenticated."""
        return associations.authenticated(self.profile)

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
            lane = self.lane
            async with lane.turn(priority) as turn:
                if not self._here(lane):
                    continue
                try:
                    self.standing.require_released()
                    if self._session and self._channel and self._session.associated:
                        await self._ready_counters()
                        sent = True
                        result = await self._converse(
                            self._session,
                            make(self._session),
                            self._channel,
                            turn,
                            gives_way,
                            repeatable=repeatable,
                        )
                        self._heard()
                        return result
                    kept = False
                    await self._prepare(turn)
                    continue
                except LinkClosed as closed:
                    if kept and repeatable:
                        kept = False
                        self._drop()
                        continue
                    trouble: DcuError = closed
                except ServiceRefused as refused:
                    again = repeatable or not sent
                    if refused.counter is not None and not complained and again and self.profile.security.ciphered:
                        log.warning("meter %s: %s; its counter object is read again", self.name, refused)
                        complained = self._doubted = True
                        self._drop()
                        continue
                    trouble = refused
                except DcuError as error:
                    trouble = error
                except asyncio.CancelledError:
                    self._withdrawn()
                    raise
                self._judge(trouble)
            await self.standing.record(trouble)  # the disk may be slow: the meter and the medium are others' again
            raise trouble

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
        self.standing.become(State.QUARANTINED, reason)
        await self._services.store.quarantine(self.name, reason)

    async def release(self) -> None:
        """End a quarantine."""
        await self._services.store.release(self.name)
        self._floor = b"", -1  # a meter whose counter was set back would never be believed
        self.standing.cleared()
        self.standing.become(State.NEW)

    def believe_counter(self) -> None:
        """Read its counter object before the next association, and go on from there however far ahead it is."""
        self._doubted = self._believing = True

    async def answered(self, error: MalformedAnswer | None) -> None:
        """What a job found in the meter's answers: nonsense, or nothing to complain of."""
        if error is None:
            self.standing.cleared()
        elif self.standing.to_blame(proven=self.proven):
            await self.quarantine(str(error))

    def move(self, place: Place) -> None:
        """Be at `place` from the next exchange on, in a new association; what is under way ends as it began."""
        self._moving = place

        async def go() -> None:
            lane = self.lane
            async with lane.turn(Priority.COMMAND):
                self._here(lane)

        self._services.aside(go())

    async def part(self) -> None:
        """Close the association, telling the meter where its profile wants that."""
        if self.profile.session.release and self.associated:
            try:
                async with self.lane.turn(Priority.BACKFILL) as turn:
                    if self._session and self._channel and not self._engaged:
                        await self._converse(self._session, self._session.release(), self._channel, turn)
            except DcuError as error:
                log.info("meter %s: release: %s", self.name, error)
        if not self._engaged:
            self._drop()

    def hang_up(self) -> None:
        """Close the association at once, whatever it is used for."""
        self._drop()

    def _here(self, lane: Lane) -> bool:
        """Move where that is due, now that the meter is ours; False where `lane` is no longer the way to it."""
        if lane is self.lane and (place := self._moving):
            self._moving = None
            self._drop()
            self.address, self.profile, self._dial = place.address, place.profile, place.dial
            self._hops, self._patience = place.hops, Patience()
            self._names = None
            self.lane = place.lane  # where it is another, who waits at the old one comes after us
        return lane is self.lane

    # --- an exchange

    async def _converse(
        self,
        session: ClientSession,
        exchange: Exchange[T],
        channel: Channel,
        turn: Turn,
        gives_way: Priority | None = None,
        *,
        public: bool = False,
        repeatable: bool = True,
    ) -> T:
        """Drive an exchange; between its steps the medium goes to whoever is next, the meter stays ours.

        public: it is the public client's, which spends no counters. repeatable: see `run`; else the answer is waited
        for as long as the family says.

        Raises MalformedAnswer only where the meter vouches for its nonsense, or vouches for nothing.
        """
        before = channel.sent + channel.received
        refused = session.refused.total

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
            if not public:
                await self._ready_counters()

        timeout, waiting = self.profile.session.timeout, None
        if channel.lossy:
            waiting = Waiting(self._patience, self._hops(), timeout, early=repeatable)
        try:
            return await converse(exchange, channel, timeout=timeout, between=between, waiting=waiting)
        except StaleAnswer as error:
            raise LinkError(f"the line brings what was not asked for: {error}") from None
        except MalformedAnswer as error:
            authentic = session.association.policy.response.authentic
            if self.proven and not (authentic and (channel.lossy or session.refused.total == refused)):
                raise LinkError(f"the line brings nonsense that nobody vouches for: {error}") from None
            raise
        finally:
            account()

    async def _ready_counters(self) -> None:
        if self.profile.security.ciphered:
            await self._counters.ensure()

    # --- the association

    async def _prepare(self, turn: Turn) -> None:
        """Do the next step towards an association: learn the counter where it is in doubt, else open."""
        self._drop()
        settings = associations.secured(self.name, self.profile, self._services)
        if self.profile.security.ciphered and settings.keys:
            self._counters.use(settings.keys.fingerprint(self._services.client_title))
            if self._doubted or not await self._counters.known():
                await self._learn_counter(turn)
                self._doubted = False
                return
        await self._open(settings, turn)

    async def _open(self, settings: Association, turn: Turn) -> None:
        await self._ready_counters()
        channel = await self._dial(self.profile.addresses.client)
        key, floor = self._floor
        floor = floor if settings.keys and settings.keys.fingerprint(settings.server_title) == key else -1
        session = associations.session(
            settings, self._counters.take, lossy=channel.lossy, names=self._names, floor=floor
        )
        self._services.open.count += 1
        self._session, self._channel = session, channel
        self._failed_openings += 1
        if self._failed_openings == SILENT_OPENINGS:
            self._doubted = True  # for the next time, should this one fail too
        await self._converse(session, session.associate(), channel, turn)
        self._names = session.names
        self._failed_openings = 0
        self._doubted = False

    async def _learn_counter(self, turn: Turn) -> None:
        """Read the meter's counter object through the public client, which needs no counter itself."""
        channel = await self._dial(self.profile.addresses.public)
        try:
            settings = associations.public(self.profile)
            session = associations.session(settings, _never, lossy=channel.lossy, unproven=True)
            await self._converse(session, session.associate(), channel, turn, public=True)
            await turn.again()
            asked = session.get(associations.counter_object(self.profile))
            raw = await self._converse(session, asked, channel, turn, public=True)
        finally:
            await channel.close()
        try:
            last_used = associations.counter_value(raw)
        except MalformedAnswer as error:  # the public client's answers are vouched for by nobody
            raise LinkError(str(error)) from None
        floor = await self._counters.learn(last_used, believe=self._believing)
        self._believing = False
        text = f"goes on from {floor}: read from the meter"
        self._services.aside(self._services.store.audit("collector", "counter", self.name, text))

    def _drop(self) -> None:
        """Forget the association; an answer that is still on its way belongs to nobody."""
        channel, self._channel = self._channel, None
        session, self._session = self._session, None
        if self._idle:
            self._idle.cancel()
            self._idle = None
        if session and session.negotiated and (keys := session.association.keys) and session.floor >= 0:
            self._floor = keys.fingerprint(keys.system_title), session.floor
        if channel and session:
            self._services.open.count -= 1
            self._services.aside(part(session, channel, self._keep))

    def _settle(self) -> None:
        if self._engaged or not self._session:
            return
        if self.profile.session.idle == 0 or self._services.open.crowded or not self._session.associated:
            self._services.aside(self.part())
        else:
            self._session.rest()
            loop = asyncio.get_running_loop()
            self._idle = loop.call_later(self.profile.session.idle, lambda: self._services.aside(self.part()))

    # --- what comes of it

    def _judge(self, error: DcuError) -> None:
        waiting = self._lossy and self.associated
        refused = self._session.refused if self._session else None
        if self.standing.judge(error, proven=self.proven, waiting=waiting, refused=refused):
            self._drop()

    def _withdrawn(self) -> None:
        """Nobody waits for the answer: it may still come, and must not be taken for that of the next request."""
        if not self._lossy:
            self._drop()

    @property
    def _lossy(self) -> bool:
        return bool(self._channel and self._channel.lossy)

    def _heard(self) -> None:
        while self._session and self._session.notifications:
            self._services.aside(self._keep(self._session.notifications.pop(0)))
        self.last_contact = epoch_seconds(self._services.clock.now())
        self.standing.heard()

    async def _keep(self, told: Told) -> None:
        """A push inside of the association: its counter, where it has one, is kept with it, as a listener's is.

        So one that was taken before, in whatever association, is not taken again: the meter's side proves that it is
        fresh with what it answers, and a push answers nothing.
        """
        store, payload = self._services.store, told.raw
        if told.counter is None:
            seq = await store.put("push", payload, Priority.ALARM, self.name)
        else:
            keys = self._services.keys.meter(self.name)
            try:
                key = keys.fingerprint(keys.system_title)
                seq = await store.accept_push(self.name, told.counter, payload, key=key)
            except CounterReplayed as error:
                log.warning("meter %s: a push inside of its association is refused: %s", self.name, error)
                return
        self._services.events.tell("alarm", meter=self.name, kind="push", message=f"outbox {seq}")


def _never() -> int:
    raise LinkClosed("the public client ciphers nothing")
