"""An ext4 file system after a power cut, treated by the device's own check-disk, then examined."""

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from ota.errors import OtaError

CHECK_DISK = Path(__file__).resolve().parents[3] / "meta-grid-dcu/recipes-core/dcu-base/files/check-disk"


def replayed(image: Path, scratch: Path) -> tuple[Path, str]:
    """Return a copy of `image` as the next boot mounts it, and what is wrong with it, "" where it is sound."""
    copy, told = scratch / f"{image.name}.replayed", scratch / "told"
    subprocess.run(["cp", "--sparse=always", image, copy], check=True)  # noqa: S603, S607
    shutil.rmtree(told, ignore_errors=True)
    done = _run("sh", CHECK_DISK, image.stem, environment={**os.environ, "DCU_DISK": str(copy), "DCU_TOLD": str(told)})
    if done.returncode or (told / "recreated").exists():
        return copy, f"check-disk cannot repair it: {_last(done)}"
    done = _run("e2fsck", "-f", "-n", copy)
    return copy, f"after the journal was replayed: {_last(done)}" if done.returncode else ""


def dumped(image: Path, names: Sequence[str], target: Path) -> None:
    """Copy these directories of the file system to `target`; one that is not there is left out."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    script = "".join(f"rdump {name} {target}\n" for name in names)
    done = _run("debugfs", "-f", "-", image, given=script)
    if done.returncode:
        raise OtaError(f"debugfs: {_last(done)}")


def _run(
    *command: str | Path, given: str = "", environment: Mapping[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    try:
        return subprocess.run(  # noqa: S603
            command, input=given, capture_output=True, text=True, errors="replace", env=environment
        )
    except FileNotFoundError:
        raise OtaError(f"{command[0]} is not installed: apt-get install e2fsprogs") from None


def _last(done: "subprocess.CompletedProcess[str]") -> str:
    lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    told = [line for line in lines if "WARNING" not in line]
    return f"exit {done.returncode}: " + " | ".join(told[:4])[:400]
