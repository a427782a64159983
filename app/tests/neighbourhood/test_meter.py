"""A meter of the street, asked by our own client, says exactly what truth says."""

from contextlib import suppress
from datetime import UTC, datetime
from struct import iter_unpack

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dcu.cosem import axdr, profile
from dcu.cosem.application import Denied
from dcu.cosem.datetimes import CosemDateTime, TimeZoneRule
from dcu.cosem.rows import decode_rows
from dcu.cosem.selection import Selection
from dcu.errors import AccessDenied, AssociationRefused, SecurityError, ServiceRefused
from dcu.model import AttributeRef, MethodRef, Obis
from neighbourhood import truth
from neighbourhood.device import Device
from neighbourhood.meter import MANAGEMENT, PUBLIC, Event
from neighbourhood.relay import Relay, Trigger
from neighbourhood.times import Zone, stamp

from .conversation import NOW, Habits, Street

CLOCK = AttributeRef.parse("8,0-0:1.0.0*255,2")
LOAD = AttributeRef.parse("7,1-0:99.1.0*255,2")
EVENTS = AttributeRef.parse("7,0-0:99.98.0*255,2")
RELAY = Obis.parse("0-0:96.3.10*255")
CLOCK_COLUMN = profile.CaptureObject(8, Obis.parse("0-0:1.0.0*255"), 2)
ROW = ">2s 2x 12s xB xI xI xI xI"  # 02 06 | 09 0C date-time | 11 status | 06 register, four times
UTC_ZONE = Zone()


def ref(text: str) -> AttributeRef:
    return AttributeRef.parse(text)


def between(first: int, last: int, rule: TimeZoneRule) -> profile.Selection:
    bounds = (CosemDateTime.from_utc(datetime.fromtimestamp(at, UTC), rule) for at in (first, last))
    return profile.by_range(CLOCK_COLUMN, *bounds)


def entries(raw: bytes) -> list[tuple[bytes, tuple[int, ...]]]:
    """Rows by their fixed layout, without the product's decoder: date-time, registers."""
    assert raw[0] == 1
    size = 2 if raw[1] < 0x80 else 2 + (raw[1] & 0x7F)
    return [(time, registers) for _, time, _, *registers in iter_unpack(ROW, raw[size:])]


@pytest.mark.parametrize(("index", "obis"), list(enumerate(("1-0:1.8.0", "1-0:2.8.0", "1-0:3.8.0", "1-0:4.8.0"))))
def test_a_register_reads_exactly_the_truth(index, obis):
    client = Street().client(2)
    value = client(client.session.get(ref(f"3,{obis}*255,2")))
    assert value == b"\x06" + truth.registers(7, 2, NOW)[index].to_bytes(4, "big")


def test_a_days_profile_by_range_is_exactly_the_truth():
    client = Street().client(2)
    raw = client(client.session.get(LOAD, between(NOW - truth.DAY, NOW, TimeZoneRule())))
    last = NOW if truth.clock_error(7, 2, NOW) >= 0 else NOW - truth.HOUR  # what a slow clock has not seen yet
    expected = [(stamp(t, UTC_ZONE), list(registers)) for t, registers in truth.rows(7, 2, NOW - truth.DAY, last)]
    assert len(expected) >= 24
    assert entries(raw) == expected


def test_a_profile_by_entry_counts_from_the_oldest_and_zero_means_the_last():
    street = Street()
    client = street.client(3)
    held = axdr.decode(client(client.session.get(ref("7,1-0:99.1.0*255,7")))).value
    rows = entries(client(client.session.get(LOAD, profile.by_entry(held - 23, 0))))
    shown = NOW + truth.clock_error(7, 3, NOW)
    last = shown // truth.HOUR * truth.HOUR
    assert held == 3_000
    assert [time for time, _ in rows] == [stamp(last - truth.HOUR * back, UTC_ZONE) for back in reversed(range(24))]
    assert client(client.session.get(LOAD, profile.by_entry(3_001, 0))) == b"\x01\x00"
    first = entries(client(client.session.get(LOAD, profile.by_entry(1, 1))))
    assert first == [(stamp(last - 2_999 * truth.HOUR, UTC_ZONE), list(truth.captured(7, 3, last - 2_999 * 3_600)[1]))]


def test_all_three_thousand_rows_come_in_blocks():
    client = Street().client(1)
    assert len(entries(client(client.session.get(LOAD)))) == 3_000


