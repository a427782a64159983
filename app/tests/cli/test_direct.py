"""`dcu read`, `objects`, `clock`, `disconnect` and `reconnect` over a link of their own, against meters on loopback.

What is compared with is the street's truth: UTC seconds and integers, before any encoding.
"""

import fcntl
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime

import pytest

from dcu.clock import SystemClock
from dcu.cosem.association import Authentication
from neighbourhood import truth
from neighbourhood.faults import Fault
from neighbourhood.meter import CONCENTRATOR, Relay
from neighbourhood.times import Zone
from tests.cli.street import ACTED, ACTION, GET, GOT, RLRE, SEED

ENERGY = "1-0:1.8.0*255"
LOAD = "1-0:99.1.0*255"
EVENTS = "0-0:99.98.0*255"
NAME = "0-0:42.0.0*255"
HOUR = 3600


def iso(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def truths(first: int, last: int) -> list[list[object]]:
    return [[iso(row.timestamp), *row.registers] for row in truth.rows(SEED, 1, first, last)]


def without_status(rows: list[list[object]]) -> list[list[object]]:
    return [[row[0], *row[2:]] for row in rows]


# --- associations, links


@pytest.mark.parametrize("carrier", ["tcp", "udp"])
@pytest.mark.parametrize("auth", ["none", "low", "gmac", "dedicated"])
def test_a_meter_is_read_with_every_authentication_over_tcp_and_udp(dcu, street, auth, carrier):
    kind = Authentication.GMAC if auth == "dedicated" else Authentication[auth.upper()]
    here = street(authentication=kind)
    options = [f"--{carrier}", here.at(carrier)] if auth == "none" else here.options(carrier, kind.name.lower())
    done = dcu("read", *options, *(["--dedicated"] if auth == "dedicated" else []), NAME, "--json")
    assert (done.code, done.err) == (0, "")
    (answer,) = done.json
    assert answer["value"] == "GDM" + here.meter.serial.removeprefix("GDM").rjust(13, "0")
    assert here.fleet.counts.refused == {}


def test_a_family_fills_in_what_the_options_leave_open(dcu, street):
    here = street()
    done = dcu("read", "--tcp", here.at(), "--family", "generic", "--keys", here.keys, ENERGY, "--json")
    assert done.code == 0
    assert here.meter.heard.accepted > 0  # it was a ciphered association


def test_the_public_client_of_a_family_needs_no_keys(dcu, street):
    here = street()
    assert dcu("read", "--tcp", here.at(), "--family", "generic", "--client", 16, NAME).code == 0


# --- what is read


def test_a_register_is_scaled_named_and_right(dcu, street):
    here = street()
    before = truth.registers(SEED, 1, int(time.time()))
    done = dcu("read", *here.options(), ENERGY, "1.0.32.7.0.255", "3,1-0:1.8.0*255,3", "--json")
    after = truth.registers(SEED, 1, int(time.time()) + 1)
    energy, voltage, scale = done.json
    assert list(energy) == ["object", "name", "value", "unit", "raw"]
    assert energy["object"] == "3,1-0:1.8.0*255,2"
    assert energy["name"] == "Active energy import (+A)"
    assert before.active_import <= energy["value"] <= after.active_import
    assert energy["raw"] == f"06{energy['value']:08x}"
    assert energy["unit"] == "Wh"
    assert voltage["unit"] == "V"
    assert voltage["raw"] == f"12{round(voltage['value'] * 10):04x}"  # a tenth of a volt a digit
    assert scale["value"] == {"scaler": 0, "unit": "Wh"}


def test_extended_and_demand_registers_are_scaled_too(dcu, street):
    refs = ("4,1-0:1.6.0*255,2", "5,1-0:1.4.0*255,2", "5,1-0:1.4.0*255,3", "5,1-0:1.4.0*255,8")
    answers = dcu("read", *street().options(), *refs, "--json").json
    assert [answer["unit"] for answer in answers] == ["W", "W", "W", ""]
    assert answers[-1]["value"] == truth.QUARTER


def test_a_date_time_is_shown_as_the_meter_shows_it_and_in_utc(dcu, street):
    here = street(zone=Zone("Asia/Kolkata"))
    options = ("8,0-0:1.0.0*255,2", "8,0-0:1.0.0*255,5")
    clock, begin = dcu("read", *here.options(), *options, "--json").json
    shown, utc = clock["value"]["local"], datetime.fromisoformat(clock["value"]["utc"])
    assert clock["value"]["deviation"] == -330
    assert (datetime.fromisoformat(shown).replace(tzinfo=UTC) - utc).total_seconds() == 330 * 60
    assert abs(utc.timestamp() - here.meter.shown()) <= 2
    assert begin["value"] == "****-**-** **:**:**"  # no daylight saving there
    table = dcu("read", *here.options(), *options).out
    assert f"{shown[:11]}" in table
    assert " UTC" in table


def test_values_that_nest_are_spelled_out(dcu, street):
    refs = ("7,1-0:99.1.0*255,3", "40,0-0:25.9.0*255,3", "15,0-0:40.0.0*255,2", "70,0-0:96.3.10*255,3")
    out = dcu("read", *street().options(), *refs).out
    assert "8, 0-0:1.0.0*255, 2, 0" in out
    assert "0, empty, 0" in out
    assert "class 70, version 0, obis 0-0:96.3.10*255" in out
    assert "connected" in out
    assert not set("[]{}'") & set(out)


def test_the_last_rows_of_a_profile_are_the_truth_s(dcu, street):
    here = street()
    last = here.meter.shown() // HOUR * HOUR
    (table,) = dcu("read", *here.options(), LOAD, "--last", 3, "--json").json
    assert list(table) == ["profile", "name", "columns", "rows"]
    assert table["profile"] == LOAD
    assert table["columns"][2] == {"attribute": "3,1-0:1.8.0*255,2", "scaler": 0, "unit": "Wh"}
    assert without_status(table["rows"]) == truths(last - 2 * HOUR, last)


@pytest.mark.parametrize("carrier", ["tcp", "udp"])
def test_a_range_of_a_profile_includes_both_ends(dcu, street, carrier):
    here = street()
    last = here.meter.shown() // HOUR * HOUR - 5 * HOUR
    (table,) = dcu(
        "read", *here.options(carrier), LOAD, "--from", iso(last - 100 * HOUR), "--to", iso(last), "--json"
    ).json
    assert without_status(table["rows"]) == truths(last - 100 * HOUR, last)


def test_times_of_a_range_may_have_an_offset_and_the_end_may_be_left_out(dcu, street):
    here = street()
    last = here.meter.shown() // HOUR * HOUR
    east = datetime.fromtimestamp(last - HOUR + 2 * HOUR, UTC).strftime("%Y-%m-%dT%H:%M+02:00")
    (table,) = dcu("read", *here.options(), LOAD, "--from", east, "--json").json
    assert without_status(table["rows"]) == truths(last - HOUR, last)


def test_without_a_window_the_whole_buffer_comes(dcu, street):
    here = street(capacity=48)
    (table,) = dcu("read", *here.options(), LOAD, "--json").json
    assert len(table["rows"]) == 48


def test_a_range_without_rows_is_said_to_have_none(dcu, street):
    done = dcu("read", *street().options(), LOAD, "--from", "1999-01-01", "--to", "1999-01-02")
    assert (done.code, done.out) == (0, "1-0:99.1.0*255 Load profile 1 (recording interval 1): no rows\n")


def test_an_event_log_is_read_like_any_profile(dcu, street):
    here = street()
    dcu("disconnect", *here.options())
    (table,) = dcu("read", *here.options(), EVENTS, "--last", 1, "--json").json
    assert [row[1] for row in table["rows"]] == [62]  # remote disconnection


def test_answers_stand_in_the_order_of_the_objects(dcu, street):
    wanted = (LOAD, ENERGY, "1-0:99.9.9", EVENTS, NAME)
    done = dcu("read", *street().options(), *wanted, "--last", 1, "--json")
    assert [answer.get("object", answer.get("profile")) for answer in done.json] == [
        LOAD,
        "3,1-0:1.8.0*255,2",
        "1-0:99.9.9*255",
        EVENTS,
        "1,0-0:42.0.0*255,2",
    ]


def test_what_one_object_is_refused_does_not_hide_the_others(dcu, street):
    wanted = (ENERGY, "3,1-0:99.99.9*255,2", "9999,1-0:1.8.0*255,2")
    here = street()
    done = dcu("read", *here.options(), *wanted, "--json")
    assert done.code == 6
    energy, unknown, strange = done.json
    assert energy["unit"] == "Wh"
    assert unknown["error"] == {"kind": "AccessDenied", "message": "3,1-0:99.99.9*255,2: object-undefined (4)"}
    assert "object-class-inconsistent" in strange["error"]["message"]
    done = dcu("read", *here.options(), *wanted)
    assert "not read: object-undefined (4)" in done.out
    assert done.err == "dcu: 3,1-0:99.99.9*255,2: object-undefined (4)\n"


def test_an_object_that_the_meter_has_not_got_is_named(dcu, street):
    done = dcu("read", *street().options(), "1-0:99.99.99")
    assert (done.code, done.out) == (6, "")
    assert done.err == "dcu: the meter holds no object 1-0:99.99.99*255 for this client: see `dcu objects`\n"


# --- zones


FAMILY = '[security]\ncounter = "0-0:43.1.0*255"\n[time]\nzone = "{zone}"\ndeviation_sign = {sign}\n'


@pytest.mark.parametrize(("sign", "deviation"), [(-1, True), (1, False), (1, True)])
def test_a_family_says_how_a_clock_counts(dcu, street, tmp_path, sign, deviation):
    here = street(zone=Zone("Asia/Riyadh", sign, deviation))
    family = tmp_path / "riyadh.toml"
    family.write_text('name = "riyadh"\n' + FAMILY.format(zone="Asia/Riyadh", sign=sign))
    last = here.meter.shown() // HOUR * HOUR
    options = (*here.options(), "--family", family, "--json")
    (table,) = dcu("read", *options, LOAD, "--from", iso(last - 2 * HOUR)).json
    assert without_status(table["rows"]) == truths(last - 2 * HOUR, last)
    (clock,) = dcu("read", *options, "8,0-0:1.0.0*255,2").json
    assert abs(datetime.fromisoformat(clock["value"]["utc"]).timestamp() - here.meter.shown()) <= 2
    assert abs(dcu("clock", *options).json["offset"] - here.meter.clock_error(int(time.time()))) <= 2


def test_a_clock_without_deviation_is_not_passed_off_as_utc(dcu, street):
    here = street(zone=Zone("Asia/Riyadh", deviation=False))
    warning = "taken for UTC: the meter does not say its deviation, and no --family its zone\n"
    assert dcu("clock", *here.options()).err == warning
    assert dcu("read", *here.options(), LOAD, "--last", 1).err == warning
    (clock,) = dcu("read", *here.options(), "8,0-0:1.0.0*255,2", "--json").json
    assert clock["value"]["utc"] is None
    assert "UTC unknown (--family)" in dcu("read", *here.options(), "8,0-0:1.0.0*255,2").out
    done = dcu("clock", *here.options(), "--sync")
    assert done.code == 9
    assert "name a --family with its time zone" in done.err


# --- objects


def test_objects_lists_classes_names_and_rights(dcu, street):
    here = street()
    records = dcu("objects", *here.options(), "--json").json
    assert next(record for record in records if record["object"] == "0-0:1.0.0*255") == {
        "class": 8,
        "version": 0,
        "object": "0-0:1.0.0*255",
        "name": "Clock",
        "kind": "Clock",
        "readable": list(range(1, 10)),
        "writable": [2],
        "methods": list(range(1, 7)),
    }
    assert [record["class"] for record in records] == sorted(record["class"] for record in records)
    table = dcu("objects", *here.options()).out
    assert re.search(r"^8 Clock +0-0:1\.0\.0\*255 +Clock +1–9 +2 +1–6$", table, re.MULTILINE)


def test_the_public_client_sees_less(dcu, street):
    here = street()
    every = dcu("objects", *here.options(), "--json").json
    assert 0 < len(dcu("objects", "--tcp", here.at(), "--json").json) < len(every)


@pytest.mark.parametrize("columns", [40, 60, 80, 120])
def test_no_cell_is_cut_however_narrow_the_terminal(dcu, street, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    here = street()
    out = dcu("read", *here.options(), ENERGY, LOAD, "--last", 2).out
    last = here.meter.shown() // HOUR * HOUR
    for at, *registers in truths(last - HOUR, last):
        for cell in (str(at)[:10], *map(str, registers)):
            assert cell in out
    assert "…" not in out


# --- the clock


def test_the_clock_is_shown_with_its_offset(dcu, street):
    here = street()
    error = here.meter.clock_error(int(time.time()))
    found = dcu("clock", *here.options(), "--json").json
    assert list(found) == ["meter_time", "offset", "adjusted", "after"]
    assert abs(found["offset"] - error) <= 2
    assert (found["adjusted"], found["after"]) == (False, None)


def test_the_clock_is_not_set_from_one_that_is_not_synchronised(dcu, street, monkeypatch):
    monkeypatch.setattr(SystemClock, "trusted", False)
    here = street(ahead=60)
    done = dcu("clock", *here.options(), "--sync")
    assert done.code == 9
    assert "this machine's own is not synchronised: nothing is set from it" in done.err
    assert here.meter._sets == []


@pytest.mark.parametrize("ahead", [60, -500])
def test_sync_shifts_the_clock_and_reads_it_back(dcu, street, monkeypatch, ahead):
    monkeypatch.setattr(SystemClock, "trusted", True)
    here = street(ahead=ahead)
    done = dcu("clock", *here.options(), "--sync")
    assert done.code == 0
    assert re.search(rf" UTC, \d+ s {'ahead of' if ahead > 0 else 'behind'} ours$", done.out, re.MULTILINE)
    assert done.out.splitlines()[1] == "set; now as ours"
    assert abs(here.meter.shown() - time.time()) <= 2


def test_a_clock_within_tolerance_is_left_as_it_is(dcu, street, monkeypatch):
    monkeypatch.setattr(SystemClock, "trusted", True)
    here = street()
    here.meter.set_clock(int(time.time()))
    sets = list(here.meter._sets)
    assert dcu("clock", *here.options(), "--sync").out.splitlines()[1] == "left as it is"
    assert here.meter._sets == sets


def test_a_clock_that_is_far_off_is_set_where_the_family_allows_it(dcu, street, monkeypatch, tmp_path):
    monkeypatch.setattr(SystemClock, "trusted", True)
    here = street(ahead=-86400 * 400)
    refused = dcu("clock", *here.options(), "--sync")
    assert refused.code == 9
    assert "more than the 900 s that are set right (a --family's clock.largest)" in refused.err
    family = tmp_path / "bench.toml"
    family.write_text('name = "bench"\n[clock]\nlargest = 1e9\n')
    assert dcu("clock", *here.options(), "--sync", "--family", family).code == 0
    assert abs(here.meter.shown() - time.time()) <= 2
    family.write_text('name = "bench"\n[clock]\nadjust = "never"\n')
    here.meter.set_clock(0)
    done = dcu("clock", *here.options(), "--sync", "--family", family)
    assert done.code == 9
    assert "its family forbids to touch it (clock.adjust)" in done.err


# --- the relay


@pytest.mark.parametrize("carrier", ["tcp", "udp"])
def test_disconnect_and_reconnect_tell_what_the_relay_did(dcu, street, carrier):
    here = street()
    done = dcu("disconnect", *here.options(carrier))
    assert (done.code, done.out) == (0, "supply disconnected, relay disconnected\n")
    assert here.meter.relay is Relay.DISCONNECTED
    done = dcu("reconnect", *here.options(carrier), "--json")
    assert done.json == {"output": True, "state": "connected", "confirmed": True}
    assert here.meter.relay is Relay.CONNECTED


def test_a_meter_that_waits_for_the_button_is_ready(dcu, street):
    here = street(relay_mode=3)
    dcu("disconnect", *here.options())
    done = dcu("reconnect", *here.options(), "--json")
    assert done.json == {"output": False, "state": "ready_for_reconnection", "confirmed": True}


def test_a_mode_that_allows_nothing_is_the_meter_s_no(dcu, street):
    here = street(relay_mode=0)
    done = dcu("disconnect", *here.options())
    assert (done.code, done.out) == (6, "")
    assert here.meter.relay is Relay.CONNECTED


def test_a_relay_that_did_not_follow_is_told(dcu, street, monkeypatch):
    here = street()
    monkeypatch.setattr(type(here.meter), "disconnect", lambda self: True)
    done = dcu("disconnect", *here.options())
    assert (done.code, done.out) == (1, "supply connected, relay connected\n")
    assert "the meter took the disconnect, and its relay did not follow: look at its control mode" in done.err


# --- keys and counters


@pytest.mark.parametrize("carrier", ["tcp", "udp"])
@pytest.mark.parametrize("key", ["gak", "guek"])
def test_a_wrong_key_says_which_to_check(dcu, street, tmp_path, key, carrier):
    here = street()
    wrong = tmp_path / "wrong.toml"
    wrong.write_text(re.sub(rf'^{key} = ".*"', f'{key} = "{"5a" * 16}"', here.keys.read_text(), flags=re.MULTILINE))
    wrong.chmod(0o600)
    done = dcu("read", *here.options(carrier), "--keys", wrong, "--timeout", 0.3, ENERGY)
    assert (done.code, done.out) == (7, "")
    assert re.match(r"dcu: authentication failed: .*check the GAK", done.err)


def test_a_wrong_password_is_an_authentication_that_failed(dcu, street, tmp_path):
    here = street(authentication=Authentication.LOW)
    wrong = tmp_path / "wrong.toml"
    wrong.write_text('password = "11111111"\n')
    wrong.chmod(0o600)
    done = dcu("read", *here.options(auth="low"), "--keys", wrong, ENERGY)
    assert done.code == 7
    assert done.err.startswith("dcu: authentication failed: ")


def test_keys_that_others_may_read_are_warned_of(dcu, street):
    here = street()
    here.keys.chmod(0o644)
    done = dcu("read", *here.options(), NAME)
    assert done.code == 0
    assert done.err == f"{here.keys}: other users of this machine can read these keys: chmod 600 {here.keys}\n"


def counter_file(tmp_path):
    (found,) = (tmp_path / "state" / "dcu" / "counters").iterdir()
    return found


def test_the_first_counter_lies_above_what_the_public_client_is_told(dcu, street, tmp_path):
    here = street()
    born = here.meter.heard.highest
    assert born > 0
    assert dcu("read", *here.options(), NAME).code == 0
    kept = int(counter_file(tmp_path).read_text())
    assert here.meter.heard.highest == kept - 1 > born
    assert here.fleet.status()["counter_reuse"] == 0


@pytest.fixture
def asked(monkeypatch):
    """How often the meter was asked for its counter."""
    from dcu.cli import direct

    calls: list[int] = []
    ask = direct.meter_counter

    async def counted(where):
        calls.append(await ask(where))
        return calls[-1]

    monkeypatch.setattr(direct, "meter_counter", counted)
    return calls


@pytest.mark.parametrize("carrier", ["tcp", "udp"])
def test_a_meter_whose_counter_is_ahead_of_ours_is_asked_once_more(dcu, street, asked, carrier):
    here = street()
    options = (*here.options(carrier), "--timeout", 0.3, NAME)
    assert dcu("read", *options).code == 0
    assert dcu("read", *options).code == 0
    assert len(asked) == 1  # what was kept is enough
    (title,) = here.meter.heard._floors
    here.meter.heard.accept(title, 9_000)  # as if another machine had used our title
    assert dcu("read", *options).code == 0
    assert asked[1:] == [9_000]
    assert dcu("read", *options).code == 0
    assert len(asked) == 2


def test_a_counter_far_ahead_is_not_believed(dcu, street, tmp_path):
    here = street()
    assert dcu("read", *here.options(), NAME).code == 0
    kept = counter_file(tmp_path).read_text()
    (title,) = here.meter.heard._floors
    here.meter.heard.accept(title, 0xFFFFFFF0)
    done = dcu("read", *here.options(), NAME)
    assert done.code == 7
    assert "the meter says that counter 4294967280 was used" in done.err
    assert done.err.endswith(f"not believed; if it is true, delete {counter_file(tmp_path)}\n")
    assert int(counter_file(tmp_path).read_text()) < int(kept) + 8


def test_a_meter_that_refuses_for_ever_is_asked_once_too(dcu, street, asked, tmp_path):
    here = street()
    assert dcu("read", *here.options(), NAME).code == 0
    here.meter.given = None  # now it has other keys
    here.meter._associations = None
    done = dcu("read", *here.options(), NAME)
    assert done.code == 7
    assert len(asked) == 2


def test_a_meter_that_tells_no_counter_is_not_ciphered_to(dcu, street, tmp_path):
    here = street()
    family = tmp_path / "odd.toml"
    family.write_text('name = "odd"\n[security]\ncounter = "0-0:43.1.77*255"\n')
    done = dcu("read", *here.options(), "--family", family, NAME)
    assert done.code == 6
    assert "gives the public client (SAP 16) no invocation counter (0-0:43.1.77*255)" in done.err
    assert here.meter.heard.accepted == 0


def test_a_counter_file_in_use_or_damaged_is_one_sentence(dcu, street, tmp_path):
    here = street()
    assert dcu("read", *here.options(), NAME).code == 0
    path = counter_file(tmp_path)
    with path.open() as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        done = dcu("read", *here.options(), NAME)
        assert done.code == 10
        assert done.err == f"dcu: {path} is locked: another dcu command talks to this meter, wait for it\n"
    path.write_text("zz")
    done = dcu("read", *here.options(), NAME)
    assert done.code == 10
    assert done.err == f"dcu: {path} is damaged: delete it, and the meter is asked for its counter instead\n"
    path.unlink()
    assert dcu("read", *here.options(), NAME).code == 0


# --- a path that loses


def through(path) -> tuple[object, ...]:
    return "--udp", f"127.0.0.1:{path.port}", "--timeout", 0.25


def once(apdu: int, number: int = 1):
    """Loses the `number`th APDU that begins so."""
    seen = 0

    def loses(path, first: int) -> bool:
        nonlocal seen
        seen += first == apdu
        return first == apdu and seen == number

    return loses


@pytest.mark.parametrize("lost", [GET, GOT])
def test_a_get_is_repeated_whichever_way_it_was_lost(dcu, street, lost):
    here = street()
    path = here.lossy(once(lost))
    done = dcu("read", *here.options("udp"), *through(path), "1,0-0:42.0.0*255,2")
    assert done.code == 0
    assert path.sent.count(GET) == 2
    assert here.fleet.status()["counter_reuse"] == 0


def test_an_association_is_tried_again_and_a_lost_farewell_costs_nothing(dcu, street):
    here = street()
    path = here.lossy(once(ACTED))  # the meter's proof
    assert dcu("read", *here.options("udp"), *through(path), "1,0-0:42.0.0*255,2").code == 0
    path = here.lossy(once(RLRE))
    assert dcu("read", *here.options("udp"), *through(path), "1,0-0:42.0.0*255,2").code == 0


PROOF = 1  # the first ACTION of an association is the HLS one


def test_an_action_whose_answer_was_lost_is_not_sent_again_but_read_back(dcu, street):
    here = street()
    path = here.lossy(once(ACTED, PROOF + 1))
    done = dcu("disconnect", *here.options("udp"), *through(path))
    assert (done.code, done.out) == (0, "supply disconnected, relay disconnected\n")
    assert path.sent.count(ACTION) == PROOF + 1


def test_an_action_that_was_lost_itself_is_not_sent_again_either(dcu, street):
    here = street()
    path = here.lossy(once(ACTION, PROOF + 1))
    done = dcu("disconnect", *here.options("udp"), *through(path))
    assert done.code == 9
    assert "the disconnect was not executed" in done.err
    assert "the relay was read back, and did not move" in done.err
    assert path.sent.count(ACTION) == PROOF + 1
    assert here.meter.relay is Relay.CONNECTED


def test_canary_a_client_that_repeats_actions_is_found_out(dcu, street, monkeypatch):
    from dcu.cli.direct import Direct
    from dcu.cosem import axdr

    async def careless(self, method, parameter):
        await self._repeated(lambda: self._session.action(method, axdr.encode(parameter)))

    monkeypatch.setattr(Direct, "action", careless)
    here = street()
    path = here.lossy(once(ACTED, PROOF + 1))
    dcu("disconnect", *here.options("udp"), *through(path))
    assert path.sent.count(ACTION) == PROOF + 2


def test_a_clock_shift_whose_answer_was_lost_is_not_sent_again(dcu, street, monkeypatch):
    monkeypatch.setattr(SystemClock, "trusted", True)
    here = street(ahead=100)
    path = here.lossy(once(ACTED, PROOF + 1))
    done = dcu("clock", *here.options("udp"), *through(path), "--sync")
    assert (done.code, done.out.splitlines()[1]) == (0, "set; now as ours")
    assert path.sent.count(ACTION) == PROOF + 1


def test_whether_it_was_done_is_unknown_when_the_meter_falls_silent(dcu, street):
    here = street()
    path = here.lossy(lambda path, first: path.sent.count(ACTION) > PROOF)
    done = dcu("disconnect", *here.options("udp"), *through(path))
    assert done.code == 9
    assert "whether the disconnect took effect is unknown" in done.err
    assert path.sent.count(ACTION) == PROOF + 1


def test_a_connection_that_breaks_on_a_command_is_opened_anew_to_read_back(dcu, street, monkeypatch):
    here = street()
    talk = here.fleet.talk

    def breaking(meter, peer, *, lossy=False):
        handler = talk(meter, peer, lossy=lossy)
        acted = 0

        def handle(client, server, apdu):
            nonlocal acted
            acted += apdu[0] == ACTION
            answer = handler(client, server, apdu)
            if apdu[0] == ACTION and acted > PROOF:
                peer.close()
                return None
            return answer

        return handle

    monkeypatch.setattr(here.fleet, "talk", breaking)
    done = dcu("disconnect", *here.options())
    assert (done.code, done.out) == (0, "supply disconnected, relay disconnected\n")


# --- meters that are not well


def fault(written: str) -> dict[str, object]:
    return {"faults": (Fault.parse(written),)}


@pytest.mark.parametrize("carrier", ["tcp", "udp"])
@pytest.mark.parametrize(
    ("kind", "codes"),
    [
        ("nonsense:1", {6}),
        ("garbage:1", {5, 6, 7}),  # over UDP anybody could have sent it: silence; else the meter answered nonsense
        ("replays:1", {5, 6, 7}),
        ("silent:1", {5}),
        ("drops=2:1", {5}),
        ("wrong-key:1", {7}),
        ("slow=9:1", {5}),
    ],
)
@pytest.mark.parametrize("command", [("read", "3,1-0:1.8.0*255,2"), ("objects",), ("disconnect",)])
def test_a_meter_that_is_not_well_costs_one_line(dcu, street, kind, codes, carrier, command):
    here = street(**fault(kind))
    if kind == "wrong-key:1":
        here.meter.given = None
    if kind == "drops=2:1" and carrier == "udp":
        codes = {0, 5}  # nobody hangs up on a datagram
    name, *objects = command
    if name == "disconnect":
        codes = codes | {9}  # the command went out, and what it did cannot be read back
    if name == "objects" and kind == "replays:1":
        codes = codes | {0}  # nothing was asked twice
    done = dcu(name, *here.options(carrier), "--timeout", 0.15, *objects)
    assert done.code in codes
    assert len(done.err.splitlines()) <= 1


def test_nonsense_is_said_to_be_the_meter_s(dcu, street):
    here = street(**fault("nonsense:1"))
    assert "the object list does not decode" in dcu("objects", *here.options()).err
    assert "no value of any type" in dcu("read", *here.options(), "1,0-0:96.1.0*255,2").err
    assert "does not decode" in dcu("read", *here.options(), f"7,{LOAD},2", "--last", 1).err
    assert "does not decode" in dcu("clock", *here.options()).err


def test_a_port_that_speaks_something_else_is_named_so(dcu):
    def answer(server: socket.socket) -> None:
        peer, _ = server.accept()
        with peer:
            peer.recv(1000)
            peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 10)

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=answer, args=[server])
        thread.start()
        done = dcu("read", "--tcp", f"127.0.0.1:{server.getsockname()[1]}", "--timeout", 2, NAME)
        thread.join()
    assert done.code == 5
    assert "check that this port speaks the DLMS wrapper" in done.err


