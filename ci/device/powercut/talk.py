"""Runs on the device: has the collector work, and tells the host what it promised to keep.

A line of JSON is written after the collector has answered: what it names is durable by then. The host puts it into the
recording as a mark, so that every later state of the disks is held to it.
"""

import asyncio
import json
import socket
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

from dcu.control.client import ControlClient, Event
from dcu.errors import DcuError

SOCKET = Path("/run/dcu/control.sock")


async def main(host: str, port: int, seconds: float) -> None:
    line = socket.create_connection((host, port))

    def tell(what: str, **facts: Any) -> None:
        line.sendall(json.dumps({"what": what, **facts}).encode() + b"\n")

    client = await ControlClient.connect(SOCKET)
    await client.subscribe("reading")
    told: list[Event] = []
    audited: Counter[str] = Counter()

    async def listen() -> None:
        async for event in client.events():
            told.append(event)

    listening = asyncio.create_task(listen())
    end = time.monotonic() + seconds
    names: list[str] = []
    while not names:  # until they are imported
        await asyncio.sleep(0.5)
        names = [meter["name"] for meter in await client.call("meters")]
    tell("meters", names=names)
    turn = 0
    while time.monotonic() < end:
        turn += 1
        before = list(told)
        await client.call("flush")
        del told[: len(before)]
        if before:
            tell("readings", told=[[e.data["meter"], e.data["first"], e.data["last"], e.data["count"]] for e in before])
        name, command = names[turn % len(names)], ("disconnect", "reconnect")[turn // len(names) % 2]
        try:
            await client.call("command", meter=name, command=command)
            audited[f"{name} {command}"] += 1
            tell("audited", counts=audited)
        except DcuError as error:
            print(f"{command} {name}: {error}", flush=True)  # noqa: T201
        await client.call("poll")
    tell("talked", turns=turn)
    listening.cancel()
    with suppress(asyncio.CancelledError):
        await listening
    await client.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))
