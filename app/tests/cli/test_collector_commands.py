"""The commands that speak to a collector, against one that runs: `dcu run` and a street, each a process of its own."""

import csv
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from dcu.cli import access, collector
from dcu.keys import shipment
from dcu.keys.wrapped import new_kek
from neighbourhood import truth
from neighbourhood.meter import serial
from tests.cli.conftest import Done

SEED = 7
ONE, TWO, ILL = (serial(SEED, number) for number in (1, 2, 3))
LOAD = "1-0:99.1.0*255"
EVENTS = "0-0:99.98.0*255"
NAME = "0-0:42.0.0*255"
HOUR, DAY = truth.HOUR, truth.DAY

FAMILY = """\
name = "simulated"
[security]
counter = "0-0:43.1.0*255"
[clock]
every = 864000.0
[[poll]]
profile = "1-0:99.1.0*255"
scheduled = 86400.0
history = 172800.0
"""
CONFIG = """\
system_title = "4443550000000001"
meter_profiles = "families"
trust_clock = "always"
log = "warning"
[keys]
file = "keys"
kek = "kek"
[store]
directory = "store"
[control]
socket = "control.sock"
[[medium]]
name = "lan"
addresses = ["tcp://*"]
"""


def command(module: str, *arguments: object) -> list[str]:
    return [sys.executable, "-c", f"from {module} import main; main()", *map(str, arguments)]


