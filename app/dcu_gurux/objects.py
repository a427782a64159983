# SPDX-License-Identifier: GPL-2.0-only
"""Attribute values as JSON objects and back, for every interface class that gurux-dlms knows.

gurux-dlms parses an attribute into fields of a Python object of the class. Which fields belong to an attribute is not
written down anywhere, so it is observed: the fields that `setValue` touches. Their values become JSON:

  null, true, 5, "text", [..]            as they are
  {"uint32": 5}, {"octets": "00ff"}      a value that carries its A-XDR type; {"bits": "0101"}, {"float32": 1.5}
  {"array": [..]}, {"structure": [..]}   an array or structure whose meaning the class leaves open
  {"enum": "Unit", "value": 30, "name": "ACTIVE_ENERGY"}
  {"datetime": "07e6…", "text": "…"}     also "date" and "time": as on the wire
  {"object": "GXDLMSScript", "fields": {..}}
"""

import contextlib
import re
import sys
from enum import IntEnum, IntFlag
from typing import Any

from gurux_dlms import (
    GXBitString,
    GXByteBuffer,
    GXDate,
    GXDateTime,
    GXDLMSClient,
    GXDLMSSettings,
    GXEnum,
    GXFloat32,
    GXFloat64,
    GXInt8,
    GXInt16,
    GXInt32,
    GXInt64,
    GXTime,
    GXUInt8,
    GXUInt16,
    GXUInt32,
    GXUInt64,
    ValueEventArgs,
)
from gurux_dlms._GXObjectFactory import _GXObjectFactory
from gurux_dlms.enums import DataType, DateTimeExtraInfo, DateTimeSkips, ErrorCode
from gurux_dlms.GXArray import GXArray
from gurux_dlms.GXStructure import GXStructure
from gurux_dlms.internal._GXCommon import _GXCommon
from gurux_dlms.internal._GXDataInfo import _GXDataInfo
from gurux_dlms.objects import GXDLMSObject

from dcu_gurux.frames import Failure

MAX_DEPTH = 32  # meters nest five deep; a reference that bites its own tail must end

_TYPED: dict[str, Any] = {
    "int8": GXInt8, "int16": GXInt16, "int32": GXInt32, "int64": GXInt64,
    "uint8": GXUInt8, "uint16": GXUInt16, "uint32": GXUInt32, "uint64": GXUInt64,
    "a-xdr-enum": GXEnum, "float32": GXFloat32, "float64": GXFloat64, "octets": bytearray.fromhex, "bits": GXBitString,
}  # fmt: skip
_TYPE_NAMES = {kind: name for name, kind in _TYPED.items() if name not in ("octets", "bits")}
_TIMES = {"date": (GXDate, DataType.DATE), "time": (GXTime, DataType.TIME), "datetime": (GXDateTime, DataType.DATETIME)}
_HOLDERS: dict[str, Any] = {
    "array": lambda items: _filled(GXArray(), items),
    "structure": lambda items: _filled(GXStructure(), items),
    "tuple": tuple,
}
_BOOKKEEPING = set(vars(GXDLMSObject(0))) - {"logicalName"}
_HELPERS = {
    kind.__name__: kind
    for name, module in list(sys.modules.items())
    if name.startswith("gurux_dlms.objects.")
    for kind in vars(module).values()
    if isinstance(kind, type) and kind.__module__.startswith("gurux_dlms.objects.") and not issubclass(kind, IntEnum)
}
_ENUMS = {
    kind.__name__: kind
    for name, module in list(sys.modules.items())
    if name.startswith("gurux_dlms.") and "enums" in name
    for kind in vars(module).values()
    if isinstance(kind, type) and issubclass(kind, IntEnum | IntFlag)
}
_PRIVATE = re.compile("_GX[A-Za-z0-9]+?__")  # gurux-dlms hides some fields behind properties
_VAGUE = DateTimeSkips.YEAR | DateTimeSkips.MONTH | DateTimeSkips.DAY | DateTimeSkips.HOUR | DateTimeSkips.MINUTE


def read(class_id: int, version: int, attribute: int, value: bytes) -> dict[str, Any]:
    """The attribute's fields; `exact` tells whether writing them gives the same bytes."""
    parsed = _parsed(value)
    target = _new(class_id, version)
    if target is None or attribute > target.getAttributeCount():
        fields = {"value": plain(parsed)}
        return {"known": False, "class": None, "fields": fields, "exact": _generic(parsed) == value}
    name = type(target).__name__
    touched = _observed(target, attribute, parsed)
    fields = {_public(field): plain(found) for field, found in vars(target).items() if field in touched}
    return {"known": True, "class": name, "fields": fields, "exact": _exact(target, attribute, value)}


