"""Shipment files: what a meter maker sends with a pallet of meters, their keys wrapped under a transport key.

TOML, so that people can look into it. Each secret is wrapped by AES-KWP (RFC 5649) under a key that maker and utility
share, and which travels another way:

    format = 1
    maker = "Example Meters Ltd"
    transport_key = "TK-2025-03"      # which one
    wrapping = "aes-kwp"

    [[meters]]
    name = "EXM1000042"
    system_title = "45584d0000000042"
    address = "tcp://192.0.2.42:4059"
    profile = "generic"               # the meter profile: its family
    guek = "…"                        # hexadecimal, wrapped; gak likewise, password where it has one
    gak = "…"
    # format 2 adds, for suites 1 and 2:
    suite = 1
    signing_key = "…"                 # the DCU's private key towards this meter, wrapped; agreement_key likewise
    meter_signing = "…"               # the meter's: public key (x || y) or certificate (DER); meter_agreement likewise
    signing_certificate = "…"         # the DCU's own, where there is one; agreement_certificate likewise
    master_key = "…"                  # wrapped; in suite 0, too

The head-end's own keys come in a file of the same kind, for one:

    format = 1
    transport_key = "TK-2025-03"
    wrapping = "aes-kwp"
    system_title = "4845530000000001" # the head-end's
    guek = "…"
    gak = "…"
    # counter = 0                     # the first invocation counter that we never sent with under this key
"""

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import msgspec
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap_with_padding, aes_key_wrap_with_padding

from dcu import certificates
from dcu.certificates import Purpose
from dcu.credentials import KeyPair, MeterKeys, Secret
from dcu.errors import AuthenticationFailed, ConfigError, DecodeError, KeysError
from dcu.keys.base import FIRST_FORMAT, HEAD_END, KeyType
from dcu.suites import SUITES

FORMATS = (1, 2)
WRAPPING = "aes-kwp"
MAX_FILE = 8 << 20  # bytes: 1,000 meters need 400 kB
MAX_METERS = 10_000
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_ADDRESS = re.compile(r"[a-z][a-z0-9+-]{0,15}://[\x21-\x7e]{1,200}")
_WRAPPED = range(16, 137)  # bytes: AES-KWP adds 8 and fills up to a multiple of 8; a password has at most 128
_PAIRS = {KeyType.SIGNING: Purpose.SIGNING, KeyType.AGREEMENT: Purpose.AGREEMENT}


@dataclass(frozen=True, slots=True)
class ShippedMeter:
    """One meter of a shipment, its secrets still wrapped."""

    name: str
    system_title: bytes
    address: str
    profile: str
    suite: int
    wrapped: Mapping[KeyType, bytes]
    public: Mapping[KeyType, tuple[bytes, bytes]] = field(default_factory=dict)  # the meter's key, our certificate


@dataclass(frozen=True, slots=True)
class Shipment:
    maker: str
    transport_key_id: str
    meters: tuple[ShippedMeter, ...]


@dataclass(frozen=True, slots=True)
class NewMeter:
    """What the writer says of a meter beside its keys."""

    name: str
    address: str
    profile: str


@dataclass(frozen=True, slots=True)
class ShippedHeadEnd:
    """The head-end's keys, still wrapped. counter: the first that is free under them, None where the file says none."""

    keys: ShippedMeter
    counter: int | None


class _HeadEnd(msgspec.Struct, forbid_unknown_fields=True):
    format: int
    transport_key: str
    wrapping: str
    system_title: str
    guek: str
    gak: str
    counter: Annotated[int, msgspec.Meta(ge=0, lt=1 << 32)] | None = None


class _Header(msgspec.Struct, forbid_unknown_fields=True):
    format: int
    maker: str
    transport_key: str
    wrapping: str
    meters: list[dict[str, Any]]


