"""The layers of a frame on the line, for pictures: PHY, MAC header, and LOADng or bootstrapping messages.

What is secured is told as the sender knows it; what applications say is explained elsewhere (`Trace.layers_of`).
"""

from collections.abc import Callable
from typing import Any

from dcu.errors import DecodeError
from neighbourhood.g3 import eap_psk, frames, lbp, messages
from neighbourhood.g3.phy import Modulation
from neighbourhood.g3.tables import BROADCAST

Layer = list[Any]  # a title, then rows of field and value

_EAP = ("the server's challenge", "the device's answer", "the server proves itself: keys", "the device confirms")


def line(raw: bytes, modulation: Modulation, seconds: float) -> list[Layer]:
    """PHY and MAC of a frame as it was sent."""
    layers: list[Layer] = [
        ["PHY", [["modulation", modulation.name], ["bytes", len(raw)], ["on the air", f"{seconds * 1000:.1f} ms"]]]
    ]
    try:
        found = frames.decode(raw).frame
    except DecodeError as error:
        return [*layers, ["MAC", [["not decoded", str(error)]]]]
    rows: list[list[Any]] = [
        ["frame", frames.Kind(found.kind).name.lower()],
        ["sequence", found.sequence],
        ["PAN", f"{found.pan:04X}"],
        ["destination", _address(found.destination)],
        ["source", "none" if found.source is None else _address(found.source)],
        ["segment", f"{found.segment.number + 1}{', the last' if found.segment.last else ', more follow'}"],
        ["acknowledgement", "wanted" if found.wants_ack else "not wanted"],
    ]
    if found.segment.tone_map:
        rows.append(["tone map", "asked for"])
    if found.key is None:
        rows.append(["security", "none"])
    else:
        rows += [["security", "ENC-MIC-32"], ["key", found.key], ["frame counter", found.counter]]
    return [*layers, ["MAC", rows]]


def message(kind: str, data: bytes) -> list[Layer]:
    """A bootstrapping message (`LBP`) or one of LOADng, as it follows its dispatch; nothing for what is neither."""
    explain: Callable[[bytes], list[Layer]] | None = _bootstrapping if kind == "LBP" else _ROUTING.get(kind)
    if explain is None or not data:
        return []
    try:
        return explain(data)
    except DecodeError as error:
        return [[kind, [["not decoded", str(error)]]]]


def _bootstrapping(data: bytes) -> list[Layer]:
    found = lbp.decode(data)
    layers: list[Layer] = [
        ["LBP", [["message", found.code.name.replace("_", " ")], ["device", found.eui64.hex(":")],
                 ["medium", "radio" if found.media else "power line"], ["bytes", len(found.data)]]]
    ]  # fmt: skip
    if (packet := found.eap) is None:
        return layers
    eap = eap_psk.decode(packet)
    rows: list[list[Any]] = [["code", eap.code.name.lower()], ["identifier", eap.identifier]]
    if eap.step is not None:
        rows += [["EAP-PSK message", f"{eap.step + 1} of 4: {_EAP[eap.step]}"], ["body", eap.body.hex()]]
    return [*layers, ["EAP", rows]]


def _routing(data: bytes) -> list[Layer]:
    found = messages.decode(data)
    rows: list[list[Any]] = [["destination", _short(found.destination)], ["originator", _short(found.originator)]]
    match found:
        case messages.Rreq():
            rows += [["sequence", found.sequence], ["cost so far", found.cost], ["weak links", found.weak],
                     ["hops", f"{found.hops} of {found.hops + found.hop_limit} at most"]]  # fmt: skip
            if found.repair or found.unicast:
                rows.append(["flags", " ".join(["repair"] * found.repair + ["unicast"] * found.unicast)])
        case messages.Rerr():
            rows += [["unreachable", _short(found.unreachable)], ["error", found.code]]
        case messages.Preq() | messages.Prep():
            for number, hop in enumerate(found.hops, 1):
                rows.append([f"hop {number}", str(hop)])
        case messages.Rlc():
            rows.append(["cost", "asked for" if found.cost is None else found.cost])
    return [[f"LOADng {messages.kind(found).name}", rows]]


_ROUTING = {kind.name: _routing for kind in messages.Kind}


def _address(address: frames.Address) -> str:
    return _short(address) if isinstance(address, int) else address.hex(":")


def _short(short: int) -> str:
    return "everybody" if short == BROADCAST else f"{short:04X}"
