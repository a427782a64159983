"""The keys file of the command line: plain keys of one meter, in TOML, for an engineer's own bench.

    password = "12345678"                       # as it is typed; "hex:3132…" for bytes
    system_title = "45584d0000000042"           # the meter's, 16 hexadecimal digits
    guek = "000102030405060708090a0b0c0d0e0f"   # 32 (suites 0 and 1) or 64 (suite 2) hexadecimal digits
    gak = "d0d1d2d3d4d5d6d7d8d9dadbdcdddedf"
    suite = 0
    client_title = "4443550000000001"           # ours
    # suites 1 and 2, each key in hexadecimal:
    signing_key = "…"                           # ours, private: 32 bytes in suite 1, 48 in suite 2
    meter_signing = "…"                         # the meter's, public: x || y, or its certificate (DER)
    agreement_key = "…"                         # likewise, for key agreement
    meter_agreement = "…"
    master_key = "…"                            # what wraps other keys (KEK)
    broadcast_key = "…"                         # the global broadcast encryption key (GBEK), 16 or 32 bytes

A simulated meter finds its own private keys in meter_signing_key and meter_agreement_key: no real one gives them away.
All keys are optional: what an exchange needs and the file lacks is said by name. No error shows a value.
"""

import stat
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from dcu import certificates, config
from dcu.certificates import Purpose
from dcu.credentials import KeyPair, MeterKeys, Secret
from dcu.errors import AuthenticationFailed, ConfigError, DecodeError
from dcu.suites import SUITES

_MAX_PASSWORD = 128
_MAX_PUBLIC = 2 * certificates.MAX_SIZE  # hexadecimal digits


class _Raw(msgspec.Struct, forbid_unknown_fields=True):
    password: str | None = None
    system_title: str | None = None
    guek: str | None = None
    gak: str | None = None
    suite: int = 0
    client_title: str | None = None
    signing_key: str | None = None
    meter_signing: str | None = None
    agreement_key: str | None = None
    meter_agreement: str | None = None
    master_key: str | None = None
    broadcast_key: str | None = None
    meter_signing_key: str | None = None
    meter_agreement_key: str | None = None


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
    signing: KeyPair | None = None
    agreement: KeyPair | None = None
    master: Secret | None = None
    broadcast: Secret | None = None
    simulated: tuple[Secret | None, Secret | None] = (None, None)  # the meter's signing and agreement keys

    def meter_keys(self) -> MeterKeys:
        """What a ciphered association needs. Raises ConfigError naming the first key that is missing."""
        if self.system_title is None:
            raise self._missing("system_title", "the meter's, 16 hexadecimal digits")
        if self.guek is None:
            raise self._missing("guek", "the global unicast encryption key, hexadecimal")
        if self.gak is None:
            raise self._missing("gak", "the global authentication key, hexadecimal")
        return replace(self.proving_keys(), guek=self.guek, gak=self.gak)

    def proving_keys(self) -> MeterKeys:
        """What authentication without ciphering needs: titles, password, signing keys, whatever of them is there."""
        none = Secret(b"")
        return MeterKeys(
            self.system_title or b"",
            none,
            none,
            self.password,
            self.suite,
            self.signing,
            self.agreement,
            self.master,
            self.broadcast,
        )

    def require_signing(self) -> None:
        """HLS 7 and general-signing. Raises ConfigError naming the first key that is missing."""
        if not self.suite:
            raise ConfigError(f"{self.path}: key suite: 1 or 2 have signatures, 0 has none")
        if self.system_title is None:
            raise self._missing("system_title", "the meter's, 16 hexadecimal digits")
        if self.signing is None:
            raise self._missing("signing_key", "our private key, and meter_signing: the meter's public one")

    def low_password(self) -> Secret:
        """What low level security and HLS 3, 4 and 6 need. Raises ConfigError."""
        if self.password is None:
            raise self._missing("password", "the secret of low level security, and of HLS 3, 4 and 6")
        return self.password

    def _missing(self, key: str, what: str) -> ConfigError:
        return ConfigError(f"{self.path}: key {key} is missing: {what}")


def load(path: Path) -> KeysFile:
    """Raises ConfigError: file, key, what is allowed; never a value."""
    raw = config.load(path, _Raw)
    if not 0 <= raw.suite < len(SUITES):
        raise ConfigError(f"{path}: key suite: allowed: 0, 1, 2")
    size = SUITES[raw.suite].key_size
    title = _hex(path, "system_title", raw.system_title, 8)
    guek, gak = (_secret(path, key, getattr(raw, key), size) for key in ("guek", "gak"))
    signing, agreement = (_pair(path, raw, purpose, title) for purpose in (Purpose.SIGNING, Purpose.AGREEMENT))
    return KeysFile(
        path,
        _password(path, raw.password),
        title,
        guek,
        gak,
        raw.suite,
        _hex(path, "client_title", raw.client_title, 8),
        (*_warnings(path), *_outdated(path, signing, agreement)),
        signing,
        agreement,
        _secret(path, "master_key", raw.master_key, size),
        _secret(path, "broadcast_key", raw.broadcast_key, size),
        tuple(_private(path, raw, key) for key in ("meter_signing_key", "meter_agreement_key")),  # type: ignore[arg-type]
    )


def _pair(path: Path, raw: _Raw, purpose: Purpose, title: bytes | None) -> KeyPair | None:
    """Our private key and the meter's public one; both or none."""
    word = "signing" if purpose is Purpose.SIGNING else "agreement"
    ours, theirs = f"{word}_key", f"meter_{word}"
    private, text = _private(path, raw, ours), getattr(raw, theirs)
    if private is None and text is None:
        return None
    if private is None or text is None:
        raise ConfigError(f"{path}: key {ours if private is None else theirs} is missing: the other one is there")
    try:
        given = bytes.fromhex(text[:_MAX_PUBLIC])
        return certificates.pair_of(private, given, title or b"", purpose, raw.suite)
    except (ValueError, DecodeError, AuthenticationFailed) as error:
        width = 2 * SUITES[raw.suite].width
        why = f": {error}" if isinstance(error, DecodeError | AuthenticationFailed) else ""
        raise ConfigError(
            f"{path}: key {theirs}: allowed are a public key (x || y: {2 * width} hexadecimal digits) "
            f"or a certificate in DER, hexadecimal{why}"
        ) from None


def _private(path: Path, raw: _Raw, key: str) -> Secret | None:
    text = getattr(raw, key)
    if text is None:
        return None
    suite = SUITES[raw.suite]
    if not suite.width:
        raise ConfigError(f"{path}: key {key}: suite 0 has no such key: suite 1 or 2 is meant?")
    private = _secret(path, key, text, suite.width)
    assert private is not None
    try:
        suite.check_private(private)
    except ValueError as error:
        raise ConfigError(f"{path}: key {key}: {error}") from None
    return private


def _secret(path: Path, key: str, text: str | None, length: int) -> Secret | None:
    found = _hex(path, key, text, length)
    return None if found is None else Secret(found)


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


def _outdated(path: Path, *pairs: KeyPair | None) -> Iterator[str]:
    """Certificates outside of their time. They are used: this machine's clock may be the one that is wrong."""
    for pair in pairs:
        if pair and pair.peer_certificate:
            found = certificates.parse(pair.peer_certificate)
            try:
                found.require_valid(datetime.now(UTC))
            except AuthenticationFailed as error:
                yield f"{path}: {found.purpose.value} of {found.title.hex()}: {error}"


def _warnings(path: Path) -> tuple[str, ...]:
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        return (f"{path}: other users of this machine can read these keys: chmod 600 {path}",)
    return ()
