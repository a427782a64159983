"""What `neighbourhood meter` says at its start: how its meter is reached, and a command to try."""

import json
from pathlib import Path
from typing import Any


def reached(fleet: Any, auth: str, keys: Path | None, *, as_json: bool) -> str:
    """In words, or as JSON. keys: the keys file whose name is part of the command."""
    place, only = fleet.place(fleet.meters[0]), fleet.meters[0]
    title = only.keys(1).system_title.hex()
    if as_json:
        return json.dumps(
            {"ready": True, "name": only.serial, "host": place.host, "tcp": place.tcp, "udp": place.udp,
             "address": place.address, "line": fleet.wires.path if fleet.wires else None,
             "auth": auth, "client": 1, "server": 1, "system_title": title}
        )  # fmt: skip
    where, option = _way(fleet, place)
    if fleet.wires and fleet.wires.wiring.head == "C":
        return f"meter {only.serial}, {where}, refuses HDLC. Try:\n  dcu readout {option}\nCtrl-C ends"
    with_keys = f" --keys {keys}" if keys and auth != "none" else ""
    with_keys += " --ciphered" if only.habits.ciphered else ""
    with_keys += " --sn" if only.habits.short else ""
    with_keys += _protection(only.habits)
    return (
        f"meter {only.serial}, {where}, client 1, server 1, authentication {auth}, system title {title};\n"
        f"public client 16 without authentication. Try:\n"
        f"  dcu read {option} --client 1 --auth {auth}{with_keys} '1-0:1.8.0*255'\n"
        f"Ctrl-C ends"
    )


def _protection(habits: Any) -> str:
    """The options that say how client 1's services are ciphered and signed."""
    from dcu.collect.associations import FRAMINGS

    (name,) = (name for name, framing in FRAMINGS.items() if framing is habits.framing)
    return f"{'' if name == 'service' else f' --protection {name}'}{' --general-signing' if habits.signed else ''}"


def _way(fleet: Any, place: Any) -> tuple[str, str]:
    """How it is reached, in words and as an option of `dcu`."""
    if fleet.wires:
        physical = fleet.wires.wiring.first
        if fleet.wires.wiring.head == "C":
            return f"{fleet.wires.path} (IEC 62056-21)", f"--serial {fleet.wires.wiring.link}"
        return f"{fleet.wires.path} (HDLC, physical address {physical})", (
            f"--serial {fleet.wires.wiring.link or fleet.wires.path} --physical {physical}"
            f"{' --mode-e' if fleet.wires.wiring.head else ''}"
        )
    framing = "HDLC" if place.hdlc else "wrapper"
    ways = [(kind, f"{place.host}:{port}") for kind, port in (("tcp", place.tcp), ("udp", place.udp)) if port]
    where = " and ".join(f"{kind.upper()} {at}" for kind, at in ways)
    return f"{where} ({framing})", f"--{ways[0][0]} {ways[0][1]}{' --framing hdlc' if place.hdlc else ''}"
