"""SET, ACTION and ACCESS, whole, with lists and in blocks: our two sides against each other, and a bad one."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dcu.cosem import apdu, axdr, data
from dcu.cosem.apdu import (
    AccessAction,
    Accessed,
    AccessGet,
    AccessSet,
    ActionResponseBlock,
    ActionResult,
    Block,
    Conformance,
    DataAccessResult,
    EventNotification,
    Returned,
    SetResponseBlock,
    SetResponseLastBlock,
)
from dcu.cosem.association import SUPPORTED, StaleAnswer
from dcu.errors import AccessDenied, MalformedAnswer, ServiceRefused

from .small_meter import (
    CLIENT,
    CONNECTED,
    DISCONNECT,
    ENERGY,
    ENERGY_NOW,
    LIMIT,
    MISSING,
    RECONNECT,
    WHOLE,
    Pair,
    least,
    plain,
    services_row,
    small,
    text,
)

SET_BLOCKS, ACTION_BLOCKS = Conformance.BLOCK_TRANSFER_WITH_SET, Conformance.BLOCK_TRANSFER_WITH_ACTION
OK = DataAccessResult.SUCCESS


# --- in blocks


@pytest.mark.conforms("Services", services_row, peer="SET in blocks")
@pytest.mark.parametrize("context", WHOLE)
def test_a_long_value_is_written_in_blocks_that_the_meter_takes_and_once(context):
    pair = small(context)
    before = len(pair.sent)
    size = 7 * least(context)
    pair.run(pair.client.set(LIMIT, text(size)))
    assert pair.meter.done == [(LIMIT, text(size))]
    assert len(pair.sent) - before > 6
    assert all(len(frame) <= least(context) for frame in pair.sent[before:])
    assert pair.run(pair.client.get(LIMIT)) == text(size)
    assert pair.client.refused.total == pair.server.refused.total == 0


@pytest.mark.conforms("Services", services_row, peer="ACTION in blocks")
@pytest.mark.parametrize("context", WHOLE)
def test_a_method_takes_and_returns_what_needs_blocks(context):
    pair = small(context)
    pair.meter.action = lambda sap, method, parameter: pair.meter.done.append((method, parameter)) or parameter
    before = len(pair.sent)
    size = 6 * least(context)
    assert pair.run(pair.client.action(DISCONNECT, text(size))) == text(size)
    assert pair.meter.done == [(DISCONNECT, text(size))]
    assert all(len(frame) <= least(context) for frame in (*pair.sent[before:], *pair.answered[before:]))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 700), st.integers(80, 300), st.sampled_from(["none", "gmac, global key"]))
def test_every_size_arrives_whole_whatever_the_meter_takes(size, max_pdu, context):
    pair = small(context, max_pdu=max_pdu)
    pair.meter.action = lambda sap, method, parameter: parameter
    pair.run(pair.client.set(LIMIT, text(size)))
    assert pair.meter.values[LIMIT] == text(size)
    assert pair.run(pair.client.action(DISCONNECT, text(size))) == text(size)


def test_a_block_fills_what_the_meter_takes():
    """No byte is left unused but those of a longer length field: fewer frames are fewer seconds on the line."""
    pair = small("none", max_pdu=200)
    pair.run(pair.client.set(LIMIT, text(1500)))
    assert all(len(frame) >= 198 for frame in pair.sent[1:-1])


def test_the_meters_no_in_the_middle_ends_the_transfer():
    pair = small("none")
    answers = iter([SetResponseLastBlock(0xC1, DataAccessResult.LONG_SET_ABORTED, 1)])
    pair.answer = lambda frame: apdu.encode(next(answers))
    with pytest.raises(AccessDenied, match="long-set-aborted"):
        pair.run(pair.client.set(LIMIT, text(500)))


@pytest.mark.parametrize("number", [0, 2])
def test_a_confirmation_of_another_block_is_not_taken_for_this_ones(number):
    pair = small("none")
    pair.answer = lambda frame: apdu.encode(SetResponseBlock(0xC1, number))
    with pytest.raises(MalformedAnswer, match=f"block {number} is confirmed where 1 was sent"):
        pair.run(pair.client.set(LIMIT, text(500)))


@pytest.mark.parametrize("number", [0, 1, 3])
def test_what_a_method_returned_is_joined_in_order_only(number):
    """After the first block comes the second, and no other."""
    pair = small("none")
    exchange = pair.client.action(DISCONNECT, text(3))
    invoke = apdu.decode(next(exchange)).invoke
    assert exchange.send(apdu.encode(ActionResponseBlock(invoke, Block(False, 1, b"\x09\x02"))))
    with pytest.raises(StaleAnswer, match=f"block {number} where 2 is due"):
        exchange.send(apdu.encode(ActionResponseBlock(invoke, Block(True, number, b"ab"))))


def test_a_meter_that_returns_blocks_without_end_is_cut_off():
    pair = Pair("none").associated()
    pair.client.association = replace(pair.client.association, max_answer=5000)
    numbers = iter(range(1, 1000))

    def endless(frame):
        return apdu.encode(apdu.ActionResponseBlock(0xC1, Block(False, next(numbers), bytes(100))))

    pair.answer = endless
    with pytest.raises(MalformedAnswer, match="more than 5000"):
        pair.run(pair.client.action(DISCONNECT))


# --- with lists


@pytest.mark.conforms("Services", services_row, peer="SET with list")
@pytest.mark.parametrize("context", WHOLE)
@pytest.mark.parametrize("size", [4, 900], ids=["whole", "in blocks"])
def test_a_list_is_written_with_a_result_for_each(size, context):
    pair = small(context)
    results = pair.run(pair.client.set_list([(LIMIT, text(size)), (ENERGY, text(size)), (LIMIT, text(size + 1))]))
    assert results == (OK, DataAccessResult.READ_WRITE_DENIED, OK)
    assert pair.meter.done == [(LIMIT, text(size)), (LIMIT, text(size + 1))]


def test_where_lists_are_not_taken_one_is_written_after_the_other():
    pair = small(conformance=SUPPORTED & ~Conformance.MULTIPLE_REFERENCES)
    results = pair.run(pair.client.set_list([(LIMIT, text(4)), (ENERGY, text(4))]))
    assert results == (OK, DataAccessResult.READ_WRITE_DENIED)
    with pytest.raises(ServiceRefused, match="MULTIPLE_REFERENCES"):
        pair.run(pair.client.action_list([(DISCONNECT, None), (RECONNECT, None)]))


@pytest.mark.conforms("Services", services_row, peer="ACTION with list")
@pytest.mark.parametrize("context", WHOLE)
@pytest.mark.parametrize("size", [2, 900], ids=["whole", "in blocks"])
def test_methods_are_called_with_a_result_for_each(size, context):
    pair = small(context)
    pair.meter.action = lambda sap, method, parameter: pair.meter.done.append((method, parameter)) or parameter
    results = pair.run(pair.client.action_list([(DISCONNECT, text(size)), (RECONNECT, None)]))
    assert results == (Returned(ActionResult.SUCCESS, text(size)), Returned(ActionResult.SUCCESS, b"\x00"))
    assert pair.meter.done == [(DISCONNECT, text(size)), (RECONNECT, b"\x00")]


# --- without an answer


@pytest.mark.conforms("Services", services_row, peer="unconfirmed SET")
@pytest.mark.parametrize("context", WHOLE)
def test_what_is_asked_unconfirmed_is_done_once_and_not_answered(context):
    pair = Pair(context).associated()
    assert pair.answer(pair.client.unconfirmed([(LIMIT, text(3))])) is None
    assert pair.answer(pair.client.unconfirmed([(LIMIT, text(4)), (ENERGY, text(4))])) is None
    frame = pair.client.unconfirmed_call(DISCONNECT, text(2))
    assert pair.answer(frame) is None
    assert pair.meter.done == [(LIMIT, text(3)), (LIMIT, text(4)), (DISCONNECT, text(2))]
    assert pair.run(pair.client.get(LIMIT)) == text(4)
    if pair.client.association.ciphered:
        pair.answer(frame)
        assert len(pair.meter.done) == 3


# --- ACCESS


@pytest.mark.conforms("Services", services_row, peer="ACCESS")
@pytest.mark.parametrize("context", WHOLE)
def test_gets_sets_and_actions_of_one_access_are_done_in_order(context):
    pair = Pair(context).associated()
    outcomes = pair.run(
        pair.client.access(
            [
                AccessGet(ENERGY),
                AccessSet(LIMIT, text(3)),
                AccessGet(LIMIT),
                AccessGet(MISSING),
                AccessAction(DISCONNECT, axdr.encode(data.i8(0))),
                AccessGet(CONNECTED),
            ]
        )
    )
    assert outcomes == (
        Accessed(OK, ENERGY_NOW),
        Accessed(OK),
        Accessed(OK, text(3)),
        Accessed(DataAccessResult.OBJECT_UNDEFINED),
        Accessed(ActionResult.SUCCESS, axdr.encode(data.i8(0))),
        Accessed(OK, axdr.encode(data.boolean(False))),
    )


@pytest.mark.parametrize("context", ["none", "gmac, global key"])
def test_the_late_answer_to_another_access_is_stale(context):
    """Its long invoke-id says whose it is: the same accesses, asked before, had another."""
    pair = Pair(context, lossy=True).associated()
    earlier = pair.client.access([AccessGet(LIMIT)])
    late = pair.server.receive(CLIENT, next(earlier))
    earlier.close()
    pair.meter.values[LIMIT] = text(5)
    exchange = pair.client.access([AccessGet(LIMIT)])
    answer = pair.server.receive(CLIENT, next(exchange))
    assert exchange.send(late) is None
    assert pair.client.refused.stale == 1
    with pytest.raises(StopIteration) as done:
        exchange.send(answer)
    assert done.value.value == (Accessed(OK, text(5)),)


def test_after_a_failure_an_access_goes_on_or_stops_as_the_client_says():
    pair = Pair().associated()
    items = [AccessGet(MISSING), AccessSet(LIMIT, text(3))]
    assert [each.result for each in pair.run(pair.client.access(items))] == [DataAccessResult.OBJECT_UNDEFINED, OK]
    pair.meter.done.clear()
    broken = pair.run(pair.client.access(items, break_on_error=True))
    assert [each.result for each in broken] == [DataAccessResult.OBJECT_UNDEFINED, DataAccessResult.OTHER_REASON]
    assert pair.meter.done == []


def test_values_of_an_access_that_have_no_room_are_withheld_and_what_was_done_is_told():
    pair = small()
    pair.meter.values[LIMIT] = text(300)
    outcomes = pair.run(pair.client.access([AccessGet(LIMIT), AccessAction(DISCONNECT, axdr.encode(data.i8(0)))]))
    assert [each.result for each in outcomes] == [DataAccessResult.OTHER_REASON, ActionResult.SUCCESS]


def test_a_self_descriptive_answer_repeats_what_was_asked():
    pair = Pair("none").associated()
    items = (AccessGet(ENERGY), AccessAction(DISCONNECT))
    answer = plain(pair, apdu.AccessRequest(0x50000001, b"", items))
    assert answer.shown == items
    assert plain(pair, apdu.AccessRequest(0x40000001, b"", items)).shown == ()
    assert plain(pair, apdu.AccessRequest(0x00000001, b"", items)) is None


def test_an_answer_with_other_kinds_is_nonsense():
    pair = Pair("none").associated()
    other = apdu.AccessResponse(0xC0000001, b"", (Accessed(OK),), (2,))
    pair.answer = lambda frame: apdu.encode(replace(other, long_invoke=int.from_bytes(frame[1:5], "big")))
    with pytest.raises(MalformedAnswer, match="of other kinds"):
        pair.run(pair.client.access([AccessGet(ENERGY)]))


# --- what was not agreed on


@pytest.mark.parametrize(
    ("missing", "ask"),
    [
        (SET_BLOCKS, lambda client: client.set(LIMIT, text(500))),
        (SET_BLOCKS, lambda client: client.set_list([(LIMIT, text(500)), (LIMIT, text(1))])),
        (ACTION_BLOCKS, lambda client: client.action(DISCONNECT, text(500))),
        (ACTION_BLOCKS, lambda client: client.action_list([(DISCONNECT, text(500)), (DISCONNECT, None)])),
        (Conformance.ACCESS, lambda client: client.access([AccessGet(ENERGY)])),
    ],
)
def test_what_the_meter_did_not_negotiate_is_not_sent(missing, ask):
    pair = small(conformance=SUPPORTED & ~missing)
    before = len(pair.sent)
    with pytest.raises(ServiceRefused):
        pair.run(ask(pair.client))
    assert len(pair.sent) == before


# --- events


@pytest.mark.conforms("Services", services_row, peer="event-notification, information-report")
@pytest.mark.parametrize("context", WHOLE)
def test_an_event_in_the_middle_of_an_exchange_is_kept_and_the_answer_still_comes(context):
    """The meter has something to say before it comes to the answer: it says it first, under the lower counter."""
    pair = Pair(context).associated()
    event = EventNotification(b"", LIMIT, text(3))
    exchange = pair.client.get(ENERGY)
    request = next(exchange)
    said = pair.server.notification(CLIENT, event)
    assert exchange.send(said) is None
    with pytest.raises(StopIteration) as done:
        exchange.send(pair.server.receive(CLIENT, request))
    assert done.value.value == ENERGY_NOW
    assert [told.notification for told in pair.client.notifications] == [event]
    assert pair.client.refused.total == 0


@pytest.mark.parametrize("context", ["none", "gmac, global key"])
def test_an_event_that_overtakes_the_answer_costs_a_ciphered_answer(context):
    """Over a channel that reorders: what is below a counter that was taken is a replay; the request is repeated."""
    pair = Pair(context, lossy=True).associated()
    event = EventNotification(b"", LIMIT, text(3))
    exchange = pair.client.get(ENERGY)
    answer = pair.server.receive(CLIENT, next(exchange))
    assert exchange.send(pair.server.notification(CLIENT, event)) is None
    if context == "none":
        with pytest.raises(StopIteration) as done:
            exchange.send(answer)
        assert done.value.value == ENERGY_NOW
    else:
        assert exchange.send(answer) is None
        assert pair.client.refused.counter == 1
        exchange.close()
        assert pair.run(pair.client.get(ENERGY)) == ENERGY_NOW
    assert [told.notification for told in pair.client.notifications] == [event]
