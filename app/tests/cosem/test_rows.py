import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from gurux_dlms import GXByteBuffer
from gurux_dlms.enums import DataType
from gurux_dlms.GXDLMSSettings import GXDLMSSettings
from gurux_dlms.internal._GXCommon import _GXCommon
from hypothesis import given
from hypothesis import strategies as st

from dcu.cosem import axdr, rows
from dcu.cosem.axdr import BitString, CompactArray, Data, Tag, TypeDescription
from dcu.cosem.datetimes import CosemDateTime, TimeZoneRule
from dcu.cosem.profile import Row, decode_rows
from dcu.errors import DecodeError
from tests.cosem.strategies_axdr import FILLED, mutated, of_tag

VIENNA = TimeZoneRule(ZoneInfo("Europe/Vienna"))
HOUR = timedelta(hours=1)
START = datetime(2026, 1, 5, tzinfo=UTC)


def at(hours: float) -> datetime:
    return START + hours * HOUR


def clock(moment: datetime, rule: TimeZoneRule = VIENNA, status: int | None = None) -> Data:
    raw = CosemDateTime.from_utc(moment, rule).encode()
    return axdr.octets(raw if status is None else raw[:11] + bytes([status]))


def buffer(found: Sequence[Sequence[Data]]) -> bytes:
    return axdr.encode(axdr.array(axdr.structure(*cells) for cells in found))


def naive(raw: bytes, rule: TimeZoneRule, clock_column: int | None, period: int) -> list[Row]:
    """The same by the book, row by row, cell by cell."""
    found: list[tuple[object, ...]] = []
    for row in axdr.decode(raw).value:  # type: ignore[union-attr]
        before = found[-1] if found else (None,) * len(row.value)
        cells: list[object] = []
        for column, (cell, last) in enumerate(zip(row.value, before, strict=True)):
            if column == clock_column:
                moment = CosemDateTime.parse(cell.value).utc(rule) if cell.value else last + timedelta(seconds=period)
                cells.append(moment)
            elif cell.tag == Tag.NULL:
                cells.append(last)
            elif cell.tag.name.startswith("DELTA"):
                cells.append(last + cell.value)
            elif isinstance(cell.value, BitString):
                cells.append(cell.value.number)
            elif isinstance(cell.value, tuple | CompactArray):
                cells.append(axdr.encode(cell))
            else:
                cells.append(cell.value)
        found.append(tuple(cells))
    return found  # type: ignore[return-value]


def test_rows_with_full_clocks_are_byte_exact() -> None:
    raw = bytes.fromhex(
        "0102"
        "0203 090c 07ea01050101000000ffc400 1100 0600000064"  # 5 January 2026, 01:00, UTC+1
        "0203 090c 07ea01050102000000ffc400 1180 06000000c8"
    )
    assert decode_rows(raw, VIENNA, period=3600) == [(at(0), 0, 100), (at(1), 0x80, 200)]
    assert decode_rows(memoryview(raw), VIENNA, period=3600) == [(at(0), 0, 100), (at(1), 0x80, 200)]


def test_null_data_means_one_period_later_and_the_value_before() -> None:
    raw = bytes.fromhex(
        "01040203 190 7ea0105010100 0000ffc400 1100 0600000064".replace(" ", "")
        + "0203 00 00 06000000c8"
        + "0203 00 1101 00"
        + "0203 090c07ea01050109000000ffc400 00 0600000001"
    )
    assert decode_rows(raw, VIENNA, period=900) == [
        (at(0), 0, 100),
        (at(0.25), 0, 200),
        (at(0.5), 1, 200),
        (at(8), 1, 1),
    ]


def test_what_gurux_encodes_is_decoded() -> None:
    out = GXByteBuffer(b"\x01\x82\x02\xd0")
    for row in range(720):
        out.set(b"\x02\x04")
        moment = CosemDateTime.from_utc(at(row), VIENNA).encode()
        for kind, value in [
            (DataType.OCTET_STRING, moment),
            (DataType.UINT8, row % 256),
            (DataType.UINT32, 1_000_000 + row),
            (DataType.INT64, row),
        ]:
            _GXCommon.setData(GXDLMSSettings(False, None), out, kind, value)
    expected = [(at(row), row % 256, 1_000_000 + row, row) for row in range(720)]
    assert decode_rows(bytes(out.array()), VIENNA, period=3600) == expected