class _Meter(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    system_title: str
    address: str
    profile: str
    guek: str
    gak: str
    password: str | None = None
    suite: int = 0
    signing_key: str | None = None
    meter_signing: str | None = None
    signing_certificate: str | None = None
    agreement_key: str | None = None
    meter_agreement: str | None = None
    agreement_certificate: str | None = None
    master_key: str | None = None


def read(path: Path) -> Shipment:
    """Raises ConfigError."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_FILE + 1)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    return parse(raw, str(path))


def parse(raw: bytes, where: str) -> Shipment:
    """Read a shipment; `where` names it in errors. Raises ConfigError, which never shows a secret."""
    header: _Header = _headed(raw, _Header, where)
    if len(header.meters) > MAX_METERS:
        raise ConfigError(f"{where}: {len(header.meters)} meters: at most {MAX_METERS} in one shipment")
    meters = tuple(_meter(item, number, where, header.format) for number, item in enumerate(header.meters, 1))
    _unique(where, "name", [(meter.name, meter.name) for meter in meters])
    _unique(where, "system_title", [(meter.name, meter.system_title.hex()) for meter in meters])
    return Shipment(header.maker, header.transport_key, meters)


def parse_head_end(raw: bytes, where: str) -> ShippedHeadEnd:
    """Read a file with the head-end's keys: format 1. Raises ConfigError, which never shows a secret."""
    item: _HeadEnd = _headed(raw, _HeadEnd, where, FORMATS[:1])
    title = _hex(item.system_title, range(8, 9), f"{where}: key system_title: 16 hexadecimal digits")
    wrapped = {
        kind: _hex(text, _WRAPPED, f"{where}: key {kind}: hexadecimal digits of a key wrapped by {WRAPPING}")
        for kind, text in ((KeyType.GUEK, item.guek), (KeyType.GAK, item.gak))
    }
    return ShippedHeadEnd(ShippedMeter(HEAD_END, title, "", "", 0, wrapped), item.counter)


def read_head_end(path: Path) -> str:
    """Return the text of a file with the head-end's keys, once it is proven to be one. Raises ConfigError."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    parse_head_end(raw, str(path))
    return raw.decode("utf-8")


def write_head_end(
    path: Path, transport_key_id: str, transport_key: Secret, keys: MeterKeys, counter: int | None = None
) -> None:
    """Write a file with the head-end's keys, as a utility would."""
    lines = [f"format = {FORMATS[0]}", f"transport_key = {_quoted(transport_key_id)}", f'wrapping = "{WRAPPING}"']
    lines.append(f'system_title = "{keys.system_title.hex()}"')
    for kind, secret in ((KeyType.GUEK, keys.guek), (KeyType.GAK, keys.gak)):
        lines.append(f'{kind} = "{aes_key_wrap_with_padding(transport_key.reveal(), secret.reveal()).hex()}"')
    lines += [] if counter is None else [f"counter = {counter}"]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _headed(raw: bytes, kind: Any, where: str, formats: tuple[int, ...] = FORMATS) -> Any:
    """TOML with our format and wrapping at its head."""
    if len(raw) > MAX_FILE:
        raise ConfigError(f"{where}: more than {MAX_FILE} bytes are no shipment file")
    try:
        table = tomllib.loads(raw.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{where}: not TOML: {_first_line(error)}") from None
    header = _converted(table, kind, where)
    if header.format not in formats:
        known = ", ".join(map(str, formats))
        raise ConfigError(f"{where}: key format: {header.format} is not known here; allowed: {known}")
    if header.wrapping != WRAPPING:
        raise ConfigError(f"{where}: key wrapping: allowed: {WRAPPING!r} (RFC 5649)")
    return header


def unwrap(meter: ShippedMeter, transport_key: Secret) -> MeterKeys:
    """Raises KeysError, naming the meter and the key: another transport key, or a damaged file."""
    secrets = {kind: _unwrap(meter, kind, raw, transport_key) for kind, raw in meter.wrapped.items()}
    for kind in (KeyType.GUEK, KeyType.GAK):
        length = SUITES[meter.suite].key_size
        if len(secrets[kind]) != length:
            raise KeysError(f"meter {meter.name}: key {kind}: suite {meter.suite} needs {length} bytes inside")
    master = secrets.get(KeyType.MASTER)
    if master is not None and len(master) != SUITES[meter.suite].key_size:
        raise KeysError(f"meter {meter.name}: key {KeyType.MASTER}: suite {meter.suite} needs a longer or shorter one")
    return MeterKeys(
        meter.system_title,
        secrets[KeyType.GUEK],
        secrets[KeyType.GAK],
        secrets.get(KeyType.PASSWORD),
        meter.suite,
        _pair(meter, KeyType.SIGNING, secrets.get(KeyType.SIGNING)),
        _pair(meter, KeyType.AGREEMENT, secrets.get(KeyType.AGREEMENT)),
        master,
    )


def _pair(meter: ShippedMeter, kind: KeyType, private: Secret | None) -> KeyPair | None:
    if private is None:
        return None
    given, own = meter.public[kind]
    try:
        return certificates.pair_of(private, given, meter.system_title, _PAIRS[kind], meter.suite, own)
    except (ValueError, DecodeError, AuthenticationFailed) as error:
        raise KeysError(f"meter {meter.name}: key {kind}: {error}") from None


def load_transport_key(path: Path) -> Secret:
    """Read a transport key: 32, 48 or 64 hexadecimal digits in a file of their own. Raises KeysError."""
    try:
        raw = bytes.fromhex(path.read_bytes()[:4096].decode("ascii").strip())
    except OSError as error:
        raise KeysError(f"{path}: the transport key cannot be read: {error.strerror}") from None
    except ValueError:
        raw = b""
    if len(raw) not in (16, 24, 32):
        raise KeysError(f"{path}: a transport key is 32, 48 or 64 hexadecimal digits")
    return Secret(raw)


def write(
    path: Path, maker: str, transport_key_id: str, transport_key: Secret, meters: Iterable[tuple[NewMeter, MeterKeys]]
) -> None:
    """Write a shipment file, as a maker would. Raises ValueError for what `parse` would refuse."""
    meters = list(meters)
    number = FORMATS[any(keys.signing or keys.agreement or keys.master for _, keys in meters)]
    lines = [f"format = {number}", f"maker = {_quoted(maker)}", f"transport_key = {_quoted(transport_key_id)}"]
    lines.append(f'wrapping = "{WRAPPING}"')
    for meter, keys in meters:
        lines += ["", "[[meters]]", f"name = {_quoted(meter.name)}", f'system_title = "{keys.system_title.hex()}"']
        lines += [f"address = {_quoted(meter.address)}", f"profile = {_quoted(meter.profile)}"]
        lines += [f"suite = {keys.suite}"] if keys.suite else []
        for kind, secret in _secrets(keys):
            wrapped = aes_key_wrap_with_padding(transport_key.reveal(), secret.reveal())
            lines.append(f'{kind} = "{wrapped.hex()}"')
        for word, pair in (("signing", keys.signing), ("agreement", keys.agreement)):
            lines += [f'meter_{word} = "{(pair.peer_certificate or pair.peer).hex()}"'] if pair else []
            own = pair.own_certificate if pair else b""
            lines += [f'{word}_certificate = "{own.hex()}"'] if own else []
    text = "\n".join(lines) + "\n"
    try:
        parse(text.encode(), path.name)
    except ConfigError as error:
        raise ValueError(str(error)) from None
    path.write_text(text, encoding="utf-8")


def _secrets(keys: MeterKeys) -> list[tuple[KeyType, Secret]]:
    every = {
        KeyType.GUEK: keys.guek,
        KeyType.GAK: keys.gak,
        KeyType.PASSWORD: keys.password,
        KeyType.SIGNING: keys.signing.private if keys.signing else None,
        KeyType.AGREEMENT: keys.agreement.private if keys.agreement else None,
        KeyType.MASTER: keys.master,
    }
    return [(kind, secret) for kind, secret in every.items() if secret is not None]


def _meter(raw: dict[str, Any], number: int, where: str, form: int) -> ShippedMeter:
    name = raw.get("name")
    here = f"{where}: meter {name if isinstance(name, str) and _NAME.fullmatch(name) else f'number {number}'}"
    item = _converted(raw, _Meter, here)
    if not _NAME.fullmatch(item.name):
        raise ConfigError(f"{here}: key name: allowed are 1 to 64 letters, digits, '.', '_' and '-'")
    if not _NAME.fullmatch(item.profile):
        raise ConfigError(f"{here}: key profile: allowed are 1 to 64 letters, digits, '.', '_' and '-'")
    if not _ADDRESS.fullmatch(item.address):
        raise ConfigError(f"{here}: key address: write SCHEME://HOST:PORT as in tcp://192.0.2.42:4059")
    if not 0 <= item.suite < len(SUITES):
        raise ConfigError(f"{here}: key suite: allowed: 0, 1, 2")
    title = _hex(item.system_title, range(8, 9), f"{here}: key system_title: 16 hexadecimal digits")
    wrapped = {
        kind: _hex(text, _WRAPPED, f"{here}: key {kind}: hexadecimal digits of a key wrapped by {WRAPPING}")
        for kind in KeyType
        if (text := getattr(item, kind, None)) is not None
    }
    if form == FORMATS[0] and not wrapped.keys() <= set(FIRST_FORMAT):
        raise ConfigError(f"{here}: signing, agreement and master keys need format = 2")
    return ShippedMeter(item.name, title, item.address, item.profile, item.suite, wrapped, _publics(item, here))


def _publics(item: _Meter, here: str) -> dict[KeyType, tuple[bytes, bytes]]:
    """What is not secret of suites 1 and 2: the meter's public keys or certificates, and our certificates."""
    publics = {}
    for kind, word in ((KeyType.SIGNING, "signing"), (KeyType.AGREEMENT, "agreement")):
        ours, theirs, own = (getattr(item, key) for key in (f"{word}_key", f"meter_{word}", f"{word}_certificate"))
        if (ours is None) is not (theirs is None) or (ours is None and own is not None):
            raise ConfigError(f"{here}: keys {word}_key and meter_{word} go together")
        if ours is None:
            continue
        if not item.suite:
            raise ConfigError(f"{here}: key {word}_key: suite 0 has no such key: suite 1 or 2 is meant?")
        size, what = range(1, certificates.MAX_SIZE + 1), "hexadecimal digits of a public key or a certificate"
        given = _hex(theirs, size, f"{here}: key meter_{word}: {what}")
        publics[kind] = (
            given,
            _hex(own or "", range(certificates.MAX_SIZE + 1), f"{here}: key {word}_certificate: {what}"),
        )
    return publics


def _unwrap(meter: ShippedMeter, kind: KeyType, raw: bytes, transport_key: Secret) -> Secret:
    try:
        return Secret(aes_key_unwrap_with_padding(transport_key.reveal(), raw))
    except (InvalidUnwrap, ValueError):
        raise KeysError(
            f"meter {meter.name}: key {kind}: does not unwrap: is it the transport key that the shipment names?"
        ) from None


def _hex(text: str, lengths: range, expected: str) -> bytes:
    try:
        raw = bytes.fromhex(text)
    except ValueError:
        raw = b""
    if len(raw) not in lengths:
        raise ConfigError(f"{expected} are expected")
    return raw


def _converted(raw: object, kind: Any, where: str) -> Any:
    try:
        return msgspec.convert(raw, kind, strict=True)
    except msgspec.ValidationError as error:
        what, _, at = str(error).partition(" - at ")
        key = f"key {at.strip('`').removeprefix('$.')}: " if at else ""
        raise ConfigError(f"{where}: {key}{what}; allowed keys: {', '.join(kind.__struct_fields__)}") from None


def _unique(where: str, key: str, values: list[tuple[str, str]]) -> None:
    seen: dict[str, str] = {}
    for name, value in values:
        if value in seen:
            raise ConfigError(f"{where}: meter {name}: key {key}: the same as of meter {seen[value]}; each has its own")
        seen[value] = name


def _first_line(error: BaseException) -> str:
    return (str(error) or "nested too deeply").splitlines()[0][:200]


def _quoted(text: str) -> str:
    if not text.isprintable():
        raise ValueError(f"{text!r} holds what does not print")
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
