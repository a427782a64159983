"""Single action schedules (class 22): a script that a meter executes at a time of its own clock.

Source: DLMS Blue Book (IEC 62056-6-2) clause 4.5.7, Single action schedule (class 22).
"""

from dataclasses import dataclass
from datetime import UTC, datetime

from dcu.cosem import axdr, data
from dcu.cosem.asking import Asking
from dcu.cosem.data import Data
from dcu.cosem.datetimes import CosemDate, CosemDateTime, CosemTime, TimeZoneRule
from dcu.cosem.exchange import Exchange
from dcu.errors import DecodeError
from dcu.model import AttributeRef, Obis

CLASS = 22
IMAGE_ACTIVATION = Obis.parse("0-0:15.0.2*255")
_SCRIPT, _TYPE, _TIMES = 2, 3, 4
ONE_TIME, SAME_TIMES, TIMES = 1, 3, 5  # types: one entry; several at one time of day; several at any; with wildcards
_WITHOUT_WILDCARDS = 1  # less: the type that is the same, without wildcards in dates; ONE_TIME has none such
MOST_TIMES = 256


@dataclass(frozen=True, slots=True)
class Script:
    """A script of a script table (class 9)."""

    table: Obis
    number: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What is executed when: times of the meter's clock, fields of which may be wildcards."""

    script: Script
    times: tuple[tuple[CosemTime, CosemDate], ...]

    def means(self, other: "Plan") -> bool:
        """Whether both are the same to a meter, which may leave out hundredths, a second of 0 and the weekday."""
        return self.script == other.script and self._moments() == other._moments()

    def fits(self, kind: int) -> bool:
        """Whether a schedule of this type can hold it."""
        types = {TIMES}
        if len({time.encode() for time, _ in self.times}) <= 1:
            types.add(SAME_TIMES)
        if not any(None in (date.year, date.month, date.day) for _, date in self.times):
            types |= {each - _WITHOUT_WILDCARDS for each in types}
        if len(self.times) <= 1:
            types.add(ONE_TIME)
        return kind in types

    def _moments(self) -> list[tuple[int | None, ...]]:
        return [(t.hour, t.minute, t.second or 0, d.year, d.month, d.day) for t, d in self.times]


def once(script: Script, at: int, rule: TimeZoneRule) -> Plan:
    """Execute `script` at the UTC second `at`, in the time that the meter's clock shows then."""
    shown = CosemDateTime.from_utc(datetime.fromtimestamp(at, UTC), rule)
    return Plan(script, ((shown.time, shown.date),))


def read(session: Asking, obis: Obis) -> Exchange[Plan]:
    script = yield from session.get(AttributeRef(CLASS, obis, _SCRIPT))
    times = yield from session.get(AttributeRef(CLASS, obis, _TIMES))
    return Plan(decode_script(script), decode_times(times))


def write(session: Asking, obis: Obis, plan: Plan) -> Exchange[None]:
    """The times last: a meter must not execute another script at them. What fits already is not written.

    So a meter whose schedules are of a type that it does not let go of is no obstacle where that one will do.
    """
    script = axdr.encode(data.structure(data.octets(plan.script.table.raw), data.u16(plan.script.number)))
    times = [data.structure(data.octets(time.encode()), data.octets(date.encode())) for time, date in plan.times]
    if (yield from session.get(AttributeRef(CLASS, obis, _SCRIPT))) != script:
        yield from session.set(AttributeRef(CLASS, obis, _SCRIPT), script)
    kind = axdr.decode((yield from session.get(AttributeRef(CLASS, obis, _TYPE)))).value
    if not isinstance(kind, int) or not plan.fits(kind):
        wanted = next(each for each in (ONE_TIME, TIMES) if plan.fits(each))
        yield from session.set(AttributeRef(CLASS, obis, _TYPE), axdr.encode(data.enum(wanted)))
    yield from session.set(AttributeRef(CLASS, obis, _TIMES), axdr.encode(data.array(times)))


def decode_script(raw: bytes) -> Script:
    """executed_script. Raises DecodeError."""
    match axdr.decode(raw).value:
        case (Data(_, bytes() as table), Data(_, int() as number)) if len(table) == 6:
            return Script(Obis(table), number)
    raise DecodeError("a script is the logical name of its table and its number")


def decode_times(raw: bytes) -> tuple[tuple[CosemTime, CosemDate], ...]:
    """execution_time. Raises DecodeError."""
    value = axdr.decode(raw).value
    if not isinstance(value, tuple) or len(value) > MOST_TIMES:
        raise DecodeError("execution times are an array")
    found = []
    for item in value:
        match item.value:
            case (Data(_, bytes() as time), Data(_, bytes() as date)):
                found.append((CosemTime.parse(time), CosemDate.parse(date)))
            case _:
                raise DecodeError("an execution time is a time and a date")
    return tuple(found)
