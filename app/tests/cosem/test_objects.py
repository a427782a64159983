from datetime import UTC, datetime
from decimal import Decimal

import pytest
from gurux_dlms import GXByteBuffer, GXDLMSClient
from gurux_dlms.enums import Authentication, InterfaceType, ObjectType
from hypothesis import given
from hypothesis import strategies as st

from dcu.cosem import axdr, objects
from dcu.cosem.axdr import Data, Tag
from dcu.cosem.datetimes import CosemDateTime, TimeZoneRule
from dcu.cosem.objects import AttributeAccess, ControlMode, ControlState, MethodAccess, ObjectListElement, ScalerUnit
from dcu.errors import DecodeError
from dcu.model import AttributeRef, Obis
from tests.cosem.strategies_axdr import mutated, values

REGISTER = ObjectListElement(
    3,
    0,
    Obis.parse("1-0:1.8.0*255"),
    (AttributeAccess(1, 1), AttributeAccess(2, 1), AttributeAccess(3, 1)),
    (MethodAccess(1, 0),),
)
PROFILE = ObjectListElement(7, 1, Obis.parse("1-0:99.1.0*255"), (AttributeAccess(2, 1, (1, 2)),), (MethodAccess(1, 1),))
UNKNOWN = ObjectListElement(8192, 3, Obis.parse("0-0:128.0.0*255"), (AttributeAccess(-1, 3),), ())
WIRE = bytes.fromhex(
    "0103"
    "0204 120003 1100 09060100010800ff 0202 0103 0203 0f01 1601 00 0203 0f02 1601 00 0203 0f03 1601 00"
    "0101 0202 0f01 1600"
    "0204 120007 1101 09060100630100ff 0202 0101 0203 0f02 1601 0102 0f01 0f02 0101 0202 0f01 1601"
    "0204 122000 1103 09060000800000ff 0202 0101 0203 0fff 1603 00 0100"
)

elements = st.builds(
    ObjectListElement,
    st.integers(0, 0xFFFF),
    st.integers(0, 255),
    st.binary(min_size=6, max_size=6).map(Obis),
    st.lists(
        st.builds(
            AttributeAccess, st.integers(-128, 127), st.integers(0, 255), st.lists(st.integers(-128, 127)).map(tuple)
        ),
        max_size=4,
    ).map(tuple),
    st.lists(st.builds(MethodAccess, st.integers(-128, 127), st.integers(0, 255)), max_size=3).map(tuple),
)


def test_an_object_list_is_byte_exact_and_keeps_unknown_classes() -> None:
    assert objects.decode_object_list(WIRE) == (REGISTER, PROFILE, UNKNOWN)
    assert objects.encode_object_list((REGISTER, PROFILE, UNKNOWN)) == WIRE


def test_our_object_list_is_read_by_gurux() -> None:
    client = GXDLMSClient(True, 16, 1, Authentication.NONE, None, InterfaceType.WRAPPER)
    found = client.parseObjects(GXByteBuffer(objects.encode_object_list((REGISTER, PROFILE))), True)
    assert [(one.objectType, one.logicalName) for one in found] == [
        (ObjectType.REGISTER, "1.0.1.8.0.255"),
        (ObjectType.PROFILE_GENERIC, "1.0.99.1.0.255"),
    ]


def test_method_access_as_a_boolean_is_read() -> None:
    """Association LN version 0."""
    wire = bytes.fromhex("0101 0204 120003 1100 09060100010800ff 0202 0100 0101 0202 0f01 0301")
    assert objects.decode_object_list(wire)[0].method_access == (MethodAccess(1, 1),)


@pytest.mark.parametrize(
    ("mode", "version", "readable", "writable"),
    [
        (0, 0, False, False),
        (1, 0, True, False),
        (2, 1, False, True),
        (3, 1, True, True),
        (4, 2, True, False),
        (6, 2, True, True),
        (4, 3, False, False),
        (0x25, 3, True, False),
        (0x27, 3, True, True),
    ],
)
def test_access_modes_are_an_enumeration_first_and_flags_from_version_3_on(
    mode: int, version: int, readable: bool, writable: bool
) -> None:
    access = AttributeAccess(2, mode)
    assert (access.readable(version), access.writable(version)) == (readable, writable)


@given(st.lists(elements, max_size=5))
def test_an_object_list_survives(found: list[ObjectListElement]) -> None:
    assert objects.decode_object_list(objects.encode_object_list(found)) == tuple(found)


