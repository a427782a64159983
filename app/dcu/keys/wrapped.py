"""Meter keys in a file, each wrapped by AES-256-GCM under one key-encryption key (KEK).

The KEK is a systemd credential (`LoadCredentialEncrypted=dcu-kek`), so that the file alone is worth nothing. A record
is one secret of one meter; meter, type and version are its associated data, so that it fits nowhere else. A seal over
all records, under a generation that only grows, shows a record that was removed, doubled or put back from an older
file.

The file: msgpack of {format, kek, generation, records, seal}; `kek` names the key without giving it away. A signing or
agreement key is wrapped together with the other side's public key and both certificates (msgpack of four byte strings).
 It may have a
twin elsewhere, written after it: when one of the two is damaged, the other takes its place.
"""

import hashlib
import hmac
import itertools
import logging
import os
import secrets
import stat
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, NoReturn

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from dcu.credentials import KeyPair, MeterKeys, NetworkKeys, Secret
from dcu.durable import create, place, sync_directory
from dcu.errors import DecodeError, KeysError
from dcu.keys.base import FIRST_FORMAT, HEAD_END, NETWORK, KeyType, network_entry
from dcu.total import from_msgpack

FORMATS = (1, 2, 3)  # 2: with signing, agreement and master keys, 3: with a field network's; without: as before
CREDENTIAL = "dcu-kek"
KEK_LENGTH = 32
_NONCE = 12
_MAX_FILE = 64 << 20  # bytes: 1,000 meters need 400 kB


log = logging.getLogger(__name__)

Number = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]  # a changed file may hold any


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One wrapped secret. `version` counts how often this meter's secret of this type was replaced."""

    meter: str
    type: KeyType
    version: Number
    title: bytes  # the meter's system title and security suite: not secret, authenticated with the key
    suite: Number
    nonce: bytes
    wrapped: bytes


class _Format(msgspec.Struct):
    format: Number


class _File(msgspec.Struct, forbid_unknown_fields=True):
    format: Number
    kek: bytes
    generation: Number
    records: list[Record]
    seal: bytes


def load_kek(path: Path | None = None) -> Secret:
    """Read the key-encryption key: 32 bytes, raw or as 64 hex digits. None: systemd's credential. Raises KeysError."""
    if path is None:
        directory = os.environ.get("CREDENTIALS_DIRECTORY")
        if not directory:
            raise KeysError(
                f"no key-encryption key: run as a service with LoadCredentialEncrypted={CREDENTIAL}, or name its file"
            )
        path = Path(directory) / CREDENTIAL
    try:
        raw = path.read_bytes()[:4096]
    except OSError as error:
        raise KeysError(f"{path}: the key-encryption key cannot be read: {error.strerror}") from None
    if len(raw) != KEK_LENGTH:
        try:
            raw = bytes.fromhex(raw.decode("ascii").strip())
        except ValueError:
            raw = b""
    if len(raw) != KEK_LENGTH:
        raise KeysError(f"{path}: a key-encryption key is {KEK_LENGTH} bytes, raw or as {2 * KEK_LENGTH} hex digits")
    return Secret(raw)


def new_kek(path: Path) -> Secret:
    """Make a key-encryption key in a new file (demo and development; a device has it in its credential store)."""
    kek = secrets.token_bytes(KEK_LENGTH)
    try:
        create(path, kek.hex().encode() + b"\n")
    except OSError as error:
        raise KeysError(f"{path}: {error.strerror}: a key-encryption key is never overwritten") from None
    return Secret(kek)


