"""Provisioning: once, doubly, restored from its twin, and anew on command only."""

import dataclasses
import os
import random
import tomllib
from pathlib import Path

import pytest

from dcu.errors import ConfigError, StoreError
from dcu.platform.machine import Machine
from dcu.platform.provision import CREDENTIAL, MARK, Provisioning, State

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
    return made(tmp_path / "persist", tmp_path)


def made(persist, folder):
    """A factory-new device."""
    (persist / MARK).write_text("new")
    return Machine(
        persist=persist,
        credentials=folder / "run",
        serial=folder / "serial",
        template=TEMPLATE,
        mounted=lambda path: True,
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
    (tmp_path / "serial").unlink(missing_ok=True)
    two = Provisioning(made(other, tmp_path)).run()
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
        for path in machine.persist.rglob("identity" if how == "gone beside other files" else "*"):
            if path.is_file():
                path.unlink()


@pytest.mark.parametrize("how", ["damaged", "one damaged, one gone", "gone beside other files", "wiped"])
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


def test_a_persist_that_is_empty_and_was_never_the_factorys_is_lost_not_new(machine):
    (machine.persist / MARK).unlink()
    assert Provisioning(machine).state() is State.LOST
    assert Provisioning(machine).run(again=True).identity


def test_the_mark_of_the_factory_beside_our_files_proves_nothing(machine):
    Provisioning(machine).run()
    (machine.persist / MARK).write_text("came back")
    lose(machine, "gone beside other files")
    assert Provisioning(machine).state() is State.LOST


def test_a_persist_that_is_not_mounted_is_neither_new_nor_written_to(machine):
    away = dataclasses.replace(machine, mounted=lambda path: False)
    assert Provisioning(away).state() is State.ABSENT
    before = sorted(os.walk(machine.persist))
    with pytest.raises(StoreError, match=r"cannot be mounted.*--again"):
        Provisioning(away).run()
    assert sorted(os.walk(machine.persist)) == before


def test_on_command_a_persist_that_cannot_be_mounted_is_made_anew(machine):
    there = []
    (machine.persist / MARK).unlink()
    gone = dataclasses.replace(machine, mounted=lambda path: bool(there), renew=lambda: there.append("mkfs"))
    assert Provisioning(gone).run(again=True).identity
    assert there == ["mkfs"]
    assert Provisioning(gone).state() is State.WHOLE


def test_a_persist_that_is_mounted_is_never_formatted(machine):
    def renew():
        raise AssertionError("formatted")

    kept = dataclasses.replace(machine, renew=renew)
    Provisioning(kept).run()
    lose(machine, "damaged")
    Provisioning(kept).run(again=True)


@pytest.mark.parametrize(
    "left", [b"", b'system_title = "4443550000000001"\n', b"\0" * 50], ids=["empty", "cut", "zeros"]
)
def test_a_configuration_that_was_cut_off_is_restored_and_does_not_overwrite_its_twins(machine, left):
    Provisioning(machine).run()
    path = machine.persist / "dcu/collector.toml"
    whole = path.read_bytes()
    path.write_bytes(left)
    done = Provisioning(machine).run()
    assert path.read_bytes() == whole
    assert any("restored from its twin" in text for text in done.restored)


@pytest.mark.parametrize("name", ["collector.toml", "rollback-index"])
@pytest.mark.parametrize("copy", ["device", "device.twin"])
def test_every_file_that_stands_twice_is_restored_and_told(machine, name, copy):
    Provisioning(machine).run()
    machine.twice("rollback-index").write(b"1.2.0")
    damaged = machine.persist / copy / name
    damaged.write_bytes(damaged.read_bytes()[:-1])
    assert Provisioning(machine).run().restored == (f"{name}: a copy on persist was damaged, restored from its twin",)
    assert machine.twice(name).look().whole
    assert Provisioning(machine).run().restored == ()


def test_a_configuration_lost_in_all_copies_is_made_anew_and_told(machine):
    Provisioning(machine).run()
    for path in machine.persist.rglob("collector.toml"):
        path.write_bytes(b"noise")
    done = Provisioning(machine).run()
    assert any("lost in all copies" in text for text in done.restored)
    assert Provisioning(machine).run().restored == ()


class Cut(BaseException):
    """The power goes."""


def cut_at(monkeypatch, step, rng):
    """Have the power go at the step-th change of persist; what was not synced by then is kept, cut short or gone."""
    count, dirty = iter(range(1 << 30)), {}

    def counted(name, call, note):
        def wrapped(*arguments, **options):
            if next(count) >= step:
                for path in [path for path in dirty.values() if path.exists() and not path.is_dir()]:
                    content = path.read_bytes()
                    path.write_bytes(content[: rng.randrange(len(content) + 1)])
                raise Cut(name)
            result = call(*arguments, **options)
            note(result, *arguments)
            return result

        return wrapped

    def opened(handle, path, *more):
        dirty[handle] = Path(path)

    def synced(_, handle):
        dirty.pop(handle, None)

    def nothing(*_):
        pass

    monkeypatch.setattr(os, "open", counted("open", os.open, opened))
    monkeypatch.setattr(os, "fsync", counted("fsync", os.fsync, synced))
    for name in ("replace", "unlink", "mkdir"):
        monkeypatch.setattr(Path, name, counted(name, getattr(Path, name), nothing))
    return count


def test_power_cut_at_every_step_of_the_first_provisioning_leaves_a_device_that_goes_on_by_itself(tmp_path):
    """And twice in a row. Once a key was handed out, it is the device's for good."""
    rng, steps = random.Random(3), 0
    while True:
        folder = tmp_path / str(steps)
        for name in ("persist/dcu", "persist/dcu.twin", "run"):
            (folder / name).mkdir(parents=True)
        machine = made(folder / "persist", folder)
        whole = False
        for attempt in (steps, rng.randrange(40)):
            with pytest.MonkeyPatch.context() as patch:
                cut_at(patch, attempt, rng)
                try:
                    Provisioning(machine).run()
                    whole = True
                except Cut:
                    pass
            handed = kek(machine) if (machine.credentials / CREDENTIAL).exists() else None
            (machine.credentials / CREDENTIAL).unlink(missing_ok=True)  # /run is gone with the power
            assert Provisioning(machine).state() is not State.LOST
            if handed:
                Provisioning(machine).run()
                assert kek(machine) == handed
        done = Provisioning(machine).run()
        assert done.restored == () or whole
        assert Provisioning(machine).state() is State.WHOLE
        assert not (machine.persist / MARK).exists()
        steps += 1
        if whole and steps > 40:
            return


def test_canary_a_mark_that_goes_before_the_identity_is_written_is_caught(tmp_path, monkeypatch):
    monkeypatch.setattr(Provisioning, "_make", lambda self: (self._use_up_mark(), make(self))[1])
    with pytest.raises(AssertionError):
        test_power_cut_at_every_step_of_the_first_provisioning_leaves_a_device_that_goes_on_by_itself(tmp_path)


make = Provisioning._make
