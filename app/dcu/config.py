"""Files that people write: TOML in, frozen typed values out; a mistake names the file, the key and what is allowed."""

import tomllib
from pathlib import Path
from typing import TypeVar

import msgspec

from dcu.errors import ConfigError

T = TypeVar("T")


def load(path: Path, kind: type[T]) -> T:
    """Read `path` as TOML into the frozen dataclass or Struct `kind`. Raises ConfigError."""
    return convert(read(path), kind, str(path))


def read(path: Path) -> dict[str, object]:
    """Read `path` as TOML. Raises ConfigError."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from None
    except ValueError as error:
        raise ConfigError(f"{path}: not TOML: {error}") from None
    return parse(text, str(path))


def parse(text: str, where: str) -> dict[str, object]:
    """Read TOML; `where` names its source in errors. Raises ConfigError."""
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # not TOML, a number of 5,000 digits, 500 open brackets
        raise ConfigError(f"{where}: not TOML: {error}") from None


def convert(raw: object, kind: type[T], where: str) -> T:
    """Turn what TOML or JSON gave into `kind`, checking every key; `where` names the source in errors."""
    try:
        return msgspec.convert(raw, kind, strict=True)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{where}: {_explained(str(error), kind)}") from None


def _explained(message: str, kind: type) -> str:
    what, _, at = message.partition(" - at ")
    key = at.strip("`").removeprefix("$").lstrip(".")
    text = f"key {key}: {what}" if key else what
    if "unknown field" in what and not key:
        text += f"; allowed here: {', '.join(_fields(kind))}"
    return text


def _fields(kind: type) -> list[str]:
    return [field.encode_name for field in msgspec.structs.fields(kind)] if issubclass(kind, msgspec.Struct) else []
