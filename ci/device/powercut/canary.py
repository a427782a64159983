"""An updater that is broken on purpose: it switches the slot before the bank is on the medium."""

import json
import re
from pathlib import Path

from device import bank, disk, keys, system, uboot
from device.cache import Run, built
from device.paths import SWUPDATE_FILES
from device.powercut import record
from ota.packing import Software, pack
from ota.signing import Signer


def unflushed() -> Path:
    """Return the recording of an installation whose .swu has no dcu-flush.sh; made where it is not kept.

    A warning of the kernel's page cache: with 512 MB a bank of 75 MB is still in RAM when the slot is switched.
    """
    firmware, disks = uboot.build(), disk.build(bank.build(system.build()))
    sealed = bank.build(system.build(record.NEWER))
    inputs = [firmware.name, disks.name, sealed.name, SWUPDATE_FILES, Path(__file__), *record.SOURCES, "recipe 1"]
    return built("powercut-canary", inputs, lambda home, run: _install(home, run, firmware, disks, sealed))


def _install(home: Path, run: Run, firmware: Path, disks: Path, sealed: Path) -> None:
    template = home / "sw-description.in"
    template.write_text(without_flush((SWUPDATE_FILES / "sw-description.in").read_text()))
    signing = keys.update()
    software = Software(record.NEWER, sealed / "kernel.fit", sealed / "rootfs.img")
    pack(software, home / "update.swu", Signer(str(signing / "update.key"), signing / "update.crt"), template=template)
    medium = home / "medium.squashfs"
    run("mksquashfs", home / "update.swu", medium, "-comp", "zstd", "-noD", "-no-progress", "-quiet")
    with record.Recorded(firmware, disks, home, extra=[*record.medium_arguments(medium), *record.UNWATCHED]) as dut:
        dut.mark("device", **record.described())
        record.ready(dut)
        record.install(dut)
        dut.mark("installed", slot="b")
    for each in (medium, home / "update.swu"):
        each.unlink()


def without_flush(template: str) -> str:
    """sw-description without the script that waits for the medium."""
    text, count = re.subn(r"\n\s*scripts: \(.*?\n\t*\);", "", template, flags=re.DOTALL)
    if count != 2:
        raise ValueError(f"sw-description.in has {count} lists of scripts, not 2: {json.dumps(template[:80])}")
    return text
