"""Lists by short names: variables that are read or written and methods that are called, in one request."""

import pytest

from dcu.cosem import association, axdr, data, serving
from dcu.cosem.apdu import Conformance, DataAccessResult, short
from dcu.cosem.apdu.short import Name, NextBlock, ReadRequest, RequestBlock, WriteRequest, WriteResponse
from dcu.cosem.association import SUPPORTED_SHORT
from dcu.errors import MalformedAnswer

from .small_meter import CLIENT, CONNECTED, DISCONNECT, ENERGY, ENERGY_NOW, LIMIT, PROFILE, RECONNECT, SCALER, text
from .test_short import NAMES, ShortPair

h = bytes.fromhex
OK, OTHER, DENIED = DataAccessResult.SUCCESS, DataAccessResult.OTHER_REASON, DataAccessResult.READ_WRITE_DENIED
ZERO, SEVEN = axdr.encode(data.i8(0)), axdr.encode(data.u32(7))
OFF = h("0300")
READ_ENERGY, READ_LIMIT, READ_CONNECTED, READ_PROFILE = (
    Name(NAMES.attribute(each)) for each in (ENERGY, LIMIT, CONNECTED, PROFILE)
)
CALL_OFF, CALL_ON = (Name(NAMES.method(each), 0, ZERO) for each in (DISCONNECT, RECONNECT))
PROOF = Name(0xFA58, 0, h("0900"))
NOT_AGREED, REFUSED = h("d80102"), h("d80101")


@pytest.fixture
def pair():
    return ShortPair("none", names=NAMES).associated()


def read(pair, *variables):
    return short.decode(pair.answer(short.encode(ReadRequest(variables)))).results


def written(pair, *items, confirmed=True):
    variables, values = zip(*items, strict=True)
    return pair.answer(short.encode(WriteRequest(variables, values, confirmed)))


# --- byte-exact


def test_reads_and_calls_of_one_read_are_answered_in_order(pair):
    answer = pair.answer(h("0505" "020408" "040420000f00" "020408" "0204ff" "040428000f01"))  # fmt: skip
    assert answer.hex() == "0c05" "000301" "000f00" "000300" "0104" "000f00"  # fmt: skip
    assert pair.meter.done == [(DISCONNECT, h("0f00")), (RECONNECT, h("0f01"))]


def test_writes_and_calls_of_one_write_are_carried_out_in_order(pair):
    answer = pair.answer(
        h("0604" "020208" "020420" "020108" "020208" "04" "0600000007" "0f00" "1101" "0600000008")
    )  # fmt: skip
    assert answer.hex() == "0d04" "00" "00" "0103" "00"  # fmt: skip
    assert pair.meter.done == [(LIMIT, SEVEN), (DISCONNECT, ZERO), (LIMIT, axdr.encode(data.u32(8)))]


def test_a_method_that_is_given_nothing_gets_null_data(pair):
    assert read(pair, Name(0x0420), Name(0x0428)) == (ZERO, ZERO)
    assert pair.meter.done == [(DISCONNECT, b"\0"), (RECONNECT, b"\0")]


def test_selections_of_a_list_stay_with_their_variables(pair):
    chosen = Name(READ_PROFILE.name, 2, h("020100"))
    assert read(pair, CALL_OFF, chosen, READ_PROFILE) == (ZERO, *[pair.meter.values[PROFILE]] * 2)
    assert [selection and selection.parameter for _, selection in pair.meter.asked] == [h("020100"), None]


def test_what_fails_in_a_list_stops_nothing(pair):
    nothing, no_method = Name(0x0101), Name(0x0128, 0, ZERO)
    assert read(pair, nothing, no_method, CALL_OFF) == (*[DataAccessResult.OBJECT_UNDEFINED] * 2, ZERO)


def test_an_unconfirmed_list_is_carried_out_and_not_answered(pair):
    assert written(pair, (READ_LIMIT, SEVEN), (CALL_OFF, ZERO), confirmed=False) is None
    assert pair.meter.done == [(LIMIT, SEVEN), (DISCONNECT, ZERO)]


# --- the client


def test_our_client_reads_and_writes_a_list(pair):
    assert pair.run(pair.client.get_list([(ENERGY, None), (LIMIT, None)])) == (ENERGY_NOW, pair.meter.values[LIMIT])
    assert pair.run(pair.client.set_list([(LIMIT, SEVEN), (ENERGY, SEVEN)])) == (OK, DENIED)
    assert pair.meter.done == [(LIMIT, SEVEN)]


def test_our_client_reads_a_list_of_one_in_blocks():
    pair = ShortPair("none", max_pdu=60, names=NAMES).associated()
    assert pair.run(pair.client.get_list([(PROFILE, None)])) == (pair.meter.values[PROFILE],)


