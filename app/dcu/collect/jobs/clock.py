"""A meter's clock: compared with ours, and set right within bounds, only while ours is trusted (design decision 8).

The offset is measured over one exchange, not over the time spent waiting for it; what the exchange itself takes is the
measurement's error. A shift that went unanswered is never repeated before the clock was read back.

Source: DLMS Blue Book, Clock (class 8): time, shift_time (±900 s).
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from dcu.clock import epoch_seconds
from dcu.collect.decoding import decoding
from dcu.collect.dialogue import Exchange
from dcu.collect.jobs.effect import Deed, accomplish
from dcu.collect.meter import Meter
from dcu.collect.scheduler import Job
from dcu.collect.services import Services
from dcu.cosem import axdr, objects
from dcu.cosem.client import ClientSession
from dcu.cosem.datetimes import CosemDateTime
from dcu.errors import JobError
from dcu.model import AttributeRef, MethodRef, Priority

CLOCK, TIME, SHIFT_TIME = 8, 2, 6
LARGEST_SHIFT = 900  # seconds, by the standard


@dataclass(frozen=True, slots=True)
class Offset:
    """seconds: by how much the meter's clock is ahead; error: how exactly that is known."""

    meter_time: datetime
    seconds: float
    error: float


@dataclass(frozen=True, slots=True)
class ClockReport:
    """meter_time: UTC seconds; offset: before; adjusted: whether the clock was touched; after: the offset read back."""

    meter_time: int
    offset: float
    adjusted: bool
    after: float | None = None


async def measure(services: Services, meter: Meter, priority: Priority) -> Offset:
    """Read the meter's clock and compare."""
    ref = AttributeRef(CLOCK, meter.profile.clock_object, TIME)

    def timed(session: ClientSession) -> Exchange[tuple[datetime, bytes, datetime]]:
        asked = services.clock.now()
        raw = yield from session.get(ref)
        return asked, raw, services.clock.now()

    asked, raw, answered = await meter.run(timed, priority)
    with decoding("the clock"):
        meter_time = objects.decode_clock(raw).utc(meter.profile.time_rule)
    half = (answered - asked) / 2
    return Offset(meter_time, (meter_time - (asked + half)).total_seconds(), half.total_seconds() + 1.0)


async def synchronise(services: Services, job: Job, actor: str) -> ClockReport:
    """Set the meter's clock right where it is off by more than the tolerance, and by no more than the bound."""
    meter, rules = job.meter, job.meter.profile.clock
    before = await measure(services, meter, job.priority)
    seen = epoch_seconds(before.meter_time)
    if abs(before.seconds) <= max(rules.tolerance, before.error):
        return ClockReport(seen, before.seconds, False)
    off = f"its clock is off by {before.seconds:+.0f} s"
    if rules.adjust == "never":
        raise JobError(f"{meter.name}: {off}, and its profile forbids to touch it")
    if not services.clock.trusted:
        raise JobError(f"{meter.name}: {off}, but ours is not synchronised itself")
    if abs(before.seconds) > rules.largest:
        text = f"{off}, more than the {rules.largest:g} s that may be set"
        services.events.tell("alarm", meter=meter.name, kind="clock", message=text)
        await services.store.audit(actor, "clock", meter.name, f"left alone: {text}")
        raise JobError(f"{meter.name}: {text}: see to it")
    shift = rules.adjust == "shift" and abs(before.seconds) <= LARGEST_SHIFT
    deed = Deed(
        actor,
        "clock",
        f"{before.seconds:+.1f} s off, {'shift' if shift else 'set'}",
        send=_shift(meter, -round(before.seconds)) if shift else _set(services, meter, before),
        look=lambda: measure(services, meter, job.priority),
        shows=lambda now: abs(now.seconds) <= max(rules.tolerance, now.error),
        priority=job.priority,
    )
    effect = await accomplish(services, job, deed)
    if not effect.confirmed:
        raise JobError(f"{meter.name}: its clock was set, and is still off by {effect.value.seconds:+.0f} s")
    return ClockReport(seen, before.seconds, True, effect.value.seconds)


def _shift(meter: Meter, seconds: int) -> Callable[[ClientSession], Exchange[Any]]:
    method = MethodRef(CLOCK, meter.profile.clock_object, SHIFT_TIME)
    return lambda session: session.action(method, axdr.encode(axdr.i16(seconds)))


def _set(services: Services, meter: Meter, before: Offset) -> Callable[[ClientSession], Exchange[Any]]:
    ref = AttributeRef(CLOCK, meter.profile.clock_object, TIME)

    def exchange(session: ClientSession) -> Exchange[None]:
        arrives = services.clock.now() + timedelta(seconds=before.error - 1.0)  # our time when the request is there
        written = CosemDateTime.from_utc(arrives, meter.profile.time_rule)
        return session.set(ref, axdr.encode(axdr.octets(written.encode())))

    return exchange
