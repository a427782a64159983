from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcu.cosem.datetimes import CosemDate, CosemDateTime, CosemTime, TimeZoneRule, zone_to_utc
from dcu.errors import DecodeError

VIENNA = TimeZoneRule(ZoneInfo("Europe/Vienna"))
MOSCOW = TimeZoneRule(ZoneInfo("Europe/Moscow"))
OPPOSITE = TimeZoneRule(ZoneInfo("Asia/Kolkata"), deviation_sign=-1)
UNSPECIFIED = TimeZoneRule(ZoneInfo("Europe/Vienna"), deviation_valid=False)


@pytest.mark.parametrize(
    ("raw", "rule", "utc"),
    [
        pytest.param("07e60b0c0610360000ffc400", VIENNA, datetime(2022, 11, 12, 15, 54), id="Salzburg: -60 is UTC+1"),
        pytest.param(
            "07e60b03ff0f2619ffff4cff", MOSCOW, datetime(2022, 11, 3, 12, 38, 25), id="Energomera: -180 is UTC+3"
        ),
        pytest.param("07e1090f05052128ff800000", VIENNA, datetime(2017, 9, 15, 3, 33, 40), id="Kaifa: unspecified"),
        pytest.param(
            "07ea030101000000 00 014a 00", OPPOSITE, datetime(2026, 2, 28, 18, 30), id="India: +330 is UTC+5:30"
        ),
        pytest.param("07ea0301010c0000 32 0000 00", VIENNA, datetime(2026, 3, 1, 12, 0, 0, 500_000), id="hundredths"),
        pytest.param("07ea030101 0c00ff ff 0000 00", VIENNA, datetime(2026, 3, 1, 12), id="second unspecified"),
    ],
)
def test_a_clock_becomes_utc(raw: str, rule: TimeZoneRule, utc: datetime) -> None:
    assert CosemDateTime.parse(bytes.fromhex(raw)).utc(rule) == utc.replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("status", "utc"),
    [
        pytest.param(0x80, datetime(2026, 10, 25, 0, 30), id="first time, summer bit set"),
        pytest.param(0x00, datetime(2026, 10, 25, 1, 30), id="second time, summer bit clear"),
        pytest.param(0xFF, datetime(2026, 10, 25, 0, 30), id="no status: the first"),
    ],
)
def test_the_summer_bit_tells_the_two_hours_of_autumn_apart(status: int, utc: datetime) -> None:
    raw = bytes.fromhex("07ea0a1907021e00008000") + bytes([status])
    assert CosemDateTime.parse(raw).utc(VIENNA) == utc.replace(tzinfo=UTC)


def test_without_a_summer_bit_the_nearer_of_the_two_hours_holds() -> None:
    local = datetime(2026, 10, 25, 2, 30)
    for hour in (0, 1):
        near = datetime(2026, 10, 25, hour, 25, tzinfo=UTC)
        assert zone_to_utc(local, VIENNA.zone, None, near) == datetime(2026, 10, 25, hour, 30, tzinfo=UTC)


def test_a_time_that_spring_leaps_over_is_read_with_the_offset_before() -> None:
    raw = bytes.fromhex("07ea031d07021e0000800000")  # 29 March 2026, 02:30
    assert CosemDateTime.parse(raw).utc(VIENNA) == datetime(2026, 3, 29, 1, 30, tzinfo=UTC)


def test_a_deviation_that_says_nothing_is_left_alone() -> None:
    raw = bytes.fromhex("07ea0701030c000000000000")  # a meter that always writes 0, in July
    assert CosemDateTime.parse(raw).utc(UNSPECIFIED) == datetime(2026, 7, 1, 10, tzinfo=UTC)


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param("ffff0c0c0610360000ffc400", id="no year"),
        pytest.param("07e6fe0c0610360000ffc400", id="month of DST begin"),
        pytest.param("07e60bff0610360000ffc400", id="no day"),
        pytest.param("07e60b0c06ff360000ffc400", id="no hour"),
        pytest.param("07e60b0c0618360000ffc400", id="hour 24"),
        pytest.param("07e6021e06103600 00ffc400", id="30 February"),
        pytest.param("07e60b0c06103600647fff00", id="a deviation of 22 days"),
        pytest.param("07e60b0c06103600c8ffc400", id="200 hundredths"),
        pytest.param("0001010106000000007d0000", id="before the first year"),
    ],
)
def test_what_is_no_moment_is_refused(raw: str) -> None:
    with pytest.raises(DecodeError):
        CosemDateTime.parse(bytes.fromhex(raw)).utc(TimeZoneRule(UTC, deviation_sign=-1))


