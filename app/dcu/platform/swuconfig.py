"""SWUpdate's configuration of this boot: the payload's swupdate.cfg, and behind it what only this device knows.

What SWUpdate fetches by itself (a delta's chunks, hawkBit's files) is judged by the section of who fetches. In each,
`nocheckcert` is said in so many words: where it is left out, SWUpdate takes what happens to be in memory, and where the
whole section is missing, it checks no certificate (2026.05). `retrywait` is a string there, `retry` a number.

Source: SWUpdate, corelib/server_utils.c, channel_settings(); examples/configuration/swupdate.cfg.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from dcu.errors import ConfigError, StoreError

BASE = Path("/etc/swupdate.cfg")
LONGEST = 127  # characters of a value: SWUpdate cuts what is longer, and says nothing

Value = str | int | bool


def channel(authorities: Path | None) -> dict[str, Value]:
    """How a server is met: its certificate is checked, and a break is resumed."""
    values: dict[str, Value] = {"nocheckcert": False, "retry": 5, "retrywait": "10"}
    if authorities:
        values["cafile"] = str(authorities)
    return values


def section(name: str, values: Mapping[str, Value]) -> str:
    """A section as libconfig reads it. Raises ConfigError: a value is too long."""
    return "\n".join(
        (f"{name}:", "{", *(f"\t{key} = {_shown(key, value)};" for key, value in values.items()), "};", "")
    )


def attributes(name: str, values: Mapping[str, str]) -> str:
    """A list of names and values, as the section `identify` is one."""
    rows = [f"\t{{ name = {_shown(key, key)}; value = {_shown(key, value)}; }}" for key, value in values.items()]
    return f"{name}:\n(\n" + ",\n".join(rows) + "\n);\n"


def write(sections: Sequence[str], target: Path, *, base: Path = BASE) -> None:
    """Write `base` and `sections` to `target`, for its owner only: tokens may stand in it. ConfigError, StoreError."""
    try:
        text = base.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{base}: {error.strerror}") from None
    try:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write("\n".join((text, *sections)))
    except OSError as error:
        raise StoreError(f"{target}: {error.strerror}") from None


def _shown(key: str, value: Value) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return str(value)
    if len(value) > LONGEST:
        raise ConfigError(f"key {key}: {len(value)} characters, SWUpdate takes {LONGEST}")
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