@dataclass(slots=True)
class House:
    """A collector and its street. told: what the first commands printed."""

    folder: Path
    collector: "subprocess.Popen[bytes] | None" = None
    addresses: dict[str, str] = field(default_factory=dict)
    told: dict[str, Done] = field(default_factory=dict)

    @property
    def socket(self) -> Path:
        return self.folder / "control.sock"

    def dcu(self, *arguments: object) -> Done:
        """Run `dcu` in a process of its own."""
        environment = {**os.environ, "DCU_SOCKET": str(self.socket), "XDG_STATE_HOME": str(self.folder / "state")}
        done = subprocess.run(
            command("dcu.cli.main", *arguments), env=environment, cwd=self.folder, capture_output=True, text=True
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def start(self) -> None:
        with (self.folder / "collector.log").open("ab") as log:
            self.collector = subprocess.Popen(
                command("dcu.cli.main", "run", "--config", "collector.toml"), cwd=self.folder, stderr=log
            )
        until(self.socket.is_socket)

    def stop(self) -> int:
        if self.collector is None:
            return 0
        self.collector.send_signal(signal.SIGTERM)
        code, self.collector = self.collector.wait(20), None
        return code


def until(holds: Callable[[], Any], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture(scope="module")
def house(tmp_path_factory) -> Iterator[House]:
    """Three meters; the third answers nonsense."""
    here = House(tmp_path_factory.mktemp("house"))
    new_kek(here.folder / "kek")
    (here.folder / "families").mkdir()
    (here.folder / "families" / "simulated.toml").write_text(FAMILY)
    (here.folder / "collector.toml").write_text(CONFIG)
    options = ("--count", 3, "--seed", SEED, "--udp", "--fault", "nonsense:3", "--profile", "simulated", "--json")
    files = ("--shipment", "shipment.toml", "--transport-key", "transport.key")
    street = subprocess.Popen(
        command("neighbourhood.cli", "meters", *options, *files), cwd=here.folder, stdout=subprocess.PIPE
    )
    try:
        assert street.stdout
        assert json.loads(street.stdout.readline())["ready"]
        shipped = shipment.read(here.folder / "shipment.toml").meters
        here.addresses = {meter.name: meter.address.removeprefix("tcp://") for meter in shipped}
        here.start()
        here.told["meters"] = here.dcu("meters")
        here.told["import"] = here.dcu("meters", "import", "shipment.toml", "--transport-key", "transport.key")
        until(lambda: collected(here))
        yield here
    finally:
        here.stop()
        street.send_signal(signal.SIGTERM)
        street.communicate(timeout=20)


def collected(house: House) -> bool:
    rows = collector.ask(house.socket, "meters")
    return [row["readings"] >= 48 or row["state"] == "quarantined" for row in rows] == [True] * 3


@pytest.fixture
def run(house, dcu, monkeypatch) -> Callable[..., Done]:
    """Run `dcu` in this process, the house's collector being this machine's."""
    monkeypatch.setenv("DCU_SOCKET", str(house.socket))
    return dcu


def iso(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def truths(first: int, last: int, number: int = 1) -> list[list[Any]]:
    return [[iso(row.timestamp), *row.registers] for row in truth.rows(SEED, number, first, last)]


def without_status(rows: list[list[Any]]) -> list[list[Any]]:
    return [[row[0], *row[2:]] for row in rows]


def state(run, meter: str) -> str:
    return next(row["state"] for row in run("meters", "--json").json if row["name"] == meter)


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


# --- profile


@pytest.fixture
def day() -> tuple[int, int]:
    """The last whole day that the meters' clocks have passed, whatever they are off."""
    last = int(time.time() - 120) // HOUR * HOUR
    return last - DAY + HOUR, last


def between(day: tuple[int, int]) -> tuple[str, ...]:
    return "--from", iso(day[0]), "--to", iso(day[1] + 1)


def test_a_collected_profile_is_the_truth(run, day):
    answer = run("profile", ONE, *between(day), "--json").json
    assert list(answer) == ["meter", "profile", "columns", "rows", "gaps", "more"]
    assert (answer["meter"], answer["profile"], answer["gaps"], answer["more"]) == (ONE, LOAD, [], False)
    assert answer["columns"][0] == {"attribute": "3,1-0:1.8.0*255,2", "scaler": 0, "unit": "Wh"}
    assert without_status(answer["rows"]) == truths(*day)


def test_the_csv_has_a_head_with_units_and_the_same_rows(run, day):
    head, *rows = csv.reader(io.StringIO(run("profile", ONE, *between(day), "--csv").out))
    assert head == ["time", "status", "1-0:1.8.0 Wh", "1-0:2.8.0 Wh", "1-0:3.8.0 varh", "1-0:4.8.0 varh"]
    assert [[row[0].replace("+00:00", "Z"), *map(int, row[2:])] for row in rows] == truths(*day)


def test_the_table_has_a_row_an_hour_and_shows_a_day_when_nothing_is_said(run):
    done = run("profile", ONE)
    assert done.code == 0
    assert done.out.splitlines()[0] == f"{ONE} {LOAD}"
    assert len(re.findall(r"^\d{4}-\d\d-\d\d \d\d:00:00 ", done.out, re.MULTILINE)) in (23, 24)


def test_a_long_profile_comes_in_pages(run, day, monkeypatch):
    whole = run("profile", ONE, *between(day), "--json").json
    asked = []
    ask = collector.ask
    monkeypatch.setattr(collector, "PAGE", 5)
    monkeypatch.setattr(collector, "ask", lambda *args, **params: asked.append(params) or ask(*args, **params))
    assert run("profile", ONE, *between(day), "--json").json == whole
    assert len(asked) == 5


def test_where_nothing_was_collected_it_says_so(run):
    done = run("profile", ONE, "--from", "2020-01-01", "--to", "2020-01-02")
    text = f"{ONE} {LOAD}: nothing was collected from 2020-01-01 00:00:00 to 2020-01-02 00:00:00 UTC\n"
    assert (done.code, done.out) == (0, text)
    assert run("profile", ILL).out.startswith(f"{ILL} {LOAD}: nothing was collected")


def test_what_is_missing_is_told_and_can_be_fetched(run, day):
    old = day[0] - 10 * DAY, day[0] - 9 * DAY - HOUR
    done = run("profile", TWO, *between(old))
    assert "nothing was collected" in done.out
    assert done.err == f"missing from {stamp(old[0])} to {stamp(old[1] + 1)} UTC\n"
    done = run("profile", TWO, *between(old), "--fetch", "--json")
    assert done.err == ""
    assert without_status(done.json["rows"]) == truths(*old, number=2)


def stamp(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%d %H:%M:%S")


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("nobody",), 3, "no meter 'nobody' is registered: see `dcu meters`"),
        ((ONE, "--profile", "zz"), 3, "'zz' is no OBIS code"),
        ((ONE, "--from", "2025-01-02", "--to", "2025-01-01"), 2, "--from 2025-01-02 is after --to 2025-01-01"),
        ((ONE, "--from", "2000-01-01"), 3, "at most 400 days"),
        ((ONE, "--from", "soon"), 3, "'soon' is no time"),
        ((ONE, "--csv", "--json"), 2, "--csv or --json, not both"),
        ((), 2, "Missing argument 'METER'"),
    ],
)
def test_a_wrong_question_for_a_profile_says_what_is_allowed(run, arguments, code, says):
    done = run("profile", *arguments)
    assert (done.code, done.out) == (code, "")
    assert says in done.err


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


# --- store check


def test_the_store_is_checked_while_it_is_used(run, house):
    done = run("store", "check")
    assert (done.code, done.err) == (0, "")
    counts = (
        r"store: files \d+, meters 3, readings \d+, waiting for the head-end 0; in use(, \d+ more .* wait in RAM)?\n"
    )
    assert re.match(counts, done.out)
    assert done.out.endswith("the store is whole\n")
    done = run("store", "check", "--directory", house.folder / "store", "--json")
    assert (done.json["ok"], done.json["in_use"], done.json["findings"]) == (True, True, [])


def test_a_directory_without_a_store_is_said_so(run, tmp_path):
    done = run("store", "check", "--directory", tmp_path)
    assert (done.code, done.err) == (10, f"dcu: {tmp_path}: there is no store: is the path right?\n")


# --- run


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('"4443550000000001"', '"44435500"', "key system_title: 16 hexadecimal digits"),
        ('system_title = "4443550000000001"\n', "", "missing required field `system_title`"),
        ("trust_clock", "trust_klock", "Object contains unknown field `trust_klock`; allowed here: system_title, keys"),
        ('"always"', '"often"', "key trust_clock: Invalid enum value 'often'"),
        ('directory = "store"', "directory = 7", "key store.directory: Expected `str`, got `int`"),
        ('file = "keys"', 'file = "keys"\nfill = 1', "key keys: Object contains unknown field `fill`"),
        ('[[medium]]\nname = "lan"\naddresses = ["tcp://*"]', "", "key medium: at least one [[medium]] table"),
        ('name = "lan"', 'name = "lan"\nconcurrency = 0', "key medium[0].concurrency: 1..1000 exchanges at a time"),
        ("[keys]", '[push]\ntcp = "4060"\n[keys]', "key push.tcp: HOST:PORT such as [::]:4060"),
        ("[keys]", "[keys", "not TOML: "),
    ],
)
def test_a_mistake_in_the_configuration_names_file_key_and_what_is_allowed(dcu, tmp_path, old, new, says):
    path = tmp_path / "collector.toml"
    assert old in CONFIG
    path.write_text(CONFIG.replace(old, new, 1))
    done = dcu("run", "--config", path)
    assert (done.code, done.out) == (3, "")
    assert done.err.startswith(f"dcu: {path}: ")
    assert says in done.err


