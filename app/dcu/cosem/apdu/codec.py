"""encode and decode of the xDLMS APDUs (IEC 62056-5-3, A-XDR)."""

from dcu.cosem.apdu.types import Apdu


def encode(apdu: Apdu) -> bytes:
    """Raises ValueError where a field cannot be sent."""
    raise NotImplementedError


def decode(raw: bytes) -> Apdu:
    """Raises DecodeError."""
    raise NotImplementedError
