"""The steps of an installation on this host, in seconds: both images, dcu-flush.sh, one save of the environment.

What SWUpdate does in QEMU takes minutes; here the order is ours, and so are the ways to break it. Everything else is
real: the images, the disks, this kernel's page cache, the script of the update, fw_setenv.
"""

# ruff: noqa: S603, S607  (loop devices, a mount namespace: that is its work)
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from device import bank, disk, system
from device.cache import Run
from device.paths import SWUPDATE_FILES
from device.powercut import record
from ota.powercut.recorder import Recorder
from ota.powercut.rigs import mounted

ORDERS = ("whole", "no flush", "switched first")
# dcu-flush.sh names the banks by their partitions' labels: in a namespace of its own these are our loop devices
FLUSH = """
set -eu
mkdir -p /dev/disk
mount -t tmpfs -o mode=0755 none /dev/disk
mkdir /dev/disk/by-partlabel
ln -s "$2" /dev/disk/by-partlabel/kernel_b
ln -s "$3" /dev/disk/by-partlabel/rootfs_b
sh "$1" b
"""
SWITCH = "slot=b\nupgrade_available=1\nbootcount=0\nboot_failures=0\nrollback_reason=\n"


def install(home: Path, order: str) -> None:
    """Record an installation into bank b in this order, one of ORDERS."""
    sealed = bank.build(system.build(record.NEWER))
    images = {"card": home / "card.img", "disk": home / "disk.img"}
    home.mkdir(parents=True, exist_ok=True)
    factory = disk.build(bank.build(system.build()))
    for name, source in (("card", "sd.img"), ("disk", "disk.img")):
        subprocess.run(["cp", "--sparse=always", factory / source, images[name]], check=True)
    with ExitStack() as stack:
        recorder = stack.enter_context(Recorder(home, images, ("card",)))
        recorder.mark("device", **record.described())
        card, whole = (stack.enter_context(mounted.file(recorder, name, home)) for name in images)
        kernel, rootfs = (stack.enter_context(_loop(images["disk"], whole, f"{n}_b")) for n in ("kernel", "rootfs"))
        config = home / "fw_env.config"
        config.write_text("".join(f"{card} {offset:#x} {size:#x}\n" for offset, size in disk.copies()))
        _save(config, "ustate=7\n")
        if order == "switched first":
            _save(config, SWITCH)
        for device, image in ((kernel, "kernel.fit"), (rootfs, "rootfs.img")):
            with device.open("wb") as target:
                target.write((sealed / image).read_bytes())
        if order != "no flush":
            script = SWUPDATE_FILES / "dcu-flush.sh"
            subprocess.run(["unshare", "-m", "sh", "-c", FLUSH, "flush", script, kernel, rootfs], check=True)
        if order != "switched first":
            _save(config, SWITCH)
        _save(config, "ustate=1\n")
        recorder.mark("installed", slot="b")
    for image in images.values():
        image.unlink()


@contextmanager
def _loop(image: Path, whole: Path, name: str) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as scratch:
        start, length = disk.partition(image, name, Run(Path(scratch) / "log"))
    bounds = ("--offset", str(start), "--sizelimit", str(length))
    found = subprocess.run(["losetup", "--find", "--show", *bounds, whole], check=True, capture_output=True, text=True)
    try:
        yield Path(found.stdout.strip())
    finally:
        subprocess.run(["losetup", "--detach", found.stdout.strip()], check=True)


def _save(config: Path, script: str) -> None:
    subprocess.run(["fw_setenv", "-c", config, "-s", "/dev/stdin"], input=script, text=True, check=True)
