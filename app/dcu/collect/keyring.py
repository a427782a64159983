"""The key file as the collector has it: also where it is damaged or lost, so that everything else goes on.

Then there are no keys, meters say so, and an alarm is raised; only an operator begins a new file, which has to be
filled from shipment files again. Nothing here decides that by itself: a credential that is wrong today may be right
tomorrow, and the keys with it.
"""

import logging
from collections.abc import Mapping
from pathlib import Path

from dcu.credentials import MeterKeys, NetworkKeys
from dcu.errors import KeysError
from dcu.keys.wrapped import WrappedKeys, load_kek

log = logging.getLogger(__name__)


class Keyring:
    """A KeyStore. `trouble`: why there are no keys, "" where all is well. Use `Keyring.open(...)`, off the loop."""

    def __init__(self, path: Path, kek_file: Path | None, twin: Path | None, newest: int) -> None:
        self._path = path
        self._kek_file = kek_file
        self._twin = twin
        self._newest = newest
        self._opened: WrappedKeys | None = None
        self.trouble = ""

    @classmethod
    def open(cls, path: Path, kek_file: Path | None, twin: Path | None = None, newest: int = 0) -> "Keyring":
        """Open the file, or make an empty one where none was ever seen. `newest`: the generation last seen.

        Raises KeysError where there is no key-encryption key, or no file can be made.
        """
        ring = cls(path, kek_file, twin, newest)
        kek = load_kek(kek_file)
        if not (newest or path.exists() or (twin and twin.exists())):
            log.info("%s: no key file yet: an empty one is made", path)
            ring._opened = WrappedKeys.create(path, kek, twin)
            return ring
        try:
            ring._opened = WrappedKeys.open(path, kek, newest, twin)
        except KeysError as error:
            ring.trouble = str(error)
        return ring

    def meter(self, name: str) -> MeterKeys:
        return self._keys.meter(name)

    def head_end(self) -> MeterKeys:
        return self._keys.head_end()

    def network(self, name: str) -> NetworkKeys:
        return self._keys.network(name)

    def put_network(self, name: str, keys: NetworkKeys) -> None:
        self._keys.put_network(name, keys)

    def names(self) -> list[str]:
        return self._opened.names() if self._opened else []

    @property
    def mended(self) -> str:
        """What of the file was restored from its twin, "" where nothing was."""
        return self._opened.mended if self._opened else ""

    @property
    def generation(self) -> int:
        return self._opened.generation if self._opened else self._newest

    def put_all(self, meters: Mapping[str, MeterKeys]) -> None:
        """Raises KeysError; what was there stays."""
        self._keys.put_all(meters)

    def put(self, name: str, keys: MeterKeys) -> None:
        self._keys.put(name, keys)

    def reset(self) -> list[Path]:
        """Begin an empty file; return where the old ones are now. Raises KeysError where what is there is sound."""
        newest = max(self._newest, self.generation)
        self._opened, aside = WrappedKeys.reset(self._path, load_kek(self._kek_file), newest, self._twin)
        self.trouble = ""
        return aside

    @property
    def _keys(self) -> WrappedKeys:
        if self._opened is None:
            raise KeysError(f"no keys: {self.trouble}; or begin anew: `dcu keys reset`, then import the shipments")
        return self._opened
