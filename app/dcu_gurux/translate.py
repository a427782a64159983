# SPDX-License-Identifier: GPL-2.0-only
"""The verbs: APDU to XML and back, attribute value to object and back, all by gurux-dlms.

gurux-dlms raises whatever its code happens to meet (IndexError, AttributeError, a bare Exception) and reads past the
end of what it was given without a word: so every call is fenced, and what it wrote is read back before it is believed.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from gurux_dlms import GXByteBuffer, GXDLMSTranslator
from gurux_dlms.enums import TranslatorOutputType

from dcu_gurux import objects
from dcu_gurux.frames import Failure

T = TypeVar("T")

_DOCTYPE = "<!DOCTYPE"  # neither entities nor references in an APDU's XML


def apdu_to_xml(arguments: dict[str, Any]) -> str:
    """{"apdu": hex, "comments": false} → XML in the Gurux translator's simple form."""
    apdu = _hex(arguments, "apdu")
    translator = _translator()
    translator.comments = arguments.get("comments") is True
    xml = str(_fenced("malformed", lambda: translator.pduToXml(apdu)))
    if not xml.startswith("<"):
        raise Failure("malformed", "gurux-dlms makes nothing of this")
    return xml


def xml_to_apdu(arguments: dict[str, Any]) -> str:
    """{"xml": XML} → hex."""
    xml = arguments.get("xml")
    if not isinstance(xml, str):
        raise Failure("request", "xml: a string")
    if _DOCTYPE in xml.upper():
        raise Failure("malformed", "a document type has no place in an APDU's XML")
    written = _fenced("malformed", lambda: _translator().xmlToPdu(xml))
    return _bytes(written).hex()


def value_to_object(arguments: dict[str, Any]) -> dict[str, Any]:
    """{"class_id", "version", "attribute", "value": hex} → {"known", "class", "fields", "exact"}."""
    target = _target(arguments)
    value = _hex(arguments, "value")
    return _fenced("malformed", lambda: objects.read(*target, value))


def object_to_value(arguments: dict[str, Any]) -> str:
    """{"class_id", "version", "attribute", "fields"} → hex of the A-XDR value."""
    target = _target(arguments)
    fields = arguments.get("fields")
    if not isinstance(fields, dict):
        raise Failure("request", "fields: a JSON object, as value_to_object gives it")
    return _fenced("unsupported", lambda: objects.write(*target, fields)).hex()


VERBS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "apdu_to_xml": apdu_to_xml,
    "xml_to_apdu": xml_to_apdu,
    "value_to_object": value_to_object,
    "object_to_value": object_to_value,
}


def warm_up() -> None:
    """Run every verb once, so that what Python and gurux-dlms import late is imported before the sandbox closes."""
    apdu = "c401c1000202060000000109060100010800ff"
    assert xml_to_apdu({"xml": apdu_to_xml({"apdu": apdu, "comments": True})}) == apdu
    for attribute, value in ((2, "0600000001"), (3, "02020fff161e")):
        target = {"class_id": 3, "version": 0, "attribute": attribute}
        assert object_to_value({**target, **value_to_object({**target, "value": value})}) == value
    value_to_object({"class_id": 8, "version": 0, "attribute": 2, "value": "090c07e60b0c0610360000ffc400"})
    for nonsense in ("c4", "ff00"):
        try:
            apdu_to_xml({"apdu": nonsense})
        except Failure:
            continue


def _translator() -> Any:
    return GXDLMSTranslator(TranslatorOutputType.SIMPLE_XML)


def _fenced(kind: str, call: Callable[[], T]) -> T:
    try:
        return call()
    except Failure:
        raise
    except MemoryError:
        raise Failure("unsupported", "it needs more memory than the worker has") from None
    except Exception as error:
        raise Failure(kind, f"gurux-dlms cannot translate this: {type(error).__name__}: {error}") from None


def _target(arguments: dict[str, Any]) -> tuple[int, int, int]:
    numbers = tuple(arguments.get(name) for name in ("class_id", "version", "attribute"))
    class_id, version, attribute = numbers
    if not (_within(class_id, 1, 0xFFFF) and _within(version, 0, 255) and _within(attribute, 1, 127)):
        raise Failure("request", "class_id 1..65535, version 0..255, attribute 1..127")
    return class_id, version, attribute  # type: ignore[return-value]  # checked above


def _within(number: object, low: int, high: int) -> bool:
    return isinstance(number, int) and not isinstance(number, bool) and low <= number <= high


def _hex(arguments: dict[str, Any], name: str) -> bytes:
    try:
        value = bytes.fromhex(arguments[name])
    except (KeyError, TypeError, ValueError):
        raise Failure("request", f"{name}: bytes in hex") from None
    if not value:
        raise Failure("malformed", f"{name}: no bytes")
    return value


def _bytes(buffer: Any) -> bytes:
    return bytes(buffer.array()) if isinstance(buffer, GXByteBuffer) else bytes(buffer)
