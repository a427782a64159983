"""The built device, once for all tests; each test switches on its own copy of it."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from device import bank, deployed, disk, system, uboot
from device.cache import Run
from device.qemu import Device
from device.street import Street
from device.tests.updating import METERS, Settled, settle

Switch = Callable[..., Device]


@pytest.fixture(scope="session")
def squashfs() -> Path:
    if deployed.folder():
        pytest.skip("makes a bank of its own: not of an image that BitBake built")
    return system.build()


@pytest.fixture(scope="session")
def good(request: pytest.FixtureRequest) -> Path:
    """The bank as it is released: kernel.fit and rootfs.img; BitBake's, if DEVICE_IMAGE names its deploy directory."""
    if image := deployed.folder():
        return deployed.bank(image)
    return bank.build(request.getfixturevalue("squashfs"))


@pytest.fixture(scope="session")
def firmware() -> Path:
    if image := deployed.folder():
        return deployed.firmware(image)
    return uboot.build()


@pytest.fixture(scope="session")
def settled(squashfs: Path, good: Path, firmware: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settled]:
    """A device that has read its street for a day; each scenario switches on a copy. The street goes on."""
    with Street(METERS) as street:
        yield settle(firmware, disk.build(good), tmp_path_factory.mktemp("settled"), street)


@pytest.fixture
def device(good: Path, firmware: Path) -> Switch:
    """Make a device, switched off: the bank for each slot (the good one if not given), the environment's variables."""

    def make(a: Path | None = None, b: Path | None = None, extra: Sequence[str] = (), **variables: Any) -> Device:
        image = deployed.folder() if not (a or b) else None
        disks = (deployed.disks(image) if image else None) or disk.build(a or good, b or good)
        made = Device(firmware, disks, extra=extra)
        if variables:
            texts = {name: str(value) for name, value in variables.items()}
            disk.write_environment(
                made.card, uboot.tools(), Run(made.home / "tools.log"), {**disk.ENVIRONMENT, **texts}
            )
        return made

    return make


@pytest.fixture
def spoil() -> Callable[[Device, str, int], None]:
    """Flip one byte of a partition of a device that is off."""

    def flip(made: Device, partition: str, at: int) -> None:
        start, _ = disk.partition(made.disk, partition, Run(made.home / "tools.log"))
        with made.disk.open("r+b") as file:
            file.seek(start + at)
            old = file.read(1)[0]
            file.seek(start + at)
            file.write(bytes([old ^ 0xFF]))

    return flip
