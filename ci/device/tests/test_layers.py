"""The update that BitBake's recipes described, assembled and signed around the bench's kernel and root (`make
layer-check`).
"""

import os
import shutil
from pathlib import Path

import pytest

from device.paths import ROOT
from device.tests.updating import MINUTES, SLOW, confirmed, installed, rebooted

pytestmark = MINUTES


def test_update_of_the_layers_installs_and_is_confirmed(request, tmp_path):
    given = os.environ.get("DEVICE_SWU")
    if not given:
        pytest.skip("DEVICE_SWU=….swu names an update of make layer-check")
    settled = request.getfixturevalue("settled")
    with settled.on(Path(shutil.copy(ROOT / given, tmp_path / "update.swu"))) as dut:
        installed(dut)
        rebooted(dut)
        dut.expect("slot b, upgrade_available 1, bootcount 1", SLOW)
        dut.booted(SLOW)
        shown = confirmed(dut)
        assert (shown["phase"], shown["slot"]) == ("confirmed", "b"), shown
        assert "dcu.slot=b" in dut.shell("cat /proc/cmdline")
        settled.nothing_lost(dut)
