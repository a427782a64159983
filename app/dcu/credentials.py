"""Secrets in memory: values that never show in a log, a repr, a traceback or a pickle.

Python copies bytes, so the process is the boundary (docs/adr/0001): this module only keeps a secret from being *shown*.
"""

import hmac
from dataclasses import dataclass, field
from typing import NoReturn


class Secret:
    """Bytes that do not show. `reveal()` is the one way in: look for it when you review."""

    __slots__ = ("_value",)

    def __init__(self, value: bytes) -> None:
        self._value = bytes(value)

    def reveal(self) -> bytes:
        return self._value

    def __len__(self) -> int:
        return len(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self._value, other._value)

    def __hash__(self) -> int:
        return hash((Secret, len(self._value)))

    def __repr__(self) -> str:
        return f"Secret({len(self._value)} bytes)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is not pickled or copied")


@dataclass(frozen=True, slots=True)
class KeyPair:
    """Two parties' keys for one use, on the curve of their suite: our private scalar, the other's public x || y.

    peer_certificate, own_certificate: in DER, b"" where there is none.
    """

    private: Secret
    peer: bytes
    peer_certificate: bytes = field(default=b"", repr=False)
    own_certificate: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class MeterKeys:
    """What one meter is secured with (DLMS Green Book 9.2.3.3; guek and gak: 16 bytes, 32 in suite 2).

    system_title: the meter's 8 bytes; guek: global unicast encryption key; gak: global authentication key;
    password: the secret of LLS and of HLS 2, 3, 4 and 6; signing, agreement: of suites 1 and 2; master: what wraps
    other keys (KEK); broadcast: global broadcast encryption key (GBEK), which many meters share.
    """

    system_title: bytes
    guek: Secret
    gak: Secret
    password: Secret | None = None
    suite: int = 0
    signing: KeyPair | None = None
    agreement: KeyPair | None = None
    master: Secret | None = None
    broadcast: Secret | None = None

    def fingerprint(self, title: bytes) -> bytes:
        """Name the encryption key and the system title that forms nonces with it, without giving the key away."""
        return hmac.digest(self.guek.reveal(), b"grid-dcu counters 1: " + title, "sha256")[:16]


@dataclass(frozen=True, slots=True)
class NetworkKeys:
    """The secrets of one field-area network. psk: what a meter proves itself with; group: the group master keys by
    index (0, 1), None where there is none; active: the index in use."""

    psk: Secret
    group: tuple[Secret | None, Secret | None] = (None, None)
    active: int = 0