# --- command lines that are wrong


def test_a_refused_port_is_said_with_its_address(dcu):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    done = dcu("read", "--tcp", f"127.0.0.1:{port}", NAME)
    assert (done.code, done.err) == (
        5,
        f"dcu: 127.0.0.1:{port} refuses the connection: nothing listens there, check the port\n",
    )
    done = dcu("read", "--udp", f"127.0.0.1:{port}", "--timeout", 0.3, NAME)
    assert done.code == 5
    assert str(port) in done.err


HERE = ("--tcp", "127.0.0.1:9")


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("read", *HERE), 2, "Missing argument 'OBJECT...'"),
        (("read", *HERE, "bogus"), 3, "'bogus' is no OBIS code: write 1-0:1.8.0*255 or 1.0.1.8.0.255"),
        (("read", *HERE, "1-0:1.8.999"), 3, "is no OBIS code"),
        (("read", *HERE, "3,1-0:1.8.0"), 3, "is no attribute: write CLASS,OBIS,ATTRIBUTE"),
        (("read", *HERE, "99999,1-0:1.8.0,2"), 3, "a class is 0..65535"),
        (("read", NAME), 2, "say which meter: one of --tcp HOST:PORT, --udp HOST:PORT and --meter NAME"),
        (("read", *HERE, "--udp", "127.0.0.1:9", NAME), 2, "say which meter"),
        (("read", *HERE, "--meter", "X", NAME), 2, "say which meter"),
        (("clock", "--meter", "X", "--client", "1", "--keys", "k"), 2, "--client, --keys: a meter of the collector"),
        (("read", "--tcp", "nowhere", NAME), 3, "'nowhere' is no address: write HOST:PORT"),
        (("read", "--tcp", "h:0", NAME), 3, "is no address"),
        (("read", "--tcp", "h:99999", NAME), 3, "is no address"),
        (("read", "--udp", "::1:4059", NAME), 3, "[2001:db8::7]:4059"),
        (("read", *HERE, "--last", "0", LOAD), 2, "0 is not in the range"),
        (("read", *HERE, "--last", "3", "--from", "2025-01-01", LOAD), 2, "--last stands alone"),
        (("read", *HERE, "--to", "2025-01-01", LOAD), 2, "--to needs --from"),
        (("read", *HERE, "--from", "2025-01-02", "--to", "2025-01-01", LOAD), 2, "is after --to"),
        (("read", *HERE, "--from", "yesterday", LOAD), 3, "'yesterday' is no time: write 2026-11-19"),
        (("read", *HERE, "--auth", "gmac", NAME), 3, "authentication gmac needs --keys FILE"),
        (("read", *HERE, "--auth", "low", NAME), 3, "authentication low needs --keys FILE"),
        (("read", *HERE, "--auth", "md5", NAME), 2, "'md5' is not one of 'none', 'low', 'gmac'"),
        (("read", *HERE, "--dedicated", NAME), 3, "--dedicated is for --auth gmac"),
        (("read", *HERE, "--family", "nobody's", NAME), 3, 'no meter profile "nobody\'s"; there are: generic'),
        (("read", *HERE, "--family", "not-there.toml", NAME), 3, "not-there.toml: cannot be read"),
        (("read", *HERE, "--client", "0", NAME), 2, "0 is not in the range"),
        (("read", *HERE, "--timeout", "0", NAME), 2, "not in the range"),
        (("objects", *HERE, "surplus"), 2, "unexpected extra argument"),
        (("clock", *HERE, "--keys", "k.toml", "--auth", "gmac"), 3, "k.toml: cannot be read: No such file"),
        (("disconnect",), 2, "say which meter"),
        (("read", "--meter", "X", NAME), 5, "no collector listens on "),
    ],
)
def test_a_wrong_command_line_says_what_is_allowed(dcu, arguments, code, says):
    done = dcu(*arguments)
    assert (done.code, done.out) == (code, "")
    assert says in done.err


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("guek = ", "not TOML"),
        ('guek = "00"', "key guek: allowed are 32 hexadecimal digits"),
        ('gauk = "00"', "unknown field `gauk`"),
        ("", "key system_title is missing: the meter's, 16 hexadecimal digits"),
        ('system_title = "47444d0000000001"', "key guek is missing: the global unicast encryption key, hexadecimal"),
        (f'system_title = "47444d0000000001"\nguek = "{"00" * 16}"', "key gak is missing"),
        (
            'system_title = "47444d0000000001"\nclient_title = "47444d0000000001"\n'
            f'guek = "{"00" * 16}"\ngak = "{"00" * 16}"',
            "client and meter have the same system title: nonces would be used twice",
        ),
        ("suite = 7", "key suite: allowed: 0, 1, 2"),
        ("suite = 1", "key suite: 0 is the one suite that can be used so far"),
    ],
)
def test_a_mistake_in_the_keys_file_names_file_and_key_and_shows_no_secret(dcu, tmp_path, text, says):
    path = tmp_path / "keys.toml"
    path.write_text(text)
    path.chmod(0o600)
    done = dcu("read", *HERE, "--auth", "gmac", "--keys", path, NAME)
    assert (done.code, done.out) == (3, "")
    assert done.err.startswith(f"dcu: {path}: ")
    assert says in done.err
    assert "00000000" not in done.err


