"""Every service that our client can ask of a meter of the Gurux Java library; the meter's program says what arrived.

Where a test meets a defect of its own, it says so: "(gurux)".
"""

import pytest

from dcu.cosem import axdr, data
from dcu.cosem.apdu import AccessAction, Accessed, AccessGet, AccessSet, DataAccessResult, EventNotification
from dcu.errors import AccessDenied, MalformedAnswer, PolicyViolated
from tests.cosem.small_meter import DISCONNECT, ENERGY, ENERGY_NOW, GENERAL, LIMIT, RECONNECT

from .door import NOTE
from .gurux_java import TEXT, meter
from .java import No

SMALL = 200  # bytes that either side takes
BLOCKS = {"max_pdu": SMALL}
ROOM = "pdu=2000"
LONG = bytes(at % 251 for at in range(500))
LETTERS = bytes(at % 251 for at in range(3000))
ZERO = axdr.encode(data.i8(0))
AS_MADE = "LIMIT 1000 NOTE  RELAY true"
both = pytest.mark.parametrize("context", ["none", "gmac, global key"])


def u32(value):
    return axdr.encode(data.u32(value))


def octets(raw):
    return axdr.encode(data.octets(raw))


def serves(row, defect=""):
    return pytest.mark.conforms("Service", row, peer="Gurux Java server", link="wrapper", defect=defect)


# --- GET


@serves("GET")
@both
async def test_it_is_read(gurux_meter, context):
    async with meter(gurux_meter, context) as visit:
        assert await visit(lambda session: session.get(ENERGY)) == ENERGY_NOW


@serves("GET in blocks")
@both
async def test_it_is_read_in_blocks(gurux_meter, context):
    async with meter(gurux_meter, context, **BLOCKS) as visit:
        assert await visit(lambda session: session.get(TEXT)) == octets(LETTERS)


@serves("GET with list")
@both
async def test_a_list_is_read(gurux_meter, context):
    async with meter(gurux_meter, context) as visit:
        assert await visit(lambda session: session.get_list([(ENERGY, None), (LIMIT, None)])) == (ENERGY_NOW, u32(1000))


@serves("GET with list", "in blocks, it calls each of them a list")
@both
async def test_a_list_in_blocks_is_not_to_be_read(gurux_meter, context):
    """(gurux) get-response-with-list (3) stands over a block, where get-response-with-datablock (2) is due."""
    with pytest.raises(MalformedAnswer, match="follow the end of the APDU"):
        async with meter(gurux_meter, context, **BLOCKS) as visit:
            await visit(lambda session: session.get_list([(ENERGY, None), (TEXT, None)]))


# --- SET


@serves("SET")
@both
async def test_it_is_written(gurux_meter, context):
    async with meter(gurux_meter, context, ROOM) as visit:
        await visit(lambda session: session.set(LIMIT, u32(2500)))
        await visit(lambda session: session.set(NOTE, octets(LONG)))
    assert f"LIMIT 2500 NOTE {LONG.hex()}" in gurux_meter.say("state")


@serves("SET in blocks", "it confirms a block with three bytes too many")
@both
async def test_its_confirmation_of_a_block_has_three_bytes_too_many(gurux_meter, context):
    """(gurux) A result and the length of no block: both belong into other answers."""
    with pytest.raises(MalformedAnswer, match="3 bytes follow the end of the APDU"):
        async with meter(gurux_meter, context, f"pdu={SMALL}") as visit:
            await visit(lambda session: session.set(NOTE, octets(LONG)))
    assert AS_MADE in gurux_meter.say("state")


@serves("SET with list", "it writes nothing, and answers as for one attribute")
@both
async def test_of_a_list_nothing_is_written_and_success_is_said_once(gurux_meter, context):
    """(gurux) set-response-with-list without its list."""
    with pytest.raises(MalformedAnswer, match="4 bytes too early"):
        async with meter(gurux_meter, context) as visit:
            await visit(lambda session: session.set_list([(LIMIT, u32(7)), (NOTE, octets(b"\1"))]))
    assert AS_MADE in gurux_meter.say("state")


@serves("unconfirmed SET", "it is done, and answered all the same")
@both
async def test_what_is_asked_unconfirmed_is_done_and_answered(gurux_meter, context):
    """(gurux) The answer's invoke-id repeats that none was asked for."""
    async with meter(gurux_meter, context) as visit:
        await visit.channel.send(visit.session.unconfirmed([(LIMIT, u32(9))]))
        answer = await visit.channel.receive()
    assert answer[0] == 0xC5 if context == "none" else answer[0] == 0xCD
    assert "LIMIT 9 " in gurux_meter.say("state")


# --- ACTION


@serves("ACTION")
@both
async def test_it_is_commanded(gurux_meter, context):
    async with meter(gurux_meter, context) as visit:
        await visit(lambda session: session.action(DISCONNECT, ZERO))
        assert await visit(lambda session: session.action(DISCONNECT, octets(b"abc"))) == octets(b"abc")
    assert "RELAY false" in gurux_meter.say("state")


