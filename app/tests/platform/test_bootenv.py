"""U-Boot's environment: a total parser, writes that are read back, and the real tools on an image where they are."""

import contextlib
import shutil
import stat
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcu.errors import DecodeError, UpdateError
from dcu.platform import bootenv
from dcu.platform.bootenv import NAMES, Environment, FwEnv, Slot, UpdateState

ANSWER = b"slot=b\nupgrade_available=1\nbootcount=2\nustate=1\nrollback_reason=\nboot_failures=0\n"
TRIAL = Environment(Slot.B, upgrade_available=True, bootcount=2, update_state=UpdateState.INSTALLED)


def test_an_answer_of_fw_printenv_is_understood():
    assert bootenv.decode(bootenv.parse(ANSWER)) == TRIAL


def test_what_is_not_set_has_its_default_but_the_slot():
    nothing = dict.fromkeys(NAMES, "")
    assert bootenv.decode({**nothing, "slot": "a"}) == Environment(Slot.A)
    with pytest.raises(DecodeError, match="slot"):
        bootenv.decode(nothing)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ((b"slot=b", b"slot=c"), "slot is 'c'"),
        ((b"ustate=1", b"ustate=8"), "ustate"),
        ((b"ustate=1", b"ustate=-1"), "ustate"),
        ((b"bootcount=2", b"bootcount=two"), "bootcount"),
        ((b"upgrade_available=1", b"upgrade_available=2"), "upgrade_available"),
        ((b"rollback_reason=", b"rollback_reason=x\nslot=a"), "7 lines came"),
        ((b"rollback_reason=", b"x=y"), "rollback_reason was expected"),
        ((b"rollback_reason=", b"rollback_reason=\xff"), "not ASCII"),
        ((ANSWER, b""), "1 lines came"),
        ((ANSWER, b"x" * 70_000), "70000 bytes"),
    ],
)
def test_an_answer_that_makes_no_sense_is_refused(change, text):
    with pytest.raises(DecodeError, match=text):
        bootenv.decode(bootenv.parse(ANSWER.replace(*change)))


@given(st.binary(max_size=300))
def test_noise_is_a_decode_error(noise):
    with contextlib.suppress(DecodeError):
        bootenv.decode(bootenv.parse(noise))


environments = st.builds(
    Environment,
    st.sampled_from(Slot),
    upgrade_available=st.booleans(),
    bootcount=st.integers(0, 9),
    update_state=st.sampled_from(UpdateState),
    rollback_reason=st.text(max_size=60).map(bootenv.reason),
    boot_failures=st.integers(0, 9),
)


@given(environments)
def test_an_environment_comes_back_as_it_was(environment):
    answer = "".join(f"{name}={value}\n" for name, value in environment.variables().items()).encode()
    assert bootenv.decode(bootenv.parse(answer)) == environment


# --- fakes of the tools, as shell scripts


