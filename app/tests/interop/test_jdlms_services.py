"""Every service between us and jDLMS (org.openmuc:jdlms 1.8.0, GPL-3.0): our client at its meter, its client at ours.

What was written is read back, or looked up in our meter. Where a test meets a defect of its own, it says so: "(jDLMS)".
"""

from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import replace
from datetime import UTC, timedelta

import pytest

from dcu.cosem import axdr, data, profile
from dcu.cosem.apdu import ActionResult, DataAccessResult, EventNotification, Returned
from dcu.cosem.datetimes import TimeZoneRule
from dcu.errors import LinkClosed
from dcu.model import MethodRef
from tests.cosem.small_meter import DISCONNECT, GENERAL, LIMIT, PROFILE, RECONNECT

from .door import NOTE, Door
from .gurux_java import dotted
from .java import No, Program
from .jdlms import (
    ASSOCIATIONS,
    ECHO,
    ENERGY,
    LOAD_PROFILE,
    RELAY,
    SECURED,
    SERIAL,
    START,
    Ports,
    Reader,
    session,
    visitor,
)

SMALL = 200  # bytes that either side takes
HUGE = bytes(at % 251 for at in range(66_000))  # its meter takes 65,535, and cannot be told to take less
OK, ZERO = DataAccessResult.SUCCESS, axdr.encode(data.i8(0))
STATE = replace(LIMIT, class_id=70, obis=RELAY)
at_its_meter = pytest.mark.parametrize("name", ["none", SECURED])
at_ours = pytest.mark.parametrize("context", ["none", "gmac, global key"])


def u32(value: int) -> bytes:
    return axdr.encode(data.u32(value))


def octets(raw: bytes) -> bytes:
    return axdr.encode(data.octets(raw))


def serves(row: str, peer: str, defect: str = "") -> pytest.MarkDecorator:
    return pytest.mark.conforms("Service", row, peer=f"jDLMS {peer}", link="wrapper", defect=defect)


# --- its meter


def visit(jdlms_meter: Ports, name: str) -> AbstractAsyncContextManager[Reader]:
    return session(jdlms_meter.wrapper, replace(ASSOCIATIONS[name], max_pdu=SMALL, conformance=GENERAL))


@serves("GET", "server")
@at_its_meter
async def test_it_is_read(jdlms_meter, name):
    async with visit(jdlms_meter, name) as meter:
        assert await meter.value(ENERGY) == 123456


@serves("GET in blocks", "server")
@at_its_meter
async def test_it_is_read_in_blocks(jdlms_meter, name):
    async with visit(jdlms_meter, name) as meter:
        rows = profile.decode_rows(await meter.get(LOAD_PROFILE), TimeZoneRule(UTC), period=3600)
    assert rows == [(START + timedelta(hours=n), 1000 + 17 * n, 3 * n) for n in range(720)]


@serves("GET with list", "server")
@at_its_meter
async def test_a_list_is_read_whole_and_in_blocks(jdlms_meter, name):
    async with visit(jdlms_meter, name) as meter:
        assert await meter.do(meter.client.get_list([(ENERGY, None), (SERIAL, None)])) == (
            u32(123456),
            octets(b"40799390"),
        )
        energy, rows = await meter.do(meter.client.get_list([(ENERGY, None), (LOAD_PROFILE, None)]))
        assert energy == u32(123456)
        assert len(axdr.decode(rows).value) == 720


@serves("SET", "server")
@at_its_meter
async def test_it_is_written(jdlms_meter, name):
    async with visit(jdlms_meter, name) as meter:
        for value in (2500, 1000):
            await meter.do(meter.client.set(LIMIT, u32(value)))
            assert await meter.value(LIMIT) == value


@serves("SET with list", "server")
@at_its_meter
async def test_a_list_is_written(jdlms_meter, name):
    async with visit(jdlms_meter, name) as meter:
        for value in (7, 8):
            results = await meter.do(meter.client.set_list([(LIMIT, u32(value)), (NOTE, octets(bytes((value,))))]))
            assert results == (OK, OK)
            assert (await meter.value(LIMIT), await meter.value(NOTE)) == (value, bytes((value,)))


