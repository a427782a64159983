"""Every service by logical names that gurux-dlms has, against our server: what it wrote has arrived there, or why not.

Where it trips over a defect of its own, the test shows that defect, "(gurux)", and where what is missing can be lent to
it, what it sends then is held against our server all the same.
"""

from types import SimpleNamespace

import pytest
from gurux_dlms import GXByteBuffer, GXReplyData, GXWriteItem
from gurux_dlms.enums import AccessServiceCommandType, Command, DataType, ErrorCode, ServiceClass
from gurux_dlms.enums import Conformance as GXConformance
from gurux_dlms.GXDLMSClient import GXDLMSClient
from gurux_dlms.GXDLMSExceptionResponse import GXDLMSExceptionResponse
from gurux_dlms.GXDLMSSettings import GXDLMSSettings
from gurux_dlms.objects import GXDLMSRegister
from gurux_dlms.ValueEventArgs import ValueEventArgs

from dcu.cosem import apdu, axdr, data
from dcu.cosem.apdu import ActionRequestList, EventNotification
from dcu.link import wrapper
from tests.cosem.small_meter import CLIENT, DISCONNECT, ENERGY, GENERAL, LIMIT, RECONNECT, context_of, text

from .gurux_client import (
    GENERAL_PROTECTION,
    ROWS,
    SETTINGS,
    Gurux,
    accessed,
    limit,
    load_profile,
    register,
    relay,
    rows_of,
)

everywhere = pytest.mark.parametrize("context", SETTINGS)
PLAIN = [context for context in SETTINGS if not context_of(context)[1].request]
CIPHERED = [context for context in SETTINGS if context_of(context)[1].request]
ROOM = 200  # bytes that the meter takes
TOO_LONG = "in general-glo and general-ded its blocks are longer than the meter takes"
LONG = bytes(at % 251 for at in range(700))


def service(name, **more):
    return pytest.mark.conforms("Service", name, peer="gurux-dlms client", link="wrapper", **more)


def small(context, **terms):
    """A meter that takes and gives little at a time, and whose methods return what they are given."""
    gurux = Gurux(context, room=ROOM, max_pdu=ROOM, **terms).associate()

    def action(_client, method, parameter):
        gurux.meter.done.append((method, parameter))
        return parameter

    gurux.meter.action = action
    return gurux


def long_write(gurux):
    return gurux.client.write(limit(LONG, DataType.OCTET_STRING), 2)


def long_call(gurux):
    return gurux.client.method(relay(), 1, LONG, DataType.OCTET_STRING)


def sizes(frames):
    return [len(wrapper.decode(bytes(frame)).apdu) for frame in frames]


@service("SET in blocks")
@everywhere
def test_gurux_writes_in_blocks(context):
    gurux = small(context)
    frames = long_write(gurux)
    assert len(frames) >= 4
    assert max(sizes(frames)) <= ROOM
    assert gurux.ask(frames).error == 0
    assert gurux.meter.done == [(LIMIT, text(700))]


@service("ACTION in blocks")
@everywhere
def test_gurux_calls_in_blocks_and_is_answered_in_blocks(context):
    gurux = small(context)
    frames = long_call(gurux)
    assert len(frames) >= 4
    assert max(sizes(frames)) <= ROOM
    reply = gurux.ask(frames)
    assert (reply.error, bytes(reply.value)) == (0, LONG)
    assert gurux.meter.done == [(DISCONNECT, text(700))]
    assert max(map(len, gurux.answers)) <= ROOM


@service("ACTION in blocks", defect="after a GET with list it takes the answer's blocks for those of a list of methods")
@everywhere
def test_gurux_takes_no_answer_in_blocks_after_a_list(context):
    """(gurux) The kind of its last GET stays, and is looked at when an ACTION is answered."""
    gurux, energy = small(context), register()
    gurux.ask(gurux.client.readList([(energy, 2), (energy, 3)]))
    with pytest.raises(ValueError, match="Action with list is not implemented"):
        gurux.ask(long_call(gurux))
    assert gurux.meter.done == [(DISCONNECT, text(700))]


@service("SET in blocks", defect=TOO_LONG)
@service("ACTION in blocks", defect=TOO_LONG)
@pytest.mark.parametrize("made", [long_write, long_call])
@pytest.mark.parametrize("context", ["gmac, global key", "gmac, dedicated key", "gmac, suite 2, global key"])
def test_guruxs_blocks_in_general_ciphering_are_longer_than_the_meter_takes(context, made):
    """(gurux) It keeps as much room as a service's own tag needs, and no more for the system title in front."""
    gurux = small(context, conformance=GENERAL_PROTECTION)
    frames = made(gurux)
    assert max(sizes(frames)) == ROOM + 7
    with pytest.raises(GXDLMSExceptionResponse, match="PDU is too long"):
        gurux.ask(frames)
    assert gurux.meter.done == []


