"""Short-name referencing: names as the Blue Book gives them, services byte-exact, sessions as with logical names."""

import re
from contextlib import suppress
from dataclasses import replace
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcu.cosem import axdr, data, objects, serving
from dcu.cosem.apdu import DataAccessResult, short
from dcu.cosem.apdu.short import (
    InformationReport,
    Name,
    NextBlock,
    ReadBlock,
    ReadRequest,
    ReadResponse,
    WriteRequest,
    WriteResponse,
)
from dcu.cosem.association import Association, ServerAssociation
from dcu.cosem.client import ClientSession
from dcu.cosem.exchange import drive
from dcu.cosem.selection import Selection
from dcu.cosem.server import ServerSession
from dcu.cosem.short import ShortSession
from dcu.cosem.short_names import CURRENT, ShortNames, ShortObject, decode_short_names
from dcu.errors import AccessDenied, DcuError, DecodeError, LinkClosed
from dcu.model import AttributeRef, MethodRef, Obis

from .small_meter import (
    CLIENT,
    CLIENT_TITLE,
    CONNECTED,
    DISCONNECT,
    ENERGY,
    ENERGY_NOW,
    EVERY,
    LIMIT,
    MISSING,
    PROFILE,
    SCALER,
    SmallMeter,
    association,
    association_row,
    context_of,
    protection_row,
    server_terms,
    services_row,
)

h = bytes.fromhex
NAMES = ShortNames(
    ShortObject(base, ref.class_id, 0, ref.obis)
    for base, ref in ((0x0100, ENERGY), (0x0200, LIMIT), (0x0300, PROFILE), (0x0400, CONNECTED), (0x7D00, MISSING))
)
CONTEXTS = EVERY
contexts = pytest.mark.parametrize("context", CONTEXTS)


def short_row(context):
    return f"SN; {services_row(context)}"


class ListMeter(SmallMeter):
    """The small meter, which also lists its short names."""

    def __init__(self):
        super().__init__()
        self.values[AttributeRef(12, CURRENT, 2)] = NAMES.encode()


class ShortPair:
    def __init__(self, context, *, max_pdu=0xFFFF, takes=0xFFFF, names=None, lossy=False, unproven=False):
        self.meter = ListMeter()
        terms = replace(server_terms(context), max_pdu=takes, names=NAMES)
        self.server = ServerSession(self.meter, {CLIENT: terms}, counter=count(5000, 10).__next__, lossy=lossy)
        settings = replace(association(context, max_pdu=max_pdu), short=True)
        self.client = ShortSession(settings, counter=count(1).__next__, names=names, lossy=lossy, unproven=unproven)
        self.sent, self.answered = [], []

    def answer(self, frame):
        self.sent.append(frame)
        self.answered.append(self.server.receive(CLIENT, frame))
        return self.answered[-1]

    def run(self, exchange):
        return drive(exchange, self.answer)

    def associated(self):
        self.run(self.client.associate())
        return self


# --- byte-exact


@pytest.mark.parametrize(
    ("apdu", "wire"),
    [
        pytest.param(ReadRequest((Name(0x0108),)), "0501020108", id="read"),
        pytest.param(ReadRequest((Name(0x0108), Name(0x0110))), "0502020108020110", id="read of two"),
        pytest.param(ReadRequest((Name(0x0308, 2, h("020100")),)), "050104030802020100", id="parameterised"),
        pytest.param(ReadRequest((NextBlock(3),)), "0501050003", id="next block"),
        pytest.param(ReadResponse((h("0600000064"),)), "0c01000600000064", id="a value"),
        pytest.param(
            ReadResponse((h("1101"), DataAccessResult.OBJECT_UNDEFINED)), "0c020011010104", id="value and error"
        ),
        pytest.param(ReadResponse((ReadBlock(False, 1, b"ab"),)), "0c0102000001026162", id="block"),
        pytest.param(WriteRequest((Name(0x0208),), (h("1105"),)), "0601020208011105", id="write"),
        pytest.param(WriteRequest((Name(0x0208),), (h("1105"),), False), "1601020208011105", id="unconfirmed"),
        pytest.param(
            WriteResponse((DataAccessResult.SUCCESS, DataAccessResult.READ_WRITE_DENIED)), "0d02000103", id="written"
        ),
        pytest.param(InformationReport(b"", (Name(0x0108),), (h("1101"),)), "180001020108011101", id="report"),
    ],
)
def test_a_service_is_byte_exact_both_ways(apdu, wire):
    assert short.encode(apdu).hex() == wire
    assert short.decode(h(wire)) == apdu


@pytest.mark.parametrize(
    ("wire", "complaint"),
    [
        ("0501030108", "variable access 3 is not supported (at byte 2)"),
        ("0c01040001", "4 is no choice of a read result (at byte 2)"),
        ("0d01030001", "3 is no choice of a write result (at byte 2)"),
        ("0602020208020210011105", "1 values for 2 variables"),
        ("18000102010800", "0 values for 1 variables"),
        ("05820101" + 257 * "020108", "257 variables: at most 256"),
        ("190100", "19 begins no service"),
    ],
)
def test_what_is_no_service_is_told_why(wire, complaint):
    with pytest.raises(DecodeError, match=re.escape(complaint)):
        short.decode(h(wire))