def test_columns_can_be_selected_by_range_and_by_entry():
    client = Street().client(1)
    imported = profile.CaptureObject(3, Obis.parse("1-0:1.8.0*255"), 2)
    moment = CosemDateTime.from_utc(datetime.fromtimestamp(NOW - 7_200, UTC), TimeZoneRule())
    value = client(client.session.get(LOAD, profile.by_range(CLOCK_COLUMN, moment, moment, [CLOCK_COLUMN, imported])))
    stamped = stamp(NOW - 7_200, UTC_ZONE)
    counted = truth.captured(7, 1, NOW - 7_200).registers.active_import.to_bytes(4, "big")
    assert value == b"\x01\x01\x02\x02\x09\x0c" + stamped + b"\x06" + counted
    assert client(client.session.get(LOAD, profile.by_entry(1, 1, 3, 3)))[:4] == b"\x01\x01\x02\x01"


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize(
    "zone",
    [
        Zone("Europe/Vienna"),
        Zone("Europe/Vienna", -1),
        Zone("Europe/Vienna", deviation=False),
        Zone("Asia/Kolkata", -1),
    ],
    ids=str,
)
@pytest.mark.parametrize("now", [1_761_537_600, 1_743_379_200, NOW], ids=["autumn change", "spring change", "winter"])
def test_the_days_of_the_clock_change_are_the_truth_whatever_the_deviations_sign(now, zone, compress):
    street = Street(now=now, habits=Habits(zone=zone, period=900, compress=compress))
    client = street.client(1)
    rule = TimeZoneRule(zone.tz, zone.sign)
    raw = client(client.session.get(LOAD, between(now - 2 * truth.DAY, now - truth.DAY // 2, rule)))
    rows = decode_rows(raw, rule, period=900)
    expected = list(truth.rows(7, 1, now - 2 * truth.DAY, now - truth.DAY // 2, 900))
    assert [(int(time.timestamp()), tuple(registers)) for time, _, *registers in rows] == [
        (time, tuple(registers)) for time, registers in expected
    ]
    assert all(bool(status & 8) == bool(time.astimezone(zone.tz).dst()) for time, status, *_ in rows)


def test_null_data_makes_a_profile_smaller():
    sizes = []
    for compress in (False, True):
        client = Street(habits=Habits(compress=compress)).client(1)
        sizes.append(len(client(client.session.get(LOAD, profile.by_entry(2_900, 0)))))
    assert sizes[1] < 0.7 * sizes[0]


def test_the_object_list_shows_each_client_what_it_may_do():
    lists = {}
    for sap in (1, MANAGEMENT, PUBLIC):
        client = Street().client(1, sap)
        listed = axdr.decode(client(client.session.get(ref("15,0-0:40.0.0*255,2"))))
        lists[sap] = {str(Obis(item.value[2].value)): item.value[0].value for item in listed.value}
    assert set(lists[PUBLIC]) == {
        "0-0:42.0.0*255", "0-0:96.1.0*255", "0-0:43.1.0*255", "0-0:43.1.1*255",
        "0-0:1.0.0*255", "0-0:40.0.0*255", "0-0:41.0.0*255",
    }  # fmt: skip
    assert set(lists[PUBLIC]) < set(lists[1]) < set(lists[MANAGEMENT])
    assert {lists[1][obis] for obis in lists[1]} == {
        1, 3, 4, 5, 6, 7, 8, 9, 11, 15, 17, 18, 20, 21, 22, 40, 64, 70, 71, 112, 115, 8_192,
    }  # fmt: skip


@pytest.mark.parametrize("sap", [1, MANAGEMENT, PUBLIC])
def test_every_listed_attribute_can_be_read_and_is_a_value(sap):
    client = Street().client(1, sap)
    listed = axdr.decode(client(client.session.get(ref("15,0-0:40.0.0*255,2"))))
    seen = 0
    for item in listed.value:
        class_id, _, obis, rights = (field.value for field in item.value)
        for attribute in rights[0].value:
            number, mode = attribute.value[0].value, attribute.value[1].value
            if mode & 1:
                axdr.decode(client(client.session.get(AttributeRef(class_id, Obis(obis), number))))
                seen += 1
            else:
                with pytest.raises(AccessDenied):
                    client(client.session.get(AttributeRef(class_id, Obis(obis), number)))
    assert seen >= 20


@pytest.mark.parametrize(
    ("attribute", "result"),
    [
        ("3,1-0:1.8.0*255,2", 4),  # the public client does not see it: object-undefined
        ("3,1-0:9.8.0*255,2", 4),
        ("3,0-0:42.0.0*255,2", 9),  # object-class-inconsistent
        ("1,0-0:42.0.0*255,7", 3),  # read-write-denied
    ],
)
def test_the_public_client_is_refused_with_the_standards_reason(attribute, result):
    client = Street().client(1, PUBLIC)
    with pytest.raises(AccessDenied) as refused:
        client(client.session.get(ref(attribute)))
    assert refused.value.result == result


def test_the_public_clients_counter_object_says_the_last_counter_that_was_accepted():
    street = Street()
    client = street.client(1, first=5_000)
    client(client.session.get(CLOCK))
    public = street.client(1, PUBLIC)
    raw = public(public.session.get(ref("1,0-0:43.1.0*255,2")))
    assert int.from_bytes(raw[1:], "big") == street.meter(1).heard.highest >= 5_000
    assert raw == public(public.session.get(ref("1,0-0:43.1.1*255,2")))


def test_a_counter_that_was_used_is_refused_and_reported_also_over_a_new_connection():
    street = Street()
    street.client(1, first=5_000)
    assert street.fleet.status()["counter_reuse"] == 0
    with pytest.raises((SecurityError, ServiceRefused)):
        street.client(1, first=5_000)
    status = street.fleet.status()
    assert status["counter_reuse"] == 1
    assert status["reused"] == [{"meter": street.meter(1).serial, "floor": 5_002, "received": 5_000}]
    assert street.meter(1).events()[-1][1] == Event.REPLAY
    street.client(1, first=5_003)


def test_two_clients_count_apart():
    street = Street()
    street.client(1, first=5_000, title=b"DCU00001")
    street.client(1, first=3_000, title=b"DCU00002")
    assert street.fleet.status()["counter_reuse"] == 0


def test_the_streets_own_account_finds_a_counter_that_a_session_let_pass_twice():
    street = Street()
    heard = street.meter(1).heard
    heard.accept(b"DCU00001", 5_000)
    heard.accept(b"DCU00001", 5_000)
    assert street.fleet.status()["counter_reuse"] == 1


# the clock


def shown(client) -> int:
    raw = client(client.session.get(CLOCK))
    return int(CosemDateTime.parse(raw[2:]).utc(TimeZoneRule()).timestamp())


def test_the_clock_shows_true_time_plus_its_drift():
    street = Street()
    client = street.client(2)
    assert shown(client) == NOW + truth.clock_error(7, 2, NOW) != NOW
    street.now += 10 * truth.DAY
    assert shown(client) == street.now + truth.clock_error(7, 2, street.now)


def test_a_clock_that_was_set_shows_that_and_then_drifts_again():
    street = Street()
    client = street.client(2)
    client(client.session.set(CLOCK, b"\x09\x0c" + stamp(NOW, UTC_ZONE)))
    assert shown(client) == NOW
    street.now += 5 * truth.DAY
    if truth.disciplined(7, 2, street.now) < NOW:
        assert shown(client) == street.now + truth.household(7, 2).drift * 5 * truth.DAY // 1_000_000
    assert [code for _, code in street.meter(2).events()[-2:]] == [Event.CLOCK_WAS, Event.CLOCK_IS]


def test_a_clock_that_was_set_leaves_the_rows_of_before_as_they_were():
    street = Street()
    client = street.client(2)
    before = client(client.session.get(LOAD, between(NOW - truth.DAY, NOW - truth.HOUR, TimeZoneRule())))
    client(client.session.action(MethodRef(8, CLOCK.obis, 6), b"\x10\x01\x2c"))  # shift_time(300)
    street.now += truth.DAY
    again = client(client.session.get(LOAD, between(NOW - truth.DAY, NOW - truth.HOUR, TimeZoneRule())))
    assert again == before
    later = entries(client(client.session.get(LOAD, between(NOW + 7_200, NOW + 7_200, TimeZoneRule()))))
    assert later[0][1] == list(truth.registers(7, 2, NOW + 7_200 - street.meter(2).clock_error(NOW + 7_200)))


@pytest.mark.parametrize(
    ("method", "parameter", "expected"),
    [
        pytest.param(6, "10fff6", lambda now: now - 10, id="shift_time(-10)"),
        pytest.param(3, "0f00", lambda now: (now + 30) // 60 * 60, id="adjust_to_minute"),
        pytest.param(1, "0f00", lambda now: (now + 450) // 900 * 900, id="adjust_to_quarter"),
        pytest.param(2, "0f00", lambda now: (now + 1_800) // 3_600 * 3_600, id="adjust_to_measuring_period"),
    ],
)
def test_the_clocks_methods_do_what_they_say(method, parameter, expected):
    street = Street(now=NOW + 1_234)
    client = street.client(2)
    before = shown(client)
    client(client.session.action(MethodRef(8, CLOCK.obis, method), bytes.fromhex(parameter)))
    assert shown(client) == expected(before)


def test_a_preset_time_is_taken_within_its_validity():
    street = Street()
    client = street.client(2)
    moments = (NOW + 60, NOW - 100, NOW + 100)
    preset = b"\x02\x03" + b"".join(b"\x09\x0c" + stamp(at, UTC_ZONE) for at in moments)
    client(client.session.action(MethodRef(8, CLOCK.obis, 5), preset))
    client(client.session.action(MethodRef(8, CLOCK.obis, 4), b"\x0f\x00"))
    assert shown(client) == NOW + 60
    with pytest.raises(AccessDenied):  # it is taken once
        client(client.session.action(MethodRef(8, CLOCK.obis, 4), b"\x0f\x00"))


@pytest.mark.parametrize("validity", [(-100, -10), (10, 100)], ids=["over", "to come"])
def test_a_preset_time_is_not_taken_outside_of_its_validity(validity):
    street = Street()
    client = street.client(2)
    before = shown(client)
    moments = (NOW + 60, *(NOW + each for each in validity))
    preset = b"\x02\x03" + b"".join(b"\x09\x0c" + stamp(at, UTC_ZONE) for at in moments)
    client(client.session.action(MethodRef(8, CLOCK.obis, 5), preset))
    with pytest.raises(AccessDenied):
        client(client.session.action(MethodRef(8, CLOCK.obis, 4), b"\x0f\x00"))
    assert shown(client) == before


@pytest.mark.parametrize("seconds", [-901, 901])
def test_a_clock_is_shifted_by_a_quarter_of_an_hour_at_most(seconds):
    street = Street()
    client = street.client(2)
    before = shown(client)
    with pytest.raises(AccessDenied):
        client(client.session.action(MethodRef(8, CLOCK.obis, 6), b"\x10" + seconds.to_bytes(2, "big", signed=True)))
    assert shown(client) == before


@pytest.mark.parametrize("value", ["0901ff", "0600000001", "090c" + "ff" * 12, "00"])
def test_a_time_that_is_none_is_refused(value):
    street = Street()
    client = street.client(2)
    with pytest.raises(AccessDenied):
        client(client.session.set(CLOCK, bytes.fromhex(value)))
    assert shown(client) == NOW + truth.clock_error(7, 2, NOW)


# the relay


def relay(client) -> tuple[bytes, bytes]:
    return tuple(client(client.session.get(AttributeRef(70, RELAY, number))) for number in (2, 3))


def test_the_relay_disconnects_and_reconnects_and_nothing_is_counted_in_between():
    street = Street()
    client = street.client(1)
    assert relay(client) == (b"\x03\x01", b"\x16\x01")
    client(client.session.action(MethodRef(70, RELAY, 1), b"\x0f\x00"))
    assert relay(client) == (b"\x03\x00", b"\x16\x00")
    at_break = client(client.session.get(ref("3,1-0:1.8.0*255,2")))
    street.now += truth.HOUR
    assert client(client.session.get(ref("3,1-0:1.8.0*255,2"))) == at_break
    assert client(client.session.get(ref("3,1-0:1.7.0*255,2"))) == b"\x06\x00\x00\x00\x00"
    client(client.session.action(MethodRef(70, RELAY, 2), b"\x0f\x00"))
    assert relay(client) == (b"\x03\x01", b"\x16\x01")
    street.now += truth.HOUR
    gained = truth.registers(7, 1, NOW + 7_200).active_import - truth.registers(7, 1, NOW + 3_600).active_import
    after = client(client.session.get(ref("3,1-0:1.8.0*255,2")))
    assert int.from_bytes(after[1:], "big") - int.from_bytes(at_break[1:], "big") == gained > 0
    codes = [code for _, code in street.meter(1).events()[-2:]]
    assert codes == [Event.REMOTE_DISCONNECTION, Event.REMOTE_CONNECTION]


@pytest.mark.parametrize(("mode", "state"), [(1, Relay.READY), (2, Relay.CONNECTED), (3, Relay.READY)])
def test_in_some_modes_the_householder_has_to_press_the_button(mode, state):
    street = Street(habits=Habits(relay_mode=mode))
    client = street.client(1)
    client(client.session.action(MethodRef(70, RELAY, 1), b"\x0f\x00"))
    client(client.session.action(MethodRef(70, RELAY, 2), b"\x0f\x00"))
    assert street.meter(1).relay is state
    assert street.meter(1).switch(Trigger.MANUAL_RECONNECT) is (state is Relay.READY)
    assert street.meter(1).relay is Relay.CONNECTED


def test_mode_0_never_disconnects():
    street = Street(habits=Habits(relay_mode=0))
    client = street.client(1)
    with pytest.raises(AccessDenied):
        client(client.session.action(MethodRef(70, RELAY, 1), b"\x0f\x00"))
    assert street.meter(1).relay is Relay.CONNECTED


def test_only_the_management_client_sets_the_relays_mode():
    street = Street()
    mode = AttributeRef(70, RELAY, 4)
    client = street.client(1)
    with pytest.raises(AccessDenied):
        client(client.session.set(mode, b"\x16\x01"))
    manager = street.client(1, MANAGEMENT, title=b"HES00001")
    manager(manager.session.set(mode, b"\x16\x01"))
    assert manager(manager.session.get(mode)) == b"\x16\x01"
    with pytest.raises(AccessDenied):
        manager(manager.session.set(mode, b"\x16\x09"))


def test_the_concentrators_keys_are_not_the_managements():
    street = Street()
    assert street.meter(1).keys(1) != street.meter(1).keys(MANAGEMENT)


# demand, events


def test_demand_registers_are_the_gain_of_their_quarters():
    street = Street(now=NOW + 500)
    client = street.client(1)
    start = NOW
    counted = [truth.registers(7, 1, at).active_import for at in (start - 900, start, NOW + 500)]
    assert client(client.session.get(ref("5,1-0:1.4.0*255,2")))[1:] == (4 * (counted[2] - counted[1])).to_bytes(
        4, "big"
    )
    assert client(client.session.get(ref("5,1-0:1.4.0*255,3")))[1:] == (4 * (counted[1] - counted[0])).to_bytes(
        4, "big"
    )
    highest = max(truth.power(7, 1, at)[0] for at in range(NOW - NOW % truth.DAY, NOW, 900))
    assert client(client.session.get(ref("4,1-0:1.6.0*255,2")))[1:] == highest.to_bytes(4, "big")


def test_the_event_log_is_read_by_range_with_the_utilitys_rounds():
    street = Street()
    client = street.client(1)
    rows = decode_rows(client(client.session.get(EVENTS)), TimeZoneRule(), period=0)
    assert [code for _, code in rows] == [Event.CLOCK_WAS, Event.CLOCK_IS] * 12
    assert int(rows[-1][0].timestamp()) == truth.disciplined(7, 1, NOW)
    client(client.session.action(MethodRef(70, RELAY, 1), b"\x0f\x00"))
    recent = client(client.session.get(EVENTS, between(NOW - truth.HOUR, NOW + 60, TimeZoneRule())))
    assert [code for _, code in decode_rows(recent, TimeZoneRule(), period=0)] == [Event.REMOTE_DISCONNECTION]


def test_a_client_with_other_keys_is_refused_without_any_data():
    street = Street()
    street.meter(1).key_salt = "other"
    with pytest.raises((AssociationRefused, SecurityError)):
        street.client(1)
    assert street.fleet.status()["counters_accepted"] == 0


@settings(deadline=None)
@given(st.sampled_from([1, MANAGEMENT, PUBLIC, 99]), st.binary(max_size=40), st.integers(0, 9), st.integers(0, 10))
def test_whatever_a_client_writes_or_selects_the_device_answers_or_denies(sap, value, number, method):
    device = Device(Street(1).meter(1))
    for obis in (CLOCK.obis, RELAY, LOAD.obis, EVENTS.obis, Obis.parse("0-0:25.9.0*255"), Obis.parse("0-0:40.0.0*255")):
        for class_id in (7, 8, 15, 40, 70):
            attribute = AttributeRef(class_id, obis, number)
            with suppress(Denied):
                axdr.decode(device.get(sap, attribute, Selection(number, value) if value else None))
            with suppress(Denied):
                device.set(sap, attribute, None, value)
            with suppress(Denied):
                device.action(sap, MethodRef(class_id, obis, method), value)


@given(st.integers(0, 3), st.lists(st.integers(0, 2**32 - 1), min_size=4, max_size=4))
def test_any_entry_selection_is_answered_or_denied(selector, bounds):
    device = Device(Street(1, habits=Habits(capacity=10)).meter(1))
    first, last, left, right = bounds
    parameter = axdr.structure(axdr.u32(first), axdr.u32(last), axdr.u16(left & 0xFFFF), axdr.u16(right & 0xFFFF))
    with suppress(Denied):
        axdr.decode(device.get(1, LOAD, Selection(selector, axdr.encode(parameter))))
