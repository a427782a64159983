"""An ext4 file system after a power cut, treated as by check-disk on the device, then examined.

check-disk runs `e2fsck -p`, which replays the journal, and where that is not enough (a superblock torn in its middle)
`e2fsck -f -y`. What neither mends would be made anew, if it is data: here that counts as lost.
"""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from ota.errors import OtaError

NEEDED = ("e2fsck", "debugfs")


def replayed(image: Path, scratch: Path) -> tuple[Path, str]:
    """Return a copy of `image` with its journal replayed, and what is wrong with it, "" where it is sound."""
    copy = scratch / f"{image.name}.replayed"
    subprocess.run(["cp", "--sparse=always", image, copy], check=True)  # noqa: S603, S607
    if _run("e2fsck", "-p", copy).returncode >= 4:
        done = _run("e2fsck", "-f", "-y", copy)
        if done.returncode >= 4:
            return copy, f"e2fsck -f -y does not mend it: {_last(done)}"
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


def _run(*command: str | Path, given: str = "") -> "subprocess.CompletedProcess[str]":
    try:
        return subprocess.run(command, input=given, capture_output=True, text=True, errors="replace")  # noqa: S603
    except FileNotFoundError:
        raise OtaError(f"{command[0]} is not installed: apt-get install e2fsprogs") from None


def _last(done: "subprocess.CompletedProcess[str]") -> str:
    lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    told = [line for line in lines if "WARNING" not in line]
    return f"exit {done.returncode}: " + " | ".join(told[:4])[:400]
