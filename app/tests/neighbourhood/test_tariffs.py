"""Meters that act at the times of their clocks: calendars, special days, scripts and schedules.

Each is set up by a client of the product over an association, and asked afterwards: nothing runs in between but time.
"""

from datetime import UTC, date, datetime

import pytest

from dcu.cosem import data
from dcu.errors import AccessDenied
from dcu.model import Obis
from neighbourhood import truth
from neighbourhood.meter import Event
from neighbourhood.tariffs import MOST, day_id
from neighbourhood.works import Plan, Season, Tariffs
from tests.neighbourhood.conversation import NOW
from tests.neighbourhood.house import ANY_DAY, CLOCK, MASKS, House, at

CALENDAR = "20,0-0:13.0.0*255"
SPECIAL = "11,0-0:11.0.0*255"
ours = pytest.mark.conforms


def midnight(second):
    return second // truth.DAY * truth.DAY


# --- tariffs


@ours("Object", "activity calendar, register activation", peer="ours")
def test_the_calendar_switches_the_rates_at_its_times_of_the_meters_clock():
    house = House()
    assert house.rates()[1:] == [0, 0, 0]  # a day rate until ten in the evening
    house.until(midnight(NOW) + 2 * truth.DAY + 12 * truth.HOUR)
    first = midnight(NOW)
    nights = [(first + 22 * truth.HOUR, first + 30 * truth.HOUR), (first + 46 * truth.HOUR, first + 54 * truth.HOUR)]
    night = sum(house.taken(house.true(start), house.true(end)) for start, end in nights)
    whole = truth.registers(7, 1, house.street.now).active_import
    assert house.rates() == [whole - night, night, 0, 0]
    assert night > 0


def passive(house, days, week=(1,) * 7):
    house.set(f"{CALENDAR},6", data.octets(b"NEW"))
    season = data.structure(data.octets(b"S"), data.octets(b"\xff" * 9 + b"\x80\x00\xff"), data.octets(b"W"))
    house.set(f"{CALENDAR},7", data.array([season]))
    house.set(f"{CALENDAR},8", data.array([data.structure(data.octets(b"W"), *map(data.u8, week))]))
    rows = [data.structure(data.u8(number), data.array(actions)) for number, actions in days.items()]
    house.set(f"{CALENDAR},9", data.array(rows))


def test_a_passive_calendar_takes_over_when_it_is_told_to():
    house = House()
    passive(house, {1: [at(0, number=3), at(13, number=4)]})
    assert house.get(f"{CALENDAR},2") == b"ORDINARY"
    house.call(f"{CALENDAR},1")
    assert (house.get(f"{CALENDAR},2"), house.get(f"{MASKS},4")) == (b"NEW", b"RATE3")
    house.wait(2 * truth.HOUR)
    one = house.taken(NOW, house.true(NOW + truth.HOUR))
    assert house.rates()[2:] == [one, house.taken(house.true(NOW + truth.HOUR), house.street.now)]
    assert house.happened(Event.CALENDAR_ACTIVE)


def test_a_passive_calendar_takes_over_at_its_time():
    house = House()
    passive(house, {1: [at(0, number=4)]})
    when = datetime.fromtimestamp(NOW + 1_800, UTC)
    raw = when.year.to_bytes(2, "big") + bytes((when.month, when.day, 0xFF, when.hour, when.minute, 0, 0, 0, 0, 0))
    house.set(f"{CALENDAR},10", data.octets(raw))
    house.wait(3_600)
    assert house.rates()[3] == house.taken(house.true(NOW + 1_800), house.street.now)
    assert house.get(f"{CALENDAR},10")[:2] == b"\xff\xff"


@ours("Object", "special days table", peer="ours")
def test_a_special_day_has_its_own_schedule():
    house = House()
    passive(house, {1: [at(0, number=1)], 9: [at(0, number=4)]})
    house.call(f"{CALENDAR},1")
    tomorrow = datetime.fromtimestamp(NOW + truth.DAY, UTC)
    day = b"\xff\xff" + bytes((tomorrow.month, tomorrow.day, 0xFF))
    house.call(f"{SPECIAL},1", data.structure(data.u16(1), data.octets(day), data.u8(9)))
    house.until(midnight(NOW) + 3 * truth.DAY)
    start = midnight(NOW) + truth.DAY
    assert house.rates()[3] == house.taken(house.true(start), house.true(start + truth.DAY))
    house.call(f"{SPECIAL},2", data.u16(1))
    assert house.get(f"{SPECIAL},2") == ()


