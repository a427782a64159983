import pytest
from gurux_dlms import GXByteBuffer
from gurux_dlms.enums import DataType
from gurux_dlms.GXBitString import GXBitString
from gurux_dlms.GXDLMSSettings import GXDLMSSettings
from gurux_dlms.internal._GXCommon import _GXCommon
from gurux_dlms.internal._GXDataInfo import _GXDataInfo
from hypothesis import given
from hypothesis import strategies as st

from dcu.cosem import axdr
from dcu.cosem.axdr import BitString, CompactArray, Data, Tag, TypeDescription
from dcu.errors import DecodeError
from tests.cosem.strategies_axdr import mutated, scalars, values
from tests.fuzz.engine import Target, examine

U8, U16, U32 = (TypeDescription(tag) for tag in (Tag.UNSIGNED, Tag.LONG_UNSIGNED, Tag.DOUBLE_LONG_UNSIGNED))


@pytest.mark.parametrize(
    ("wire", "data"),
    [
        pytest.param("00", axdr.null(), id="null-data"),
        pytest.param("0301", axdr.boolean(True), id="boolean"),
        pytest.param("040840", Data(Tag.BIT_STRING, BitString(8, b"\x40")), id="bit-string of 8"),
        pytest.param("040980 80", axdr.bits("100000001"), id="bit-string of 9, padded"),
        pytest.param("05ffffffff", axdr.i32(-1), id="double-long"),
        pytest.param("0600000552", axdr.u32(1362), id="double-long-unsigned (Aidon, active power)"),
        pytest.param("09060100010700ff", axdr.octets(bytes.fromhex("0100010700ff")), id="octet-string (OBIS code)"),
        pytest.param("0a0b4149444f4e5f5630303031", axdr.visible("AIDON_V0001"), id="visible-string (Aidon)"),
        pytest.param("0c03e282ac", axdr.utf8("€"), id="utf8-string"),
        pytest.param("0d42", Data(Tag.BCD, 0x42), id="bcd"),
        pytest.param("0fff", axdr.i8(-1), id="integer (scaler -1)"),
        pytest.param("10005d", axdr.i16(93), id="long (Aidon, current)"),
        pytest.param("1180", axdr.u8(128), id="unsigned"),
        pytest.param("1209c4", axdr.u16(2500), id="long-unsigned (Aidon, voltage)"),
        pytest.param("14fffffffffffffffe", axdr.i64(-2), id="long64"),
        pytest.param("15ffffffffffffffff", axdr.u64(2**64 - 1), id="long64-unsigned"),
        pytest.param("161b", axdr.enum(27), id="enum (W)"),
        pytest.param("173fc00000", axdr.float32(1.5), id="float32"),
        pytest.param("18bff8000000000000", axdr.float64(-1.5), id="float64"),
        pytest.param(
            "1907e60b0c0610360000ffc400", Data(Tag.DATE_TIME, bytes.fromhex("07e60b0c0610360000ffc400")), id="date-time"
        ),
        pytest.param("1a07e60b0c06", Data(Tag.DATE, bytes.fromhex("07e60b0c06")), id="date"),
        pytest.param("1b10360000", Data(Tag.TIME, bytes.fromhex("10360000")), id="time"),
        pytest.param("1cff", Data(Tag.DELTA_INTEGER, -1), id="delta-integer"),
        pytest.param("1dff00", Data(Tag.DELTA_LONG, -256), id="delta-long"),
        pytest.param("1e00000001", Data(Tag.DELTA_DOUBLE_LONG, 1), id="delta-double-long"),
        pytest.param("1fff", Data(Tag.DELTA_UNSIGNED, 255), id="delta-unsigned"),
        pytest.param("20ffff", Data(Tag.DELTA_LONG_UNSIGNED, 65535), id="delta-long-unsigned"),
        pytest.param("21ffffffff", Data(Tag.DELTA_DOUBLE_LONG_UNSIGNED, 2**32 - 1), id="delta-double-long-unsigned"),
        pytest.param("ff", Data(Tag.DONT_CARE), id="don't-care"),
        pytest.param("0100", axdr.array([]), id="array of nothing"),
        pytest.param("02020fff1623", axdr.structure(axdr.i8(-1), axdr.enum(35)), id="scaler and unit (0.1 V)"),
        pytest.param(
            "13 12 04 0001 0002",
            Data(Tag.COMPACT_ARRAY, CompactArray(U16, (axdr.u16(1), axdr.u16(2)))),
            id="compact-array of long-unsigned",
        ),
        pytest.param(
            "13 020211 06 0a 01 00000002 03 00000004",
            Data(
                Tag.COMPACT_ARRAY,
                CompactArray(
                    TypeDescription(Tag.STRUCTURE, 2, (U8, U32)),
                    (axdr.structure(axdr.u8(1), axdr.u32(2)), axdr.structure(axdr.u8(3), axdr.u32(4))),
                ),
            ),
            id="compact-array of structures",
        ),
        pytest.param(
            "13 01000211 04 01020304",
            Data(
                Tag.COMPACT_ARRAY,
                CompactArray(
                    TypeDescription(Tag.ARRAY, 2, (U8,)),
                    (axdr.array([axdr.u8(1), axdr.u8(2)]), axdr.array([axdr.u8(3), axdr.u8(4)])),
                ),
            ),
            id="compact-array of arrays",
        ),
        pytest.param(
            "13 09 05 02aabb 01cc",
            Data(
                Tag.COMPACT_ARRAY,
                CompactArray(TypeDescription(Tag.OCTET_STRING), (axdr.octets(b"\xaa\xbb"), axdr.octets(b"\xcc"))),
            ),
            id="compact-array of octet-strings",
        ),
    ],
)
def test_every_type_is_byte_exact(wire: str, data: Data) -> None:
    raw = bytes.fromhex(wire)
    assert axdr.encode(data) == raw
    assert axdr.decode(raw) == data
    assert axdr.skip(raw, 0) == len(raw)


