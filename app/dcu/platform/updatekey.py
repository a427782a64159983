"""The key of encrypted updates on this device: kept doubly on persist, handed to SWUpdate in memory.

SWUpdate reads a file of one line: the key, a space, a vector, in hexadecimal digits; the vector is not used, since each
image of an update names its own. On persist the file stands doubly and survives the loss of a copy; for SWUpdate it is
laid into a directory of this boot. Only images are encrypted: what an update is and whom it is for is signed and open.

Source: SWUpdate, core/util.c, load_decryption_key; doc/source/encrypted_images.rst.
"""

import os
import re
from pathlib import Path

from dcu.errors import ConfigError, StoreError
from dcu.platform.machine import Machine

NAME = "update.aes"
_LARGEST = 256  # bytes of the file
_WRITTEN = re.compile(r"[0-9a-fA-F]{64} [0-9a-fA-F]{32}", re.ASCII)


def keep(machine: Machine, path: Path) -> None:
    """Take the key of the file for this device's. Raises ConfigError, StoreError."""
    try:
        with path.open("rb") as file:
            text = file.read(_LARGEST).decode("ascii", "replace").strip()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    if not _WRITTEN.fullmatch(text):
        raise ConfigError(f"{path}: a key of 64 hexadecimal digits, a space, a vector of 32 (AES-256)")
    machine.twice(NAME).write(f"{text}\n".encode())


def place(machine: Machine) -> Path | None:
    """Lay the key where SWUpdate reads it, for its owner only; None: this device has none. Raises StoreError."""
    content = machine.twice(NAME).read()
    if content is None:
        return None
    placed = machine.run / NAME
    try:
        placed.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        placed.unlink(missing_ok=True)
        handle = os.open(placed, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
    except OSError as error:
        raise StoreError(f"{placed}: {error.strerror}") from None
    return placed