def write(class_id: int, version: int, attribute: int, fields: dict[str, Any]) -> bytes:
    """The attribute's value from its fields, as `read` gives them; refused unless it reads back as the same."""
    target = _new(class_id, version)
    if target is None or attribute > target.getAttributeCount():
        if set(fields) != {"value"}:
            raise Failure("request", f"class {class_id} attribute {attribute} is unknown: its one field is value")
        return _generic(restored(fields["value"]))
    for field, wanted in fields.items():
        _set(target, field, restored(wanted))
    value = _encoded(target, attribute)
    asked = {_public(field): _snapshot(found) for field, found in vars(target).items()}
    again = read(class_id, version, attribute, value)["fields"]
    if any(again.get(field) != asked.get(field) for field in fields):
        raise Failure("unsupported", f"gurux-dlms does not read back what it wrote for {type(target).__name__}")
    return value


def plain(value: Any, depth: int = 0) -> Any:
    """JSON for whatever gurux-dlms puts into a field."""
    if depth > MAX_DEPTH:
        raise Failure("unsupported", "nested too deeply")
    if value is None or type(value) in (bool, int, str):
        return value
    if type(value) in _TYPE_NAMES:
        return {_TYPE_NAMES[type(value)]: float(value) if isinstance(value, float) else int(value)}
    if isinstance(value, IntFlag | IntEnum):
        return {"enum": type(value).__name__, "value": int(value), "name": value.name}
    if isinstance(value, float):
        return {"float64": value}
    if isinstance(value, bytes | bytearray | GXByteBuffer):
        return {"octets": (bytes(value.array()) if isinstance(value, GXByteBuffer) else value).hex()}
    if isinstance(value, GXBitString):
        return {"bits": str(value)}
    if isinstance(value, GXDateTime):
        return _plain_time(value)
    if isinstance(value, list | tuple):
        items = [plain(item, depth + 1) for item in value]
        wrapper = {GXArray: "array", GXStructure: "structure", tuple: "tuple"}.get(type(value))
        return {wrapper: items} if wrapper else items
    return _plain_object(value, depth)


def restored(value: Any, depth: int = 0) -> Any:
    """What gurux-dlms wants for the JSON that `plain` made."""
    if depth > MAX_DEPTH:
        raise Failure("request", "nested too deeply")
    if isinstance(value, list):
        return [restored(item, depth + 1) for item in value]
    if not isinstance(value, dict):
        return value
    if "object" in value:
        return _restored_object(value, depth)
    if "reference" in value:
        target = _GXObjectFactory.createObject(_ENUMS["ObjectType"](value["reference"]["class_id"]))
        target.logicalName = value["reference"]["obis"]
        return target
    if "enum" in value:
        if value["enum"] not in _ENUMS:
            raise Failure("request", f"no such enum: {value['enum']!r}")
        return _ENUMS[value["enum"]](value["value"])
    tag: str = next(iter(value), "")
    inner: Any = value.get(tag)
    if tag in _HOLDERS:
        return _HOLDERS[tag](restored(item, depth + 1) for item in inner)
    if tag in _TIMES:
        return _GXCommon.changeType(_settings(), bytes.fromhex(inner), _TIMES[tag][1])
    if tag not in _TYPED:
        raise Failure("request", f"no such type: {tag!r}")
    return _TYPED[tag](inner)


def _plain_time(value: Any) -> Any:
    tag, (_, kind) = next(item for item in _TIMES.items() if isinstance(value, item[1][0]))
    if value.value is None:
        return {tag: ""}
    buffer = GXByteBuffer()
    _GXCommon.setData(_settings(), buffer, kind, value)
    raw = bytearray(buffer.array())[1:]
    if tag != "time" and value.extra & (DateTimeExtraInfo.DST_BEGIN | DateTimeExtraInfo.DST_END):
        raw[2] = (
            0xFE if value.extra & DateTimeExtraInfo.DST_BEGIN else 0xFD
        )  # gurux-dlms writes them the wrong way round
    exact = tag == "datetime" and not value.skip & _VAGUE and not value.extra
    return {tag: raw.hex(), "text": value.value.isoformat()} if exact else {tag: raw.hex()}