@serves("ACTION in blocks", "it takes no second block of a request")
@both
async def test_of_a_parameter_in_blocks_it_takes_the_first(gurux_meter, context):
    """(gurux) action-request-with-pblock is an invalid command to it."""
    with pytest.raises(AccessDenied, match="object-class-inconsistent"):
        async with meter(gurux_meter, context, f"pdu={SMALL}") as visit:
            await visit(lambda session: session.action(DISCONNECT, octets(LONG)))
    assert AS_MADE in gurux_meter.say("state")


@serves("ACTION in blocks", "its blocks do not say which is the last")
@both
async def test_the_blocks_that_it_returns_lack_the_flag_of_the_last(gurux_meter, context):
    """(gurux) After the invoke-id comes the block's number."""
    with pytest.raises(MalformedAnswer, match="starts no length"):
        async with meter(gurux_meter, context, **BLOCKS) as visit:
            await visit(lambda session: session.action(RECONNECT, octets(b"abc")))


@serves("ACTION with list", "an error for all of them, and nothing is done")
@both
async def test_it_calls_no_methods_of_a_list(gurux_meter, context):
    """(gurux) action-request-with-list is an invalid command to it."""
    with pytest.raises(AccessDenied, match="2 methods: object-class-inconsistent"):
        async with meter(gurux_meter, context) as visit:
            await visit(lambda session: session.action_list([(DISCONNECT, ZERO), (DISCONNECT, ZERO)]))
    assert AS_MADE in gurux_meter.say("state")


# --- ACCESS


@serves("ACCESS")
@both
async def test_its_attributes_are_read_by_access(gurux_meter, context):
    """In general-glo-ciphering where services are ciphered: ACCESS has no tag of its own for that."""
    async with meter(gurux_meter, context) as visit:
        outcomes = await visit(lambda session: session.access([AccessGet(ENERGY), AccessGet(LIMIT)]))
    assert outcomes == (Accessed(DataAccessResult.SUCCESS, ENERGY_NOW), Accessed(DataAccessResult.SUCCESS, u32(1000)))


@serves("ACCESS", "sets and actions are not done, and said to be")
@pytest.mark.parametrize("item", [AccessSet(LIMIT, u32(5)), AccessAction(DISCONNECT, ZERO)], ids=["set", "action"])
@both
async def test_what_access_sets_or_calls_is_not_done_and_success_is_said(gurux_meter, context, item):
    """(gurux) And where the value of each stands, of these there is none, not even null-data."""
    with pytest.raises(MalformedAnswer, match="access-response: "):
        async with meter(gurux_meter, context) as visit:
            await visit(lambda session: session.access([AccessGet(ENERGY), item]))
    assert AS_MADE in gurux_meter.say("state")


# --- general blocks


@serves("general-block-transfer", "it repeats a block of its own, with an error in it, for as long as it is answered")
@both
async def test_its_answer_in_general_blocks_comes_to_no_end(gurux_meter, context):
    """(gurux) After two blocks it says the first again and again, with an error of its own in it; ours makes an end."""
    with pytest.raises(MalformedAnswer, match="a transfer without end"):
        async with meter(gurux_meter, context, f"pdu={SMALL}", "window=1", **BLOCKS, conformance=GENERAL) as visit:
            await visit(lambda session: session.get(TEXT))


@serves("general-block-transfer", "it takes no request in them")
@both
async def test_a_request_in_general_blocks_is_answered_with_nonsense(gurux_meter, context):
    """(gurux) A null pointer of its own; what it answers has lost the tag of its service, and of its ciphering."""
    with pytest.raises((MalformedAnswer, PolicyViolated), match=r"begins no known APDU|in GENERAL_GLOBAL ciphering"):
        async with meter(gurux_meter, context, f"pdu={SMALL}", "window=1", **BLOCKS, conformance=GENERAL) as visit:
            await visit(lambda session: session.set(NOTE, octets(LONG)))
    assert AS_MADE in gurux_meter.say("state")


# --- what it tells


def push_row(context):
    return "push, none" if context == "none" else "push, general-glo-ciphering"


@pytest.mark.conforms("Service", push_row, peer="Gurux Java server", link="wrapper")
@both
async def test_its_push_is_heard_before_an_answer(gurux_meter, context):
    async with meter(gurux_meter, context) as visit:
        await visit(lambda session: session.set(NOTE, octets(b"told")))
        assert gurux_meter.say("push") == "1"
        assert await visit(lambda session: session.get(ENERGY)) == ENERGY_NOW
        (told,) = visit.session.notifications
    assert told.notification.body == axdr.encode(data.structure(data.octets(b"told")))


@serves("event-notification, information-report")
async def test_its_event_is_heard_before_an_answer(gurux_meter):
    async with meter(gurux_meter, "none") as visit:
        await visit(lambda session: session.set(NOTE, octets(b"told")))
        assert gurux_meter.say("event") == "1"
        assert await visit(lambda session: session.get(ENERGY)) == ENERGY_NOW
        (told,) = visit.session.notifications
    assert told.notification == EventNotification(b"", NOTE, octets(b"told"))


@serves("event-notification, information-report", "not where it has to cipher it")
async def test_it_ciphers_no_event(gurux_meter):
    """(gurux) It knows glo-event-notification-request, but not for sending."""
    async with meter(gurux_meter, "gmac, global key"):
        with pytest.raises(No, match="Invalid GLO command"):
            gurux_meter.say("event")
