"""Drives an exchange generator of the sans-IO core over a channel: sends what it yields, feeds what the channel brings.

An exchange yields an APDU to send, or several in a row, or None to go on listening (a session on a lossy channel has
dropped a frame). The timeout is counted from the request: frames that somebody injects do not stretch it. On a serial
line the time that bytes take there comes on top: a long answer is not given up while it is coming. Where general
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
_MOST = 2 * 0xFFFF  # bytes of one answer, framing and repetitions included: no stream is waited for without end
_ACKNOWLEDGED = 2  # times the bytes of a request, with its framing and what the meter says in between


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
    patient = waiting or Unlearned(timeout)
    reminders = REMINDERS if channel.lossy else 0
    try:
        request = next(exchange)
        due = _Due(channel, patient.asked())
        while True:
            for frame in each(request):
                await _said(channel, frame, due)
            try:
                answer = await _heard(channel, due)
            except LinkTimeout:
                if due.over:
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
                due = _Due(channel, patient.asked(again=again))
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


class _Due:
    """By when an answer has to be there: so many seconds from now, and what passes on the line takes its own time."""

    def __init__(self, channel: Channel, seconds: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._channel = channel
        self._at = self._loop.time() + seconds
        self._before = channel.sent + channel.received

    @property
    def at(self) -> float:
        passed = self._channel.sent + self._channel.received - self._before
        return self._at + self._channel.byte_time * min(passed, _MOST)

    @property
    def over(self) -> bool:
        return self._loop.time() >= self.at


async def _said(channel: Channel, frame: bytes, due: _Due) -> None:
    try:
        async with asyncio.timeout_at(due.at + channel.byte_time * _ACKNOWLEDGED * len(frame)):
            await channel.send(frame)
    except TimeoutError:
        raise _silence() from None


async def _heard(channel: Channel, due: _Due) -> bytes:
    while True:
        at = due.at
        try:
            async with asyncio.timeout_at(at):
                answer = await channel.receive()
        except TimeoutError:
            if due.at > at:  # more of it has come
                continue
            raise _silence() from None
        if due.over:  # frames that are always there would never let the timer fire
            raise _silence()
        return answer


def _silence() -> LinkTimeout:
    return LinkTimeout("no answer in time: is the meter powered, and within reach?")
