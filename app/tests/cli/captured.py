"""Captures of real meters, with what another decoder says of them (esphome-libs/dlms_parser, Apache-2.0)."""

import re
from pathlib import Path
from xml.etree import ElementTree

from dcu.model import Obis

CAPTURES = Path(__file__).parents[1] / "captures"
SOUND = [
    "hdlc_kaifa_ma304h3e",
    "hdlc_kamstrup_omnipower",
    "hdlc_norway_han_1phase",
    "raw_energomera",
    "raw_sagecom_xt211",
    "raw_salzburg_netz",
]
DAMAGED = CAPTURES / "hdlc_landis_gyr_zmf100.log"


def keys_file(path: Path, **keys: str) -> Path:
    path.write_text("".join(f'{name} = "{value}"\n' for name, value in keys.items()))
    path.chmod(0o600)
    return path


# --- what `_decoded.xml` says, read as nested lists

TYPES = {
    "UINT8": "unsigned",
    "UINT16": "long-unsigned",
    "UINT32": "double-long-unsigned",
    "INT8": "integer",
    "INT16": "long",
    "INT32": "double-long",
    "ENUM": "enum",
    "OCTETSTRING": "octet-string",
    "VISIBLESTRING": "visible-string",
}
GURUX = {
    "UInt8": "UINT8",
    "UInt16": "UINT16",
    "UInt32": "UINT32",
    "Int8": "INT8",
    "Int16": "INT16",
    "Int32": "INT32",
    "Enum": "ENUM",
    "OctetString": "OCTETSTRING",
    "String": "VISIBLESTRING",
}


def expected(name: str) -> tuple[str | None, object]:
    """The date-time and the body, where a leaf is (type, value as written there)."""
    root = ElementTree.parse(CAPTURES / f"{name}_decoded.xml").getroot()
    notification = root if root.tag == "DataNotification" else root.find("DataNotification")
    date_time, body = notification
    return date_time.get("Value"), _expected(body)


def _expected(element: ElementTree.Element) -> object:
    if element.tag in ("STRUCTURE", "ARRAY"):
        assert len(element) == int(element.get("Qty"))
        return [_expected(child) for child in element]
    if element.tag == "AttributeDescriptor":
        class_id, instance, attribute = (child.get("Value") for child in element)
        return [("UINT16", str(int(class_id, 16))), ("OCTETSTRING", instance), ("INT8", str(int(attribute, 16)))]
    if element.tag == "NullData":
        return ("NULL", None)
    return (element.tag, element.get("Value"))


def assert_equal(node: dict, wanted: object) -> None:
    """A value of our JSON against what the other project says."""
    if isinstance(wanted, list):
        assert node["type"] in ("structure", "array")
        assert len(node["value"]) == len(wanted)
        for item, part in zip(node["value"], wanted, strict=True):
            assert_equal(item, part)
        return
    kind, text = wanted
    if kind == "NULL":
        assert node == {"type": "null", "value": None}
        return
    assert node["type"] == TYPES[kind]
    if kind == "OCTETSTRING" and re.fullmatch(r"\d+(\.\d+){5}", text):
        assert node["obis"] == str(Obis.parse(text))
    elif kind == "OCTETSTRING" and re.match(r"\d{4}-\d\d-\d\d \d\d:", text):
        assert_clock(node["date_time"], text)
    elif kind == "OCTETSTRING":
        assert node["text"] == text
    else:
        assert str(node["value"]).rstrip("\0") == text


def assert_clock(clock: dict, text: str) -> None:
    """`2022-11-12 16:54:00.00 -01:00`: what follows the time is the raw deviation, not an ISO offset."""
    local, sign, hours, minutes = re.fullmatch(r"([\d-]+ [\d:]+)(?:\.00)?(?: ([+-])(\d\d):(\d\d))?", text).groups()
    assert clock["local"] == local
    raw = None if sign is None else int(f"{sign}{int(hours) * 60 + int(minutes)}")
    assert clock["deviation"] == raw


def assert_equal_xml(element: ElementTree.Element, wanted: object) -> None:
    """A value of the Gurux XML, where everything is hex, against what the other project says."""
    if isinstance(wanted, list):
        assert element.tag in ("Structure", "Array")
        assert len(element) == len(wanted) == int(element.get("Qty"), 16)
        for child, part in zip(element, wanted, strict=True):
            assert_equal_xml(child, part)
        return
    kind, text = wanted
    if kind == "NULL":
        assert element.tag == "None"
        return
    assert GURUX[element.tag] == kind
    value = element.get("Value")
    if kind == "VISIBLESTRING":
        assert value.rstrip("\0") == text
    elif kind != "OCTETSTRING":
        number = int(value, 16)
        bits = 4 * len(value)
        assert str(number - (1 << bits) if kind.startswith("INT") and number >> bits - 1 else number) == text
    elif re.fullmatch(r"\d+(\.\d+){5}", text):
        assert bytes.fromhex(value) == Obis.parse(text).raw
    elif not re.match(r"\d{4}-\d\d-\d\d \d\d:", text):
        assert bytes.fromhex(value).rstrip(b"\0").decode() == text
