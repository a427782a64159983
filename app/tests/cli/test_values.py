"""How values are shown: quantities exact, times in UTC, OBIS codes at any depth; rows however a meter sorts them."""

import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from dcu.cli import buffers, output, values
from dcu.cli.access import Window
from dcu.cli.carriers import Carrier
from dcu.cli.linked import Linked
from dcu.cli.options import Target
from dcu.collect.meter_profile import Hdlc, MeterProfile, Quirks
from dcu.collect.reach import Reach
from dcu.cosem import axdr, profile
from dcu.cosem.association import Association
from dcu.cosem.datetimes import TimeZoneRule
from dcu.errors import MalformedAnswer
from dcu.model import AttributeRef, Obis

REGISTER = AttributeRef.parse("3,1-0:1.8.0*255,2")
UNKNOWN = AttributeRef.parse("9999,1-0:1.8.0*255,2")
NOON = bytes.fromhex("07e90b14040c00000000000000")[:12]  # 2025-11-20 12:00:00, deviation 0
UNSAID = bytes.fromhex("07e90b14040c00000080" + "0000")  # the same, deviation not specified


def shown(ref: AttributeRef, raw: str, scaler: int = 0, unit: str = "", rule: TimeZoneRule | None = None):
    return values.meaning(ref, bytes.fromhex(raw), scaler, unit, rule)


@pytest.mark.parametrize(
    ("raw", "scaler", "cell", "number"),
    [
        ("0600000552", 0, "1362", "1362"),
        ("12091c", -1, "233.2", "233.2"),
        ("0500000000", -3, "0.000", "0.000"),
        ("11fa", -5, "0.00250", "0.00250"),
        ("120007", 3, "7000", "7E+3"),
        ("0ffe", 2, "-200", "-2E+2"),
        ("15ffffffffffffffff", -3, "18446744073709551.615", "18446744073709551.615"),
        ("173f800000", 0, "1.0", "1.0"),
    ],
)
def test_a_quantity_is_exact_for_people_and_for_machines(raw, scaler, cell, number):
    value = shown(REGISTER, raw, scaler, "Wh")
    assert output.text(values.spelled(value)) == cell
    assert output.to_json({"value": value}) == f'{{"value":{number}}}'
    assert json.loads(number) == pytest.approx(float(cell))


def test_a_flag_is_no_quantity():
    assert shown(REGISTER, "0301", 2, "Wh") is True


@pytest.mark.parametrize(
    ("raw", "nice", "cell"),
    [
        ("0203 1105 0a026869 0906 0100010800ff", [5, "hi", "1-0:1.8.0*255"], "5, hi, 1-0:1.8.0*255"),
        ("0102 0202 1101 1102 0202 1103 1104", [[1, 2], [3, 4]], "1, 2\n3, 4"),
        ("0100", [], "empty"),
        ("00", None, "–"),
        ("0904 deadbeef", "deadbeef", "deadbeef"),
        ("0404 a0", "1010", "1010"),
        ("0300", False, "false"),
    ],
)
def test_a_class_that_nobody_knows_shows_what_it_is_made_of(raw, nice, cell):
    assert shown(UNKNOWN, raw) == nice
    assert values.spelled(nice) == cell
    assert values.named(AttributeRef(9999, Obis(bytes(6)), 2)).endswith("class 9999, not in our catalogue")


def test_a_value_that_does_not_decode_is_the_meter_s_fault():
    with pytest.raises(MalformedAnswer, match=r"^3,1-0:1\.8\.0\*255,2: the meter's value does not decode: "):
        shown(REGISTER, "0182ffff")


def test_a_date_time_at_any_depth_has_its_utc():
    utc = datetime(2025, 11, 20, 12, tzinfo=UTC)
    whole = shown(AttributeRef.parse("4,1-0:1.6.0*255,5"), "090c" + NOON.hex())
    assert whole == {"local": "2025-11-20 12:00:00", "deviation": 0, "utc": utc}
    assert shown(UNKNOWN, "0201090c" + NOON.hex()) == [whole]
    assert values.spelled(whole) == "2025-11-20 12:00:00 = 2025-11-20 12:00:00 UTC"