def test_a_weekday_has_its_week_s_schedule():
    house = House()  # NOW is a Thursday
    passive(house, {1: [at(0, number=1)], 2: [at(0, number=2)]}, week=(1, 1, 1, 1, 2, 1, 1))
    house.call(f"{CALENDAR},1")
    house.until(midnight(NOW) + 3 * truth.DAY)
    start = midnight(NOW) + truth.DAY
    assert house.rates()[1] == house.taken(house.true(start), house.true(start + truth.DAY))


def test_a_week_of_days_that_no_schedule_can_have_is_denied():
    house = House()
    week = data.structure(data.octets(b"W"), *[data.i8(-1)] * 7)
    with pytest.raises(AccessDenied):
        house.set(f"{CALENDAR},8", data.array([week]))


def test_a_mask_that_is_added_counts_what_it_names():
    house = House()
    house.call(f"{MASKS},2", data.structure(data.octets(b"BOTH"), data.array([data.u8(2), data.u8(3)])))
    house.set(f"{MASKS},4", data.octets(b"BOTH"))
    house.wait(600)
    assert house.rates()[2:] == [house.taken(NOW, NOW + 600)] * 2
    with pytest.raises(AccessDenied):
        house.call(f"{MASKS},3", data.octets(b"BOTH"))  # it is the active one


# --- scripts and schedules


def test_masks_have_a_number_beyond_which_no_more_are_kept():
    house = House()
    before = len(house.get(f"{MASKS},3"))
    for number in range(MOST + 1 - before):
        mask = data.structure(data.octets(b"M%d" % number), data.array([data.u8(0)]))
        if number < MOST - before:
            house.call(f"{MASKS},2", mask)
        else:
            with pytest.raises(AccessDenied):
                house.call(f"{MASKS},2", mask)
    assert len(house.get(f"{MASKS},3")) == MOST
    house.call(f"{MASKS},2", data.structure(data.octets(b"M0"), data.array([data.u8(1)])))  # one that is there


def test_a_special_day_takes_the_place_of_the_one_with_its_index_or_its_date():
    house = House()
    christmas, boxing = b"\xff\xff\x0c\x19\xff", b"\xff\xff\x0c\x1a\xff"
    for index, day, schedule in ((1, christmas, 1), (2, boxing, 1), (3, christmas, 2), (2, boxing, 2)):
        house.call("11,0-0:11.0.0*255,1", data.structure(data.u16(index), data.octets(day), data.u8(schedule)))
    rows = [tuple(item.value for item in row.value) for row in house.get("11,0-0:11.0.0*255,2")]
    assert sorted(rows) == [(2, boxing, 2), (3, christmas, 2)]


@ours("Object", "script table, single action schedule", peer="ours")
def test_a_schedule_executes_its_script_when_the_meters_clock_says_so():
    house = House()
    house.meter.set_clock(NOW + 40)  # ahead: it does so earlier
    time, date = bytes((12, 30, 0, 0)), b"\x07\xe9\x0b\x14\xff"
    house.set("22,0-0:15.0.1*255,4", data.array([data.structure(data.octets(time), data.octets(date))]))
    house.until(NOW + 1_759)
    assert house.get("70,0-0:96.3.10*255,2") is True
    house.until(NOW + 7_200)
    assert house.get("70,0-0:96.3.10*255,2") is False
    house.wait(3_600)
    assert house.taken(NOW, NOW + 1_760) == house.get("3,1-0:1.8.0*255,2") - truth.registers(7, 1, NOW).active_import
    assert house.happened(Event.REMOTE_DISCONNECTION) == [NOW + 1_800]


