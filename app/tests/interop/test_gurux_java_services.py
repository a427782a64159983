"""Every service that the Gurux Java library's client can ask of our server; what arrived is looked up in our meter.

Where a test meets a defect of its own, it says so: "(gurux)".
"""

import pytest

from dcu.cosem import axdr, data
from dcu.cosem.apdu import DataNotification, EventNotification
from tests.cosem.small_meter import DISCONNECT, ENERGY, GENERAL, LIMIT, PROFILE

from .door import NOTE
from .gurux_java import client, dotted
from .java import No

SMALL = 200  # bytes that either side takes: a profile of 40 rows and a note of 500 bytes need blocks
BLOCKS = {"max_pdu": SMALL}
LONG = bytes(at % 251 for at in range(500))
LONGER = bytes(at % 241 for at in range(700))
both = pytest.mark.parametrize("context", ["none", "gmac, global key"])


def u32(value):
    return axdr.encode(data.u32(value))


def octets(raw):
    return axdr.encode(data.octets(raw))


def serves(row, defect=""):
    return pytest.mark.conforms("Service", row, peer="Gurux Java client", link="wrapper", defect=defect)


def sizes(peer, since):
    """Of what went either way, once associated."""
    heard, said = since
    return [len(apdu) for apdu in (*peer.door.heard[heard:], *peer.door.said[said:])]


def now(peer):
    return len(peer.door.heard), len(peer.door.said)


# --- GET


@serves("GET")
@both
def test_it_gets(gurux_client, context):
    with client(gurux_client, context) as peer:
        assert peer.say("get", dotted(ENERGY)) == "123456789"


@serves("GET in blocks")
@both
def test_it_gets_in_blocks(gurux_client, context):
    with client(gurux_client, context, f"pdu={SMALL}", **BLOCKS) as peer:
        before = now(peer)
        rows = peer.say("get", dotted(PROFILE))
        assert rows == f"[{','.join(f'[{row},{row}]' for row in range(40))}]"
        assert len(sizes(peer, before)) > 4
        assert max(sizes(peer, before)) <= SMALL


@serves("GET with list")
@both
def test_it_gets_a_list_whole_and_in_blocks(gurux_client, context):
    with client(gurux_client, context, f"pdu={SMALL}", **BLOCKS) as peer:
        assert peer.say("gets", dotted(ENERGY), dotted(LIMIT)) == "[123456789,1000]"
        assert peer.say("gets", dotted(ENERGY), dotted(PROFILE)).startswith("[123456789,[[0,0],[1,1],")


# --- SET


@serves("SET")
@both
def test_it_sets(gurux_client, context):
    with client(gurux_client, context) as peer:
        peer.say("set", dotted(LIMIT), "u32:2500")
        assert peer.door.meter.done == [(LIMIT, u32(2500))]


@serves("SET in blocks")
@both
def test_it_sets_in_blocks(gurux_client, context):
    with client(gurux_client, context, f"pdu={SMALL}", **BLOCKS) as peer:
        before = now(peer)
        peer.say("set", dotted(NOTE), f"octets:{LONG.hex()}")
        assert peer.door.meter.done == [(NOTE, octets(LONG))]
        assert max(sizes(peer, before)) <= SMALL


@serves("SET with list")
@both
def test_it_sets_a_list(gurux_client, context):
    with client(gurux_client, context) as peer:
        peer.say("sets", dotted(LIMIT), "u32:7", dotted(NOTE), "octets:0102")
        assert peer.door.meter.done == [(LIMIT, u32(7)), (NOTE, octets(b"\x01\x02"))]


@serves("SET with list", "in blocks, it calls the first of them a whole list")
@both
def test_a_list_that_it_sets_in_blocks_is_said_to_be_whole(gurux_client, context):
    """(gurux) set-request-with-list (4) with a block in it; set-request-with-list-and-first-datablock (5) is due."""
    with client(gurux_client, context, f"pdu={SMALL}", **BLOCKS) as peer:
        with pytest.raises(No, match="Service not supported"):
            peer.say("sets", dotted(LIMIT), "u32:7", dotted(NOTE), f"octets:{LONG.hex()}")
        assert "follow the end of the APDU" in str(peer.door.server.refused.last)
        assert peer.door.meter.done == []


@serves("unconfirmed SET")
@both
def test_what_it_sets_unconfirmed_is_done_and_not_answered(gurux_client, context):
    with client(gurux_client, context) as peer:
        said = len(peer.door.said)
        peer.say("unconfirmed", dotted(LIMIT), "u32:9")
        assert peer.say("get", dotted(LIMIT)) == "9"
        assert peer.door.meter.done == [(LIMIT, u32(9))]
        assert len(peer.door.said) == said + 1


# --- ACTION


@serves("ACTION")
@both
def test_it_calls_a_method(gurux_client, context):
    with client(gurux_client, context) as peer:
        assert peer.say("act", dotted(DISCONNECT), "i8:0") == "0"
        assert peer.door.meter.done == [(DISCONNECT, axdr.encode(data.i8(0)))]


@serves("ACTION in blocks")
@both
def test_it_calls_in_blocks_and_takes_what_is_returned_in_blocks(gurux_client, context):
    with client(gurux_client, context, f"pdu={SMALL}", **BLOCKS) as peer:
        before = now(peer)
        assert peer.say("act", dotted(DISCONNECT), f"octets:{LONGER.hex()}") == LONGER.hex()
        assert peer.door.meter.done == [(DISCONNECT, octets(LONGER))]
        assert max(sizes(peer, before)) <= SMALL