def test_a_configuration_that_is_not_there_is_said_so(dcu, tmp_path):
    done = dcu("run", "--config", tmp_path / "none.toml")
    assert (done.code, done.err) == (3, f"dcu: {tmp_path}/none.toml: cannot be read: No such file or directory\n")
    done = dcu("run")
    assert (done.code, "Missing option '--config'" in done.err) == (2, True)


@pytest.mark.parametrize(
    ("old", "new", "code", "says"),
    [
        ("", "", 10, "the store is in use by process"),
        ('kek = "kek"', 'kek = "nowhere"', 4, "nowhere"),
        ('meter_profiles = "families"', 'meter_profiles = "broken"', 3, "broken/broken.toml: key time.zone: "),
        ('directory = "store"', 'directory = "second"', 3, "control.sock: another collector listens there"),
    ],
)
def test_a_second_collector_that_cannot_start_says_why(house, old, new, code, says):
    (house.folder / "broken").mkdir(exist_ok=True)
    (house.folder / "broken" / "broken.toml").write_text('name = "broken"\n[time]\nzone = "Mars/Olympus"\n')
    text = CONFIG.replace(old, new, 1)
    if code != 10:
        text = text.replace('directory = "store"', 'directory = "second"').replace(
            'file = "keys"', 'file = "second-keys"'
        )
    path = house.folder / "second.toml"
    path.write_text(text)
    done = house.dcu("run", "--config", path)
    assert done.code == code
    last = done.err.splitlines()[-1]
    assert last.startswith("dcu: ")
    assert says in last
    assert "Traceback" not in done.err


# --- the collector is not there


CALLS = [
    ("meters",),
    ("meters", "--json"),
    ("meters", "release", ONE),
    ("profile", ONE),
    ("store", "check"),
    ("read", "--meter", ONE, NAME),
    ("objects", "--meter", ONE),
    ("clock", "--meter", ONE),
    ("disconnect", "--meter", ONE),
]


@pytest.mark.parametrize("arguments", CALLS, ids=" ".join)
@pytest.mark.parametrize("kind", ["missing", "stale", "not a socket"])
def test_without_a_collector_each_command_says_how_to_start_one(dcu, tmp_path, monkeypatch, arguments, kind):
    path = tmp_path / "control.sock"
    if kind == "stale":
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(path))
    elif kind == "not a socket":
        path.touch()
    monkeypatch.setenv("DCU_SOCKET", str(path))
    done = dcu(*arguments)
    assert (done.code, done.out) == (5, "")
    assert done.err == f"dcu: no collector listens on {path}: start it with `dcu run --config FILE`\n"


def test_a_collector_that_hangs_up_is_one_line(dcu, tmp_path, monkeypatch):
    path = tmp_path / "control.sock"
    monkeypatch.setenv("DCU_SOCKET", str(path))
    code = "import socket, sys; s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen(); s.accept()"
    with subprocess.Popen([sys.executable, "-c", code, str(path)]) as other:
        until(path.is_socket)
        done = dcu("meters")
        other.wait(10)
    assert done.code == 5
    assert "closed the control socket" in done.err


@pytest.fixture(scope="module")
def stopped(house) -> House:
    """The same house, its collector ended. What uses this comes last."""
    assert house.stop() == 0
    return house


def test_a_collector_that_was_told_to_stop_has_kept_everything(stopped, run, day):
    report = run("store", "check", "--directory", stopped.folder / "store", "--json").json
    assert (report["ok"], report["in_use"]) == (True, False)
    assert report["readings"] >= 2 * 48
    assert not stopped.socket.exists()


def test_a_damaged_file_is_found_and_named(stopped, run):
    path = max((stopped.folder / "store").glob("readings-*.db"))
    raw = bytearray(path.read_bytes())
    raw[-4096:] = b"\xff" * 4096
    path.write_bytes(raw)
    done = run("store", "check", "--directory", stopped.folder / "store")
    assert done.code == 1
    assert re.search(rf"^WRONG  {path.name}: ", done.out, re.MULTILINE)
    assert done.out.endswith("the store is damaged\n")
