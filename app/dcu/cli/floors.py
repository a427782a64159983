"""The meters' own invocation counters, as far as this user's commands have seen them: one small file a meter and key.

Where nobody proves in the handshake that he is fresh (LLS, no authentication, a pre-established association), an
authenticated answer is new only if its counter is above what was accepted before, in whichever association that was.
With HLS the meter proves it, and what is kept is what it has proven, though its counter were set back.
"""

import os
import re
from pathlib import Path

from dcu import durable
from dcu.cli.counters import LIMIT, state_directory
from dcu.credentials import MeterKeys
from dcu.errors import StoreError

_WRITTEN = re.compile(rb"\d{1,10}\n")


class FloorFile:
    """A meter's floor under the key that it is given with; a new key begins anew."""

    def __init__(self, keys: MeterKeys, folder: Path | None = None) -> None:
        title = keys.system_title
        self.path = (folder or state_directory() / "floors") / f"{title.hex()}-{keys.fingerprint(title).hex()}"

    def read(self) -> int:
        """The highest counter accepted, -1 where there was none. Raises StoreError."""
        try:
            raw = self.path.read_bytes()
        except FileNotFoundError:
            return -1
        except OSError as error:
            raise StoreError(f"{self.path}: cannot be read: {error.strerror}") from None
        if not _WRITTEN.fullmatch(raw) or int(raw) > LIMIT:
            raise StoreError(f"{self.path} is damaged: delete it, and associate with HLS once")
        return int(raw)

    def keep(self, floor: int) -> None:
        """Raises StoreError; what was there stays."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            durable.place(self.path, b"%d\n" % floor)
        except OSError as error:
            raise StoreError(f"{self.path}: cannot keep the meter's counter: {os.strerror(error.errno or 0)}") from None