def _plain_object(value: Any, depth: int) -> Any:
    if isinstance(value, GXDLMSObject):
        return {"reference": {"class_id": int(value.objectType), "obis": value.logicalName}}
    if type(value).__name__ not in _HELPERS:
        raise Failure("unsupported", f"a {type(value).__name__} has no JSON form")
    fields = {_public(name): plain(item, depth + 1) for name, item in vars(value).items()}
    return {"object": type(value).__name__, "fields": fields}


def _restored_object(value: dict[str, Any], depth: int) -> Any:
    kind = _HELPERS.get(value["object"])
    if kind is None or issubclass(kind, GXDLMSObject):
        raise Failure("request", f"no such object: {value['object']!r}")
    made = kind()
    for name, item in value["fields"].items():
        _set(made, name, restored(item, depth + 1))
    return made


def _new(class_id: int, version: int) -> Any:
    """An object of the class, None where gurux-dlms does not know it."""
    try:
        target = _GXObjectFactory.createObject(_ENUMS["ObjectType"](class_id))
    except ValueError:
        return None
    if type(target) is GXDLMSObject:
        return None
    target.version = version
    return target


def _observed(target: Any, attribute: int, parsed: Any) -> set[str]:
    """Have `target` take the value; return the names of the fields that this touched."""
    kind = type(target)
    touched: set[str] = set()

    def watch(self: Any, name: str, value: Any) -> None:
        touched.add(name)
        object.__setattr__(self, name, value)

    before = {name: _snapshot(value) for name, value in vars(target).items() if name not in _BOOKKEEPING}
    target.__class__ = type(kind.__name__, (kind,), {"__setattr__": watch})
    try:
        GXDLMSClient(True).updateValue(target, attribute, parsed)
    finally:
        target.__class__ = kind
    changed = {name for name, value in before.items() if _snapshot(vars(target)[name]) != value}
    return touched - _BOOKKEEPING | changed


def _snapshot(value: Any) -> Any:
    """`plain`, where there is one: to see what changed inside a field."""
    with contextlib.suppress(Failure):
        return plain(value)
    return None


def _public(name: str) -> str:
    return _PRIVATE.sub("", name)


def _set(target: Any, field: str, value: Any) -> None:
    hidden = _BOOKKEEPING if isinstance(target, GXDLMSObject) else set()
    names = {_public(name): name for name in vars(target) if name not in hidden}
    if field in names:
        setattr(target, names[field], value)
    elif isinstance(getattr(type(target), field, None), property):
        setattr(target, field, value)
    else:
        kind = type(target).__name__
        raise Failure("request", f"{kind} has no field {field!r}; it has {', '.join(sorted(names))}")


def _exact(target: Any, attribute: int, value: bytes) -> bool:
    try:
        return _encoded(target, attribute) == value
    except Exception:  # it can read what it cannot write: not a fault of the value
        return False


def _encoded(target: Any, attribute: int) -> bytes:
    settings = _settings()
    arguments = ValueEventArgs(settings, target, attribute)
    value = target.getValue(settings, arguments)
    if arguments.error != ErrorCode.OK:
        raise Failure("unsupported", f"gurux-dlms does not write {type(target).__name__} attribute {attribute}")
    kind = target.getDataType(attribute)
    if kind == DataType.OCTET_STRING and isinstance(value, str) and target.getUIDataType(attribute) == DataType.STRING:
        value = value.encode()
    if kind == DataType.NONE:  # a CHOICE: the value knows
        kind = _GXCommon.getDLMSDataType(value)
    buffer = GXByteBuffer()
    _GXCommon.setData(settings, buffer, kind, value)
    return bytes(buffer.array())


def _generic(value: Any) -> bytes:
    buffer = GXByteBuffer()
    _GXCommon.setData(_settings(), buffer, _GXCommon.getDLMSDataType(value), value)
    return bytes(buffer.array())


def _parsed(value: bytes) -> Any:
    buffer, info = GXByteBuffer(value), _GXDataInfo()
    parsed = _GXCommon.getData(_settings(), buffer, info)
    if not info.complete or buffer.position != len(buffer):
        raise Failure("malformed", "the value is cut short, or has bytes behind it")
    return parsed


def _filled(holder: Any, items: Any) -> Any:
    holder.extend(items)
    return holder


def _settings() -> Any:
    return GXDLMSSettings(False, None)
