"""How meters write moments: bytes worked out by hand, then both of the two codecs against each other."""

from contextlib import suppress
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcu.cosem.datetimes import CosemDateTime, TimeZoneRule
from neighbourhood.times import Zone, changes, stamp, unstamp


def second(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


VIENNA = Zone("Europe/Vienna")
RIYADH = Zone("Asia/Riyadh", sign=-1)
WITHOUT = Zone("Europe/Vienna", deviation=False)


@pytest.mark.parametrize(
    ("moment", "zone", "wire"),
    [
        # 2025-11-20 is a Thursday (4); Vienna is an hour ahead: deviation -60 = FFC4 by the Blue Book
        pytest.param("2025-11-20T12:00:00", VIENNA, "07e90b14040d000000ffc400", id="Vienna, winter"),
        pytest.param("2025-07-01T12:00:00", VIENNA, "07e90701020e000000ff8880", id="Vienna, summer: DST bit, -120"),
        pytest.param("2025-07-01T12:00:00", RIYADH, "07e90701020f00000000b400", id="Riyadh, sign the other way: +180"),
        pytest.param("2025-10-26T00:30:00", WITHOUT, "07e90a1a07021e0000800080", id="02:30, the first time"),
        pytest.param("2025-10-26T01:30:00", WITHOUT, "07e90a1a07021e0000800000", id="02:30, the second time"),
        pytest.param("2024-02-29T00:00:00", Zone(), "07e8021d0400000000000000", id="UTC"),
    ],
)
def test_a_moment_is_written_byte_exactly_and_read_back(moment, zone, wire):
    assert stamp(second(moment), zone).hex() == wire
    assert unstamp(bytes.fromhex(wire), zone) == second(moment)


zones = st.builds(
    Zone,
    st.sampled_from(["UTC", "Europe/Vienna", "Asia/Riyadh", "Asia/Kolkata", "Australia/Lord_Howe"]),
    st.sampled_from([1, -1]),
    st.booleans(),
)


@given(st.integers(second("2000-01-01"), second("2060-01-01")), zones)
def test_the_products_codec_understands_what_the_meter_writes_and_the_meter_what_the_product_writes(moment, zone):
    rule = TimeZoneRule(zone.tz, zone.sign)
    parsed = CosemDateTime.parse(stamp(moment, zone))
    assert int(parsed.utc(rule).timestamp()) == moment
    written = CosemDateTime.from_utc(datetime.fromtimestamp(moment, UTC), rule).encode()
    assert unstamp(written, zone) == moment


@given(st.binary(max_size=14))
def test_a_date_time_that_is_none_raises_value_error_only(raw):
    with suppress(ValueError, OverflowError):
        unstamp(raw, VIENNA)


def test_clocks_change_when_they_do():
    assert changes(VIENNA, 2025) == [(second("2025-03-30T01:00:00"), 60), (second("2025-10-26T01:00:00"), -60)]
    assert changes(RIYADH, 2025) == []
