"""The bench's kernel: Debian's linux-source, trimmed to our fragments (allnoconfig), no initramfs, signed modules."""

import os
import re
import shutil
from pathlib import Path

from device import debian, keys
from device.cache import BuildError, Run, built, tool
from device.paths import KERNEL_FILES, MODULE_FILES

PACKAGE = "linux-source-6.12"
FRAGMENTS = ("dcu.cfg", "dcu-qemu.cfg")
CROSS = "aarch64-linux-gnu-"
FOR_MODULES = {"arch", "scripts", "include", "tools", "Makefile", "Kbuild", "Kconfig"}  # what M= needs of the sources


def build() -> Path:
    """Return the directory with Image, config, release, build/ (to build modules against) and modules/ (signed)."""
    tool(f"{CROSS}gcc", "make", "bc", "flex", "bison")
    package = debian.binary(PACKAGE)
    key = keys.module()
    inputs = [package.name, *(KERNEL_FILES / each for each in FRAGMENTS), key, "recipe 1"]
    return built("kernel", inputs, lambda home, run: _make(home, run, package, key))


def lastgasp() -> Path:
    """Return the directory with modules/ (lastgasp.ko, signed) for this kernel."""
    home = build()
    sources = sorted(each for each in MODULE_FILES.glob("*") if each.suffix in (".c", ".h") or each.name == "Kbuild")
    return built("lastgasp", [home.name, *sources, "recipe 1"], lambda made, run: _module(made, run, home, sources))


def _module(made: Path, run: Run, home: Path, sources: list[Path]) -> None:
    work = made / "work"
    work.mkdir()
    for source in sources:
        shutil.copy(source, work)
    make = ["make", "-C", str(home / "build"), f"M={work}", "ARCH=arm64", f"CROSS_COMPILE={CROSS}"]
    run(*make, "modules")
    run(*make, f"INSTALL_MOD_PATH={made / 'modules'}", "modules_install")


def _make(home: Path, run: Run, package: Path, key: Path) -> None:
    work = home / "work"
    run("dpkg-deb", "-x", package, work)
    run("tar", "-xf", next(work.glob("usr/src/linux-source-*.tar.xz")), "-C", work)
    tree = next(each for each in work.glob("linux-source-*") if each.is_dir())
    build_dir = home / "build"
    wanted = "".join((KERNEL_FILES / each).read_text() for each in FRAGMENTS)
    wanted += f'CONFIG_MODULE_SIG_KEY="{key}"\n'
    (home / "wanted.cfg").write_text(wanted)
    make = ["nice", "-n", "19", "make", "-C", str(tree), f"O={build_dir}", "ARCH=arm64", f"CROSS_COMPILE={CROSS}"]
    fixed = {**os.environ, "KCONFIG_ALLCONFIG": str(home / "wanted.cfg"), "KBUILD_BUILD_TIMESTAMP": "1970-01-01"}
    fixed |= {"KBUILD_BUILD_USER": "dcu", "KBUILD_BUILD_HOST": "bench"}
    run(*make, "-s", "allnoconfig", env=fixed)
    check(wanted, (build_dir / ".config").read_text())
    run(*make, "-s", f"-j{os.cpu_count()}", "Image", "modules", env=fixed)
    run(*make, "-s", f"INSTALL_MOD_PATH={home / 'modules'}", "modules_install", env=fixed)
    (home / "Image").write_bytes((build_dir / "arch/arm64/boot/Image").read_bytes())
    (home / "config").write_text((build_dir / ".config").read_text())
    (home / "release").write_text((build_dir / "include/config/kernel.release").read_text())
    (home / "source").symlink_to(tree)
    run("find", build_dir, "-name", "*.o", "-not", "-path", f"{build_dir}/scripts/*", "-delete")
    for each in tree.iterdir():
        if each.name not in FOR_MODULES:
            run("rm", "-rf", each)
    run("rm", "-rf", work / "usr")


def check(wanted: str, outcome: str) -> None:
    """Raise BuildError for every symbol of a fragment that did not take: Kconfig drops those without a word."""
    got = dict(re.findall(r"^(CONFIG_\w+)=(.*)$", outcome, re.MULTILINE))
    lost = [
        f"{name}={value} (is {got.get(name, 'not set')})"
        for name, value in dict(re.findall(r"^(CONFIG_\w+)=(.*)$", wanted, re.MULTILINE)).items()
        if got.get(name) != value
    ]
    lost += [
        f"{name} is set" for name in re.findall(r"^# (CONFIG_\w+) is not set", wanted, re.MULTILINE) if name in got
    ]
    if lost:
        raise BuildError("the configuration did not take: " + ", ".join(lost))
