"""A meter over a link of the command's own: one association a command, opened and released around it.

Source: DLMS Blue Book: Register (class 3), Profile generic (7), Clock (8), Disconnect control (70).
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

from dcu.cli.access import Answer, ClockAnswer, RelayAnswer, Rows, Window
from dcu.cli.direct import OBJECT_LIST, Direct, Target, connect
from dcu.clock import SystemClock
from dcu.collect.jobs.discovery import SCALED, SCALER_UNIT
from dcu.collect.meter_profile import Families, load
from dcu.cosem import axdr, objects, profile
from dcu.cosem.datetimes import CosemDateTime, TimeZoneRule
from dcu.cosem.selection import Selection
from dcu.errors import AccessDenied, ConfigError, LinkTimeout, MalformedAnswer, MeterError
from dcu.model import AttributeRef, Column, MethodRef, Obis

T = TypeVar("T")

VALUE = 2  # the attribute that people mean when they name an object
PROFILE, CLOCK, RELAY = 7, 8, 70
CLOCK_OBJECT = Obis.parse("0-0:1.0.0*255")
RELAY_OBJECT = Obis.parse("0-0:96.3.10*255")
METHODS = {"disconnect": 1, "reconnect": 2}


def time_rule(family: str | None) -> TimeZoneRule:
    """The clock's rule of a meter family: by name, or a file ending in .toml; the Blue Book's where None is named."""
    if family is None:
        return TimeZoneRule()
    return (load(Path(family)) if family.endswith(".toml") else Families().get(family)).time_rule


class Linked:
    """An `Access` over a link of our own."""

    def __init__(self, where: Target, rule: TimeZoneRule) -> None:
        self._where = where
        self._rule = rule
        self._held = b""
        self._meter: Direct | None = None
        self._open = AsyncExitStack()
        self._runner = asyncio.Runner()

    def object_list(self) -> bytes:
        self._held = self._held or self._run(lambda meter: meter.get(OBJECT_LIST))
        return self._held

    def close(self) -> None:
        """Release the association."""
        self._runner.run(self._open.aclose())
        self._runner.close()

    def read(self, names: Sequence[str]) -> list[Answer]:
        async def main(meter: Direct) -> list[Answer]:
            return [await self._read(meter, name, held) for name in names]

        held = objects.decode_object_list(self.object_list()) if any("," not in name for name in names) else ()
        return self._run(main)

    def profile(self, obis: Obis, window: Window) -> Rows:
        async def main(meter: Direct) -> Rows:
            captured = profile.decode_capture_objects(await meter.get(AttributeRef(PROFILE, obis, 3)))
            period = await meter.maybe(AttributeRef(PROFILE, obis, 4))
            seconds = period.value if period and isinstance(period.value, int) else 0
            clock = profile.clock_column(captured)
            raw = await meter.get(AttributeRef(PROFILE, obis, 2), await self._selection(meter, obis, window))
            rows = profile.decode_rows(raw, self._rule, clock_column=clock, period=seconds)
            columns = [Column(item.ref, *await self._scale(meter, item.ref)) for item in captured]
            return Rows(obis, tuple(columns), rows)

        return self._run(main)

    def clock(self, sync: bool) -> ClockAnswer:
        async def main(meter: Direct) -> ClockAnswer:
            before, offset = await self._offset(meter)
            if not sync:
                return ClockAnswer(before, offset)
            if not SystemClock().trusted:
                raise ConfigError("this machine's clock is not synchronised: a meter's is not set from it")
            now = CosemDateTime.from_utc(datetime.now(UTC), self._rule)
            await meter.set(AttributeRef(CLOCK, CLOCK_OBJECT, 2), axdr.octets(now.encode()))
            _, after = await self._offset(meter)
            return ClockAnswer(before, offset, True, after)

        return self._run(main)

    def relay(self, command: str) -> RelayAnswer:
        async def main(meter: Direct) -> RelayAnswer:
            answered = True
            try:
                await meter.action(MethodRef(RELAY, RELAY_OBJECT, METHODS[command]), axdr.i8(0))
            except LinkTimeout:
                answered = False  # never sent again: what it did is read back
            output = bool((await meter.value(AttributeRef(RELAY, RELAY_OBJECT, 2))).value)
            state = objects.decode_control_state(await meter.get(AttributeRef(RELAY, RELAY_OBJECT, 3)))
            waiting = state == objects.ControlState.READY_FOR_RECONNECTION  # for the customer's button
            done = not output if command == "disconnect" else output or waiting
            if not answered and not done:
                raise LinkTimeout(f"the meter did not answer the {command}, and its relay did not move")
            return RelayAnswer(output, state.name.lower(), done)

        return self._run(main)

    def _run(self, main: Callable[[Direct], Awaitable[T]]) -> T:
        async def session() -> T:
            if self._meter is None:
                self._meter = await self._open.enter_async_context(connect(self._where))
            return await main(self._meter)

        return self._runner.run(session())

    async def _read(self, meter: Direct, name: str, held: Sequence[objects.ObjectListElement]) -> Answer:
        try:
            attribute = _resolve(name, held)
            raw = await meter.get(attribute)
        except MeterError as error:
            if isinstance(error, MalformedAnswer):
                raise
            return Answer(name, error=str(error))
        return Answer(name, attribute, raw, *await self._scale(meter, attribute))

    async def _scale(self, meter: Direct, attribute: AttributeRef) -> tuple[int, str]:
        if attribute.attribute not in SCALED.get(attribute.class_id, ()):
            return 0, ""
        try:
            raw = await meter.get(AttributeRef(attribute.class_id, attribute.obis, SCALER_UNIT[attribute.class_id]))
        except AccessDenied:
            return 0, ""
        found = objects.decode_scaler_unit(raw)
        return found.scaler, found.symbol

    async def _selection(self, meter: Direct, obis: Obis, window: Window) -> Selection | None:
        if window.last is not None:
            in_use = (await meter.value(AttributeRef(PROFILE, obis, 7))).value
            if not isinstance(in_use, int):
                raise MalformedAnswer(f"profile {obis}: its entries in use are no number")
            return profile.by_entry(max(1, in_use - window.last + 1), in_use)
        if window.start is None:
            return None
        end = window.end or datetime.now(UTC) + timedelta(hours=1)  # the meter's clock may be ahead of ours
        first, last = (CosemDateTime.from_utc(at, self._rule) for at in (window.start, end))
        return profile.by_range(profile.CLOCK, first, last)

    async def _offset(self, meter: Direct) -> tuple[datetime, float]:
        asked = datetime.now(UTC)
        raw = await meter.get(AttributeRef(CLOCK, CLOCK_OBJECT, 2))
        middle = asked + (datetime.now(UTC) - asked) / 2
        at = objects.decode_clock(raw).utc(self._rule)
        return at, (at - middle).total_seconds()


def _resolve(name: str, held: Sequence[objects.ObjectListElement]) -> AttributeRef:
    if "," in name:
        return AttributeRef.parse(name)
    obis = Obis.parse(name)
    found = next((item for item in held if item.obis == obis), None)
    if found is None:
        raise AccessDenied(f"the meter holds no object {obis} for this client: see `dcu objects`", 4)
    return AttributeRef(found.class_id, obis, VALUE)
