"""The commands that speak to a collector, against one that runs: meters, and one meter through it."""

import re
from pathlib import Path

import pytest

from dcu.cli import access
from tests.cli.done import Done
from tests.cli.house import ILL, ONE, TWO, House, state
from tests.cli.street import EVENTS, HOUR, LOAD, NAME, iso, truths, without_status

# --- meters


def test_a_collector_without_meters_says_how_to_get_some(house):
    assert house.told["meters"] == Done(0, "no meters yet: `dcu meters import SHIPMENT --transport-key FILE`\n", "")


def test_a_shipment_is_imported(house):
    assert house.told["import"] == Done(0, "3 meters imported from shipment.toml\n", "")


def test_meters_are_listed_with_the_reason_where_one_is_not_read(run):
    done = run("meters")
    assert done.code == 0
    assert re.search(
        rf"^{ONE} +ok +\d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d +\d{{4}}-\d\d-\d\d \d\d:00:00 +4[89]$", done.out, 8
    )
    assert re.search(rf"^{ILL} +quarantined +\d{{4}}.* – +0$", done.out, re.MULTILINE)
    assert f"{ILL} quarantined: the object list does not decode" in done.out
    assert done.err == "3 meters: 2 ok, 1 quarantined\n"
    assert "tcp://127.0.0.1:" not in done.out
    assert "tcp://127.0.0.1:" in run("meters", "--wide").out


def test_meters_as_json_have_moments_for_times(run, house):
    rows = run("meters", "--json").json
    assert " ".join(rows[0]) == (
        "name address profile state reason since last_contact last_reading readings associated"
    )
    assert rows[0]["address"] == f"tcp://{house.addresses[ONE]}"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:00:00Z", rows[0]["last_reading"])
    assert rows[2]["last_reading"] is None


def test_a_quarantined_meter_is_not_spoken_to_until_it_is_released(run):
    done = run("clock", "--meter", ILL)
    assert done.code == 9
    assert f"{ILL} is quarantined" in done.err
    done = run("meters", "release", ILL)
    assert done.code == 0
    assert done.out.startswith(f"{ILL} released; it was quarantined because the object list does not decode")
    assert state(run, ILL) == "new"
    assert run("objects", "--meter", ILL).code == 6
    assert state(run, ILL) == "quarantined"


def test_only_a_quarantined_meter_is_released(run):
    done = run("meters", "release", ONE)
    assert (done.code, done.err) == (3, f"dcu: {ONE} is not quarantined: its state is ok\n")
    assert run("meters", "release", "nobody", "--socket", "elsewhere").code == 5
    assert run("meters", "release", "nobody").err == "dcu: no meter 'nobody' is registered: see `dcu meters`\n"


def test_a_meters_counter_is_believed_before_the_next_association(run):
    done = run("meters", "counter", ONE)
    assert (done.code, done.out) == (0, f"{ONE}: its counter object is read and believed before the next association\n")
    assert run("meters", "counter", ONE, "--json").json["name"] == ONE
    assert run("meters", "counter", "nobody").err == "dcu: no meter 'nobody' is registered: see `dcu meters`\n"


def test_a_sound_key_file_is_not_reset(run):
    done = run("keys", "reset")
    assert (done.code, done.out) == (4, "")
    assert "sound" in done.err


def test_a_method_is_called_and_a_value_written_through_the_collector_which_audits_it(run):
    done = run("action", "--meter", TWO, "70,0-0:96.3.10*255,2", "i8:0")
    assert (done.code, done.out) == (0, "done\n")
    done = run("write", "--meter", TWO, "70,0-0:96.3.10*255,4", "enum:2")
    assert done.code == 6  # the collector's client may not configure
    assert "read-write-denied" in done.err


def test_keys_are_not_exported(run):
    done = run("meters", "export")
    assert (done.code, done.out) == (4, "")
    assert done.err.startswith("dcu: keys are not exported")


def test_importing_again_changes_nothing(run, house):
    paths = house.folder / "shipment.toml", "--transport-key", house.folder / "transport.key"
    assert run("meters", "import", *paths, "--json").json == {"imported": [ONE, TWO, ILL]}
    assert len(run("meters", "--json").json) == 3


def edited(house: House, tmp_path: Path, old: str, new: str) -> Path:
    path = tmp_path / "edited.toml"
    path.write_text((house.folder / "shipment.toml").read_text().replace(old, new))
    return path


@pytest.mark.parametrize(
    ("old", "new", "code", "says"),
    [
        ("format = 1", "format = 9", 3, "edited.toml: key format: 9 is not known here; allowed: 1"),
        ("wrapping =", "wraping =", 3, "edited.toml: Object contains unknown field `wraping`"),
        ("tcp://", "", 3, "key address: write SCHEME://HOST:PORT"),
        ("tcp://", "serial://", 3, "no medium takes the address serial://"),
        ('profile = "simulated"', 'profile = "other"', 3, "no meter profile 'other'; there are: "),
        ('guek = "', 'guek = "zz', 3, "key guek: hexadecimal digits"),
        ("[[meters]]", "[[meters", 3, "edited.toml: not TOML"),
    ],
)
def test_a_mistake_in_a_shipment_names_file_meter_and_key(run, house, tmp_path, old, new, code, says):
    path = edited(house, tmp_path, old, new)
    done = run("meters", "import", path, "--transport-key", house.folder / "transport.key")
    assert (done.code, done.out) == (code, "")
    assert says in done.err


