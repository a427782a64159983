"""A meter's clock: compared with ours, and set right within bounds, only while ours is trusted (design decision 8).

The offset is measured over one exchange, not over the time spent waiting for it; what the exchange itself takes is the
measurement's error. Where our clock was stepped meanwhile, nothing was measured. A shift that went unanswered is never
repeated before the clock was read back. A clock that shows no time at all is set, whatever the bounds.

Source: DLMS Blue Book, Clock (class 8): time, shift_time (±900 s).
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from dcu.clock import epoch_seconds
from dcu.collect.decoding import decoding
from dcu.collect.jobs.effect import Deed, accomplish
from dcu.collect.meter import Meter
from dcu.collect.scheduler import Job
from dcu.collect.services import Services
from dcu.collect.steps import lead
from dcu.cosem import axdr, objects
from dcu.cosem.client import ClientSession
from dcu.cosem.datetimes import CosemDateTime
from dcu.cosem.exchange import Exchange
from dcu.errors import DecodeError, JobError
from dcu.model import AttributeRef, MethodRef, Priority

CLOCK, TIME, SHIFT_TIME = 8, 2, 6
LARGEST_SHIFT = 900  # seconds, by the standard
STEP = 0.25  # seconds by which our clock may leave the monotonic one while it is compared: slewing is 0.0005 a second
STEPPED = 1.0  # the same from there until it is set right, which may take minutes
LOOKS = 3  # until our clock was not stepped meanwhile


@dataclass(frozen=True, slots=True)
class Seen:
    """What a meter's clock showed, at which time of ours, in the middle of an exchange of twice `half` seconds.

    lead: of our clock before the monotonic one.
    """

    shown: CosemDateTime
    at: datetime
    half: float
    lead: float


@dataclass(frozen=True, slots=True)
class Offset:
    """seconds: by how much the meter's clock is ahead; error: how exactly that is known."""

    meter_time: datetime
    seconds: float
    error: float


@dataclass(frozen=True, slots=True)
class ClockReport:
    """meter_time: UTC seconds; offset: before; adjusted: whether the clock was touched; after: the offset read back.

    Where the meter had no time before, meter_time and offset are those read back.
    """

    meter_time: int
    offset: float
    adjusted: bool
    after: float | None = None


async def measure(services: Services, meter: Meter, priority: Priority) -> Offset:
    """Read the meter's clock and compare. Raises JobError where it shows no time."""
    seen = await _look(services, meter, priority)
    offset = _offset(seen, meter)
    if offset is None:
        raise JobError(f"{meter.name}: its clock shows no time ({seen.shown}): set it")
    return offset


async def _look(services: Services, meter: Meter, priority: Priority) -> Seen:
    ref = AttributeRef(CLOCK, meter.profile.clock_object, TIME)
    loop, clock = asyncio.get_running_loop(), services.clock

    def timed(session: ClientSession) -> Exchange[tuple[float, float, bytes, float, float]]:
        led, asked = lead(clock), loop.time()
        raw = yield from session.get(ref)
        return led, asked, raw, loop.time(), lead(clock)

    for _ in range(LOOKS):
        led, asked, raw, answered, leads = await meter.run(timed, priority)
        if abs(leads - led) <= STEP:
            with decoding("the clock"):
                shown = objects.decode_clock(raw)
            half = (answered - asked) / 2
            return Seen(shown, datetime.fromtimestamp(asked + half + led, UTC), half, led)
    raise JobError(f"{meter.name}: our own clock is being stepped: compare again when it is right")


def _offset(seen: Seen, meter: Meter) -> Offset | None:
    """None where the clock shows no time: it was never set, or stood still for too long."""
    try:
        meter_time = seen.shown.utc(meter.profile.time_rule)
    except DecodeError:
        return None
    return Offset(meter_time, (meter_time - seen.at).total_seconds(), seen.half + 1.0)


async def synchronise(services: Services, job: Job, actor: str) -> ClockReport:
    """Set the meter's clock right where it is off by more than the tolerance, and by no more than the bound."""
    meter, rules = job.meter, job.meter.profile.clock
    seen = await _look(services, meter, job.priority)
    before = _offset(seen, meter)
    if before and abs(before.seconds) <= max(rules.tolerance, before.error):
        return ClockReport(epoch_seconds(before.meter_time), before.seconds, False)
    off = f"its clock is off by {before.seconds:+.0f} s" if before else "its clock shows no time"
    if rules.adjust == "never":
        raise JobError(f"{meter.name}: {off}, and its profile forbids to touch it")
    if not services.clock.trusted:
        raise JobError(f"{meter.name}: {off}, but ours is not synchronised itself")
    if before and abs(before.seconds) > rules.largest:
        text = f"{off}, more than the {rules.largest:g} s that may be set"
        services.events.tell("alarm", meter=meter.name, kind="clock", message=text)
        await services.store.audit(actor, "clock", meter.name, f"left alone: {text}")
        raise JobError(f"{meter.name}: {text}: see to it")
    effect = await accomplish(services, job, _deed(services, job, actor, seen, before))
    after = effect.value
    if not effect.confirmed:
        raise JobError(f"{meter.name}: its clock was set, and is still off by {after.seconds:+.0f} s")
    told = before or after
    return ClockReport(epoch_seconds(told.meter_time), told.seconds, True, after.seconds)


def _deed(services: Services, job: Job, actor: str, seen: Seen, before: Offset | None) -> Deed[Offset]:
    meter, rules = job.meter, job.meter.profile.clock
    if before and rules.adjust == "shift" and abs(before.seconds) <= LARGEST_SHIFT:
        detail, send = f"{before.seconds:+.1f} s off, shift", _shift(services, meter, seen, -round(before.seconds))
    else:
        detail = f"{before.seconds:+.1f} s off, set" if before else f"it shows no time ({seen.shown}), set"
        send = _set(services, meter, seen)
    return Deed(
        actor,
        "clock",
        detail,
        send=send,
        look=lambda: measure(services, meter, job.priority),
        shows=lambda now: abs(now.seconds) <= max(rules.tolerance, now.error),
        priority=job.priority,
    )


def _shift(services: Services, meter: Meter, seen: Seen, seconds: int) -> Callable[[ClientSession], Exchange[Any]]:
    method = MethodRef(CLOCK, meter.profile.clock_object, SHIFT_TIME)

    def exchange(session: ClientSession) -> Exchange[Any]:
        if abs(lead(services.clock) - seen.lead) > STEPPED:
            raise JobError(f"{meter.name}: our own clock was stepped since its clock was compared")
        return (yield from session.action(method, axdr.encode(axdr.i16(seconds))))

    return exchange


def _set(services: Services, meter: Meter, seen: Seen) -> Callable[[ClientSession], Exchange[Any]]:
    ref = AttributeRef(CLOCK, meter.profile.clock_object, TIME)

    def exchange(session: ClientSession) -> Exchange[None]:
        arrives = services.clock.now() + timedelta(seconds=seen.half)  # our time when the request is there
        written = CosemDateTime.from_utc(arrives, meter.profile.time_rule)
        return session.set(ref, axdr.encode(axdr.octets(written.encode())))

    return exchange
