"""Driving an exchange: what stops it, and what the session learns of that."""

from collections import deque

import pytest

from dcu.collect.dialogue import converse
from dcu.errors import LinkTimeout
from tests.cosem.small_meter import ENERGY, ENERGY_NOW, PROFILE, Pair


class Answering:
    """A stream to a meter in the same process."""

    lossy = False
    sent = received = 0

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
