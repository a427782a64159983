"""The emulated modem: a PL360/PL460 as its host sees it on the serial line, with the real stack behind it.

Bytes come in (`feed`) and go out (`uart.say`), as slow as the line is. INIT opens the stack and is answered once it is
ready; before that everything is refused. Requests that the stack answers later (a datagram, a discovery) are confirmed
then. Datagrams wait in buffers of three sizes; who sends without one is refused, and told when there is one again. What
a modem does to its host in the field it does on command: it reboots in mid-frame, hangs, loses confirms, and the line
between them is noisy.

Source: Microchip smartenergy_g3 (ADP serialization and what its firmware answers to what).
"""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from dcu.errors import DecodeError
from neighbourhood.g3 import adp, adp_codec, frames, pib, usi
from neighbourhood.g3.adp import Verdict
from neighbourhood.g3.device_mode import DeviceMode
from neighbourhood.g3.events import Scheduler, Timer
from neighbourhood.g3.frames import Frame
from neighbourhood.g3.lbs import Server
from neighbourhood.g3.node import Node
from neighbourhood.g3.tables import BROADCAST, NOT_JOINED, Beacon, Path, Status
from neighbourhood.g3.uart import BYTE, Uart

OPENING = 0.3  # seconds from INIT to its answer
BOOTING = 1.5  # seconds after a reboot in which it is deaf
BUFFERS = {100: 3, 400: 3, 1280: 1}  # of how many bytes: how many
INVALID_REQUEST, NOT_PERMITTED, BUSY, NO_BUFFERS = 0xA1, 0xA4, 0xB3, 0xB4
_WORDS = {int(Status.INVALID_REQUEST): INVALID_REQUEST, int(Status.NOT_PERMITTED): NOT_PERMITTED}
LINK_LOCAL = b"\xfe\x80" + bytes(6)


@dataclass(slots=True)
class Counts:
    requests: int = 0
    refused: int = 0
    reboots: int = 0
    confirms_lost: int = 0


