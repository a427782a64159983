"""The machine that QEMU plays: one description, for the build (its tree goes into U-Boot and the FIT) and the run."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from device.cache import Run, built, tool
from device.paths import KERNEL_FILES

QEMU = "qemu-system-aarch64"
MEMORY = 512  # megabytes, as the boards have
GEOMETRY = ("-cpu", "cortex-a57", "-smp", "2", "-m", str(MEMORY))
TREE = "dcu-qemu.dtsi"


def machine(extra: str = "") -> list[str]:
    """Return QEMU's arguments for the board. Without acpi=off the device tree lacks the GPIO of the power-fail line."""
    return ["-M", f"virt,acpi=off{extra}", *GEOMETRY]


def device_tree() -> Path:
    """Return the directory with board.dts: QEMU's tree of this machine, without its random seeds, and our additions."""
    tool(QEMU, "dtc")
    return built("device-tree", [*machine(), KERNEL_FILES / TREE, Run(Path()).output(QEMU, "--version")], _make)


def compile_tree(run: Run, source: str, target: Path, *, quiet: Sequence[str] = ("-q",)) -> None:
    """Compile the device-tree source text to `target`."""
    run("dtc", *quiet, "-I", "dts", "-O", "dtb", "-o", target, "-", stdin=source)


def _make(home: Path, run: Run) -> None:
    blob = home / "qemu.dtb"
    # The firmware is named so that QEMU makes the tree that it makes when firmware runs; it is not started
    run(QEMU, *machine(f",dumpdtb={blob}"), "-bios", os.devnull, "-display", "none", "-nodefaults")
    text = run.output("dtc", "-q", "-I", "dtb", "-O", "dts", blob)
    text = re.sub(r"^\s*(rng-seed|kaslr-seed) = .*\n", "", text, flags=re.MULTILINE)
    (home / "board.dts").write_text(text + "\n" + (KERNEL_FILES / TREE).read_text())
    compile_tree(run, (home / "board.dts").read_text(), home / "board.dtb")
