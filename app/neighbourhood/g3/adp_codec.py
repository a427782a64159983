"""How commands of the modem's host interface stand on the wire: a byte, and fields as the tables say, a letter a field.

Numbers are big-endian. Both directions are here for both kinds, since a test is a host, too.

Source: Microchip smartenergy_g3, ADP serialization.
"""

from dataclasses import fields
from typing import Any

from dcu.errors import DecodeError
from neighbourhood.g3 import adp

# b, h, i: 1, 2, 4 bytes; e: EUI-64; k: key; n: bytes after their length in 2; v: in 1; a: address after its size;
# g: the value of a GET; p: both ways of a path
REQUESTS: dict[type, tuple[int, str]] = {
    adp.Initialise: (10, "bb"),
    adp.Data: (11, "bbbn"),
    adp.Discovery: (12, "b"),
    adp.Start: (13, "h"),
    adp.Join: (14, "hhb"),
    adp.Leave: (15, ""),
    adp.Reset: (16, ""),
    adp.Set: (17, "ihv"),
    adp.Get: (18, "ih"),
    adp.RouteDiscovery: (20, "hb"),
    adp.PathDiscovery: (21, "hb"),
    adp.MacSet: (22, "ihv"),
    adp.MacGet: (23, "ih"),
    adp.PlainData: (24, "hbbbn"),
    adp.LbpSet: (60, "ihv"),
    adp.ForceRegister: (61, "ehhk"),
    adp.Kick: (62, "he"),
    adp.Rekey: (63, "heb"),
    adp.RekeyPhase: (64, "b"),
    adp.ActivateKey: (65, ""),
    adp.AssignShort: (66, "eh"),
}
REPORTS: dict[type, tuple[int, str]] = {
    adp.Status: (0, "bb"),
    adp.DataConfirm: (30, "bb"),
    adp.DataIndication: (31, "bn"),
    adp.NetworkStatus: (32, "haabbbb"),
    adp.DiscoveryConfirm: (33, "b"),
    adp.StartConfirm: (34, "b"),
    adp.JoinConfirm: (35, "bhh"),
    adp.LeaveConfirm: (36, "b"),
    adp.LeaveIndication: (37, ""),
    adp.ResetConfirm: (38, "b"),
    adp.SetConfirm: (39, "bih"),
    adp.GetConfirm: (40, "bihg"),
    adp.RouteConfirm: (43, "b"),
    adp.PathConfirm: (44, "bhhbp"),
    adp.MacSetConfirm: (45, "bih"),
    adp.MacGetConfirm: (46, "bihg"),
    adp.BufferIndication: (47, "b"),
    adp.DiscoveryIndication: (48, "hbhhb"),
    adp.PathRequestIndication: (49, ""),
    adp.RouteNotFound: (51, "hhhhhbbbbn"),
    adp.LbpSetConfirm: (70, "bih"),
    adp.JoinRequest: (71, "e"),
    adp.JoinComplete: (72, "eh"),
    adp.Left: (73, "h"),
}

NEIGHBOUR_TABLE = 0x10A
QUIRK = 18  # what a modem says that a row of its neighbour table is long: it counts 16 bytes in memory and two that it
# splits, where three are split: 19 follow

_SIZES = {"b": 1, "h": 2, "i": 4, "e": 8, "k": 16}
_HOP = "hbbbbb"


class UnknownCommand(DecodeError):
    """A command byte that no message has."""


def encode(message: Any) -> bytes:
    """Raises ValueError for what does not fit its field."""
    kind = type(message)
    command, layout = REPORTS.get(kind) or REQUESTS[kind]
    out = bytearray((command,))
    for letter, field in zip(layout, fields(message), strict=True):
        _put(out, letter, getattr(message, field.name))
    if kind is adp.MacGetConfirm and message.attribute == NEIGHBOUR_TABLE and message.value:
        out[8] = QUIRK
    return bytes(out)


def _put(out: bytearray, letter: str, value: Any) -> None:
    if letter in "bhi":
        out += _number(value, _SIZES[letter])
    elif letter in "ek":
        if len(value) != _SIZES[letter]:
            raise ValueError(f"{len(value)} bytes, not {_SIZES[letter]}")
        out += value
    elif letter in "nvg":
        out += _number(len(value), 2 if letter == "n" else 1) + value
    elif letter == "a":
        out += b"\x02" + _number(value, 2) if isinstance(value, int) else b"\x08" + value
    else:
        out += bytes(map(len, value))
        for hop in (*value[0], *value[1]):
            for part, field in zip(_HOP, fields(hop), strict=True):
                _put(out, part, getattr(hop, field.name))


def _number(value: int, size: int) -> bytes:
    try:
        return value.to_bytes(size, "big")
    except OverflowError:
        raise ValueError(f"{value} does not fit {size} bytes") from None


def decode_request(payload: bytes) -> Any:
    """Raises UnknownCommand, DecodeError; bytes after the last field are not minded, as the modem does not."""
    return _decode(_BY_REQUEST, payload)


def decode_report(payload: bytes) -> Any:
    """Raises UnknownCommand, DecodeError."""
    return _decode(_BY_REPORT, payload)


def _decode(kinds: dict[int, tuple[type, str]], payload: bytes) -> Any:
    if not payload or payload[0] not in kinds:
        raise UnknownCommand(f"no command {payload[0]}" if payload else "no command at all", 0)
    kind, layout = kinds[payload[0]]
    reader = _Reader(payload)
    return kind(*(reader.take(letter) for letter in layout))


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 1

    def take(self, letter: str) -> Any:
        if letter in "bhi":
            return self.number(_SIZES[letter])
        if letter in "ek":
            return self.cut(_SIZES[letter])
        if letter == "n":
            return self.cut(self.number(2))
        if letter == "v":
            return self.cut(self.number(1))
        if letter == "g":
            return self.value()
        return self.address() if letter == "a" else self.path()

    def cut(self, size: int) -> bytes:
        end = self.at + size
        if end > len(self.data):
            raise DecodeError(f"command {self.data[0]}: {end - len(self.data)} bytes are missing", self.at)
        begin, self.at = self.at, end
        return self.data[begin:end]

    def number(self, size: int) -> int:
        return int.from_bytes(self.cut(size), "big")

    def value(self) -> bytes:
        """None follows a status other than success. What follows is taken whole: see QUIRK."""
        self.number(1)
        return self.cut(len(self.data) - self.at)

    def address(self) -> int | bytes:
        size = self.number(1)
        if size not in (2, 8):
            raise DecodeError(f"an address of {size} bytes", self.at)
        return self.number(2) if size == 2 else self.cut(8)

    def path(self) -> tuple[tuple[adp.Hop, ...], tuple[adp.Hop, ...]]:
        there, back = self.number(1), self.number(1)
        hops = tuple(adp.Hop(*map(self.take, _HOP)) for _ in range(there + back))
        return hops[:there], hops[there:]


_BY_REQUEST = {command: (kind, layout) for kind, (command, layout) in REQUESTS.items()}
_BY_REPORT = {command: (kind, layout) for kind, (command, layout) in REPORTS.items()}
