"""Kernels, modules and guests are made once a session: a build takes two seconds, a boot three."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from device.lastgasp import build
from device.lastgasp.guest import Guest
from device.lastgasp.kernels import FLAVOURS, TRIXIE, Kernel, kernels, wanted

NODE = {"hold-up-ms": 3000, "deadline-margin-ms": 1500, "debounce-ms": 20, "return-debounce-ms": 300}
DEADLINE = 1.5  # seconds: hold-up without margin


@pytest.fixture(scope="session")
def every_kernel() -> list[Kernel]:
    return kernels()


@pytest.fixture(scope="session")
def judges(every_kernel: list[Kernel]) -> Path:
    """Where checkpatch, kernel-doc and dt-schema lie: an older release's do not know what the binding uses."""
    if every_kernel[-1].archive is not TRIXIE:
        pytest.skip("the checks are those of a newer kernel, which KERNELS leaves out")
    return every_kernel[-1].root


@pytest.fixture(scope="session")
def agent(every_kernel: list[Kernel]) -> Path:
    return build.agent(every_kernel[-1].root)


@pytest.fixture(scope="session", params=wanted())
def kernel(every_kernel: list[Kernel], request: pytest.FixtureRequest) -> Kernel:
    """The newest of each generation."""
    return [each for each in every_kernel if each.release.startswith(request.param)][-1]


@pytest.fixture(scope="session")
def modules(every_kernel: list[Kernel]) -> dict[str, dict[str, build.Module]]:
    """The module by kernel release and flavour."""
    return {each.release: {flavour: build.module(each, flavour) for flavour in FLAVOURS} for each in every_kernel}


@pytest.fixture(scope="session")
def module(kernel: Kernel, modules: dict[str, dict[str, build.Module]]) -> Path:
    return modules[kernel.release]["cloud-arm64"].path


@pytest.fixture(scope="session")
def machine(kernel: Kernel, module: Path, agent: Path) -> Iterator[Guest]:
    with Guest(kernel.image(), module, agent, NODE) as machine:
        assert machine.ask("insmod /lastgasp.ko") == "ok 0"
        machine.save()
        yield machine


@pytest.fixture
def guest(machine: Guest) -> Guest:
    """The module loaded, nothing open, the mains there."""
    machine.restore()
    return machine