def test_a_profile_without_a_clock_and_one_with_the_clock_elsewhere() -> None:
    raw = buffer([[axdr.u16(7), clock(at(0))], [axdr.u16(8), axdr.null()]])
    assert decode_rows(raw, VIENNA, clock_column=1, period=60) == [(7, at(0)), (8, at(1 / 60))]
    plain = [(7, clock(at(0)).value), (8, clock(at(0)).value)]
    assert decode_rows(raw, VIENNA, clock_column=None, period=60) == plain


def test_a_unix_clock_becomes_utc() -> None:
    raw = buffer([[axdr.u32(int(START.timestamp()))], [axdr.null()], [axdr.u32(int(START.timestamp()) + 7200)]])
    assert decode_rows(raw, VIENNA, period=3600) == [(at(0),), (at(1),), (at(2),)]


def test_a_buffer_sorted_newest_first_goes_back_in_time() -> None:
    raw = buffer([[clock(at(5))], [axdr.null()], [axdr.null()]])
    assert decode_rows(raw, VIENNA, period=-3600) == [(at(5),), (at(4),), (at(3),)]


def test_an_empty_buffer_has_no_rows() -> None:
    assert decode_rows(b"\x01\x00", VIENNA, period=3600) == []
    assert decode_rows(bytes.fromhex("13 02 01 06 00"), VIENNA, period=3600) == []


def test_delta_values_are_added_to_the_value_before() -> None:
    raw = buffer(
        [
            [axdr.u32(1000), axdr.i8(-5)],
            [Data(Tag.DELTA_UNSIGNED, 7), Data(Tag.DELTA_INTEGER, -1)],
            [Data(Tag.DELTA_UNSIGNED, 1), Data(Tag.DELTA_INTEGER, -1)],
            [axdr.null(), Data(Tag.DELTA_LONG, 300)],
        ]
    )
    expected = [(1000, -5), (1007, -6), (1008, -7), (1008, 293)]
    assert decode_rows(raw, VIENNA, clock_column=None, period=0) == expected


def test_strings_bits_and_nested_cells_are_plain_values() -> None:
    nested = axdr.structure(axdr.i8(-1), axdr.enum(30))
    row = [axdr.visible("ÄB"), axdr.utf8("€"), axdr.octets(b"\x01"), axdr.bits("100000001"), axdr.boolean(True), nested]
    expected = ("ÄB", "€", b"\x01", 0b100000001, True, axdr.encode(nested))
    assert decode_rows(buffer([row] * 3), VIENNA, clock_column=None, period=0) == [expected] * 3


def test_a_compact_array_is_a_buffer_too() -> None:
    kinds = [TypeDescription(tag) for tag in (Tag.DATE_TIME, Tag.UNSIGNED, Tag.DOUBLE_LONG_UNSIGNED)]
    found = [
        axdr.structure(Data(Tag.DATE_TIME, clock(at(row)).value), axdr.u8(row), axdr.u32(row * 1000))
        for row in range(50)
    ]
    expected = [(at(row), row, row * 1000) for row in range(50)]
    compact = CompactArray(TypeDescription(Tag.STRUCTURE, 3, tuple(kinds)), tuple(found))
    assert decode_rows(axdr.encode(Data(Tag.COMPACT_ARRAY, compact)), VIENNA, period=3600) == expected

    octets = tuple(axdr.structure(clock(at(row)), axdr.u8(row), axdr.u32(row * 1000)) for row in range(50))
    kinds[0] = TypeDescription(Tag.OCTET_STRING)
    counted = CompactArray(TypeDescription(Tag.STRUCTURE, 3, tuple(kinds)), octets)
    assert decode_rows(axdr.encode(Data(Tag.COMPACT_ARRAY, counted)), VIENNA, period=3600) == expected


# Clocks


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("rows_", [24, 720, 3000])
def test_a_year_of_deviations_of_either_sign_is_right(sign: int, rows_: int) -> None:
    rule = TimeZoneRule(ZoneInfo("America/St_Johns"), sign)
    moments = [datetime(2026, 1, 1, tzinfo=UTC) + row * 3 * HOUR for row in range(rows_)]
    raw = buffer([[clock(moment, rule), axdr.u8(0)] for moment in moments])
    assert [row[0] for row in decode_rows(raw, TimeZoneRule(UTC, sign), period=10800)] == moments


