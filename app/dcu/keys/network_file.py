"""The file in which a utility hands over a field network's pre-shared key, wrapped under a transport key.

TOML of the same kind as a shipment (`dcu.keys.shipment`):

    format = 1
    transport_key = "TK-2025-03"      # which one
    wrapping = "aes-kwp"
    psk = "…"                         # hexadecimal, wrapped by AES-KWP (RFC 5649): 16 bytes inside

The group keys are no business of the utility: the DCU makes them itself, and they never leave it.
"""

from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap_with_padding, aes_key_wrap_with_padding

from dcu import config
from dcu.credentials import Secret
from dcu.errors import ConfigError, KeysError
from dcu.keys.shipment import WRAPPING

FORMAT = 1
PSK_SIZE = 16
_MAX = 4096


class _File(msgspec.Struct, forbid_unknown_fields=True):
    format: int
    transport_key: str
    wrapping: str
    psk: str


def parse_network_file(text: str, where: str) -> bytes:
    """Return the wrapped key. Raises ConfigError, which never shows a secret."""
    if len(text) > _MAX:
        raise ConfigError(f"{where}: more than {_MAX} characters are no file of a network's key")
    file = config.convert(config.parse(text, where), _File, where)
    if file.format != FORMAT:
        raise ConfigError(f"{where}: key format: {file.format} is not known here; allowed: {FORMAT}")
    if file.wrapping != WRAPPING:
        raise ConfigError(f"{where}: key wrapping: allowed: {WRAPPING!r} (RFC 5649)")
    try:
        return bytes.fromhex(file.psk)
    except ValueError:
        raise ConfigError(f"{where}: key psk: hexadecimal digits of a key wrapped by {WRAPPING}") from None


def unwrapped(wrapped: bytes, transport_key: Secret) -> Secret:
    """Raises KeysError: another transport key, or a damaged file."""
    try:
        psk = aes_key_unwrap_with_padding(transport_key.reveal(), wrapped)
    except (InvalidUnwrap, ValueError):
        raise KeysError("psk: wrapped under another transport key, or the file is damaged") from None
    if len(psk) != PSK_SIZE:
        raise KeysError(f"psk: {PSK_SIZE} bytes belong inside")
    return Secret(psk)


def write(path: Path, transport_key_id: str, transport_key: Secret, psk: Secret) -> None:
    """Write such a file, as a utility would."""
    wrapped = aes_key_wrap_with_padding(transport_key.reveal(), psk.reveal())
    lines = [f"format = {FORMAT}", f'transport_key = "{transport_key_id}"', f'wrapping = "{WRAPPING}"']
    path.write_text("\n".join([*lines, f'psk = "{wrapped.hex()}"']) + "\n", encoding="utf-8")
