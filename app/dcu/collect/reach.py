"""How a meter is reached, as its registration and a shipment write it.

    tcp://HOST:PORT  udp://HOST:PORT                          the DLMS wrapper (IEC 62056-47)
    hdlc+tcp://HOST:PORT/PHYSICAL  hdlc+udp://HOST:PORT/…     HDLC, to a serial server or a modem
    hdlc+serial://LINE/PHYSICAL                               HDLC on the serial line of that name ([[medium]])
    hdlc+serial://LINE/PHYSICAL@NUMBER                        the same, after a sign-on to the meter with that number
    g3://EUI64                                                the wrapper, over a G3-PLC network ([[medium]], modem)

PHYSICAL is the meter's lower HDLC address; it is left out (with its slash) where the meter has none. NUMBER is its
device address of IEC 62056-21, where several meters share a line with `mode_e`. Behind any of them `#SAP` says which
logical device of the meter is meant, where it is not the one that its family names.
"""

import re
from dataclasses import dataclass

from dcu.errors import ConfigError
from dcu.fan.base import parse_eui64
from dcu.link.hdlc import ALL, Address

SERIAL = "hdlc+serial"
G3 = "g3"
_SCHEMES = {"tcp": (False, "tcp"), "udp": (False, "udp"), "hdlc+tcp": (True, "tcp"), "hdlc+udp": (True, "udp")}
_ALL, _ALL_WIDE = ALL[2], ALL[4]
HDLC_CLIENTS = 0x7F - 1
NUMBER = re.compile(r"[0-9A-Za-z]{1,32}")


@dataclass(frozen=True, slots=True)
class Reach:
    """An address in parts. carrier: "tcp", "udp", "serial" or "g3"; line: the medium's name where it is serial.

    number: its IEC 62056-21 device address; logical: the logical device, None: its family's
    """

    hdlc: bool
    carrier: str
    host: str = ""
    port: int = 0
    line: str = ""
    physical: int | None = None
    eui64: bytes = b""
    number: str = ""
    logical: int | None = None

    @classmethod
    def parse(cls, written: str) -> "Reach":
        """Raises ConfigError."""
        scheme, _, rest = written.partition("://")
        rest, hash_, sap = rest.partition("#")
        place, slash, physical = rest.partition("/")
        logical = _logical(written, sap) if hash_ else None
        if scheme == SERIAL and place:
            physical, at, number = physical.partition("@")
            if at and not NUMBER.fullmatch(number):
                raise ConfigError(f"{written}: behind @ stands a meter's number, 1 to 32 letters and digits")
            bare = bool(at) and not physical
            lower = None if bare else _physical(written, slash, physical)
            return cls(True, "serial", line=place, physical=lower, number=number, logical=logical)
        if scheme == G3:
            return cls(False, G3, eui64=parse_eui64(rest), logical=logical)
        if scheme not in _SCHEMES or (where := endpoint(place)) is None:
            raise ConfigError(f"{written}: no address of a meter: {ALLOWED}")
        hdlc, carrier = _SCHEMES[scheme]
        if slash and not hdlc:
            raise ConfigError(f"{written}: the wrapper has no physical address: leave /{physical} out")
        return cls(hdlc, carrier, *where, physical=_physical(written, slash, physical), logical=logical)


def physical_part(written: str) -> str:
    """An address without its logical device: what is one meter's, and takes one exchange at a time."""
    return written.partition("#")[0]


ALLOWED = (
    "tcp://HOST:PORT, udp://HOST:PORT, hdlc+tcp://HOST:PORT/PHYSICAL, hdlc+udp://…, hdlc+serial://LINE/PHYSICAL "
    "or g3://EUI64"
)


def _physical(written: str, slash: str, text: str) -> int | None:
    if not slash:
        return None
    if not text.isdecimal() or len(text) > 5 or not 1 <= int(text) < _ALL_WIDE:
        raise ConfigError(f"{written}: the physical address is a number, 1..{_ALL_WIDE - 1}")
    return int(text)


def _logical(written: str, text: str) -> int:
    if not text.isdecimal() or len(text) > 5 or not 1 <= int(text) <= 0xFFFF:
        raise ConfigError(f"{written}: behind # stands the SAP of a logical device, 1..65535")
    return int(text)


def every_meter(sap: int, size: int = 0) -> Address:
    """The logical device `sap` of all meters on a line, in `size` bytes (0: two). Raises ConfigError."""
    if size == 1:
        raise ConfigError("an HDLC address of one byte has no part for all meters: hdlc.address_size is 2 or 4")
    size = max(size, server_address(sap, 1, size).size)
    return Address(sap, ALL[size], size)


def client_address(sap: int) -> Address:
    """Raises ConfigError."""
    if not 1 <= sap <= HDLC_CLIENTS:
        raise ConfigError(f"client {sap}: over HDLC it is 1..{HDLC_CLIENTS}")
    return Address(sap)


def server_address(sap: int, physical: int | None, size: int = 0) -> Address:
    """The address of a logical device in `size` bytes, 0: the fewest that hold it. Raises ConfigError."""
    least = 1 if physical is None and sap < _ALL else 2 if max(sap, physical or 0) < _ALL else 4
    if size and size < least:
        raise ConfigError(f"HDLC address {sap}/{physical or 0} does not fit {size} bytes (hdlc.address_size)")
    if sap >= _ALL_WIDE:
        raise ConfigError(f"server {sap}: over HDLC it is 1..{_ALL_WIDE - 1}")
    return Address(sap, physical or 0, size or least)


def endpoint(written: str) -> tuple[str, int] | None:
    """Host and port of `HOST:PORT`, an IPv6 host in brackets; None for anything else."""
    host, colon, port = written.rpartition(":")
    if not colon or not host or not port.isdecimal() or len(port) > 5 or not 0 <= int(port) <= 0xFFFF:
        return None
    if host.startswith("[") and host.endswith("]"):
        return host[1:-1], int(port)
    return None if ":" in host else (host, int(port))