@pytest.mark.parametrize(
    "zone", ["Europe/Vienna", "Australia/Lord_Howe", "America/Sao_Paulo", "Africa/Casablanca", "Asia/Kolkata"]
)
@pytest.mark.parametrize("minutes", [30, 60])
def test_a_year_without_deviations_is_right_where_the_summer_bit_is_kept(zone: str, minutes: int) -> None:
    rule = TimeZoneRule(ZoneInfo(zone), deviation_valid=False)
    step = timedelta(minutes=minutes)
    moments = [datetime(2018, 1, 1, tzinfo=UTC) + row * step for row in range(int(timedelta(days=366) / step))]
    offsets = [moment.astimezone(rule.zone).utcoffset() for moment in moments]
    # the bit as the larger offset: Casablanca's "daylight saving" is the smaller one, in Ramadan
    summer = max(offset for offset in offsets if offset is not None) if len(set(offsets)) > 1 else None
    raw = buffer(
        [
            [clock(moment, rule, 0x80 if offset == summer else 0)]
            for moment, offset in zip(moments, offsets, strict=True)
        ]
    )
    assert [row[0] for row in decode_rows(raw, rule, period=minutes * 60)] == moments


@pytest.mark.parametrize("status", [0x00, 0xFF], ids=["never sets the bit", "has no status"])
def test_autumn_is_right_by_the_order_of_the_rows_where_the_meter_does_not_tell(status: int) -> None:
    rule = TimeZoneRule(ZoneInfo("Europe/Vienna"), deviation_valid=False)
    moments = [datetime(2026, 10, 24, 20, tzinfo=UTC) + row * HOUR / 4 for row in range(48)]
    raw = buffer([[clock(moment, rule, status)] for moment in moments])
    assert [row[0] for row in decode_rows(raw, rule, period=900)] == moments


def test_null_clocks_cross_the_change_of_the_clocks() -> None:
    rule = TimeZoneRule(ZoneInfo("Europe/Vienna"), deviation_valid=False)
    moments = [datetime(2026, 10, 24, 20, tzinfo=UTC) + row * HOUR for row in range(12)]
    raw = buffer([[clock(moments[0], rule)], *([axdr.null()] for _ in moments[1:])])
    assert [row[0] for row in decode_rows(raw, rule, period=3600)] == moments


# By the book


@st.composite
def profiles(draw: st.DrawFn) -> tuple[bytes, int | None]:
    """A buffer of some runs of rows, each of a layout of its own, and its clock column."""
    width = draw(st.integers(1, 5))
    clock_column = draw(st.none() | st.integers(0, width - 1))
    kinds = [draw(st.sampled_from(FILLED)) for _ in range(width)]
    found: list[list[Data]] = []
    for _ in range(draw(st.integers(1, 5))):
        nulls = [draw(st.booleans()) for _ in range(width)]
        run = draw(st.integers(1, 12))
        for _ in range(run):
            cells = []
            for column, kind in enumerate(kinds):
                if nulls[column] and found:
                    cells.append(axdr.null())
                elif column == clock_column:
                    moment = at(draw(st.integers(0, 100_000)) / 4)
                    raw = CosemDateTime.from_utc(moment, VIENNA).encode()
                    cells.append(Data(draw(st.sampled_from((Tag.OCTET_STRING, Tag.DATE_TIME))), raw))
                elif kind.name.startswith("DELTA"):
                    cells.append(Data(Tag.INTEGER if not found else kind, 1))
                elif draw(st.integers(0, 30)) == 0:
                    cells.append(axdr.structure(axdr.u8(1), axdr.array([axdr.visible("x")])))
                else:
                    cells.append(draw(of_tag(kind)))
            found.append(cells)
    return buffer(found), clock_column


@given(profiles(), st.sampled_from((900, 3600, -3600)))
def test_any_mixture_of_layouts_is_decoded_as_by_the_book(profile: tuple[bytes, int | None], period: int) -> None:
    raw, clock_column = profile
    try:
        expected = naive(raw, VIENNA, clock_column, period)
    except TypeError:  # a delta after a nested cell
        with pytest.raises(DecodeError):
            decode_rows(raw, VIENNA, clock_column=clock_column, period=period)
    else:
        assert decode_rows(raw, VIENNA, clock_column=clock_column, period=period) == expected


