"""What makes a board this device: its identity, its key-encryption key, its configuration; all on persist, doubly.

On the first boot they are made: identity and key in one file, so that a power cut leaves both or neither. On every
later boot a damaged copy is restored from its twin. When both copies are lost the device says so and does nothing by
itself: with a new identity the head-end does not know it and the meters' keys must come again, so it is made on command
only.

A first boot is told from a loss by a proof: the factory leaves a mark on persist (`factory-new`), and it goes, durably,
after the identity was written and before anything uses it. Without the mark a missing identity is a lost one, however
empty persist looks: a file system that was wiped, or mended until nothing was left, is not mistaken for a new one.

The key-encryption key is handed to the collector as a systemd credential; that it lies on the same flash as what it
wraps is this backend's limit (a token takes its place).
"""

import hashlib
import re
import secrets
import time
import tomllib
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import msgspec

from dcu.durable import place, sync_directory
from dcu.errors import ConfigError, DecodeError, StoreError
from dcu.platform import updatekey
from dcu.platform.machine import ROLLBACK_INDEX, Machine
from dcu.total import from_json

MAKER = b"DCU"  # the three letters of our system titles
CREDENTIAL = "dcu-kek"
_KEK = 32
_PLACEHOLDER = "@SYSTEM_TITLE@"
_SERIAL = 32  # characters
_FOLDERS = ("device", "device.twin", "dcu", "dcu.twin", "lost+found")
MARK = "factory-new"
_REQUIRED = {"system_title", "keys", "store", "medium"}  # of every collector.toml


class State(StrEnum):
    """Of persist: what `dcu device status` shows."""

    NEW = "new"
    WHOLE = "whole"
    ONE_COPY = "one copy damaged"
    LOST = "lost"
    ABSENT = "not mounted"  # its file system cannot be read, or its disk is gone


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
    """What a run did: `notes` are lines for the log, `restored` those of them that tell of damage."""

    identity: Identity
    notes: tuple[str, ...]
    restored: tuple[str, ...] = ()


class Provisioning:
    """Of one device."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._record = machine.twice("identity")
        self._kept = machine.twice("collector.toml")  # the second and third copy of what people edit
        self._configuration = machine.persist / "dcu" / "collector.toml"

    def state(self) -> State:
        """Look and change nothing."""
        if not self._machine.mounted(self._machine.persist):
            return State.ABSENT
        found = self._record.look()
        if found.content is None:
            return State.NEW if self._mark.exists() and not (found.lost or self._touched()) else State.LOST
        return State.WHOLE if found.whole else State.ONE_COPY

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
        if again and state is State.ABSENT:
            self._machine.renew()
            state = self.state()
        if again and state is not State.LOST:
            raise ConfigError(f"persist is {state}: there is nothing to provision again")
        if trouble := "" if again else self.trouble(state):
            raise StoreError(trouble)
        notes = []
        first = again or self._mark.exists()  # also where power was cut in the middle of it
        if state is State.NEW or again:
            if again:
                notes += self._set_aside()
            made = self._make()
            notes.append(f"provisioned as {made.serial}, system title {made.system_title}")
        record = self._restored()
        restored = []
        if state is State.ONE_COPY and not first:
            restored.append("identity: a copy on persist was damaged, restored from its twin")
        mends = self._mended()
        restored += [] if first else mends
        configured, mended = self._configure(record, first=first)
        (restored if mended else notes).extend(configured)
        self._use_up_mark()  # before anything uses the identity: from now on it can only be lost
        _place(self._machine.credentials / CREDENTIAL, bytes.fromhex(record.kek), 0o600)
        identity = Identity(record.serial, record.system_title, record.made)
        return Provisioned(identity, (*notes, *restored), tuple(restored))

    def _mended(self) -> list[str]:
        """Restore what is damaged of the other files that stand twice on persist, and say which."""
        restored = []
        for name in ("collector.toml", ROLLBACK_INDEX, updatekey.NAME):
            file = self._machine.twice(name)
            found = file.look()
            if found.content is not None and not found.whole:
                file.read()
                restored.append(f"{name}: a copy on persist was damaged, restored from its twin")
        return restored

    def trouble(self, state: State) -> str:
        """Why nothing can be provisioned without an operator, "" where all is well."""
        where = self._machine.persist
        if state is State.ABSENT:
            return (
                f"{where}: its file system cannot be mounted: nothing is made anew by itself; if a restart does not "
                "help, `dcu device provision --again` makes an empty one and gives the device a new identity; "
                "the meters must then be imported anew"
            )
        if state is State.LOST:
            return (
                f"{where}: what made this device is lost in both copies: `dcu device provision --again` gives it a new "
                "identity; the meters must then be imported anew"
            )
        return ""

    @property
    def _mark(self) -> Path:
        return self._machine.persist / MARK

    def _use_up_mark(self) -> None:
        """Raises StoreError: then nothing is begun with the identity."""
        try:
            if self._mark.exists():
                self._mark.unlink()
                sync_directory(self._machine.persist)
        except OSError as error:
            raise StoreError(f"{self._mark}: cannot be removed: {error.strerror}") from None

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
        self._kept.forget()
        return notes

    def _restored(self) -> _Record:
        """Reading restores."""
        record = from_json(self._record.read() or b"", _Record)
        if not re.fullmatch(rf"[0-9a-f]{{{2 * _KEK}}}", record.kek):
            raise StoreError(f"{self._machine.persist}: the key-encryption key is none")
        return record

    def _configure(self, identity: Identity, *, first: bool) -> tuple[list[str], bool]:
        """Write the configuration on the first boot, keep what people made of it, restore it when it is damaged.

        Return lines for the log, and whether they tell of damage.
        """
        present, kept, damaged = _toml(self._configuration), None, False
        try:
            kept = self._kept.read()
        except StoreError:
            damaged = True
        if present is not None:
            if present != kept:
                self._kept.write(present)
            return (
                ["the kept copies of the configuration were damaged, and are made anew"] if damaged else []
            ), damaged
        if kept is not None:
            self._put(kept)
            return [f"{self._configuration}: damaged or gone, restored from its twin"], True
        try:
            text = self._machine.template.read_text(encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"{self._machine.template}: {error.strerror}") from None
        fresh = text.replace(_PLACEHOLDER, identity.system_title).encode()
        self._put(fresh)
        self._kept.write(fresh)
        how = "made" if first else "lost in all copies: made anew as on a new device, what people configured is gone"
        return [f"{self._configuration}: {how}"], not first


def _serial(path: Path) -> str:
    """The board's serial number, where its device tree has one that can be printed."""
    try:
        text = path.read_bytes().rstrip(b"\0\n ").decode("ascii")
    except (OSError, UnicodeDecodeError):
        return ""
    return text if text.isprintable() and 0 < len(text) <= _SERIAL else ""


def _toml(path: Path) -> bytes | None:
    """The file's content, None where it is missing or no configuration.

    Whether its keys are right is the collector's to say. But an empty file is TOML, too, and so is one that was cut off
    at the end of a line: what lacks a table that every configuration has is damaged, not edited.
    """
    try:
        content = path.read_bytes()
        found = tomllib.loads(content.decode())
    except (OSError, ValueError, RecursionError):
        return None
    return content if found.keys() >= _REQUIRED else None


def _place(path: Path, content: bytes, mode: int, group: int = -1) -> None:
    """Put a whole new file in place, durably. Raises StoreError."""
    try:
        place(path, content, mode, group)
    except OSError as error:
        raise StoreError(f"{path}: cannot be written: {error.strerror}") from None
