"""The key of encrypted updates: taken once, kept doubly, laid down for SWUpdate and for nobody else."""

import secrets

import pytest

from dcu.errors import ConfigError, StoreError
from dcu.platform import updatekey
from dcu.platform.machine import Machine

KEY = f"{secrets.token_hex(32)} {secrets.token_hex(16)}"


@pytest.fixture
def machine(tmp_path):
    return Machine(persist=tmp_path / "persist", run=tmp_path / "run/swupdate")


@pytest.fixture
def given(tmp_path):
    path = tmp_path / "given.aes"
    path.write_text(f"{KEY}\n")
    return path


def placed(machine):
    return machine.run / updatekey.NAME


def test_without_a_key_nothing_is_laid_down(machine):
    assert updatekey.place(machine) is None
    assert not placed(machine).exists()


def test_it_is_laid_down_as_swupdate_reads_it_for_its_owner_only(machine, given):
    updatekey.keep(machine, given)
    assert updatekey.place(machine) == placed(machine)
    assert placed(machine).read_text() == f"{KEY}\n"
    assert placed(machine).stat().st_mode & 0o777 == 0o600
    assert placed(machine).parent.stat().st_mode & 0o777 == 0o700
    assert updatekey.place(machine), "at every update anew"


@pytest.mark.parametrize("copy", ["device", "device.twin"])
def test_it_survives_the_loss_of_a_copy(machine, given, copy):
    updatekey.keep(machine, given)
    (machine.persist / copy / updatekey.NAME).write_bytes(b"noise")
    assert updatekey.place(machine).read_text() == f"{KEY}\n"


def test_that_both_copies_are_lost_is_said(machine, given):
    updatekey.keep(machine, given)
    for copy in ("device", "device.twin"):
        (machine.persist / copy / updatekey.NAME).write_bytes(b"noise")
    with pytest.raises(StoreError, match="both copies"):
        updatekey.place(machine)
    updatekey.keep(machine, given)
    assert updatekey.place(machine)


@pytest.mark.parametrize(
    "text",
    ["", KEY[:-1], KEY[2:], KEY.split()[0], KEY.replace(" ", ""), f"{KEY} more", "x" * 97, KEY * 3, f"\0{KEY}"],
)
def test_what_is_no_key_is_not_taken_and_not_shown(machine, given, text):
    given.write_text(text)
    with pytest.raises(ConfigError, match="64 hexadecimal digits") as refused:
        updatekey.keep(machine, given)
    assert len(text) < 10 or text[:10] not in str(refused.value).replace(str(given), "")
    assert updatekey.place(machine) is None


def test_a_file_that_is_not_there_is_named(machine, given):
    given.unlink()
    with pytest.raises(ConfigError, match=r"given\.aes: No such file"):
        updatekey.keep(machine, given)
