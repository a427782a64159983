"""The layers of a frame on the line, for pictures: PHY, MAC header, adaptation, and LOADng or bootstrapping messages.

What is secured is told as the sender knows it; what applications say is explained elsewhere (`Trace.layers_of`).
"""

from collections.abc import Callable
from typing import Any

from dcu.errors import DecodeError
from neighbourhood.g3 import eap_psk, frames, lbp, lowpan, messages
from neighbourhood.g3.frames import Command, Kind
from neighbourhood.g3.phy import Modulation
from neighbourhood.g3.tables import BROADCAST

Layer = list[Any]  # a title, then rows of field and value

_EAP = ("the server's challenge", "the device's answer", "the server proves itself: keys", "the device confirms")
_CHANNEL = (("nonce", 4), ("tag", 16), ("protected", None))
_EAP_PARTS: tuple[tuple[tuple[str, int | None], ...], ...] = (
    (("RAND_S", 16), ("ID_S", None)),
    (("RAND_S", 16), ("RAND_P", 16), ("MAC_P", 16), ("ID_P", None)),
    (("RAND_S", 16), ("MAC_S", 16), *_CHANNEL),
    (("RAND_S", 16), *_CHANNEL),
)


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


def carried(frame: frames.Frame, payload: bytes) -> list[Layer]:
    """What a frame carries, deciphered: a beacon, a tone map response, or the adaptation layer's headers.

    They stand in an MSDU's first segment; of the others there is nothing to tell.
    """
    if frame.segment.number or not payload:
        return []
    if frame.kind == Kind.BEACON and len(payload) == 6:
        return [["beacon", [["route cost to the concentrator", int.from_bytes(payload[4:], "little")]]]]
    if frame.kind == Kind.COMMAND and payload[0] == Command.TONE_MAP_RESPONSE and len(payload) >= 4:
        _, modulation, tones, lqi = payload[:4]
        names = {each.value: each.name for each in Modulation}
        rows = [["modulation", names.get(modulation, str(modulation))], ["tone groups", f"{tones:06b}"], ["LQI", lqi]]
        return [["tone map response", rows]]
    return _adaptation(payload) if frame.kind == Kind.DATA else []


def _adaptation(msdu: bytes) -> list[Layer]:
    rows: list[list[Any]] = []
    if msdu[0] & 0xF0 == 0xB0:
        try:
            mesh = lowpan.decode_mesh(msdu)
        except DecodeError as error:
            return [["6LoWPAN", [["not decoded", str(error)]]]]
        rows += [["from", _short(mesh.origin)], ["to", _short(mesh.final)], ["hops left", mesh.hops]]
        if mesh.sequence is not None:
            rows.append(["broadcast", mesh.sequence])
        msdu = mesh.body
    size, kind = int.from_bytes(msdu[:2], "big") & 0x7FF, msdu[0] & 0xF8
    if msdu[:2] in (lowpan.LOADNG, lowpan.LBP):
        rows.append(["dispatch", "40 01, LOADng" if msdu[:2] == lowpan.LOADNG else "40 02, bootstrapping"])
    elif kind in (0xC0, 0xE0):
        rows.append(["fragment of", f"{size} bytes, tag {msdu[2:4].hex().upper()}"])
        rows.append(["begins at", 0 if kind == 0xC0 else 8 * msdu[4]] if len(msdu) > 4 else ["cut off", len(msdu)])
        if kind == 0xC0:
            rows.append(["compressed headers", f"IPHC {msdu[4:6].hex(' ').upper()}"])
    elif msdu[0] >> 5 == 3:
        rows.append(["compressed headers", f"IPHC {msdu[:2].hex(' ').upper()}"])
    else:
        rows.append(["dispatch", f"{msdu[0]:02X}, unknown"])
    return [["6LoWPAN", rows]]


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
        rows.append(["EAP-PSK message", f"{eap.step + 1} of 4: {_EAP[eap.step]}"])
        at = 0
        for name, size in _EAP_PARTS[eap.step]:
            rows.append([name, eap.body[at : None if size is None else at + size].hex()])
            at += size or 0
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