class Modem:
    """`node`: the coordinator's, or a device's. `feed` takes what the host writes, `uart.say` what it is to read.

    lose_confirms: share of confirms that never get to the host. `server`: None until opened as a coordinator.
    """

    def __init__(self, node: Node, scheduler: Scheduler, random: Random, *, byte: float = BYTE) -> None:
        self.node, self.scheduler = node, scheduler
        self._weather = Random(random.randrange(1 << 32))  # noqa: S311 - faults; the stack's chance stays its own
        self.uart = Uart(scheduler, self._weather, byte)
        self.counts = Counts()
        self.lose_confirms = 0.0
        self.server: Server | None = None
        self.device: DeviceMode | None = None
        self.groups: dict[int, int] = {}
        self._random = random
        self._opened = False
        self._opening: Timer | None = None
        self._busy: set[str] = set()
        self._epoch = 0  # what was asked before a reboot is confirmed to nobody
        self._free = dict(BUFFERS)
        self._adp = self._mac = pib.Base(pib.ADP, {})

    # --- faults

    def reboot(self) -> None:
        """All that is volatile is gone, the frame counter too; what is being said breaks off."""
        self.counts.reboots += 1
        self.uart.break_off()
        self.uart.silence(BOOTING)
        self._close()
        self.node.reset()
        self.node.frame_counter = 0

    def hang(self, seconds: float) -> None:
        """Neither hear nor answer. The stack goes on."""
        self.uart.silence(seconds)

    # --- the line

    def feed(self, data: bytes) -> None:
        """What the host wrote."""
        for frame in self.uart.heard(data):
            if frame.protocol == usi.ADP:
                self._request(frame.payload)

    def _report(self, message: Any) -> None:
        if type(message).__name__.endswith("Confirm") and self._weather.random() < self.lose_confirms:
            self.counts.confirms_lost += 1
        else:
            self.uart.send(adp_codec.encode(message))

    # --- requests

    def _request(self, payload: bytes) -> None:
        self.counts.requests += 1
        command = payload[0] if payload else 0
        try:
            request = adp_codec.decode_request(payload)
        except adp_codec.UnknownCommand:
            self._refuse(Verdict.UNKNOWN, command)
            return
        except DecodeError:
            self._refuse(Verdict.INVALID, command)
            return
        if isinstance(request, adp.Initialise):
            self._initialise(request)
        elif not self._opened or isinstance(request, _DEVICE_ONLY if self.server else _COORDINATOR_ONLY):
            self._refuse(Verdict.NOT_ALLOWED, command)
        else:
            getattr(self, _HANDLERS[type(request)])(request)

    def _refuse(self, verdict: Verdict, command: int) -> None:
        self.counts.refused += 1
        self._report(adp.Status(verdict, command))

    def _initialise(self, request: adp.Initialise) -> None:
        self._close()
        self.node.reset()
        self._opening = self.scheduler.after(OPENING, self._ready, bool(request.coordinator))

    def _ready(self, coordinator: bool) -> None:
        self._open(coordinator)
        self._report(adp.Status(Verdict.DONE, 10))

    def _reset(self, request: adp.Reset) -> None:
        coordinator = self.server is not None
        self._close()
        self.node.reset()
        self._open(coordinator)
        self._report(adp.ResetConfirm(0))

    def _close(self) -> None:
        self._epoch += 1
        self.scheduler.cancel(self._opening)
        self._opened = False
        self.node.mac.on_refused = lambda frame, status: None
        self.node.loadng.paths.on_request = lambda: None
        if self.server is not None:
            self.server.close()
        if self.device is not None:
            self.device.close()
        self.server = self.device = None
        self._busy.clear()
        self._free = dict(BUFFERS)

    def _open(self, coordinator: bool) -> None:
        """With factory values."""
        node, scheduler = self.node, self.scheduler
        self._opened = True
        self.groups = {0: pib.GROUP}
        self._adp = pib.adaptation(node, scheduler, self.groups, coordinator=coordinator)
        self._mac = pib.medium_access(node, scheduler)
        node.on_ipv6 = self._came
        node.network_status = self._unreachable
        node.mac.on_refused = self._refused
        node.loadng.paths.on_request = lambda: self._report(adp.PathRequestIndication())
        if coordinator:
            self.server = server = Server(node, scheduler, self._random)
            server.set_gmk(0, pib.FACTORY_KEY)
            server.join_request = lambda eui64: self._report(adp.JoinRequest(eui64))
            server.join_complete = lambda eui64, short: self._report(adp.JoinComplete(eui64, short))
            server.left = lambda short: self._report(adp.Left(short))
        else:
            self.device = DeviceMode(node, scheduler, self._random, self._report)

    def _start(self, request: adp.Start) -> None:
        if "started" in self._busy:
            self._report(adp.StartConfirm(INVALID_REQUEST))
            return
        self._busy.add("started")
        self.node.start_pan(request.pan)
        self._report(adp.StartConfirm(0))

    # --- datagrams

    def _data(self, request: adp.Data) -> None:
        destination = self._destination(request.packet)
        if destination is None or self.node.short == NOT_JOINED:
            self._report(adp.DataConfirm(INVALID_REQUEST, request.handle))
            return
        size = self._take(len(request.packet))
        if size is None:
            self._report(adp.DataConfirm(NO_BUFFERS, request.handle))
            return
        epoch = self._epoch

        def done(status: int) -> None:
            if epoch == self._epoch:
                self._give(size)
                self._report(adp.DataConfirm(_WORDS.get(status, status), request.handle))

        discover, urgent = bool(request.discover), request.quality == 1
        self.node.send_ipv6(destination, request.packet, done, discover=discover, priority=urgent)

    def _plain_data(self, request: adp.PlainData) -> None:
        self._report(adp.DataConfirm(INVALID_REQUEST, request.handle))  # nobody here understands anything but IPv6

    def _destination(self, packet: bytes) -> int | None:
        """The short address in an IPv6 packet's destination; None: it is none of this PAN's."""
        if len(packet) < 40 or packet[0] >> 4 != 6:
            return None
        target = packet[24:40]
        if target[0] == 0xFF:
            return BROADCAST
        if target[11:14] != b"\xff\xfe\x00":
            return None
        if target[:8] == LINK_LOCAL and target[8:10] != self.node.pan.to_bytes(2, "big"):
            return None
        return int.from_bytes(target[14:16], "big")

    def _take(self, length: int) -> int | None:
        """The smallest buffer that is free and long enough."""
        for size in BUFFERS:
            if length <= size and self._free[size]:
                before = self._bitmap()
                self._free[size] -= 1
                self._tell(before)
                return size
        return None

    def _give(self, size: int) -> None:
        before = self._bitmap()
        self._free[size] += 1
        self._tell(before)

    def _bitmap(self) -> int:
        small, medium, large = (self._free[size] > 0 for size in BUFFERS)
        return small << 2 | medium << 1 | large

    def _tell(self, before: int) -> None:
        if (now := self._bitmap()) != before:
            self._report(adp.BufferIndication(now))

    def _came(self, packet: bytes, lqi: int) -> None:
        if self._opened:
            self._report(adp.DataIndication(lqi & 0xFF, packet))

    # --- information bases

    def _set(self, request: adp.Set) -> None:
        status = self._adp.set(request.attribute, request.index, request.value)
        self._report(adp.SetConfirm(status, request.attribute, request.index))

    def _get(self, request: adp.Get) -> None:
        status, value = self._adp.get(request.attribute, request.index)
        self._report(adp.GetConfirm(status, request.attribute, request.index, value))

    def _mac_set(self, request: adp.MacSet) -> None:
        status = self._mac.set(request.attribute, request.index, request.value)
        self._report(adp.MacSetConfirm(status, request.attribute, request.index))

    def _mac_get(self, request: adp.MacGet) -> None:
        status, value = self._mac.get(request.attribute, request.index)
        self._report(adp.MacGetConfirm(status, request.attribute, request.index, value))

    def _lbp_set(self, request: adp.LbpSet) -> None:
        side = self.server or self.device
        assert side is not None
        status = side.set(request.attribute, request.index, request.value)
        self._report(adp.LbpSetConfirm(status, request.attribute, request.index))

    # --- what takes its time

    def _later(self, what: str, busy: Any) -> Callable[[Any], bool] | None:
        """Whether an answer is still wanted when it comes; None: one such is under way, and `busy` was said."""
        if what in self._busy:
            self._report(busy)
            return None
        self._busy.add(what)
        epoch = self._epoch

        def wanted(_: Any) -> bool:
            if epoch != self._epoch:
                return False
            self._busy.discard(what)
            return True

        return wanted

    def _discovery(self, request: adp.Discovery) -> None:
        wanted = self._later("scan", adp.DiscoveryConfirm(BUSY))
        if wanted is None:
            return

        def done(beacons: list[Beacon]) -> None:
            if wanted(beacons):
                for pan, short, rc_coord, lqi in beacons:
                    self._report(adp.DiscoveryIndication(pan, lqi, short, rc_coord, 0))
                self._report(adp.DiscoveryConfirm(0))

        self.node.scan(float(request.seconds), done)

    def _route(self, request: adp.RouteDiscovery) -> None:
        wanted = self._later("route", adp.RouteConfirm(BUSY))
        if wanted is None:
            return

        def done(status: int) -> None:
            if wanted(status):
                self._report(adp.RouteConfirm(_WORDS.get(status, status)))

        self.node.discover_route(request.destination, request.max_hops, done)

    def _path(self, request: adp.PathDiscovery) -> None:
        destination, metric, here = request.destination, request.metric, self.node.short
        wanted = self._later("path", adp.PathConfirm(BUSY, destination, here, metric, ((), ())))
        if wanted is None:
            return

        def done(path: Path) -> None:
            if wanted(path):
                ways = tuple(
                    tuple(adp.Hop(hop.short, 0, min(hop.cost, 255), 0, 0, 0) for hop in way)
                    for way in (path.forward, path.reverse)
                )
                self._report(adp.PathConfirm(path.status, destination, here, metric, (ways[0], ways[1])))

        self.node.path(destination, metric, done)

    def _unreachable(self, destination: int, reporter: int) -> None:
        """A RERR came: the route to `destination` ends at `reporter`."""
        if not self._opened:
            return
        nowhere = NOT_JOINED
        self._report(adp.RouteNotFound(self.node.short, destination, reporter, nowhere, 0xFFFF, 0, 0, 1, 0, b""))

    def _refused(self, frame: Frame, status: int) -> None:
        """A secured frame that is not taken: no such key, a MIC that does not hold, a counter that was used."""
        key, source = frame.key or 0, frame.source if frame.source is not None else NOT_JOINED
        self._report(adp.NetworkStatus(frame.pan, source, frame.destination, status, frames.LEVEL, key, 0))

    # --- bootstrapping

    def _assign(self, request: adp.AssignShort) -> None:
        assert self.server is not None
        self.server.assign(request.eui64, request.short)

    def _kick(self, request: adp.Kick) -> None:
        assert self.server is not None
        self.server.kick(request.short, request.eui64)

    def _rekey(self, request: adp.Rekey) -> None:
        assert self.server is not None
        self.server.rekey(request.short, request.eui64, bool(request.distribute))

    def _phase(self, request: adp.RekeyPhase) -> None:
        assert self.server is not None
        self.server.rekeying = bool(request.started)

    def _activate(self, request: adp.ActivateKey) -> None:
        assert self.server is not None
        self.server.activate()

    def _join(self, request: adp.Join) -> None:
        assert self.device is not None
        self.device.join(request)

    def _leave(self, request: adp.Leave) -> None:
        assert self.device is not None
        self.device.leave()

    def _force(self, request: adp.ForceRegister) -> None:
        assert self.device is not None
        self.device.register(request)


_COORDINATOR_ONLY = (adp.Start, adp.Kick, adp.Rekey, adp.RekeyPhase, adp.ActivateKey, adp.AssignShort)
_DEVICE_ONLY = (adp.Join, adp.Leave, adp.ForceRegister)
_HANDLERS: dict[type, str] = {
    adp.Data: "_data",
    adp.Discovery: "_discovery",
    adp.Start: "_start",
    adp.Join: "_join",
    adp.Leave: "_leave",
    adp.Reset: "_reset",
    adp.Set: "_set",
    adp.Get: "_get",
    adp.RouteDiscovery: "_route",
    adp.PathDiscovery: "_path",
    adp.MacSet: "_mac_set",
    adp.MacGet: "_mac_get",
    adp.PlainData: "_plain_data",
    adp.LbpSet: "_lbp_set",
    adp.ForceRegister: "_force",
    adp.Kick: "_kick",
    adp.Rekey: "_rekey",
    adp.RekeyPhase: "_phase",
    adp.ActivateKey: "_activate",
    adp.AssignShort: "_assign",
}
