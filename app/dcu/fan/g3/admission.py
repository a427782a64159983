"""Who may join, under which address; who left; whom nobody has heard for too long.

A device that asks is taken where its EUI-64 is registered or on the white-list, and declined otherwise: told once an
hour, since a stranger asks again and again. Its short address is noted durably before it is given.

The modem tells once that a device has joined, and the serial line may lose it: nobody would ever speak to that meter.
So one whose join was begun and not heard of again is looked for in the network.
"""

import asyncio
import logging
from collections import OrderedDict
from typing import TYPE_CHECKING

from dcu.errors import LinkTimeout
from dcu.fan.base import Change, Standing, Unreachable, written
from dcu.fan.g3 import reports, requests
from dcu.fan.g3.modem import Modem, Refused
from dcu.fan.g3.reports import JoinComplete
from dcu.fan.g3.requests import DECLINED, AssignShort, Kick

if TYPE_CHECKING:
    from dcu.fan.g3.network import G3Network

REFUSED_AGAIN = 3600.0  # seconds until the same stranger is told of again
STRANGERS = 1_000  # that are remembered
NOTE_WITHIN = 30.0  # seconds: who has joined, which costs a handshake to lose, and nothing else
LOOK_EVERY = 30.0  # seconds, for meters that have fallen silent
JOIN_QUEUE = 1_000
DOUBTED = 300.0  # seconds: a device that has not joined by then asks again; and between two that are doubted
ROUTE_WITHIN = 45.0  # seconds: a route over many hops is found in less, or not at all

log = logging.getLogger(__name__)


class Admission:
    """Of one network."""

    def __init__(self, network: "G3Network") -> None:
        self._network = network
        self._requests: asyncio.Queue[bytes] = asyncio.Queue(JOIN_QUEUE)
        self._strangers: OrderedDict[bytes, float] = OrderedDict()
        self._dirty = False
        self._begun: dict[bytes, float] = {}  # joins whose end was not heard of: when they began, or were doubted last

    def prepare(self) -> None:
        """Addresses for all who may join, ahead: one write in place of one each."""
        network = self._network
        if network.plan.give(network.admitted, network.admitted):
            self._dirty = True

    def requested(self, eui64: bytes) -> None:
        if self._requests.full():
            self._network.counts["joins-dropped"] += 1  # it asks again
        else:
            self._requests.put_nowait(eui64)

    async def keep(self, modem: Modem) -> None:
        """Answer who asks, note who has joined, tell of who is silent. Raises LinkError when the modem fails."""
        async with asyncio.TaskGroup() as group:
            for duty in (self._answer(modem), self._note(), self._watch(), self._doubt(modem)):
                group.create_task(duty)

    async def _answer(self, modem: Modem) -> None:
        network = self._network
        while True:
            eui64 = await self._requests.get()
            if network.rekeying.under_way:
                network.counts["joins-deferred"] += 1  # it asks again
                continue
            if eui64 not in network.admitted:
                await modem.send(AssignShort(eui64, DECLINED))
                self._refuse(eui64)
                continue
            if network.plan.give(frozenset((eui64,)), network.admitted):
                self._dirty = True
            if self._dirty:
                await self._write()
            short = network.plan.short(eui64)
            assert short is not None
            await modem.send(AssignShort(eui64, short))
            device = network.know(eui64)
            if device.standing is not Standing.JOINED:
                network.stand(device, Standing.JOINING)
                self._begun[eui64] = asyncio.get_running_loop().time()

    def _refuse(self, eui64: bytes) -> None:
        now = asyncio.get_running_loop().time()
        last = self._strangers.pop(eui64, None)
        self._strangers[eui64] = now if last is None or now - last >= REFUSED_AGAIN else last
        if len(self._strangers) > STRANGERS:
            self._strangers.popitem(last=False)
        if self._strangers.get(eui64) == now:
            log.warning("network %s: %s wants to join and is not registered", self._network.name, written(eui64))
            self._network.tell(Change.REFUSED, eui64, "it is neither registered nor on the white-list")
        else:
            self._network.counts[str(Change.REFUSED)] += 1

    def completed(self, message: JoinComplete) -> None:
        network = self._network
        if network.rekeying.done(message.eui64):
            network.heard_from(message.eui64)
            return
        if network.plan.short(message.eui64) != message.short:
            network.counts["joins-unknown"] += 1
            return
        device = network.know(message.eui64)
        again = message.eui64 in network.plan.joined
        network.plan.joined.add(message.eui64)
        network.stand(device, Standing.JOINED)
        network.heard_from(message.eui64)
        self._dirty = True
        network.tell(Change.JOINED, message.eui64, f"short address {message.short:04X}" + (", again" if again else ""))

    def left(self, short: int) -> None:
        eui64 = self._network.plan.device(short)
        if eui64 is None or eui64 not in self._network.plan.joined:
            self._network.counts["leaves-unknown"] += 1
            return
        self._gone(eui64, "it said so")

    async def kick(self, eui64: bytes) -> None:
        """Raises LinkError."""
        network = self._network
        short = network.plan.short(eui64)
        if short is None or eui64 not in network.plan.joined:
            raise Unreachable(f"meter {written(eui64)} has not joined network {network.name}")
        await network.require_modem().send(Kick(short, eui64))
        self._gone(eui64, "it was sent away")

    def _gone(self, eui64: bytes, why: str) -> None:
        network = self._network
        network.plan.joined.discard(eui64)
        network.forget_address(eui64)
        network.stand(network.know(eui64), Standing.LEFT)
        self._dirty = True
        network.tell(Change.LEFT, eui64, why)

    async def _note(self) -> None:
        while True:
            await asyncio.sleep(NOTE_WITHIN)
            if self._dirty:
                await self._write()

    async def _write(self) -> None:
        self._dirty = False
        try:
            await self._network.note()
        except BaseException:
            self._dirty = True
            raise

    async def _doubt(self, modem: Modem) -> None:
        """Look for those whose joining was not heard to end: only a member, by its group key, answers for its address.

        One in a while, since it floods the street. Who is not found is looked for again after all others.
        """
        network = self._network
        while True:
            await asyncio.sleep(DOUBTED)
            now = asyncio.get_running_loop().time()
            for eui64 in [each for each in self._begun if network.know(each).standing is not Standing.JOINING]:
                del self._begun[eui64]
            eui64, begun = min(self._begun.items(), key=lambda item: item[1], default=(b"", now))
            if now - begun < DOUBTED or network.rekeying.under_way:
                continue
            self._begun[eui64] = now
            short = network.plan.short(eui64)
            if short is not None and await self._found(modem, short):
                network.counts["joins-found"] += 1
                self._dirty = True
                network.heard_from(eui64)

    async def _found(self, modem: Modem, short: int) -> bool:
        request = requests.DiscoverRoute(short, self._network.settings.max_hops)
        try:
            await modem.ask(request, reports.RouteConfirm, within=ROUTE_WITHIN, tries=1)
        except (Refused, LinkTimeout):
            return False
        return True

    async def _watch(self) -> None:
        """A meter that has joined, or should have, and says nothing for its limit."""
        network, limit = self._network, self._network.settings.silent_after
        while True:
            await asyncio.sleep(LOOK_EVERY)
            now = asyncio.get_running_loop().time()
            for eui64 in network.expected:
                device = network.know(eui64)
                if device.standing is not Standing.SILENT and now - device.unheard_since >= limit:
                    never = "" if eui64 in network.plan.joined else ": it has not joined"
                    network.stand(device, Standing.SILENT)
                    network.tell(Change.SILENT, eui64, f"not heard for {limit:g} s{never}")
