"""Single action schedules (class 22): what a plan asks of the schedule's type, and what is written of it."""

import pytest

from dcu.cosem import axdr, data
from dcu.cosem.datetimes import CosemDate, CosemTime
from dcu.cosem.schedules import IMAGE_ACTIVATION, Plan, Script, write
from dcu.model import Obis

SCRIPT = Script(Obis.parse("0-0:10.0.107*255"), 1)
SIX, NOON = CosemTime(6, 0, 0), CosemTime(12, 0, 0)
MONDAY, TUESDAY, ANY = CosemDate(2026, 11, 30), CosemDate(2026, 12, 1), CosemDate()


@pytest.mark.parametrize(
    ("times", "types"),
    [
        pytest.param(((SIX, MONDAY),), {1, 2, 3, 4, 5}, id="one moment suits all types"),
        pytest.param(((SIX, ANY),), {1, 3, 5}, id="every day"),
        pytest.param(((SIX, MONDAY), (SIX, TUESDAY)), {2, 3, 4, 5}, id="one time of two days"),
        pytest.param(((SIX, MONDAY), (NOON, TUESDAY)), {4, 5}, id="two times"),
        pytest.param(((SIX, ANY), (NOON, ANY)), {5}, id="two times of every day"),
        pytest.param((), {1, 2, 3, 4, 5}, id="never"),
    ],
)
def test_a_type_holds_what_the_blue_book_lets_it_hold(times, types):
    plan = Plan(SCRIPT, times)
    assert {kind for kind in range(8) if plan.fits(kind)} == types


class Scripted:
    """A session over a dictionary; `wrote` is what was set, in its order."""

    def __init__(self, kind):
        script = data.structure(data.octets(SCRIPT.table.raw), data.u16(SCRIPT.number))
        self.held = {2: axdr.encode(script), 3: kind}
        self.wrote = []

    def get(self, attribute):
        yield from ()
        return self.held[attribute.attribute]

    def set(self, attribute, value):
        yield from ()
        self.wrote.append((attribute.attribute, value))


def written(kind, *times):
    session = Scripted(kind)
    for _ in write(session, IMAGE_ACTIVATION, Plan(SCRIPT, times)):
        raise AssertionError
    return dict(session.wrote[:-1]), session.wrote[-1][0]


@pytest.mark.parametrize(
    ("kind", "times", "types"),
    [
        pytest.param("1605", [(SIX, MONDAY)], {}, id="a type that will do is left alone"),
        pytest.param("1602", [(SIX, ANY)], {3: b"\x16\x01"}, id="one without wildcards is changed for them"),
        pytest.param("1601", [(SIX, MONDAY), (NOON, MONDAY)], {3: b"\x16\x05"}, id="one of one time, for two"),
        pytest.param("00", [(SIX, MONDAY)], {3: b"\x16\x01"}, id="none at all is set"),
    ],
)
def test_a_type_is_written_where_the_plan_needs_another_and_the_times_last(kind, times, types):
    assert written(bytes.fromhex(kind), *times) == (types, 4)