@service(
    "SET with list",
    defect="its GXWriteItem drops its target, and has no getDataType: lent both, a list arrives, but not in blocks",
)
@everywhere
def test_guruxs_list_of_writes_needs_what_its_items_have_not(context):
    """(gurux) The blocks of a longer one say that each is a whole list."""
    item = GXWriteItem(limit(2500), 2)
    gurux = Gurux(context, max_pdu=ROOM).associate()
    with pytest.raises(AttributeError, match="objectType"):
        gurux.client.writeList([item])
    item.target = limit(2500)
    with pytest.raises(AttributeError, match="getDataType"):
        gurux.client.writeList([item])

    def lent(target, kind=DataType.UINT32):
        return SimpleNamespace(target=target, index=2, selector=0, parameters=None, getDataType=lambda: kind)

    energy = register()
    energy.value = 5
    items = [lent(limit(2500)), lent(energy), lent(limit(2600))]
    assert gurux.ask(gurux.client.writeList(items)).error == ErrorCode.READ_WRITE_DENIED
    assert gurux.meter.done == [(LIMIT, axdr.encode(data.u32(value))) for value in (2500, 2600)]
    long = [lent(limit(LONG, DataType.OCTET_STRING), DataType.OCTET_STRING)] * 2
    with pytest.raises(GXDLMSExceptionResponse, match="Service not supported"):
        gurux.ask(gurux.client.writeList(long))
    assert len(gurux.meter.done) == 2


@service("ACTION with list", defect="it has no list of methods, nor takes the answer to one")
@pytest.mark.parametrize("context", PLAIN)
def test_gurux_does_not_take_the_answer_to_a_list_of_methods(context):
    """(gurux) No method of its client makes a list: ours is sent in its place."""
    assert not [name for name in dir(GXDLMSClient) if "method" in name.lower() and "list" in name.lower()]
    gurux = Gurux(context).associate()
    request = apdu.encode(ActionRequestList(0xC1, (DISCONNECT, RECONNECT), (b"\x0f\x00",) * 2))
    with pytest.raises(ValueError, match="Invalid Command"):
        gurux.ask(wrapper.encode(CLIENT, 1, request))
    assert [ref for ref, _ in gurux.meter.done] == [DISCONNECT, RECONNECT]


@service("unconfirmed SET")
@everywhere
def test_what_gurux_writes_and_calls_unconfirmed_is_done_and_not_answered(context):
    gurux = Gurux(context).associate()
    gurux.client.serviceClass = ServiceClass.UN_CONFIRMED
    for frames in (gurux.client.write(limit(2500), 2), relay().remoteDisconnect(gurux.client)):
        (frame,) = frames
        request = wrapper.decode(bytes(frame))
        assert gurux.server.receive(request.source, request.apdu) is None
    assert gurux.meter.done == [(LIMIT, axdr.encode(data.u32(2500))), (DISCONNECT, axdr.encode(data.i8(0)))]
    gurux.client.serviceClass = ServiceClass.CONFIRMED
    assert gurux.value(register()) == 123_456_789


# --- ACCESS


@service("ACCESS")
@everywhere
def test_gurux_reads_by_access(context):
    """Ciphered, in general protection: the service has no tag of its own for glo- and ded-."""
    gurux = Gurux(context, conformance=GENERAL_PROTECTION).associate()
    energy, missing = register(), GXDLMSRegister("1.0.9.9.9.255")
    errors = accessed(gurux, (AccessServiceCommandType.GET, energy), (AccessServiceCommandType.GET, missing))
    assert errors == [ErrorCode.OK, ErrorCode.UNDEFINED_OBJECT]
    assert energy.value == 123_456_789


@service("ACCESS", defect="it asks for what to SET, or to call with, without settings: lent them, a SET arrives")
@everywhere
def test_gurux_cannot_write_by_access(context, monkeypatch):
    gurux = Gurux(context, conformance=GENERAL_PROTECTION).associate()
    energy = register()
    asked = (AccessServiceCommandType.GET, energy), (AccessServiceCommandType.SET, limit(2500))
    with pytest.raises(AttributeError, match="settings"):
        accessed(gurux, *asked)
    with pytest.raises(AttributeError, match="settings"):
        accessed(gurux, (AccessServiceCommandType.ACTION, relay()))

    def lent(*given):
        return ValueEventArgs(*((gurux.client.settings,) * (len(given) == 4)), *given)

    monkeypatch.setitem(GXDLMSClient.accessRequest.__globals__, "ValueEventArgs", lent)
    assert accessed(gurux, *asked) == [ErrorCode.OK] * 2
    assert gurux.meter.done == [(LIMIT, axdr.encode(data.u32(2500)))]
    assert energy.value == 123_456_789


