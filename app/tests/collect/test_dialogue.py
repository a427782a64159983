"""Driving an exchange over a channel: time-outs, listening on, what happens between two requests."""

import asyncio

import pytest

from dcu.collect.dialogue import converse
from dcu.errors import LinkTimeout

pytestmark = pytest.mark.looptime


class Line:
    """A channel that answers from a script: (delay, frame)."""

    lossy = False
    sent = received = 0

    def __init__(self, *script):
        self.script = list(script)
        self.requests = []

    async def send(self, apdu):
        self.requests.append(apdu)

    async def receive(self):
        if not self.script:
            await asyncio.sleep(1e9)
        delay, frame = self.script.pop(0)
        if delay:
            await asyncio.sleep(delay)
        return frame


def two():
    first = yield b"one"
    second = yield b"two"
    return first + second


def patient():
    frame = yield b"ask"
    while frame != b"right":
        frame = yield None
    return frame


async def test_what_the_exchange_returns_is_returned():
    line = Line((1, b"a"), (1, b"b"))
    assert await converse(two(), line, timeout=5) == b"ab"
    assert line.requests == [b"one", b"two"]


async def test_the_timeout_is_counted_from_each_request():
    assert await converse(two(), Line((4, b"a"), (4, b"b")), timeout=5) == b"ab"
    with pytest.raises(LinkTimeout):
        await converse(two(), Line((4, b"a"), (6, b"b")), timeout=5)


async def test_frames_that_are_dropped_do_not_stretch_it():
    with pytest.raises(LinkTimeout):
        await converse(patient(), Line(*[(1, b"wrong")] * 20), timeout=5)
    assert asyncio.get_running_loop().time() == 5


async def test_frames_that_are_always_there_do_not_hang_the_loop():
    class Flood(Line):
        async def receive(self):
            await asyncio.sleep(0.001)
            return b"wrong"

    with pytest.raises(LinkTimeout):
        await converse(patient(), Flood(), timeout=1)


async def test_between_two_requests_others_may_go_and_may_end_it():
    gone = []

    async def between():
        gone.append(1)

    assert await converse(two(), Line((0, b"a"), (0, b"b")), timeout=5, between=between) == b"ab"
    assert gone == [1]

    async def enough():
        raise RuntimeError("enough")

    line, exchange = Line((0, b"a")), two()
    with pytest.raises(RuntimeError, match="enough"):
        await converse(exchange, line, timeout=5, between=enough)
    assert line.requests == [b"one"]
    with pytest.raises(StopIteration):
        next(exchange)