def test_wildcards_show_and_survive() -> None:
    raw = bytes.fromhex("fffffefe070200ffff8000ff")  # last Sunday of the month of DST begin, 02:00
    pattern = CosemDateTime.parse(raw)
    assert pattern == CosemDateTime(CosemDate(None, 0xFE, 0xFE, 7), CosemTime(2, 0, None, None), None, None)
    assert str(pattern) == "****-DST begin-last Sun 02:00:**"
    assert pattern.encode() == raw


@pytest.mark.parametrize(
    ("rule", "raw"),
    [
        pytest.param(VIENNA, "07ea0701030e000000ff8880", id="Blue Book: -120, summer bit"),
        pytest.param(OPPOSITE, "07ea070103111e0000014a00", id="opposite sign: +330"),
        pytest.param(UNSPECIFIED, "07ea0701030e000000800080", id="unspecified"),
    ],
)
def test_a_moment_is_written_as_the_meter_would(rule: TimeZoneRule, raw: str) -> None:
    moment = datetime(2026, 7, 1, 12, tzinfo=UTC)
    assert CosemDateTime.from_utc(moment, rule).encode() == bytes.fromhex(raw)
    assert CosemDateTime.from_utc(moment.astimezone(timezone(timedelta(hours=-7))), rule).encode() == bytes.fromhex(raw)


moments = st.datetimes(datetime(1990, 1, 1), datetime(2090, 1, 1), timezones=st.just(UTC)).map(
    lambda moment: moment.replace(microsecond=moment.microsecond // 10_000 * 10_000)
)
zones = st.sampled_from(
    ["UTC", "Europe/Vienna", "America/St_Johns", "Asia/Kathmandu", "Australia/Lord_Howe", "Africa/Casablanca"]
).map(ZoneInfo)


@given(moments, zones, st.sampled_from((1, -1)))
def test_a_moment_survives_with_its_deviation(moment: datetime, zone: ZoneInfo, sign: int) -> None:
    rule = TimeZoneRule(zone, sign)
    assert CosemDateTime.parse(CosemDateTime.from_utc(moment, rule).encode()).utc(rule) == moment


@given(moments, st.sampled_from(["UTC", "Europe/Vienna", "America/St_Johns", "Australia/Lord_Howe"]).map(ZoneInfo))
def test_a_moment_survives_without_its_deviation(moment: datetime, zone: ZoneInfo) -> None:
    rule = TimeZoneRule(zone, deviation_valid=False)
    assert CosemDateTime.parse(CosemDateTime.from_utc(moment, rule).encode()).utc(rule) == moment


@given(st.binary(min_size=12, max_size=12))
def test_every_date_time_can_be_parsed_shown_and_encoded(raw: bytes) -> None:
    moment = CosemDateTime.parse(raw)
    assert moment.encode() == raw
    assert str(moment)
    for rule in (VIENNA, OPPOSITE, UNSPECIFIED):
        try:
            assert moment.utc(rule).tzinfo is UTC
        except DecodeError:
            continue


@given(st.binary(min_size=5, max_size=5), st.binary(min_size=4, max_size=4))
def test_every_date_and_time_survives(date: bytes, time: bytes) -> None:
    assert CosemDate.parse(date).encode() == date
    assert CosemTime.parse(time).encode() == time
    assert str(CosemDate.parse(date))
    assert str(CosemTime.parse(time))


def test_wrong_sizes_and_values_are_refused() -> None:
    for parse in (CosemDateTime.parse, CosemDate.parse, CosemTime.parse):
        with pytest.raises(DecodeError):
            parse(b"\x07\xea")
    with pytest.raises(ValueError, match="does not fit"):
        CosemTime(hour=300).encode()
    with pytest.raises(ValueError, match="1 or -1"):
        TimeZoneRule(deviation_sign=0)
