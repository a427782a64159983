"""Meters that act by themselves, above thresholds and as they are told (by the clock: `test_tariffs`).

Each is set up by a client of the product over an association, and asked afterwards, and what it says compared with the
truth: nothing runs in between but time.
"""

from contextlib import suppress
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dcu.cosem import axdr, data
from dcu.cosem.application import Denied
from dcu.cosem.data import Data, Tag
from dcu.errors import AccessDenied
from dcu.model import AttributeRef, MethodRef, Obis
from neighbourhood import truth
from neighbourhood.device import Device
from neighbourhood.equipment import THINGS
from neighbourhood.meter import CONCENTRATOR, MANAGEMENT, Event
from neighbourhood.patterns import Saving
from neighbourhood.relay import Relay, Trigger, after
from neighbourhood.tokens import token
from tests.cosem.strategies_axdr import values
from tests.neighbourhood.conversation import NOW
from tests.neighbourhood.house import ANY_DAY, CLOCK, MASKS, TARIFFS, House, script

RELAYS = Obis.parse("0-0:10.0.106*255")
LIMITER = "71,0-0:17.0.0*255"
MONITOR = "21,0-0:16.0.1*255"
ours = pytest.mark.conforms


# --- what it watches


def rising(start, seconds=truth.DAY):
    """The first quarter of an hour that takes more than the one before it, true second; and a threshold between."""
    for mark in range(start - start % truth.QUARTER + truth.QUARTER, start + seconds, truth.QUARTER):
        before, after = (truth.power(7, 1, each)[0] for each in (mark - 1, mark))
        if after > before + 50:
            return mark, (before + after) // 2
    raise AssertionError


@ours("Object", "limiter", peer="ours")
@pytest.mark.parametrize("mode", [4, 5, 6])
def test_a_limiter_opens_the_relay_when_its_threshold_is_passed_for_its_duration_and_closes_it_again(mode):
    """Locally: in modes 5 and 6 it closes it itself, in the others it is the householder who does, with the button."""
    house = House()
    house.set("70,0-0:96.3.10*255,4", data.enum(mode))
    mark, threshold = rising(NOW)
    over = script(RELAYS, 1), script(RELAYS, 2)
    house.set(f"{LIMITER},11", data.structure(*over))
    house.set(f"{LIMITER},6", data.u32(300))
    house.set(f"{LIMITER},7", data.u32(1_200))
    house.until(mark - truth.QUARTER + 1)
    house.set(f"{LIMITER},4", data.u32(threshold))
    house.until(mark + 299)
    assert house.get("70,0-0:96.3.10*255,2") is True
    house.until(mark + 301)
    assert house.get("70,0-0:96.3.10*255,2") is False
    shown = mark + 300 + truth.clock_error(7, 1, mark + 300)
    assert house.happened(Event.LIMIT_EXCEEDED) == house.happened(Event.LOCAL_DISCONNECTION) == [shown]
    assert house.happened(Event.REMOTE_DISCONNECTION) == []
    assert house.get("70,0-0:96.3.10*255,3") == Relay.READY
    assert house.get("3,1-0:1.7.0*255,2") == 0
    house.set(f"{LIMITER},4", data.u32(0xFFFFFFFE))
    house.until(mark + truth.QUARTER + 1_199)  # nothing is taken, which it finds at the next quarter
    assert house.get("70,0-0:96.3.10*255,2") is False
    house.wait(2 * truth.HOUR)
    assert house.get("70,0-0:96.3.10*255,2") is (mode != 4)
    assert len(house.happened(Event.LIMIT_KEPT)) == 1
    assert house.meter.switch(Trigger.MANUAL_RECONNECT) is (mode == 4)
    assert house.get("70,0-0:96.3.10*255,2") is True


def test_a_peak_that_is_shorter_than_the_duration_trips_nothing():
    house = House()
    peak, threshold = rising(NOW)
    longest = 0
    for mark in range(peak, peak + 2 * truth.DAY, truth.QUARTER):
        if truth.power(7, 1, mark)[0] <= threshold:
            longest = mark - peak
            break
    house.set(f"{LIMITER},6", data.u32(longest + 60))
    house.set(f"{LIMITER},4", data.u32(threshold))
    house.until(peak + longest + 30)
    assert house.get("70,0-0:96.3.10*255,2") is True
    assert not house.happened(Event.LIMIT_EXCEEDED)


