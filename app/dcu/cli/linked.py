"""A meter over a link of the command's own: one association a command, opened when first needed, released at its end.

Source: DLMS Blue Book: Register (class 3), Profile generic (7), Clock (8), Disconnect control (70).
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import SystemRandom
from typing import TypeVar

from dcu.cli import buffers
from dcu.cli.access import Answer, ClockAnswer, RelayAnswer, Rows, TokenAnswer, Window
from dcu.cli.direct import REFUSED, Direct, connect
from dcu.cli.options import Target
from dcu.clock import SystemClock
from dcu.collect.decoding import decoding
from dcu.collect.jobs import token
from dcu.collect.jobs.discovery import OBJECT_LIST, SCALED, SCALER_UNIT, scale
from dcu.collect.meter_profile import MeterProfile, TokenWay
from dcu.cosem import axdr, objects, profile
from dcu.cosem.association import Association
from dcu.cosem.datetimes import CosemDateTime, TimeZoneRule
from dcu.cosem.selection import Selection
from dcu.errors import DcuError, DecodeError, JobError, LinkClosed, LinkError
from dcu.model import AttributeRef, MethodRef, Obis

T = TypeVar("T")
Work = Callable[[Direct], Awaitable[T]]

CLOCK, RELAY = 8, 70
SHIFT_TIME, LARGEST_SHIFT = 6, 900  # a clock's method, and the seconds that it takes
METHODS = {"disconnect": 1, "reconnect": 2}


class Linked:
    """An `Access` over a link of our own."""

    def __init__(self, where: Target) -> None:
        self._where = where
        self._family = where.family
        self._rule = where.rule or TimeZoneRule()
        self._meter: Direct | None = None
        self._open = AsyncExitStack()
        self._runner = asyncio.Runner()
        self.random = SystemRandom()

    @property
    def family(self) -> MeterProfile:
        return self._family

    @property
    def ciphered(self) -> bool:
        """Whether the meter refuses a request that arrives after a later one."""
        return self._where.association.secured

    @property
    def association(self) -> Association:
        return self._where.association

    def as_another(self, association: Association) -> None:
        """Give the link up; the next thing that is asked goes by `association`."""
        self._runner.run(self._open.aclose())
        self._meter = None
        self._where = replace(self._where, association=association)

    @property
    def name(self) -> str:
        """Which meter this is, for what is kept of it."""
        return f"{self._where.carrier}, server {self._where.association.server_sap}"

    @property
    def rule(self) -> TimeZoneRule | None:
        return self._where.rule

    def object_list(self) -> bytes:
        return self._run(lambda meter: meter.get(OBJECT_LIST))

    def read(self, attributes: Sequence[AttributeRef]) -> list[Answer]:
        async def work(meter: Direct) -> list[Answer]:
            answers: list[Answer] = []
            over: DcuError | None = None
            for attribute in attributes:
                answer = Answer(attribute, error=over) if over else await _read(meter, attribute)
                if answer.error and not isinstance(answer.error, REFUSED):
                    over = answer.error  # what follows on this association would only fail slowly
                answers.append(answer)
            return answers

        return self._run(work)

    def profile(self, obis: Obis, window: Window) -> Rows:
        async def work(meter: Direct) -> Rows:
            captured = buffers.captured_by(await meter.get(buffers.attribute(obis, buffers.CAPTURE_OBJECTS)), obis)
            period = await meter.number(buffers.attribute(obis, buffers.CAPTURE_PERIOD)) or 0
            newest_first = await meter.number(buffers.attribute(obis, buffers.SORT_METHOD)) == buffers.NEWEST_FIRST
            selection = None
            if not window.whole and not self._selects_by_entry(window):
                selection = await self._selection(meter, obis, window, newest_first=newest_first)
            raw = await meter.get(buffers.attribute(obis, buffers.BUFFER), selection)
            scales = [await _scale(meter, item.ref) for item in captured]
            found = buffers.rows_of(
                raw, obis, captured, scales, period=-period if newest_first else period, rule=self.rule
            )
            if newest_first:
                found.rows.reverse()
            found.rows[:] = buffers.cut(found.rows, profile.clock_column(captured), window)
            return found

        return self._run(work)

    def clock(self, sync: bool) -> ClockAnswer:
        before, offset, zoned = self._run(self._offset)
        rules = self._family.clock
        if not sync or (zoned and abs(offset) <= rules.tolerance):
            return ClockAnswer(before, offset, zoned=zoned)
        if not zoned:
            raise JobError("the meter's clock does not say its deviation from UTC: name a --family with its time zone")
        off = f"the meter's clock is {offset:+.0f} s off"
        if rules.adjust == "never":
            raise JobError(f"{off}, and its family forbids to touch it (clock.adjust)")
        if not SystemClock().trusted:
            raise JobError(f"{off}, and this machine's own is not synchronised: nothing is set from it")
        if abs(offset) > rules.largest:
            raise JobError(f"{off}, more than the {rules.largest:g} s that are set right (a --family's clock.largest)")
        why = self._act(lambda meter: self._adjust(meter, offset))
        try:
            after = self._run(self._offset)[1]
        except DcuError as error:
            raise _unknown("clock's setting", why or error) from None
        if why and abs(after) > rules.tolerance:
            raise JobError(f"the clock was not set ({why}): it was read back, and is {after:+.0f} s off")
        return ClockAnswer(before, offset, True, after)

    def relay(self, command: str) -> RelayAnswer:
        obis = self._family.relay_object

        async def look(meter: Direct) -> tuple[bool, objects.ControlState]:
            output = bool(await meter.value(AttributeRef(RELAY, obis, 2)))
            with decoding("the relay's state"):
                return output, objects.decode_control_state(await meter.get(AttributeRef(RELAY, obis, 3)))

        why = self._act(lambda meter: _called(meter, MethodRef(RELAY, obis, METHODS[command]), axdr.i8(0)))
        try:
            output, state = self._run(look)
        except DcuError as error:
            raise _unknown(command, why or error) from None
        waits = state is objects.ControlState.READY_FOR_RECONNECTION  # for the customer's button
        done = not output if command == "disconnect" else output or waits
        if why and not done:
            raise JobError(f"the {command} was not executed ({why}): the relay was read back, and did not move")
        return RelayAnswer(output, state.name.lower(), done)

    def token(self, digits: str) -> TokenAnswer:
        way = self._family.token

        async def enter(meter: Direct) -> None:
            await meter.run(lambda session: token.enter(session, way, digits))

        def look() -> token.Seen:
            return self._run(lambda meter: meter.run(lambda session: token.seen(session, way)))

        before = look()
        why = self._act(enter)
        try:
            arrived = token.arrived(before, look())
        except DcuError as error:
            raise _unknown("token", why or error) from None
        if why and not arrived:
            raise JobError(f"the token did not arrive ({why}): it was read back; enter it again")
        try:
            found = self._run(lambda meter: _judged(meter, way, confirmed=arrived))
        except LinkError as error:
            raise token.unheard(error) from None
        return TokenAnswer(found.accepted, found.code, found.meaning, found.confirmed)

    def write(self, attribute: AttributeRef, raw: bytes, *, unconfirmed: bool = False) -> bytes | None:
        if self.association.broadcast:
            self._run(lambda meter: meter.tell(lambda session: session.unconfirmed([(attribute, raw)])))
            return None
        if unconfirmed:
            why = self._act(lambda meter: meter.tell(lambda session: session.unconfirmed([(attribute, raw)])))
        else:
            why = self._act(lambda meter: meter.set(attribute, raw))
        try:
            after = self._run(lambda meter: meter.get(attribute))
        except REFUSED:
            if why:
                raise _unknown("writing", why) from None
            return None
        except DcuError as error:
            raise _unknown("writing", why or error) from None
        if why and after != raw:
            raise JobError(f"{attribute} was not written ({why}): it was read back, and holds another value")
        return after

    def call(self, method: MethodRef, raw: bytes | None, *, unconfirmed: bool = False) -> bytes | None:
        if unconfirmed or self.association.broadcast:
            self._run(lambda meter: meter.tell(lambda session: session.unconfirmed_call(method, raw)))
            return None
        returned: list[bytes | None] = []

        async def work(meter: Direct) -> None:
            returned.append(await meter.action(method, raw))

        if why := self._act(work):
            raise _unknown("action", why)
        return returned[0]

    def work(self, work: Work[T]) -> T:
        """Do something with the meter, over the association that is there or a new one."""
        return self._run(work)

    def begin_anew(self, *, after: float) -> None:
        """Give the link up, and wait."""
        self._runner.run(self._open.aclose())
        self._meter = None
        self._runner.run(asyncio.sleep(after))

    def close(self) -> None:
        """Release the association."""
        self._runner.run(self._open.aclose())
        self._runner.close()

    def _run(self, work: Work[T]) -> T:
        async def session() -> T:
            if self._meter is None:
                self._meter = await self._open.enter_async_context(connect(self._where))
            return await work(self._meter)

        return self._runner.run(session())

    def _act(self, work: Work[None]) -> LinkError | None:
        """Do what is never done twice; return why it went unanswered, then the caller reads the effect back."""
        try:
            self._run(work)
        except LinkError as error:
            if self._meter is None:  # it never went out
                raise
            # read back over a link anew where this one has ended: HDLC gives it up when the meter was silent
            if isinstance(error, LinkClosed) or self._where.carrier.reach.hdlc:
                self._runner.run(self._open.aclose())
                self._meter = None
            return error
        return None

    async def _adjust(self, meter: Direct, offset: float) -> None:
        obis = self._family.clock_object
        if self._family.clock.adjust == "shift" and abs(offset) <= LARGEST_SHIFT:
            await _called(meter, MethodRef(CLOCK, obis, SHIFT_TIME), axdr.i16(-round(offset)))
        else:
            now = CosemDateTime.from_utc(datetime.now(UTC), self._rule)
            await meter.set(AttributeRef(CLOCK, obis, 2), axdr.encode(axdr.octets(now.encode())))

    async def _offset(self, meter: Direct) -> tuple[datetime, float, bool]:
        asked = datetime.now(UTC)
        raw = await meter.get(AttributeRef(CLOCK, self._family.clock_object, 2))
        middle = asked + (datetime.now(UTC) - asked) / 2
        with decoding("the clock"):
            shown = objects.decode_clock(raw)
            at = shown.utc(self._rule)
        return at, (at - middle).total_seconds(), shown.deviation is not None or self.rule is not None

    def _selects_by_entry(self, window: Window) -> bool:
        """Whether this family cannot select by time, which `window` asks for: then everything is read, and cut."""
        return window.start is not None and self._family.quirks.selective_access == "entry"

    async def _selection(self, meter: Direct, obis: Obis, window: Window, *, newest_first: bool) -> Selection:
        if window.last is not None:
            if newest_first:
                return profile.by_entry(1, window.last)
            in_use = await meter.number(buffers.attribute(obis, buffers.ENTRIES_IN_USE)) or 0
            return profile.by_entry(max(1, in_use - window.last + 1), max(1, in_use))
        assert window.start
        end = window.end or datetime.now(UTC) + timedelta(hours=1)  # the meter's clock may be ahead of ours
        first, last = (CosemDateTime.from_utc(at, self._rule) for at in (window.start, end))
        return profile.by_range(profile.CLOCK, first, last)


async def _judged(meter: Direct, way: TokenWay, *, confirmed: bool) -> token.TokenReport:
    """What the meter makes of a token, when it has made up its mind."""
    report = token.unsaid(confirmed=confirmed)
    for wait in token.LOOKS:
        await asyncio.sleep(wait)
        try:
            code = await meter.run(lambda session: token.result(session, way))
        except (*REFUSED, DecodeError):  # it does not tell, or the family names the wrong object
            break
        report = token.meant(way, code, confirmed=confirmed)
        if report.accepted is not None:
            break
    return report


async def _called(meter: Direct, method: MethodRef, parameter: axdr.Data) -> None:
    await meter.action(method, axdr.encode(parameter))


async def _read(meter: Direct, attribute: AttributeRef) -> Answer:
    try:
        raw = await meter.get(attribute)
        return Answer(attribute, raw, *await _scale(meter, attribute))
    except DcuError as error:
        return Answer(attribute, error=error)


async def _scale(meter: Direct, attribute: AttributeRef) -> tuple[int, str]:
    """Scaler and unit; (0, "") for what has none, or does not tell."""
    if attribute.attribute not in SCALED.get(attribute.class_id, ()):
        return 0, ""
    try:
        return scale(await meter.get(AttributeRef(attribute.class_id, attribute.obis, SCALER_UNIT[attribute.class_id])))
    except REFUSED:
        return 0, ""


def _unknown(what: str, why: DcuError) -> JobError:
    return JobError(f"whether the {what} took effect is unknown: look at it again when the meter answers ({why})")
