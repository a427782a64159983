"""Images as zchunk files: a device fetches only the chunks that it does not have in the bank it runs from.

Of each image the update itself carries the zchunk header (which chunks make it up, and the SHA-256 of each, so that the
update's signature covers them all); the zchunk file lies on a web server that understands ranges. The device cuts its
running bank into chunks by content, with the library's defaults: an image must be cut with the same.

Source: SWUpdate, doc/source/delta-update.rst and handlers/delta_handler.c; zchunk, zchunk_format.txt.
"""

import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ota.errors import OtaError

_ROW = re.compile(r"^\s*\d+ [0-9a-f]+ ([0-9a-f]{64})\s+\d+\s+(\d+)\s+\d+", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Cost:
    """What a device fetches, in bytes. whole: where it has nothing of the image."""

    chunks: int
    fetched: int
    whole: int


def make(image: Path, target: Path) -> bytes:
    """Write `image` as a zchunk file and return its header. Raises OtaError."""
    _run("zck", "-u", "--chunk-hash-type", "sha256", "-o", str(target), str(image))
    found = re.search(r"^Header size: (\d+)$", _run("zck_read_header", "-v", str(target)), re.MULTILINE)
    if not found:
        raise OtaError(f"{target}: zck_read_header does not say how long the header is")
    with target.open("rb") as file:
        return file.read(int(found[1]))


def cost(old: Path, new: Path) -> Cost:
    """Return what a device that runs the image in zchunk file `old` fetches for `new`. Raises OtaError."""
    there = {digest for digest, _ in _chunks(old)}
    chunks = _chunks(new)
    sizes = [size for digest, size in chunks if digest not in there]
    return Cost(len(sizes), sum(sizes), sum(size for _, size in chunks))


def _chunks(path: Path) -> Sequence[tuple[str, int]]:
    """The chunks of a zchunk file: SHA-256 of what is in each, and its bytes in the file."""
    rows = _ROW.findall(_run("zck_read_header", "-c", str(path)))
    return [(digest, int(size)) for digest, size in rows if int(size)]


def _run(*command: str) -> str:
    if not shutil.which(command[0]):
        raise OtaError(f"{command[0]} is missing: it is in Debian's package zchunk")
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)  # noqa: S603
    if done.returncode:
        raise OtaError(f"{' '.join(command)}: {done.stderr.strip()[-300:]}")
    return done.stdout
