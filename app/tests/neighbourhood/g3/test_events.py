import io
import json
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from neighbourhood.g3.events import Scheduler
from neighbourhood.g3.feeder import generate
from neighbourhood.g3.noise import DAY, FLOOR, Noise
from neighbourhood.g3.trace import Trace, to_file

from .packets import patient


@patient
@given(st.lists(st.floats(0, 100)), st.floats(0, 100))
def test_events_happen_in_the_order_of_their_time_then_of_their_asking(whens, until):
    scheduler, happened = Scheduler(), []
    for number, when in enumerate(whens):
        scheduler.at(when, lambda number, when: happened.append((scheduler.now, when, number)), number, when)
    scheduler.run_until(until)
    assert happened == [
        (when, when, number) for when, number in sorted(zip(whens, range(len(whens)), strict=True)) if when <= until
    ]
    assert scheduler.now == until
    assert scheduler.next() == min((when for when in whens if when > until), default=None)


def test_what_is_cancelled_does_not_happen_and_the_past_is_now():
    scheduler, happened = Scheduler(), []
    timer = scheduler.after(5, happened.append, "cancelled")
    scheduler.after(6, lambda: scheduler.at(1, happened.append, "late"))
    scheduler.cancel(timer)
    scheduler.cancel(None)
    scheduler.run_until(10)
    scheduler.cancel(timer)
    assert happened == ["late"]
    assert scheduler.happened == 2


def test_a_run_ends_where_its_wish_came_true_or_its_time_is_over():
    scheduler, seen = Scheduler(), []
    for second in range(10):
        scheduler.at(second, seen.append, second)
    assert scheduler.run_while(lambda: len(seen) < 4, 100)
    assert scheduler.now == 3
    assert not scheduler.run_while(lambda: True, 5.5)
    assert scheduler.now == 5.5


def noise(start: float = 0.0, **kwargs) -> tuple[Noise, Scheduler]:
    scheduler = Scheduler()
    return Noise(generate(48, 1), scheduler, Random(1), start, **kwargs), scheduler


def test_the_evening_is_louder_than_the_night():
    night, _ = noise(3 * 3600.0)
    evening, _ = noise(19 * 3600.0)
    assert night.at(0) == FLOOR + DAY[3]
    assert evening.at(0) == FLOOR + DAY[19]
    assert DAY[19] - DAY[3] >= 8


def test_noise_follows_the_hours():
    day, scheduler = noise(3 * 3600.0)
    before = day.versions[0]
    scheduler.run_until(16 * 3600.0)
    assert day.versions[0] > before
    assert day.at(0) >= FLOOR + DAY[19] - 0.5


def test_a_burst_disturbs_its_junction_most_and_is_over_when_it_is():
    day, scheduler = noise(quiet=True)
    home = generate(48, 1).places[10].junction
    before = [day.at(number) for number in range(49)]
    versions = list(day.versions)
    day.burst(home, 40.0, 60.0)
    added = [day.at(number) - before[number] for number in range(49)]
    assert max(range(49), key=added.__getitem__) == 10
    assert 39.9 < added[10] < 40.1
    assert min(added) == 0.0
    assert [added[number] > 0 for number in range(49)] == [
        day.versions[number] > versions[number] for number in range(49)
    ]
    scheduler.run_until(61)
    assert [round(day.at(number), 6) for number in range(49)] == [round(value, 6) for value in before]


def test_appliances_come_and_go_and_leave_nothing_behind():
    day, scheduler = noise(18 * 3600.0)
    loud = 0
    for _ in range(100):
        scheduler.run_until(scheduler.now + 60)
        loud += sum(day.at(number) > day.at(0) + 3 for number in range(1, 49))
    assert 50 < loud < 4000
    assert all(day.at(number) < FLOOR + 30 for number in range(49))


def test_a_trace_is_ndjson_and_stops_where_nobody_listens():
    file = io.StringIO()
    sink = to_file(file)
    trace = Trace(sink)
    trace.emit("cable", 1.23456789, id=3, state="cut")
    trace.emit("end", 2.0)
    trace.leave(sink)
    trace.emit("end", 3.0)
    lines = file.getvalue().splitlines()
    assert lines == ['{"t":1.234568,"e":"cable","id":3,"state":"cut"}', '{"t":2.0,"e":"end"}']
    assert all(json.loads(line) for line in lines)
