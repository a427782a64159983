"""The collector reads meters on an RS-485 line: HDLC, five meters on one virtio port, at the pace of the wires."""

import json
import time
from datetime import datetime

import pytest

from device.qemu import line
from device.street import Street
from device.tests.test_collector import collected, imported, ready
from neighbourhood import truth

pytestmark = pytest.mark.long

METERS, SEED, HOUR = 5, 3, 3600


def test_collector_reads_the_meters_of_a_serial_line(device, tmp_path):
    wires = tmp_path / "line"
    options = ("--pty", str(wires), "--line", "line", "--seed", str(SEED), "--pace", "38400", "--turnaround", "0.01")
    with Street(METERS, *options) as street, device(extra=line(wires)) as dut:
        ready(dut)
        dut.shell("bench-line", 120)
        imported(dut, street)
        names = sorted(meter["name"] for meter in collected(dut, METERS, 300))
        for number, name in enumerate(names, 1):
            compared(dut, name, number)
        energy = json.loads(dut.shell(f"dcu read --meter {names[0]} 1-0:1.8.0 --json", 120))[0]["value"]
        now = int(time.time())
        span = [truth.registers(SEED, 1, at).active_import for at in (now - 2 * HOUR, now + HOUR)]
        assert span[0] <= energy <= span[1]
        seen = street.status()
        assert (seen["counter_reuse"], seen["refused"]) == (0, {})
        said = dut.shell("dcu read --serial /dev/virtio-ports/dcu.meters 1-0:1.8.0", 60, check=False)
        assert "another program has it open" in said


def compared(dut, name, number):
    """Every row of the last day that the collector shows is what happened."""
    rows = json.loads(dut.shell(f"dcu profile {name} --json", 60))["rows"]
    assert len(rows) >= 23
    for at, _status, *values in rows:
        moment = int(datetime.fromisoformat(at).timestamp())
        assert tuple(values) == tuple(truth.captured(SEED, number, moment).registers), (name, at)
