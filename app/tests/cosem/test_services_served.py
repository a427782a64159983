"""Services as a server serves them: blocks that come twice, out of turn or without end, what was not agreed on."""

import pytest

from dcu.cosem import apdu, axdr, data
from dcu.cosem.apdu import (
    AccessAction,
    Accessed,
    AccessGet,
    ActionRequestBlock,
    ActionRequestFirstBlock,
    ActionRequestNext,
    ActionResponseNormal,
    ActionResult,
    Block,
    Conformance,
    DataAccessResult,
    GetRequestNext,
    Returned,
    SetRequestBlock,
    SetRequestFirstBlock,
    SetResponseBlock,
    SetResponseLastBlock,
)
from dcu.cosem.association import SUPPORTED
from dcu.cosem.handshake import REPLY_TO_HLS
from dcu.cosem.serving import LONG_BYTES

from .small_meter import (
    CLIENT,
    DISCONNECT,
    ENERGY,
    LIMIT,
    Pair,
    plain,
    small,
    text,
)

SET_BLOCKS, ACTION_BLOCKS = Conformance.BLOCK_TRANSFER_WITH_SET, Conformance.BLOCK_TRANSFER_WITH_ACTION
OK = DataAccessResult.SUCCESS


def first(number=1, *, last=False, raw=b"\x09\x03ab"):
    return SetRequestFirstBlock(0xC1, LIMIT, None, Block(last, number, raw))


def further(number, *, last=False, raw=b"c"):
    return SetRequestBlock(0xC1, Block(last, number, raw))


def test_a_block_that_comes_again_counts_once():
    pair = small("none")
    assert plain(pair, first()) == SetResponseBlock(0xC1, 1)
    for _ in range(2):
        assert plain(pair, further(2, raw=b"")) == SetResponseBlock(0xC1, 2)
    assert plain(pair, further(3, last=True)) == SetResponseLastBlock(0xC1, OK, 3)
    assert pair.meter.done == [(LIMIT, b"\x09\x03abc")]
    assert plain(pair, further(3, last=True)).result == DataAccessResult.NO_LONG_SET_IN_PROGRESS
    assert len(pair.meter.done) == 1


@pytest.mark.parametrize(
    ("requests", "result"),
    [
        ([first(2)], DataAccessResult.DATA_BLOCK_NUMBER_INVALID),
        ([first(), further(3)], DataAccessResult.DATA_BLOCK_NUMBER_INVALID),
        ([first(), further(3), further(2)], DataAccessResult.NO_LONG_SET_IN_PROGRESS),
        ([further(1)], DataAccessResult.NO_LONG_SET_IN_PROGRESS),
        ([first(), apdu.GetRequestNormal(0xC1, ENERGY), further(2)], DataAccessResult.NO_LONG_SET_IN_PROGRESS),
        (
            [ActionRequestFirstBlock(0xC1, DISCONNECT, Block(False, 1, b"a")), further(2)],
            DataAccessResult.NO_LONG_SET_IN_PROGRESS,
        ),
    ],
)
def test_blocks_out_of_turn_are_refused_and_nothing_is_written(requests, result):
    pair = small("none")
    *_, answer = (plain(pair, request) for request in requests)
    assert answer.result == result
    assert pair.meter.done == []


def test_a_request_without_end_is_given_up():
    pair = Pair("none").associated()
    plain(pair, first(raw=b"x"))
    sizes = 0
    for number in range(2, 100):
        answer = plain(pair, further(number, raw=bytes(60_000)))
        sizes += 60_000
        if isinstance(answer, SetResponseLastBlock):
            break
    assert answer.result == DataAccessResult.LONG_SET_ABORTED
    assert sizes <= LONG_BYTES + 60_000
    assert pair.server._links[CLIENT].long_put is None


def test_empty_blocks_without_end_are_given_up_too():
    pair = Pair("none").associated()
    plain(pair, first(raw=b""))
    answers = (plain(pair, further(number, raw=b"")) for number in range(2, LONG_BYTES + 10))
    assert any(isinstance(answer, SetResponseLastBlock) for answer in answers)


def test_what_a_method_returned_is_fetched_in_order_or_not_at_all():
    pair = small("none")
    pair.meter.action = lambda sap, method, parameter: text(300)
    block = plain(pair, apdu.ActionRequestNormal(0xC1, DISCONNECT, None)).block
    assert (block.number, block.last) == (1, False)
    answer = plain(pair, GetRequestNext(0xC1, 1))
    assert answer.result == DataAccessResult.NO_LONG_GET_IN_PROGRESS  # it is no attribute that was read
    assert plain(pair, ActionRequestNext(0xC1, 1)) == ActionResponseNormal(
        0xC1, ActionResult.NO_LONG_ACTION_IN_PROGRESS
    )


def test_the_proof_of_hls_is_refused_in_blocks_lists_and_access():
    """Or a client could have the meter sign what it likes once it is associated."""
    pair = small("gmac, plain services")
    parameter = axdr.encode(data.octets(bytes(17)))
    whole = ActionRequestFirstBlock(0xC1, REPLY_TO_HLS, Block(True, 1, parameter))
    assert plain(pair, whole).result == ActionResult.READ_WRITE_DENIED
    (listed,) = pair.run(pair.client.action_list([(REPLY_TO_HLS, parameter)]))
    assert listed == Returned(ActionResult.READ_WRITE_DENIED)
    (accessed,) = pair.run(pair.client.access([AccessAction(REPLY_TO_HLS, parameter)]))
    assert accessed == Accessed(ActionResult.READ_WRITE_DENIED)


@pytest.mark.parametrize(
    ("missing", "request_"),
    [
        (SET_BLOCKS, first()),
        (SET_BLOCKS, further(2)),
        (ACTION_BLOCKS, ActionRequestFirstBlock(0xC1, DISCONNECT, Block(True, 1, b"\x00"))),
        (ACTION_BLOCKS, ActionRequestBlock(0xC1, Block(True, 1, b"\x00"))),
        (ACTION_BLOCKS, ActionRequestNext(0xC1, 1)),
        (Conformance.GET, apdu.GetRequestList(0xC1, ((ENERGY, None), (ENERGY, None)))),
        (Conformance.SET, apdu.SetRequestList(0xC1, ((LIMIT, None),), (b"\x00",))),
        (Conformance.MULTIPLE_REFERENCES, apdu.ActionRequestList(0xC1, (DISCONNECT,), (b"\x00",))),
        (Conformance.ACCESS, apdu.AccessRequest(0x40000001, b"", (AccessGet(ENERGY),))),
    ],
)
def test_what_was_not_negotiated_is_not_served(missing, request_):
    pair = small("none", conformance=SUPPORTED & ~missing)
    assert isinstance(plain(pair, request_), apdu.ExceptionResponse)
    assert pair.meter.done == []
