"""What `neighbourhood meter` says at its start: how its meter is reached, and a command to try."""

import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dcu.link.tcp import address


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
    ciphers = only.habits.ciphered or auth in ("gmac", "ecdsa")
    with_keys = f" --keys {shlex.quote(str(keys))}" if keys else ""
    more = "".join(f" {each}" for each in _options(only.habits))
    ciphered = " --ciphered" if only.habits.ciphered else ""
    tried = [f"--client 1 --auth {auth}{with_keys if ciphers or auth != 'none' else ''}{ciphered}{more}"]
    if only.habits.pre_established:  # its answers are held against the counter that the one above has seen
        tried.append(f"--client 102 --pre-established{f'{with_keys} --ciphered' if ciphers else ''}{more}")
    return "\n".join(
        (
            f"meter {only.serial}, {where}, client 1, server 1, authentication {auth}, system title {title};",
            "public client 16 without authentication. Try:",
            *(f"  dcu read {option} {who} '1-0:1.8.0*255'" for who in tried),
            "Ctrl-C ends",
        )
    )


def _options(habits: Any) -> Iterator[str]:
    """What says how client 1 is spoken to, beside its authentication and its keys."""
    from dcu.collect.associations import FRAMINGS

    (protection,) = (name for name, framing in FRAMINGS.items() if framing is habits.framing)
    for option, wanted in (
        ("--sn", habits.short),
        ("--general-blocks", habits.general_blocks),
        (f"--protection {protection}", protection != "service"),
        ("--general-signing", habits.signed),
    ):
        if wanted:
            yield option


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
    ways = [(kind, address(place.host, port)) for kind, port in (("tcp", place.tcp), ("udp", place.udp)) if port]
    where = " and ".join(f"{kind.upper()} {at}" for kind, at in ways)
    return f"{where} ({framing})", f"--{ways[0][0]} {ways[0][1]}{' --framing hdlc' if place.hdlc else ''}"
