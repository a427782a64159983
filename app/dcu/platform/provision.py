"""What makes a board this device: its identity, its key-encryption key, its configuration; all on persist, doubly.

On the first boot they are made: identity and key in one file, so that a power cut leaves both or neither. On every
later boot a damaged copy is restored from its twin. When both copies are lost the device says so and does nothing by
itself: with a new identity the head-end does not know it and the meters' keys must come again, so it is made on command
only. A first boot is told from a loss by what else persist holds: nothing, or something.

The key-encryption key is handed to the collector as a systemd credential; that it lies on the same flash as what it
wraps is this backend's limit (a token takes its place).
"""

import contextlib
import hashlib
import os
import re
import secrets
import time
import tomllib
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import msgspec

from dcu.errors import ConfigError, DecodeError, StoreError
from dcu.platform.doubly import Copy
from dcu.platform.machine import Machine
from dcu.total import from_json

MAKER = b"DCU"  # the three letters of our system titles
CREDENTIAL = "dcu-kek"
_KEK = 32
_PLACEHOLDER = "@SYSTEM_TITLE@"
_SERIAL = 32  # characters
_FOLDERS = ("device", "device.twin", "dcu", "dcu.twin", "lost+found")


class State(StrEnum):
    """Of persist: what `dcu device status` shows."""

    NEW = "new"
    WHOLE = "whole"
    ONE_COPY = "one copy damaged"
    LOST = "lost"


class Identity(msgspec.Struct, frozen=True):
    """serial: the board's, or one made up; system_title: 16 hexadecimal digits; made: UTC seconds since 1970."""

    serial: str
    system_title: str
    made: int


class _Record(Identity, frozen=True, forbid_unknown_fields=True):
    """What is kept. kek: 64 hexadecimal digits; not part of Identity, so that nobody shows it."""

    kek: str


@dataclass(frozen=True, slots=True)
class Provisioned:
    """What a run did: `notes` are lines for the log."""

    identity: Identity
    notes: tuple[str, ...]