@pytest.mark.parametrize("apdu", [ReadRequest((Name(0x10000),)), ReadRequest((NextBlock(-1),))])
def test_what_has_no_room_in_its_field_is_not_sent(apdu):
    with pytest.raises(ValueError, match="out of range"):
        short.encode(apdu)


def test_as_many_variables_are_read_as_a_list_may_have():
    assert len(short.decode(h("05820100" + 256 * "020108")).variables) == 256 == serving.LIST_ITEMS


@given(st.binary(max_size=60), st.sampled_from([5, 6, 12, 13, 22, 24]))
def test_noise_raises_nothing_but_decode_errors(noise, tag):
    for parse in (short.decode, decode_short_names):
        with suppress(DecodeError):
            parse(bytes((tag,)) + noise)


# --- sessions


@pytest.mark.conforms(
    "Referencing", lambda context: f"SN, {association_row(context)}, {protection_row(context)}", peer="ours"
)
@pytest.mark.conforms("Services", short_row, peer="GET")
@pytest.mark.conforms("Services", short_row, peer="GET with list")
@pytest.mark.conforms("Services", short_row, peer="SET")
@pytest.mark.conforms("Services", short_row, peer="ACTION")
@contexts
def test_a_whole_session_works(context):
    pair = ShortPair(context).associated()
    assert pair.run(pair.client.get(ENERGY)) == ENERGY_NOW
    assert pair.run(pair.client.get_list([(ENERGY, None), (SCALER, None)])) == (ENERGY_NOW, pair.meter.values[SCALER])
    pair.run(pair.client.set(LIMIT, axdr.encode(data.u32(7))))
    assert pair.run(pair.client.get(LIMIT)) == axdr.encode(data.u32(7))
    assert pair.run(pair.client.action(DISCONNECT, axdr.encode(data.i8(0)))) == axdr.encode(data.i8(0))
    assert pair.run(pair.client.get(CONNECTED)) == axdr.encode(data.boolean(False))
    pair.run(pair.client.release())
    assert not pair.server.associated(CLIENT)
    assert pair.client.refused.total == pair.server.refused.total == 0
    if context_of(context)[1].request:
        assert ENERGY_NOW not in b"".join(pair.answered)


@pytest.mark.conforms("Services", short_row, peer="GET in blocks")
@contexts
def test_a_long_answer_comes_in_blocks(context):
    pair = ShortPair(context, max_pdu=120).associated()
    assert pair.run(pair.client.get(PROFILE)) == pair.meter.values[PROFILE]
    assert max(map(len, pair.answered[1:])) <= 120


@pytest.mark.conforms("Service", "parameterised access, SN", peer="ours")
def test_a_selection_travels_in_parameterised_access():
    pair = ShortPair("none").associated()
    chosen = Selection(2, axdr.encode(data.structure(data.u32(1), data.u32(2))))
    pair.run(pair.client.get(PROFILE, chosen))
    assert pair.meter.asked[-1] == (PROFILE, chosen)


def test_the_object_list_is_read_once_and_not_at_all_where_it_is_known():
    pair = ShortPair("none").associated()
    assert len(pair.meter.asked) == 1
    assert len(ShortPair("none", names=NAMES).associated().meter.asked) == 0
    listed = objects.decode_object_list(pair.run(pair.client.get(AttributeRef(15, CURRENT, 2))))
    assert ENERGY.obis in {each.obis for each in listed}
    assert len(pair.meter.asked) == 1


def test_what_is_refused_says_why_and_the_session_goes_on():
    pair = ShortPair("gmac, global key").associated()
    with pytest.raises(AccessDenied, match="object-undefined"):
        pair.run(pair.client.get(MISSING))
    with pytest.raises(AccessDenied, match=r"^3,1-0:77\.7\.7\*255,2: not in the meter's object list"):
        pair.run(pair.client.get(AttributeRef(3, Obis.parse("1-0:77.7.7*255"), 2)))
    with pytest.raises(AccessDenied, match=r"^22,0-0:15\.0\.1\*255,1: not in the meter's object list"):
        pair.run(pair.client.action(MethodRef(22, Obis.parse("0-0:15.0.1*255"), 1)))
    with pytest.raises(AccessDenied, match="read-write-denied"):
        pair.run(pair.client.set(ENERGY, ENERGY_NOW))
    with pytest.raises(AccessDenied):
        pair.run(pair.client.action(MethodRef(3, ENERGY.obis, 1)))
    assert pair.run(pair.client.get(ENERGY)) == ENERGY_NOW