@pytest.fixture
def fake(tmp_path):
    """fw_printenv and fw_setenv over a directory with a file a variable; `broken` takes the place of the latter."""

    def make(broken=None, complaint=""):
        store = tmp_path / "store"
        store.mkdir(exist_ok=True)
        printenv = f'for name; do echo "$name=$(cat {store}/$name 2>/dev/null)"; done\n{complaint}'
        setenv = f'while IFS="=" read -r name value; do echo "$value" > {store}/$name; done < "$2"'
        for name, script in (("printenv", printenv), ("setenv", broken or setenv)):
            (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
            (tmp_path / name).chmod(stat.S_IRWXU)
        (store / "slot").write_text("a")
        return FwEnv(printenv=str(tmp_path / "printenv"), setenv=str(tmp_path / "setenv"))

    return make


def test_a_write_is_read_back(fake):
    env = fake()
    env.write({"slot": "b", "upgrade_available": "1", "bootcount": "2", "ustate": "1"})
    assert env.read() == TRIAL


def test_canary_a_tool_that_exits_0_and_changes_nothing_is_caught(fake):
    """As fw_setenv does with lines it does not understand."""
    with pytest.raises(UpdateError, match="did not take slot"):
        fake(broken="exit 0").write({"slot": "b"})


@pytest.mark.parametrize("broken", ["exit 1", "echo 'Error storing the env' >&2"])
def test_a_tool_that_fails_is_said(fake, broken):
    with pytest.raises(UpdateError):
        fake(broken=broken).write({"slot": "b"})


def test_defaults_are_not_taken_for_the_environment(fake):
    with pytest.raises(UpdateError, match="Cannot read environment, using default"):
        fake(complaint="echo 'Cannot read environment, using default' >&2").read()


def test_no_tool_is_said():
    with pytest.raises(UpdateError, match="is this the device"):
        FwEnv(printenv="/nowhere/fw_printenv").read()


def test_a_tool_that_hangs_is_ended(fake, monkeypatch):
    monkeypatch.setattr(bootenv, "PATIENCE", 0.2)
    with pytest.raises(UpdateError, match="did not end"):
        fake(complaint="exec sleep 5").read()


@pytest.mark.parametrize("changes", [{"bootcmd": "x"}, {"slot": "a\nbootcmd=x"}, {"rollback_reason": "ü"}])
def test_only_the_listed_variables_and_plain_values_are_written(fake, changes):
    with pytest.raises(ValueError, match=r"U-Boot"):
        fake().write(changes)


# --- the real tools


SIZE, OFFSETS = 0x4000, (0x1000, 0x6000)

real = pytest.mark.skipif(
    not all(map(shutil.which, ("fw_printenv", "fw_setenv", "mkenvimage"))),
    reason="needs libubootenv-tool and u-boot-tools",
)


@pytest.fixture
def image(tmp_path):
    """A disk with both copies of an environment, and what names it to the tools."""
    disk, text, copy = tmp_path / "disk", tmp_path / "text", tmp_path / "copy"
    text.write_text("".join(f"{name}={value}\n" for name, value in Environment(Slot.A).variables().items() if value))
    subprocess.run(["mkenvimage", "-r", "-s", str(SIZE), "-o", copy, text], check=True, capture_output=True)
    raw = bytearray(0xA000)
    for offset in OFFSETS:
        raw[offset : offset + SIZE] = copy.read_bytes()
    disk.write_bytes(raw)
    config = tmp_path / "fw_env.config"
    config.write_text("".join(f"{disk} {offset:#x} {SIZE:#x}\n" for offset in OFFSETS))
    return disk, FwEnv(config=str(config))


@real
def test_the_real_tools_take_and_give_every_variable(image):
    _, env = image
    env.write(TRIAL.variables())
    assert env.read() == TRIAL
    failed = Environment(Slot.A, update_state=UpdateState.FAILED, rollback_reason="health:store", boot_failures=3)
    env.write(failed.variables())
    assert env.read() == failed
    env.write({"rollback_reason": ""})
    assert env.read().rollback_reason == ""


@real
def test_a_save_that_is_cut_anywhere_leaves_the_old_environment_or_the_new(image):
    """The bytes that differ are written one piece after the other; each prefix is a power cut."""
    disk, env = image
    before, old = disk.read_bytes(), env.read()
    env.write(TRIAL.variables())
    after = disk.read_bytes()
    changed = [at for at in range(len(before)) if before[at] != after[at]]
    assert len({at >= OFFSETS[1] for at in changed}) == 1, "one copy is written, the other stays"
    first, last = changed[0], changed[-1] + 1
    seen = []
    for cut in sorted({*range(first, first + 12), *range(first, last, max(1, (last - first) // 20)), last}):
        disk.write_bytes(before[:first] + after[first:cut] + before[cut:])
        seen.append(env.read())
        assert seen[-1] in (old, TRIAL)
    assert seen[0] == old
    assert seen[-1] == TRIAL


@real
def test_both_copies_damaged_is_an_error_and_not_a_default(image):
    disk, env = image
    disk.write_bytes(bytes(0xA000))
    with pytest.raises(UpdateError):
        env.read()
