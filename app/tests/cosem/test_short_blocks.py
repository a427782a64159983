"""Blocks by short names: long values, long parameters of methods, long answers; and everything that can go wrong."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dcu.cosem import apdu, association, axdr, data, serving
from dcu.cosem.admission import initiate_response
from dcu.cosem.apdu import Block, Conformance, DataAccessResult, SetRequestBlock, short
from dcu.cosem.apdu.short import (
    Name,
    NextBlock,
    ReadBlock,
    ReadRequest,
    ReadResponse,
    RequestBlock,
    Taken,
    WriteRequest,
    WriteResponse,
)
from dcu.cosem.association import SUPPORTED_SHORT
from dcu.cosem.short_translation import ClientTranslator
from dcu.errors import AccessDenied, LinkClosed, MalformedAnswer, ServiceRefused

from .small_meter import CLIENT, CONNECTED, DISCONNECT, ENERGY, ENERGY_NOW, LIMIT, PROFILE, context_of, text
from .test_short import NAMES, ShortPair, contexts, short_row

h = bytes.fromhex
OK = DataAccessResult.SUCCESS
SMALL = 160
LIMIT_NAME, DISCONNECT_NAME = 0x0208, 0x0420
GLOBAL = pytest.mark.parametrize("context", ["none", "gmac, global key"])


@pytest.mark.parametrize(
    ("apdu", "wire"),
    [
        pytest.param(
            WriteRequest((RequestBlock(False, 1),), (h("0903616263"),)), "06010700000101" "0903616263", id="write"
        ),
        pytest.param(WriteRequest((RequestBlock(True, 2),), (h("0900"),)), "0601070100020109" "00", id="the last"),
        pytest.param(ReadRequest((RequestBlock(False, 1, b"abc"),)), "05010600000103616263", id="read"),
        pytest.param(WriteResponse((Taken(258),)), "0d01020102", id="of a write, taken"),
        pytest.param(ReadResponse((Taken(1),)), "0c01030001", id="of a read, taken"),
        pytest.param(WriteResponse((DataAccessResult.DATA_BLOCK_NUMBER_INVALID,)), "0d010113", id="refused"),
    ],
)  # fmt: skip
def test_a_block_is_byte_exact_both_ways(apdu, wire):
    assert short.encode(apdu).hex() == wire
    assert short.decode(h(wire)) == apdu


@pytest.mark.conforms("Service", "SET in blocks, SN", peer="ours")
def test_a_long_write_is_byte_exact():
    """The blocks hold what follows 06: one variable, 02 0208; one value, an octet-string of 20 bytes."""
    pair = ShortPair("none", takes=26).associated()
    before = len(pair.sent)
    pair.run(pair.client.set(LIMIT, h("09140102030405060708090a0b0c0d0e0f1011121314")))
    assert [frame.hex() for frame in pair.sent[before:]] == [
        "060107000001" "01" "090a" "01" "020208" "01" "0914010203",
        "060107000002" "01" "090f" "0405060708090a0b0c0d0e0f101112",
        "060107010003" "01" "0902" "1314",
    ]  # fmt: skip
    assert [frame.hex() for frame in pair.answered[before:]] == ["0d01020001", "0d01020002", "0d0100"]
    assert pair.meter.done == [(LIMIT, h("09140102030405060708090a0b0c0d0e0f1011121314"))]


@pytest.mark.conforms("Service", "ACTION in blocks, SN", peer="ours")
def test_a_long_parameter_and_what_is_returned_are_byte_exact():
    pair = ShortPair("none", takes=26, max_pdu=26, names=NAMES).associated()
    pair.meter.action = lambda sap, method, parameter: parameter
    before = len(pair.sent)
    assert pair.run(pair.client.action(DISCONNECT, h("0914") + bytes(20))) == h("0914") + bytes(20)
    assert [frame.hex() for frame in pair.sent[before:]] == [
        "050106000001" "0b" "01" "040420" "00" "091400000000",
        "050106000002" "0f" + 15 * "00",
        "050106010003" "01" "00",
        "0501050001",
    ]  # fmt: skip
    assert [frame.hex() for frame in pair.answered[before:]] == [
        "0c01030001",
        "0c01030002",
        "0c0102000001" "0e" "0100" "0914" + 10 * "00",
        "0c0102010002" "0a" + 10 * "00",
    ]  # fmt: skip


@pytest.mark.conforms("Services", short_row, peer="SET in blocks")
@pytest.mark.conforms("Services", short_row, peer="ACTION in blocks")
@contexts
def test_what_is_too_long_for_either_side_goes_in_blocks(context):
    pair = ShortPair(context, max_pdu=SMALL, takes=SMALL).associated()
    pair.run(pair.client.set(LIMIT, text(5 * SMALL)))
    assert pair.run(pair.client.get(LIMIT)) == text(5 * SMALL)
    pair.meter.action = lambda sap, method, parameter: parameter
    assert pair.run(pair.client.action(DISCONNECT, text(4 * SMALL))) == text(4 * SMALL)
    assert pair.run(pair.client.action(DISCONNECT, axdr.encode(data.i8(1)))) == axdr.encode(data.i8(1))
    services = [frame for frame in (*pair.sent, *pair.answered) if frame[0] not in (0x60, 0x61)]
    assert max(map(len, services)) <= SMALL
    assert pair.client.refused.total == pair.server.refused.total == 0
    if context_of(context)[1].request:
        assert text(60)[2:] not in b"".join(services)


@GLOBAL
def test_a_list_that_is_too_long_is_written_in_blocks(context):
    pair = ShortPair(context, takes=SMALL).associated()
    results = pair.run(pair.client.set_list([(LIMIT, text(SMALL)), (ENERGY, text(SMALL)), (LIMIT, text(9))]))
    assert results == (OK, DataAccessResult.READ_WRITE_DENIED, OK)
    assert pair.meter.done == [(LIMIT, text(SMALL)), (LIMIT, text(9))]


def test_what_fits_is_sent_whole_though_it_would_not_by_logical_names():
    pair = ShortPair("none", takes=60).associated()
    before = len(pair.sent)
    pair.run(pair.client.set(LIMIT, text(52)))
    assert [len(frame) for frame in pair.sent[before:]] == [60]


@pytest.mark.conforms("Service", "GET in blocks, SN", peer="ours")
def test_a_long_answer_holds_in_blocks_what_a_whole_one_would():
    """As meters do it (EnergyICT's driver skips the 0100 of the first block), and jDLMS."""
    pair = ShortPair("none", max_pdu=60, names=NAMES).associated()
    pair.run(pair.client.get(PROFILE))
    blocks = [result for answer in pair.answered[1:] for result in short.decode(answer).results]
    assert [block.number for block in blocks] == list(range(1, len(blocks) + 1))
    joined = b"".join(block.raw for block in blocks)
    assert short.decode(b"\x0c" + joined) == ReadResponse((pair.meter.values[PROFILE],))
    pair.run(pair.client.get_list([(ENERGY, None), (PROFILE, None)]))
    blocks = [short.decode(answer).results[0] for answer in pair.answered[1 + len(blocks) :]]
    joined = b"".join(block.raw for block in blocks)
    assert short.decode(b"\x0c" + joined) == ReadResponse((ENERGY_NOW, pair.meter.values[PROFILE]))


@pytest.mark.parametrize("head", ["0100", ""])
def test_an_answer_in_blocks_is_understood_with_and_without_what_stands_before_the_value(head):
    """Gurux leaves it out."""
    pair = ShortPair("none").associated()
    raw = h(head) + text(40)
    exchange = pair.client.get(LIMIT)
    next(exchange)
    assert short.decode(exchange.send(short.encode(ReadResponse((ReadBlock(False, 1, raw[:7]),))))) == ReadRequest(
        (NextBlock(1),)
    )
    with pytest.raises(StopIteration) as stop:
        exchange.send(short.encode(ReadResponse((ReadBlock(True, 2, raw[7:]),))))
    assert stop.value.value == text(40)


def test_a_later_block_is_taken_as_it_is():
    pair = ShortPair("none").associated()
    exchange = pair.client.get(LIMIT)
    next(exchange)
    exchange.send(short.encode(ReadResponse((ReadBlock(False, 1, h("01000904")),))))
    with pytest.raises(StopIteration) as stop:
        exchange.send(short.encode(ReadResponse((ReadBlock(True, 2, h("0100aabb")),))))
    assert stop.value.value == h("09040100aabb")


def test_an_empty_array_in_a_block_is_one():
    pair = ShortPair("none").associated()
    exchange = pair.client.get(LIMIT)
    next(exchange)
    with pytest.raises(StopIteration) as stop:
        exchange.send(short.encode(ReadResponse((ReadBlock(True, 1, h("0100")),))))
    assert stop.value.value == h("0100")


# --- the server


def pieces(body, size):
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    return [(number == len(parts), number, part) for number, part in enumerate(parts, 1)]


def write_block(last, number, raw, *, form=WriteRequest):
    return short.encode(form((RequestBlock(last, number),), (axdr.encode(data.octets(raw)),)))


def read_block(last, number, raw):
    return short.encode(ReadRequest((RequestBlock(last, number, raw),)))


def body(request):
    return short.encode(request)[1:]


WRITE = body(WriteRequest((Name(LIMIT_NAME), Name(LIMIT_NAME)), (text(50), text(7))))
CALL = body(ReadRequest((Name(DISCONNECT_NAME, 0, text(50)),)))


@given(st.integers(1, 70))
@settings(deadline=None)  # a busy machine
def test_a_request_is_put_together_however_it_was_cut(size):
    pair = ShortPair("none").associated()
    *taken, done = [pair.answer(write_block(*piece)) for piece in pieces(WRITE, size)]
    assert taken == [short.encode(WriteResponse((Taken(number),))) for number in range(1, len(taken) + 1)]
    assert done == h("0d020000")
    *taken, done = [pair.answer(read_block(*piece)) for piece in pieces(CALL, size)]
    assert taken == [short.encode(ReadResponse((Taken(number),))) for number in range(1, len(taken) + 1)]
    assert done == h("0c01000f00")
    assert pair.meter.done == [(LIMIT, text(50)), (LIMIT, text(7)), (DISCONNECT, text(50))]


NUMBER, NO_WRITE, NO_READ = "0d010113", "0d010112", "0c010110"
UNAVAILABLE, UNMATCHED = "0d01010e", "0d01010c"
W, R = write_block, read_block
PUT = [W(False, 1, WRITE[:20]), W(False, 2, WRITE[20:40]), W(True, 3, WRITE[40:])]
ASKED = [R(False, 1, CALL[:20]), R(False, 2, CALL[20:40]), R(True, 3, CALL[40:])]
READ_ENERGY = h("0501020108")


@pytest.mark.parametrize(
    ("said", "answers"),
    [
        pytest.param([PUT[0], PUT[2]], ["0d01020001", NUMBER], id="a block is lost"),
        pytest.param([PUT[0], PUT[2], PUT[1]], ["0d01020001", NUMBER, NO_WRITE], id="and comes late"),
        pytest.param([PUT[1]], [NO_WRITE], id="a write that never began"),
        pytest.param([ASKED[1]], [NO_READ], id="a read that never began"),
        pytest.param([ASKED[0], ASKED[2]], ["0c01030001", "0c010113"], id="a block of a read is lost"),
        pytest.param([PUT[0], ASKED[1]], ["0d01020001", NO_READ], id="a write goes on as a read"),
        pytest.param([ASKED[0], PUT[1]], ["0c01030001", NO_WRITE], id="a read goes on as a write"),
        pytest.param([W(False, 0, b"")], [NO_WRITE], id="block 0"),
        pytest.param([PUT[0], W(False, 0, b"")], ["0d01020001", NUMBER], id="block 0 in the middle"),
        pytest.param([PUT[0], h("0601070000020111" "05")], ["0d01020001", UNAVAILABLE], id="a piece that is a number"),
        pytest.param([PUT[0], h("06010700000201" "0a0161")], ["0d01020001", UNAVAILABLE], id="a piece that is a text"),
        pytest.param([W(True, 1, b"")], [UNMATCHED], id="nothing"),
        pytest.param([W(True, 1, WRITE[:-1])], [UNMATCHED], id="its end is missing"),
        pytest.param([W(True, 1, WRITE + b"\0")], [UNMATCHED], id="more than one request"),
        pytest.param([W(True, 1, W(True, 1, WRITE)[1:])], [UNMATCHED], id="a block in a block"),
        pytest.param([R(True, 1, R(True, 1, CALL)[1:])], ["0c01010c"], id="a block of a read in one"),
        pytest.param([W(True, 1, h("01020999" "011105"))], ["0d010103"], id="of what there is not"),
        pytest.param([PUT[0], READ_ENERGY, PUT[1]], ["0d01020001", None, NO_WRITE], id="another request in the middle"),
        pytest.param([PUT[0], READ_ENERGY, *PUT],
                     ["0d01020001", None, "0d01020001", "0d01020002", "0d020000"], id="another, and begun anew"),
        pytest.param([PUT[0], PUT[0], PUT[1], PUT[1], PUT[2]],
                     ["0d01020001", "0d01020001", "0d01020002", "0d01020002", "0d020000"], id="twice each"),
        pytest.param([*PUT, PUT[2]], ["0d01020001", "0d01020002", "0d020000", NO_WRITE], id="the last one again"),
        pytest.param([PUT[0], h("0501050001")], ["0d01020001", "0c010110"], id="the next block of an answer"),
    ],
)  # fmt: skip
def test_a_block_that_is_not_the_next_is_refused_with_its_reason(said, answers):
    pair = ShortPair("none").associated()
    for frame, expected in zip(said, answers, strict=True):
        answer = pair.answer(frame)
        assert answer.hex() == expected or (expected is None and answer == b"\x0c\x01\x00" + ENERGY_NOW)
    assert len(pair.meter.done) == 2 * (answers.count("0d020000"))


@pytest.mark.parametrize(
    "frame",
    [
        pytest.param(h("16010700000101" "0900"), id="unconfirmed"),
        pytest.param(h("0602070000010202080209001105"), id="beside a name"),
        pytest.param(h("0501070000" "01"), id="of a write, read"),
        pytest.param(h("060106000001000100"), id="of a read, written"),
        pytest.param(h("05020600000100" "020108"), id="of a read, beside a name"),
        pytest.param(h("0601050001" "0100"), id="the next block, written"),
        pytest.param(h("0c01030001"), id="taken: no request"),
        pytest.param(h("180000" "00"), id="a report: no request"),
        pytest.param(h("0500"), id="a read of nothing"),
        pytest.param(h("060000"), id="a write of nothing"),
    ],
)  # fmt: skip
def test_a_block_where_there_can_be_none_is_no_service_nor_what_asks_for_nothing(frame):
    pair = ShortPair("none").associated()
    assert pair.answer(frame) == h("d80202")
    assert pair.server.refused.malformed == 1
    assert pair.answer(READ_ENERGY) == b"\x0c\x01\x00" + ENERGY_NOW


@pytest.mark.parametrize(("block", "aborted"), [(write_block, "0d010111"), (read_block, "0c01010f")])
def test_a_server_keeps_so_much_and_no_more(block, aborted, monkeypatch):
    monkeypatch.setattr(serving, "LONG_BYTES", 1000)
    pair = ShortPair("none").associated()
    answers = [pair.answer(block(False, number, bytes(99))) for number in range(1, 13)]
    assert [answer.hex() for answer in answers[10:]] == [aborted, NO_WRITE if block is write_block else NO_READ]
    assert all(len(answer) == 5 for answer in answers[:10])
    empty = [pair.answer(block(False, number, b"")) for number in range(1, 1002)]
    assert empty[-1].hex() == aborted


@pytest.mark.parametrize("size", [0, 20, 300])
def test_a_method_that_is_written_returns_nothing_however_long(size):
    pair = ShortPair("none", max_pdu=60).associated()
    pair.meter.action = lambda sap, method, parameter: text(size) if size else None
    written = WriteRequest((Name(DISCONNECT_NAME),), (b"\x0f\x00",))
    assert pair.answer(short.encode(written)) == h("0d0100")
    assert pair.answer(write_block(True, 1, body(written))) == h("0d0100")


def test_a_method_that_is_read_and_returns_nothing_says_null_data():
    pair = ShortPair("none").associated()
    pair.meter.action = lambda sap, method, parameter: None
    assert pair.answer(short.encode(ReadRequest((Name(DISCONNECT_NAME, 0, b"\x0f\x00"),)))) == h("0c010000")
    assert pair.run(pair.client.action(DISCONNECT, None)) is None


def test_a_method_that_is_refused_says_why_read_or_written():
    pair = ShortPair("none").associated()
    assert pair.answer(short.encode(ReadRequest((Name(0x0128, 0, b"\x0f\x00"),)))) == h("0c010104")
    assert pair.answer(short.encode(WriteRequest((Name(0x0128),), (b"\x0f\x00",)))) == h("0d010104")


# --- what was not agreed on


FEWER = SUPPORTED_SHORT & ~(Conformance.BLOCK_TRANSFER_WITH_GET | Conformance.BLOCK_TRANSFER_WITH_SET)


@pytest.fixture
def without_blocks(monkeypatch):
    monkeypatch.setattr(association, "SUPPORTED_SHORT", FEWER)


def test_a_client_sends_no_blocks_that_were_not_agreed_on(without_blocks):
    pair = ShortPair("none", max_pdu=SMALL, takes=SMALL).associated()
    before = len(pair.sent)
    for exchange in (
        pair.client.set(LIMIT, text(SMALL)),
        pair.client.set_list([(LIMIT, text(SMALL)), (LIMIT, text(1))]),
        pair.client.action(DISCONNECT, text(SMALL)),
    ):
        with pytest.raises(ServiceRefused, match="no blocks"):
            pair.run(exchange)
    assert len(pair.sent) == before
    pair.run(pair.client.set(LIMIT, text(SMALL - 10)))
    assert pair.run(pair.client.get(PROFILE)) == pair.meter.values[PROFILE]  # meters answer so without asking


@pytest.mark.parametrize(
    ("lacking", "refused", "taken"),
    [
        (Conformance.BLOCK_TRANSFER_WITH_SET, PUT[0], ASKED[0]),
        (Conformance.BLOCK_TRANSFER_WITH_GET, ASKED[0], PUT[0]),
        (Conformance.PARAMETERIZED_ACCESS, ASKED[0], PUT[0]),
    ],
)
def test_a_server_takes_no_blocks_that_were_not_agreed_on(monkeypatch, lacking, refused, taken):
    monkeypatch.setattr(association, "SUPPORTED_SHORT", SUPPORTED_SHORT & ~lacking)
    pair = ShortPair("none").associated()
    assert pair.answer(refused) == h("d80102")
    assert pair.meter.done == []
    assert pair.answer(taken)[0] in (short.READ_RESPONSE, short.WRITE_RESPONSE)


def test_what_was_agreed_on_is_said_again_at_the_end_and_no_more(monkeypatch):
    """Though a server answers in blocks all the same."""
    pair = ShortPair("low")
    exchange = pair.client.associate()
    with monkeypatch.context() as client:
        client.setattr(association, "SUPPORTED_SHORT", FEWER)
        request = next(exchange)
    pair.answer(request)
    assert apdu.decode(initiate_response(pair.server._links[CLIENT])).conformance == FEWER


# --- the client


def told(pair, exchange, *answers):
    """What comes of an exchange that is answered so."""
    next(exchange)
    for answer in answers:
        exchange.send(h(answer))


@pytest.mark.parametrize(
    ("answers", "error", "what"),
    [
        pytest.param(["0d0100"], MalformedAnswer, "done before the last block", id="done too early"),
        pytest.param(["0d01020002"], MalformedAnswer, "block 2 is confirmed where 1", id="another block"),
        pytest.param(["0d01020001", "0d01020001"], MalformedAnswer, "block 1 is confirmed where 2", id="same again"),
        pytest.param(["0d01020001", "0d010111"], AccessDenied, "long-set-aborted", id="aborted"),
        pytest.param(["0d010103"], AccessDenied, "read-write-denied", id="denied at once"),
        pytest.param(["0d020100000100"], MalformedAnswer, "nonsense", id="nonsense"),
        pytest.param(["0c01030001"], MalformedAnswer, "does not answer", id="of a read"),
        pytest.param(["0d02020001020001"], MalformedAnswer, "does not answer", id="taken twice"),
    ],
)
def test_a_long_write_ends_with_what_the_meter_says(answers, error, what):
    pair = ShortPair("none", takes=SMALL).associated()
    with pytest.raises(error, match=what):
        told(pair, pair.client.set(LIMIT, text(3 * SMALL)), *answers)
    if error is AccessDenied:
        assert pair.run(pair.client.get(ENERGY)) == ENERGY_NOW
        return
    with pytest.raises(LinkClosed):
        pair.run(pair.client.get(ENERGY))


@pytest.mark.parametrize(
    ("answers", "error"),
    [
        (["0c010100"], MalformedAnswer),  # an error that is none
        (["0c01000f00"], MalformedAnswer),
        (["0d01020001"], MalformedAnswer),
        (["0c01030001", "0c01010f"], AccessDenied),
        (["0c01020100010100"], MalformedAnswer),
    ],
)
def test_a_long_parameter_is_done_when_all_of_it_is_there(answers, error):
    pair = ShortPair("none", takes=SMALL).associated()
    with pytest.raises(error):
        told(pair, pair.client.action(DISCONNECT, text(3 * SMALL)), *answers)
    assert pair.meter.done == []
    assert pair.meter.values[CONNECTED] == axdr.encode(data.boolean(True))


def test_a_block_beyond_the_last_number_is_not_sent():
    translator = ClientTranslator(NAMES)
    frames = [apdu.encode(SetRequestBlock(0xC1, Block(False, number, b"x"))) for number in (0xFFFF, 0x10000)]
    assert short.decode(translator.outgoing(frames[0])).variables == (RequestBlock(False, 0xFFFF),)
    with pytest.raises(ServiceRefused, match="65535 blocks"):
        translator.outgoing(frames[1])


def test_several_methods_at_once_are_not_possible_by_short_names():
    pair = ShortPair("none").associated()
    with pytest.raises(ServiceRefused, match="not possible with short names"):
        pair.run(pair.client.action_list([(DISCONNECT, None), (DISCONNECT, None)]))
