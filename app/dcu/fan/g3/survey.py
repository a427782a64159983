"""What a running modem is asked again and again: whether it lives, its frame counter, its tables; and paths on demand.

The routing table says to whom the concentrator gives what is for a meter, and how many hops it takes; only a path
discovery names the hops, and that costs air. So the topology has a whole path where one was discovered and still fits
the table, else what the table knows.
"""

import asyncio
import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from dcu.errors import DecodeError, LinkError
from dcu.fan.base import Standing, Unreachable, written
from dcu.fan.g3 import pib, reports, requests
from dcu.fan.g3.device import Device
from dcu.fan.g3.message import Status
from dcu.fan.g3.modem import Modem, Refused
from dcu.fan.g3.pib import COORDINATOR_SHORT, Adp, Mac

if TYPE_CHECKING:
    from dcu.fan.g3.network import G3Network

FIRST_SWEEP = 15.0  # seconds after the network is up
COUNTER_EVERY = 30.0  # seconds; half a block lasts twenty times as long at the most frames that the air can carry
PATH_WITHIN = 90.0  # seconds: path discovery gives up after 40, and a route may have to be found before
MOST_ENTRIES = 4_000  # of a table that never ends
UNKNOWN_METRIC = 0x0F

log = logging.getLogger(__name__)


class Survey:
    """Of one network."""

    def __init__(self, network: "G3Network") -> None:
        self._network = network

    async def keep(self, modem: Modem) -> None:
        """Raises LinkError when the modem fails, StoreError when frame counters cannot be reserved."""
        async with asyncio.TaskGroup() as group:
            for duty in (self._probe(modem), self._keep_counter(modem), self._sweep(modem), self._paths()):
                group.create_task(duty)

    async def _probe(self, modem: Modem) -> None:
        loop, every = asyncio.get_running_loop(), self._network.settings.probe
        while True:
            await asyncio.sleep(max(every - (loop.time() - modem.last_heard), 0.1))
            if loop.time() - modem.last_heard >= every:
                await modem.probe()

    async def _keep_counter(self, modem: Modem) -> None:
        """Reserve the next frame counters before the modem has used half of what it may."""
        block = self._network.settings.counter_block
        while True:
            await asyncio.sleep(COUNTER_EVERY)
            await self.reserve(modem, block // 2)

    async def reserve(self, modem: Modem, ahead: int) -> int:
        """Have at least `ahead` frame counters reserved; return the one that is next. Raises LinkError, StoreError."""
        network = self._network
        used = await self.frame_counter(modem)
        started = network.started
        if started is not None and started.counter_end - used < ahead:
            group = started.keys.group[started.keys.active]
            assert group is not None
            more = await network.vault.reserve(network.settings.counter_block, group)
            if more is None or used >= started.counter_end:
                raise LinkError(f"network {network.name}: the modem is beyond its frame counters: it begins anew")
            network.started = replace(started, counter_end=more.stop)
        return used

    async def frame_counter(self, modem: Modem) -> int:
        confirm = await modem.ask(requests.MacGet(Mac.FRAME_COUNTER), reports.MacGetConfirm)
        try:
            return pib.decode_number(confirm.value)
        except DecodeError as error:
            raise LinkError(f"network {self._network.name}: the modem's frame counter: {error}") from None

    # --- tables

    async def _sweep(self, modem: Modem) -> None:
        await asyncio.sleep(FIRST_SWEEP)
        while True:
            await self.read_tables(modem)
            await asyncio.sleep(self._network.settings.sweep)

    async def read_tables(self, modem: Modem) -> None:
        """Raises LinkError."""
        plan, devices = self._network.plan, self._network.devices
        routes = {}
        for raw in await self._table(modem, requests.Get, reports.GetConfirm, Adp.ROUTING_TABLE):
            route = pib.decode_route(raw)
            if eui64 := plan.device(route.destination):
                routes[eui64] = route
        neighbours = {}
        for raw in await self._table(modem, requests.MacGet, reports.MacGetConfirm, Mac.NEIGHBOUR_TABLE):
            neighbour = pib.decode_neighbour(raw)
            if eui64 := plan.device(neighbour.short):
                neighbours[eui64] = neighbour
        for eui64, device in devices.items():
            if found := routes.get(eui64):
                direct = found.next_hop == found.destination
                device.next_hop, device.cost = found.next_hop, found.cost
                device.hops = 1 if direct else max(2, found.hops)
            else:
                device.next_hop = device.hops = device.cost = None
            near = neighbours.get(eui64)
            device.lqi, device.modulation = (near.lqi, near.modulation) if near else (None, "")
        self._network.counts["sweeps"] += 1

    async def _table(
        self,
        modem: Modem,
        request: type[requests.Get] | type[requests.MacGet],
        confirm: type[reports.GetConfirm] | type[reports.MacGetConfirm],
        attribute: int,
    ) -> list[bytes]:
        entries: list[bytes] = []
        for index in range(MOST_ENTRIES):
            found = await modem.ask(request(attribute, index), confirm, checked=False)
            if found.status != Status.SUCCESS or not found.value:
                break
            entries.append(found.value)
        return entries

    # --- paths

    async def path(self, eui64: bytes) -> list[Device]:
        """Have the network find out the hops to a meter. Raises LinkError."""
        network = self._network
        short = network.plan.short(eui64)
        if short is None or eui64 not in network.plan.joined:
            raise Unreachable(f"meter {written(eui64)} has not joined network {network.name}")
        request = requests.DiscoverPath(short, UNKNOWN_METRIC)
        try:
            confirm = await network.require_modem().ask(request, reports.PathConfirm, within=PATH_WITHIN, tries=1)
        except Refused as error:
            raise Unreachable(f"no path to meter {written(eui64)}: {error}") from None
        hops = [hop.address for hop in confirm.paths[0] if hop.address not in (COORDINATOR_SHORT, short)]
        device = network.know(eui64)
        device.path = (*hops, short)
        device.next_hop, device.hops = device.path[0], len(device.path)
        network.heard_from(eui64)
        return [network.know(each) for each in self.hops(device)]

    async def _paths(self) -> None:
        """One path in a while, of a meter whose hops are not known."""
        network, every = self._network, self._network.settings.paths
        while every:
            await asyncio.sleep(every)
            unknown = (d for d in network.devices.values() if (d.hops or 0) > 2 and not self._fits(d))
            for device in unknown:
                if device.standing is Standing.JOINED:
                    try:
                        await self.path(device.eui64)
                    except LinkError as error:
                        log.info("%s", error)
                    break
        await asyncio.Event().wait()

    def hops(self, device: Device) -> tuple[bytes, ...]:
        """EUI-64 of every hop to it that is known, itself last."""
        if self._fits(device):
            shorts = device.path[:-1]
        elif device.hops is not None and device.hops > 1 and device.next_hop is not None:
            shorts = (device.next_hop,)
        else:
            shorts = ()
        known = (self._network.plan.device(short) for short in shorts)
        return (*(eui64 for eui64 in known if eui64), device.eui64)

    @staticmethod
    def _fits(device: Device) -> bool:
        return bool(device.path) and device.next_hop == device.path[0] and device.hops == len(device.path)