@given(mutated(profiles().map(lambda profile: profile[0])) | st.binary(max_size=200), st.none() | st.integers(0, 3))
def test_decoding_is_total(raw: bytes, clock_column: int | None) -> None:
    for rule in (VIENNA, TimeZoneRule(ZoneInfo("Europe/Vienna"), -1, deviation_valid=False)):
        try:
            found = decode_rows(raw, rule, clock_column=clock_column, period=0xFFFFFFFF)
        except DecodeError:
            continue
        assert all(len(row) == len(found[0]) for row in found)


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        pytest.param("", "array", id="nothing"),
        pytest.param("0600000000", "array", id="a number"),
        pytest.param("0101 0600000000", "structure", id="a row that is a number"),
        pytest.param("0101 0200", "0 cells", id="a row without cells"),
        pytest.param("0102 0201 00", "ends", id="a row missing"),
        pytest.param("0101 0201 1100 00", "date-time", id="a number for a clock"),
        pytest.param("0101 0201 0900", "date-time", id="an empty clock"),
        pytest.param("0101 0201 00", "first row", id="no first clock"),
        pytest.param("0101 0201 090c 07ea01050119000000ffc400", "time of day", id="hour 25"),
        pytest.param("0101 0201 090c 07ea0d050101000000ffc400", "no date", id="month 13"),
        pytest.param("0101 0201 090c ffffffffff01000000ffc400", "no date", id="a pattern"),
        pytest.param("0101 0201 090c 07ea0105010100000 07fff00", "deviation", id="a deviation of 22 days"),
        pytest.param("0102 0201 090c 07ea01050101000000ffc400 0202 00 00", "2 cells", id="rows of unlike width"),
        pytest.param("0101 0201 090c 07ea01050101000000ffc400 00", "after the end", id="bytes left over"),
        pytest.param("0102 0202 090c 07ea01050101000000ffc400 00 0202 00 1c01", "delta", id="a delta to nothing"),
        pytest.param("0101 0202 090c 07ea01050101000000ffc400 0c01ff", "impossible", id="a text that is none"),
        pytest.param("13 0201 11 03 010203", "date-time", id="a compact-array without a clock"),
        pytest.param("13 0202 19 06 0f" + "00" * 15, "not rows of 16", id="a compact-array of half a row"),
        pytest.param("13 11 03 010203", "structures", id="a compact-array of numbers"),
        pytest.param("13 0200 01 00", "0 cells", id="a compact-array of nothing"),
    ],
)
def test_a_buffer_that_is_none_says_why(raw: str, why: str) -> None:
    with pytest.raises(DecodeError, match=why):
        decode_rows(bytes.fromhex(raw.replace(" ", "")), VIENNA, period=3600)


def test_a_clock_column_that_is_not_there_is_refused() -> None:
    with pytest.raises(DecodeError, match="column 4"):
        decode_rows(buffer([[clock(at(0))]]), VIENNA, clock_column=4, period=3600)


def hostile(count: int) -> bytes:
    """Rows of which no two neighbours look alike, but look alike for long."""
    tail = [axdr.u32(1)] * 8
    return buffer([[*tail, axdr.octets(bytes(row % 97))] for row in range(count)])


def test_rows_that_all_differ_cost_linear_time() -> None:
    raws = {count: hostile(count) for count in (1000, 4000)}
    spent = {}
    for count, raw in raws.items():
        rounds = []
        for _ in range(3):
            started = time.process_time()
            assert len(decode_rows(raw, VIENNA, clock_column=None, period=0)) == count
            rounds.append(time.process_time() - started)
        spent[count] = min(rounds)
    assert spent[4000] < 12 * spent[1000]  # 4 by the count; a quadratic decoder would need 16


def test_a_row_of_very_many_cells_costs_linear_time() -> None:
    raw = b"\x01\x03" + (b"\x02\x82\x75\x30" + b"\x11\x01" * 30_000) * 3
    started = time.process_time()
    assert decode_rows(raw, VIENNA, clock_column=None, period=0) == [(1,) * 30_000] * 3
    assert time.process_time() - started < 3


def test_the_layouts_that_are_kept_are_bounded() -> None:
    for width in range(1, 1200):
        raw = buffer([[axdr.octets(bytes(width % 120)), axdr.octets(bytes(width // 120))]])
        decode_rows(raw, VIENNA, clock_column=None, period=0)
    assert len(rows._layouts) <= rows._MAX_LAYOUTS
