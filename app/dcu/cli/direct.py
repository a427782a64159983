"""A link of the command's own to one meter: counter floor, association, services.

The invocation counter starts above what was stored here; where nothing was, above what the meter says through its
public client. A meter that refuses it all the same, with an error or without a word, is asked for its counter, once.
Requests that only read are repeated on a channel that may lose them; an action never is.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import TypeVar

from dcu.cli.counters import CounterFile
from dcu.cli.floors import FloorFile
from dcu.cli.options import Target
from dcu.collect import associations
from dcu.collect.associations import DATA, counter_value
from dcu.collect.counters import LARGEST_JUMP
from dcu.collect.decoding import decoding
from dcu.collect.dialogue import converse
from dcu.cosem import axdr
from dcu.cosem.association import Association
from dcu.cosem.client import ClientSession
from dcu.cosem.exchange import Exchange
from dcu.cosem.selection import Selection
from dcu.errors import (
    AccessDenied,
    AssociationRefused,
    AuthenticationFailed,
    ConfigError,
    DcuError,
    LinkClosed,
    LinkTimeout,
    MeterError,
    PolicyViolated,
    ServiceRefused,
)
from dcu.model import AttributeRef, MethodRef, Obis
from dcu.streams import Channel

T = TypeVar("T")

# Of broadcasts no one meter has heard all: where our own count was lost, it goes on at as many as seconds have passed
# since, which is above it as long as there was less than one a second, and this machine's clock is right.
BROADCASTS_BEGIN = 1_577_836_800  # 2020-01-01 UTC

ATTEMPTS = 3  # of what only reads, on a channel that loses
FAREWELL = 2.0  # seconds that a meter has to answer a release: the work is done, and nobody waits longer for that
REFUSED = (AccessDenied, ServiceRefused)  # the meter says no to one thing; the association goes on
_COUNTER_DOUBTED = (MeterError, AuthenticationFailed, LinkClosed, LinkTimeout)  # how meters turn an old counter down


class Direct:
    """A channel to a meter, and the association on it."""

    def __init__(
        self,
        name: str,
        session: ClientSession,
        channel: Channel,
        timeout: float,
        floors: FloorFile | None = None,
        *,
        pre_established: bool = False,
    ) -> None:
        """floors: where the meter's counter is remembered, None where nothing of it is authenticated."""
        self._name = name
        self._floors = floors
        self._pre_established = pre_established
        self._session = session
        self._channel = channel
        self._timeout = timeout

    async def get(self, attribute: AttributeRef, selection: Selection | None = None) -> bytes:
        """The encoded value."""
        return await self._repeated(lambda: self._session.get(attribute, selection), self._reopened)

    async def value(self, attribute: AttributeRef) -> object:
        raw = await self.get(attribute)
        with decoding(str(attribute)):
            return axdr.decode(raw).value

    async def number(self, attribute: AttributeRef) -> int | None:
        """A value that should be a number; None where the meter does not give it, or it is none."""
        try:
            value = await self.value(attribute)
        except REFUSED:
            return None
        return value if isinstance(value, int) else None

    async def set(self, attribute: AttributeRef, raw: bytes) -> None:
        """Write an encoded value. Never repeated: the caller reads the effect back."""
        await self._converse(self._session.set(attribute, raw))

    async def action(self, method: MethodRef, raw: bytes | None) -> bytes | None:
        """Call with an encoded parameter. Never repeated: the caller reads the effect back."""
        return await self._converse(self._session.action(method, raw))

    async def run(self, make: Callable[[ClientSession], Exchange[T]]) -> T:
        """One exchange, whatever it does. Never repeated."""
        return await self._converse(make(self._session))

    async def tell(self, make: Callable[[ClientSession], bytes]) -> None:
        """Send a request that nobody answers: `ClientSession.unconfirmed`. The caller reads the effect back."""
        async with asyncio.timeout(self._timeout):
            await self._channel.send(make(self._session))

    async def associate(self) -> None:
        """Open the association, or take up the one that is pre-established."""
        if not self._pre_established:
            await self._repeated(self._session.associate)
            return
        try:
            self._session.presume()
        except ValueError:
            raise ConfigError(
                "--pre-established: nothing is known of the meter's counter yet, which alone tells new answers from "
                "recorded ones: associate once with these keys and HLS (--auth gmac), which proves it"
            ) from None
        await self._repeated(self._session.learn)

    async def close(self) -> None:
        """Release the association where there is one, and hang up."""
        try:
            if self._floors and self._session.negotiated and self._session.floor >= 0:
                self._floors.keep(self._session.floor)
            if self._session.associated and not self._pre_established:
                timeout = min(self._timeout, FAREWELL)
                await _quietly(converse(self._session.release(), self._channel, timeout=timeout))
        finally:
            await self._channel.close()

    async def _reopened(self) -> None:
        """A request that was given up has ended a session by short names."""
        if not self._session.associated:
            await self.associate()

    async def _repeated(
        self, exchange: Callable[[], Exchange[T]], before: Callable[[], Awaitable[None]] | None = None
    ) -> T:
        for _ in range(ATTEMPTS - 1 if self._channel.lossy else 0):
            try:
                return await self._converse(exchange())
            except LinkTimeout:
                if before:
                    await before()
        return await self._converse(exchange())

    async def _converse(self, exchange: Exchange[T]) -> T:
        before = self._channel.received
        try:
            return await converse(exchange, self._channel, timeout=self._timeout)
        except LinkTimeout:
            raise LinkTimeout(self._silence(self._channel.received - before)) from None

    def _silence(self, came: int) -> str:
        text = f"{self._name}: no answer in {self._timeout:g} s"
        refused = self._session.refused
        if refused.total:
            return f"{text}, but {refused.total} frames that were refused; the last: {refused.last}"
        if came and not self._channel.byte_time:
            return f"{text}, but {came} bytes of what may become one: is the line slow? --timeout says how long to wait"
        return f"{text}: is the meter powered, within reach, and are client and server right?"


