"""Where the device keeps what this package reads: one place for its paths, with the device's own as defaults."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from dcu.errors import DecodeError, UpdateError
from dcu.platform.bootenv import BootEnv, FwEnv
from dcu.platform.doubly import Doubly
from dcu.platform.swupdate import busy
from dcu.platform.update import RollbackIndex, Updates, image_version, running_slot


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
    recreated: Path = Path("/run/dcu-recreated")
    scratch: Path = Path("/var/lib/dcu/update")
    writing: Callable[[], bool] = busy

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
        return Updates(self.bootenv, RollbackIndex(self.twice("rollback-index")), running, version, self.writing)
