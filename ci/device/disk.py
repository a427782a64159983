"""The two disks as a factory writes them: the SD card with U-Boot's environment, and the GPT disk with the banks."""

import re
from collections.abc import Mapping
from pathlib import Path

from device import uboot
from device.cache import Run, built, tool
from device.paths import BASE_FILES, UBOOT_FILES

MEGABYTE = 1 << 20
MARK = "factory-new"  # what a factory puts on persist: dcu.platform.provision
PARTITIONS = {"kernel_a": 16, "kernel_b": 16, "rootfs_a": 160, "rootfs_b": 160, "persist": 32, "data": 256}
CARD_SIZE = 8 * MEGABYTE
ENVIRONMENT = {
    "slot": "a",
    "upgrade_available": "0",
    "bootcount": "0",
    "ustate": "0",
    "boot_failures": "0",
    "rollback_reason": "",
}


def build(bank: Path, bank_b: Path | None = None) -> Path:
    """Return the directory with sd.img and disk.img: `bank` in both banks, or `bank_b` in the second."""
    tool("sgdisk", "mke2fs")
    tools, other = uboot.tools(), bank_b or bank
    sizes = " ".join(f"{name}={size}" for name, size in PARTITIONS.items())
    inputs = [
        bank.name,
        other.name,
        tools.name,
        UBOOT_FILES / "fw_env.config",
        BASE_FILES / "persist" / MARK,
        sizes,
        "recipe 3",
    ]

    def make(home: Path, run: Run) -> None:
        (home / "sd.img").write_bytes(b"")
        write_environment(home / "sd.img", tools, run)
        _banks(home / "disk.img", run, {"a": bank, "b": other})

    return built("disk", inputs, make)


def copies() -> list[tuple[int, int]]:
    """Return offset and size of both copies of the environment, from the one file that says so."""
    found = re.findall(r"^/dev/\S+\s+(0x\w+)\s+(0x\w+)", (UBOOT_FILES / "fw_env.config").read_text(), re.MULTILINE)
    return [(int(offset, 16), int(size, 16)) for offset, size in found]


def write_environment(card: Path, tools: Path, run: Run, variables: Mapping[str, str] = ENVIRONMENT) -> None:
    """Write both copies of the environment to the SD card's image."""
    text = "".join(f"{name}={value}\n" for name, value in variables.items())
    for offset, size in copies():
        blob = card.with_suffix(".env")
        run(tools / "mkenvimage", "-r", "-s", str(size), "-o", blob, "-", stdin=text)
        write_at(card, offset, blob.read_bytes())
        blob.unlink()
    with card.open("r+b") as file:
        file.truncate(CARD_SIZE)


def write_at(image: Path, offset: int, content: bytes) -> None:
    with image.open("r+b") as file:
        file.seek(offset)
        file.write(content)


def partition(image: Path, name: str, run: Run) -> tuple[int, int]:
    """Return where the partition starts and how long it is, in bytes."""
    number = list(PARTITIONS).index(name) + 1
    shown = run.output("sgdisk", f"--info={number}", image)
    first, last = (int(re.search(rf"{word} sector: (\d+)", shown)[1]) for word in ("First", "Last"))  # type: ignore[index]
    return first * 512, (last - first + 1) * 512


def _banks(image: Path, run: Run, banks: Mapping[str, Path]) -> None:
    with image.open("wb") as file:
        file.truncate((sum(PARTITIONS.values()) + 2) * MEGABYTE)
    new = [f"--new={n}:0:+{size}M" for n, size in enumerate(PARTITIONS.values(), 1)]
    names = [f"--change-name={n}:{name}" for n, name in enumerate(PARTITIONS, 1)]
    run("sgdisk", "--clear", *new, *names, image)
    for name, size in PARTITIONS.items():
        start, length = partition(image, name, run)
        if length != size * MEGABYTE:
            raise ValueError(f"{name} is {length} bytes")
        what, _, slot = name.partition("_")
        if slot:
            content = (banks[slot] / {"kernel": "kernel.fit", "rootfs": "rootfs.img"}[what]).read_bytes()
            if len(content) > length:
                raise ValueError(f"{len(content)} bytes do not fit into {name} ({length})")
            write_at(image, start, content)
        else:
            made = ("-d", BASE_FILES / "persist") if name == "persist" else ()
            options = ("-L", name, "-m", "0", *made, "-E", f"offset={start},root_owner=0:0")
            run("mke2fs", "-q", "-F", "-t", "ext4", *options, image, f"{size}m")
