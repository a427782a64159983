"""Whatever is wrong with a bank, the device comes back by the other one and keeps the reason."""

import subprocess

import pytest

from device import bank

BOOT = 90
NO_INIT = "init=/nowhere"  # the kernel panics: it finds no init
HANG = "dm-mod.waitfor=PARTLABEL=nowhere"  # the kernel waits for ever, before init


@pytest.fixture(scope="session")
def panics(squashfs):
    return bank.build(squashfs, arguments=NO_INIT)


@pytest.fixture(scope="session")
def hangs(squashfs):
    return bank.build(squashfs, arguments=HANG)


@pytest.fixture(scope="session")
def foreign(squashfs, tmp_path_factory):
    """A bank signed with a key that the device does not know."""
    keys = tmp_path_factory.mktemp("foreign")
    command = "openssl req -x509 -newkey rsa:3072 -nodes -sha256 -subj /CN=foreign -keyout dcu-fit.key -out dcu-fit.crt"
    subprocess.run(command.split(), cwd=keys, check=True, capture_output=True)  # noqa: S603
    return bank.build(squashfs, signing=keys)


def fallen(dut, reason, ustate):
    """Check what U-Boot stored when it went back from b to a."""
    dut.cut()
    found = dut.environment()
    assert found["rollback_reason"] == reason
    assert (found["slot"], found["upgrade_available"], found["bootcount"], found["ustate"]) == ("a", "0", "0", ustate)


TRIAL = {"slot": "b", "upgrade_available": 1, "ustate": 1}


def test_trial_bank_that_panics_gives_way_after_three_boots(device, panics):
    with device(b=panics, **TRIAL) as dut:
        for count in (1, 2, 3):
            dut.expect(f"slot b, upgrade_available 1, bootcount {count}", 60)
            dut.expect("booting bank b", 20)
            dut.expect("Kernel panic", 60)
        dut.expect("bank b gives way to a: bootlimit", 60)
        dut.booted(BOOT)
        assert "dcu.slot=a" in dut.shell("cat /proc/cmdline")
        assert dut.shell("fw_printenv -n rollback_reason") == "bootlimit"
        fallen(dut, "bootlimit", "3")


def test_trial_bank_with_a_foreign_signature_gives_way_at_once(device, foreign):
    with device(b=foreign, **TRIAL) as dut:
        dut.expect("bank b gives way to a: signature", 30)
        dut.expect("booting bank a", 20)
        fallen(dut, "signature", "3")


@pytest.mark.parametrize("where", [0x100, 0x200000], ids=["in the structure", "in the kernel"])
def test_trial_bank_with_a_flipped_byte_gives_way_at_once(device, spoil, where):
    dut = device(**TRIAL)
    spoil(dut, "kernel_b", where)
    with dut:
        dut.expect("bank b gives way to a: signature", 30)
        dut.expect("booting bank a", 20)
        fallen(dut, "signature", "3")


def test_trial_bank_without_a_kernel_gives_way_at_once(device, spoil):
    dut = device(**TRIAL)
    spoil(dut, "kernel_b", 0)
    with dut:
        dut.expect("bank b gives way to a: load-failed", 30)
        dut.expect("booting bank a", 20)
        fallen(dut, "load-failed", "3")


def test_confirmed_bank_without_a_kernel_gives_way_at_once(device, spoil):
    dut = device(slot="b")
    spoil(dut, "kernel_b", 0)
    with dut:
        dut.expect("bank b gives way to a: load-failed", 30)
        dut.booted(BOOT)
        fallen(dut, "load-failed", "0")


def test_confirmed_bank_with_a_corrupt_root_gives_way_after_four_panics(device, spoil):
    dut = device(slot="b")
    spoil(dut, "rootfs_b", 100)
    with dut:
        for count in range(1, 5):
            dut.expect(f"slot b, upgrade_available 0, bootcount ., boot_failures {count - 1}", 60)
            dut.expect("dm-verity device has corrupted data|verity.*corrupted", 60)
        dut.expect("bank b gives way to a: boot-failures", 60)
        dut.booted(BOOT)
        fallen(dut, "boot-failures", "0")


def test_bank_that_cannot_be_booted_is_never_chosen(device, spoil):
    """The other bank is worse: the device stays on its own and does not wear the environment out."""
    dut = device(slot="b", boot_failures=4)
    spoil(dut, "kernel_a", 0)
    with dut:
        dut.expect("bank a cannot be booted: load-failed", 30)
        dut.expect("booting bank b", 30)
        dut.cut()
        assert dut.environment()["slot"] == "b"
        assert dut.environment()["rollback_reason"] == ""


def test_device_without_any_kernel_keeps_trying(device, spoil):
    dut = device(slot="b")
    spoil(dut, "kernel_a", 0)
    spoil(dut, "kernel_b", 0)
    with dut:
        for _ in range(2):
            dut.expect("no bank can be booted", 40)
        dut.cut()
        assert dut.environment()["slot"] == "b"


def test_kernel_that_hangs_before_init_is_reset_by_the_watchdog_armed_in_uboot(device, hangs):
    with device(b=hangs, slot="b", boot_failures=3) as dut:
        dut.expect("slot b, .* boot_failures 3", 30)
        dut.expect("booting bank b", 20)
        dut.expect(r"U-Boot \d", 120)
        assert any(event["event"] == "WATCHDOG" for event in events(dut))
        dut.expect("bank b gives way to a: boot-failures", 30)
        dut.booted(BOOT)
        fallen(dut, "boot-failures", "0")


def events(dut):
    dut.qmp.command("query-status")
    return dut.qmp.events
