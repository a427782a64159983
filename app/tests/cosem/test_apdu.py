"""APDUs: byte-exact against the Green Book and bytes of real meters, then the properties of the codec."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcu.cosem.apdu import (
    AccessAction,
    Accessed,
    AccessGet,
    AccessRequest,
    AccessResponse,
    AccessSet,
    ActionRequestBlock,
    ActionRequestFirstBlock,
    ActionRequestList,
    ActionRequestListFirstBlock,
    ActionRequestNext,
    ActionRequestNormal,
    ActionResponseBlock,
    ActionResponseList,
    ActionResponseNext,
    ActionResponseNormal,
    ActionResult,
    Block,
    ConfirmedServiceError,
    Conformance,
    DataAccessResult,
    DataNotification,
    ErrorClass,
    EventNotification,
    ExceptionResponse,
    ExceptionService,
    ExceptionState,
    GetRequestList,
    GetRequestNext,
    GetRequestNormal,
    GetResponseBlock,
    GetResponseList,
    GetResponseNormal,
    InitiateRequest,
    InitiateResponse,
    Returned,
    SetRequestBlock,
    SetRequestFirstBlock,
    SetRequestList,
    SetRequestListFirstBlock,
    SetRequestNormal,
    SetResponseBlock,
    SetResponseLastBlock,
    SetResponseLastBlockList,
    SetResponseList,
    SetResponseNormal,
    decode,
    encode,
)
from dcu.cosem.apdu.results import ConfirmedService
from dcu.cosem.selection import Selection
from dcu.credentials import Secret
from dcu.errors import DecodeError
from dcu.model import AttributeRef, MethodRef, Obis

from .strategies_apdu import apdus, mutated

CLOCK = AttributeRef(8, Obis.parse("0-0:1.0.0*255"), 2)
NAME = AttributeRef(1, Obis.parse("0-0:128.0.0*255"), 2)
NAME_2 = AttributeRef(1, Obis.parse("0-0:128.1.0*255"), 2)
RELAY = MethodRef(70, Obis.parse("0-0:96.3.10*255"), 1)
KEY = "00112233445566778899AABBCCDDEEFF"
PLAIN = Conformance(0x007E1F)  # what the Green Book's client of the logical names proposes


@pytest.mark.parametrize(
    ("apdu", "wire"),
    [  # initiate: Green Book 11; the services: written by hand from the ASN.1 of 9.5
        pytest.param(InitiateRequest(PLAIN, 0x04B0), "01000000065F1F0400007E1F04B0", id="initiate, no ciphering"),
        pytest.param(
            InitiateRequest(PLAIN, 0x04B0, Secret(bytes.fromhex(KEY))),
            f"010110{KEY}0000065F1F0400007E1F04B0",
            id="initiate with a dedicated key",
        ),
        pytest.param(
            InitiateResponse(Conformance(0x501F), 0x01F4), "0800065F1F040000501F01F40007", id="initiate response"
        ),
        pytest.param(
            ConfirmedServiceError(ConfirmedService.INITIATE_ERROR, ErrorClass.INITIATE, 1),
            "0E010601",
            id="dlms-version-too-low",
        ),
        pytest.param(GetRequestNormal(0x81, NAME), "C00181 0001 0000800000FF 02 00", id="get"),
        pytest.param(GetRequestNormal(0x00, CLOCK), "C0010000080000010000FF0200", id="get the clock"),
        pytest.param(GetRequestNext(0x81, 1), "C0028100000001", id="get next"),
        pytest.param(
            GetRequestList(0x81, ((NAME, None), (NAME_2, None))),
            "C00381020001000080 0000FF0200 0001000080 0100FF0200",
            id="get with list",
        ),
        pytest.param(
            GetResponseNormal(0x81, bytes.fromhex("090A30313233343536373839")),
            "C4018100090A30313233343536373839",
            id="get response",
        ),
        pytest.param(
            GetResponseNormal(0x81, DataAccessResult.READ_WRITE_DENIED), "C401810103", id="get response: denied"
        ),
        pytest.param(
            GetResponseBlock(0x81, False, 1, bytes.fromhex("090C3031323334")),
            "C402810000000001 0007 090C3031323334",
            id="first block",
        ),
        pytest.param(
            GetResponseBlock(0x81, True, 2, DataAccessResult.DATA_BLOCK_UNAVAILABLE),
            "C402810100000002010E",
            id="block that is not there",
        ),
        pytest.param(
            GetResponseList(0x81, (bytes.fromhex("09023031"), DataAccessResult.OBJECT_UNDEFINED)),
            "C40381020009023031 0104",
            id="get response with list",
        ),
        pytest.param(
            SetRequestNormal(0x81, NAME, None, bytes.fromhex("09023031")),
            "C10181000100008000 00FF0200 09023031",
            id="set",
        ),
        pytest.param(SetResponseNormal(0x81, DataAccessResult.SUCCESS), "C5018100", id="set response"),
        pytest.param(
            ActionRequestNormal(0xC1, MethodRef(70, Obis.parse("0-0:96.3.10*255"), 1), b"\x0f\x00"),
            "C301C1 0046 000060030AFF 01 01 0F00",
            id="disconnect",
        ),
        pytest.param(
            ActionRequestNormal(0xC1, MethodRef(70, Obis.parse("0-0:96.3.10*255"), -1)),
            "C301C10046000060030AFFFF00",
            id="method without a parameter",
        ),
        pytest.param(ActionResponseNormal(0xC1, ActionResult.SUCCESS), "C701C10000", id="action response"),
        pytest.param(
            ActionResponseNormal(0xC1, ActionResult.SUCCESS, b"\x00"), "C701C100010000", id="action response with data"
        ),
        pytest.param(
            ActionResponseNormal(0xC1, ActionResult.SUCCESS, DataAccessResult.OTHER_REASON),
            "C701C1000101FA",
            id="action response without its data",
        ),
        pytest.param(
            GetRequestNormal(
                0xC1,
                AttributeRef(7, Obis.parse("1-0:99.1.0*255"), 2),
                Selection(2, bytes.fromhex("020406000000010600000000120001120000")),
            ),
            "C001C100070100630100FF0201 02 020406000000010600000000120001120000",
            id="profile by entry",
        ),
        pytest.param(
            SetRequestFirstBlock(0x81, NAME, None, Block(False, 1, bytes.fromhex("0932AB"))),
            "C10281 0001000080 0000FF02 00 00 00000001 03 0932AB",
            id="set, first block",
        ),
        pytest.param(
            SetRequestBlock(0x81, Block(True, 2, b"\xcd")), "C10381 01 00000002 01 CD", id="set, a further block"
        ),
        pytest.param(
            SetRequestList(0x81, ((NAME, None), (NAME_2, None)), (b"\x11\x01", b"\x11\x02")),
            "C10481 02 0001000080 0000FF0200 0001000080 0100FF0200 02 1101 1102",
            id="set with list",
        ),
        pytest.param(
            SetRequestListFirstBlock(0x81, ((NAME, None),), Block(False, 1, b"\x01")),
            "C10581 01 0001000080 0000FF0200 00 00000001 01 01",
            id="set with list, first block",
        ),
        pytest.param(SetResponseBlock(0x81, 1), "C50281 00000001", id="set response: go on"),
        pytest.param(
            SetResponseLastBlock(0x81, DataAccessResult.SUCCESS, 2), "C50381 00 00000002", id="set response: done"
        ),
        pytest.param(
            SetResponseLastBlockList(0x81, (DataAccessResult(0), DataAccessResult(3)), 2),
            "C50481 02 00 03 00000002",
            id="set response: list done",
        ),
        pytest.param(
            SetResponseList(0x81, (DataAccessResult(0), DataAccessResult(3))),
            "C50581 02 00 03",
            id="set response: list",
        ),
        pytest.param(ActionRequestNext(0xC1, 1), "C302C1 00000001", id="action, next block"),
        pytest.param(
            ActionRequestList(0xC1, (RELAY, RELAY), (b"\x0f\x00", b"\x00")),
            "C303C1 02 0046000060030AFF01 0046000060030AFF01 02 0F00 00",
            id="action with list",
        ),
        pytest.param(
            ActionRequestFirstBlock(0xC1, RELAY, Block(False, 1, b"\x09\x02\x01")),
            "C304C1 0046000060030AFF01 00 00000001 03 090201",
            id="action, first block",
        ),
        pytest.param(
            ActionRequestListFirstBlock(0xC1, (RELAY,), Block(False, 1, b"\x01")),
            "C305C1 01 0046000060030AFF01 00 00000001 01 01",
            id="action with list, first block",
        ),
        pytest.param(
            ActionRequestBlock(0xC1, Block(True, 2, b"\x02")), "C306C1 01 00000002 01 02", id="action, a further block"
        ),
        pytest.param(
            ActionResponseBlock(0xC1, Block(False, 1, b"\x09")), "C702C1 00 00000001 01 09", id="action response, block"
        ),
        pytest.param(
            ActionResponseList(0xC1, (Returned(ActionResult(0), b"\x11\x07"), Returned(ActionResult(3)))),
            "C703C1 02 00 01 00 1107 03 00",
            id="action response with list",
        ),
        pytest.param(ActionResponseNext(0xC1, 1), "C704C1 00000001", id="action response: go on"),
        pytest.param(
            AccessRequest(
                0x40000001,
                b"",
                (AccessGet(NAME), AccessSet(NAME_2, b"\x11\x05"), AccessAction(RELAY, b"\x0f\x00")),
            ),
            "D9 40000001 00 03 01 0001000080 0000FF02 02 0001000080 0100FF02 03 0046000060030AFF01 03 00 1105 0F00",
            id="access",
        ),
        pytest.param(
            AccessRequest(0x40000002, b"", (AccessGet(NAME, Selection(2, b"\x00")),)),
            "D9 40000002 00 01 04 0001000080 0000FF02 02 00 01 00",
            id="access with selection",
        ),
        pytest.param(
            AccessResponse(
                0x40000001,
                b"",
                (
                    Accessed(DataAccessResult(0), b"\x11\x09"),
                    Accessed(DataAccessResult(3)),
                    Accessed(ActionResult(0)),
                ),
                (1, 2, 3),
            ),
            "DA 40000001 00 00 03 1109 00 00 03 01 00 02 03 03 00",
            id="access response",
        ),
        pytest.param(
            EventNotification(bytes.fromhex("07E60B03FF0F2619FFFF4CFF"), NAME, b"\x11\x01"),
            "C2 01 0C 07E60B03FF0F2619FFFF4CFF 0001000080 0000FF02 1101",
            id="event with its time",
        ),
        pytest.param(EventNotification(b"", NAME, b"\x11\x01"), "C2 00 0001000080 0000FF02 1101", id="event"),
        pytest.param(
            ExceptionResponse(ExceptionState.SERVICE_NOT_ALLOWED, ExceptionService.INVOCATION_COUNTER_ERROR, 0x1234),
            "D8010600001234",
            id="exception with the counter that is expected",
        ),
        pytest.param(
            ExceptionResponse(ExceptionState.SERVICE_UNKNOWN, ExceptionService.OPERATION_NOT_POSSIBLE),
            "D80201",
            id="exception",
        ),
    ],
)
def test_apdu_is_byte_exact_both_ways(apdu, wire):
    assert encode(apdu) == bytes.fromhex(wire)
    assert decode(bytes.fromhex(wire)) == apdu


def test_conformance_without_the_application_class_is_read():
    plain = bytes.fromhex("0800065F1F040000501F01F40007")
    assert decode(plain.replace(b"\x5f\x1f", b"\x1f")) == decode(plain)


@pytest.mark.parametrize(
    ("wire", "invoke", "date_time", "begins"),
    [  # captures published with esphome-libs/dlms_parser (Apache-2.0), cut behind the first elements
        pytest.param(
            "0F40000000 090C 07E1090F05052128FF800000 020D09074B464D5F303031",
            0x40000000,
            "07E1090F05052128FF800000",
            "020D",
            id="Kaifa: the date-time carries a tag",
        ),
        pytest.param(
            "0F4000004D 0C 07E60B03FF0F2619FFFF4CFF 020701 07",
            0x4000004D,
            "07E60B03FF0F2619FFFF4CFF",
            "0207",
            id="Energomera",
        ),
        pytest.param("0F8000F1D5 00 0202160101", 0x8000F1D5, "", "0202", id="Sagemcom: no date-time"),
        pytest.param("0F40000000 00 01090202", 0x40000000, "", "0109", id="Aidon: no date-time"),
    ],
)
def test_notifications_of_real_meters_are_read(wire, invoke, date_time, begins):
    apdu = decode(bytes.fromhex(wire))
    assert isinstance(apdu, DataNotification)
    assert (apdu.long_invoke, apdu.date_time.hex().upper()) == (invoke, date_time)
    assert apdu.body.startswith(bytes.fromhex(begins))


def test_an_action_response_without_the_flag_of_its_data_is_read():
    assert decode(bytes.fromhex("C701C100")) == ActionResponseNormal(0xC1, ActionResult.SUCCESS)


@pytest.mark.parametrize(
    ("wire", "says"),
    [
        ("", "without a byte"),
        ("C0", "ends after its tag"),
        ("C10981", "set-request variant 9 is not supported"),
        ("C10481 01 0001000080 0000FF0200 02 0900 0900", "2 values for 1 references"),
        ("D940000000 00 01 07", "7 is no kind of access"),
        ("D940000000 00 01 01 0001000080 0000FF02 00", "0 values for 1 references"),
        ("DA40000000 00 00 01 00 01 04 00", "4 is no kind of access"),
        ("C2 01 05 07E60B03FF", "a date-time has 12 bytes, or none, not 5"),
        ("C40981", "get-response variant 9 is not supported"),
        ("E0C000", "general-block-transfer is not supported"),
        ("C81E30", "glo-get-request where a plain APDU is expected"),
        ("DB08", "general-glo-ciphering where a plain APDU is expected"),
        ("77", "77 begins no known APDU"),
        ("C401810200", "get-data-result: 00 or 01 expected"),
        ("C4018100", "value is missing"),
        ("C501810000", "1 bytes follow"),
        ("0F000000000B", "a date-time has 12 bytes"),
        ("0800065F1F040100501F01F40007", "conformance expected"),
    ],
)
def test_a_refusal_says_what_it_found(wire, says):
    with pytest.raises(DecodeError, match=says):
        decode(bytes.fromhex(wire))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (DataAccessResult.READ_WRITE_DENIED, "read-write-denied (3)"),
        (DataAccessResult(99), "unknown (99)"),
        (ActionResult.OBJECT_CLASS_INCONSISTENT, "object-class-inconsistent (9)"),
        (ConfirmedServiceError(ConfirmedService(1), ErrorClass(6), 1),
         "initiate-error (1): initiate (6): dlms-version-too-low (1)"),
        (ConfirmedServiceError(ConfirmedService(5), ErrorClass(5), 2), "read (5): access (5): 2"),
        (ExceptionResponse(ExceptionState(1), ExceptionService(6), 7),
         "service-not-allowed (1): invocation-counter-error (6), expected counter 7"),
    ],
)  # fmt: skip
def test_results_print_by_name_and_number(value, text):
    assert str(value) == f"{value}" == text


@pytest.mark.parametrize(
    "apdu",
    [
        GetRequestNext(256, 1),
        GetRequestNext(1, 1 << 32),
        GetRequestNormal(1, AttributeRef(1 << 16, CLOCK.obis, 2)),
        GetRequestNormal(1, AttributeRef(8, CLOCK.obis, 128)),
        GetResponseNormal(1, b""),
        SetRequestNormal(1, CLOCK, None, b""),
        InitiateRequest(PLAIN, 1 << 16),
        DataNotification(0, bytes(11), b"\x00"),
        DataNotification(1 << 32, b"", b"\x00"),
        ExceptionResponse(ExceptionState(1), ExceptionService(1), 5),
    ],
    ids=repr,
)
def test_what_cannot_be_sent_is_refused(apdu):
    with pytest.raises(ValueError):  # noqa: PT011
        encode(apdu)


def test_a_dedicated_key_and_values_do_not_show():
    shown = repr(InitiateRequest(PLAIN, 0, Secret(bytes.fromhex(KEY)))) + repr(GetResponseNormal(1, b"\x09\x03abc"))
    assert "abc" not in shown
    assert "\\x11" not in shown


def test_a_long_list_that_is_not_there_costs_nothing():
    with pytest.raises(DecodeError):
        decode(bytes.fromhex("C0038184FFFFFFFF"))


@given(apdus)
def test_what_is_encoded_is_decoded(apdu):
    assert decode(encode(apdu)) == apdu


@given(apdus, st.data())
def test_a_truncated_apdu_is_refused_or_is_a_shorter_last_value(apdu, data):
    wire = encode(apdu)
    cut = wire[: data.draw(st.integers(0, len(wire) - 1))]
    with suppress(DecodeError):
        assert encode(decode(cut)).startswith(cut)


@given(st.binary(max_size=200) | mutated(apdus.map(encode)))
def test_decode_is_total(noise):
    try:
        apdu = decode(noise)
    except DecodeError:
        return
    assert decode(encode(apdu)) == apdu
