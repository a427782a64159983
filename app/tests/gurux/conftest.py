import sys

import pytest

from dcu.cli.worker import Worker

CANARIES = (sys.executable, "-I", "-m", "dcu_gurux", "--canaries")


@pytest.fixture(scope="package")
def worker():
    with Worker() as worker:
        yield worker


@pytest.fixture
def canaries():
    """A worker that also has the verbs which try to break out."""
    with Worker(CANARIES) as worker:
        yield worker
