"""Power fails in the middle of an update: the old software runs, says so, has lost nothing, and takes the update again.

A place is cut at when the bytes there have reached the disk: the other bank of a settled device holds a pattern.
"""

import random
import time

import pytest

from device import disk, swu
from device.cache import Run
from device.tests.updating import (
    BANK_B,
    MINUTES,
    NEWER,
    SLOW,
    confirmed,
    inserted,
    installed,
    status,
    wait,
)
from ota import packing

pytestmark = [pytest.mark.long, MINUTES]

SEED = 2026
START = "dcu device update /run/medium/update.swu >/run/update.log 2>&1 &"


def places(sizes):
    """Where to cut: (partition, offset), in the order in which they are written."""
    chosen = random.Random(SEED)  # noqa: S311 - a place on a disk is no secret
    kernel = ("kernel_b", chosen.randrange(sizes["kernel_b"]))
    return [kernel, *(("rootfs_b", at) for at in sorted(chosen.randrange(sizes["rootfs_b"]) for _ in range(2)))]


def cut_at(dut, name, at):
    """Begin the installation and take the power away as soon as this byte of the bank is another."""
    start, _ = disk.partition(dut.disk, name, Run(dut.home / "tools.log"))
    with dut.disk.open("rb", buffering=0) as image:

        def here():
            image.seek((start + at) // 512 * 512)
            return image.read(512)

        before = here()
        dut.shell(START)
        wait(lambda: here() != before, SLOW, f"{name} at {at}", every=0.002)
    dut.cut()


def untouched(dut):
    """What must hold of a device whose installation was cut off, while it is still without power."""
    found = dut.environment()
    assert (found["slot"], found["upgrade_available"], found.get("rollback_reason", "")) == ("a", "0", ""), found


def test_update_cut_off_at_any_place_leaves_the_old_software_and_can_be_installed_again(settled):
    sealed = swu.bank_of(NEWER)
    sizes = {"kernel_b": (sealed / "kernel.fit").stat().st_size, "rootfs_b": (sealed / "rootfs.img").stat().st_size}
    with settled.on(swu.release(NEWER)) as dut:
        for name, at in places(sizes):
            cut_at(dut, name, at)
            untouched(dut)
            dut.start()
            dut.expect("slot a, upgrade_available 0", SLOW)
            inserted(dut)
            shown = status(dut)
            assert (shown["phase"], shown["slot"], shown["version"]) == ("install failed", "a", "1.0.0"), shown
            assert "cut off" in shown["why"], shown
            assert shown["rollback_reason"] is None, shown
        settled.nothing_lost(dut)
        installed(dut)
        dut.cut()
        for name, image in zip(BANK_B, ("kernel.fit", "rootfs.img"), strict=True):
            wanted = (sealed / image).read_bytes()
            start, _ = disk.partition(dut.disk, name, Run(dut.home / "tools.log"))
            with dut.disk.open("rb") as file:
                file.seek(start)
                assert file.read(len(wanted)) == wanted, name


def test_power_cut_right_after_the_switch_and_during_the_trial_costs_a_boot_and_no_more(settled):
    with settled.on(swu.release(NEWER)) as dut:
        dut.shell(START)
        wait(lambda: dut.environment()["slot"] == "b", SLOW, "the switch", every=0.02)
        dut.cut()
        dut.start()
        dut.expect("slot b, upgrade_available 1, bootcount 1", SLOW)
        dut.expect("booting bank b", SLOW)
        time.sleep(random.Random(SEED).uniform(1, 12))  # noqa: S311
        dut.cut()
        dut.start()
        dut.expect("slot b, upgrade_available 1, bootcount 2", SLOW)
        inserted(dut)
        assert status(dut)["phase"] == "trial"
        shown = confirmed(dut)
        assert (shown["phase"], shown["version"], shown["oldest"]) == ("confirmed", NEWER, NEWER), shown
        settled.nothing_lost(dut)


EARLY = """					{
						filename = "early.sh";
						type = "preinstall";
						sha256 = "$swupdate_get_sha256(early.sh)";
					},
"""


def test_canary_an_update_that_switches_before_its_images_are_written_is_caught(settled, tmp_path, monkeypatch):
    script, template, update = tmp_path / "early.sh", tmp_path / "sw-description.in", tmp_path / "update.swu"
    script.write_text("#!/bin/sh\nprintf 'slot=b\\nupgrade_available=1\\n' | fw_setenv -s -\n")
    text = packing.TEMPLATE.read_text()
    template.write_text(text.replace("scripts: (\n", f"scripts: (\n{EARLY}"))
    monkeypatch.setattr(packing, "SCRIPTS", (*packing.SCRIPTS, script))
    sealed = swu.bank_of(NEWER)
    swu.packed(update, NEWER, sealed, template=template)
    with settled.on(update) as dut:
        cut_at(dut, "rootfs_b", (sealed / "rootfs.img").stat().st_size // 2)
        with pytest.raises(AssertionError, match="'b', '1'"):
            untouched(dut)
