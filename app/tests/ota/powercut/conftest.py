"""The checkers silence the store's log in their process, which is the tests' here."""

import logging
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def log_is_as_it_was() -> Iterator[None]:
    logger = logging.getLogger("dcu")
    level = logger.level
    yield
    logger.setLevel(level)
