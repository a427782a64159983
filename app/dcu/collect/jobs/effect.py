"""Doing something to a meter exactly once (design decision 7): audited before and after, its effect always read back.

An action that went unanswered may have been executed. So it is never just sent again: the effect is read back first.
Only where it is not there, and the association is ciphered, is the action sent a second time: the read-back carried a
higher invocation counter, so a copy of the first request that is still on its way will be refused by the meter.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from dcu.collect.retry import Backoff
from dcu.collect.scheduler import Job
from dcu.collect.services import Services
from dcu.cosem.client import ClientSession
from dcu.cosem.exchange import Exchange
from dcu.errors import AccessDenied, DcuError, JobError, LinkError
from dcu.model import Priority

V = TypeVar("V")

READ_BACK = Backoff(attempts=4, first=2.0, factor=2.0, longest=15.0)
ATTEMPTS = 2


@dataclass(frozen=True, slots=True)
class Effect(Generic[V]):
    """The value read back, and whether it shows the effect."""

    value: V
    confirmed: bool


@dataclass(frozen=True, slots=True)
class Deed(Generic[V]):
    """What is to be done. send: the exchange; look: reads the effect back; shows: whether what it read is the effect.

    actor, action, detail: for the audit log.
    """

    actor: str
    action: str
    detail: str
    send: Callable[[ClientSession], Exchange[Any]]
    look: Callable[[], Awaitable[V]]
    shows: Callable[[V], bool]
    priority: Priority = Priority.COMMAND


async def accomplish(services: Services, job: Job, deed: Deed[V]) -> Effect[V]:
    """Do it and read it back. Raises JobError where it is known, or must be feared, not to have happened."""
    meter = job.meter

    async def audit(outcome: str) -> None:
        detail = f"{deed.detail}: {outcome}" if deed.detail else outcome
        await services.store.audit(deed.actor, deed.action, meter.name, detail)

    def sent(session: ClientSession) -> Exchange[Any]:
        job.committed = True  # from the moment in which it goes out
        return (yield from deed.send(session))

    await audit("asked")
    try:
        return await _accomplish(services, job, deed, sent, audit)
    except asyncio.CancelledError:
        services.aside(audit("given up; whether it took effect is unknown" if job.committed else "withdrawn: not sent"))
        raise


async def _accomplish(
    services: Services,
    job: Job,
    deed: Deed[V],
    sent: Callable[[ClientSession], Exchange[Any]],
    audit: Callable[[str], Coroutine[Any, Any, None]],
) -> Effect[V]:
    meter = job.meter
    for attempt in range(1, ATTEMPTS + 1):
        trouble = await _send(services, job, deed, sent, audit)
        try:
            value = await _read_back(services, deed)
        except DcuError as error:
            outcome = "answered" if trouble is None else f"not answered well ({trouble})"
            await audit(f"{outcome}, and its effect could not be read back: {error}")
            text = f"{deed.action} of {meter.name}: {outcome}; whether it took effect is unknown: {error}"
            raise JobError(text) from None
        if deed.shows(value):
            await audit("done" if trouble is None else "unanswered, but done: read back")
            return Effect(value, True)
        if trouble is None:
            await audit("answered, but reading back does not show it")
            return Effect(value, False)
        if not isinstance(trouble, LinkError) or not meter.ciphered or attempt == ATTEMPTS:
            break
        await audit("unanswered, and not done: read back; sent once more")
    await audit(f"not done: read back ({trouble})")
    raise JobError(f"{deed.action} of {meter.name} was not executed ({trouble}): read back")


async def _send(
    services: Services,
    job: Job,
    deed: Deed[Any],
    sent: Callable[[ClientSession], Exchange[Any]],
    audit: Callable[[str], Awaitable[None]],
) -> DcuError | None:
    """Send it once; return what went wrong after it was sent. Raises what tells that it was not executed: the meter's
    own refusal, or trouble before anything was sent. Whatever else comes in its place proves nothing."""
    try:
        await job.meter.run(sent, deed.priority, repeatable=False)
    except AccessDenied as error:
        await audit(f"refused: {error}")
        raise
    except DcuError as error:
        if job.committed:
            return error
        await audit(f"not sent: {error}")
        raise
    return None


async def _read_back(services: Services, deed: Deed[V]) -> V:
    failed = 0
    while True:
        try:
            return await deed.look()
        except LinkError:
            failed += 1
            delay = READ_BACK.delay(failed, services.random)
            if delay is None:
                raise
        await asyncio.sleep(delay)
