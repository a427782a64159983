"""The update that BitBake's recipes described, assembled and signed around the bench's kernel and root (`make
layer-check`).
"""

import os
import shutil
import time
from pathlib import Path

import pytest

from device.paths import ROOT
from device.tests.test_collector import READY, ready
from device.tests.test_update import installed, medium

__all__ = ["medium"]  # the fixture

VERSION = "1.2.0"  # ci/layers/lite/local.conf.in


def test_update_of_the_layers_installs_and_is_confirmed(device, medium, tmp_path):
    given = os.environ.get("DEVICE_SWU")
    if not given:
        pytest.skip("DEVICE_SWU=….swu names an update of make layer-check")
    update = Path(shutil.copy(ROOT / given, tmp_path / "update.swu"))
    with device(extra=medium(update)) as dut:
        ready(dut)
        installed(dut)
        dut.expect("slot b, upgrade_available 1, bootcount 1", 200)
        dut.booted(90)
        end = time.monotonic() + READY
        while dut.shell("fw_printenv -n upgrade_available", 60) != "0":
            assert time.monotonic() < end, dut.shell("journalctl -b -u 'dcu-*' --no-pager", 60)
            time.sleep(3)
        assert "dcu.slot=b" in dut.shell("cat /proc/cmdline")