class WrappedKeys:
    """A KeyStore in one file. Keys are unwrapped when they are asked for, and not kept."""

    def __init__(
        self, path: Path, kek: Secret, generation: int, records: Iterable[Record], twin: Path | None = None
    ) -> None:
        self._path = path
        self._twin = twin
        self._kek = kek
        self._cipher = AESGCM(_derived(kek, b"wrap"))
        self._generation = generation
        self._records = {(record.meter, record.type): record for record in records}
        self.mended = ""  # what was restored when it was opened
        self._lock = threading.Lock()  # two shipments may be imported at a time, each on a thread of its own

    @classmethod
    def create(cls, path: Path, kek: Secret, twin: Path | None = None) -> "WrappedKeys":
        """Start an empty file. Raises KeysError where there is one already."""
        for each in (path, twin):
            if each and each.exists():
                raise KeysError(f"{each}: exists already: open it, or move it away")
        keys = cls(path, kek, 0, [], twin)
        keys._save({})
        return keys

    @classmethod
    def open(cls, path: Path, kek: Secret, newest: int = 0, twin: Path | None = None) -> "WrappedKeys":
        """`newest`: the generation last seen, where it is kept elsewhere too. Restores what is damaged from its twin.

        Raises KeysError: unreadable, wrapped under another KEK, tampered with, older than `newest`.
        """
        try:
            keys = cls._opened(path, kek, newest)
        except KeysError as error:
            if twin is None:
                raise
            try:
                keys = cls._opened(twin, kek, newest)
            except KeysError:
                raise error from None  # of the two, the first is the one that an operator knows
            keys.mended = f"{error}; restored from {twin}"
            _replace(path, twin.read_bytes())
        keys._path, keys._twin = path, twin
        if keys._refresh_twin() and not keys.mended:
            keys.mended = f"{twin}: damaged, gone or older: made anew from {path}"
        if keys.mended:
            log.warning("%s", keys.mended)
        return keys

    @classmethod
    def _opened(cls, path: Path, kek: Secret, newest: int) -> "WrappedKeys":
        file = _read(path)
        if not hmac.compare_digest(file.kek, _check_value(kek)):
            raise KeysError(
                f"{path}: wrapped under another key-encryption key: restore the credential {CREDENTIAL} that it was "
                "made with, or move the file away and import the shipment file again"
            )
        keys = cls(path, kek, file.generation, file.records)
        if not hmac.compare_digest(file.seal, _seal(kek, file.generation, file.records)):
            for record in file.records:
                keys._unwrap(record)  # names the one that does not fit
            raise KeysError(f"{path}: records were removed or put back: import the shipment file again")
        if file.generation < newest:
            raise KeysError(
                f"{path}: an older file was put back (generation {file.generation}, {newest} was seen): restore it"
            )
        return keys

    @classmethod
    def reset(
        cls, path: Path, kek: Secret, newest: int = 0, twin: Path | None = None
    ) -> tuple["WrappedKeys", list[Path]]:
        """Start anew where no key can be had any more: an operator said so, and the caller audits it.

        What is there is set aside, never overwritten; the new file's generation is above `newest`. Returns the keys and
        where the old files are now. Raises KeysError: the keys are sound, or nothing can be written.
        """
        try:
            sound = cls.open(path, kek, newest, twin)
        except KeysError as error:
            log.warning("%s; begun anew", error)
        else:
            raise KeysError(f"{path}: is sound and holds the keys of {len(sound.names())} meters: nothing is reset")
        aside = [_set_aside(each) for each in (path, twin) if each and each.exists()]
        keys = cls(path, kek, newest, [], twin)
        keys._save({})
        return keys, aside

    @property
    def generation(self) -> int:
        """Grows with each write. Kept elsewhere too, it tells when an older file is put back."""
        return self._generation

    def names(self) -> list[str]:
        return sorted({meter for meter, _ in self._records if not meter.startswith("@")})

    def meter(self, name: str) -> MeterKeys:
        guek, gak = self._record(name, KeyType.GUEK), self._record(name, KeyType.GAK)
        password = self._records.get((name, KeyType.PASSWORD))
        master = self._records.get((name, KeyType.MASTER))
        return MeterKeys(
            guek.title,
            self._unwrap(guek),
            self._unwrap(gak),
            self._unwrap(password) if password else None,
            guek.suite,
            self._pair(name, KeyType.SIGNING),
            self._pair(name, KeyType.AGREEMENT),
            self._unwrap(master) if master else None,
        )

    def _pair(self, name: str, kind: KeyType) -> KeyPair | None:
        record = self._records.get((name, kind))
        if record is None:
            return None
        try:
            private, *rest = from_msgpack(self._unwrap(record).reveal(), tuple[bytes, bytes, bytes, bytes])
        except DecodeError:
            raise KeysError(f"{self._path}: {kind} of meter {name!r} has no form: import its shipment file") from None
        return KeyPair(Secret(private), *rest)

    def head_end(self) -> MeterKeys:
        if (HEAD_END, KeyType.GUEK) not in self._records:
            raise KeysError("no keys of the head-end: `dcu headend import FILE --transport-key FILE`")
        return self.meter(HEAD_END)

    def network(self, name: str) -> NetworkKeys:
        entry = network_entry(name)
        if (entry, KeyType.PSK) not in self._records:
            raise KeysError(
                f"no pre-shared key of network {name}: `dcu network import {name} FILE --transport-key FILE`"
            )
        psk, *group = (self._records.get((entry, kind)) for kind in NETWORK)
        assert psk is not None
        first, second = (self._unwrap(record) if record else None for record in group)
        return NetworkKeys(self._unwrap(psk), (first, second), psk.suite)

    def put_network(self, name: str, keys: NetworkKeys) -> None:
        """Keep or replace a network's keys in one durable rewrite; the index in use stands with the pre-shared key.

        Raises KeysError; the old file then stays.
        """
        entry = network_entry(name)
        with self._lock:
            records = dict(self._records)
            for kind, secret in zip(NETWORK, (keys.psk, *keys.group), strict=True):
                old = records.pop((entry, kind), None)
                if secret is not None:
                    version = old.version + 1 if old else 1
                    records[entry, kind] = self._wrap(entry, kind, version, b"", keys.active, secret)
            self._save(records)

    def put(self, name: str, keys: MeterKeys) -> None:
        self.put_all({name: keys})

    def put_all(self, meters: Mapping[str, MeterKeys]) -> None:
        """Keep or replace the keys of many meters in one durable rewrite. Raises KeysError; the old file then stays."""
        with self._lock:
            records = dict(self._records)
            for name, keys in meters.items():
                for kind in KeyType:
                    secret = _secret(keys, kind)
                    old = records.pop((name, kind), None)
                    if secret is not None:
                        version = old.version + 1 if old else 1
                        records[name, kind] = self._wrap(name, kind, version, keys.system_title, keys.suite, secret)
            self._save(records)

    def remove(self, name: str) -> None:
        """Forget a meter's keys. Raises KeysError for a meter that is not there."""
        with self._lock:
            self._record(name, KeyType.GUEK)
            self._save({at: record for at, record in self._records.items() if record.meter != name})

    def export(self) -> NoReturn:
        """Keys do not leave the DCU: no code writes them, wrapped or plain, anywhere but into this file."""
        raise KeysError("keys are not exported: the utility has them in the shipment file they came in")

    def _record(self, name: str, kind: KeyType) -> Record:
        try:
            return self._records[name, kind]
        except KeyError:
            raise KeysError(f"{self._path}: holds no {kind} of meter {name!r}: import its shipment file") from None

    def _wrap(self, meter: str, kind: KeyType, version: int, title: bytes, suite: int, secret: Secret) -> Record:
        nonce = secrets.token_bytes(_NONCE)
        data = _associated(meter, kind, version, title, suite)
        wrapped = self._cipher.encrypt(nonce, secret.reveal(), data)
        return Record(meter, kind, version, title, suite, nonce, wrapped)

    def _unwrap(self, record: Record) -> Secret:
        data = _associated(record.meter, record.type, record.version, record.title, record.suite)
        try:
            return Secret(self._cipher.decrypt(record.nonce, record.wrapped, data))
        except (InvalidTag, ValueError):
            what = f"{record.type} of meter {record.meter!r}"
            raise KeysError(
                f"{self._path}: {what} was changed outside the DCU: import its shipment file again"
            ) from None

    def _save(self, records: dict[tuple[str, KeyType], Record]) -> None:
        generation, rows = self._generation + 1, list(records.values())
        number = max((_format(record.type) for record in rows), default=FORMATS[0])
        file = _File(number, _check_value(self._kek), generation, rows, _seal(self._kek, generation, rows))
        _replace(self._path, msgspec.msgpack.encode(file))
        self._records, self._generation = records, generation
        self._refresh_twin()

    def _refresh_twin(self) -> bool:
        """Have the twin say what the file says; whether it was written. That it cannot be costs nothing today."""
        if self._twin is None:
            return False
        try:
            content = self._path.read_bytes()
            if self._twin.exists() and self._twin.read_bytes() == content:
                return False
            _replace(self._twin, content)
        except (KeysError, OSError) as error:
            log.warning("the twin of %s is not kept: %s", self._path, error)
            return False
        return True


