"""Discovery: what a meter holds, read from the meter once and kept in the store.

The association's object list (class 15) says which objects there are; of a load profile the capture objects, the
capture period and the scalers of its columns make the layout that polling needs. Nothing of it is hard-coded.
"""

import logging
from dataclasses import dataclass

import msgspec

from dcu.collect.decoding import decoding
from dcu.collect.jobs.transfer import transfer
from dcu.collect.layout import (
    CAPTURE_OBJECTS,
    CAPTURE_PERIOD,
    LARGEST_PERIOD,
    LARGEST_ROW,
    PROFILE_GENERIC,
    Captured,
    ProfileLayout,
    is_status,
)
from dcu.collect.meter import Meter
from dcu.collect.services import Services
from dcu.cosem import objects
from dcu.cosem.apdu import DataAccessResult
from dcu.cosem.profile import CaptureObject, clock_column, decode_capture_objects
from dcu.errors import AccessDenied, JobError
from dcu.model import AttributeRef, Obis, Priority

OBJECT_LIST = AttributeRef(15, Obis.parse("0-0:40.0.0*255"), 2)
SCALER_UNIT = {3: 3, 4: 3, 5: 4}  # register, extended register, demand register: which attribute scales the values
SCALED = {3: (2,), 4: (2,), 5: (2, 3)}  # the attributes that it scales

log = logging.getLogger(__name__)


async def object_list(services: Services, meter: Meter, priority: Priority, *, refresh: bool = False) -> bytes:
    """The meter's object list as it sent it; from the store where it was read before."""
    key = f"objects/{meter.name}"
    if not refresh and (kept := await services.store.recall(key)) is not None:
        return kept
    raw = await transfer(meter, lambda session: session.get(OBJECT_LIST), priority)
    elements(raw)
    await services.store.remember(key, raw)
    return raw


def elements(raw: bytes) -> tuple[objects.ObjectListElement, ...]:
    """Raises MalformedAnswer."""
    with decoding("the object list"):
        return objects.decode_object_list(raw)


async def profile_layout(services: Services, meter: Meter, profile: Obis, priority: Priority) -> ProfileLayout:
    """The layout of a load profile, discovered where the store does not know it."""
    key = layout_key(meter.name, profile)
    if (kept := await services.store.recall(key)) is not None:
        return services.layouts.decoded(kept)
    if not _holds(await object_list(services, meter, priority), profile):
        raise AccessDenied(
            f"{meter.name} holds no profile {profile}: see `dcu objects`", DataAccessResult.OBJECT_UNDEFINED
        )
    return await _learnt(services, meter, profile, await _description(meter, profile, priority), priority)


def _holds(raw: bytes, profile: Obis) -> bool:
    """A function of its own, so that no list of objects waits in memory while the meter is asked more."""
    return any(item.obis == profile and item.class_id == PROFILE_GENERIC for item in elements(raw))


async def verified_layout(services: Services, meter: Meter, profile: Obis, priority: Priority) -> ProfileLayout:
    """The layout of a load profile, compared with what the meter says now, and learnt anew where that is another."""
    known = await profile_layout(services, meter, profile, priority)
    try:
        now = await _description(meter, profile, priority)
    except AccessDenied as denied:
        log.warning("meter %s: the layout of %s cannot be compared: %s", meter.name, profile, denied)
        return known
    captured = tuple((column.attribute, column.index) for column in known.captured)
    if (known.period, captured) == (now.period, tuple((str(column.ref), column.data_index) for column in now.captured)):
        return known
    log.warning("meter %s: profile %s has another layout now", meter.name, profile)
    return await _learnt(services, meter, profile, now, priority)


def layout_key(meter: str, profile: Obis) -> str:
    """Under which name the store keeps a layout."""
    return f"layout/{meter}/{profile}"


@dataclass(frozen=True, slots=True)
class _Description:
    """What a profile says of itself."""

    period: int
    clock: int
    captured: tuple[CaptureObject, ...]


