"""A G3-PLC network: the coordinator that runs a PAN over one modem, for as long as it is asked to.

`run` opens the line, brings the modem up, and serves until the line or the modem fails; then it begins anew, with the
same addresses, keys and meters, after a pause that grows. Meters notice none of it but the silence. What meters say
goes to their endpoints; who joins is decided in `admission`, what the tables tell in `survey`, keys change in
`rekeying`.
"""

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Awaitable, Callable

from dcu.clock import Clock, epoch_seconds
from dcu.errors import DecodeError, LinkClosed, LinkError, LinkTimeout
from dcu.fan.base import (
    DLMS_PORT,
    Change,
    Event,
    Link,
    Listener,
    Node,
    Standing,
    Topology,
    Unreachable,
    Vault,
    written,
)
from dcu.fan.g3 import admission, ipv6, rekeying, reports, survey
from dcu.fan.g3.bringup import Started, bring_up
from dcu.fan.g3.device import Device, Endpoint
from dcu.fan.g3.message import Message
from dcu.fan.g3.modem import Modem, Rebooted
from dcu.fan.g3.passage import Passage
from dcu.fan.g3.pib import COORDINATOR_SHORT
from dcu.fan.g3.plan import Plan
from dcu.fan.g3.settings import G3Settings
from dcu.fan.g3.transmit import Transmitter
from dcu.fan.tun import Tun
from dcu.streams import ByteStream, Datagram

CLIENT_PORT = 0xF0B1  # ours towards meters: RFC 6282 compresses it to four bits; unasked, they report to DLMS_PORT
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0  # seconds before the modem is opened again
BRING_UP = 120.0  # seconds: what takes longer is begun anew

Opener = Callable[[], Awaitable[ByteStream]]
Notified = Callable[[bytes, bytes], None]  # EUI-64 of a meter, the payload that it sent unasked

log = logging.getLogger(__name__)


