"""The foreign programs, built and started once for all tests here."""

import socket
from collections.abc import Iterator
from contextlib import closing

import pytest

from .java import Program, built
from .jdlms import Ports


@pytest.fixture(scope="session")
def gurux_jars() -> str:
    return built("gurux")


@pytest.fixture(scope="session")
def gurux_client(gurux_jars: str) -> Iterator[Program]:
    with closing(Program(gurux_jars, "GuruxClient")) as program:
        yield program


@pytest.fixture(scope="session")
def gurux_meter(gurux_jars: str) -> Iterator[Program]:
    with closing(Program(gurux_jars, "GuruxMeter")) as program:
        yield program


@pytest.fixture(scope="session")
def jdlms_jars() -> str:
    return built("jdlms")


@pytest.fixture(scope="session")
def jdlms_client(jdlms_jars: str) -> Iterator[Program]:
    with closing(Program(jdlms_jars, "JdlmsClient")) as program:
        yield program


@pytest.fixture(scope="session")
def jdlms_meter(jdlms_jars: str) -> Iterator[Ports]:
    ports = []
    for _ in range(3):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            ports.append(probe.getsockname()[1])
    with closing(Program(jdlms_jars, "JdlmsMeter")) as program:
        program.say("serve", *map(str, ports))
        yield Ports(*ports)
