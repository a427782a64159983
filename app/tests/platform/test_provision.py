"""Provisioning: once, doubly, restored from its twin, and anew on command only."""

import os
import tomllib
from pathlib import Path

import pytest

from dcu.errors import ConfigError, StoreError
from dcu.platform.machine import Machine
from dcu.platform.provision import CREDENTIAL, Provisioning, State

TEMPLATE = Path(__file__).parents[3] / "meta-grid-dcu/recipes-metering/dcu/files/collector.toml"


@pytest.fixture
def machine(tmp_path):
    for name in (
        "persist/dcu",
        "persist/dcu.twin",
        "persist/device",
        "persist/device.twin",
        "persist/etc/upper",
        "run",
    ):
        (tmp_path / name).mkdir(parents=True)
    return Machine(
        persist=tmp_path / "persist",
        credentials=tmp_path / "run",
        serial=tmp_path / "serial",
        template=TEMPLATE,
    )


def kek(machine):
    return (machine.credentials / CREDENTIAL).read_bytes()


def damage(machine, *copies):
    for copy in copies:
        (machine.persist / copy / "identity").write_bytes(b"noise")


def test_a_first_boot_makes_identity_key_and_configuration(machine):
    (machine.persist / "etc/upper/hostname").write_text("of somebody else's doing")
    machine.serial.write_bytes(b"DCU-0042\0")
    provisioning = Provisioning(machine)
    assert provisioning.state() is State.NEW
    done = provisioning.run()
    assert done.identity.serial == "DCU-0042"
    assert bytes.fromhex(done.identity.system_title)[:3] == b"DCU"
    assert len(kek(machine)) == 32
    assert (machine.credentials / CREDENTIAL).stat().st_mode & 0o777 == 0o600
    configuration = machine.persist / "dcu/collector.toml"
    assert tomllib.loads(configuration.read_text())["system_title"] == done.identity.system_title
    assert configuration.stat().st_mode & 0o777 == 0o640
    assert provisioning.state() is State.WHOLE


def test_every_later_boot_finds_the_same(machine):
    first, key = Provisioning(machine).run(), kek(machine)
    (machine.credentials / CREDENTIAL).unlink()
    later = Provisioning(machine).run()
    assert (later.identity, kek(machine)) == (first.identity, key)
    assert later.notes == ()


def test_without_a_serial_number_one_is_made_up_and_two_devices_differ(machine, tmp_path):
    one = Provisioning(machine).run().identity
    other = tmp_path / "other"
    (other / "dcu").mkdir(parents=True)
    two = Provisioning(Machine(persist=other, credentials=tmp_path, serial=tmp_path / "no", template=TEMPLATE)).run()
    assert one.system_title != two.identity.system_title


@pytest.mark.parametrize("copy", ["device", "device.twin"])
def test_a_damaged_copy_is_restored_from_its_twin(machine, copy):
    before = Provisioning(machine).run().identity
    damage(machine, copy)
    assert Provisioning(machine).state() is State.ONE_COPY
    done = Provisioning(machine).run()
    assert done.identity == before
    assert any("restored" in note for note in done.notes)
    assert Provisioning(machine).state() is State.WHOLE


def lose(machine, how):
    if how == "damaged":
        damage(machine, "device", "device.twin")
    elif how == "one damaged, one gone":
        damage(machine, "device")
        (machine.persist / "device.twin/identity").unlink()
    else:
        for path in machine.persist.rglob("identity"):
            path.unlink()


@pytest.mark.parametrize("how", ["damaged", "one damaged, one gone", "gone beside other files"])
def test_both_lost_is_said_and_nothing_is_done_by_itself(machine, how):
    Provisioning(machine).run()
    (machine.credentials / CREDENTIAL).unlink()
    lose(machine, how)
    before = sorted(os.walk(machine.persist))
    assert Provisioning(machine).state() is State.LOST
    with pytest.raises(StoreError, match=r"lost in both copies: `dcu device provision --again`"):
        Provisioning(machine).run()
    assert sorted(os.walk(machine.persist)) == before
    assert not (machine.credentials / CREDENTIAL).exists()  # the collector does not start


def test_on_command_it_is_made_anew_and_the_old_keys_are_set_aside(machine):
    before = Provisioning(machine).run().identity
    old = kek(machine)
    for folder in ("dcu", "dcu.twin"):
        (machine.persist / folder / "keys").write_bytes(b"wrapped under the lost key")
    lose(machine, "damaged")
    done = Provisioning(machine).run(again=True)
    assert done.identity.system_title != before.system_title
    assert kek(machine) != old
    assert not (machine.persist / "dcu/keys").exists()
    assert (machine.persist / "dcu/keys.lost").exists()
    text = (machine.persist / "dcu/collector.toml").read_text()
    assert tomllib.loads(text)["system_title"] == done.identity.system_title
    assert Provisioning(machine).state() is State.WHOLE


def test_what_is_whole_is_not_provisioned_again(machine):
    Provisioning(machine).run()
    with pytest.raises(ConfigError, match="nothing to provision again"):
        Provisioning(machine).run(again=True)


def test_a_first_boot_that_power_cut_short_is_still_a_first_boot(machine):
    """What is left of the first write is a file that was not yet renamed."""
    (machine.persist / "device.twin/identity.new").write_bytes(b"half")
    assert Provisioning(machine).state() is State.NEW
    assert Provisioning(machine).run().identity


def test_what_people_configure_is_kept_and_restored(machine):
    Provisioning(machine).run()
    path = machine.persist / "dcu/collector.toml"
    path.write_text(path.read_text() + "[limits]\nbatch = 3\n")
    Provisioning(machine).run()
    path.write_bytes(b"\0" * 100)
    notes = Provisioning(machine).run().notes
    assert tomllib.loads(path.read_text())["limits"]["batch"] == 3
    assert any("restored from its twin" in note for note in notes)
    path.unlink()
    Provisioning(machine).run()
    assert tomllib.loads(path.read_text())["limits"]["batch"] == 3


def test_a_configuration_outlives_its_kept_copies(machine):
    Provisioning(machine).run()
    for folder in ("device", "device.twin"):
        (machine.persist / folder / "collector.toml").write_bytes(b"noise")
    before = (machine.persist / "dcu/collector.toml").read_bytes()
    assert any("made anew" in note for note in Provisioning(machine).run().notes)
    assert (machine.persist / "dcu/collector.toml").read_bytes() == before
    assert Provisioning(machine).run().notes == ()


@pytest.mark.parametrize("serial", [b"", b"\xff\xfe", b"a" * 40, b"with\nline"])
def test_a_serial_number_that_cannot_be_printed_is_not_taken(machine, serial):
    machine.serial.write_bytes(serial)
    assert Provisioning(machine).run().identity.serial.isalnum()


def test_nothing_shows_the_key(machine):
    done = Provisioning(machine).run()
    assert kek(machine).hex() not in repr((done, Provisioning(machine).identity()))
