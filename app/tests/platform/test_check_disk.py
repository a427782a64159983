"""check-disk and provisioning together: whatever is destroyed on persist, what is lost is never taken for new."""

import contextlib
import os
import random
import shutil
import subprocess
from pathlib import Path

import pytest

from dcu.platform.machine import Machine
from dcu.platform.provision import MARK, Provisioning, State
from tests.store.disk import needs_loop

pytestmark = [*needs_loop, pytest.mark.skipif(not shutil.which("e2fsck"), reason="needs e2fsck")]
LAYER = Path(__file__).parents[3] / "meta-grid-dcu"
CHECK = LAYER / "recipes-core/dcu-base/files/check-disk"
SIZE, BLOCK = 32 << 20, 4096


@contextlib.contextmanager
def mounted(image, point):
    point.mkdir(exist_ok=True)
    subprocess.run(["mount", "-o", "loop", image, point], check=True, capture_output=True)
    try:
        yield point
    finally:
        subprocess.run(["umount", point], check=True)


def checked(image, folder, *more, name="persist"):
    """Run check-disk; whether it ended well."""
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "DCU_DISK": str(image), "DCU_TOLD": str(folder / "told")}
    return not subprocess.run([CHECK, name, *more], env=environment, capture_output=True).returncode


def machine(persist, folder):
    (folder / "run").mkdir(exist_ok=True)
    return Machine(
        persist=persist,
        credentials=folder / "run",
        serial=folder / "serial",
        template=LAYER / "recipes-metering/dcu/files/collector.toml",
        mounted=lambda path: True,
    )


def fresh(image):
    image.write_bytes(b"")
    subprocess.run(["mke2fs", "-q", "-F", "-t", "ext4", image, f"{SIZE >> 20}m"], check=True)


@pytest.fixture
def lived(tmp_path):
    """persist of a device in the field, and its identity."""
    image = tmp_path / "lived"
    fresh(image)
    with mounted(image, tmp_path / "mount") as persist:
        (persist / MARK).write_text("new")
        for name in ("dcu", "dcu.twin"):
            (persist / name).mkdir()
        identity = Provisioning(machine(persist, tmp_path)).run().identity
        for name in ("dcu", "dcu.twin"):
            (persist / name / "keys").write_bytes(b"k" * 40_000)
    return image, identity


def superblocks(content):
    return [at for at in range(0, len(content), 1024) if content[at + 0x38 : at + 0x3A] == b"\x53\xef"]


def hurt(content, rng):
    """Destroy something of a file system: blocks anywhere, blocks that hold something, superblocks, a stretch."""
    used = [at for at in range(0, SIZE, BLOCK) if content[at : at + BLOCK].strip(b"\0")]
    for at in rng.sample(used, rng.choice((1, 3, 10, len(used) // 2))):
        content[at : at + BLOCK] = rng.choice((bytes(BLOCK), rng.randbytes(BLOCK)))
    kind = rng.randrange(4)
    for at in superblocks(content) if kind == 0 else superblocks(content)[:1] if kind == 1 else ():
        content[at : at + 1024] = bytes(1024)
    if kind == 2:
        start = rng.randrange(SIZE // 2)
        content[start : start + SIZE // 3] = bytes(SIZE // 3)


def test_persist_is_whole_or_lost_and_never_new_whatever_was_destroyed(lived, tmp_path):
    image, identity = lived
    seen = set()
    for seed in range(24):
        content = bytearray(image.read_bytes())
        hurt(content, random.Random(seed))
        victim = tmp_path / "victim"
        victim.write_bytes(content)
        if not checked(victim, tmp_path):
            assert victim.read_bytes()  # and nothing was made of it
            seen.add(State.ABSENT)
            continue
        try:
            with mounted(victim, tmp_path / "mount") as persist:
                provisioning = Provisioning(machine(persist, tmp_path))
                seen.add(provisioning.state())
                assert provisioning.state() is not State.NEW, seed
                assert provisioning.identity() in (None, identity), seed
        except subprocess.CalledProcessError:
            seen.add(State.ABSENT)
    assert {State.WHOLE, State.LOST} <= seen  # the damage was neither nothing nor everything


def test_what_a_power_cut_left_is_not_told_and_errors_are(lived, tmp_path):
    image, _ = lived
    told, cut = tmp_path / "told/restored", tmp_path / "cut"
    with mounted(image, tmp_path / "mount") as persist:
        for number in range(20):
            (persist / f"dcu/{number}").write_bytes(b"x" * 5000)
        os.sync()
        (persist / "dcu/1").unlink()
        handle = os.open(persist, os.O_RDONLY)
        os.fsync(handle)
        os.close(handle)
        shutil.copy(image, cut)  # its journal holds what is not in its place yet
    assert checked(cut, tmp_path)
    assert not told.exists()
    for value in ("free_blocks_count 7", "state 2"):
        subprocess.run(["debugfs", "-w", "-R", f"set_super_value {value}", image], check=True, capture_output=True)
    assert checked(image, tmp_path)
    assert told.read_text() == "persist: the file system had errors, which were corrected\n"


def test_persist_that_was_formatted_is_lost_and_only_the_command_formats_it(lived, tmp_path):
    image, _ = lived
    assert checked(image, tmp_path, "anew")
    with mounted(image, tmp_path / "mount") as persist:
        assert Provisioning(machine(persist, tmp_path)).state() is State.LOST
        assert not checked(image, tmp_path, "anew")  # mounted: never under anybody's feet


@pytest.mark.parametrize("seed", range(6))
def test_data_can_always_be_mounted_afterwards(lived, tmp_path, seed):
    content = bytearray(lived[0].read_bytes())
    hurt(content, random.Random(seed))
    victim = tmp_path / "victim"
    victim.write_bytes(content)
    assert checked(victim, tmp_path, name="data")
    with mounted(victim, tmp_path / "mount") as data:
        (data / "takes writes").write_text("yes")


def test_canary_a_device_that_takes_an_empty_persist_for_a_new_one_is_caught(lived, tmp_path, monkeypatch):
    def careless(self):
        return State.NEW if self._record.look().content is None and not self._touched() else State.LOST

    monkeypatch.setattr(Provisioning, "state", careless)
    with pytest.raises(AssertionError):
        test_persist_that_was_formatted_is_lost_and_only_the_command_formats_it(lived, tmp_path)
