"""Where the partitions of a GPT disk are. Source: UEFI Specification 2.10, clause 5.3."""

import struct
from collections.abc import Callable

from ota.errors import OtaError
from ota.powercut.log import SECTOR

_ENTRY = struct.Struct("<16s16sQQQ72s")


def partitions(read: Callable[[int, int], bytes]) -> dict[str, tuple[int, int]]:
    """Return name: (first sector, how many). `read` takes first sector and count. Raises OtaError: no GPT."""
    head = read(1, 1)
    if head[:8] != b"EFI PART":
        raise OtaError("the disk has no GPT")
    first, count, size = struct.unpack_from("<QII", head, 72)
    if size < _ENTRY.size or size > 4096 or count > 128:
        raise OtaError("the disk's GPT has impossible entries")
    raw = read(first, -(-count * size // SECTOR))
    found = {}
    for at in range(0, count * size, size):
        kind, _, begin, end, _, name = _ENTRY.unpack_from(raw, at)
        if any(kind):
            found[name.decode("utf-16-le", "replace").rstrip("\0")] = begin, end - begin + 1
    return found
