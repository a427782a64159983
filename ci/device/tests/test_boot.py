"""The device boots by itself through U-Boot, a signed FIT and a verified root, in 512 MB."""

import json

SERVICES = {
    *("chrony.service", "dbus.service", "systemd-journald.service", "systemd-logind.service"),
    *("systemd-networkd.service", "systemd-udevd.service"),
    *("dcu-collector.service", "dcu-confirm.service", "dcu-health.service", "dcu-provision.service"),
}
BENCH_ONLY = {"bench-shell.service", "serial-getty@ttyAMA0.service"}
BOOT = 90  # seconds that a boot may take on a loaded host; about 10 on an idle one


def test_device_boots_to_its_default_target_from_a_verified_root(device):
    with device() as dut:
        dut.expect("booting bank a", 30)
        dut.booted(BOOT)
        assert dut.shell("systemctl is-system-running --wait", BOOT, check=False) == "running", dut.shell(
            "systemctl --failed --no-pager", check=False
        )
        assert "verity" in dut.shell("cat /sys/block/dm-0/dm/uuid /sys/block/dm-0/dm/name; cat /proc/cmdline")
        assert dut.shell("findmnt -no FSTYPE,OPTIONS /").startswith("squashfs ro")
        assert int(dut.shell("awk '/MemTotal/ {print $2}' /proc/meminfo")) < 512 * 1024
        assert "dcu.slot=a" in dut.shell("cat /proc/cmdline")


def test_kernel_is_locked_down_and_takes_signed_modules_only(device):
    with device() as dut:
        dut.booted(BOOT)
        assert "[confidentiality]" in dut.shell("cat /sys/kernel/security/lockdown")
        assert dut.shell("modprobe gpio-sim && lsmod | grep -c gpio_sim") == "1"
        dut.shell("cp $(modinfo -n gpio-sim) /run/m.ko; truncate -s -20 /run/m.ko")
        assert "Key was rejected" in dut.shell("rmmod gpio-sim; insmod /run/m.ko", check=False)


def test_linux_reads_and_writes_the_environment_that_uboot_reads(device):
    with device() as dut:
        dut.booted(BOOT)
        assert dut.shell("fw_printenv -n slot") == "a"
        dut.shell("fw_setenv rollback_reason health:store && fw_setenv slot b && sync")
        dut.qmp.command("system_reset")
        dut.expect("slot b, upgrade_available 0", 30)
        dut.expect("booting bank b", 30)
        dut.booted(BOOT)
        assert dut.shell("fw_printenv -n rollback_reason") == "health:store"
        assert "dcu.slot=b" in dut.shell("cat /proc/cmdline")


def test_another_bootcmd_in_the_stored_environment_has_no_effect(device):
    """The canary: whoever writes to the SD card does not choose what boots."""
    changed = dict.fromkeys(("bootcmd", "altbootcmd", "dcu_boot", "preboot"), "echo CANARY; reset")
    with device(**changed, bootdelay=30, bootlimit=99, dcu_watchdog="echo CANARY") as dut:
        dut.expect("booting bank a", 20)
        dut.booted(BOOT)
        assert "CANARY" not in dut.serial()
        dut.shell("fw_setenv bootcmd 'echo CANARY; reset' && sync")
        dut.qmp.command("system_reset")
        dut.expect("booting bank a", 20)
        assert "CANARY" not in dut.serial()


def test_environment_survives_the_loss_of_either_copy(device):
    from device import disk

    for offset, size in disk.copies():
        dut = device(slot="b")
        disk.write_at(dut.card, offset, b"\xff" * size)
        with dut:
            dut.expect("slot b,", 20)
            dut.expect("booting bank b", 20)
            dut.cut()
            assert dut.environment()["slot"] == "b"


def test_only_the_services_of_the_device_run(device):
    with device() as dut:
        dut.booted(BOOT)
        dut.shell("systemctl is-system-running --wait", BOOT, check=False)
        units = json.loads(dut.shell("systemctl list-units --type=service --state=running --output=json --no-pager"))
        names = {unit["unit"] for unit in units}
        assert names - BENCH_ONLY <= SERVICES, names - BENCH_ONLY - SERVICES