@serves("ACTION with list", "it cannot ask for it")
def test_it_has_no_way_to_call_methods_in_a_list(gurux_client):
    """(gurux) Lists are for reading and writing; `method` takes one."""
    offered = gurux_client.say("offers").split()
    assert [name for name in offered if "list" in name.lower()] == ["readList", "writeList", "writeList2"]
    assert "method" in offered


# --- ACCESS


@serves("ACCESS")
@pytest.mark.parametrize("context", ["none", "suite 0, general_global"])
def test_its_access_gets_and_sets_in_order(gurux_client, context):
    with client(gurux_client, context) as peer:
        told = peer.say("access", "get", dotted(ENERGY), "set", dotted(LIMIT), "u32:5", "get", dotted(LIMIT))
        assert told == "[[OK,123456789],[OK,none],[OK,5]]"
        assert peer.door.meter.done == [(LIMIT, u32(5))]


@serves("ACCESS", "a method's parameter is the value of its object's attribute of that number")
@pytest.mark.parametrize("context", ["none", "suite 0, general_global"])
def test_its_access_calls_a_method_with_an_attribute_for_a_parameter(gurux_client, context):
    """(gurux) There is no other way to say one: attribute 1 of any object is its logical name."""
    with client(gurux_client, context) as peer:
        peer.say("access", "act", dotted(DISCONNECT))
        assert peer.door.meter.done == [(DISCONNECT, octets(DISCONNECT.obis.raw))]


@serves("ACCESS", "not in service-specific ciphering, where it does not turn to general-glo-ciphering")
def test_its_access_is_not_ciphered_unless_general_protection_was_agreed(gurux_client):
    """(gurux) ACCESS has no glo- tag: what it has for it is an exception of its own, before anything is sent."""
    with client(gurux_client, "gmac, global key") as peer, pytest.raises(No, match="Invalid GLO command"):
        peer.say("access", "get", dotted(ENERGY))


# --- general blocks


@serves("general-block-transfer")
@pytest.mark.parametrize("window", [1, 4])
@both
def test_it_takes_answers_in_general_blocks(gurux_client, context, window):
    words = (f"pdu={SMALL}", f"window={window}")
    with client(gurux_client, context, *words, **BLOCKS, conformance=GENERAL) as peer:
        before = now(peer)
        assert peer.say("get", dotted(PROFILE)) == f"[{','.join(f'[{row},{row}]' for row in range(40))}]"
        assert peer.door.said[-1][0] == 0xE0
        assert max(sizes(peer, before)) <= SMALL
        assert peer.door.server.refused.total == 0


@serves("general-block-transfer", "of a request, it sends the first block only")
@both
def test_of_a_request_in_general_blocks_it_sends_the_first(gurux_client, context):
    """(gurux) It takes our confirmation of the first for more of an answer; an empty second block ends its request."""
    with client(gurux_client, context, f"pdu={SMALL}", "window=1", **BLOCKS, conformance=GENERAL) as peer:
        with pytest.raises(No, match="Service not allowed"):
            peer.say("set", dotted(NOTE), f"octets:{LONG.hex()}")
        assert (NOTE, octets(LONG)) not in peer.door.meter.done
        first, again, last, *_ = (apdu for apdu in peer.door.heard if apdu[0] == 0xE0)
        assert [block[:6].hex() for block in (first, again, last)] == ["e00100010000", "e08100010001", "e08100020002"]
        assert again[6:] == last[6:] == b"\0"


# --- what it is told


@serves("event-notification, information-report")
@pytest.mark.parametrize("first", [True, False], ids=["before an answer", "by itself"])
@both
def test_it_hears_an_event(gurux_client, context, first):
    with client(gurux_client, context) as peer:
        peer.say("get", dotted(LIMIT))
        peer.door.tell(EventNotification(b"", LIMIT, u32(77)))
        if first:
            assert peer.say("get", dotted(LIMIT)) == "1000"
        assert peer.say("hear") == "0.0.94.91.0.255 2 77"


def push_row(context):
    return "push, none" if context == "none" else "push, general-glo-ciphering"


@pytest.mark.conforms("Service", push_row, peer="Gurux Java client", link="wrapper")
@both
def test_it_hears_a_push(gurux_client, context):
    with client(gurux_client, context) as peer:
        peer.say("get", dotted(LIMIT))
        peer.door.tell(DataNotification(0x40000001, b"", axdr.encode(data.structure(data.u32(77), data.octets(b"ab")))))
        assert peer.say("hear") == "data-notification [77,6162]"


@pytest.mark.conforms(
    "Service",
    push_row,
    peer="Gurux Java client",
    link="wrapper",
    defect="in the midst of an exchange, it takes the answer for none",
)
@both
def test_a_push_in_the_midst_of_an_exchange_costs_it_the_answer(gurux_client, context):
    """(gurux) The answer arrives, and its value is gone; an event does no harm."""
    with client(gurux_client, context) as peer:
        assert peer.say("get", dotted(LIMIT)) == "1000"
        peer.door.tell(DataNotification(0x40000001, b"", u32(77)))
        said = len(peer.door.said)
        assert peer.say("get", dotted(LIMIT)) == "none"
        assert len(peer.door.said) == said + 1
        assert peer.say("hear") == "data-notification 77"
