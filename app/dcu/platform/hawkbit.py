"""Updates from a hawkBit server: SWUpdate's own client (suricatta), started with what this device adds to it.

SWUpdate reads one configuration file, so the server's section is written behind the payload's swupdate.cfg into a file
of this boot; tokens stand in it and never on a command line. Bank and oldest version are given at the start: both
change only at a boot.

Source: SWUpdate, examples/configuration/swupdate.cfg, section suricatta.
"""

import os
from pathlib import Path

import msgspec

from dcu import config
from dcu.errors import ConfigError, StoreError
from dcu.platform.bootenv import Slot
from dcu.platform.swupdate import CONFIGURATION, common
from dcu.platform.version import Version

MERGED = Path("/run/swupdate/hawkbit.cfg")
AFTERWARDS = "systemctl reboot"


class Server(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`hawkbit.toml`. id: how the server knows this device, empty: its serial number; poll: seconds."""

    url: str
    tenant: str = "DEFAULT"
    id: str = ""
    target_token: str = ""
    gateway_token: str = ""
    ca: str = ""
    poll: int = 300


def load(path: Path) -> Server:
    """Raises ConfigError."""
    server = config.load(path, Server)
    for key in ("url", "tenant", "id", "target_token", "gateway_token", "ca"):
        if any(not sign.isprintable() or not sign.isascii() for sign in getattr(server, key)):
            raise ConfigError(f"{path}: key {key}: printable ASCII")
    if not server.url.startswith("https://"):
        raise ConfigError(f"{path}: key url: https://…")
    if not 10 <= server.poll <= 86400:
        raise ConfigError(f"{path}: key poll: 10..86400 seconds")
    return server


def section(server: Server, serial: str) -> str:
    """The server's section as SWUpdate's configuration has it (libconfig)."""
    rows = {
        "url": server.url,
        "tenant": server.tenant,
        "id": server.id or serial,
        "targettoken": server.target_token,
        "gatewaytoken": server.gateway_token,
        "cafile": server.ca,
    }
    lines = [f"\t{key} = {_quoted(value)};" for key, value in rows.items() if value]
    numbers = (("polldelay", server.poll), ("retry", 5), ("retrywait", 60))
    lines += [f"\t{key} = {value};" for key, value in numbers]
    return "\n".join(("suricatta:", "{", *lines, "};", ""))


def merge(server: Server, serial: str, *, base: Path = Path(CONFIGURATION), merged: Path = MERGED) -> None:
    """Write the configuration of this boot, for its owner only. Raises ConfigError, StoreError."""
    try:
        text = base.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{base}: {error.strerror}") from None
    try:
        merged.unlink(missing_ok=True)
        handle = os.open(merged, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(f"{text}\n{section(server, serial)}")
    except OSError as error:
        raise StoreError(f"{merged}: {error.strerror}") from None


def command(target: Slot, oldest: Version, *, merged: Path = MERGED) -> tuple[str, ...]:
    """The command that follows the server until it is stopped; from 2024 on, SWUpdate asks which kind of server."""
    return (*common(target, oldest, str(merged)), "-p", AFTERWARDS, "-u", "-S hawkbit")


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