def test_a_schedule_of_one_time_takes_no_second():
    house = House()
    assert house.get("22,0-0:15.0.4*255,3") == 1
    times = data.array([data.structure(data.octets(bytes((hour, 0, 0, 0))), data.octets(ANY_DAY)) for hour in (6, 18)])
    with pytest.raises(AccessDenied):
        house.set("22,0-0:15.0.4*255,4", times)


def test_a_schedule_that_repeats_does_so_every_day():
    house = House()
    house.set("22,0-0:15.0.4*255,4", data.array([data.structure(data.octets(b"\x06\0\0\0"), data.octets(ANY_DAY))]))
    house.wait(3 * truth.DAY)
    house.get(f"{CLOCK},2")
    assert len(house.meter.works.push.sent) == 3


def test_what_the_clock_leaps_over_is_done_and_what_it_shows_again_is_not_done_twice():
    house = House()
    house.set("22,0-0:15.0.4*255,4", data.array([data.structure(data.octets(b"\x0c\x05\0\0"), data.octets(ANY_DAY))]))
    house.wait(60)
    house.call(f"{CLOCK},6", data.i16(600))
    house.wait(1)
    house.get(f"{CLOCK},2")
    assert len(house.meter.works.push.sent) == 1
    house.call(f"{CLOCK},6", data.i16(-600))
    house.wait(900)
    house.get(f"{CLOCK},2")
    assert len(house.meter.works.push.sent) == 1


def test_a_clock_that_is_set_back_by_hours_lives_through_them_again():
    house = House()
    house.set("22,0-0:15.0.4*255,4", data.array([data.structure(data.octets(b"\x0c\x05\0\0"), data.octets(ANY_DAY))]))
    house.wait(600)
    house.get(f"{CLOCK},2")
    assert len(house.meter.works.push.sent) == 1
    house.meter.set_clock(NOW + 600 - 7_200)
    house.get(f"{CLOCK},2")
    house.wait(7_200)
    house.get(f"{CLOCK},2")
    assert len(house.meter.works.push.sent) == 2


@pytest.mark.parametrize(
    ("day", "schedule"),
    [
        pytest.param(date(2026, 2, 3), 2, id="in the season that began last year"),
        pytest.param(date(2026, 3, 31), 2, id="on the eve of the next"),
        pytest.param(date(2026, 4, 1), 1, id="on its first day"),
        pytest.param(date(2026, 9, 30), 1, id="on its last"),
        pytest.param(date(2026, 10, 1), 2, id="in the winter again"),
        pytest.param(date(2027, 7, 1), 3, id="in a season of one year alone"),
        pytest.param(date(2028, 7, 1), 1, id="and a year later"),
    ],
)
def test_a_day_belongs_to_the_season_that_began_last(day, schedule):
    starts = {b"SUMMER": "ffff0401", b"WINTER": "ffff0a01", b"FAIR": "07eb0601"}
    plan = Plan(
        b"YEAR",
        tuple(Season(name, bytes.fromhex(start) + b"\xff" * 5 + b"\x80\0\0", name) for name, start in starts.items()),
        {name: (number,) * 7 for number, name in enumerate(starts, 1)},
        {},
    )
    assert day_id(Tariffs([0] * 4, 0, plan), day) == schedule


def test_a_script_that_was_written_is_executed():
    house = House()
    relay, zero = Obis.parse("0-0:96.3.10*255"), data.i8(0)
    action = data.structure(data.enum(2), data.u16(70), data.octets(relay.raw), data.i8(1), zero)
    write = data.structure(
        data.enum(1), data.u16(6), data.octets(Obis.parse("0-0:14.0.0*255").raw), data.i8(4), data.octets(b"RATE4")
    )
    before = house.get("9,0-0:10.0.106*255,2")
    house.set("9,0-0:10.0.106*255,2", data.array([data.structure(data.u16(7), data.array([write, action]))]))
    house.call("9,0-0:10.0.106*255,1", data.u16(7))
    assert (house.get("70,0-0:96.3.10*255,2"), house.get(f"{MASKS},4")) == (False, b"RATE4")
    assert len(before) == 2
    with pytest.raises(AccessDenied):
        house.call("9,0-0:10.0.106*255,1", data.u16(8))
