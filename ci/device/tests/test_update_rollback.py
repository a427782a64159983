"""An update that is no good comes back by itself, says why, and costs no reading.

The bad updates are the good one's root under another kernel command line: systemd takes masks and drop-ins from there.
A drop-in also shortens what waits for minutes on a device (docs/bench.md).
"""

import base64

import pytest

from device import swu
from device.tests.updating import (
    MINUTES,
    NEWER,
    SLOW,
    came_back,
    confirmed,
    environment,
    inserted,
    installed,
    rebooted,
    status,
)


def dropin(unit, text):
    encoded = base64.b64encode(text.encode()).decode()
    return f"systemd.set_credential_binary=systemd.unit-dropin.{unit}:{encoded}"


PANICS = "init=/nowhere"
HANGS = "dm-mod.waitfor=PARTLABEL=nowhere"  # the kernel waits for ever, before init
NO_COLLECTOR = "systemd.mask=dcu-collector.service " + dropin(
    "dcu-confirm.service", "[Service]\nExecStart=\nExecStart=/usr/bin/dcu device confirm --or-roll-back --wait 20\n"
)
CRASHES = dropin("dcu-collector.service", "[Service]\nExecStart=\nExecStart=/bin/false\nRestartSec=1\n")
STARTS = "/persist/dcu/starts"
STUMBLES = dropin(
    "dcu-collector.service",
    f"[Service]\nExecStartPre=/bin/sh -c 'echo >>{STARTS}; test $$(wc -l <{STARTS}) -gt 2'\nRestartSec=1\n",
)
UNDECIDED = "systemd.mask=dcu-confirm.service " + dropin(
    "dcu-trial-deadline.timer", "[Timer]\nOnBootSec=\nOnBootSec=40s\nAccuracySec=1s\n"
)

pytestmark = [pytest.mark.long, MINUTES]


def test_update_that_panics_comes_back_after_three_boots(settled):
    with settled.on(swu.release(NEWER, arguments=PANICS)) as dut:
        installed(dut)
        rebooted(dut)
        for count in (1, 2, 3):
            dut.expect(f"slot b, upgrade_available 1, bootcount {count}", SLOW)
            dut.expect("Kernel panic", SLOW)
        dut.expect("bank b gives way to a: bootlimit", SLOW)
        came_back(dut, "bootlimit")
        settled.nothing_lost(dut)


def test_update_that_hangs_before_init_is_reset_by_the_watchdog_and_comes_back(settled):
    with settled.on(swu.release(NEWER, arguments=HANGS)) as dut:
        installed(dut)
        last_trial(dut)
        dut.expect(r"U-Boot \d", SLOW)
        assert any(event["event"] == "WATCHDOG" for event in dut.events())
        dut.expect("bank b gives way to a: bootlimit", SLOW)
        came_back(dut, "bootlimit")
        settled.nothing_lost(dut)


def test_update_that_nobody_decides_is_reset_at_the_deadline_and_comes_back(settled):
    """User space runs and feeds the watchdog, and what would confirm or roll back never does."""
    with settled.on(swu.release(NEWER, arguments=UNDECIDED)) as dut:
        installed(dut)
        last_trial(dut)
        inserted(dut)
        assert status(dut)["phase"] == "trial"
        dut.expect("bank b gives way to a: bootlimit", SLOW)
        came_back(dut, "bootlimit")
        settled.nothing_lost(dut)


def test_update_without_a_collector_rolls_itself_back_with_the_health_reason(settled):
    with settled.on(swu.release(NEWER, arguments=NO_COLLECTOR)) as dut:
        installed(dut)
        rebooted(dut)
        dut.expect("slot b, upgrade_available 1, bootcount 1", SLOW)
        dut.expect("slot a, upgrade_available 0", SLOW)
        came_back(dut, "health:collector")
        settled.nothing_lost(dut)


def test_update_whose_collector_crashes_again_and_again_gives_way_at_its_first_boot(settled):
    with settled.on(swu.release(NEWER, arguments=CRASHES)) as dut:
        installed(dut)
        rebooted(dut)
        dut.expect("slot b, upgrade_available 1, bootcount 1", SLOW)
        dut.expect("slot a, upgrade_available 0", SLOW)  # half of the time for which the health check would wait
        came_back(dut, "health:collector")
        settled.nothing_lost(dut)


def test_update_whose_collector_crashes_at_its_first_two_starts_is_confirmed(settled):
    with settled.on(swu.release(NEWER, arguments=STUMBLES)) as dut:
        installed(dut)
        rebooted(dut)
        dut.expect("slot b, upgrade_available 1, bootcount 1", SLOW)
        dut.booted(SLOW)
        shown = confirmed(dut)
        assert (shown["phase"], shown["slot"], shown["version"]) == ("confirmed", "b", NEWER), shown
        assert dut.shell(f"wc -l <{STARTS}") == "3"
        settled.nothing_lost(dut)


def last_trial(dut):
    """Reboot into the third trial boot: that U-Boot counts the first two is proven by the panics."""
    dut.shell("fw_setenv bootcount 2")
    assert environment(dut)["bootcount"] == "2"
    rebooted(dut)
    dut.expect("slot b, upgrade_available 1, bootcount 3", SLOW)
