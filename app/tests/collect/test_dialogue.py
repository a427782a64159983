"""Driving an exchange: what stops it, and what the session learns of that."""

import asyncio
from collections import deque

import pytest

from dcu.collect.dialogue import converse
from dcu.cosem import axdr, data
from dcu.errors import LinkTimeout
from tests.cosem.small_meter import ENERGY, ENERGY_NOW, PROFILE, Pair


class Answering:
    """A stream to a meter in the same process."""

    lossy = False
    sent = received = 0
    byte_time = 0.0

    def __init__(self, pair, *, silent=False):
        self._pair = pair
        self._silent = silent
        self._answers = deque()

    async def send(self, apdu):
        self._answers.append(self._pair.answer(apdu))

    async def receive(self):
        if self._silent:
            raise LinkTimeout
        return self._answers.popleft()

    async def close(self): ...


class MoreUrgent(Exception):
    pass


async def test_giving_way_between_two_blocks_leaves_a_stream_session_open():
    pair = Pair(max_pdu=100).associated()

    async def between():
        raise MoreUrgent

    with pytest.raises(MoreUrgent):
        await converse(pair.client.get(PROFILE), Answering(pair), timeout=1, between=between)
    assert await converse(pair.client.get(ENERGY), Answering(pair), timeout=1) == ENERGY_NOW


async def test_a_request_without_an_answer_ends_a_stream_session():
    pair = Pair().associated()
    with pytest.raises(LinkTimeout):
        await converse(pair.client.get(ENERGY), Answering(pair, silent=True), timeout=1)
    assert not pair.client.associated


SLOW = 1 / 30  # seconds a byte


class Line:
    """A line at 300 baud to a meter in the same process, whose answer comes in pieces, `lost` of them not."""

    lossy = False
    byte_time = SLOW

    def __init__(self, pair, *, lost=0):
        self._pair = pair
        self._lost = lost
        self._answers = asyncio.Queue()
        self.sent = self.received = 0

    async def send(self, apdu):
        self.sent += len(apdu)
        answer = self._pair.answer(apdu)
        pieces = [answer[at : at + 100] for at in range(0, len(answer), 100)]
        loop = asyncio.get_running_loop()
        for number, piece in enumerate(pieces[: len(pieces) - self._lost], 1):
            loop.call_later(number * 100 * SLOW, self._arrived, pieces, number, len(piece))

    def _arrived(self, pieces, number, size):
        self.received += size
        if number == len(pieces):
            self._answers.put_nowait(b"".join(pieces))

    async def receive(self):
        return await self._answers.get()

    async def close(self): ...


def long_answer():
    pair = Pair().associated()
    pair.meter.values[ENERGY] = axdr.encode(data.octets(bytes(650)))
    return pair


@pytest.mark.looptime
async def test_a_long_answer_is_not_given_up_while_it_comes_in_on_a_slow_line():
    pair, began = long_answer(), asyncio.get_running_loop().time()
    assert await converse(pair.client.get(ENERGY), Line(pair), timeout=5) == axdr.encode(data.octets(bytes(650)))
    assert asyncio.get_running_loop().time() - began > 20


@pytest.mark.looptime
async def test_canary_without_the_lines_time_it_would_be_given_up(monkeypatch):
    monkeypatch.setattr(Line, "byte_time", 0.0)
    pair = long_answer()
    line = Line(pair)
    with pytest.raises(LinkTimeout):
        await converse(pair.client.get(ENERGY), line, timeout=5)


@pytest.mark.looptime
async def test_an_answer_that_stops_is_given_up_after_the_time_that_it_took_and_the_timeout():
    pair, began = long_answer(), asyncio.get_running_loop().time()
    line = Line(pair, lost=4)
    with pytest.raises(LinkTimeout):
        await converse(pair.client.get(ENERGY), line, timeout=5)
    took = asyncio.get_running_loop().time() - began
    assert took == pytest.approx(5 + (line.sent + line.received) / 30, abs=0.1)


@pytest.mark.looptime
async def test_bytes_without_end_are_not_waited_for_without_end():
    pair = long_answer()
    line = Line(pair, lost=7)

    async def noise():
        while True:
            await asyncio.sleep(10)
            line.received += 400  # more than the line carries

    task = asyncio.create_task(noise())
    with pytest.raises(LinkTimeout):
        await converse(pair.client.get(ENERGY), line, timeout=11)
    task.cancel()
    assert asyncio.get_running_loop().time() < 3 * 3600
