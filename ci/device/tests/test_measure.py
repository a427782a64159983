"""What an outage costs in guest time stays within the budget of the device tree (docs/last-gasp.md)."""

import pytest

from device import measure

pytestmark = [pytest.mark.long, pytest.mark.timeout(3600)]  # ten times slower than without -icount


def test_a_full_buffer_is_committed_and_the_head_end_told_within_the_budget(capsys):
    def tell(text):
        with capsys.disabled():
            print(text, flush=True)  # noqa: T201

    seen = measure.measured(tell)
    whole, short = seen.flushes
    assert whole.seconds < whole.allowed
    assert whole.left == 0, "a full buffer is saved whole"
    assert whole.committed > 0
    assert short.committed < whole.committed / 2, "the canary: the time that is allowed does bound it"
    assert whole.committed + whole.left == short.committed + short.left
    told = [after for after, what in seen.steps if what.startswith("last gasp:")]
    assert told, seen.steps
    assert whole.allowed + max(told) < seen.off < seen.notice
