"""The collector runs as a supervised service and reads a street of meters on the host over the network."""

import json
import time

from device.qemu import PATIENCE
from device.street import Street

# Stops process 1, which takes no SIGSTOP, as a tracer that never lets it go on
FREEZE = b"""
import ctypes, time
ptrace = ctypes.CDLL(None).ptrace
assert not ptrace(0x4206, 1, 0, 0) and not ptrace(0x4207, 1, 0, 0)  # PTRACE_SEIZE, PTRACE_INTERRUPT
time.sleep(600)
"""
READY = 240 * PATIENCE  # seconds from power-on to a confirmed good boot on a loaded host


def ready(dut, timeout=READY):
    """Wait until the health check has said that this boot went well."""
    dut.booted(90)
    end = time.monotonic() + timeout
    while dut.shell("systemctl is-active dcu-collector.service", 60, check=False) != "active":
        assert time.monotonic() < end, dut.shell("systemctl status --no-pager 'dcu-*'", 60, check=False)
        time.sleep(1)
    remaining = max(10.0, end - time.monotonic())
    assert dut.shell("systemctl is-system-running --wait", remaining, check=False) == "running", dut.shell(
        "systemctl --failed --no-pager; journalctl -b -p warning --no-pager", 60, check=False
    )


def imported(dut, street):
    dut.put("/run/shipment.toml", street.shipment)
    dut.put("/run/transport.key", street.transport_key)
    dut.shell("dcu meters import /run/shipment.toml --transport-key /run/transport.key", 120)


def collected(dut, count, timeout):
    """Wait until every meter has its day of readings, return what the collector says of them."""
    end = time.monotonic() + timeout
    while True:
        meters = json.loads(dut.shell("dcu meters --json", 60))
        meters = meters["meters"] if isinstance(meters, dict) else meters
        if len(meters) == count and all(meter["readings"] >= 24 for meter in meters):
            return meters
        assert time.monotonic() < end, meters
        time.sleep(2)


def test_collector_reads_a_street_and_the_boot_is_confirmed_good(device):
    with Street(3) as street, device() as dut:
        ready(dut)
        assert dut.shell("fw_printenv -n boot_failures") == "0"
        imported(dut, street)
        names = {meter["name"] for meter in collected(dut, 3, 180)}
        assert names == {f"GDM00010000{n}" for n in (1, 2, 3)}
        assert dut.shell("cat /sys/class/watchdog/watchdog0/state") == "active"
        assert int(dut.shell("awk '/MemAvailable/ {print $2}' /proc/meminfo")) > 200 * 1024


def test_collector_that_stands_still_is_started_anew_by_its_watchdog(device):
    with device() as dut:
        ready(dut)
        main = "systemctl show -p MainPID --value dcu-collector.service"
        before = dut.shell(main)
        dut.shell(f"kill -STOP {before}")
        end = time.monotonic() + 200
        while dut.shell(main) in (before, "0"):
            assert time.monotonic() < end, "never started anew"
            time.sleep(2)
        assert "watchdog" in dut.shell("journalctl -b -u dcu-collector.service --no-pager").lower()


def test_frozen_systemd_is_reset_by_the_hardware_watchdog(device):
    with device() as dut:
        dut.booted(90)
        dut.expect("booting bank a", 1)
        dut.put("/run/freeze.py", FREEZE)
        dut.shell("python3 /run/freeze.py >/dev/null 2>&1 &")
        dut.shell("timeout 60 sh -c \"until grep -q '^State:.*tracing stop' /proc/1/status; do sleep 0.2; done\"", 90)
        dut.expect(r"U-Boot \d", 120)
        dut.qmp.command("query-status")
        assert any(event["event"] == "WATCHDOG" for event in dut.qmp.events)
        dut.booted(90)
