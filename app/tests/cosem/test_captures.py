"""The values in the captures of real meters, against what another project decodes (tests/captures/README.md)."""

import xml.etree.ElementTree as ET
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcu.cosem import axdr, catalogue, pushed
from dcu.cosem.axdr import Data, Tag
from dcu.cosem.datetimes import CosemDateTime, TimeZoneRule
from dcu.errors import DecodeError
from dcu.model import Obis
from tests.cosem.strategies_axdr import mutated

CAPTURES = Path(__file__).parents[1] / "captures"
AIDON = "hdlc_norway_han_1phase"
KAIFA = "hdlc_kaifa_ma304h3e"
LANDIS = "hdlc_landis_gyr_zmf100"
ENERGOMERA = "raw_energomera"
SAGEMCOM = "raw_sagecom_xt211"
SALZBURG = "raw_salzburg_netz"
VIENNA = TimeZoneRule(ZoneInfo("Europe/Vienna"))

ELEMENTS = {
    "ARRAY": (Tag.ARRAY,),
    "STRUCTURE": (Tag.STRUCTURE,),
    "NullData": (Tag.NULL,),
    "ENUM": (Tag.ENUM,),
    "INT8": (Tag.INTEGER,),
    "INT16": (Tag.LONG,),
    "UINT16": (Tag.LONG_UNSIGNED,),
    "UINT32": (Tag.DOUBLE_LONG_UNSIGNED,),
    "OCTETSTRING": (Tag.OCTET_STRING,),
    "VISIBLESTRING": (Tag.VISIBLE_STRING,),
}


def body(name: str) -> bytes:
    """The value in a data-notification, found by hand: what reads the frames is tested elsewhere."""
    raw = bytes.fromhex((CAPTURES / f"{name}.log").read_text().replace(":", " ").rstrip("',"))
    if name.startswith("hdlc"):
        raw = raw[raw.index(b"\xe6\xe7\x00") + 3 : -3]
    assert raw[0] == 0x0F
    after = raw[5:]
    if name == KAIFA:
        assert after[:2] == b"\x09\x0c"
        after = after[1:]
    return after[1 + after[0] :]


def same(data: Data, element: ET.Element) -> None:
    """That `data` is what the XML says."""
    if element.tag == "AttributeDescriptor":
        assert isinstance(data.value, tuple)
        assert [item.value for item in data.value] == [
            int(element[0].attrib["Value"], 16),
            bytes(map(int, element[1].attrib["Value"].split("."))),
            int(element[2].attrib["Value"], 16),
        ]
        return
    assert data.tag in ELEMENTS[element.tag]
    if isinstance(data.value, tuple):
        assert len(data.value) == len(element) == int(element.attrib["Qty"])
        for item, child in zip(data.value, element, strict=True):
            same(item, child)
    elif isinstance(data.value, int):
        assert data.value == int(element.attrib["Value"])
        if data.tag == Tag.ENUM and "Unit" in element.attrib and element.attrib["Unit"] != "a":
            assert catalogue.unit(data.value) == element.attrib["Unit"]
    elif data.value is not None:
        assert element.attrib["Value"] in _written(data.value)


def _written(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value, value.rstrip("\0"))
    assert isinstance(value, bytes)
    if len(value) == 6 and value[5] == 255:
        return (".".join(map(str, value)),)
    if len(value) == 12:
        moment = CosemDateTime.parse(value)
        sign, minutes = "+-"[(moment.deviation or 0) < 0], abs(moment.deviation or 0)
        return (str(moment), f"{moment}.00 {sign}{minutes // 60:02d}:{minutes % 60:02d}")
    return (value.decode().rstrip("\0"),)


@pytest.mark.parametrize("name", [AIDON, KAIFA, ENERGOMERA, SALZBURG])
def test_values_of_real_meters_are_what_another_project_decodes(name: str) -> None:
    raw = body(name)
    data = axdr.decode(raw)
    same(data, ET.parse(CAPTURES / f"{name}_decoded.xml").getroot()[1])
    assert axdr.encode(data) == raw
    assert axdr.skip(raw, 0) == len(raw)
    assert pushed.decode_body(raw) == (data, ())


def test_attribute_descriptors_without_tags_are_read() -> None:
    with pytest.raises(DecodeError):
        axdr.decode(body(SAGEMCOM))
    data, habits = pushed.decode_body(body(SAGEMCOM))
    assert habits == (pushed.UNTAGGED,)
    same(data, ET.parse(CAPTURES / f"{SAGEMCOM}_decoded.xml").getroot()[1])


def test_exchanged_tags_and_lengths_are_read_and_named() -> None:
    """The other project's XML shows what it makes of them; the meter's list is plain to see in the hexadecimal."""
    with pytest.raises(DecodeError):
        axdr.decode(body(LANDIS))
    data, habits = pushed.decode_body(body(LANDIS))
    assert habits == (pushed.EXCHANGED,)
    assert isinstance(data.value, tuple)
    found = {row.value[0].value.hex(): row.value[1].value for row in data.value}  # type: ignore[union-attr]
    assert len(found) == 18
    assert (found["01001f0700ff"], found["0100200700ff"], found["0000040800ff"]) == (0x00F4, 0x091A, 0x05DB)
    same(data.value[3], ET.parse(CAPTURES / f"{LANDIS}_decoded.xml").getroot()[1][3])


def test_the_clocks_of_real_meters_are_right_in_utc() -> None:
    clock = axdr.decode(body(SALZBURG)).value[1].value  # type: ignore[index,union-attr]
    assert CosemDateTime.parse(clock).utc(VIENNA) == datetime(2022, 11, 12, 15, 54, tzinfo=UTC)


def test_every_code_that_another_project_names_has_a_name() -> None:
    for name in (AIDON, SALZBURG, LANDIS, ENERGOMERA, SAGEMCOM):
        for element in ET.parse(CAPTURES / f"{name}_decoded.xml").iter("OCTETSTRING"):
            if "Name" in element.attrib:
                assert catalogue.name(Obis.parse(element.attrib["Value"])), element.attrib


@given(mutated(st.sampled_from([body(name) for name in (SAGEMCOM, LANDIS, AIDON)])) | st.binary(max_size=200))
def test_reading_bodies_is_total(raw: bytes) -> None:
    try:
        data, _ = pushed.decode_body(raw)
    except DecodeError:
        return
    axdr.encode(data)
