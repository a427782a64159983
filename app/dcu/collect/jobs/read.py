"""On-demand reading of attributes, as people name them: an OBIS code, or CLASS,OBIS,ATTRIBUTE.

The class behind a bare OBIS code comes from the meter's object list, the scale of a register from the meter too.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from dcu.collect.jobs.discovery import SCALED, SCALER_UNIT, elements, object_list, read, scale
from dcu.collect.meter import Meter
from dcu.collect.services import Services
from dcu.cosem.apdu import DataAccessResult
from dcu.errors import AccessDenied, ConfigError
from dcu.model import AttributeRef, Obis, Priority

VALUE = 2  # the attribute that people mean when they name an object


@dataclass(frozen=True, slots=True)
class Value:
    """raw: the encoded value; scaler and unit: of a register's value."""

    attribute: AttributeRef
    raw: bytes
    scaler: int = 0
    unit: str = ""


async def read_objects(
    services: Services, meter: Meter, names: Sequence[str], priority: Priority
) -> list[Value | AccessDenied]:
    """One value, or the meter's refusal, per name."""
    results: list[Value | AccessDenied] = []
    for name in names:
        try:
            results.append(await _read_one(meter, await _attribute(services, meter, name, priority), priority))
        except AccessDenied as denied:
            results.append(denied)
    return results


async def _read_one(meter: Meter, ref: AttributeRef, priority: Priority) -> Value:
    refs = [ref]
    if ref.attribute in SCALED.get(ref.class_id, ()):
        refs.append(AttributeRef(ref.class_id, ref.obis, SCALER_UNIT[ref.class_id]))
    raw, *scales = await read(meter, refs, priority)
    if isinstance(raw, DataAccessResult):
        raise AccessDenied(f"{ref}: {raw}", raw)
    return Value(ref, raw, *scale(scales[0])) if scales else Value(ref, raw)


async def _attribute(services: Services, meter: Meter, name: str, priority: Priority) -> AttributeRef:
    if "," in name:
        return AttributeRef.parse(name)
    obis = Obis.parse(name)
    held = elements(await object_list(services, meter, priority))
    found = next((item for item in held if item.obis == obis), None)
    if found is None:
        raise AccessDenied(f"{meter.name} holds no object {obis}: see `dcu objects`", DataAccessResult.OBJECT_UNDEFINED)
    return AttributeRef(found.class_id, obis, VALUE)


def parsed(names: Sequence[str]) -> list[str]:
    """Check what people wrote before the meter is bothered. Raises ConfigError."""
    if not names:
        raise ConfigError("say what to read: 1-0:1.8.0*255, or CLASS,OBIS,ATTRIBUTE")
    for name in names:
        AttributeRef.parse(name) if "," in name else Obis.parse(name)
    return list(names)
