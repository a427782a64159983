"""Where the device keeps what this package reads: one place for its paths, with the device's own as defaults."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from dcu.errors import DecodeError, StoreError, UpdateError
from dcu.platform.bootenv import BootEnv, FwEnv
from dcu.platform.doubly import Doubly
from dcu.platform.swupdate import busy
from dcu.platform.update import RollbackIndex, Updates, image_version, running_slot

ROLLBACK_INDEX = "rollback-index"
LONGEST = 4096  # characters of what is told
CHECK_DISK = Path("/usr/lib/dcu/check-disk")  # the only code that makes file systems


def mounted(directory: Path) -> bool:
    """Whether a file system of its own is there; a sandbox's bind mount of a directory is none."""
    try:
        return directory.stat().st_dev != directory.parent.stat().st_dev
    except OSError:
        return False


def renew() -> None:
    """Make an empty file system on persist and mount it. Only an operator wants that. Raises StoreError."""
    units = ("persist.mount", "dcu-persist-tree.service")
    for command in ((str(CHECK_DISK), "persist", "anew"), ("systemctl", "start", *units)):
        program = shutil.which(command[0])
        if program is None:
            raise StoreError(f"{command[0]}: not there: is this the device?")
        done = subprocess.run([program, *command[1:]], capture_output=True, text=True, check=False)  # noqa: S603
        if done.returncode:
            raise StoreError(f"{' '.join(command)}: {' '.join((done.stderr or done.stdout).split()) or 'failed'}")


@dataclass(frozen=True, slots=True)
class Machine:
    """persist: the partition that is never recreated; credentials: where systemd services find theirs;

    servers: the utility's own authorities of update servers; run: what SWUpdate and we know of this boot only.
    """

    bootenv: BootEnv = field(default_factory=FwEnv)
    cmdline: Path = Path("/proc/cmdline")
    os_release: Path = Path("/etc/os-release")
    persist: Path = Path("/persist")
    credentials: Path = Path("/run/credstore")
    watchdogs: Path = Path("/sys/class/watchdog")
    serial: Path = Path("/sys/firmware/devicetree/base/serial-number")
    template: Path = Path("/usr/share/dcu/collector.toml")
    hawkbit: Path = Path("/etc/dcu/hawkbit.toml")
    servers: Path = Path("/etc/dcu/servers.pem")
    swupdate: Path = Path("/etc/swupdate.cfg")
    run: Path = Path("/run/swupdate")
    recreated: Path = Path("/run/dcu-device/recreated")  # check-disk: file systems made anew at this boot
    restored: Path = Path("/run/dcu-device/restored")  # what was mended at this boot, a sentence a line
    scratch: Path = Path("/var/lib/dcu/update")
    writing: Callable[[], bool] = busy
    data: Path = Path("/var/lib/dcu")
    mounted: Callable[[Path], bool] = mounted
    renew: Callable[[], None] = renew

    @property
    def disks(self) -> dict[str, Path]:
        return {"persist": self.persist, "data": self.data}

    def tell(self, sentences: Iterable[str]) -> None:
        """Add to what was mended at this boot: `dcu device status` shows it, the collector raises an alarm of it."""
        text = "".join(f"{sentence}\n" for sentence in sentences)
        with contextlib.suppress(OSError):  # it is mended all the same, and in the journal
            if text:
                with self.restored.open("a", encoding="utf-8") as file:
                    os.fchmod(file.fileno(), 0o644)  # whatever the umask: the collector reads it
                    file.write(text)

    @staticmethod
    def told(path: Path) -> Iterator[str]:
        """The sentences of `recreated` or `restored`."""
        with contextlib.suppress(OSError):
            yield from path.read_text(encoding="utf-8", errors="replace")[:LONGEST].splitlines()

    def twice(self, name: str) -> Doubly:
        """A file of ours on persist, for instance `identity`."""
        return Doubly(self.persist / "device" / name, self.persist / "device.twin" / name)

    def updates(self) -> Updates:
        """Raises UpdateError: this is no device."""
        try:
            running = running_slot(self.cmdline.read_text(errors="replace"))
            version = image_version(self.os_release.read_text(errors="replace"))
        except OSError as error:
            raise UpdateError(f"{error.filename}: {error.strerror}: is this the device?", "state") from None
        except DecodeError as error:
            raise UpdateError(str(error), "state") from None
        return Updates(self.bootenv, RollbackIndex(self.twice(ROLLBACK_INDEX)), running, version, self.writing)