def test_options_that_select_rows_want_a_profile(dcu, street):
    done = dcu("read", *street().options(), ENERGY, "--last", 3)
    assert (done.code, done.out) == (2, "")
    assert "none of these objects is one" in done.err


@pytest.mark.parametrize("command", ["read", "objects", "clock", "disconnect", "reconnect"])
def test_help_names_every_default(dcu, command):
    done = dcu(command, "--help")
    assert done.code == 0
    told = " ".join(done.out.split())
    assert "[default: the family's, else 16: public]" in told
    assert "[default: the family's, else none]" in told
    assert "[default: 10; 300]" in told


# --- Ctrl-C


def test_ctrl_c_ends_at_once_with_one_line(street, tmp_path):
    here = street(**fault("silent:1"))
    environment = {**os.environ, "XDG_STATE_HOME": str(tmp_path), "DCU_SOCKET": str(tmp_path / "none")}
    command = [sys.executable, "-c", "from dcu.cli.main import main; main()", "read", "--tcp", here.at(), NAME]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        while not here.fleet.counts.connections:
            time.sleep(0.02)
        time.sleep(0.1)
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=10)
    assert (process.returncode, err) == (130, "\ndcu: interrupted\n")  # a line of its own, below the terminal's ^C
    assert time.monotonic() - began < 2


def test_the_client_speaks_as_client_one_of_the_street(street):
    assert street().meter.associations()[CONCENTRATOR].authentication is Authentication.GMAC
