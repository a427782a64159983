"""The invocation counters that the command itself spends, one small file a meter under the user's state directory.

A nonce is never used twice (design decision 6): a block of counters is on the disk before its first one is used, so
what a crash costs is the rest of a block. The file stays locked while it is open: two commands never share a counter.
"""

import fcntl
import os
import re
from pathlib import Path
from types import TracebackType

from dcu.durable import sync_directory
from dcu.errors import StoreError

BLOCK = 64  # one session spends about ten
LIMIT = 0xFFFFFFFF  # a 32-bit field (Green Book 9.2.3.2.4): past it only a new key helps
_WRITTEN = re.compile(rb"\d{20}\n")  # always as long, in one sector: there is no half of it, nor a shorter one


def state_directory() -> Path:
    """Where the user's state lives: $XDG_STATE_HOME/dcu or ~/.local/state/dcu. Raises StoreError without a home."""
    base = os.environ.get("XDG_STATE_HOME")
    try:
        return (Path(base) if base else Path.home() / ".local" / "state") / "dcu"
    except RuntimeError:
        raise StoreError("no home directory to keep invocation counters in: set XDG_STATE_HOME") from None


def own_title() -> bytes:
    """This machine's client system title, 8 bytes: made once, where the keys file names none. Raises StoreError."""
    path = state_directory() / "client_title"
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            _make_title(path)
    except OSError as error:
        raise StoreError(f"{path}: cannot keep a client system title: {error.strerror}") from None
    try:
        title = bytes.fromhex(path.read_text())
    except (OSError, ValueError):
        title = b""
    if len(title) != 8:
        raise StoreError(f"{path} is damaged: delete it, or name a client_title in the keys file")
    return title


def _make_title(path: Path) -> None:
    """Whole from its first moment, and whoever comes second takes what the first has made."""
    scratch = path.with_name(f"{path.name}.{os.getpid()}")
    scratch.write_text((b"DCU" + os.urandom(5)).hex() + "\n")
    try:
        os.link(scratch, path)
    except FileExistsError:
        pass
    finally:
        scratch.unlink()


class CounterFile:
    """The next unused counter towards one meter. A context manager: locked from entering to leaving.

    known: whether anything was ever stored; where not, the caller asks the meter and calls `raise_to`.
    """

    def __init__(self, client_title: bytes, meter_title: bytes, folder: Path | None = None) -> None:
        self.path = (folder or state_directory() / "counters") / f"{client_title.hex()}-{meter_title.hex()}"
        self.known = False
        self._next = 0
        self._reserved = 0
        self._file = -1

    def __enter__(self) -> "CounterFile":
        try:
            self._enter()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            if self._next < self._reserved:  # give back what was not used
                self._write(self._next)
        finally:
            self._close()

    def _enter(self) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._load()
        except BlockingIOError:
            raise StoreError(f"{self.path} is locked: another dcu command talks to this meter, wait for it") from None
        except OSError as error:
            raise StoreError(f"{self.path}: cannot keep invocation counters: {error.strerror}") from None

    def raise_to(self, floor: int) -> None:
        """Use nothing below `floor`."""
        self.known = True
        self._next = max(self._next, floor)

    @property
    def upcoming(self) -> int:
        """What would be used next."""
        return self._next

    def next(self) -> int:
        """Return a counter that was never used before and is durably taken."""
        if self._next >= LIMIT:
            raise StoreError("the invocation counter towards this meter is used up: its keys must be changed")
        if self._next >= self._reserved:
            self._write(min(self._next + BLOCK, LIMIT))
        self._next += 1
        return self._next - 1

    def _load(self) -> None:
        raw = os.pread(self._file, 64, 0)
        if not raw:
            # else a file made just now may be gone after a power cut, and what it held with it
            sync_directory(self.path.parent)
            return
        if not _WRITTEN.fullmatch(raw) or int(raw) > LIMIT:
            raise StoreError(f"{self.path} is damaged: delete it, and the meter is asked for its counter instead")
        self.known = True
        self._next = self._reserved = int(raw)

    def _write(self, value: int) -> None:
        try:
            os.pwrite(self._file, b"%020d\n" % value, 0)
            os.fsync(self._file)
        except OSError as error:
            raise StoreError(f"{self.path}: cannot keep invocation counters: {error.strerror}") from None
        self._reserved = value

    def _close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
