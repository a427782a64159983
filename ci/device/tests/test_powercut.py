"""Whatever instant the power goes at in an installation: what the disks then hold is a device that goes on.

A whole life of the device in QEMU, and the long run, are `make powercut` (docs/reliability.md).
"""

import pytest

from device.powercut import switch
from device.powercut.judged import judged

SEED, STATES = 20261120, 150


@pytest.mark.parametrize("order", switch.ORDERS)
def test_an_installation_survives_every_cut_and_its_broken_twins_do_not(order, tmp_path):
    switch.install(tmp_path, order)
    is_canary = order != switch.ORDERS[0]
    outcome = judged(order, tmp_path, STATES, SEED, canary=is_canary)
    assert outcome.ok is not is_canary, outcome.failures
