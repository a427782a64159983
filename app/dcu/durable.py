"""Files that a power cut finds as they were or as they shall be, never in between.

A rename puts a whole file in place of another at once, where the bytes were flushed before it (fsync of the file) and
the name after it (fsync of its directory).

Source: POSIX.1-2017 rename(), fsync(); ext4's documentation of auto_da_alloc says why the order may not be left to it.
"""

import os
from pathlib import Path


def place(path: Path, content: bytes, mode: int = 0o600, group: int = -1) -> None:
    """Put a whole new file in place, with exactly `mode` and, where one is given, `group`.

    Raises OSError: the old one stands. What another try left half written is replaced.
    """
    fresh = path.with_name(f"{path.name}.new")
    fresh.unlink(missing_ok=True)
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with os.fdopen(handle, "wb") as file:
        os.fchmod(handle, mode)  # whatever the umask
        if group not in (-1, os.fstat(handle).st_gid):  # a service has the right group, and may not change it
            os.fchown(handle, -1, group)
        file.write(content)
        file.flush()
        os.fsync(handle)
    fresh.replace(path)
    sync_directory(path.parent)


def create(path: Path, content: bytes) -> None:
    """Make a file for its owner only, never in place of another: durable, with its name, when this returns.

    Raises FileExistsError where there is one, and OSError; then nothing of it stays.
    """
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(handle)
        sync_directory(path.parent)
    except OSError:
        path.unlink(missing_ok=True)
        raise


def sync_directory(directory: Path) -> None:
    """Make created, renamed and unlinked names of `directory` durable. Raises OSError."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
