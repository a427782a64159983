"""Files that people write: a mistake names the file, the key and what is allowed."""

import re
import tomllib
from pathlib import Path

import msgspec
import pytest

from dcu.collect import meter_profile, settings
from dcu.collect.meter_profile import Families, MeterProfile
from dcu.collect.reach import endpoint
from dcu.collect.settings import CollectorConfig
from dcu.errors import ConfigError

DOCS = Path(__file__).parents[3] / "docs"
LEAST = """
system_title = "4443550000000001"
[keys]
file = "keys"
[store]
directory = "store"
[[medium]]
name = "lan"
addresses = ["tcp://*"]
"""


def keys_of(kind, prefix=""):
    """Every key that a Struct has, tables included."""
    found = set()
    for field in msgspec.structs.fields(kind):
        inner = field.type
        if getattr(inner, "__origin__", None) is tuple:
            inner = inner.__args__[0]
        if isinstance(inner, type) and issubclass(inner, msgspec.Struct):
            found |= keys_of(inner, f"{prefix}{field.encode_name}.")
        else:
            found.add(f"{prefix}{field.encode_name}")
    return found


def written(text):
    """Every key that a file has, those in comments too."""
    bare = re.sub(r"^# (?=(?:[a-z0-9_]+ = |\[))", "", text, flags=re.M)
    table, found = "", set()
    for line in bare.splitlines():
        if match := re.match(r"\[+([a-z.]+)\]+", line):
            table = match[1] + "."
        elif match := re.match(r"([a-z0-9_]+) = ", line):
            found.add(table + match[1])
    return found, tomllib.loads(bare)


def test_the_example_explains_every_key_and_shows_its_default():
    found, example = written((DOCS / "collector.toml").read_text())
    assert found == keys_of(CollectorConfig)
    shown = msgspec.convert(example, CollectorConfig)
    assert msgspec.structs.replace(shown, system_title="", keys=None, store=None, medium=()) == msgspec.structs.replace(
        msgspec.convert(tomllib.loads(LEAST), CollectorConfig), system_title="", keys=None, store=None, medium=()
    )
    assert shown.store == settings.StoreTable(directory="/var/lib/dcu/store")
    lan = settings.MediumTable(name="lan", addresses=("tcp://*", "udp://*"))
    cabinet = settings.MediumTable(name="cabinet", device="/dev/ttyS1")
    assert shown.medium == (lan, cabinet, settings.MediumTable(name="street", device="/dev/ttyS2"))
    settings.load(DOCS / "collector.toml")


def test_the_generic_family_explains_every_key_and_shows_its_default():
    path = Path(meter_profile.__file__).parent / "families" / "generic.toml"
    found, example = written(path.read_text())
    assert found == keys_of(MeterProfile)
    shown = msgspec.convert(example, MeterProfile)
    assert shown.poll == (meter_profile.Poll(profile="1-0:99.1.0*255"),)
    bare = msgspec.structs.replace(shown, description="", poll=())
    assert bare == MeterProfile(name="generic")


def test_paths_are_relative_to_the_file(tmp_path):
    path = tmp_path / "collector.toml"
    path.write_text(LEAST + '[control]\nsocket = "/run/x.sock"\n')
    loaded = settings.load(path)
    assert loaded.keys.file == str(tmp_path / "keys")
    assert loaded.store.directory == str(tmp_path / "store")
    assert loaded.control.socket == "/run/x.sock"
    assert loaded.keys.kek == ""


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (("4443550000000001", "4443"), "system_title: 16 hexadecimal digits"),
        (("4443550000000001", "xx43550000000001"), "system_title: 16 hexadecimal digits"),
        (('["tcp://*"]', "[]"), r"medium\[0\].addresses"),
        (('name = "lan"', 'name = "lan"\nconcurrency = -1'), r"medium\[0\].concurrency: 1..1000"),
        (('name = "lan"', 'name = "lan"\nduty = 2.0'), r"medium\[0\].duty"),
        (('name = "lan"', 'name = "lan"\ncolour = 1'), "colour"),
        (("[keys]", "[keyz]"), "keyz"),
        (("[[medium]]", '[push]\ntcp = "4060"\n[[medium]]'), "push.tcp: HOST:PORT"),
        (("[[medium]]", "[limits]\ncounter_block = 1\n[[medium]]"), "limits.counter_block"),
        (("[[medium]]", "[retry]\nfactor = 0.5\n[[medium]]"), "retry.factor"),
    ],
)
def test_a_mistake_names_file_key_and_what_is_allowed(tmp_path, change, text):
    path = tmp_path / "collector.toml"
    path.write_text(LEAST.replace(*change))
    with pytest.raises(ConfigError, match=text) as caught:
        settings.load(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("table", "text"),
    [
        ('[security]\ncounter = "43.1"', "security.counter"),
        ('[time]\nzone = "Mars/Olympus"', "time.zone"),
        ("[time]\ndeviation_sign = 2", "deviation_sign"),
        ("[addresses]\nclient = 0", "addresses.client: 1..65535"),
        ("[addresses]\nuser = 256", "addresses.user: -1"),
        ("[session]\nmax_pdu = 10", "session.max_pdu"),
        ("[clock]\ntolerance = 1000.0", "clock.tolerance"),
        ('[[poll]]\nprofile = "x"', r"poll\[0\].profile"),
        ('[[poll]]\nprofile = "1-0:99.1.0*255"\ndelay = 7200.0', r"poll\[0\].delay"),
        ('[[poll]]\nprofile = "1-0:99.1.0*255"\nhistory = 1.0', r"poll\[0\].scheduled"),
        ("[quirks]\nselective_access = 'none'", "selective_access"),
        ("[quirk]", "quirk"),
    ],
)
def test_a_mistake_in_a_meter_profile_names_file_key_and_what_is_allowed(tmp_path, table, text):
    path = tmp_path / "own.toml"
    path.write_text(f'name = "own"\n{table}\n')
    with pytest.raises(ConfigError, match=text) as caught:
        meter_profile.load(path)
    assert str(path) in str(caught.value)


def test_ones_own_families_stand_beside_those_that_ship_and_win(tmp_path):
    (tmp_path / "a.toml").write_text('name = "generic"\ndescription = "our own"\n')
    (tmp_path / "b.toml").write_text('name = "other"\n')
    families = Families(tmp_path)
    assert families.get("generic").description == "our own"
    assert {family.name for family in families} >= {"generic", "other", "public"}
    with pytest.raises(ConfigError, match="no meter profile 'none'; there are: generic"):
        families.get("none")


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("192.0.2.7:4059", ("192.0.2.7", 4059)),
        ("[2001:db8::7]:4059", ("2001:db8::7", 4059)),
        ("meter.example:1", ("meter.example", 1)),
        ("2001:db8::7:4059", None),
        ("host", None),
        (":4059", None),
        ("host:70000", None),
        ("host:x", None),
    ],
)
def test_endpoints(text, where):
    assert endpoint(text) == where


@pytest.mark.parametrize(
    ("keys", "exchanges"),
    [
        ('addresses = ["tcp://*"]', 8),
        ('device = "ttyS1"', 1),
        ('modem = "g3"\ndevice = "ttyS2"', 1),
        ('modem = "g3"\ndevice = "ttyS2"\nconcurrency = 3', 3),
    ],
)
def test_a_bus_and_a_power_line_carry_one_exchange_at_a_time_unless_somebody_says(keys, exchanges):
    table = msgspec.convert(tomllib.loads(f'name = "street"\n{keys}'), settings.MediumTable)
    assert table.medium().concurrency == exchanges