@asynccontextmanager
async def connect(where: Target) -> AsyncIterator[Direct]:
    """Associate, and release at the end."""
    async with AsyncExitStack() as stack:

        async def dial(counter: Callable[[], int]) -> Direct:
            return await stack.enter_async_context(_dialled(where, where.association, counter))

        if not where.association.secured:
            direct = await dial(_no_counter)
            await direct.associate()
            yield direct
            return
        assert where.association.keys
        counter = stack.enter_context(_counter_file(where.association))
        learnt = not counter.known
        if learnt and where.association.broadcast:
            counter.raise_to(int(time.time()) - BROADCASTS_BEGIN)
        elif learnt:
            counter.raise_to(await meter_counter(where) + 1)
        direct = await dial(counter.next)
        try:
            await direct.associate()
        except _COUNTER_DOUBTED:
            seen = None if learnt else await _quietly(meter_counter(where))
            if seen is None or seen < counter.upcoming:
                raise
            if seen - counter.upcoming > LARGEST_JUMP:  # nobody proves it: one lie must not wear out the key
                text = f"the meter says that counter {seen} was used, {counter.upcoming} is our next: not believed"
                raise PolicyViolated(f"{text}; if it is true, delete {counter.path}") from None
            counter.raise_to(seen + 1)  # somebody else spent counters of this key since we last did
            direct = await dial(counter.next)
            await direct.associate()
        yield direct


def _counter_file(association: Association) -> CounterFile:
    """One a meter; one a broadcast key, whose frames are many meters'."""
    keys = association.keys
    assert keys
    if not association.broadcast:
        return CounterFile(association.client_title, keys.system_title)
    assert keys.broadcast
    shared = replace(keys, guek=keys.broadcast)
    return CounterFile(association.client_title, shared.fingerprint(association.client_title))


async def meter_counter(where: Target) -> int:
    """The highest invocation counter that the meter has seen, read through its public client. Raises MeterError."""
    family, found = where.family, []
    settings = where.association
    association = Association(family.addresses.public, settings.server_sap, short=settings.short)
    async with _dialled(where, association, _no_counter) as direct:
        try:
            await direct.associate()
        except AssociationRefused as error:
            raise AssociationRefused(f"the invocation counter is to be read without security first: {error}") from None
        objects = _counter_objects(where)
        for obis in objects:
            try:
                raw = await direct.get(AttributeRef(DATA, obis, 2))
            except REFUSED:
                continue
            found.append(counter_value(raw))
    if not found:
        raise MeterError(
            f"{where.carrier} gives the public client (SAP {association.client_sap}) no invocation counter "
            f"({', '.join(map(str, objects))}), and without it nothing may be ciphered: "
            "a --family can name another object (security.counter)"
        )
    return max(found)


def _counter_objects(where: Target) -> list[Obis]:
    """Where the counter may be kept: as the family says, or by client, or by key."""
    if where.family.name:
        return [where.family.counter_object]
    return [Obis(bytes((0, 0, 43, 1, channel, 255))) for channel in sorted({0, 1, where.association.client_sap & 0xFF})]


@asynccontextmanager
async def _dialled(where: Target, association: Association, counter: Callable[[], int]) -> AsyncIterator[Direct]:
    client, server = association.client_sap, association.server_sap
    keys = association.keys
    heard = association.policy.response.authentic and not association.broadcast
    floors = FloorFile(keys) if keys and heard else None
    floor = floors.read() if floors else -1
    asked_for_counter = association is not where.association
    session = associations.session(
        association, counter, lossy=where.carrier.lossy, floor=floor, unproven=asked_for_counter
    )
    channel = await where.carrier.open(client, server, where.timeout)
    presumed = where.pre_established and association is where.association
    direct = Direct(where.named(association), session, channel, where.timeout, floors, pre_established=presumed)
    try:
        yield direct
    finally:
        await direct.close()


def _no_counter() -> int:
    raise AssertionError("an association without ciphering spends no counter")


async def _quietly(step: Awaitable[T]) -> T | None:
    try:
        return await step
    except DcuError:
        return None
