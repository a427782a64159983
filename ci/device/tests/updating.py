"""What the update scenarios share: a device with a day of readings behind it, updates on a disk, what must hold."""

import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from device import disk, readings
from device.cache import Run
from device.qemu import Device, Timeout
from device.street import Street
from device.tests.test_collector import collected, imported, ready

MINUTES = pytest.mark.timeout(1500)  # several boots, each with its health check; the first of a session settles, too

NEWER = "1.1.0"
METERS = 8
SLOW = 300  # seconds that a step may take on a host at work: on an idle one it is a tenth of it
BANK_B = ("kernel_b", "rootfs_b")
FILLER = bytes(range(1, 252)) * 4096  # in the other bank of a settled device: nothing there boots, every write is seen


@dataclass(frozen=True)
class Settled:
    """A confirmed device as its disks lie: bank a runs, bank b holds nothing of use, a day of a street is collected."""

    disks: Path
    firmware: Path
    before: readings.Readings

    @contextmanager
    def on(self, *updates: Path) -> Iterator[Device]:
        """Switch a copy of it on, with these files on a read-only disk, and wait for the bench's shell."""
        if not updates:
            with Device(self.firmware, self.disks) as dut:
                dut.booted(SLOW)
                yield dut
            return
        image = self.disks / f"medium-{time.monotonic_ns()}.squashfs"
        options = ("-comp", "zstd", "-noD", "-noF", "-no-progress", "-quiet")
        Run(self.disks / "medium.log")("mksquashfs", *updates, image, *options)
        drive = f"id=medium,if=none,format=raw,readonly=on,file={image}"
        try:
            with Device(
                self.firmware, self.disks, extra=("-device", "virtio-blk-pci,drive=medium", "-drive", drive)
            ) as dut:
                inserted(dut)
                yield dut
        finally:
            image.unlink()

    def nothing_lost(self, dut: Device) -> None:
        """Check what the device says it has read against what it had acknowledged, and against the truth."""
        state = "systemctl is-active dcu-collector.service"
        wait(lambda: dut.shell(state, SLOW, check=False) == "active", SLOW, "the collector")
        wrong = readings.amiss(self.before, readings.acknowledged(dut), METERS)
        assert not wrong, wrong[:10]


def settle(firmware: Path, disks: Path, home: Path, street: Street) -> Settled:
    """Boot a factory-new device, have it read the street, switch it off."""
    with Device(firmware, disks) as dut:
        ready(dut)
        imported(dut, street)
        collected(dut, METERS, SLOW)
        before = readings.acknowledged(dut)
        dut.shell("systemctl poweroff", check=False)
        dut.wait_off(SLOW)
        for name in BANK_B:
            start, size = disk.partition(dut.disk, name, Run(dut.home / "tools.log"))
            disk.write_at(dut.disk, start, (FILLER * (size // len(FILLER) + 1))[:size])
        for image in (dut.card, dut.disk):
            shutil.move(image, home / image.name)
    return Settled(home, firmware, before)


def inserted(dut: Device) -> None:
    """Wait for the shell of a boot, and mount the disk with the updates."""
    dut.booted(SLOW)
    dut.shell("mkdir -p /run/medium && mount -o ro /dev/vdb /run/medium", SLOW)


def offered(dut: Device, name: str = "update.swu", options: str = "") -> tuple[int, str]:
    """Have the device install the file; return the exit code and what was said."""
    text = dut.shell(f"dcu device update {options} /run/medium/{name}; echo $?", 2 * SLOW)
    said, _, code = text.rpartition("\n")
    return int(code), said


def installed(dut: Device, name: str = "update.swu") -> None:
    """Install the file into bank b and check what the device says of it."""
    code, said = offered(dut, name)
    assert code == 0, said
    found = environment(dut)
    assert (found["slot"], found["upgrade_available"], found["ustate"]) == ("b", "1", "1"), found
    assert status(dut)["phase"] == "installed"


def status(dut: Device) -> dict[str, object]:
    found = json.loads(dut.shell("dcu device status --json", SLOW, check=False))
    assert isinstance(found, dict)
    return found


def environment(dut: Device) -> dict[str, str]:
    """U-Boot's environment as Linux reads it."""
    return dict(line.split("=", 1) for line in dut.shell("fw_printenv").splitlines() if "=" in line)


def changed(before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, str | None]:
    """What a refused update changed in U-Boot's environment: nothing.

    Not looked at: `ustate` (SWUpdate notes that an installation failed once the description held), and `boot_failures`,
    which the health check sets back when this boot has gone well, whatever else goes on.
    """
    others = ("ustate", "boot_failures")
    return {name: after.get(name) for name in before if after.get(name) != before[name] and name not in others}


def rebooted(dut: Device) -> None:
    dut.shell("systemctl reboot", check=False)


def confirmed(dut: Device) -> dict[str, object]:
    """Wait until the trial of this boot is confirmed; return what the device then says."""
    wait(lambda: dut.shell("fw_printenv -n upgrade_available", SLOW) == "0", 2 * SLOW, "a confirm")
    wait(lambda: dut.shell("systemctl is-active dcu-confirm.service", check=False) != "activating", SLOW, "its end")
    return status(dut)


def came_back(dut: Device, reason: str, ustate: str = "3") -> None:
    """Wait for the old bank's shell, and check what the device says there of an update that gave way."""
    inserted(dut)
    gave_way(dut, reason, ustate)


def gave_way(dut: Device, reason: str, ustate: str = "3") -> None:
    """Check what the device says, on its old bank, of an update that gave way."""
    shown = status(dut)
    assert (shown["phase"], shown["rollback_reason"], shown["slot"]) == ("rolled back", reason, "a"), shown
    assert (shown["version"], shown["oldest"]) == ("1.0.0", "1.0.0"), shown
    found = environment(dut)
    assert (found["slot"], found["upgrade_available"], found["bootcount"]) == ("a", "0", "0"), found
    assert (found["rollback_reason"], found["ustate"]) == (reason, ustate), found


def wait(holds: Callable[[], bool], seconds: float, what: str, every: float = 2.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            raise Timeout(f"{what}: not within {seconds:g} s")
        time.sleep(every)
