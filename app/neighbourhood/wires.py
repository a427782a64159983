"""A serial line of the street: meters on an RS-485 bus that speak HDLC, on a pseudo-terminal or on a real port.

The first meter has the physical address that the street says, the next has the next. `pace` makes the line as slow as
its speed: the meter answers when the request would have come in, and the answer takes its time; without, the line is as
fast as the machine. `noise` flips that share of the bytes, both ways, from a seed.
"""

import asyncio
import contextlib
import os
import termios
import tty
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Literal

from dcu.errors import ConfigError, LinkClosed
from dcu.link.hdlc_listen import Talks
from dcu.link.hdlc_multidrop import Multidrop
from dcu.link.hdlc_server import Station, Terms
from dcu.link.serial import BAUDS, Port, SerialStream, open_serial
from neighbourhood import truth
from neighbourhood.meter import Meter
from neighbourhood.optical import Head, State

if TYPE_CHECKING:
    from neighbourhood.fleet import Fleet

REACTION = 0.3  # seconds that the head waits before it speaks at another speed
_TOGETHER = 0.02  # seconds of a paced line whose bytes come in at once, as a port hands them over
FIRST = 17  # physical addresses below 16 are reserved (IEC 62056-46, 6.4.2.3)

_SPEEDS = {getattr(termios, f"B{baud}"): baud for baud in BAUDS}


@dataclass(frozen=True, slots=True)
class Wiring:
    """How a street's line is set up. Either `link` (a name for the pseudo-terminal) or `device`.

    name: what the collector calls the line: it stands in the meters' addresses
    head: "E" or "C": the (one) meter is behind an optical head, and speaks HDLC only after a sign-on, or not at all
    pace: seconds a byte, 0: as fast as it goes; turnaround: seconds from a request to its answer
    """

    link: Path | None = None
    device: str = ""
    name: str = "line"
    first: int = FIRST
    pace: float = 0.0
    turnaround: float = 0.0
    noise: float = 0.0
    echo: bool = False
    head: Literal["", "E", "C"] = ""


