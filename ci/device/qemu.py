"""Runs the device in QEMU: its disks as copies, its serial line as a file, a root shell of the bench, and QMP.

The shell is a bench-only service on a virtio port (docs/bench.md): commands and their output do not mix with what the
kernel says on the serial line. It greets each time it starts, so that a reset is seen.
"""
# ruff: noqa: S603, S607  (it runs QEMU and reads the environment with libubootenv: that is its work)

import itertools
import os
import random
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from device import disk
from device.cache import Run
from device.machine import QEMU, machine
from device.qmp import Qmp

GREETING = b"DCU-BENCH-SHELL\n"
POWER_FAIL = 3  # the pin of the PL061 that dcu-qemu.dtsi makes the power-fail line
LINE = "dcu.meters"  # /dev/virtio-ports/… in the guest
KEPT = "QEMU_KEEP"  # set: the directories of the machines stay for a look
PATIENCE = float(os.environ.get("QEMU_PATIENCE", "1"))  # waits so many times as long, on a host with much else to do


class Timeout(AssertionError):
    """What a test waited for did not come in time."""


class Device:
    """One device: `with Device(firmware, disks) as device: device.shell("...")`."""

    def __init__(self, firmware: Path, disks: Path, *, extra: Sequence[str] = (), icount: bool = False) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="dcu-device-"))
        self.card, self.disk = self.home / "sd.img", self.home / "disk.img"
        for image in (self.card, self.disk):
            subprocess.run(["cp", "--sparse=always", "--reflink=auto", disks / image.name, image], check=True)
        self.serial_log = self.home / "serial.log"
        self.serial_log.touch()
        self._firmware, self._extra, self._icount = firmware, tuple(extra), icount
        self._process: subprocess.Popen[bytes] | None = None
        self._shell: socket.socket | None = None
        self._pending = b""
        self._seen = 0
        self._numbers = itertools.count(1)

    def __enter__(self) -> "Device":
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.cut()
        if kind and not issubclass(kind, KeyboardInterrupt):
            print(f"--- end of the serial line ({self.serial_log})\n{self.serial()[-6000:]}")  # noqa: T201
        if not os.environ.get(KEPT):
            shutil.rmtree(self.home, ignore_errors=True)

    # Power

    def start(self) -> None:
        """Switch the device on."""
        sockets = {name: self.home / f"{name}.sock" for name in ("qmp", "shell", "qtest")}
        for path in sockets.values():
            path.unlink(missing_ok=True)
        command = [*arguments(self._firmware, *self.drives(), icount=self._icount), *self._extra]
        command += ["-serial", f"file:{self.serial_log}", "-qmp", f"unix:{sockets['qmp']},server=on,wait=off"]
        command += ["-qtest", f"unix:{sockets['qtest']},server=on,wait=off", "-qtest-log", "none"]
        command += ["-chardev", f"socket,id=shell,path={sockets['shell']},server=on,wait=off"]
        command += ["-device", "virtio-serial-pci", "-device", "virtserialport,chardev=shell,name=dcu.bench"]
        # QEMU truncates the serial file at its start; what the last run wrote stays beside it
        if self.serial_log.stat().st_size:
            with (self.home / "earlier.log").open("ab") as kept:
                kept.write(self.serial_log.read_bytes())
        self._seen = 0
        with (self.home / "qemu.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self._await_sockets(list(sockets.values()))
        self.qmp = Qmp(sockets["qmp"])
        self._shell = socket.socket(socket.AF_UNIX)
        self._shell.connect(str(sockets["shell"]))
        self._pending = b""

    def drives(self) -> tuple[str, str]:
        """What QEMU opens as SD card and as disk."""
        return str(self.card), str(self.disk)

    def cut(self) -> None:
        """Take the power away: what the guest has not written to its disks is lost."""
        if self._process:
            self.qmp.close()
            if self._shell:
                self._shell.close()
            self._process.kill()
            self._process.wait()
            self._process = None

    def wait_off(self, timeout: float) -> None:
        """Wait until the device has switched itself off."""
        assert self._process
        try:
            self._process.wait(timeout * PATIENCE)
        except subprocess.TimeoutExpired:
            raise Timeout(f"still on after {timeout} s") from None
        self.cut()

    def mains(self, *, present: bool) -> None:
        """Set the power-fail line. By qtest, where a level stays: QMP's `system_powerdown` gives a pulse of 100 ms."""
        children = self.qmp.command("qom-list", path="/machine/unattached")
        pl061 = next(each["name"] for each in children if each["type"] == "child<pl061>")
        with socket.socket(socket.AF_UNIX) as qtest:
            qtest.settimeout(10)
            qtest.connect(str(self.home / "qtest.sock"))
            line = f"set_irq_in /machine/unattached/{pl061} unnamed-gpio-in {POWER_FAIL} {int(not present)}\n"
            qtest.sendall(line.encode())
            answer = qtest.recv(100)
        assert answer.startswith(b"OK"), f"qtest: {answer!r}"

    # What it says

    def serial(self) -> str:
        return self.serial_log.read_bytes().decode(errors="replace")

    def expect(self, pattern: str, timeout: float) -> "re.Match[str]":
        """Wait for `pattern` on the serial line, after what was expected before. Raises Timeout."""
        end = time.monotonic() + timeout * PATIENCE
        while True:
            if found := re.compile(pattern).search(self.serial(), self._seen):
                self._seen = found.end()
                return found
            if time.monotonic() > end:
                raise Timeout(f"no {pattern!r} on the serial line within {timeout} s")
            if self._process and self._process.poll() is not None:
                raise Timeout(
                    f"QEMU ended while waiting for {pattern!r}: {(self.home / 'qemu.log').read_text()[-500:]}"
                )
            time.sleep(0.05)

    def events(self) -> list[dict[str, Any]]:
        """Return what QEMU has told of this device so far: resets, the watchdog."""
        self.qmp.command("query-status")  # its answer comes after the events before it
        return self.qmp.events

    # What it is told

    def booted(self, timeout: float = 120.0) -> None:
        """Wait for the bench's shell of a boot (again after each reset)."""
        self._read_until(GREETING, time.monotonic() + timeout * PATIENCE, "the bench's shell")

    def shell(self, command: str, timeout: float = 60.0, *, check: bool = True) -> str:
        """Run `command` as root, return what it printed. Raises AssertionError when it fails and `check` holds."""
        assert self._shell
        mark = f"DCU-BENCH-{next(self._numbers)}".encode()
        self._shell.sendall(
            b"{ " + command.encode() + b"\n} </dev/null 2>&1; code=$?; echo; echo " + mark + b" $code\n"
        )
        end = time.monotonic() + timeout * PATIENCE
        output = self._read_until(b"\n" + mark + b" ", end, repr(command))
        code = int(self._read_until(b"\n", end, repr(command)))
        text = output.decode(errors="replace").removesuffix("\n")
        assert not (check and code), f"{command!r}: exit {code}\n{text}"
        return text

    def put(self, path: str, content: bytes) -> None:
        """Write a file in the guest."""
        import base64

        text = base64.encodebytes(content).decode()
        self.shell(f"base64 -d > {path} <<'DCU-END'\n{text}DCU-END", timeout=120)

    # Its disks while it is off

    def environment(self) -> dict[str, str]:
        """Return U-Boot's environment as libubootenv reads it from the SD card's image."""
        config = self.home / "fw_env.config"
        config.write_text("".join(f"{self.card} {offset:#x} {size:#x}\n" for offset, size in disk.copies()))
        shown = subprocess.run(["fw_printenv", "-c", config], check=True, capture_output=True, text=True).stdout
        return dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)

    @contextmanager
    def mounted(self, name: str) -> Iterator[Path]:
        """Mount a partition of a device that is off, to be read or changed."""
        start, size = disk.partition(self.disk, name, Run(self.home / "tools.log"))
        point = self.home / f"mount-{name}"
        point.mkdir(exist_ok=True)
        options = f"loop,offset={start},sizelimit={size}"
        subprocess.run(["mount", "-o", options, self.disk, point], check=True)
        try:
            yield point
        finally:
            subprocess.run(["umount", point], check=True)

    def destroy(self, name: str, seed: int, blocks: int) -> None:
        """Overwrite so many random blocks of a partition of a device that is off, and every superblock."""
        rng, block = random.Random(seed), 4096  # noqa: S311
        start, size = disk.partition(self.disk, name, Run(self.home / "tools.log"))
        with self.disk.open("r+b") as file:
            for at in [*rng.sample(range(size // block), blocks)]:
                file.seek(start + at * block)
                file.write(rng.randbytes(block))
            for at in superblocks(self.disk, start, size):
                file.seek(start + at)
                file.write(rng.randbytes(2048))

    def _read_until(self, mark: bytes, end: float, what: str) -> bytes:
        assert self._shell
        while mark not in self._pending:
            self._shell.settimeout(max(0.01, end - time.monotonic()))
            try:
                more = self._shell.recv(65536)
            except TimeoutError:
                raise Timeout(f"{what}: nothing in time; so far {self._pending[-2000:]!r}") from None
            if not more:
                raise Timeout(f"{what}: QEMU ended")
            self._pending += more
        before, _, self._pending = self._pending.partition(mark)
        return before

    def _await_sockets(self, paths: Sequence[Path]) -> None:
        end = time.monotonic() + 20
        while not all(path.exists() for path in paths):
            if time.monotonic() > end or (self._process and self._process.poll() is not None):
                raise Timeout(f"QEMU did not start: {(self.home / 'qemu.log').read_text()[-1000:]}")
            time.sleep(0.02)
        with suppress(OSError):
            time.sleep(0.02)


def superblocks(image: Path, start: int, size: int) -> list[int]:
    """Where a partition's ext4 has its superblock and the copies of it, in bytes: each kilobyte is tried."""
    with image.open("rb") as file:
        file.seek(start)
        content = file.read(size)
    return [at for at in range(0, size, 1024) if content[at + 0x38 : at + 0x3A] == b"\x53\xef"]


def line(path: Path) -> list[str]:
    """Return QEMU's arguments for a line to the meters: what is at `path` on the host is a virtio port in the guest."""
    return [
        *("-chardev", f"serial,id=meters,path={path}", "-device", "virtio-serial-pci,id=lines"),
        *("-device", f"virtserialport,bus=lines.0,chardev=meters,name={LINE}"),
    ]


def arguments(firmware: Path, card: Path | str, disk_image: Path | str, *, icount: bool = False) -> list[str]:
    """Return QEMU's command line for a device with these disks; consoles are the caller's."""
    raw = "if=none,format=raw"
    accelerator = ["-icount", "shift=3,sleep=on"] if icount else ["-accel", "tcg,thread=multi"]
    return [
        *(QEMU, *machine(), *accelerator, "-bios", str(firmware / "u-boot.bin"), "-nodefaults", "-display", "none"),
        *("-device", "sdhci-pci", "-device", "sd-card,drive=card", "-drive", f"id=card,{raw},file={card}"),
        *("-device", "virtio-blk-pci,drive=disk", "-drive", f"id=disk,{raw},file={disk_image}"),
        *("-netdev", "user,id=net", "-device", "virtio-net-pci,netdev=net,romfile="),
        *("-device", "virtio-rng-pci", "-device", "i6300esb,addr=0x1f", "-action", "watchdog=reset"),
    ]