def test_an_emergency_profile_has_its_own_threshold_for_its_time():
    house = House()
    begins = datetime.fromtimestamp(NOW + 1_800, UTC)
    raw = begins.year.to_bytes(2, "big") + bytes((begins.month, begins.day, 0xFF, begins.hour, begins.minute, 0, 0))
    house.set(f"{LIMITER},5", data.u32(0))  # nothing at all may be taken
    house.set(f"{LIMITER},6", data.u32(10))
    house.set(f"{LIMITER},9", data.array([data.u16(3)]))
    house.set(f"{LIMITER},8", data.structure(data.u16(3), data.octets(raw + b"\0\0\0"), data.u32(3_600)))
    house.wait(1_700)
    assert (house.get(f"{LIMITER},10"), house.get("70,0-0:96.3.10*255,2")) == (False, True)
    house.wait(300)
    assert (house.get(f"{LIMITER},10"), house.get("70,0-0:96.3.10*255,2")) == (True, False)
    assert house.get(f"{LIMITER},3") == 0
    house.wait(3_600)
    assert house.get(f"{LIMITER},10") is False


def test_an_emergency_profile_that_is_taken_back_is_over():
    house = House()
    begins = datetime.fromtimestamp(NOW + 60, UTC)
    raw = begins.year.to_bytes(2, "big") + bytes((begins.month, begins.day, 0xFF, begins.hour, begins.minute, 0, 0))
    house.set(f"{LIMITER},4", data.u32(100_000))
    house.set(f"{LIMITER},9", data.array([data.u16(3)]))
    house.set(f"{LIMITER},8", data.structure(data.u16(3), data.octets(raw + b"\0\0\0"), data.u32(86_400)))
    house.wait(1_000)
    assert house.get(f"{LIMITER},10") is True
    house.set(f"{LIMITER},9", data.array([data.u16(4)]))
    house.wait(1_000)
    assert house.get(f"{LIMITER},10") is False
    assert house.get(f"{LIMITER},3") == 100_000


@ours("Object", "register monitor", peer="ours")
def test_a_register_monitor_runs_a_script_when_its_threshold_is_crossed():
    house = House()
    mark, threshold = rising(NOW + truth.QUARTER)
    house.until(mark - truth.QUARTER + 1)
    house.set(f"{MONITOR},2", data.array([data.u32(threshold)]))
    house.set(f"{MONITOR},4", data.array([data.structure(script(TARIFFS, 4), script(TARIFFS, 3))]))
    house.set(f"{MONITOR},2", data.array([data.u32(1)]))  # it is above that already: nothing is crossed
    house.set(f"{MONITOR},2", data.array([data.u32(threshold)]))
    house.until(mark - 1)
    assert house.get(f"{MASKS},4") == b"RATE1"
    house.until(mark + 1)
    assert house.get(f"{MASKS},4") == b"RATE4"
    falls = next(
        each for each in range(mark, mark + 2 * truth.DAY, truth.QUARTER) if truth.power(7, 1, each)[0] <= threshold
    )
    house.until(falls + 1)
    assert house.get(f"{MASKS},4") == b"RATE3"
    assert house.rates()[3] == house.taken(mark, falls)


# --- the clock


@pytest.mark.parametrize(
    ("zone", "standard", "begin", "end"),
    [
        ("Europe/Vienna", 60, "ffff03fe0702000000800000", "ffff0afe0703000000800000"),
        ("Australia/Sydney", 600, "ffff0a010702000000800000", "ffff04010703000000800000"),
        ("America/New_York", -300, "ffff03080702000000800000", "ffff0b010702000000800000"),
    ],
)
@given(
    st.integers(int(datetime(2012, 1, 1, tzinfo=UTC).timestamp()), int(datetime(2035, 1, 1, tzinfo=UTC).timestamp()))
)
def test_daylight_saving_by_the_clocks_own_rules_is_that_of_the_zone(zone, standard, begin, end, second):
    rules = Saving(standard, bytes.fromhex(begin), bytes.fromhex(end), 60, True)
    theirs = datetime.fromtimestamp(second, ZoneInfo(zone))
    own = datetime.fromtimestamp(second, rules)
    assert (own.replace(tzinfo=None), own.fold, own.dst()) == (theirs.replace(tzinfo=None), theirs.fold, theirs.dst())
    assert int(own.timestamp()) == second