def test_a_transport_key_that_does_not_fit_is_said_so(run, house, tmp_path):
    def imported(key: Path) -> Done:
        return run("meters", "import", house.folder / "shipment.toml", "--transport-key", key)

    other = tmp_path / "other.key"
    other.write_text("00" * 16)
    done = imported(other)
    assert (done.code, "is it the transport key that the shipment names?" in done.err) == (4, True)
    other.write_text("zz")
    assert imported(other).err == f"dcu: {other}: a transport key is 32, 48 or 64 hexadecimal digits\n"
    assert "cannot be read: No such file" in imported(tmp_path / "none").err
    assert (
        "cannot be read: No such file"
        in run("meters", "import", "none", "--transport-key", house.folder / "transport.key").err
    )


# --- read, objects, clock, relay: by name, and by an address that is the collector's


def test_a_meter_is_read_by_its_name(run, house):
    done = run("read", "--meter", ONE, NAME, "1-0:32.7.0", "8,0-0:1.0.0*255,2", "--json")
    assert (done.code, done.err) == (0, "")
    name, voltage, clock = done.json
    assert name["value"].endswith(ONE.removeprefix("GDM"))
    assert voltage["raw"] == f"12{round(voltage['value'] * 10):04x}"
    assert clock["value"]["utc"]


@pytest.mark.parametrize(("carrier", "host"), [("tcp", "127.0.0.1"), ("tcp", "localhost"), ("udp", "127.0.0.1")])
def test_an_address_that_is_the_collector_s_goes_through_it(run, house, carrier, host, tmp_path):
    at = house.addresses[ONE].replace("127.0.0.1", host)
    done = run("read", f"--{carrier}", at, NAME, "--json")
    assert done.code == 0
    assert done.err == f"{at} is {ONE} of the running collector, which is asked\n"
    done = run("clock", f"--{carrier}", at, "--client", 1, "--auth", "gmac", "--keys", "not-there.toml")
    assert done.code == 0
    assert "client, authentication and keys are the collector's" in done.err
    assert not (tmp_path / "state").exists()  # no counter of our own was spent


def test_a_collector_that_may_not_be_asked_is_told_of(run, house, monkeypatch):
    monkeypatch.setattr(access.os, "access", lambda path, mode: False)
    done = run("read", "--tcp", house.addresses[ONE], NAME)
    assert done.code == 0
    assert "a collector runs here, but" in done.err


def test_one_refusal_does_not_hide_the_others(run):
    done = run("read", "--meter", ONE, NAME, "3,1-0:99.99.9*255,2", "1-0:77.7.7", "--json")
    assert done.code == 6
    name, refused, unknown = done.json
    assert name["value"]
    assert refused["error"] == {"kind": "AccessDenied", "message": "3,1-0:99.99.9*255,2: object-undefined (4)"}
    assert unknown["error"]["message"].startswith("the meter holds no object 1-0:77.7.7*255")


def test_rows_of_a_profile_are_selected_as_over_a_link(run, day):
    (table,) = run("read", "--meter", ONE, LOAD, "--from", iso(day[1] - 3 * HOUR), "--to", iso(day[1]), "--json").json
    assert without_status(table["rows"]) == truths(day[1] - 3 * HOUR, day[1])
    (table,) = run("read", "--meter", ONE, LOAD, "--last", 2, "--json").json
    assert without_status(table["rows"])[-1] in truths(day[1], day[1] + HOUR)
    assert len(table["rows"]) == 2
    done = run("read", "--meter", ONE, LOAD)
    assert done.code == 3
    assert "say --last, or --from (and --to)" in done.err


def test_an_event_log_is_read_and_costs_the_meter_nothing(run):
    (table,) = run("read", "--meter", TWO, EVENTS, "--json").json
    assert len(table["rows"]) > 10
    (tail,) = run("read", "--meter", TWO, EVENTS, "--last", 3, "--json").json
    assert tail["rows"] == table["rows"][-3:]
    (late,) = run("read", "--meter", TWO, EVENTS, "--from", table["rows"][5][0], "--json").json
    assert late["rows"] == table["rows"][5:]
    assert state(run, TWO) == "ok"


def test_objects_are_those_of_the_collector_s_client(run):
    records = run("objects", "--meter", ONE, "--json").json
    assert {record["class"] for record in records} >= {1, 3, 4, 5, 7, 8, 15, 70}


def test_the_relay_is_switched_and_read_back(run):
    assert run("disconnect", "--meter", TWO).out == "supply disconnected, relay disconnected\n"
    done = run("reconnect", "--meter", TWO, "--json")
    assert done.json == {"output": True, "state": "connected", "confirmed": True}


def test_a_clock_is_compared_and_set(run):
    found = run("clock", "--meter", TWO, "--json").json
    assert (abs(found["offset"]) < 60, found["adjusted"]) == (True, False)
    assert run("clock", "--meter", TWO, "--sync").code == 0
    assert abs(run("clock", "--meter", TWO, "--json").json["offset"]) <= 4


@pytest.mark.parametrize("name", ["read", "objects", "clock", "disconnect", "reconnect"])
def test_a_meter_that_nobody_knows_is_said_so(run, name):
    done = run(name, "--meter", "nobody", *([NAME] if name == "read" else []))
    assert (done.code, done.out) == (3, "")
    assert done.err == "dcu: no meter 'nobody' is registered: see `dcu meters`\n"
