"""The store's dealings with the file system: durable renames, one writer at a time, SQLite files, a full disk."""

import contextlib
import fcntl
import logging
import os
import sqlite3
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

from dcu.durable import sync_directory
from dcu.errors import StoreError

BUSY = 10.0  # seconds: a reader (store check) holds a file for the length of one query
_FULL = 256 << 10  # bytes: with less than this left, errors that do not name their cause are the full disk's
_MARGIN = 512 << 10  # bytes that stay free when the ballast is taken again
_UNREADABLE = (sqlite3.SQLITE_IOERR_READ, sqlite3.SQLITE_IOERR_SHORT_READ, sqlite3.SQLITE_IOERR_CORRUPTFS)
_SIDE_FILES = ("-journal", "-wal", "-shm")
log = logging.getLogger(__name__)


class FullError(StoreError):
    """The disk is full."""


class FrozenError(StoreError):
    """Writes have stopped: the mains failed, and what is written now may be torn."""


class Gate:
    """Through which every write goes. Who shuts it may be another thread than who writes: one commit may be under way.

    Nothing is lost behind a shut gate: what waits in RAM stays there, and who wanted to commit is told by FrozenError.
    """

    def __init__(self) -> None:
        self.shut = False

    def check(self) -> None:
        """Raises FrozenError while it is shut."""
        if self.shut:
            raise FrozenError("the mains failed: nothing is written any more")


def unlink(path: Path) -> None:
    """Remove a database durably: its side files last, since a journal without its file is ignored."""
    for name in (path, *(Path(f"{path}{suffix}") for suffix in _SIDE_FILES)):
        name.unlink(missing_ok=True)
    sync_directory(path.parent)


def rename(path: Path, target: Path) -> None:
    """Rename a database with its side files, durably: SQLite finds a journal by its database's name.

    The database goes first. In the other order a power cut between the two would leave it without its log: whole, and
    as old as its last checkpoint. A log that is left without its database is ignored.
    """
    for suffix in ("", *_SIDE_FILES):
        with contextlib.suppress(FileNotFoundError):
            Path(f"{path}{suffix}").rename(f"{target}{suffix}")
    sync_directory(path.parent)


def size(path: Path) -> int:
    """Bytes of a database and its side files."""
    total = 0
    for suffix in ("", *_SIDE_FILES):
        with contextlib.suppress(FileNotFoundError):
            total += Path(f"{path}{suffix}").stat().st_size
    return total


def free(directory: Path) -> int:
    """Bytes that may still be written there: without what the file system keeps for root and for itself."""
    held = os.statvfs(directory)
    return held.f_frsize * held.f_bavail


def is_full(error: sqlite3.Error, directory: Path) -> bool:
    """Whether `error` is the full disk: SQLite says so of writes, but not of a file or a map it could not extend."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return True
    return code in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN) and free(directory) < _FULL


def is_damage(error: sqlite3.Error) -> bool:
    """Whether `error` tells of a file that is no good, and not of what was asked of it."""
    if not isinstance(error, sqlite3.DatabaseError) or isinstance(error, (sqlite3.IntegrityError, sqlite3.DataError)):
        return False
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if getattr(error, "sqlite_errorcode", 0) in _UNREADABLE:  # other I/O errors are of writing: the file may be sound
        return True
    no_table = code == sqlite3.SQLITE_ERROR and "no such" in str(error)
    return no_table or code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def connect(path: Path, *, mode: str = "rwc") -> sqlite3.Connection:
    """Open a SQLite file without implicit transactions; `mode` is SQLite's: ro, rw, rwc."""
    if mode == "rwc":
        _for_owner_only(path)
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    # One thread at a time uses it (the writer thread), which need not be the one that opened it.
    return sqlite3.connect(uri, uri=True, timeout=BUSY, isolation_level=None, check_same_thread=False)


def _for_owner_only(path: Path) -> None:
    """Make the file, or narrow its mode; SQLite gives the same to its side files.

    A file that is there is not opened: closing it would let go of the locks that this process has on it.
    """
    with contextlib.suppress(OSError):  # SQLite tells it better
        try:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        except FileExistsError:
            if stat.S_IMODE(path.stat().st_mode) & 0o077:
                path.chmod(0o600)


def make_directory(directory: Path) -> None:
    """Make the store's directory: readings tell when somebody is at home. Raises OSError."""
    if not directory.is_dir():
        directory.parent.mkdir(parents=True, exist_ok=True)
        directory.mkdir(mode=0o700, exist_ok=True)
    elif stat.S_IMODE(directory.stat().st_mode) & 0o077:  # not narrowed: it may be more than the store's
        log.warning("%s: other users of this machine may look into it: chmod 700 %s", directory, directory)


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection, gate: Gate | None = None) -> Iterator[None]:
    """All or nothing. A failed COMMIT (full disk) leaves the transaction open, so it is rolled back too.

    gate: raises FrozenError where it is shut, also when that happens in between.
    """
    if gate:
        gate.check()
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        if gate:
            gate.check()
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            with contextlib.suppress(sqlite3.Error):  # the first error tells more
                connection.execute("ROLLBACK")
        raise


def lock_path(path: Path) -> Path:
    return path.with_name(path.name + ".lock")


class Lock:
    """One writer at a time. The file says who; the kernel lets go of it when that process dies."""

    def __init__(self, path: Path) -> None:
        """Raises StoreError: somebody else holds it."""
        self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.pread(self._handle, 200, 0).decode("utf-8", "replace").strip() or "another process"
            os.close(self._handle)
            raise StoreError(f"{path.parent}: the store is in use by {holder}: stop it, or ask it") from None
        with contextlib.suppress(OSError):  # a full disk: the lock holds all the same
            os.ftruncate(self._handle, 0)
            os.pwrite(self._handle, f"process {os.getpid()} ({Path(sys.argv[0]).name or 'python'})\n".encode(), 0)

    def release(self) -> None:
        if self._handle >= 0:
            os.close(self._handle)
        self._handle = -1


class Ballast:
    """Blocks kept aside: given back to a full file system, they let alarms commit."""

    def __init__(self, path: Path, length: int, gate: Gate | None = None) -> None:
        self._path = path
        self._gate = gate or Gate()
        self.length = length

    @property
    def present(self) -> bool:
        try:
            return self.length > 0 and self._path.stat().st_blocks * 512 >= self.length
        except FileNotFoundError:
            return False

    def restore(self) -> bool:
        """Take the blocks again if that leaves some free; return whether all that is wanted is held."""
        if self.present or not self.length:
            return True
        self._gate.check()
        if free(self._path.parent) < self.length + _MARGIN:
            return False
        handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(handle, 0, self.length)
            os.fsync(handle)
        except OSError:
            os.ftruncate(handle, 0)
            return False
        finally:
            os.close(handle)
        sync_directory(self._path.parent)
        return True

    def release(self) -> bool:
        """Give the blocks back; return whether there were any."""
        self._gate.check()
        try:
            handle = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            held = os.fstat(handle).st_blocks > 0
            os.ftruncate(handle, 0)  # not unlinked: that needs no directory write, and restoring no new name
            os.fsync(handle)
        finally:
            os.close(handle)
        return held
