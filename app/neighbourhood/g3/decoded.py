"""What an application packet is, for pictures: its kind (GET, RESPONSE, PUSH…), and its layers down to the value.

The simulation has the meters' keys, so it can look inside: IPv6, UDP, wrapper, ciphering, and the xDLMS service with
its attribute and value. Nothing here is on the way of a reading.
"""

import ipaddress
from pathlib import Path
from typing import Any

from dcu.cli.capture import Captured
from dcu.cli.decoding import Decoder
from dcu.cli.shown import Shown
from dcu.cosem import gbt, security
from dcu.errors import DcuError, DecodeError
from dcu.keys.keysfile import KeysFile
from dcu.link import wrapper
from neighbourhood.fleet import Fleet
from neighbourhood.g3.homes import unpacked
from neighbourhood.meter import CONCENTRATOR, Meter

Layer = list[Any]  # title, then rows of field and value
KINDS = {
    0x60: "AARQ", 0x61: "AARE", 0x62: "RLRQ", 0x63: "RLRQ",
    0xC0: "GET", 0xC8: "GET", 0xD0: "GET", 0xC4: "RESPONSE", 0xCC: "RESPONSE", 0xD4: "RESPONSE",
    0xC1: "SET", 0xC9: "SET", 0xD1: "SET", 0xC5: "RESPONSE", 0xCD: "RESPONSE", 0xD5: "RESPONSE",
    0xC3: "ACTION", 0xCB: "ACTION", 0xD3: "ACTION", 0xC7: "RESPONSE", 0xCF: "RESPONSE", 0xD7: "RESPONSE",
    0x0F: "PUSH", 0xDB: "PUSH", 0xD8: "RESPONSE",
}  # fmt: skip
_TELLING = ("utc", "local", "name", "date_time", "date", "time", "text", "value")  # of a value, what says most
MOST_ROWS = 120  # of one layer: a day's profile in four registers


def kind_of(packet: bytes) -> str:
    """By the APDU's tag, which ciphering leaves in the clear."""
    try:
        apdu = wrapper.decode(unpacked(packet)[2]).apdu
    except DecodeError:
        return "DATA"
    return KINDS.get(apdu[0], "DATA") if apdu else "DATA"


class Layers:
    """`of(packet)`: layers of an IPv6 packet. homes: by short address, as they are now."""

    def __init__(self, fleet: Fleet, client_title: bytes) -> None:
        self._fleet = fleet
        self._client_title = client_title
        self._decoders: dict[int, Decoder] = {}
        self.home_of: Any = lambda short: None

    def of(self, packet: bytes) -> list[Layer]:
        try:
            source_port, port, payload = unpacked(packet)
            frame = wrapper.decode(payload)
        except DecodeError:
            return [["packet", [["bytes", packet.hex()]]]]
        source, destination = (int.from_bytes(packet[at : at + 2], "big") for at in (22, 38))
        layers: list[Layer] = [
            ["IPv6", [["source", _ip(packet[8:24])], ["destination", _ip(packet[24:40])], ["bytes", len(packet)]]],
            ["UDP", [["source port", source_port], ["destination port", port]]],
            [
                "DLMS wrapper",
                [["source", frame.source], ["destination", frame.destination], ["bytes", len(frame.apdu)]],
            ],
        ]
        home = self.home_of(destination or source)
        if home is None or not 1 <= home <= len(self._fleet.meters):
            return layers
        return layers + self._apdu(home, frame.apdu, from_meter=destination == 0)

    def _apdu(self, home: int, apdu: bytes, *, from_meter: bool) -> list[Layer]:
        meter = self._fleet.meters[home - 1]
        decoder = self._decoders.get(home)
        if decoder is None:
            decoder = self._decoders[home] = Decoder(_keys(meter, self._client_title))
        try:
            found = decoder.take(Captured(apdu, {}, frozenset((meter.serial, "concentrator"))))
            if found is None:
                return _piece(apdu)
            shown = Shown().decoded(found)
        except DcuError as error:
            return [["APDU", [["not decoded", str(error)], ["bytes", apdu.hex()]]]]
        layers: list[Layer] = []
        protection, plain = shown.get("security"), shown.get("apdu")
        if isinstance(protection, dict):
            layers.append([str(protection.get("framing", "ciphering")), _rows(protection)])
        if isinstance(plain, dict):
            layers.append([str(plain.get("service", "xDLMS")), _rows(plain)[:MOST_ROWS]])
        return layers


def _piece(apdu: bytes) -> list[Layer]:
    """A block that is not the last: what stands in the clear. Raises DecodeError."""
    layers: list[Layer] = []
    if security.is_ciphered(apdu):
        outside = security.parse(apdu)
        rows = [["protection", str(outside.control.protection)], ["invocation counter", outside.counter]]
        layers.append(["ciphering", rows])
    what = "general-block-transfer" if apdu[0] == gbt.TAG else "get-response-with-datablock"
    layers.append([what, [["block", "more follow: the value stands with the last one"], ["bytes", len(apdu)]]])
    return layers


def _keys(meter: Meter, client_title: bytes) -> KeysFile:
    keys = meter.keys(CONCENTRATOR)
    return KeysFile(Path("street"), None, meter.system_title, keys.guek, keys.gak, keys.suite, client_title, ())


def _rows(table: dict[str, Any]) -> list[list[str]]:
    rows: list[list[str]] = []
    for name, value in table.items():
        if name not in ("service", "framing"):
            _flatten(name, value, rows)
    return rows


def _flatten(name: str, value: Any, rows: list[list[str]]) -> None:
    """Nested values as lines: a row of a profile is one."""
    if isinstance(value, dict) and set(value) <= {"type", "value", "obis", "name", "date_time", "text"}:
        meaning = value.get("name") or value.get("date_time") or value.get("text")
        inner = value.get("value")
        if isinstance(inner, list):
            if all(isinstance(each, dict) and not isinstance(each.get("value"), list) for each in inner):
                rows.append([name, ", ".join(_text(each) for each in inner)])
                return
            for number, each in enumerate(inner, 1):
                _flatten(f"{name} {number}", each, rows)
        else:
            rows.append([name, _text(inner) + (f" ({_text(meaning)})" if meaning else "")])
    elif isinstance(value, dict):
        for key, each in value.items():
            _flatten(f"{name}.{key}" if name else key, each, rows)
    elif isinstance(value, list) and value and all(isinstance(each, str) for each in value):
        rows.append([name, ", ".join(value)])
    elif isinstance(value, list):
        for number, each in enumerate(value, 1):
            _flatten(f"{name} {number}", each, rows)
    elif value is not None:
        rows.append([name, str(value)])


def _text(value: Any) -> str:
    if isinstance(value, dict):
        for key in _TELLING:
            if value.get(key) not in (None, ""):
                return _text(value[key])
        return "null"
    if isinstance(value, list):
        return ", ".join(_text(each) for each in value)
    return "null" if value is None else str(value)


def _ip(raw: bytes) -> str:
    return str(ipaddress.IPv6Address(raw))