def test_our_client_s_call_is_byte_exact(pair):
    assert next(pair.client.action(DISCONNECT, ZERO)).hex() == "0501" "040420" "00" "0f00"  # fmt: skip


ASKS = {
    "get": lambda client: client.get(LIMIT),
    "get list": lambda client: client.get_list([(LIMIT, None), (ENERGY, None)]),
    "action": lambda client: client.action(DISCONNECT, ZERO),
    "set": lambda client: client.set(LIMIT, SEVEN),
    "set list": lambda client: client.set_list([(LIMIT, SEVEN), (LIMIT, SEVEN)]),
}


@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        *((asked, answer) for asked in ("get", "action") for answer in ("0c00", "0c0200000000")),
        *(("get list", answer) for answer in ("0c00", "0c010000", "0c03000000000000")),
        *(("set", answer) for answer in ("0d00", "0d020000")),
        *(("set list", answer) for answer in ("0d00", "0d0100", "0d03000000")),
    ],
)
def test_an_answer_that_has_not_one_result_for_each_is_none(pair, asked, answer):
    exchange = ASKS[asked](pair.client)
    next(exchange)
    with pytest.raises(MalformedAnswer, match="results for"):
        exchange.send(h(answer))


@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        pytest.param("get", "0c01030001", id="a block was taken, and none sent"),
        pytest.param("set", "0d01020001", id="and none written"),
        pytest.param("get", "0d0100", id="a write for a read"),
        pytest.param("action", "0d0100", id="a write for a call"),
        pytest.param("set", "0c010000", id="a read for a write"),
    ],
)
def test_an_answer_to_something_else_is_none(pair, asked, answer):
    exchange = ASKS[asked](pair.client)
    next(exchange)
    with pytest.raises(MalformedAnswer, match="does not answer what was asked"):
        exchange.send(h(answer))


# --- blocks


def test_a_long_answer_to_a_list_comes_in_blocks_and_nothing_is_done_twice():
    pair = ShortPair("none", max_pdu=60, names=NAMES).associated()
    pair.meter.action = lambda sap, method, parameter: pair.meter.done.append(method) or text(100)
    joined, last, number = b"", False, 0
    asked = ReadRequest((READ_ENERGY, CALL_OFF, READ_PROFILE))
    while not last:
        answer = pair.answer(short.encode(asked))
        assert len(answer) <= 60
        [block] = short.decode(answer).results
        joined, last, number = joined + block.raw, block.last, number + 1
        asked = ReadRequest((NextBlock(number),))
    assert short.decode(b"\x0c" + joined).results == (ENERGY_NOW, text(100), pair.meter.values[PROFILE])
    assert pair.meter.done == [DISCONNECT]


def test_a_list_may_come_in_blocks(pair):
    asked = short.encode(ReadRequest((CALL_OFF, READ_CONNECTED)))[1:]
    assert pair.answer(short.encode(ReadRequest((RequestBlock(False, 1, asked[:5]),)))) == h("0c01030001")
    assert pair.meter.done == []
    assert read(pair, RequestBlock(True, 2, asked[5:])) == (ZERO, OFF)


@pytest.mark.parametrize("of_it", ["a long answer", "a long request"])
def test_a_list_ends_what_was_under_way(of_it):
    pair = ShortPair("none", max_pdu=60, names=NAMES).associated()
    if of_it == "a long answer":
        read(pair, READ_PROFILE)
        due = NextBlock(1)
    else:
        read(pair, RequestBlock(False, 1, b"\x01"))
        due = RequestBlock(True, 2, b"\x02\x01\x08")
    assert read(pair, CALL_OFF, CALL_ON) == (ZERO, ZERO)
    assert read(pair, due) == (DataAccessResult.NO_LONG_GET_IN_PROGRESS,)


# --- bounds


def test_a_list_is_carried_out_so_far_and_no_further(pair, monkeypatch):
    monkeypatch.setattr(serving, "LIST_ITEMS", 2)
    assert read(pair, CALL_OFF, CALL_ON, CALL_OFF, READ_ENERGY) == (ZERO, ZERO, OTHER, OTHER)
    answer = written(pair, (READ_LIMIT, SEVEN), (CALL_OFF, ZERO), (CALL_ON, ZERO))
    assert short.decode(answer) == WriteResponse((OK, OK, OTHER))
    assert [what for what, _ in pair.meter.done] == [DISCONNECT, RECONNECT, LIMIT, DISCONNECT]