@ours("Object", "clock, daylight saving", peer="ours")
def test_a_clock_goes_by_the_rules_that_a_client_writes():
    house = House()
    house.set(f"{CLOCK},3", data.i16(-60))  # UTC = local + deviation
    house.set(f"{CLOCK},5", data.octets(bytes.fromhex("ffff03fe0702000000800000")))
    house.set(f"{CLOCK},6", data.octets(bytes.fromhex("ffff0afe0703000000800000")))
    house.set(f"{CLOCK},7", data.i8(60))
    house.set(f"{CLOCK},8", data.boolean(True))
    for moment, hour, status in ((datetime(2026, 3, 29, 0, 59), 1, 0), (datetime(2026, 3, 29, 1, 1), 3, 0x80)):
        house.until(int(moment.replace(tzinfo=UTC).timestamp()))
        house.meter.set_clock(house.street.now)
        shown = house.get(f"{CLOCK},2")
        assert (shown[5], shown[11], house.get(f"{CLOCK},4")) == (hour, status, status)
    house.set(f"{CLOCK},8", data.boolean(False))
    assert house.get(f"{CLOCK},2")[5] == 2
    assert house.happened(Event.SAVING_CHANGED)


# --- the rest


@ours("Object", "push setup", peer="ours")
def test_a_meter_pushes_what_its_list_names():
    house = House()
    ref = data.structure(data.u16(3), data.octets(Obis.parse("1-0:1.8.0*255").raw), data.i8(2), data.u16(0))
    house.set("40,0-0:25.9.0*255,2", data.array([ref]))
    house.call("40,0-0:25.9.0*255,1")
    (body,) = house.meter.works.push.sent
    assert axdr.decode(body) == data.structure(data.u32(truth.registers(7, 1, NOW).active_import))


def test_a_script_has_no_services_but_writing_and_executing():
    house = House()
    action = data.structure(data.enum(3), data.u16(70), data.octets(bytes(6)), data.i8(1), data.i8(0))
    with pytest.raises(AccessDenied):
        house.set("9,0-0:10.0.106*255,2", data.array([data.structure(data.u16(7), data.array([action]))]))


@ours("Object", "association: secret", peer="ours")
def test_a_secret_is_changed_and_never_read():
    house = House()
    house.set("15,0-0:40.0.0*255,7", data.octets(b"another one"))
    assert house.meter.keys(CONCENTRATOR).password.reveal() == b"another one"
    with pytest.raises(AccessDenied):
        house.get("15,0-0:40.0.0*255,7")


@ours("Object", "token gateway", peer="ours")
def test_a_token_counts_once_and_the_meter_says_what_it_makes_of_it():
    house = House()
    good, other = token(7, 1, 5, 3_000), token(7, 2, 5, 3_000)

    def entered(digits):
        house.call("115,0-0:19.40.0*255,1", data.octets(digits.encode()))
        assert house.get("115,0-0:19.40.0*255,6")[0].value == 8  # received
        house.wait(5)
        return house.get("115,0-0:19.40.0*255,6")[0].value

    assert [entered(each) for each in (good, good, other, "12")] == [3, 6, 5, 4]
    assert house.get("112,0-0:19.10.0*255,2") == 3_000


@ours("Object", "event logs", peer="ours")
def test_events_stand_in_the_log_that_they_belong_to():
    house = House()
    house.call("70,0-0:96.3.10*255,1")
    house.wait(100)
    house.meter.record(Event.REPLAY)
    codes = [[row.value[1].value for row in house.get(f"7,0-0:99.98.{number}*255,2")] for number in (1, 2)]
    assert codes == [[Event.REPLAY], [Event.REMOTE_DISCONNECTION]]
    assert house.get("1,0-0:96.11.2*255,2") == Event.REMOTE_DISCONNECTION


@pytest.mark.parametrize(
    ("mode", "transitions"), [(0, ""), (1, "bcdefg"), (2, "abcefg"), (3, "bcdeg"), (4, "abceg"), (5, "bcdefgh"),
                              (6, "bcdegh")]
)  # fmt: skip
def test_a_relay_has_the_transitions_of_its_mode_and_no_others(mode, transitions):
    """The Blue Book's table of control modes, by the letters of its state diagram."""
    away, here, ready = Relay.DISCONNECTED, Relay.CONNECTED, Relay.READY
    letters = {
        (away, Trigger.REMOTE_RECONNECT, here): "a",
        (here, Trigger.REMOTE_DISCONNECT, away): "b",
        (ready, Trigger.REMOTE_DISCONNECT, away): "c",
        (away, Trigger.REMOTE_RECONNECT, ready): "d",
        (ready, Trigger.MANUAL_RECONNECT, here): "e",
        (here, Trigger.MANUAL_DISCONNECT, ready): "f",
        (here, Trigger.LOCAL_DISCONNECT, ready): "g",
        (ready, Trigger.LOCAL_RECONNECT, here): "h",
    }
    moves = ((state, trigger, after(state, trigger, mode)) for state in Relay for trigger in Trigger)
    assert "".join(sorted(letters[move] for move in moves if move[0] is not move[2])) == transitions