async def _description(meter: Meter, profile: Obis, priority: Priority) -> _Description:
    """Raises JobError where it has not a row a period (an event log): nothing is wrong with the meter then."""
    wanted = [AttributeRef(PROFILE_GENERIC, profile, attribute) for attribute in (CAPTURE_OBJECTS, CAPTURE_PERIOD)]
    results = await read(meter, wanted, priority)
    raw_captured, raw_period = (given(ref, raw) for ref, raw in zip(wanted, results, strict=True))
    with decoding(f"the layout of profile {profile}"):
        captured = decode_capture_objects(raw_captured)
        period = objects.decode_int(raw_period)
    clock = clock_column(captured)
    if not 1 <= period <= LARGEST_PERIOD:
        raise JobError(f"{meter.name}: profile {profile}: a capture period of {period} s cannot be collected")
    if not 2 <= len(captured) <= LARGEST_ROW:
        raise JobError(f"{meter.name}: profile {profile}: {len(captured)} columns cannot be collected")
    if clock is None:
        raise JobError(f"{meter.name}: profile {profile} captures no clock: its rows have no time")
    return _Description(period, clock, captured)


async def _learnt(
    services: Services, meter: Meter, profile: Obis, found: _Description, priority: Priority
) -> ProfileLayout:
    """Complete a layout with the scales of its columns, and keep it."""
    scales = await _scales(meter, found.captured, priority)
    status = next((index for index, column in enumerate(found.captured) if is_status(column.ref)), None)
    columns = tuple(
        Captured(str(column.ref), column.data_index, *scale)
        for column, scale in zip(found.captured, scales, strict=True)
    )
    layout = ProfileLayout(found.period, found.clock, status, columns)
    raw = msgspec.msgpack.encode(layout)
    await services.store.set_layout(meter.name, profile, layout.columns)
    await services.store.remember(layout_key(meter.name, profile), raw)
    log.info("meter %s: %s has %d columns, every %d s", meter.name, profile, len(layout.captured), layout.period)
    return services.layouts.decoded(raw)


async def _scales(meter: Meter, captured: tuple[CaptureObject, ...], priority: Priority) -> list[tuple[int, str]]:
    """Scaler and unit of each column; (0, "") for what has none, or does not tell."""
    where = {
        index: AttributeRef(column.class_id, column.obis, SCALER_UNIT[column.class_id])
        for index, column in enumerate(captured)
        if column.attribute in SCALED.get(column.class_id, ())
    }
    refs = list(dict.fromkeys(where.values()))
    known = dict(zip(refs, await read(meter, refs, priority), strict=True))
    return [scale(known[where[index]]) if index in where else (0, "") for index in range(len(captured))]


def scale(raw: bytes | DataAccessResult) -> tuple[int, str]:
    """Raises MalformedAnswer."""
    if isinstance(raw, DataAccessResult):
        return 0, ""
    with decoding("a scaler"):
        scaler_unit = objects.decode_scaler_unit(raw)
    return scaler_unit.scaler, scaler_unit.symbol


async def read(meter: Meter, refs: list[AttributeRef], priority: Priority) -> list[bytes | DataAccessResult]:
    """Read attributes: in one request where the family takes lists, else one after the other."""
    if not refs:
        return []
    if meter.profile.session.get_list and len(refs) > 1:
        wanted = tuple((ref, None) for ref in refs)
        return list(await transfer(meter, lambda session: session.get_list(wanted), priority))
    results: list[bytes | DataAccessResult] = []
    for ref in refs:
        try:
            results.append(await transfer(meter, lambda session, ref=ref: session.get(ref), priority))  # type: ignore[misc]
        except AccessDenied as denied:
            results.append(DataAccessResult(denied.result))
    return results


def given(ref: AttributeRef, result: bytes | DataAccessResult) -> bytes:
    """Raises AccessDenied where the meter did not give the value."""
    if isinstance(result, DataAccessResult):
        raise AccessDenied(f"{ref}: {result}", result)
    return result