@serves("unconfirmed SET", "server", "it is done, and answered all the same")
@at_its_meter
async def test_what_is_asked_unconfirmed_is_done_and_answered(jdlms_meter, name):
    """(jDLMS) The answer's invoke-id repeats that none was asked for."""
    async with visit(jdlms_meter, name) as meter:
        for value in (9, 10):
            await meter.channel.send(meter.client.unconfirmed([(LIMIT, u32(value))]))
            assert (await meter.channel.receive())[0] == (0xC5 if name == "none" else 0xCD)
            assert await meter.value(LIMIT) == value


@serves("ACTION", "server")
@at_its_meter
async def test_it_is_commanded(jdlms_meter, name):
    async with visit(jdlms_meter, name) as meter:
        for method, state in ((1, False), (2, True)):
            await meter.act(MethodRef(70, RELAY, method))
            assert await meter.value(STATE) is state
        assert await meter.do(meter.client.action(ECHO, octets(b"a"))) == octets(b"a" * 100)


@serves("ACTION with list", "server")
@at_its_meter
async def test_methods_of_a_list_are_called_in_order(jdlms_meter, name):
    async with visit(jdlms_meter, name) as meter:
        for first, second, state in ((RECONNECT, DISCONNECT, False), (DISCONNECT, RECONNECT, True)):
            results = await meter.do(meter.client.action_list([(first, ZERO), (second, ZERO)]))
            assert results == (Returned(ActionResult.SUCCESS),) * 2
            assert await meter.value(STATE) is state


@serves("SET in blocks", "server", "it closes the connection: they are not implemented")
@serves("ACTION in blocks", "server", "it closes the connection: they are not implemented")
@pytest.mark.parametrize("service", ["set", "set_list", "action"])
@at_its_meter
async def test_blocks_of_a_request_are_the_end_of_the_connection(jdlms_meter, name, service):
    """(jDLMS) Nothing is written, and nobody told."""
    ask = {
        "set": lambda client: client.set(NOTE, octets(HUGE)),
        "set_list": lambda client: client.set_list([(LIMIT, u32(1)), (NOTE, octets(HUGE))]),
        "action": lambda client: client.action(ECHO, octets(HUGE)),
    }[service]
    with pytest.raises(LinkClosed):
        async with visit(jdlms_meter, name) as meter:
            await meter.do(ask(meter.client))
    async with visit(jdlms_meter, name) as meter:
        assert len(await meter.value(NOTE)) < 100


@serves("ACTION in blocks", "server", "of what is returned in blocks, the last one does not say that it is")
@at_its_meter
async def test_the_last_block_that_it_returns_does_not_say_so(jdlms_meter, name):
    """(jDLMS) The next one is asked for, and that is the end of the connection."""
    with pytest.raises(LinkClosed):
        async with visit(jdlms_meter, name) as meter:
            await meter.do(meter.client.action(ECHO, octets(b"abcdef")))


# --- its client


def client(program: Program, context: str, **terms: int) -> AbstractContextManager[Door]:
    return visitor(program, context, conformance=GENERAL, **terms)


@serves("GET", "client")
@at_ours
def test_it_gets(jdlms_client, context):
    with client(jdlms_client, context):
        assert jdlms_client.say("get", dotted(ENERGY)) == "123456789"


@serves("GET in blocks", "client")
@at_ours
def test_it_gets_in_blocks(jdlms_client, context):
    with client(jdlms_client, context, takes=SMALL) as door:
        rows = jdlms_client.say("get", dotted(PROFILE))
        assert rows == f"[{','.join(f'[{row},{row}]' for row in range(40))}]"
        assert max(map(len, door.said)) <= SMALL


@serves("GET with list", "client")
@at_ours
def test_it_gets_a_list_whole_and_in_blocks(jdlms_client, context):
    with client(jdlms_client, context, takes=SMALL):
        assert jdlms_client.say("get", dotted(ENERGY), dotted(LIMIT)) == "123456789 1000"
        assert jdlms_client.say("get", dotted(ENERGY), dotted(PROFILE)).startswith("123456789 [[0,0],[1,1],")


