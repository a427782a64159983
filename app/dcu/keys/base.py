"""The seam of key storage: what the collector asks for keys, and nothing more. There is no way to get them out again.

Backends: a wrapped file (dcu.keys.wrapped); hardware tokens follow.
"""

from enum import StrEnum
from typing import Protocol

from dcu.credentials import MeterKeys


class KeyType(StrEnum):
    """The secrets of a meter, under the names that files give them."""

    GUEK = "guek"  # global unicast encryption key
    GAK = "gak"  # global authentication key
    PASSWORD = "password"  # of low level security


class KeyStore(Protocol):
    """Gives the collector what a meter is secured with."""

    def meter(self, name: str) -> MeterKeys:
        """Raises KeysError: unknown meter, tampered record."""
        ...

    def names(self) -> list[str]:
        """Return the meters of which keys are held, in order."""
        ...