@pytest.mark.parametrize(
    ("size", "wire"),
    [
        (0, "00"),
        (127, "7f"),
        (128, "8180"),
        (255, "81ff"),
        (256, "820100"),
        (65536, "83010000"),
        (2**32 - 1, "84ffffffff"),
    ],
)
def test_lengths_take_as_few_bytes_as_they_can(size: int, wire: str) -> None:
    assert axdr.encode_length(size).hex() == wire
    assert axdr.decode_length(bytes.fromhex(wire), 0) == (size, len(wire) // 2)


def test_a_length_with_leading_zeros_is_accepted() -> None:
    assert axdr.decode(bytes.fromhex("09820002aabb")) == axdr.octets(
        b"\xaa\xbb"
    )  # Kamstrup writes 82 01 D0 and the like


# A foreign encoder, and a foreign decoder

GURUX = [
    (DataType.NONE, None, axdr.null()),
    (DataType.BOOLEAN, True, axdr.boolean(True)),
    (DataType.INT8, -5, axdr.i8(-5)),
    (DataType.UINT8, 200, axdr.u8(200)),
    (DataType.INT16, -500, axdr.i16(-500)),
    (DataType.UINT16, 50000, axdr.u16(50000)),
    (DataType.INT32, -70000, axdr.i32(-70000)),
    (DataType.UINT32, 4000000000, axdr.u32(4000000000)),
    (DataType.INT64, -(2**40), axdr.i64(-(2**40))),
    (DataType.UINT64, 2**63, axdr.u64(2**63)),
    (DataType.ENUM, 30, axdr.enum(30)),
    (DataType.FLOAT32, 1.25, axdr.float32(1.25)),
    (DataType.FLOAT64, -2.5, axdr.float64(-2.5)),
    (DataType.STRING, "KFM_001", axdr.visible("KFM_001")),
    (DataType.STRING_UTF8, "Zähler", axdr.utf8("Zähler")),
    (DataType.OCTET_STRING, bytes(range(200)), axdr.octets(bytes(range(200)))),
    (DataType.BITSTRING, GXBitString("1010000000000001"), axdr.bits("1010000000000001")),
]


@pytest.mark.parametrize(("kind", "value", "data"), GURUX, ids=[DataType(kind).name for kind, *_ in GURUX])
def test_what_gurux_encodes_is_what_we_encode(kind: DataType, value: object, data: Data) -> None:
    buffer = GXByteBuffer()
    if value is not None and kind in (DataType.INT16, DataType.INT32, DataType.INT64):
        value = int(value) % 2 ** {DataType.INT16: 16, DataType.INT32: 32, DataType.INT64: 64}[kind]  # as it wants them
    _GXCommon.setData(GXDLMSSettings(False, None), buffer, kind, value)
    assert axdr.encode(data) == bytes(buffer.array())
    assert axdr.decode(bytes(buffer.array())) == data


def test_what_we_encode_gurux_decodes() -> None:
    nested = axdr.structure(axdr.u16(3), axdr.array([axdr.i8(-1), axdr.enum(30)]), axdr.structure(axdr.i64(-(2**40))))
    found = _GXCommon.getData(GXDLMSSettings(False, None), GXByteBuffer(axdr.encode(nested)), _GXDataInfo())
    assert found == [3, [-1, 30], [-(2**40)]]


def test_our_compact_array_gurux_decodes() -> None:
    kind = TypeDescription(Tag.STRUCTURE, 3, (TypeDescription(Tag.OCTET_STRING), U8, U32))
    rows = tuple(axdr.structure(axdr.octets(bytes([at] * 12)), axdr.u8(at), axdr.u32(at * 1000)) for at in range(3))
    wire = axdr.encode(Data(Tag.COMPACT_ARRAY, CompactArray(kind, rows)))
    found = _GXCommon.getData(GXDLMSSettings(False, None), GXByteBuffer(wire), _GXDataInfo())
    assert [list(row)[1:] for row in found] == [[at, at * 1000] for at in range(3)]


# For every input


@given(values)
def test_what_was_encoded_is_decoded(data: Data) -> None:
    wire = axdr.encode(data)
    assert axdr.decode(wire) == data
    assert axdr.skip(wire, 0) == len(wire)


@given(values, st.binary(max_size=5), st.binary(max_size=5))
def test_a_value_is_found_wherever_it_stands(data: Data, before: bytes, after: bytes) -> None:
    wire = before + axdr.encode(data) + after
    assert axdr.decode_at(wire, len(before)) == (data, len(wire) - len(after))
    assert axdr.skip(memoryview(wire), len(before)) == len(wire) - len(after)


@given(st.binary(max_size=200) | mutated(values.map(axdr.encode)))
def test_decoding_and_skipping_are_total_and_agree(raw: bytes) -> None:
    try:
        end: int | None = axdr.skip(raw, 0)
    except DecodeError:
        end = None
    try:
        found = axdr.decode_at(raw, 0)
    except DecodeError:
        return
    assert found[1] == end  # skip may accept more, never less, and never ends elsewhere


@given(scalars)
def test_every_cut_of_a_value_is_an_error(data: Data) -> None:
    wire = axdr.encode(data)
    for size in range(len(wire)):
        with pytest.raises(DecodeError):
            axdr.decode(wire[:size])
        with pytest.raises(DecodeError):
            axdr.skip(wire[:size], 0)


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param("01 84ffffffff 00", id="an array of four billion"),
        pytest.param("0101" * 1000 + "00", id="a thousand arrays in each other"),
        pytest.param("13" + "0101" * 1000, id="a thousand descriptions in each other"),
        pytest.param("13 00 01 00", id="a compact-array of nothing"),
        pytest.param("13 02 02 01ffff 00 11" + "8200ff" + "00" * 255, id="a compact-array of a million nulls"),
        pytest.param("13" + "01ffff" * 4 + "00" + "0100", id="a compact-array of 2^64 nulls"),
        pytest.param("13 13 11 00 00", id="a compact-array of compact-arrays"),
        pytest.param("0c01ff", id="a utf8-string that is none"),
        pytest.param("0900 00", id="a byte too many"),
        pytest.param("07 00000000", id="the retired tag 7"),
        pytest.param("0980", id="a length of no bytes"),
    ],
)
def test_hostile_values_are_refused(raw: str) -> None:
    with pytest.raises(DecodeError):
        axdr.decode(bytes.fromhex(raw))


