"""Drives an exchange generator of the sans-IO core over a channel: sends what it yields, feeds what the channel brings.

An exchange yields an APDU to send, or several in a row, or None to go on listening (a session on a lossy channel has
dropped a frame). The timeout is counted from the request: frames that somebody injects do not stretch it. Where general
blocks are lost on a lossy channel, the exchange says which are to be said again, and is given the time for it anew.
A `Waiting` learns from the answers how long that time should be.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

from dcu.collect.patience import Unlearned, Waiting
from dcu.cosem.exchange import Exchange, Unanswered, Unsent
from dcu.errors import LinkTimeout
from dcu.streams import Channel, Sent, each

T = TypeVar("T")

REMINDERS = 3  # of one exchange, where blocks were lost


async def converse(
    exchange: Exchange[T],
    channel: Channel,
    *,
    timeout: float,  # noqa: ASYNC109 - per request, and a LinkTimeout: no block of the caller's could do it
    between: Callable[[], Awaitable[None]] | None = None,
    waiting: Waiting | None = None,
) -> T:
    """Run `exchange` to its end and return what it returns; `between` is awaited before each further request.

    Raises LinkTimeout when an answer does not come in time, and what the session raises. waiting: says what is in time,
    where `timeout` seconds are not.
    """
    loop = asyncio.get_running_loop()
    patient = waiting or Unlearned(timeout)
    reminders = REMINDERS if channel.lossy else 0
    try:
        request = next(exchange)
        deadline = loop.time() + patient.asked()
        while True:
            for frame in each(request):
                await _within(channel.send(frame), deadline)
            try:
                answer = await _within(channel.receive(), deadline)
                if loop.time() >= deadline:  # frames that are always there would never let the timer fire
                    raise _silence()
            except LinkTimeout:
                if loop.time() >= deadline:
                    patient.missed()
                if not reminders:
                    raise
                reminders -= 1
                request, again = _once_more(exchange), True
            else:
                request, again = exchange.send(answer), False
                if request is not None:
                    patient.answered()
            if request is not None:
                if between:
                    await _before_sending(between, exchange)
                deadline = loop.time() + patient.asked(again=again)
    except StopIteration as ended:
        patient.answered()
        result: T = ended.value
        return result
    finally:
        exchange.close()


def _once_more(exchange: Exchange[T]) -> Sent:
    try:
        return exchange.throw(Unanswered())
    except Unanswered:
        raise _silence() from None


async def _before_sending(between: Callable[[], Awaitable[None]], exchange: Exchange[T]) -> None:
    """Where `between` stops us, the meter has answered all that it was asked: the session is to know."""
    try:
        await between()
    except BaseException:
        with suppress(Unsent):
            exchange.throw(Unsent())
        raise


V = TypeVar("V")


async def _within(step: Awaitable[V], deadline: float) -> V:
    try:
        async with asyncio.timeout_at(deadline):
            return await step
    except TimeoutError:
        raise _silence() from None


def _silence() -> LinkTimeout:
    return LinkTimeout("no answer in time: is the meter powered, and within reach?")