def test_utc_is_not_made_up_where_nobody_says_the_zone():
    unsaid = shown(UNKNOWN, "090c" + UNSAID.hex())
    assert unsaid == {"local": "2025-11-20 12:00:00", "deviation": None, "utc": None}
    assert values.spelled(unsaid) == "2025-11-20 12:00:00, UTC unknown (--family)"
    assert shown(UNKNOWN, "090c" + UNSAID.hex(), rule=TimeZoneRule())["utc"] == datetime(2025, 11, 20, 12, tzinfo=UTC)


def test_twelve_characters_are_not_taken_for_a_time():
    assert shown(UNKNOWN, "090c" + b"GDM000700001".hex()) == "GDM000700001"


def test_what_a_terminal_would_obey_is_not_printed(capfd):
    output.show_table(["value"], [[values.spelled(shown(UNKNOWN, "0a05" + b"\x1b[2Jx".hex()))]])
    assert "\x1b" not in capfd.readouterr().out


# --- profiles


class Meter:
    """Gives attributes of one profile, and notes how its rows were selected."""

    def __init__(self, attributes: dict[int, bytes], rows: list[bytes]) -> None:
        self._attributes = attributes
        self._rows = rows
        self.selected: object = None

    async def get(self, attribute, selection=None):
        if attribute.attribute != buffers.BUFFER:
            return self._attributes[attribute.attribute]
        self.selected = profile.parse_selection(selection) if selection else None
        return b"\x01" + bytes((len(self._rows),)) + b"".join(self._rows)

    async def number(self, attribute):
        raw = self._attributes.get(attribute.attribute)
        return axdr.decode(raw).value if raw else None


def row(hour: int) -> bytes:
    return b"\x02\x02\x09\x0c" + NOON[:5] + bytes((hour,)) + NOON[6:] + b"\x11" + bytes((hour,))


def rows_read(window: Window, sort_method: int, hours: list[int], quirk: str = "range"):
    captured = (profile.CLOCK, profile.CaptureObject(1, Obis.parse("0-0:96.11.0*255"), 2))
    attributes = {
        buffers.CAPTURE_OBJECTS: profile.encode_capture_objects(captured),
        buffers.SORT_METHOD: axdr.encode(axdr.enum(sort_method)),
        buffers.ENTRIES_IN_USE: axdr.encode(axdr.u32(len(hours))),
    }
    meter = Meter(attributes, [row(hour) for hour in hours])
    family = MeterProfile(name="x", quirks=Quirks(selective_access=quirk))  # type: ignore[arg-type]
    linked = Linked(Target(Carrier(Reach(False, "tcp", "h", 1), None, Hdlc()), Association(16, 1), family, None, 1.0))
    linked._meter = meter  # type: ignore[assignment]
    try:
        found = linked.profile(Obis.parse("0-0:99.98.0*255"), window)
    finally:
        linked.close()
    return meter.selected, [cells[1] for cells in found.rows]


def test_the_last_rows_of_a_meter_that_sorts_the_newest_first_are_its_first():
    selected, hours = rows_read(Window(last=2), buffers.NEWEST_FIRST, [9, 8])
    assert selected == profile.ByEntry(1, 2)
    assert hours == [8, 9]  # shown as of any meter: the oldest first


def test_the_last_rows_of_any_other_meter_are_its_last():
    selected, hours = rows_read(Window(last=2), 1, [1, 2, 3])
    assert selected == profile.ByEntry(2, 3)
    assert hours == [2, 3]


def test_a_meter_that_cannot_select_by_time_gives_all_and_it_is_cut_here():
    noon = datetime(2025, 11, 20, 5, tzinfo=UTC)
    selected, hours = rows_read(Window(start=noon, end=noon.replace(hour=7)), 1, [4, 5, 6, 7, 8], "entry")
    assert selected is None
    assert hours == [5, 6, 7]


def test_quantities_are_decimal_only_where_they_must():
    assert values.quantity(5, 0) == 5
    assert isinstance(values.quantity(5, -1), Decimal)