class G3Network:
    """A FieldNetwork. `notified` gets what meters send to the port for reports."""

    def __init__(
        self, settings: G3Settings, vault: Vault, opener: Opener, clock: Clock, notified: Notified | None = None
    ) -> None:
        self.name = settings.name
        self.settings = settings
        self.vault = vault
        self.counts: Counter[str] = Counter()
        self.plan = Plan(settings.pan)
        self.devices: dict[bytes, Device] = {}
        self.expected: frozenset[bytes] = frozenset()
        self.modem: Modem | None = None  # where it is set up
        self.started: Started | None = None
        self.transmitter = Transmitter(settings, self.counts)
        self.rekeying = rekeying.Rekeyer(self)
        self.admission = admission.Admission(self)
        self.survey = survey.Survey(self)
        self._clock = clock
        self._opener = opener
        self._notified = notified
        self._listeners: list[Listener] = []
        self._endpoints: dict[tuple[bytes, int], Endpoint] = {}
        self._addresses: dict[bytes, bytes] = {}  # IPv6 to EUI-64: what most packets come from
        self._our_address = ipv6.address(settings.pan, COORDINATOR_SHORT)
        self._passage: Passage | None = None
        if settings.tun:
            ports = (CLIENT_PORT, DLMS_PORT)
            way = (settings.pan, self._our_address, ports, self._is_member, self.transmitter.send)
            self._passage = Passage(lambda: Tun.attach(settings.tun), *way, self.counts)
        self._restored = False
        self._noting = asyncio.Lock()
        self._trouble = ""
        self._down_since = asyncio.get_running_loop().time()

    # --- the seam

    def expect(self, meters: frozenset[bytes]) -> None:
        self.expected = meters
        for eui64 in self.admitted - self.devices.keys():
            self._know(eui64)
        self.admission.prepare()

    @property
    def admitted(self) -> frozenset[bytes]:
        """Who may join: registered meters, and the white-list."""
        return self.expected | self.settings.allowed

    async def datagram(self, eui64: bytes, port: int = DLMS_PORT) -> Datagram:
        device = self.devices.get(eui64)
        if device is None or eui64 not in self.plan.joined:
            raise Unreachable(f"meter {written(eui64)} has not joined network {self.name}")
        if old := self._endpoints.get((eui64, port)):
            await old.close()
        endpoint = Endpoint(eui64, port, self._send)
        self._endpoints[eui64, port] = endpoint
        return endpoint

    def topology(self) -> Topology:
        root = self.started.eui64 if self.started else b""
        nodes = tuple(self._node(device) for device in self.devices.values())
        return Topology(self.name, "g3", self.modem is not None, root, self.settings.pan, nodes)

    def hops(self, eui64: bytes) -> int | None:
        device = self.devices.get(eui64)
        return device.hops if device else None

    def listen(self, listener: Listener) -> Callable[[], None]:
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    async def path(self, eui64: bytes) -> tuple[Node, ...]:
        return tuple(self._node(device) for device in await self.survey.path(eui64))

    async def kick(self, eui64: bytes) -> None:
        await self.admission.kick(eui64)

    async def rekey(self) -> int:
        return await self.rekeying.run()

    def statistics(self) -> dict[str, int]:
        return dict(sorted(self.counts.items()))

    async def close(self) -> None:
        for endpoint in self._endpoints.values():
            await endpoint.close()
        self._endpoints.clear()

    # --- running

    async def run(self) -> None:
        """Keep the network up until cancelled. Raises StoreError, KeysError: nothing can be kept, or secured."""
        await self._restore()
        pause = FIRST_PAUSE
        while True:
            came_up = False
            try:
                came_up = await self._session()
            except Rebooted as error:
                pause = FIRST_PAUSE
                self._failed(error, quiet=True)
            except LinkError as error:
                self._failed(error)
            task = asyncio.current_task()
            if task is not None and task.cancelling():  # a failure at the same moment does not make up for it
                raise asyncio.CancelledError
            pause = FIRST_PAUSE if came_up else min(2 * pause, LONGEST_PAUSE)
            await asyncio.sleep(pause)

    async def _session(self) -> bool:
        """From opening the line to its failure; whether the network was up in between. Raises LinkError."""
        modem = Modem(await self._opener(), self._heard, self.counts, self.name)
        try:
            async with asyncio.TaskGroup() as group:
                reading = group.create_task(modem.run())
                await self._begin(modem)
                for duty in (self.survey.keep(modem), self.admission.keep(modem), self.rekeying.keep()):
                    group.create_task(duty)
                if self._passage:
                    group.create_task(self._passage.keep())
                await reading
        except BaseExceptionGroup as group_of:
            error = _reason(group_of)
            if self.modem is None or isinstance(error, Rebooted):
                raise error from None
            self._failed(error)
        finally:
            was_up = self.modem is not None
            self._down()
            with contextlib.suppress(LinkError):
                await modem.close()
        return was_up

    async def _begin(self, modem: Modem) -> None:
        try:
            async with asyncio.timeout(BRING_UP):
                started = await bring_up(modem, self.settings, self.vault)
                await self._up(modem, started)
        except TimeoutError:
            raise LinkClosed(f"network {self.name}: the modem is not set up within {BRING_UP:g} s") from None

    async def _restore(self) -> None:
        if self._restored:
            return
        try:
            self.plan = Plan.restored(await self.vault.recall(), self.settings.pan)
        except DecodeError as error:
            log.error("network %s: its notes cannot be used, every meter joins anew: %s", self.name, error)
        self._restored = True
        for eui64 in self.plan.joined:
            self._know(eui64).standing = Standing.JOINED
        self.admission.prepare()

    async def _up(self, modem: Modem, started: Started) -> None:
        if started.fresh and (self.plan.joined or self.plan.rekeying):
            self.tell(Change.KEYS_LOST, text="the group key was given up: every meter joins anew")
            for eui64 in list(self.plan.joined):
                self.devices[eui64].standing = Standing.EXPECTED
            self.plan.joined.clear()
            self.plan.rekeying = None
        await self.note()
        now = asyncio.get_running_loop().time()
        for device in self.devices.values():  # what nobody could hear is no silence
            device.unheard_since += now - self._down_since
        self._down_since = now
        self.modem, self.started = modem, started
        self.transmitter.up(modem)
        self.counts["starts"] += 1
        self._trouble = ""
        self.tell(Change.UP, text=f"PAN {self.settings.pan:04X}")

    def _down(self) -> None:
        was_up, self.modem = self.modem is not None, None
        self.transmitter.down()
        if was_up:
            self._down_since = asyncio.get_running_loop().time()
            for endpoint in self._endpoints.values():
                endpoint.lose(LinkTimeout(f"network {self.name} went down before the answer came"))
            self.tell(Change.DOWN, text=self._trouble)

    def _failed(self, error: LinkError, *, quiet: bool = False) -> None:
        """Once for each different trouble; the counts have the rest."""
        self.counts["failures"] += 1
        if str(error) == self._trouble:
            return
        self._trouble = str(error)
        log.warning("%s", error)
        if not quiet:
            self.tell(Change.TROUBLE, text=str(error))

    async def note(self) -> None:
        """Write the notes down: durable when this returns."""
        async with self._noting:
            await self.vault.remember(self.plan.noted())

    # --- what comes and goes

    def _heard(self, message: Message) -> None:
        match message:
            case reports.DataIndication():
                self._packet(message)
            case reports.DataConfirm():
                self.transmitter.confirmed(message)
            case reports.BufferIndication():
                self.transmitter.buffers(message)
            case reports.JoinRequest():
                self.admission.requested(message.eui64)
            case reports.JoinComplete():
                self.admission.completed(message)
            case reports.LeaveReport():
                self.admission.left(message.short)
            case reports.RouteNotFound():
                self._lost(message)
            case reports.NetworkStatus():
                self.counts[f"network-status-{message.status:#04x}"] += 1
            case _:
                self.counts[type(message).__name__] += 1

    def _lost(self, report: reports.RouteNotFound) -> None:
        """A relay found no way on for a packet of ours: what is waited for from its destination will not come."""
        self.counts["route-not-found"] += 1
        eui64 = self.plan.device(report.destination)
        if eui64 is None or report.source != COORDINATOR_SHORT:
            return
        error = Unreachable(f"network {self.name}: no way on to meter {written(eui64)} from {report.next_hop:04X}")
        for (owner, _), endpoint in self._endpoints.items():
            if owner == eui64:
                endpoint.lose(error)

    def _packet(self, indication: reports.DataIndication) -> None:
        try:
            datagram = ipv6.decode(indication.packet)
            if datagram.destination[8:] != self._our_address[8:]:
                raise DecodeError("a packet for somebody else")
            eui64 = self._addresses.get(datagram.source) or self._sender(datagram.source)
        except DecodeError as error:
            if self._passage and self._passage.arrived(indication.packet):
                self.heard_from(self._sender(indication.packet[8:24]))
                return
            if not self.counts["bad-packets"]:
                log.warning("network %s: packets that are of no use, the first: %s", self.name, error)
            self.counts["bad-packets"] += 1
            return
        self.heard_from(eui64)
        self.transmitter.heard(self.plan.short(eui64) or 0)
        self.counts["datagrams-received"] += 1
        endpoint = self._endpoints.get((eui64, datagram.source_port))
        if datagram.destination_port == CLIENT_PORT and endpoint is not None:
            endpoint.arrive(datagram.payload)
        elif datagram.destination_port == DLMS_PORT and self._notified:
            self._notified(eui64, datagram.payload)
        elif self._passage is None or not self._passage.arrived(indication.packet):
            self.counts["unclaimed"] += 1

    def _is_member(self, short: int) -> bool:
        eui64 = self.plan.device(short)
        return eui64 is not None and eui64 in self.plan.joined

    def _sender(self, source: bytes) -> bytes:
        eui64 = self.plan.device(ipv6.short_address(source, self.settings.pan))
        if eui64 is None:
            raise DecodeError("a packet of a device that has no address here")
        self._addresses[source] = eui64
        return eui64

    async def _send(self, eui64: bytes, port: int, payload: bytes) -> None:
        short = self.plan.short(eui64)
        if short is None or eui64 not in self.plan.joined:
            raise Unreachable(f"meter {written(eui64)} has not joined network {self.name}")
        to = ipv6.address(self.settings.pan, short)
        packet = ipv6.encode(ipv6.Datagram(self._our_address, to, CLIENT_PORT, port, payload))
        await self.transmitter.send(short, packet)

    def heard_from(self, eui64: bytes) -> None:
        """A meter gave a sign of life."""
        device = self.devices.get(eui64) or self._know(eui64)
        device.last_heard = self.now()
        device.unheard_since = asyncio.get_running_loop().time()
        if eui64 not in self.plan.joined:  # it has our key, whatever we believed
            self.plan.joined.add(eui64)
            self.stand(device, Standing.JOINED)
            self.tell(Change.JOINED, eui64, "it was a member already")
        elif device.standing is not Standing.JOINED:
            self.stand(device, Standing.JOINED)
            self.tell(Change.HEARD, eui64)

    # --- what the parts share

    def now(self) -> int:
        return epoch_seconds(self._clock.now())

    def stand(self, device: Device, standing: Standing) -> None:
        if device.standing is not standing:
            device.standing, device.since = standing, self.now()

    def tell(self, change: Change, eui64: bytes = b"", text: str = "") -> None:
        self.counts[str(change)] += 1
        event = Event(self.name, change, eui64, text)
        for listener in list(self._listeners):
            listener(event)

    def forget_address(self, eui64: bytes) -> None:
        self._addresses = {ip: owner for ip, owner in self._addresses.items() if owner != eui64}

    def require_modem(self) -> Modem:
        """Raises LinkClosed: the network is down."""
        if self.modem is None:
            raise LinkClosed(f"network {self.name} is down: {self._trouble or 'it is being set up'}")
        return self.modem

    def _know(self, eui64: bytes) -> Device:
        if (device := self.devices.get(eui64)) is None:
            now = asyncio.get_running_loop().time()
            device = self.devices[eui64] = Device(eui64, Standing.EXPECTED, now, self.now())
        return device

    know = _know

    def _node(self, device: Device) -> Node:
        short = self.plan.short(device.eui64)
        hops = self.survey.hops(device)
        joined = device.standing in (Standing.JOINED, Standing.SILENT)
        return Node(
            device.eui64,
            device.standing,
            short if joined else None,
            hops[-2] if len(hops) > 1 else None,
            hops if joined else (),
            device.hops if joined else None,
            device.cost,
            Link(device.lqi, device.modulation, device.cost if device.hops == 1 else None),
            device.last_heard,
            device.since,
        )


def _reason(group: BaseExceptionGroup[BaseException]) -> LinkError:
    """Why a session ended: that the modem has rebooted explains the rest. Raises what is no matter of the line."""
    found: list[BaseException] = []

    def flatten(error: BaseException) -> None:
        if isinstance(error, BaseExceptionGroup):
            for each in error.exceptions:
                flatten(each)
        else:
            found.append(error)

    flatten(group)
    for error in found:
        if not isinstance(error, LinkError):
            raise error
    links = [error for error in found if isinstance(error, LinkError)]
    return next((error for error in links if isinstance(error, Rebooted)), links[0])
