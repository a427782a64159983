"""What all tests share: one event loop that stands by, and is closed at the end.

looptime's plugin asks for the current event loop around every test, also where none runs; Python 3.11 then makes one
that nobody closes, and its ResourceWarning would fail whichever test happens to run when it is collected.
"""

import asyncio

import pytest

from . import conformance

_loop = pytest.StashKey[asyncio.AbstractEventLoop]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--conformance", metavar="FILE", help="Run what has the mark `conforms`, and write the page.")
    parser.addoption("--conformance-again", action="store_true", help="only what has not passed yet")


def pytest_configure(config: pytest.Config) -> None:
    conformance.register(config)
    config.stash[_loop] = asyncio.new_event_loop()
    asyncio.set_event_loop(config.stash[_loop])


def pytest_unconfigure(config: pytest.Config) -> None:
    config.stash[_loop].close()
