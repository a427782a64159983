"""`dcu read` and `dcu objects` over a link of their own, against meters on loopback.

What is compared with is the street's truth: UTC seconds and integers, before any encoding.
"""

import re
import time
from datetime import UTC, datetime

import pytest

from dcu.cosem.association import Authentication
from neighbourhood import truth
from neighbourhood.fleet import Addressing
from neighbourhood.times import Zone
from tests.cli.street import ENERGY, EVENTS, HOUR, LOAD, NAME, SEED, iso, truths, without_status
from tests.cosem.small_meter import ASSOCIATED

SUITED = {"ecdsa": ", suite 1"}
PROTECTED = {"gmac": "glo-, suite 0", "ecdsa": "glo-, suite 1"}

# --- associations, links


@pytest.mark.parametrize("suite", [1, 2])
@pytest.mark.parametrize("auth", ["gmac", "ecdsa", "sha256"])
def test_a_meter_of_suites_1_and_2_is_read(dcu, street, auth, suite):
    here = street(authentication=Authentication[auth.upper()], suite=suite, ciphered=True)
    done = dcu("read", *here.options(auth=auth), "--ciphered", "--dedicated", ENERGY, "--json")
    assert (done.code, done.json[0]["unit"]) == (0, "Wh")
    assert here.fleet.status()["refused"] == {}


@pytest.mark.conforms(
    "Referencing",
    lambda auth: f"SN, {ASSOCIATED[Authentication[auth.upper()]]}{SUITED.get(auth, '')}, {PROTECTED.get(auth, 'none')}",
    peer="ours",
    link="wrapper",
)
@pytest.mark.parametrize("auth", ["low", "gmac", "sha256", "ecdsa"])
def test_a_meter_is_read_by_short_names(dcu, street, auth):
    suite = 1 if auth == "ecdsa" else 0
    here = street(authentication=Authentication[auth.upper()], suite=suite, short=True)
    done = dcu("read", *here.options(auth=auth), "--sn", ENERGY, "--json")
    assert (done.code, done.json[0]["unit"]) == (0, "Wh")
    assert "1-0:99.1.0*255" in dcu("objects", *here.options(auth=auth), "--sn").out
    rows = dcu("read", *here.options(auth=auth), "--sn", LOAD, "--last", 3, "--json")
    assert len(rows.json[0]["rows"]) == 3
    assert dcu("disconnect", *here.options(auth=auth), "--sn").code == 0
    assert here.fleet.status()["refused"] == {}


def test_short_names_are_spoken_over_datagrams_where_both_sides_authenticate(dcu, street):
    here = street(short=True)
    assert dcu("read", *here.options("udp"), "--sn", ENERGY, "--json").json[0]["unit"] == "Wh"
    done = dcu(
        "read", *street(authentication=Authentication.LOW, short=True).options("udp", auth="low"), "--sn", ENERGY
    )
    assert done.code == 3
    assert "short names over UDP: a late answer would pass for another" in done.err


def test_a_meter_of_logical_names_is_not_read_by_short_ones(dcu, street):
    done = dcu("read", *street().options(), "--sn", ENERGY)
    assert (done.code, done.out) == (6, "")
    assert "application-context-name-not-supported" in done.err


def test_a_meter_that_is_configured_ciphered_is_not_read_in_the_clear(dcu, street):
    here = street(authentication=Authentication.SHA256, ciphered=True)
    done = dcu("read", *here.options(auth="sha256"), ENERGY)
    assert done.code == 6
    assert "application-context-name-not-supported" in done.err


def test_a_wrong_signing_key_is_an_authentication_that_failed(dcu, street):
    here = street(authentication=Authentication.ECDSA, suite=1)
    lines = here.keys.read_text().splitlines()
    other = {"meter_signing": "meter_agreement"}
    values = dict(line.split(" = ", 1) for line in lines if " = " in line)
    for name, source in other.items():
        values[name] = values[source]
    here.keys.write_text("".join(f"{name} = {value}\n" for name, value in values.items()))
    done = dcu("read", *here.options(auth="ecdsa"), ENERGY)
    assert done.code == 7
    assert "does not fit: check its public key or certificate" in done.err


@pytest.mark.conforms(
    "Association",
    lambda auth: ASSOCIATED[Authentication["GMAC" if auth == "dedicated" else auth.upper()]],
    peer="ours",
    link=lambda carrier: "HDLC" if carrier == "hdlc" else f"wrapper over {carrier.upper()}",
)
@pytest.mark.conforms(
    "Link",
    lambda carrier: None if carrier == "hdlc" else "wrapper",
    peer="ours",
    link=lambda carrier: carrier.upper(),
)
@pytest.mark.parametrize("carrier", ["tcp", "udp", "hdlc"])
@pytest.mark.parametrize("auth", ["none", "low", "high", "md5", "sha1", "sha256", "gmac", "dedicated"])
def test_a_meter_is_read_with_every_authentication_over_every_link(dcu, street, auth, carrier):
    kind = Authentication.GMAC if auth == "dedicated" else Authentication[auth.upper()]
    hdlc, carrier = carrier == "hdlc", "tcp" if carrier == "hdlc" else carrier
    here = street(authentication=kind, place=Addressing("127.0.0.1", 0, 0, hdlc=hdlc))
    options = [f"--{carrier}", here.at(carrier)] if auth == "none" else here.options(carrier, kind.name.lower())
    options += ["--framing", "hdlc"] if hdlc else []
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


@pytest.mark.parametrize("auth", ["low", "high", "sha256"])
def test_a_family_that_ciphers_is_never_spoken_to_in_the_clear(dcu, street, tmp_path, auth):
    """Its policy holds whatever its authentication is: the collector's does, and a password goes out with it."""
    family = tmp_path / "ciphering.toml"
    family.write_text(f'name = "ciphering"\n[security]\nauthentication = "{auth}"\n')
    here = street(authentication=Authentication[auth.upper()], ciphered=True)
    done = dcu("read", "--tcp", here.at(), "--family", family, "--keys", here.keys, NAME)
    assert (done.code, done.err) == (0, "")
    assert here.meter.heard.accepted > 0
    open_to_all = street(authentication=Authentication[auth.upper()])
    refused = dcu("read", "--tcp", open_to_all.at(), "--family", family, "--keys", open_to_all.keys, NAME)
    assert (refused.code, refused.out) == (6, "")
    assert dcu("read", "--tcp", here.at(), "--family", family, "--client", 16, NAME).code == 0  # it has no keys


def test_a_secret_that_the_makers_function_does_not_take_is_a_mistake_in_the_keys_file(dcu, street, tmp_path):
    wrong = tmp_path / "long.toml"
    wrong.write_text('password = "12345678901234567"\n')
    wrong.chmod(0o600)
    done = dcu("read", *street(authentication=Authentication.HIGH).options(auth="high"), "--keys", wrong, NAME)
    assert done.code == 3
    assert "a secret of at most 16 bytes" in done.err


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
    assert "transport_service TCP, destination empty, message A-XDR encoded xDLMS APDU" in out
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