def test_a_relay_that_is_open_closes_when_its_mode_becomes_always_connected():
    house = House()
    house.call("70,0-0:96.3.10*255,1")
    house.set("70,0-0:96.3.10*255,4", data.enum(0))
    assert house.get("70,0-0:96.3.10*255,3") == Relay.CONNECTED
    before = house.get("3,1-0:1.8.0*255,2")
    house.wait(truth.DAY)
    assert house.get("3,1-0:1.8.0*255,2") > before


@ours("Object", "disconnect control, control modes", peer="ours")
@pytest.mark.parametrize("mode", range(7))
def test_a_relay_follows_its_control_mode(mode):
    house = House()
    house.set("70,0-0:96.3.10*255,4", data.enum(mode))
    if mode == 0:
        with pytest.raises(AccessDenied):
            house.call("70,0-0:96.3.10*255,1")
        return
    house.call("70,0-0:96.3.10*255,1")
    assert house.get("70,0-0:96.3.10*255,3") == Relay.DISCONNECTED
    house.call("70,0-0:96.3.10*255,2")
    assert house.get("70,0-0:96.3.10*255,3") == (Relay.CONNECTED if mode in (2, 4) else Relay.READY)
    if mode not in (2, 4):
        assert house.meter.switch(Trigger.MANUAL_RECONNECT)
        assert house.get("70,0-0:96.3.10*255,3") == Relay.CONNECTED


WRITABLE = [(thing, each) for thing in THINGS for each in thing.attributes if each.put is not None and each.get]
_WIDTHS = {Tag.UNSIGNED: 8, Tag.LONG_UNSIGNED: 16, Tag.DOUBLE_LONG_UNSIGNED: 32, Tag.ENUM: 8}


@st.composite
def bent(draw, value):
    """A value of the same shape with other contents, as far as its types allow; or any other value."""
    if draw(st.integers(0, 19)) == 0:
        return draw(values)
    if isinstance(value.value, bool):
        return data.boolean(draw(st.booleans()))
    if isinstance(value.value, int):
        width = _WIDTHS.get(value.tag)
        low, high = (0, (1 << width) - 1) if width else (-128, 127)
        return Data(value.tag, draw(st.integers(low, high) | st.integers(0, 4)))
    if isinstance(value.value, bytes):
        size = len(value.value)
        part = st.sampled_from([0, 1, 2, 12, 23, 59, 0xFD, 0xFE, 0xFF])
        edges = st.lists(part, min_size=size, max_size=size).map(bytes)
        return Data(value.tag, draw(st.just(value.value) | edges | st.binary(max_size=14)))
    if isinstance(value.value, tuple):
        items = [draw(bent(item)) for item in value.value]
        if value.tag is Tag.ARRAY and items:
            items = draw(st.lists(st.sampled_from(items), max_size=4))
        return Data(value.tag, tuple(items))
    return value


def lived_in():
    """A house whose meter has something in every table."""
    house = House()
    works = house.meter.works
    works.tariffs.passive = works.tariffs.active
    works.tariffs.special[1] = (b"\xff\xff\x0b\x15\xff", 1)
    works.limiter.groups, works.limiter.normal = (1,), 300
    works.monitor.thresholds = (200, 500)
    works.monitor.actions = ((works.limiter.over, works.limiter.under),) * 2
    for schedule in works.schedules.values():
        schedule.times = ((b"\x0d\0\0\0", ANY_DAY),)
    return house


@settings(deadline=None, max_examples=80)
@given(st.data())
def test_whatever_is_written_or_called_the_meter_goes_on(draw):
    """Taken or denied; and what comes of it neither stops time nor makes another value unreadable."""
    house = lived_in()
    device = Device(house.meter)
    for thing, each in draw.draw(st.lists(st.sampled_from(WRITABLE), min_size=1, max_size=8)):
        with suppress(Denied):
            value = draw.draw(bent(axdr.decode(each.get(house.meter, MANAGEMENT))))
            device.set(MANAGEMENT, AttributeRef(thing.class_id, thing.obis, each.number), None, axdr.encode(value))
    thing = draw.draw(st.sampled_from([each for each in THINGS if each.methods]))
    with suppress(Denied):
        method = draw.draw(st.sampled_from(thing.methods)).number
        device.action(MANAGEMENT, MethodRef(thing.class_id, thing.obis, method), axdr.encode(draw.draw(values)))
    house.wait(draw.draw(st.integers(0, 100_000)))
    for thing in THINGS:
        for each in thing.attributes:
            if each.get is not None and each.read:
                axdr.decode(device.get(MANAGEMENT, AttributeRef(thing.class_id, thing.obis, each.number), None))