def test_scaler_and_unit() -> None:
    scaler_unit = objects.decode_scaler_unit(bytes.fromhex("02020fff1623"))  # from a voltage of Salzburg Netz
    assert scaler_unit == ScalerUnit(-1, 35)
    assert scaler_unit.symbol == "V"
    assert scaler_unit.apply(2292) == Decimal("229.2")
    assert objects.encode_scaler_unit(scaler_unit).hex() == "02020fff1623"


@pytest.mark.parametrize("raw", ["090c07e60b0c0610360000ffc400", "1907e60b0c0610360000ffc400"])
def test_a_clock_is_read_as_octet_string_or_date_time(raw: str) -> None:
    moment = objects.decode_clock(bytes.fromhex(raw))
    assert moment.utc(TimeZoneRule()) == datetime(2022, 11, 12, 15, 54, tzinfo=UTC)
    assert objects.encode_clock(moment).hex() == "090c07e60b0c0610360000ffc400"


def test_a_relay_tells_its_state_and_mode() -> None:
    assert objects.decode_control_state(bytes.fromhex("1602")) is ControlState.READY_FOR_RECONNECTION
    assert objects.decode_control_mode(bytes.fromhex("1604")) is ControlMode.MODE_4


def test_a_demand_register_is_read_as_far_as_it_was_asked() -> None:
    clock = bytes.fromhex("090c07e60b0c0610360000ffc400")
    encoded = {2: "0600000064", 3: "06000000c8", 4: "02020f00161b", 5: "1100", 8: "0600000384", 9: "120001"}
    raw = {number: bytes.fromhex(value) for number, value in encoded.items()} | {6: clock}
    moment = CosemDateTime.parse(clock[2:])
    found = objects.decode_demand_register(raw)
    assert found == objects.DemandRegister(100, 200, ScalerUnit(0, 27), 0, moment, None, 900, 1)


@pytest.mark.parametrize(
    ("attribute", "wire", "shown"),
    [
        ("3,1-0:1.8.0*255,1", "09060100010800ff", "1-0:1.8.0*255"),
        ("3,1-0:1.8.0*255,3", "02020fff1623", {"scaler": -1, "unit": "V"}),
        ("8,0-0:1.0.0*255,2", "090c07e60b0c0610360000ffc400", "2022-11-12 16:54:00"),
        ("70,0-0:96.3.10*255,3", "1601", "connected"),
        ("70,0-0:96.3.10*255,3", "1609", 9),
        ("70,0-0:96.3.10*255,2", "0301", True),
        ("1,0-0:96.1.0*255,2", "09083430373939333930", "40799390"),
        ("1,0-0:96.1.0*255,2", "090400ff0102", "00ff0102"),
        ("8192,0-0:128.0.0*255,2", "0202 11 07 0401 80", [7, "1"]),
        ("3,1-0:1.8.0*255,3", "1107", 7),
        ("3,1-0:1.8.0*255,100", "1aff ff ff ff 07", "****-**-** Sun"),
        ("15,0-0:40.0.0*255,2", "0101 0204 120003 1100 09060100010800ff 0202 0100 0100", None),
    ],
)
def test_a_value_is_shown_as_people_read_it(attribute: str, wire: str, shown: object) -> None:
    found = objects.interpret(AttributeRef.parse(attribute), axdr.decode(bytes.fromhex(wire)))
    assert found == (shown if shown is not None else [{"class": 3, "version": 0, "obis": "1-0:1.8.0*255"}])


@given(st.integers(1, 130), st.integers(1, 20), values)
def test_interpreting_is_total(class_id: int, attribute: int, data: Data) -> None:
    objects.interpret(AttributeRef(class_id, Obis(b"\x01\x00\x01\x08\x00\xff"), attribute), data)


@given(st.binary(max_size=60) | mutated(st.just(WIRE)))
def test_decoding_is_total(raw: bytes) -> None:
    decoders = (
        objects.decode_object_list,
        objects.decode_scaler_unit,
        objects.decode_clock,
        objects.decode_int,
        objects.decode_control_state,
        objects.decode_control_mode,
        lambda value: objects.decode_demand_register(dict.fromkeys(range(2, 10), value)),
    )
    for decode in decoders:
        try:
            decode(raw)
        except DecodeError:
            continue


def test_a_bit_string_is_an_integer_and_text_is_none() -> None:
    assert objects.decode_int(bytes.fromhex("040980 80")) == 0b100000001
    for raw in ("0900", "00", "17 3f800000"):
        with pytest.raises(DecodeError):
            objects.decode_int(bytes.fromhex(raw))
    assert objects.plain(Data(Tag.ARRAY, (axdr.u8(1),))) == bytes.fromhex("01011101")
