"""A street on one serial line: the collector reads ten meters over a pseudo-terminal, every reading is the truth."""

import asyncio
import json

import pytest

from neighbourhood.demo import Settings, run


def played(**options):
    return asyncio.run(run(Settings(10, wired=True, **options), lambda expected, collected: None))


def test_the_collector_reads_ten_meters_over_one_serial_line():
    outcome = played()
    assert outcome.good, json.dumps(outcome.plain(Settings(10)))
    assert outcome.verdict.readings >= 240
    assert outcome.counter_reuse == 0


@pytest.mark.parametrize("bent", [{"units": 1}, {"seconds": 3600}])
def test_a_bent_truth_is_noticed(bent):
    outcome = played(**bent)
    assert not outcome.good
    assert outcome.verdict.wrong
