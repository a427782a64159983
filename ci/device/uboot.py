"""The bench's U-Boot: Debian's source, our fragments, our boot logic compiled in, our public key in its device tree."""

import os
import shutil
from pathlib import Path

from device import debian, keys
from device.cache import Run, built, tool
from device.kernel import CROSS, check
from device.machine import device_tree
from device.paths import UBOOT_FILES

BOARD = "board/emulation/qemu-arm"
FRAGMENTS = ("common.cfg", "redundant-2025.07.cfg", "qemu.cfg")  # Debian's trixie has 2025.01
PAYLOAD = (*FRAGMENTS, "dcu.env", "dcu-env.h")

EMPTY_FIT = """/dts-v1/;
/ { description = "carries the key into U-Boot's tree"; #address-cells = <1>;
  images { nothing { data = [00]; type = "firmware"; arch = "arm64"; compression = "none";
    hash { algo = "sha256"; }; }; };
  configurations { default = "conf"; conf { firmware = "nothing"; signature {
    algo = "sha256,rsa3072"; key-name-hint = "%s"; sign-images = "firmware"; }; }; };
};
"""


def tools() -> Path:
    """Return the directory with u-boot-nodtb.bin and U-Boot's own mkimage and mkenvimage of the same version."""
    tool(f"{CROSS}gcc", "make", "bison", "flex", "patch", "bzip2")
    version, tarballs = debian.source("u-boot")
    inputs = [version, *(UBOOT_FILES / each for each in PAYLOAD), "recipe 1"]
    return built("u-boot", inputs, lambda home, run: _make(home, run, tarballs))


def build() -> Path:
    """Return the directory with u-boot.bin, which trusts the bench's key only."""
    base, tree, signing = tools(), device_tree(), keys.fit()
    inputs = [base.name, tree.name, signing / f"{keys.FIT}.crt"]
    return built("firmware", inputs, lambda home, run: _join(home, run, base, tree, signing))


def _make(home: Path, run: Run, tarballs: list[Path]) -> None:
    work = home / "work"
    work.mkdir()
    for tarball in sorted(tarballs, key=lambda path: ".debian." in path.name):
        run("tar", "-xf", tarball, "-C", work, *([] if ".debian." in tarball.name else ["--strip-components=1"]))
    for line in (work / "debian/patches/series").read_text().splitlines():
        if line and not line.startswith("#"):
            run("patch", "-s", "-p1", "-i", f"debian/patches/{line}", cwd=work)
    shutil.copy(UBOOT_FILES / "dcu.env", work / BOARD / "dcu.env")
    wanted = "".join((UBOOT_FILES / each).read_text() for each in FRAGMENTS)
    (work / ".fragment").write_text(wanted)
    environment = {**os.environ, "KCPPFLAGS": f"-include {UBOOT_FILES / 'dcu-env.h'}", "SOURCE_DATE_EPOCH": "0"}
    make = ("nice", "-n", "19", "make", "-s", f"CROSS_COMPILE={CROSS}")
    run(*make, "qemu_arm64_defconfig", cwd=work, env=environment)
    run("scripts/kconfig/merge_config.sh", "-m", ".config", ".fragment", cwd=work, env=environment)
    run(*make, "olddefconfig", cwd=work, env=environment)
    check(wanted, (work / ".config").read_text())
    run(*make, f"-j{os.cpu_count()}", "u-boot-nodtb.bin", "tools", cwd=work, env=environment)
    for name in ("u-boot-nodtb.bin", ".config", "tools/mkimage", "tools/mkenvimage", "include/generated/env.txt"):
        shutil.copy(work / name, home / Path(name).name)
    shutil.rmtree(work)


def _join(home: Path, run: Run, base: Path, tree: Path, signing: Path) -> None:
    control = home / "control.dtb"
    (home / "empty.its").write_text(EMPTY_FIT % keys.FIT)
    shutil.copy(tree / "board.dtb", control)
    run(base / "mkimage", "-f", home / "empty.its", "-k", signing, "-K", control, "-r", home / "empty.fit")
    (home / "u-boot.bin").write_bytes((base / "u-boot-nodtb.bin").read_bytes() + control.read_bytes())
