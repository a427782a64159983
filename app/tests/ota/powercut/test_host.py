"""The rigs that need no QEMU, for a short time: nothing is lost, and each canary is caught."""

import pytest

from ota.powercut import host
from ota.powercut.rigs import mounted

WHY_NOT = mounted.why_not()
pytestmark = [
    pytest.mark.root,
    pytest.mark.slow,
    pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT or "-"),
    pytest.mark.timeout(300),
]


@pytest.mark.parametrize("rig", host.RIGS, ids=lambda rig: rig.name)
def test_a_power_cut_loses_nothing_that_was_promised(rig, tmp_path):
    outcome = host.check(rig, 100, 20261120, lambda outcome: None, tmp_path)
    assert outcome.ok, outcome.failures
    assert outcome.states > 150


@pytest.mark.parametrize("rig", host.CANARIES, ids=lambda rig: rig.name)
def test_canaries_are_caught(rig, tmp_path):
    outcome = host.check(rig, 60, 20261120, lambda outcome: None, tmp_path)
    assert outcome.failed
    assert not list(tmp_path.iterdir())  # nothing of a canary is kept as a failure