def test_values_of_one_answer_add_up_to_so_much_and_no_more(pair, monkeypatch):
    monkeypatch.setattr(serving, "LIST_BYTES", 3 * len(pair.meter.values[PROFILE]) - 1)
    pair.meter.action = lambda sap, method, parameter: pair.meter.done.append(method) or text(9)
    rows = pair.meter.values[PROFILE]
    found = read(pair, READ_PROFILE, READ_PROFILE, READ_PROFILE, READ_ENERGY, CALL_OFF)
    assert found == (rows, rows, OTHER, OTHER, b"\0")
    assert len(pair.meter.asked) == 3  # what cannot be sent is not even fetched
    assert pair.meter.done == [DISCONNECT]


# --- what was not agreed on


@pytest.mark.parametrize(
    ("lacking", "asked"),
    [
        (Conformance.MULTIPLE_REFERENCES, ReadRequest((CALL_OFF, READ_ENERGY))),
        (Conformance.MULTIPLE_REFERENCES, ReadRequest((READ_ENERGY, READ_LIMIT))),
        (Conformance.MULTIPLE_REFERENCES, WriteRequest((READ_LIMIT, CALL_OFF), (SEVEN, ZERO))),
        (Conformance.READ, ReadRequest((CALL_OFF, READ_ENERGY))),
        (Conformance.WRITE, WriteRequest((READ_LIMIT, READ_LIMIT), (SEVEN, SEVEN))),
        (Conformance.WRITE | Conformance.PARAMETERIZED_ACCESS, ReadRequest((READ_ENERGY, CALL_OFF))),
    ],
)
def test_a_list_that_was_not_agreed_on_is_not_touched(monkeypatch, lacking, asked):
    monkeypatch.setattr(association, "SUPPORTED_SHORT", SUPPORTED_SHORT & ~lacking)
    pair = ShortPair("none", names=NAMES).associated()
    assert pair.answer(short.encode(asked)) == NOT_AGREED
    assert pair.meter.done == []
    assert pair.meter.asked == []


def test_reads_need_no_agreement_on_methods(monkeypatch):
    lacking = Conformance.WRITE | Conformance.PARAMETERIZED_ACCESS
    monkeypatch.setattr(association, "SUPPORTED_SHORT", SUPPORTED_SHORT & ~lacking)
    pair = ShortPair("none", names=NAMES).associated()
    assert read(pair, READ_ENERGY, Name(NAMES.attribute(SCALER))) == (ENERGY_NOW, pair.meter.values[SCALER])


# --- the proof of HLS stays alone


def proof_of(pair):
    """What the client would prove itself with, and how it goes on."""
    exchange = pair.client.associate()
    request = exchange.send(pair.answer(next(exchange)))
    return short.decode(request).variables[0], exchange


@pytest.mark.parametrize(
    "around",
    [
        pytest.param(lambda proof: ReadRequest((proof, READ_ENERGY)), id="before a variable"),
        pytest.param(lambda proof: ReadRequest((CALL_OFF, proof)), id="behind a method"),
        pytest.param(lambda proof: ReadRequest((proof, proof)), id="twice"),
        pytest.param(lambda proof: WriteRequest((proof, CALL_OFF), (proof.parameter, ZERO)), id="written"),
        pytest.param(lambda proof: ReadRequest((RequestBlock(True, 1, b"\x01" + h("04fa5800") + proof.parameter),)),
                     id="in a block"),
    ],
)  # fmt: skip
def test_a_proof_among_others_opens_nothing(around):
    pair = ShortPair("gmac, plain services", names=NAMES)
    proof, exchange = proof_of(pair)
    assert pair.answer(short.encode(around(proof))) == REFUSED
    assert not pair.server.associated(CLIENT)
    assert (pair.meter.done, pair.meter.asked) == ([], [])
    with pytest.raises(StopIteration):  # alone it does
        exchange.send(pair.answer(short.encode(ReadRequest((proof,)))))
    assert pair.server.associated(CLIENT)


def test_who_has_proven_himself_is_given_no_other_proof_in_a_list():
    pair = ShortPair("gmac, plain services", names=NAMES).associated()
    assert read(pair, READ_ENERGY, PROOF, CALL_OFF) == (ENERGY_NOW, DENIED, ZERO)
    assert short.decode(written(pair, (PROOF, h("0900")), (CALL_ON, ZERO))) == WriteResponse((DENIED, OK))
    assert [what for what, _ in pair.meter.done] == [DISCONNECT, RECONNECT]


def test_canary_the_application_would_be_asked_for_it(monkeypatch):
    monkeypatch.setattr(serving, "REPLY_TO_HLS", None)
    pair = ShortPair("gmac, plain services", names=NAMES).associated()
    assert read(pair, READ_ENERGY, PROOF) == (ENERGY_NOW, DataAccessResult.OBJECT_UNDEFINED)
