"""Couples the emulated modem to a ByteStream: in memory under virtual time, or a pseudo-terminal in real time.

The simulation has a clock of its own. Whoever bridges it to the event loop gives `enter`: it brings the simulation to
the loop's time, runs what it is given, and sees to it that the simulation goes on.
"""

import asyncio
import os
import tty
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from dcu.errors import LinkClosed
from dcu.link.serial import Port, SerialStream
from dcu.streams import ByteStream
from neighbourhood.g3.modem import Modem


class Enter(Protocol):
    def __call__(self, call: Callable[..., object], *args: Any) -> None: ...


async def serve(modem: Modem, stream: ByteStream, enter: Enter) -> None:
    """Until the other end closes the stream."""
    said: asyncio.Queue[bytes] = asyncio.Queue()
    modem.uart.say = said.put_nowait
    speaking = asyncio.create_task(_speak(stream, said))
    try:
        while data := await stream.read():
            enter(modem.feed, data)
    except LinkClosed:
        pass
    finally:
        modem.uart.say = lambda data: None
        speaking.cancel()
        await asyncio.gather(speaking, return_exceptions=True)


async def _speak(stream: ByteStream, said: asyncio.Queue[bytes]) -> None:
    while True:
        await stream.write(await said.get())


class Pty:
    """A pseudo-terminal at which the modem is: `path` is what the host opens as its serial port."""

    def __init__(self, link: Path | None = None) -> None:
        """Raises OSError."""
        master, self._held = os.openpty()  # held: a pseudo-terminal that nobody has open hangs up
        tty.setraw(self._held)
        os.set_blocking(master, False)
        self.path = os.ttyname(self._held)
        self.stream = SerialStream(Port(self.path), master, None)
        self.link = link
        if link is not None:
            link.unlink(missing_ok=True)
            link.symlink_to(self.path)

    async def close(self) -> None:
        await self.stream.close()
        os.close(self._held)
        if self.link is not None:
            self.link.unlink(missing_ok=True)
