from datetime import UTC, datetime

import pytest
from gurux_dlms import GXDateTime, GXDLMSClient
from gurux_dlms.enums import Authentication, InterfaceType
from gurux_dlms.objects import GXDLMSClock, GXDLMSProfileGeneric
from gurux_dlms.objects.GXDLMSCaptureObject import GXDLMSCaptureObject
from hypothesis import given
from hypothesis import strategies as st

from dcu.cosem import axdr, profile
from dcu.cosem.datetimes import CosemDate, CosemDateTime, CosemTime
from dcu.cosem.profile import CLOCK, ByEntry, ByRange, CaptureObject
from dcu.cosem.selection import Selection
from dcu.errors import DecodeError
from dcu.model import AttributeRef, Obis

ENERGY = CaptureObject(3, Obis.parse("1-0:1.8.0*255"), 2)
MIDNIGHT = CosemDateTime(CosemDate(2026, 1, 1, 4), CosemTime(0, 0, 0, 0), -60, 0)
NEXT = CosemDateTime(CosemDate(2026, 1, 2, 5), CosemTime(0, 0, 0, 0), -60, 0)

captures = st.builds(
    CaptureObject,
    st.integers(0, 0xFFFF),
    st.binary(min_size=6, max_size=6).map(Obis),
    st.integers(-128, 127),
    st.integers(0, 0xFFFF),
)


def test_selecting_by_range_is_byte_exact() -> None:
    wire = (
        "0204 0204 120008 09060000010000ff 0f02 120000 090c07ea010104000000 00ffc400 090c07ea010205000000 00ffc400"
        "0101 0204 120003 09060100010800ff 0f02 120000"
    )
    assert profile.by_range(CLOCK, MIDNIGHT, NEXT, [ENERGY]) == Selection(1, bytes.fromhex(wire))


def test_selecting_by_entry_is_byte_exact() -> None:
    wire = "0204 0600000001 0600000018 120001 120000"
    assert profile.by_entry(1, 24) == Selection(2, bytes.fromhex(wire))


@pytest.fixture
def gurux() -> tuple[GXDLMSClient, GXDLMSProfileGeneric]:
    load_profile = GXDLMSProfileGeneric("1.0.99.1.0.255")
    load_profile.captureObjects.append((GXDLMSClock(), GXDLMSCaptureObject(2, 0)))
    return GXDLMSClient(True, 16, 1, Authentication.NONE, None, InterfaceType.WRAPPER), load_profile


def test_what_gurux_asks_by_entry_is_what_we_ask(gurux: tuple[GXDLMSClient, GXDLMSProfileGeneric]) -> None:
    client, load_profile = gurux
    (frame,) = client.readRowsByEntry(load_profile, 5, 24)
    asked = profile.parse_selection(Selection(bytes(frame)[21], bytes(frame)[22:]))
    assert asked == ByEntry(5, 28)  # it counts rows where the standard wants the last one
    assert profile.by_entry(5, 28).parameter == bytes(frame)[22:]


def test_what_gurux_asks_by_range_is_understood(gurux: tuple[GXDLMSClient, GXDLMSProfileGeneric]) -> None:
    client, load_profile = gurux
    bounds = [GXDateTime(datetime(2026, 1, day, tzinfo=UTC)) for day in (1, 2)]
    (frame,) = client.readRowsByRange(load_profile, *bounds)
    asked = profile.parse_selection(Selection(bytes(frame)[21], bytes(frame)[22:]))
    assert isinstance(asked, ByRange)
    assert asked.restricting == CLOCK
    assert asked.columns == ()
    assert isinstance(asked.first.value, bytes)
    assert CosemDateTime.parse(asked.first.value).date == CosemDate(2026, 1, 1, None)
    assert profile.by_range(CLOCK, asked.first, asked.last).parameter == bytes(frame)[22:]


@given(captures, st.lists(captures, max_size=4))
def test_a_range_survives(restricting: CaptureObject, columns: list[CaptureObject]) -> None:
    bounds = [axdr.octets(bound.encode()) for bound in (MIDNIGHT, NEXT)]
    selection = profile.by_range(restricting, MIDNIGHT, NEXT, columns)
    assert profile.parse_selection(selection) == ByRange(restricting, *bounds, tuple(columns))


@given(st.lists(captures, max_size=10))
def test_capture_objects_survive(columns: list[CaptureObject]) -> None:
    assert profile.decode_capture_objects(profile.encode_capture_objects(columns)) == tuple(columns)


@given(st.integers(0, 3), st.binary(max_size=80))
def test_parsing_is_total(selector: int, raw: bytes) -> None:
    for parse in (
        lambda: profile.parse_selection(Selection(selector, raw)),
        lambda: profile.decode_capture_objects(raw),
    ):
        try:
            parse()
        except DecodeError:
            continue


def test_the_clock_is_found_among_the_columns() -> None:
    assert profile.clock_column([ENERGY, CLOCK]) == 1
    assert profile.clock_column([ENERGY]) is None
    assert CLOCK.ref == AttributeRef.parse("8,0-0:1.0.0*255,2")


@pytest.mark.parametrize("raw", ["00", "0100 00", "0101 00", "0101 0204 1200080905000001000f02120000", "0204"])
def test_capture_objects_that_are_none_are_refused(raw: str) -> None:
    with pytest.raises(DecodeError):
        profile.decode_capture_objects(bytes.fromhex(raw))