@pytest.mark.parametrize("context", CIPHERED)
def test_gurux_ciphers_no_access_where_general_protection_was_not_agreed(context):
    gurux = Gurux(context).associate()
    with pytest.raises(Exception, match=r"Invalid (GLO|DED) command"):
        accessed(gurux, (AccessServiceCommandType.GET, register()))


# --- general-block-transfer


def with_general_blocks(context, window):
    gurux = Gurux(context, room=ROOM, max_pdu=ROOM, conformance=GENERAL)
    gurux.client.proposedConformance |= GXConformance.GENERAL_BLOCK_TRANSFER
    gurux.client.gbtWndowSize = window  # (gurux) as it spells it
    return gurux.associate()


@service(
    "general-block-transfer",
    defect="it lacks the number to ask for the second block with: lent that, it takes windows of blocks",
)
@pytest.mark.parametrize("window", [1, 4])
@everywhere
def test_gurux_takes_general_blocks_once_it_is_lent_their_number(context, window, monkeypatch):
    gurux = with_general_blocks(context, window)
    with pytest.raises(AttributeError, match="blockNumber"):
        gurux.ask(gurux.client.read(load_profile(), 2))
    monkeypatch.setattr(GXDLMSSettings, "blockNumber", property(lambda settings: settings.blockIndex), raising=False)
    gurux = with_general_blocks(context, window)
    opening = len(gurux.answers)
    assert rows_of(gurux.ask(gurux.client.read(load_profile(), 2))) == ROWS
    blocks = gurux.answers[opening:]
    assert len(blocks) > 4
    assert {block[0] for block in blocks} == {0xE0}
    assert max(map(len, blocks)) <= ROOM
    streamed = sum(bool(block[1] & 0x40) for block in blocks)
    assert bool(streamed) == (window > 1)


def all_sent(gurux, frames):
    """One after the other, whatever comes back; the last reply."""
    reply = GXReplyData()
    for frame in frames:
        reply.clear()
        gurux.exchange(frame, reply)
    return reply


@service(
    "general-block-transfer",
    defect="its third block confirms 65,535: put right, what it writes arrives",
)
@everywhere
def test_guruxs_third_general_block_confirms_what_was_never_sent(context):
    gurux = with_general_blocks(context, 1)
    frames = [bytes(frame) for frame in gurux.client.write(limit(LONG, DataType.OCTET_STRING), 2)]
    confirmed = [int.from_bytes(frame[12:14], "big") for frame in frames]
    assert (len(frames), confirmed) == (4, [0, 0, 0xFFFF, 0])
    with pytest.raises(GXDLMSExceptionResponse):
        all_sent(gurux, frames)
    assert "block 65535 is confirmed, which was not sent" in str(gurux.server.refused.last)
    assert gurux.meter.done == []

    gurux = with_general_blocks(context, 1)
    frames = [bytes(frame) for frame in gurux.client.write(limit(LONG, DataType.OCTET_STRING), 2)]
    right = [frame[:12] + number.to_bytes(2, "big") + frame[14:] for number, frame in enumerate(frames)]
    reply = all_sent(gurux, right)
    assert (reply.error, reply.isMoreData()) == (0, False)
    assert gurux.meter.done == [(LIMIT, text(700))]


# --- what the meter says unasked


@service(
    "event-notification, information-report",
    defect="it deciphers them, and its parseReport trips: an event's value has no settings, a report's list no key",
)
@everywhere
def test_gurux_deciphers_an_event_whole_and_cannot_take_it_apart(context):
    gurux = Gurux(context).associate()
    event = EventNotification(b"", ENERGY, axdr.encode(data.u32(7)))
    reply, told = GXReplyData(), GXReplyData()
    said = wrapper.encode(1, CLIENT, gurux.server.notification(CLIENT, event))
    assert gurux.client.getData(said, reply, told) is False  # no answer yet to what was asked
    assert (told.command, reply.data.size) == (Command.EVENT_NOTIFICATION, 0)
    whole = bytes(told.data.array())
    assert whole == b"\x00" + bytes((0, ENERGY.class_id)) + ENERGY.obis.raw + bytes((2,)) + event.value
    assert gurux.client.getValue(GXByteBuffer(whole[10:]), False) == 7
    gurux.client.objects.append(register())
    with pytest.raises(AttributeError, match="settings"):
        gurux.client.parseReport(told, [])
    assert gurux.value(register()) == 123_456_789
