"""A small ext4 file system of its own, on a loop device: what a full disk is tried on."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


def why_not() -> str:
    """Why no loop device can be mounted here; empty where it can."""
    if os.geteuid() != 0:
        return "needs root to mount a loop device"
    for tool in ("losetup", "mkfs.ext4", "mount"):
        if not shutil.which(tool):
            return f"needs {tool}"
    try:
        subprocess.run(["losetup", "-f"], check=True, capture_output=True)
    except subprocess.CalledProcessError:
        return "no loop device is free here"
    return ""


needs_loop = [pytest.mark.root, pytest.mark.skipif(bool(why_not()), reason=why_not() or "-")]


@contextlib.contextmanager
def mounted(where: Path, megabytes: int) -> Iterator[Path]:
    """Mount a fresh ext4 of that size, nothing reserved for root."""
    image, point = where / "image", where / "mount"
    point.mkdir()
    with image.open("wb") as file:
        file.truncate(megabytes << 20)
    _run("mkfs.ext4", "-q", "-F", "-m", "0", "-b", "4096", "-J", "size=4", str(image))
    _run("mount", "-o", "loop", str(image), str(point))
    try:
        yield point
    finally:
        if subprocess.run(["umount", str(point)], check=False, capture_output=True).returncode:
            _run("umount", "-l", str(point))  # a failed test left its store open


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


def fill(point: Path, name: str = "hog") -> int:
    """Write until nothing goes any more; return the bytes that went."""
    written = 0
    handle = os.open(point / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        for size in (1 << 20, 64 << 10, 4096):
            with contextlib.suppress(OSError):
                while True:
                    written += os.write(handle, b"\xaa" * size)
                    os.fsync(handle)
    finally:
        os.close(handle)
    return written
