"""A street of meters in one process, served over the wrapper (IEC 62056-47) on TCP and UDP.

Each meter has its own port, or its own loopback address with the registered port 4059. A meter costs its name until
somebody talks to it; a session lives as long as its connection, what it heard (invocation counters) as long as the
street.
"""

import asyncio
import ipaddress
import os
import socket
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from dcu.cosem.server import ServerSession
from dcu.errors import AuthenticationFailed, CounterReplayed, TagMismatch
from dcu.link.hdlc_listen import HdlcServer, serve_hdlc_tcp
from dcu.link.hdlc_udp import HdlcUdpServer, serve_hdlc_udp
from dcu.link.listen import Handler, Peer, Server, serve_tcp, serve_udp
from dcu.link.tcp import address
from dcu.streams import Sent
from neighbourhood.device import Device
from neighbourhood.faults import Fault, Faulty, Mischief
from neighbourhood.heard import Reuse
from neighbourhood.meter import Event, Habits, Meter
from neighbourhood.wires import Wires, Wiring

DLMS_PORT = 4059  # IANA: dlms/cosem
Serve = Callable[[str, int, Callable[[Peer], Handler | None]], Awaitable[Server | HdlcServer | HdlcUdpServer]]
WRAPPER: tuple[Serve, Serve] = (serve_tcp, serve_udp)
HDLC: tuple[Serve, Serve] = (serve_hdlc_tcp, serve_hdlc_udp)

REMEMBERED = 1_000  # attempts to reuse a counter: each is one too many, a million say no more