class Provisioning:
    """Of one device."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._record = machine.twice("identity")
        self._kept = machine.twice("collector.toml")  # the second and third copy of what people edit
        self._configuration = machine.persist / "dcu" / "collector.toml"

    def state(self) -> State:
        """Look and change nothing."""
        found = self._record.look()
        if found.content is None:
            return State.LOST if found.lost or self._touched() else State.NEW
        whole = (found.first, found.second) == (Copy.GOOD, Copy.GOOD)
        return State.WHOLE if whole else State.ONE_COPY

    def identity(self) -> Identity | None:
        """None: there is none, or it is lost."""
        content = self._record.look().content
        try:
            return None if content is None else from_json(content, Identity)
        except DecodeError:
            return None

    def run(self, *, again: bool = False) -> Provisioned:
        """What every boot does; again: make a lost identity anew. Raises StoreError, ConfigError."""
        state = self.state()
        if again and state is not State.LOST:
            raise ConfigError(f"persist is {state}: there is nothing to provision again")
        if state is State.LOST and not again:
            raise StoreError(
                f"{self._machine.persist}: what made this device is lost in both copies: `dcu device provision "
                "--again` gives it a new identity; the meters must then be imported anew"
            )
        notes = []
        if state is State.NEW or again:
            if again:
                notes += self._set_aside()
            made = self._make()
            notes.append(f"provisioned as {made.serial}, system title {made.system_title}")
        record = self._restored()
        if state is State.ONE_COPY:
            notes.append("a damaged copy on persist was restored from its twin")
        notes += self._configure(record)
        _place(self._machine.credentials / CREDENTIAL, bytes.fromhex(record.kek), 0o600)
        return Provisioned(Identity(record.serial, record.system_title, record.made), tuple(notes))

    def filled(self, text: str) -> str:
        """A configuration for any device as this one's: with its system title. Raises StoreError: it has none."""
        identity = self.identity()
        if identity is None:
            raise StoreError(f"{self._machine.persist}: this device has no identity: `dcu device status` says why")
        return text.replace(_PLACEHOLDER, identity.system_title)

    def configure(self, text: str) -> Path:
        """Take another configuration, which was checked, and keep it doubly; return where. Raises StoreError."""
        content = text.encode()
        self._put(content)
        self._kept.write(content)  # what stands in place counts: after a cut between the two the next boot does this
        return self._configuration

    def _put(self, content: bytes) -> None:
        """Also where no group is given: the collector's, to whom the folder belongs."""
        _place(self._configuration, content, 0o640, self._configuration.parent.stat().st_gid)

    def _touched(self) -> bool:
        """Whether persist holds a file of ours, or what a repair of the file system saved of one."""
        folders = (self._machine.persist / name for name in _FOLDERS)
        files = (path for folder in folders for path in folder.rglob("*") if path.is_file())
        return any(path.suffix != ".new" for path in files)  # of a write that a power cut ended

    def _make(self) -> Identity:
        serial = _serial(self._machine.serial) or secrets.token_hex(5).upper()
        title = MAKER + hashlib.sha256(serial.encode()).digest()[:5]
        record = _Record(serial, title.hex().upper(), int(time.time()), secrets.token_hex(_KEK))
        self._record.write(msgspec.json.encode(record))
        return record

    def _set_aside(self) -> list[str]:
        """Keys that were wrapped under a key that is gone open no more; somebody may still want to look at them."""
        notes = []
        for keys in (self._machine.persist / "dcu" / "keys", self._machine.persist / "dcu.twin" / "keys"):
            if keys.exists():
                keys.replace(keys.with_name("keys.lost"))
                notes.append(f"{keys}: set aside as keys.lost")
        self._configuration.unlink(missing_ok=True)
        for path in self._kept.paths:
            path.unlink(missing_ok=True)
        return notes

    def _restored(self) -> _Record:
        """Reading restores."""
        record = from_json(self._record.read() or b"", _Record)
        if not re.fullmatch(rf"[0-9a-f]{{{2 * _KEK}}}", record.kek):
            raise StoreError(f"{self._machine.persist}: the key-encryption key is none")
        return record

    def _configure(self, identity: Identity) -> list[str]:
        """Write the configuration on the first boot, keep what people made of it, restore it when it is damaged."""
        present = _toml(self._configuration)
        with contextlib.suppress(StoreError):
            kept = self._kept.read()
            if present is not None:
                if present != kept:
                    self._kept.write(present)
                return []
            if kept is not None:
                self._put(kept)
                return [f"{self._configuration}: damaged or gone, restored from its twin"]
        if present is not None:
            self._kept.write(present)
            return ["the kept copies of the configuration were damaged, and are made anew"]
        try:
            text = self._machine.template.read_text(encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"{self._machine.template}: {error.strerror}") from None
        fresh = text.replace(_PLACEHOLDER, identity.system_title).encode()
        self._put(fresh)
        self._kept.write(fresh)
        return [f"{self._configuration}: made"]


def _serial(path: Path) -> str:
    """The board's serial number, where its device tree has one that can be printed."""
    try:
        text = path.read_bytes().rstrip(b"\0\n ").decode("ascii")
    except (OSError, UnicodeDecodeError):
        return ""
    return text if text.isprintable() and 0 < len(text) <= _SERIAL else ""


def _toml(path: Path) -> bytes | None:
    """The file's content, None where it is missing or no TOML; whether its keys are right is the collector's to say."""
    try:
        content = path.read_bytes()
        tomllib.loads(content.decode())
    except (OSError, ValueError, RecursionError):
        return None
    return content


def _place(path: Path, content: bytes, mode: int, group: int = -1) -> None:
    """Put a whole new file in place, durably. Raises StoreError."""
    fresh = path.with_name(f"{path.name}.new")
    try:
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
    except OSError as error:
        raise StoreError(f"{path}: cannot be written: {error.strerror}") from None
