"""Values by name: what `interpret` shows of an attribute, written back, is the attribute again."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcu.cosem import axdr, catalogue, described, objects
from dcu.cosem.catalogue import Attribute
from dcu.cosem.data import Tag
from dcu.cosem.datetimes import CosemDate
from dcu.cosem.objects import AttributeAccess, MethodAccess, ObjectListElement
from dcu.errors import ConfigError
from dcu.model import AttributeRef, Obis
from neighbourhood.device import thing_of
from neighbourhood.equipment import THINGS
from neighbourhood.meter import MANAGEMENT
from tests.neighbourhood.conversation import Street


def attribute(class_id, number):
    known = catalogue.interface_class(class_id)
    return known.attribute(number)


@pytest.mark.parametrize(
    ("class_id", "number", "value", "wire"),
    [
        (22, 2, {"script_logical_name": "0-0:10.0.107*255", "script_selector": 1}, "0202 0906 00000a006bff 120001"),
        (22, 4, [{"time": "22:00", "date": "*-12-24"}], "0101 0202 0904 16000000 0905 ffff0c18ff"),
        (22, 4, [["06:30:15", "*-03-last Sun"]], "0101 0202 0904 061e0f00 0905 ffff03fe07"),
        (22, 3, "one time, wildcard in date allowed", "1601"),
        (21, 2, [5, 1 << 33], "0102 0600000005 140000000200000000"),
        (71, 9, [1, 2], "0102 120001 120002"),
        (6, 3, [{"mask_name": "DAY", "index_list": [0, 2]}], "0101 0202 0903 444159 0102 1100 1102"),
        (15, 10, [[7, "Anna"]], "0101 0202 1107 0a04416e6e61"),
        (8, 5, "*-03-last Sun 02:00", "090c ffff03fe07 02000000 8000ff"),
        (20, 7, [["S", "*-01-01 **:**", "W"]], "0101 0203 0901 53 090c ffff0101ff ffff0000 8000ff 0901 57"),
    ],
)
def test_a_value_is_written_by_its_parts(class_id, number, value, wire):
    assert described.encoded(value, attribute(class_id, number)).hex() == wire.replace(" ", "")


PUSHED = [3, "1-0:1.8.0*255", 2, 0]
HEAD = "12 0003 0906 0100010800ff 0f 02 12 0000"


@pytest.mark.parametrize(
    ("version", "number", "value", "wire"),
    [
        (0, 2, [PUSHED], f"0101 0204 {HEAD}"),
        (1, 2, [[*PUSHED, ["none", None]]], f"0101 0205 {HEAD} 0202 1600 00"),
        (
            1,
            2,
            [[*PUSHED, {"restriction_type": "by entry", "restriction_value": {"from_entry": 1, "to_entry": 24}}]],
            f"0101 0205 {HEAD} 0202 1602 0202 0600000001 0600000018",
        ),
        (
            2,
            2,
            [[*PUSHED, ["by date", ["2026-01-01", "2026-01-31"]], [[8, "0-0:1.0.0*255", 2, 0]]]],
            f"0101 0206 {HEAD} 0202 1601 0202 0905 07ea0101ff 0905 07ea011fff"
            "0101 0204 12 0008 0906 0000010000ff 0f 02 12 0000",
        ),
        (1, 7, 30, "12 001e"),
        (
            2,
            7,
            {"repetition_delay_min": 10, "repetition_delay_exponent": 200, "repetition_delay_max": 600},
            "0203 12000a 1200c8 120258",
        ),
        (1, 9, 1, "0f01"),
        (
            1,
            10,
            [["authentication and encryption", ["", "", "4443550000000001", "", ["identified", 0]]]],
            "0101 0202 1602 0205 0900 0900 0908 4443550000000001 0900 0202 1600 1600",
        ),
        (
            2,
            10,
            [[2, ["", "", "", "", ["agreed", {"key_parameters": "02", "key_ciphered_data": ""}]]]],
            "0101 0202 1602 0205 0900 0900 0900 0900 0202 1602 0202 0901 02 0900",
        ),
        (2, 11, "confirmed, retry on missing confirmation", "1602"),
        (2, 12, ["2026-01-01 00:00:00", 3600], "0202 19 07ea01010400000000000000 06 00000e10"),
    ],
)
def test_a_push_setup_is_written_and_shown_by_its_parts_in_each_version(version, number, value, wire):
    what = catalogue.interface_class(40, version).attribute(number)
    raw = described.encoded(value, what)
    assert raw.hex() == wire.replace(" ", "")
    shown = objects.interpret(AttributeRef(40, Obis.parse("0-0:25.9.0*255"), number), axdr.decode(raw), version)
    assert described.encoded(shown, what) == raw
    unsaid = objects.interpret(AttributeRef(40, Obis.parse("0-0:25.9.0*255"), number), axdr.decode(raw))
    assert unsaid == shown  # a meter whose version we do not know


RIGHTS = {"attribute_access": [[2, "read", [1, 2]], [3, 3, None]], "method_access": [[1, "access"]]}


@pytest.mark.parametrize("method", [3, 4], ids=["add_object", "remove_object"])
def test_an_element_of_an_object_list_is_written_by_its_parts(method):
    """As the meter lists it: what is written is what the object list is read as."""
    what = catalogue.interface_class(15).parameter(method)
    raw = described.encoded([7, 1, "1-0:99.1.0*255", RIGHTS], what)
    (element,) = objects.decode_object_list(b"\x01\x01" + raw)
    assert element == ObjectListElement(
        7,
        1,
        Obis.parse("1-0:99.1.0*255"),
        (AttributeAccess(2, 1, (1, 2)), AttributeAccess(3, 3)),
        (MethodAccess(1, 1),),
    )
    assert axdr.encode(objects.list_element(element)) == raw


@pytest.mark.parametrize("selectors", [1, "all", ["x"], {}])
def test_selectors_that_are_none_are_told(selectors):
    rights = {"attribute_access": [[2, 1, selectors]], "method_access": []}
    with pytest.raises(ConfigError, match="access_selectors"):
        described.encoded([7, 1, "1-0:99.1.0*255", rights], catalogue.interface_class(15).parameter(3))


@pytest.mark.parametrize(
    ("class_id", "number", "value", "says"),
    [
        (22, 2, {"script_logical_name": "0-0:10.0.107*255"}, "script_selector belongs here"),
        (22, 4, {}, "a list"),
        (22, 4, [["24:00", "*"]], r"execution_time\[0\].time: .* no time of day"),
        (22, 4, [["22:00", "tomorrow"]], "a date is written"),
        (22, 3, "never", r"1 \(one time"),
        (22, 2, ["1-0", 1], "no OBIS code"),
        (22, 2, ["0-0:10.0.107*255", 70_000], "executed_script"),
        (71, 10, "yes", "true or false"),
        (20, 7, [[1, 2, 3]], "a text belongs here"),
    ],
)
def test_what_does_not_fit_is_told_where_and_why(class_id, number, value, says):
    with pytest.raises(ConfigError, match=says):
        described.encoded(value, attribute(class_id, number))


def test_every_value_of_a_meter_that_is_shown_by_its_parts_can_be_written_back():
    meter, back = Street(1).meter(1), 0
    meter.works.tariffs.passive = meter.works.tariffs.active
    for thing in THINGS:
        known = catalogue.interface_class(thing.class_id, thing.version)
        for each in thing.attributes:
            what = known.attribute(each.number) if known else None
            if each.get is None or what is None or not catalogue.structure(what.form):
                continue
            raw = each.get(meter, MANAGEMENT)
            ref = AttributeRef(thing.class_id, thing.obis, each.number)
            shown = objects.interpret(ref, axdr.decode(raw), thing.version)
            if "parameter" not in str(shown):  # of a script's action: any type
                assert described.encoded(shown, what) == raw, (thing.obis, what.name)
                back += 1
    assert back >= 14
    assert thing_of(THINGS[0].obis) is THINGS[0]


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
WHAT = [each for known in catalogue.classes() for each in (*known.attributes, *filter(None, known.parameters))]


@given(json, st.sampled_from(WHAT))
def test_anything_is_a_value_or_a_mistake_that_is_told(value, what):
    with suppress(ConfigError):
        axdr.decode(described.encoded(value, what))


@given(st.text(max_size=30))
def test_reading_dates_and_times_is_total(text):
    for read in (described.date, described.time, described.date_time):
        with suppress(ValueError):
            read(text).encode()


@given(st.binary(min_size=5, max_size=5))
def test_a_date_that_is_shown_is_read_again(raw):
    date = CosemDate.parse(raw)
    with suppress(ValueError):
        again = described.date(str(date))
        assert (again.month, again.day) == (date.month, date.day)


def test_a_structure_in_a_structure_has_a_bound():
    what = Attribute(2, "endless", Tag.ARRAY, "array")
    value = []
    for _ in range(20):
        value = [value]
    with pytest.raises(ConfigError):
        described.encoded(value, what)
