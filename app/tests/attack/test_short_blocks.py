"""A long write by short names, block by block, before one who holds no key and does as he likes with each request."""

from contextlib import suppress

import pytest

from dcu.cosem.admission import LongPut
from dcu.cosem.apdu import short
from dcu.cosem.apdu.short import Name, WriteRequest
from dcu.cosem.exchange import drive
from dcu.errors import DcuError
from tests.cosem.small_meter import CLIENT, LIMIT, text
from tests.cosem.test_short import ShortPair
from tests.cosem.test_short_blocks import LIMIT_NAME, SMALL, write_block

ATTACKS = {
    "lost": lambda sent, frame: (),
    "twice": lambda sent, frame: (frame, frame),
    "a bit flipped": lambda sent, frame: (frame[:-1] + bytes((frame[-1] ^ 1,)),),
    "the one before, again": lambda sent, frame: (sent[-1],),
    "the one before, then it": lambda sent, frame: (sent[-1], frame),
    "in the clear": lambda sent, frame: (write_block(False, 2, bytes(40)),),
    "ended in the clear": lambda sent, frame: (frame, write_block(True, 3, bytes(40))),
}


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("context", ["low, ciphered", "gmac, global key", "gmac, dedicated key"])
def test_a_long_write_under_attack_is_done_whole_or_not_at_all(context, attack):
    honest = ShortPair(context, takes=SMALL).associated()
    before = len(honest.sent)
    honest.run(honest.client.set(LIMIT, text(5 * SMALL)))
    for struck in range(before, len(honest.sent)):
        pair = ShortPair(context, takes=SMALL).associated()

        def carried(frame, pair=pair, struck=struck):
            answer = None
            arrived = ATTACKS[attack](pair.sent, frame) if len(pair.sent) == struck else (frame,)
            pair.sent.append(frame)
            for each in arrived:
                answer = pair.server.receive(CLIENT, each)
            return answer

        told = False
        with suppress(DcuError):
            drive(pair.client.set(LIMIT, text(5 * SMALL)), carried)
            told = True
        assert pair.meter.done in ([], [(LIMIT, text(5 * SMALL))])
        assert not told or pair.meter.done


def test_canary_a_block_that_nobody_numbers_makes_another_value(monkeypatch):
    monkeypatch.setattr(LongPut, "takes", lambda put, block: put.parts.append(block.raw) or True)
    pair = ShortPair("none").associated()
    written = short.encode(WriteRequest((Name(LIMIT_NAME),), (text(90),)))[1:]
    for frame in (
        write_block(False, 1, written[:40]),
        write_block(False, 3, written[80:90]),
        write_block(True, 4, written[90:] + bytes(40)),
    ):
        pair.answer(frame)
    assert pair.meter.done not in ([], [(LIMIT, text(90))])
