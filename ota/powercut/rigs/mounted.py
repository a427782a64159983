"""A recorded disk as a file (nbdfuse) or as a mounted ext4 (a loop device on that file) of this host."""

# ruff: noqa: S603, S607  (it mounts: that is its work)
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ota.errors import OtaError
from ota.powercut.recorder import Recorder

OPTIONS = "noatime,nodev,nosuid,errors=remount-ro"  # var-lib-dcu.mount's


def why_not() -> str:
    """Why this host cannot do it, "" where it can."""
    if os.geteuid() != 0:
        return "needs root to mount a recorded disk"
    if not Path("/dev/fuse").exists():
        return "needs FUSE"
    missing = [name for name in ("nbdfuse", "losetup", "mke2fs", "fw_setenv") if not shutil.which(name)]
    return f"needs {', '.join(missing)} (libnbd-bin, mount, e2fsprogs, libubootenv-tool)" if missing else ""


@contextmanager
def file(recorder: Recorder, name: str, where: Path) -> Iterator[Path]:
    """The disk as a file: every write to it goes to the recorder at once."""
    path = where / f"{name}.file"
    path.touch()
    fuse = subprocess.Popen(["nbdfuse", path, recorder.uri(name)])
    try:
        for _ in range(400):
            if path.stat().st_size:
                break
            if fuse.poll() is not None:
                raise OtaError(f"nbdfuse ended: exit {fuse.returncode}")
            time.sleep(0.05)
        yield path
    finally:
        _unmount(path)
        try:
            fuse.wait(20)
        except subprocess.TimeoutExpired:
            fuse.kill()


@contextmanager
def ext4(recorder: Recorder, name: str, where: Path) -> Iterator[Path]:
    """The disk, which holds an ext4, mounted."""
    point = where / f"{name}.mount"
    point.mkdir(exist_ok=True)
    with file(recorder, name, where) as path:
        loop = _run("losetup", "--find", "--show", path).strip()
        try:
            _run("mount", "-o", OPTIONS, loop, point)
            try:
                yield point
            finally:
                _unmount(point)
        finally:
            _run("losetup", "--detach", loop)


def formatted(image: Path, megabytes: int) -> None:
    """Make an image with an ext4 as the factory makes it."""
    with image.open("wb") as target:
        target.truncate(megabytes << 20)
    _run("mke2fs", "-q", "-F", "-t", "ext4", image)


def _unmount(path: Path) -> None:
    """Whatever went wrong before, nothing of ours stays mounted."""
    try:
        _run("umount", path)
    except OtaError:
        _run("umount", "--lazy", path)
        raise


def _run(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise OtaError(f"{' '.join(map(str, command))}: {done.stderr.strip() or done.returncode}")
    return done.stdout
