"""What an outage costs in guest time stays within the budget of the device tree (docs/last-gasp.md)."""

import pytest

from device import measure

pytestmark = [pytest.mark.long, pytest.mark.timeout(3600)]  # ten times slower than without -icount

MARGIN = 0.25  # seconds that a transaction under way may take beyond what was allowed


def test_a_full_buffer_is_committed_and_the_head_end_told_within_the_budget(capsys):
    def tell(text):
        with capsys.disabled():
            print(text, flush=True)  # noqa: T201

    seen = measure.measured(tell)
    whole, short = seen.flushes
    assert whole.left == 0
    assert whole.seconds < whole.allowed
    assert short.left > 0, "the canary: what is allowed does bound it"
    assert short.seconds < short.allowed + MARGIN
    told = [after for after, what in seen.steps if what.startswith("last gasp:")]
    assert told, seen.steps
    assert max(told) < seen.off < seen.notice
