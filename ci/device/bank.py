"""What a bank holds: rootfs_X (squashfs, its verity tree behind it) and kernel_X, the signed FIT that vouches for it.

One FIT serves both banks: configuration conf-a boots from rootfs_a, conf-b from rootfs_b. Kernel, device tree and
command line (the root hash above all) are inside what the signature covers; U-Boot adds nothing to the command line.
"""

import gzip
import os
import re
from collections.abc import Mapping
from pathlib import Path

from device import kernel, keys, machine, uboot
from device.cache import Run, built, tool
from device.paths import BANK_FILES

BLOCK = 4096
LOAD = 0x40200000
REPRODUCIBLE = {**os.environ, "SOURCE_DATE_EPOCH": "0"}

TREE = """
/ {{ chosen {{ bootargs = "{arguments}"; }}; }};
"""

TEMPLATES = (BANK_FILES / "kernel.its.in", BANK_FILES / "cmdline.in")  # BitBake's, too (dcu-bank.bb)


def build(squashfs: Path, *, arguments: str = "", signing: Path | None = None) -> Path:
    """Return the directory with rootfs.img and kernel.fit for this squashfs.

    `arguments` are added to the kernel's command line, `signing` is another directory with keys: both for tests.
    """
    tool("veritysetup", "dtc")
    kernel_home, tools, tree = kernel.build(), uboot.tools(), machine.device_tree()
    key = signing or keys.fit()
    inputs = [squashfs, kernel_home.name, tools.name, tree.name, key / f"{keys.FIT}.crt", arguments, *TEMPLATES]

    def make(home: Path, run: Run) -> None:
        sealed = _seal(home, run, squashfs)
        for slot in "ab":
            line = command_line(slot, sealed, arguments)
            text = (tree / "board.dts").read_text() + TREE.format(arguments=line.replace('"', '\\"'))
            machine.compile_tree(run, text, home / f"{slot}.dtb")
        (home / "Image.gz").write_bytes(gzip.compress((kernel_home / "Image").read_bytes(), 9, mtime=0))
        sign(home, run, tools, key)

    return built("bank", inputs, make)


def sign(home: Path, run: Run, tools: Path, key: Path) -> None:
    """Make kernel.fit of Image.gz, a.dtb and b.dtb."""
    values = {"IMAGE": home / "Image.gz", "TREE_A": home / "a.dtb", "TREE_B": home / "b.dtb", "KEY": keys.FIT}
    values |= {"ARCH": "arm64", "COMPRESSION": "gzip", "LOAD": f"{LOAD:#x}", "ALGORITHM": "rsa3072"}
    source = _filled(TEMPLATES[0].read_text(), values)
    (home / "kernel.its").write_text(source)
    run(tools / "mkimage", "-f", home / "kernel.its", "-k", key, "-r", home / "kernel.fit", env=REPRODUCIBLE)


def command_line(slot: str, sealed: tuple[int, str, str], arguments: str) -> str:
    """Return the kernel's command line: a verity device made before the root is mounted, a panic where it fails."""
    blocks, root_hash, salt = sealed
    values = {"CONSOLE": "console=ttyAMA0", "SLOT": slot, "SECTORS": blocks * BLOCK // 512, "BLOCKS": blocks}
    line = _filled(TEMPLATES[1].read_text(), values | {"ROOT_HASH": root_hash, "SALT": salt})
    return " ".join([*line.splitlines(), *filter(None, [arguments])])


def _filled(text: str, values: Mapping[str, object]) -> str:
    return re.sub(r"@([A-Z_]+)@", lambda found: str(values[found[1]]), text)


def _seal(home: Path, run: Run, squashfs: Path) -> tuple[int, str, str]:
    """Write rootfs.img, the squashfs with its hash tree behind it; return its data blocks, root hash and salt."""
    image = home / "rootfs.img"
    content = squashfs.read_bytes()
    content += bytes(-len(content) % BLOCK)
    image.write_bytes(content)
    # The salt is public; a fixed one makes the same tree from the same files
    options = ("--no-superblock", f"--data-block-size={BLOCK}", f"--hash-block-size={BLOCK}", f"--salt={'dc' * 32}")
    blocks = len(content) // BLOCK
    shown = run.output(
        "veritysetup", "format", *options, f"--data-blocks={blocks}", f"--hash-offset={len(content)}", image, image
    )
    found = dict(re.findall(r"^(Root hash|Salt):\s+(\w+)$", shown, re.MULTILINE))
    return blocks, found["Root hash"], found["Salt"]
