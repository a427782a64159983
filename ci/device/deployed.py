"""What BitBake deployed for machine dcu-qemuarm64, in the place of what the bench builds (`make device-test
DEVICE_IMAGE=…`).

The scenarios ask the device questions in a root shell: build it with layers/kas/bench.yml, which adds the bench's
own guest files and nothing else. Where wic's disk is deployed, too, that one is booted; else banks are laid out as the
bench does it, as for a scenario that has another bank in one of the slots.
"""

import os
import shutil
from pathlib import Path

from device import disk, uboot
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


def disks(deployed: Path) -> Path | None:
    """Return the directory with disk.img, as wic laid it out, and the bench's sd.img; None: no disk is deployed."""
    packed = deployed / f"dcu-disk-{MACHINE}.rootfs.wic.zst"
    if not packed.exists():
        return None
    tools = uboot.tools()

    def make(home: Path, run: Run) -> None:
        run("zstd", "-q", "-d", packed.resolve(), "-o", home / "disk.img")
        (home / "sd.img").write_bytes(b"")
        disk.write_environment(home / "sd.img", tools, run)

    return built("deployed-disk", [packed.resolve(), tools.name], make)


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
