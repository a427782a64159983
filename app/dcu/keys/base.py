"""The seam of key storage: what the collector asks for keys, and nothing more. There is no way to get them out again.

Backends: a wrapped file (dcu.keys.wrapped); hardware tokens follow.
"""

from enum import StrEnum
from typing import Protocol

from dcu.credentials import MeterKeys, NetworkKeys

HEAD_END = "@head-end"  # the name under which the head-end's keys and our counter towards it are kept: no meter's


class KeyType(StrEnum):
    """The secrets of a meter, under the names that files give them. The first three are those of format 1."""

    GUEK = "guek"  # global unicast encryption key
    GAK = "gak"  # global authentication key
    PASSWORD = "password"  # of low level security, and of HLS 2, 3, 4 and 6
    SIGNING = "signing_key"  # ours, of suites 1 and 2; with it go the meter's public key and the certificates
    AGREEMENT = "agreement_key"  # likewise
    MASTER = "master_key"  # what wraps other keys
    PSK = "psk"  # of a field network: what meters prove themselves with
    GROUP_0 = "group_0"  # its group master keys, by index
    GROUP_1 = "group_1"


FIRST_FORMAT = (KeyType.GUEK, KeyType.GAK, KeyType.PASSWORD)
NETWORK = (KeyType.PSK, KeyType.GROUP_0, KeyType.GROUP_1)


def network_entry(name: str) -> str:
    """The name under which a field network's keys are kept: no meter's."""
    return f"@network {name}"


class KeyStore(Protocol):
    """Gives the collector what a meter is secured with."""

    def meter(self, name: str) -> MeterKeys:
        """Raises KeysError: unknown meter, tampered record."""
        ...

    def head_end(self) -> MeterKeys:
        """What protects packets to the head-end; the title is the head-end's. Raises KeysError: none there."""
        ...

    def network(self, name: str) -> NetworkKeys:
        """Raises KeysError: no pre-shared key there, tampered record."""
        ...

    def names(self) -> list[str]:
        """Return the meters of which keys are held, in order."""
        ...