def _read(path: Path) -> _File:
    try:
        mode = path.stat()
        if mode.st_size > _MAX_FILE:
            raise KeysError(f"{path}: {mode.st_size} bytes are no key file")
        raw = path.read_bytes()
    except OSError as error:
        raise KeysError(f"{path}: cannot be read: {error.strerror}: import a shipment file first") from None
    if stat.S_IMODE(mode.st_mode) & 0o077:
        raise KeysError(f"{path}: others may read or write it: chmod 600 {path}")
    try:
        number = from_msgpack(raw, _Format).format  # first: a newer format may hold what the rest of this cannot read
        if number not in FORMATS:
            known = ", ".join(map(str, FORMATS))
            raise KeysError(f"{path}: format {number}, this program knows {known}: install the newer version again")
        return from_msgpack(raw, _File)
    except DecodeError:
        raise KeysError(f"{path}: damaged, or no key file: import the shipment file again") from None


def _replace(path: Path, content: bytes) -> None:
    """Put a whole new file in place of the old one, durably: a power cut leaves one or the other."""
    try:
        place(path, content)
    except OSError as error:
        raise KeysError(f"{path}: cannot be written: {error.strerror}: the keys it held are unchanged") from None


def _set_aside(path: Path) -> Path:
    for number in itertools.count(1):
        target = path.with_name(f"{path.name}.damaged-{number}")
        if not target.exists():
            break
    try:
        path.rename(target)
        sync_directory(path.parent)
    except OSError as error:
        raise KeysError(f"{path}: cannot be set aside: {error.strerror}") from None
    return target


