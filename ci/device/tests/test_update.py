"""An update goes into the other bank and is confirmed when it is healthy; one that is not comes back by itself."""

import json
import time

import pytest

from device import swu
from device.cache import Run
from device.tests.test_collector import READY, ready

pytestmark = pytest.mark.long

NEWER = "1.1.0"


@pytest.fixture
def medium(tmp_path):
    """Make QEMU's arguments for a read-only disk with this file on it: how an update file reaches the device here."""

    def make(file):
        image = tmp_path / "medium.squashfs"
        Run(tmp_path / "log")("mksquashfs", file, image, "-comp", "zstd", "-noD", "-no-progress", "-quiet")
        return [
            "-device",
            "virtio-blk-pci,drive=medium",
            "-drive",
            f"id=medium,if=none,format=raw,readonly=on,file={image}",
        ]

    return make


def installed(dut):
    dut.shell("mkdir -p /run/medium && mount -o ro /dev/vdb /run/medium")
    dut.shell("dcu device update /run/medium/update.swu", 400)
    found = dict(line.split("=", 1) for line in dut.shell("fw_printenv").splitlines() if "=" in line)
    assert (found["slot"], found["upgrade_available"], found["ustate"]) == ("b", "1", "1"), found
    dut.shell("systemctl reboot", check=False, timeout=5)


def status(dut):
    return json.loads(dut.shell("dcu device status --json", 120))


def test_update_goes_to_bank_b_and_is_confirmed_by_its_health_check(device, medium):
    with device(extra=medium(swu.release(NEWER))) as dut:
        ready(dut)
        installed(dut)
        dut.expect("slot b, upgrade_available 1, bootcount 1", 200)
        dut.booted(90)
        end = time.monotonic() + READY
        while dut.shell("fw_printenv -n upgrade_available", 60) != "0":
            assert time.monotonic() < end, dut.shell("journalctl -b -u 'dcu-*' --no-pager", 60)
            time.sleep(3)
        assert "dcu.slot=b" in dut.shell("cat /proc/cmdline")
        assert NEWER in dut.shell("dcu device status", 120)
        dut.cut()
        found = dut.environment()
        assert (found["slot"], found["upgrade_available"], found["ustate"]) == ("b", "0", "0")


def test_update_that_panics_comes_back_and_status_tells_why(device, medium):
    with device(extra=medium(swu.release(NEWER, arguments="init=/nowhere"))) as dut:
        ready(dut)
        installed(dut)
        for count in (1, 2, 3):
            dut.expect(f"slot b, upgrade_available 1, bootcount {count}", 200)
            dut.expect("Kernel panic", 60)
        dut.expect("bank b gives way to a: bootlimit", 60)
        ready(dut)
        assert "bootlimit" in json.dumps(status(dut))


def test_foreign_update_is_refused_and_nothing_changes(device, medium, tmp_path):
    genuine = swu.release(NEWER)
    spoilt = tmp_path / "update.swu"
    content = bytearray(genuine.read_bytes())
    at = content.index(b"stable")  # inside the signed description
    content[at : at + 6] = b"stabel"
    spoilt.write_bytes(content)
    with device(extra=medium(spoilt)) as dut:
        ready(dut)
        dut.shell("mkdir -p /run/medium && mount -o ro /dev/vdb /run/medium")
        said = dut.shell("dcu device update /run/medium/update.swu; echo exit $?", 200)
        assert "signature" in said
        assert "exit 11" in said
        dut.cut()
        assert dut.environment()["upgrade_available"] == "0"
