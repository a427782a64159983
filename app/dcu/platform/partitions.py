"""How full a partition is, and whether it still takes writes: for `dcu device status`, which asks no collector.

Free is what the services may still write: ext4 keeps something for itself.
"""

import os
import stat
from dataclasses import dataclass
from pathlib import Path

FULL = 1 << 20  # bytes: with less than this free there is no room (the store's own measure)


@dataclass(frozen=True, slots=True)
class Partition:
    """size, free: bytes; read_only: also where the kernel found an error and stopped writing.

    reserve_used: the store gave its ballast to a full disk and did not get it back yet: what is free is that.
    """

    size: int
    free: int
    read_only: bool
    reserve_used: bool = False

    @property
    def trouble(self) -> str:
        """What somebody should know, "" where all is well."""
        if self.read_only:
            return "takes no writes any more (its file system has errors): restart the device, which repairs it"
        if self.free < FULL or self.reserve_used:
            of = "the store's reserve" if self.reserve_used else f"{self.size >> 20} MB"
            return f"the disk is full, {self.free >> 10} kB of {of} are left: make room"
        return ""


def look(directory: Path) -> Partition:
    """Raises OSError."""
    held = os.statvfs(directory)
    return Partition(
        held.f_frsize * held.f_blocks,
        held.f_frsize * held.f_bavail,
        bool(held.f_flag & os.ST_RDONLY),
        _released(directory / "store" / "ballast"),
    )


def _released(ballast: Path) -> bool:
    """Whether the store's ballast is there and holds nothing (dcu.store.files.Ballast)."""
    try:
        found = ballast.stat()
    except OSError:
        return False
    return stat.S_ISREG(found.st_mode) and found.st_blocks == 0