@dataclass(slots=True)
class StreetTime:
    """True time in the street: it starts at `start` and runs `speed` times as fast as the machine's."""

    start: float
    zero: float
    clock: Callable[[], float]
    speed: float = 1.0

    def __call__(self) -> int:
        return int(self.start + (self.clock() - self.zero) * self.speed)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a meter is reached; a port of None: not that way, of 0: any that is free."""

    host: str
    tcp: int | None
    udp: int | None
    hdlc: bool = False
    wired: str = ""  # its address on a serial line
    sap: int = 1  # the logical device

    @property
    def address(self) -> str:
        logical = f"#{self.sap}" if self.sap > 1 else ""
        if self.wired:
            return self.wired + logical
        scheme, port = ("udp", self.udp) if self.tcp is None else ("tcp", self.tcp)
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'hdlc+' if self.hdlc else ''}{scheme}://{host}:{port}{logical}"


@dataclass(frozen=True, slots=True)
class Addressing:
    """tcp, udp: the first meter's port, the next has the next (0: any; None: not at all).

    address: the first meter's own address, in place of `host`, the next has the next; all have the same port then.
    hdlc: HDLC in place of the wrapper on TCP and UDP; wiring: a serial line that all meters share, in place of both.
    """

    host: str = "127.0.0.1"
    tcp: int | None = 0
    udp: int | None = None
    address: str | None = None
    hdlc: bool = False
    wiring: Wiring | None = None

    def place(self, index: int) -> Place:
        if self.address is not None:
            return Place(str(ipaddress.ip_address(self.address) + index), self.tcp, self.udp, self.hdlc)
        tcp, udp = (port + index if port else port for port in (self.tcp, self.udp))
        return Place(self.host, tcp, udp, self.hdlc)


@dataclass(slots=True)
class Counts:
    """What happened in the street since it stands."""

    connections: int = 0
    frames: int = 0
    pushes: int = 0
    pushes_lost: int = 0
    refused: dict[str, int] = field(default_factory=dict)  # frames, by the error's name
    counter_reuse: int = 0


class Fleet:
    """The street: `count` meters, of which `logical` in a row are the logical devices of one.

    `listen()` opens its doors, `close()` shuts them; `status()` says what happened.
    """

    def __init__(
        self,
        count: int,
        seed: int,
        street_time: Callable[[], int],
        *,
        habits: Habits | None = None,
        addressing: Addressing | None = None,
        faults: Iterable[Fault] = (),
        logical: int = 1,
    ) -> None:
        shared = habits or Habits()
        self.meters = [Meter(seed, number, street_time, shared) for number in range(1, count + 1)]
        self.physical = [tuple(self.meters[at : at + logical]) for at in range(0, count, logical)]
        for devices in self.physical if logical > 1 else ():
            for sap, meter in enumerate(devices, 1):
                meter.sap, meter.together = sap, devices
        addressing = addressing or Addressing()
        self._logical = logical
        self._places = [addressing.place(index) for index in range(len(self.physical))]
        self.mischief = Mischief(faults, count)
        self.counts = Counts()
        self.reuses: deque[Reuse] = deque(maxlen=REMEMBERED)
        self._servers: list[Server | HdlcServer | HdlcUdpServer] = []
        self.tell: Callable[[Meter], None] | None = None  # has a meter's pushes sent
        for meter in self.meters:
            if self.mischief.wrong_key(meter.number):
                meter.key_salt = "wrong"
        self.wires = Wires(self, addressing.wiring) if addressing.wiring else None

    def place(self, meter: Meter) -> Place:
        """Where it is reached; ports that the system chose are known once the street listens."""
        return replace(self._places[(meter.number - 1) // self._logical], sap=meter.sap)

    async def listen(self) -> None:
        """Open every meter's door. Raises OSError, naming the address, where one cannot be bound."""
        if self.wires is not None:
            await self.wires.listen()
            self._places = [Place("", None, None, True, self.wires.address(at)) for at in range(len(self.physical))]
            return
        shared = memoryview(bytearray(1 << 16))  # the loop fills it and hands it over in one step: one serves them all
        for index, (meter, *_) in enumerate(self.physical):
            wanted = self._places[index]
            ports: list[int | None] = []
            for port, serve in zip((wanted.tcp, wanted.udp), HDLC if wanted.hdlc else WRAPPER, strict=True):
                server = None
                if port is not None:
                    server = await self._serve(serve, wanted.host, port, meter)
                    if isinstance(server, Server):
                        server.buffer = shared
                    self._servers.append(server)
                ports.append(server.port if server else None)
            self._places[index] = Place(wanted.host, ports[0], ports[1], wanted.hdlc)

    async def _serve(self, serve: Serve, host: str, port: int, meter: Meter) -> Server | HdlcServer | HdlcUdpServer:
        def welcome(peer: Peer) -> Handler:
            return self.talk(meter, peer, lossy=serve is serve_udp)

        try:
            return await serve(host, port, welcome)
        except socket.gaierror as error:
            raise OSError(error.errno, f"{address(host, port)}: {error.strerror}") from None
        except OSError as error:
            raise OSError(error.errno, f"{address(host, port)}: {os.strerror(error.errno or 0)}") from None

    async def close(self) -> None:
        """Shut every door, and let every client go."""
        await asyncio.gather(*(server.close() for server in self._servers))
        self._servers.clear()
        if self.wires is not None:
            await self.wires.close()

    def talk(self, meter: Meter, peer: Peer, *, lossy: bool = False) -> Handler:
        """A new client of `meter`: what answers it, in the name of the logical device that it asks for."""
        self.counts.connections += 1
        talks = {
            each.sap: self.mischief.over(each, Talk(self, each, lossy=lossy), peer)
            for each in meter.together or (meter,)
        }

        def answer(client_sap: int, server_sap: int, apdu: bytes) -> Sent:
            talk = talks.get(server_sap)
            return talk(client_sap, server_sap, apdu) if talk else None

        return answer if len(talks) > 1 else talks[meter.sap]

    def note(self, meter: Meter, refused: Exception | None) -> None:
        """A frame was refused. A counter is looked at when its frame has proven genuine, so a replay is one of the
        client's own: either somebody recorded it, or the client has counted twice."""
        kind = type(refused).__name__
        self.counts.refused[kind] = self.counts.refused.get(kind, 0) + 1
        if isinstance(refused, CounterReplayed):
            self.counts.counter_reuse += 1
            self.reuses.append(Reuse(meter.serial, refused.floor, refused.received))
            meter.record(Event.REPLAY)
        elif isinstance(refused, TagMismatch | AuthenticationFailed):
            meter.record(Event.NOT_AUTHENTIC)

    def status(self) -> dict[str, Any]:
        """What a test asks for: plain values, ready for JSON."""
        doubled = [(meter.serial, *pair) for meter in self.meters for pair in meter.heard.doubled]
        return {
            "meters": len(self.meters),
            "connections": self.counts.connections,
            "frames": self.counts.frames,
            "pushes": self.counts.pushes,
            "pushes_lost": self.counts.pushes_lost,
            "refused": dict(self.counts.refused),
            "counter_reuse": self.counts.counter_reuse + len(doubled),
            "counters_accepted": sum(meter.heard.accepted for meter in self.meters),
            "reused": [{"meter": r.meter, "floor": r.floor, "received": r.received} for r in self.reuses]
            + [{"meter": serial, "floor": floor, "received": received} for serial, floor, received in doubled],
            "counters": {meter.serial: meter.heard.highest for meter in self.meters if meter.heard.accepted},
        }


class Talk:
    """One client's connection to one meter: a Handler of `dcu.link.listen`."""

    __slots__ = ("_fleet", "_meter", "session")

    def __init__(self, fleet: Fleet, meter: Meter, *, lossy: bool) -> None:
        self._fleet = fleet
        self._meter = meter
        self.session = ServerSession(
            Faulty(meter) if fleet.mischief.nonsense(meter.number) else Device(meter),
            meter.associations(),
            counter=meter.next_counter,
            floors=meter.heard,
            lossy=lossy,
        )

    def __call__(self, client_sap: int, server_sap: int, apdu: bytes) -> Sent:
        if server_sap != self._meter.sap:
            return None
        refused = self.session.refused
        before = refused.total
        answer = self.session.receive(client_sap, apdu)
        self._fleet.counts.frames += 1
        if title := self.session.peer(client_sap):
            self._meter.client_titles[client_sap] = title
        if managed := self._meter.managed.get(client_sap):
            managed.user = self.session.user(client_sap)
        if refused.total != before:
            self._fleet.note(self._meter, refused.last)
        if self._fleet.tell and self._meter.pushes:
            self._fleet.tell(self._meter)
        return answer
