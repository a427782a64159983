"""`dcu run` and `dcu store check`: what keeps a collector from starting, and each command where there is none."""

import re
import socket
import subprocess
import sys

import pytest

from tests.cli.house import CONFIG, ONE, House, until
from tests.cli.street import NAME

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
        ('name = "lan"', 'name = "lan"\nconcurrency = -1', "key medium[0].concurrency: 1..1000 exchanges at a time"),
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
