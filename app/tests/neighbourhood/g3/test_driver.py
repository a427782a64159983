"""The driver at the emulated modem, on the simulated line, under virtual time: two codecs that share nothing."""

import asyncio
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from random import Random

import pytest

from dcu.clock import LoopClock
from dcu.credentials import Secret
from dcu.errors import LinkError
from dcu.fan.base import Change, Standing
from dcu.fan.g3.network import G3Network
from dcu.fan.g3.settings import G3Settings
from dcu.link.memory import stream_pair
from neighbourhood.g3 import lbd
from neighbourhood.g3.lbd import Device
from neighbourhood.g3.line import PAN, Line
from neighbourhood.g3.modem import Modem
from neighbourhood.g3.port import serve
from tests.fan.scripted import MemoryVault

from .host import PSK, datagram
from .paced import Paced

pytestmark = [pytest.mark.looptime, pytest.mark.timeout(400)]


class Town:
    def __init__(self, homes, seed=7):
        self.line = Line(homes, seed, quiet=True)
        self.paced = Paced(self.line.scheduler)
        self.modem = Modem(self.line.nodes[0], self.line.scheduler, Random(seed))
        self.devices = [Device(node, node.scheduler, Random(node.number), PSK) for node in self.line.nodes[1:]]
        self.vault = MemoryVault()
        self.vault.kept = type(self.vault.kept)(Secret(PSK), (None, None))
        self.told = []
        for device in self.devices:
            device.node.mac.on_refused = device.refused
            device.node.on_ipv6 = lambda packet, lqi, node=device.node: self.answer(node, packet)

    def answer(self, node, packet):
        """An echo, from where it was sent to: the payload backwards."""
        port = int.from_bytes(packet[40:42], "big")
        reply = datagram(node.short, 0, packet[48:][::-1], to=port)
        node.send_ipv6(0, reply, lambda status: None)

    @asynccontextmanager
    async def run(self, **changes):
        serving = []

        async def opener():
            near, far = stream_pair()
            serving.append(asyncio.ensure_future(serve(self.modem, far, self.paced)))
            return near

        clock = LoopClock(datetime(2025, 11, 20, 12, tzinfo=UTC))
        self.network = G3Network(
            G3Settings("street", PAN, **changes), self.vault, opener, clock, lambda *what: self.told.append(what)
        )
        self.network.listen(self.told.append)
        self.network.expect(frozenset(device.node.eui64 for device in self.devices))
        running = asyncio.ensure_future(self.network.run())
        try:
            yield self
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await self.network.close()
            for task in serving:
                task.cancel()
            await asyncio.gather(*serving, return_exceptions=True)
            self.paced.stop()

    async def joined(self, seconds=900):
        for number, device in enumerate(self.devices):
            self.paced(device.start, number * 2.0)
        await self.until(
            lambda: all(node.standing is Standing.JOINED for node in self.network.topology().nodes), seconds
        )

    async def until(self, wanted, seconds=300):
        async with asyncio.timeout(seconds):
            while not wanted():
                await asyncio.sleep(0.5)

    async def ask(self, device, payload, seconds=120):
        endpoint = await self.network.datagram(device.node.eui64)
        await endpoint.send(payload)
        async with asyncio.timeout(seconds):
            return await endpoint.receive()

    async def insist(self, device, payload):
        """A datagram may get lost: whoever needs an answer asks again."""
        for _ in range(9):
            try:
                return await self.ask(device, payload, 40)
            except (TimeoutError, LinkError):
                continue
        return None

    def changes(self):
        return [event.change for event in self.told if hasattr(event, "change")]


async def test_a_street_joins_and_answers():
    async with Town(10).run() as town:
        await town.joined()
        for device in town.devices:
            assert await town.ask(device, b"question") == b"noitseuq"
        assert await town.ask(town.devices[0], bytes(range(256)) * 3) == (bytes(range(256)) * 3)[::-1]
        path = await town.network.path(town.devices[-1].node.eui64)
        assert path[-1].eui64 == town.devices[-1].node.eui64
        assert town.modem.counts.refused <= 2  # before it was initialised


async def test_tables_of_the_modem_are_read():
    async with Town(6).run(sweep=20.0) as town:
        await town.joined()
        for device in town.devices:
            await town.ask(device, b"?")
        await asyncio.sleep(60)
        nodes = town.network.topology().nodes
        assert all(node.hops for node in nodes)
        assert any(node.link.quality for node in nodes)
        assert {node.link.modulation for node in nodes} - {""}


async def test_a_modem_that_reboots_is_set_up_again_and_no_meter_is_lost():
    async with Town(6).run() as town:
        await town.joined()
        for _ in range(3):
            town.paced(town.modem.reboot)
            await asyncio.sleep(40)
            for device in town.devices:
                assert await town.ask(device, b"still there?") == b"?ereht llits"
        assert {device.standing.value for device in town.devices} == {"joined"}


async def test_the_group_key_is_changed_without_losing_a_meter():
    async with Town(6).run() as town:
        await town.joined()
        before = town.devices[0].node.active_key
        assert await town.network.rekey() == 6
        for device in town.devices:
            assert device.node.active_key == 1 - before
            assert await town.ask(device, b"?!") == b"!?"
        assert Change.REKEYED in town.changes()


@pytest.mark.parametrize("how", ["without power", "drowned in noise"])
async def test_a_meter_that_missed_the_change_of_keys_comes_back_by_itself(how, monkeypatch):
    """Without power it has forgotten its keys; in the noise it kept the old one, which nobody understands any more."""
    monkeypatch.setattr(lbd, "STRANDED", 600.0)
    town = Town(4)
    async with town.run(silent_after=300.0) as town:
        await town.joined()
        device = town.devices[-1]
        node = device.node
        if how == "without power":
            town.paced(town.line.off, node.number)
            town.paced(device.stop)
        else:
            node.mac.heard = lambda *_: None
        await asyncio.sleep(600)
        assert town.network.devices[node.eui64].standing is Standing.SILENT
        assert await town.network.rekey() == 3
        if how == "without power":
            town.paced(town.line.on, node.number)
            town.paced(device.start)
        else:
            del node.mac.heard
        tries = 0
        while await town.insist(device, b"abc") != b"cba":
            await asyncio.sleep(200)
            tries += 1
            assert tries < 40, device.standing
        assert node.active_key == town.devices[0].node.active_key
        assert town.network.devices[node.eui64].standing is Standing.JOINED


async def test_a_bad_line_to_the_modem_costs_time_and_nothing_else():
    town = Town(3)
    town.modem.uart.noise, town.modem.lose_confirms = 0.002, 0.1
    async with town.run() as town:
        await town.joined(30_000)
        for device in town.devices:
            for _ in range(3):
                assert await town.insist(device, b"abc") == b"cba"
