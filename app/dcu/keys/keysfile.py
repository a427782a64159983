"""The keys file of the command line: plain keys of one meter, in TOML, for an engineer's own bench.

    password = "12345678"                       # as it is typed; "hex:3132…" for bytes
    system_title = "45584d0000000042"           # the meter's, 16 hexadecimal digits
    guek = "000102030405060708090a0b0c0d0e0f"   # 32 (suites 0 and 1) or 64 (suite 2) hexadecimal digits
    gak = "d0d1d2d3d4d5d6d7d8d9dadbdcdddedf"
    suite = 0
    client_title = "4443550000000001"           # ours

All keys are optional: what an exchange needs and the file lacks is said by name. No error shows a value.
"""

import stat
from dataclasses import dataclass
from pathlib import Path

import msgspec

from dcu import config
from dcu.credentials import MeterKeys, Secret
from dcu.errors import ConfigError

_KEY_LENGTHS = {0: 16, 1: 16, 2: 32}
_MAX_PASSWORD = 128


class _Raw(msgspec.Struct, forbid_unknown_fields=True):
    password: str | None = None
    system_title: str | None = None
    guek: str | None = None
    gak: str | None = None
    suite: int = 0
    client_title: str | None = None


@dataclass(frozen=True, slots=True)
class KeysFile:
    """What a keys file held. `warnings` are for the operator: sentences."""

    path: Path
    password: Secret | None
    system_title: bytes | None
    guek: Secret | None
    gak: Secret | None
    suite: int
    client_title: bytes | None
    warnings: tuple[str, ...]

    def meter_keys(self) -> MeterKeys:
        """What a ciphered association needs. Raises ConfigError naming the first key that is missing."""
        if self.system_title is None:
            raise self._missing("system_title", "the meter's, 16 hexadecimal digits")
        if self.guek is None:
            raise self._missing("guek", "the global unicast encryption key, hexadecimal")
        if self.gak is None:
            raise self._missing("gak", "the global authentication key, hexadecimal")
        return MeterKeys(self.system_title, self.guek, self.gak, self.password, self.suite)

    def low_password(self) -> Secret:
        """What low level security needs. Raises ConfigError."""
        if self.password is None:
            raise self._missing("password", "the secret of low level security")
        return self.password

    def _missing(self, key: str, what: str) -> ConfigError:
        return ConfigError(f"{self.path}: key {key} is missing: {what}")


def load(path: Path) -> KeysFile:
    """Raises ConfigError: file, key, what is allowed; never a value."""
    raw = config.load(path, _Raw)
    if raw.suite not in _KEY_LENGTHS:
        raise ConfigError(f"{path}: key suite: allowed: {', '.join(map(str, _KEY_LENGTHS))}")
    length = _KEY_LENGTHS[raw.suite]
    guek, gak = _hex(path, "guek", raw.guek, length), _hex(path, "gak", raw.gak, length)
    return KeysFile(
        path,
        _password(path, raw.password),
        _hex(path, "system_title", raw.system_title, 8),
        Secret(guek) if guek is not None else None,
        Secret(gak) if gak is not None else None,
        raw.suite,
        _hex(path, "client_title", raw.client_title, 8),
        _warnings(path),
    )


def _hex(path: Path, key: str, text: str | None, length: int) -> bytes | None:
    if text is None:
        return None
    try:
        raw = bytes.fromhex(text)
    except ValueError:
        raw = b""
    if len(raw) != length:
        raise ConfigError(f"{path}: key {key}: allowed are {2 * length} hexadecimal digits")
    return raw


def _password(path: Path, text: str | None) -> Secret | None:
    if text is None:
        return None
    try:
        raw = bytes.fromhex(text[4:]) if text.startswith("hex:") else text.encode()
    except ValueError:
        raw = b""
    if not 1 <= len(raw) <= _MAX_PASSWORD:
        raise ConfigError(f"{path}: key password: allowed are 1 to {_MAX_PASSWORD} bytes, as text or as hex:…")
    return Secret(raw)


def _warnings(path: Path) -> tuple[str, ...]:
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        return (f"{path}: other users of this machine can read these keys: chmod 600 {path}",)
    return ()