@pytest.mark.parametrize(
    "description",
    [
        pytest.param(b"\x02\x82\x20\x00" + b"\x00" * 0x1FFF + b"\x11", id="8,191 nulls and a byte"),
        pytest.param(b"\x01\xff\xff\x01\xff\xff\xff", id="2^32 times dont-care"),
    ],
)
def test_a_hostile_compact_array_costs_little_for_each_byte(description: bytes) -> None:
    raw = b"\x13" + description + b"\x82\xff\xf0" + bytes(0xFFF0)
    found = examine(Target("compact-array", axdr.decode, (raw,)), raw)
    assert found == ("! DecodeError: a compact-array of next to nothing but empty elements (at byte #)", None)


@pytest.mark.parametrize(
    "data",
    [
        axdr.u8(256),
        axdr.i8(-129),
        Data(Tag.UNSIGNED, "1"),
        Data(Tag.UNSIGNED, 1.5),
        Data(Tag.BOOLEAN, 1),
        Data(Tag.NULL, 0),
        Data(Tag.OCTET_STRING, "text"),
        Data(Tag.VISIBLE_STRING, b"bytes"),
        axdr.visible("€"),
        Data(Tag.DATE_TIME, b"short"),
        Data(Tag.ARRAY, 1),
        Data(Tag.BIT_STRING, b"\x80"),
        axdr.float32(1e300),
        Data(Tag.COMPACT_ARRAY, CompactArray(U8, (axdr.u16(1),))),
        Data(Tag.COMPACT_ARRAY, CompactArray(TypeDescription(Tag.STRUCTURE, 2, (U8,)), ())),
        Data(Tag.COMPACT_ARRAY, CompactArray(TypeDescription(Tag.NULL), (axdr.null(),))),
    ],
    ids=str,
)
def test_a_value_that_its_tag_cannot_hold_is_the_callers_mistake(data: Data) -> None:
    with pytest.raises(ValueError, match=r"."):
        axdr.encode(data)


def test_a_bit_string_reads_from_its_first_bit() -> None:
    bits = BitString(9, b"\x80\x80")
    assert str(bits) == "100000001"
    assert bits.number == 0b100000001
    with pytest.raises(ValueError, match="9 bits"):
        BitString(9, b"\x80")