@pytest.mark.conforms("Services", short_row, peer="unconfirmed SET")
@contexts
def test_an_unconfirmed_write_is_carried_out_and_not_answered(context):
    pair = ShortPair(context).associated()
    assert pair.answer(pair.client.unconfirmed([(LIMIT, axdr.encode(data.u32(9)))])) is None
    assert pair.meter.done == [(LIMIT, axdr.encode(data.u32(9)))]
    assert pair.run(pair.client.get(LIMIT)) == axdr.encode(data.u32(9))
    assert pair.answer(pair.client.unconfirmed_call(DISCONNECT, axdr.encode(data.i8(0)))) is None
    assert pair.run(pair.client.get(CONNECTED)) == axdr.encode(data.boolean(False))
    for unlisted in (
        lambda: pair.client.unconfirmed([(AttributeRef(1, Obis(bytes(6)), 2), b"\x00")]),
        lambda: pair.client.unconfirmed_call(MethodRef(3, LIMIT.obis, 1)),
    ):
        with pytest.raises(AccessDenied, match="not in the meter's object list"):
            unlisted()


def test_outside_of_an_association_nothing_is_asked_nor_told():
    pair = ShortPair("none")
    for ask in (
        lambda: pair.run(pair.client.get(AttributeRef(15, CURRENT, 2))),
        lambda: pair.client.unconfirmed([(LIMIT, b"\x00")]),
        lambda: pair.client.unconfirmed_call(DISCONNECT),
    ):
        with pytest.raises(LinkClosed):
            ask()
    assert pair.sent == []


def test_a_list_of_names_that_is_none_ends_the_session():
    pair = ShortPair("none")
    pair.meter.values[AttributeRef(12, CURRENT, 2)] = b"\x11\x05"
    with pytest.raises(DcuError, match="object list is no array"):
        pair.associated()
    assert not pair.client.associated


def test_settings_for_logical_names_are_not_taken():
    with pytest.raises(ValueError, match="by logical names"):
        ShortSession(Association(CLIENT, 1), counter=count(1).__next__)


def test_an_information_report_in_the_middle_is_kept_and_the_answer_still_comes():
    pair = ShortPair("none").associated()
    exchange = pair.client.get(ENERGY)
    request = next(exchange)
    assert exchange.send(h("180001020108011101")) is None
    with pytest.raises(StopIteration) as stop:
        exchange.send(pair.answer(request))
    assert stop.value.value == ENERGY_NOW
    assert [told.notification.values for told in pair.client.notifications] == [(h("1101"),)]


@pytest.mark.conforms("Services", short_row, peer="event-notification, information-report")
@contexts
def test_a_report_of_our_server_is_taken_wherever_it_comes(context):
    """Ciphered as answers are; between request and answer, outside of an exchange, and while the end is awaited."""
    pair = ShortPair(context).associated()
    report = InformationReport(b"20261130120000Z", (Name(0x0108), Name(0x0110)), (ENERGY_NOW, b"\x00"))

    def say():
        return pair.server.notification(CLIENT, report)

    pair.client.receive(say())
    assert pair.run(pair.client.get(ENERGY)) == ENERGY_NOW
    exchange = pair.client.get(ENERGY)
    request = next(exchange)
    assert exchange.send(say()) is None
    with pytest.raises(StopIteration):
        exchange.send(pair.answer(request))
    exchange = pair.client.release()
    request = next(exchange)
    assert exchange.send(say()) is None
    with pytest.raises(StopIteration):
        exchange.send(pair.answer(request))
    assert [told.notification for told in pair.client.notifications] == [report] * 3
    assert {told.raw for told in pair.client.notifications} == {short.encode(report)}
    assert pair.client.refused.total == 0


def test_who_gives_up_waiting_ends_the_session_as_a_late_answer_could_pass_for_another():
    pair = ShortPair("gmac, global key").associated()
    exchange = pair.client.get(ENERGY)
    next(exchange)
    exchange.close()
    with pytest.raises(LinkClosed):
        pair.run(pair.client.get(LIMIT))


@pytest.mark.parametrize("context", ["none", "gmac, global key"])
def test_neither_side_is_talked_into_the_other_referencing(context):
    authentication, policy, dedicated, held, meters = context_of(context)
    settings = Association(CLIENT, 1, authentication, held, CLIENT_TITLE, policy, dedicated)
    pair = ShortPair(context)
    with pytest.raises(DcuError, match="context"):
        drive(ClientSession(settings, counter=count(1).__next__).associate(), pair.answer)
    pair = ShortPair(context)
    pair.server._associations = {CLIENT: ServerAssociation(authentication, meters, None, policy)}
    with pytest.raises(DcuError, match="context"):
        pair.associated()


def test_a_server_answers_anything_that_short_names_can_carry():
    pair = ShortPair("none").associated()
    for raw in (
        "0500",
        "0501020101",
        "0502020108020420",
        "0601020420011105",
        "06010201080011",
        "0501050001",
        "0c0100",
        "05ff",
    ):
        answer = pair.server.receive(CLIENT, h(raw))
        assert answer is not None
        assert answer[0] in (0x0C, 0x0D, 0xD8)
        assert "while answering" not in str(pair.server.refused.last)
