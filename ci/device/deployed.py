"""What BitBake deployed for machine dcu-qemuarm64, in the place of what the bench builds (`make device-test
DEVICE_IMAGE=…`).

The scenarios ask the device questions in a root shell: build it with layers/kas/bench.yml, which adds the bench's
own guest files and nothing else.
"""

import os
import shutil
from pathlib import Path

from device.cache import BuildError, Run, built
from device.paths import ROOT

MACHINE = "dcu-qemuarm64"


def folder() -> Path | None:
    """The deploy directory, where one is given."""
    given = os.environ.get("DEVICE_IMAGE")
    return ROOT / given if given else None


def bank(deployed: Path) -> Path:
    """Return the directory with kernel.fit and rootfs.img."""
    files = {
        "kernel.fit": _file(deployed, f"kernel-{MACHINE}.fit"),
        "rootfs.img": _file(deployed, f"rootfs-{MACHINE}.img"),
    }
    return _kept("deployed-bank", files)


def firmware(deployed: Path) -> Path:
    """Return the directory with u-boot.bin."""
    return _kept("deployed-firmware", {"u-boot.bin": _file(deployed, f"u-boot-{MACHINE}.bin")})


def _file(deployed: Path, name: str) -> Path:
    path = deployed / name
    if not path.exists():
        raise BuildError(f"{path}: BitBake deployed no such file: make layer-build BOARD=qemuarm64 OPTIONS=bench")
    return path.resolve()


def _kept(step: str, files: dict[str, Path]) -> Path:
    def make(home: Path, _: Run) -> None:
        for name, path in files.items():
            shutil.copy(path, home / name)

    return built(step, list(files.values()), make)