@serves("SET", "client")
@at_ours
def test_it_sets(jdlms_client, context):
    with client(jdlms_client, context) as door:
        assert jdlms_client.say("set", dotted(LIMIT), "u32:2500") == "[SUCCESS]"
        assert door.meter.done == [(LIMIT, u32(2500))]


@serves("SET with list", "client")
@at_ours
def test_it_sets_a_list(jdlms_client, context):
    with client(jdlms_client, context) as door:
        said = jdlms_client.say("set", dotted(LIMIT), "u32:7", dotted(NOTE), "octets:0102")
        assert said == "[SUCCESS, SUCCESS]"
        assert door.meter.done == [(LIMIT, u32(7)), (NOTE, octets(b"\x01\x02"))]


@serves("ACTION", "client")
@at_ours
def test_it_calls_a_method(jdlms_client, context):
    with client(jdlms_client, context) as door:
        assert jdlms_client.say("act", dotted(DISCONNECT), "octets:6162") == "SUCCESS=6162"
        assert door.meter.done == [(DISCONNECT, octets(b"ab"))]


@serves("ACTION with list", "client")
@at_ours
def test_it_calls_methods_of_a_list(jdlms_client, context):
    with client(jdlms_client, context) as door:
        said = jdlms_client.say("act", dotted(DISCONNECT), "i8:0", dotted(RECONNECT), "i8:0")
        assert said == "SUCCESS=0 SUCCESS=0"
        assert door.meter.done == [(DISCONNECT, ZERO), (RECONNECT, ZERO)]


@serves("SET in blocks", "client", "not implemented")
@serves("ACTION in blocks", "client", "not implemented")
@pytest.mark.parametrize("words", [("set", dotted(NOTE)), ("act", dotted(DISCONNECT))], ids=["set", "action"])
@at_ours
def test_it_sends_no_request_in_blocks(jdlms_client, context, words):
    """(jDLMS) It says so itself, before anything is sent."""
    with client(jdlms_client, context, max_pdu=SMALL) as door:
        heard = len(door.heard)
        with pytest.raises(No, match="not yet implemented"):
            jdlms_client.say(*words, f"octets:{bytes(500).hex()}")
        assert len(door.heard) == heard


@serves("ACTION in blocks", "client", "of what is returned in blocks, it takes a value for a choice")
@at_ours
def test_it_does_not_read_what_is_returned_in_blocks(jdlms_client, context):
    """(jDLMS) The blocks come, and are asked for; what they add up to is read as a list of Get-Data-Result."""
    with client(jdlms_client, context, takes=SMALL) as door:
        with pytest.raises(No, match="Identifier matched to no item"):
            jdlms_client.say("act", dotted(DISCONNECT), f"octets:{bytes(300).hex()}")
        assert door.meter.done == [(DISCONNECT, octets(bytes(300)))]
        assert len(door.said) > 2


@serves("unconfirmed SET", "client", "it cannot ask for it")
@at_ours
def test_it_wants_an_answer_to_everything(jdlms_client, context):
    """(jDLMS) The priority is all of invoke-id-and-priority that can be chosen."""
    assert {"set1", "set2"} == {name for name in jdlms_client.say("offers").split() if name.startswith("set")}
    with client(jdlms_client, context) as door:
        jdlms_client.say("set", dotted(LIMIT), "u32:1")
        if context == "none":
            assert door.heard[-1][2] & 0x40


@serves(
    "event-notification, information-report",
    "client",
    "it leaves them unheard, and those in general-glo-ciphering cost it the answer",
)
@at_ours
def test_it_hears_no_event(jdlms_client, context):
    """(jDLMS) They are decoded and dropped; what it cannot decipher is an error of the exchange that is under way."""
    with client(jdlms_client, context) as door:
        assert jdlms_client.say("get", dotted(LIMIT)) == "1000"
        door.tell(EventNotification(b"", LIMIT, u32(77)))
        if context == "none":
            assert jdlms_client.say("get", dotted(LIMIT)) == "1000"
        else:
            with pytest.raises(No, match="Unable to decipher"):
                jdlms_client.say("get", dotted(LIMIT))
    assert "event" not in jdlms_client.say("offers").lower()
