"""How full a partition is, and whether it still takes writes: for `dcu device status`, which asks no collector.

Free is what the services may still write: ext4 keeps something for itself.
"""

import os
from dataclasses import dataclass
from pathlib import Path

FULL = 1 << 20  # bytes: with less than this free there is no room (the store's own measure)


@dataclass(frozen=True, slots=True)
class Partition:
    """size, free: bytes; read_only: also where the kernel found an error and stopped writing."""

    size: int
    free: int
    read_only: bool

    @property
    def trouble(self) -> str:
        """What somebody should know, "" where all is well."""
        if self.read_only:
            return "takes no writes any more (its file system has errors): restart the device, which repairs it"
        if self.free < FULL:
            return f"the disk is full, {self.free >> 10} kB of {self.size >> 20} MB are left: make room"
        return ""


def look(directory: Path) -> Partition:
    """Raises OSError."""
    held = os.statvfs(directory)
    return Partition(held.f_frsize * held.f_blocks, held.f_frsize * held.f_bavail, bool(held.f_flag & os.ST_RDONLY))
