"""Whatever instant the power goes at, in an update or a collection: what the disks then hold is a device that goes on.

The long run is `make powercut LONG=1` (docs/reliability.md).
"""

import pytest

from device.powercut import record, switch
from device.powercut.judged import judged

SEED, STATES = 20261120, 150


@pytest.mark.timeout(1800)  # the recording is a device's first boot, an update, a trial and its confirmation
def test_no_cut_of_an_update_or_of_a_collection_loses_what_was_promised():
    outcome = judged("device", record.update(), STATES, SEED)
    assert outcome.ok, outcome.failures
    assert outcome.states > 2 * STATES


@pytest.mark.parametrize("order", switch.ORDERS)
def test_an_installation_survives_every_cut_and_its_broken_twins_do_not(order, tmp_path):
    switch.install(tmp_path, order)
    is_canary = order != switch.ORDERS[0]
    outcome = judged(order, tmp_path, STATES, SEED, canary=is_canary)
    assert outcome.ok is not is_canary, outcome.failures