def _format(kind: KeyType) -> int:
    return FORMATS[0] if kind in FIRST_FORMAT else FORMATS[2] if kind in NETWORK else FORMATS[1]


def _secret(keys: MeterKeys, kind: KeyType) -> Secret | None:
    """What a record of this kind wraps."""
    pair = keys.signing if kind is KeyType.SIGNING else keys.agreement
    if kind in (KeyType.SIGNING, KeyType.AGREEMENT):
        if pair is None:
            return None
        whole = pair.private.reveal(), pair.peer, pair.peer_certificate, pair.own_certificate
        return Secret(msgspec.msgpack.encode(whole))
    secrets_of = {
        KeyType.GUEK: keys.guek,
        KeyType.GAK: keys.gak,
        KeyType.PASSWORD: keys.password,
        KeyType.MASTER: keys.master,
    }
    return secrets_of.get(kind)


def _derived(kek: Secret, use: bytes) -> bytes:
    return hmac.digest(kek.reveal(), b"grid-dcu keys 1: " + use, "sha256")


def _check_value(kek: Secret) -> bytes:
    return _derived(kek, b"check value")[:8]


def _associated(meter: str, kind: KeyType, version: int, title: bytes, suite: int) -> bytes:
    return msgspec.msgpack.encode((meter, kind, version, title, suite))  # lengths inside: no two tuples look alike


def _seal(kek: Secret, generation: int, records: Iterable[Record]) -> bytes:
    digest = hashlib.sha256(msgspec.msgpack.encode(sorted(records, key=lambda record: (record.meter, record.type))))
    return hmac.digest(_derived(kek, b"seal"), generation.to_bytes(8, "big") + digest.digest(), "sha256")
