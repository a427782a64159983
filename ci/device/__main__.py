"""The bench's command line: `python -m device build|refresh|run` (the Makefile's targets call it)."""

import argparse
import shutil
import subprocess
import sys
import time
from pathlib import Path

from device import bank, debian, disk, qemu, street, swu, system, uboot
from device.cache import BuildError, Run, tell
from device.paths import OUT

WIRED = 4  # meters on the serial line of `run`


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m device", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("build", help="build everything that is not built yet")
    commands.add_parser("refresh", help="fetch Debian's package lists anew: the next build takes newer versions")
    run = commands.add_parser("run", help="boot the device with a console and a street of meters to read")
    run.add_argument("--meters", type=int, default=12)
    run.add_argument("--fresh", action="store_true", help="begin with factory-new disks")
    options = parser.parse_args()
    try:
        if options.command == "refresh":
            debian.prepare(refresh=True)
        elif options.command == "build":
            began = time.monotonic()
            firmware, disks, update = build()
            tell(f"built in {time.monotonic() - began:.0f} s: {firmware / 'u-boot.bin'}, {disks}, {update}")
        else:
            return _run(options.meters, fresh=options.fresh)
    except BuildError as error:
        tell(str(error))
        return 1
    return 0


def build() -> tuple[Path, Path, Path]:
    """Return the directories with u-boot.bin, with sd.img and disk.img, and the .swu of the same system."""
    sealed = bank.build(system.build())
    return uboot.build(), disk.build(sealed), swu.build(system.VERSION, sealed)


def _run(meters: int, *, fresh: bool) -> int:
    firmware, disks, _ = build()
    home = OUT / "run"
    if fresh or not (home / "disk.img").exists():
        home.mkdir(exist_ok=True)
        for name in ("sd.img", "disk.img"):
            shutil.copyfile(disks / name, home / name)
    tell(f"the disks stay in {home} (FRESH=1: new ones). Ctrl-A X ends it, Ctrl-A C is QEMU's monitor")
    tell(f"{meters} meters are there, {WIRED} more on a serial line: `bench-street` on the device imports them")
    wired = ("--pty", str(home / "line"), "--line", "line", "--seed", "2")
    with street.Street(meters) as running, street.Street(WIRED, *wired) as on_line:
        papers, medium = home / "street", home / "street.squashfs"
        papers.mkdir(exist_ok=True)
        (papers / "shipment.toml").write_bytes(running.shipment)
        (papers / "transport.key").write_bytes(running.transport_key)
        (papers / "line.toml").write_bytes(on_line.shipment)
        (papers / "line.key").write_bytes(on_line.transport_key)
        medium.unlink(missing_ok=True)
        Run(home / "log")("mksquashfs", papers, medium, "-comp", "zstd", "-no-progress", "-quiet")
        command = qemu.arguments(firmware, home / "sd.img", home / "disk.img")
        command += [*qemu.line(home / "line"), "-device", "virtio-blk-pci,drive=street"]
        command += ["-drive", f"id=street,if=none,format=raw,readonly=on,file={medium}", "-serial", "mon:stdio"]
        return subprocess.run(command).returncode  # noqa: S603 - QEMU


if __name__ == "__main__":
    sys.exit(main())