class Wires:
    """The line at work. `listen()` opens it, `close()` ends it."""

    def __init__(self, fleet: "Fleet", wiring: Wiring) -> None:
        self.wiring = wiring
        self._stations = {wiring.first + index: _Drop(fleet, meter, self).station(wiring.first + index)
                          for index, (meter, *_) in enumerate(fleet.physical)}  # fmt: skip
        self.bus = Multidrop(self._stations)
        self.path = ""
        self._random = Random(fleet.meters[0].seed)  # noqa: S311 - noise
        self._stream: SerialStream | None = None
        self._held: int | None = None  # our hold on the far end: a pseudo-terminal that nobody holds hangs up
        self._serving: asyncio.Task[None] | None = None
        self._free_at = 0.0
        self._out: asyncio.Queue[tuple[float, int, bytes]] = asyncio.Queue()
        self.head: Head | None = None
        self.left = False  # an HDLC link has ended: with the last one the head waits for a sign-on
        if wiring.head:
            if len(fleet.physical) > 1 or wiring.link is None:
                raise ValueError("an optical head is of one meter, on a pseudo-terminal")
            self.head = _head(self, fleet.meters[0])

    def address(self, index: int) -> str:
        return f"hdlc+serial://{self.wiring.name}/{self.wiring.first + index}"

    async def listen(self) -> None:
        """Raises ConfigError, OSError or LinkError where the line cannot be opened."""
        wiring = self.wiring
        if wiring.link is None:
            self._stream = await open_serial(Port(wiring.device))
            self.path = wiring.device
        else:
            master, self._held = os.openpty()
            tty.setraw(self._held)
            os.set_blocking(master, False)
            self.path = os.ttyname(self._held)
            self._stream = SerialStream(Port(self.path), master, None)
            self._name(wiring.link)
        self._serving = asyncio.create_task(self._serve())

    async def close(self) -> None:
        if self._serving is not None:
            self._serving.cancel()
            await asyncio.gather(self._serving, return_exceptions=True)
            self._serving = None
        if self._stream is not None:
            await self._stream.close()
            self._stream = None
        if self._held is not None:
            os.close(self._held)
            self._held = None
            assert self.wiring.link
            if self.wiring.link.is_symlink() and str(self.wiring.link.readlink()) == self.path:
                self.wiring.link.unlink()

    def _name(self, link: Path) -> None:
        """Make the link that names the pseudo-terminal, in place of one that was left. Raises ConfigError."""
        try:
            if link.is_symlink():
                link.unlink()
            link.symlink_to(self.path)
        except FileExistsError:
            raise ConfigError(f"--pty {link}: there is such a file: name another, a link is made there") from None
        except OSError as error:
            raise ConfigError(f"--pty {link}: cannot be made: {error.strerror}") from None

    def say(self, data: bytes, speed: int = 0) -> None:
        """Put bytes on the line once it is free; speed: at which they go out, 0: at whichever is set."""
        if not data:
            return
        wiring, now = self.wiring, asyncio.get_running_loop().time()
        self._free_at = max(self._free_at, now) + wiring.turnaround
        spoilt, size = self._spoilt(data), max(1, int(_TOGETHER / wiring.pace)) if wiring.pace else len(data)
        for at in range(0, len(data), size):  # as they come in on a line: not all of an answer at its end
            piece = spoilt[at : at + size]
            self._free_at += len(piece) * wiring.pace
            self._out.put_nowait((self._free_at, speed, piece))

    async def _serve(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._hear())
            group.create_task(self._speak())

    async def _hear(self) -> None:
        assert self._stream is not None
        loop = asyncio.get_running_loop()
        with contextlib.suppress(LinkClosed):
            while True:
                deadline = self.bus.deadline
                try:
                    async with asyncio.timeout_at(deadline):
                        data = await self._stream.read()
                except TimeoutError:
                    self.say(self.bus.tick(max(deadline or 0.0, loop.time())))
                    continue
                self._free_at = max(self._free_at, loop.time()) + len(data) * self.wiring.pace
                if self.wiring.echo:
                    await self._stream.write(data)
                self._answer(self._spoilt(data), loop.time())

    async def _speak(self) -> None:
        assert self._stream is not None
        loop = asyncio.get_running_loop()
        with contextlib.suppress(LinkClosed):
            while True:
                at, speed, data = await self._out.get()
                await asyncio.sleep(max(0.0, at - loop.time()))
                if speed and speed != self._speed():
                    data = bytes(byte ^ 0x55 for byte in data)
                await self._stream.write(data)

    def _answer(self, data: bytes, now: float) -> None:
        head = self.head
        if head is None:
            self.say(self.bus.feed(data, now))
            return
        before = head.speed
        answer = head.feed(data, self._speed(), now)
        if head.state is State.READ_OUT and head.speed != before:
            self._free_at = max(self._free_at, now) + REACTION
            before = head.speed
        self.say(answer, before)
        if self.left:
            self.left = False
            if not self._linked:
                head.sign_off()

    @property
    def _linked(self) -> bool:
        """Whether any link stands: an SNRM ends one, and begins the next."""
        return any(link.connected for station in self._stations.values() for link in station.links.values())

    def _speed(self) -> int:
        """At which the port at the other end is set."""
        assert self._held is not None
        return _SPEEDS.get(termios.tcgetattr(self._held)[4], 0)

    def _spoilt(self, data: bytes) -> bytes:
        if not self.wiring.noise:
            return data
        random, share = self._random, self.wiring.noise
        return bytes(byte ^ 1 << random.randrange(8) if random.random() < share else byte for byte in data)


class _Drop:
    """One meter at the line. A `listen.Peer`; each client's association lives as long as its HDLC link."""

    def __init__(self, fleet: "Fleet", meter: Meter, wires: Wires) -> None:
        self._wires = wires
        self._talks = Talks(lambda: fleet.talk(meter, self))
        self._station: Station | None = None
        self.local = self.remote = (wires.wiring.name, 0)

    def station(self, physical: int) -> Station:
        terms = Terms(echo=self._wires.wiring.echo)
        self._station = Station(self._talks, physical=physical, terms=terms, ended=self._ended)
        return self._station

    def push(self, server_sap: int, client_sap: int, apdu: bytes) -> None:
        assert self._station is not None
        self._wires.say(self._station.push(server_sap, client_sap, apdu))

    def close(self) -> None:
        assert self._station is not None
        self._station.links.clear()
        self._talks.clear()

    def _ended(self, client_sap: int, server_sap: int) -> None:
        self._talks.ended(client_sap, server_sap)
        self._wires.left = True


def _head(wires: Wires, meter: Meter) -> Head:
    """What the display shows, line by line, is what a read-out has."""

    def text() -> bytes:
        shown = meter.registers(meter.now())
        lines = [f"0.0.0({meter.serial})", f"1.8.0({shown.active_import / 1000:010.3f}*kWh)"]
        lines.append(f"2.8.0({shown.active_export / 1000:010.3f}*kWh)")
        lines.append(f"32.7.0({truth.voltage(meter.seed, meter.number, meter.now()) / 10:05.1f}*V)")
        return "\r\n".join((*lines, "!", "")).encode()

    def hear(data: bytes) -> bytes:
        return wires.bus.feed(data, asyncio.get_running_loop().time())

    return Head(meter.serial.removeprefix("GDM"), text, hear, only_c=wires.wiring.head == "C")
