"""A G3 modem out of a script, at the end of an in-memory line: it does as the interface promises, or as a test bends.

It keeps what a real one keeps (keys, addresses, frame counter, who joined) and loses all of it in a reboot. It speaks
through the driver's own codec, whose bytes `test_messages` holds; the emulator in `neighbourhood` has another one.
"""

import asyncio
from collections import Counter
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime

from dcu.clock import LoopClock
from dcu.credentials import NetworkKeys, Secret
from dcu.errors import LinkError
from dcu.fan.g3 import ipv6, messages, reports, requests, usi
from dcu.fan.g3.network import G3Network
from dcu.fan.g3.pib import Adp, Lbp, Mac
from dcu.fan.g3.settings import G3Settings
from dcu.link.memory import stream_pair

PAN = 0x781D
OURS = bytes.fromhex("0004a3fffe000001")
PSK = Secret(bytes(range(16)))


def eui(number):
    return bytes.fromhex("0004a3fffe01") + number.to_bytes(2, "big")


class MemoryVault:
    """A Vault in RAM; `writes` is the order of what was made durable."""

    def __init__(self):
        self.kept = NetworkKeys(PSK, (None, None))
        self.notes = None
        self.floors = {}
        self.writes = []

    async def keys(self):
        return self.kept

    async def keep_keys(self, keys):
        await asyncio.sleep(0.01)
        self.kept = keys
        self.writes.append("keys")

    async def recall(self):
        return self.notes

    async def remember(self, notes):
        await asyncio.sleep(0.01)
        self.notes = notes
        self.writes.append("notes")

    async def reserve(self, count, key):
        await asyncio.sleep(0.01)
        first = self.floors.get(key.reveal())
        if first is None or first + count > 1 << 32:
            return None
        self.floors[key.reveal()] = first + count
        self.writes.append("counters")
        return range(first, first + count)

    async def begin(self, floor, key):
        self.floors[key.reveal()] = max(floor, self.floors.get(key.reveal(), 0))
        self.writes.append("begin")


class ScriptedModem:
    """`bend(report)` may return what is sent in its place: a list of reports, bytes (raw), or None for the report."""

    def __init__(self):
        self.stream = None
        self.counts = Counter()
        self.bend = lambda report: None
        self.spoil = lambda wire: [wire]  # of the bytes to the host: in pieces, bent
        self.mishear = lambda data: data  # of the bytes from the host
        self.deliver = lambda modem, handle, packet: modem.confirm(handle)
        self.log = []  # every request, in order
        self.frame_counters = []  # every (key, counter) that a frame was secured with
        self.dead = False
        self.answering = set()  # short addresses that a route is found to
        self.slow = 0.0
        self.saying = set()
        self.power_up()

    def power_up(self):
        self.ready = self.started = False
        self.pib = {}
        self.keys = {}
        self.active = None
        self.psk = None
        self.rekey_key = None
        self.rekeying = False
        self.counter = 0
        self.assigned = {}
        self.routes = []
        self.neighbours = []

    def reboot(self):
        self.counts["reboots"] += 1
        self.power_up()

    async def serve(self, stream):
        self.stream = stream
        decoder = usi.Decoder()
        while data := await stream.read():
            for frame in decoder.feed(self.mishear(data)):
                await self.take(messages.decode_request(frame.payload))

    async def take(self, request):
        if self.dead:
            return
        if self.slow:
            await asyncio.sleep(self.slow)
        self.log.append(request)
        if not self.ready and not isinstance(request, requests.Initialise):
            await self.say(reports.ModemStatus(1, request.COMMAND))
            return
        await getattr(self, f"on_{type(request).__name__.lower()}", self.unknown)(request)

    async def say(self, report):
        bent = self.bend(report)
        for each in [report] if bent is None else bent:
            wire = each if isinstance(each, bytes) else usi.encode(usi.Frame(usi.Protocol.ADP, messages.encode(each)))
            for piece in self.spoil(wire):
                with suppress(LinkError):
                    await self.stream.write(piece)

    def soon(self, report):
        task = asyncio.ensure_future(self.say(report))
        self.saying.add(task)
        task.add_done_callback(self.saying.discard)

    def secured(self):
        """A frame goes out: a nonce is spent."""
        key = self.keys.get(self.active)
        assert key is not None, "a frame without a key"
        self.frame_counters.append((key, self.counter))
        self.counter += 1

    async def unknown(self, request):
        await self.say(reports.ModemStatus(2, request.COMMAND))

    async def on_initialise(self, request):
        self.power_up()
        self.pib = {Adp.SOFT_VERSION: b"\x01\x02\x03\x04\x05\x06"}
        await asyncio.sleep(0.1)
        self.ready = True
        await self.say(reports.ModemStatus(0, request.COMMAND))

    async def on_reset(self, request):
        self.started = False
        await self.say(reports.ResetConfirm(0))

    async def on_set(self, request):
        if request.attribute == Adp.ACTIVE_KEY_INDEX:
            self.active = request.value[0]
        self.pib[request.attribute] = request.value
        await self.say(reports.SetConfirm(0, request.attribute, request.index))

    async def on_get(self, request):
        table = {Adp.ROUTING_TABLE: self.routes}.get(request.attribute)
        await self.answer(reports.GetConfirm, request, table)

    async def on_macget(self, request):
        table = {
            Mac.NEIGHBOUR_TABLE: self.neighbours,
            Mac.FRAME_COUNTER: [self.counter.to_bytes(4, "big")],
            Mac.PAN_ID: [self.pib.get("pan", b"\xff\xff")],
            Mac.EXTENDED_ADDRESS: [OURS],
        }.get(request.attribute)
        await self.answer(reports.MacGetConfirm, request, table)

    async def answer(self, kind, request, table):
        if table is None and request.attribute in self.pib:
            table = [self.pib[request.attribute]]
        found = table is not None and request.index < len(table)
        value = table[request.index] if found else b""
        await self.say(kind(0 if found else 0xA7, request.attribute, request.index, value))

    async def on_macset(self, request):
        if request.attribute == Mac.FRAME_COUNTER:
            self.counter = int.from_bytes(request.value, "big")
        elif request.attribute == Mac.KEY_TABLE:
            self.keys[request.index] = request.value
        await self.say(reports.MacSetConfirm(0, request.attribute, request.index))

    async def on_lbpset(self, request):
        match request.attribute:
            case Lbp.PSK:
                self.psk = request.value
            case Lbp.GMK:
                self.keys[request.index] = request.value
                self.active = request.index
            case Lbp.REKEY_GMK:
                self.rekey_key = request.value
        await self.say(reports.LbpSetConfirm(0, request.attribute, request.index))

    async def on_startnetwork(self, request):
        self.started = True
        self.pib["pan"] = request.pan.to_bytes(2, "big")
        self.secured()
        await self.say(reports.StartConfirm(0))

    async def on_assignshort(self, request):
        if request.short != requests.DECLINED:
            self.assigned[request.eui64] = request.short
            self.secured()
            await self.say(reports.JoinComplete(request.eui64, request.short))

    async def on_data(self, request):
        self.secured()
        self.deliver(self, request.handle, request.packet)

    async def on_kick(self, request):
        self.secured()

    async def on_rekey(self, request):
        self.secured()
        await self.say(reports.JoinComplete(request.eui64, request.short))

    async def on_rekeyphase(self, request):
        self.rekeying = request.start

    async def on_activatekey(self, request):
        self.active = 1 - self.active
        self.keys[self.active] = self.rekey_key

    async def on_discoverroute(self, request):
        there = request.destination in self.answering
        await self.say(reports.RouteConfirm(0 if there else 0xD3))

    async def on_discoverpath(self, request):
        there = tuple(reports.Hop(short, 0, 5, 0, 0, 0) for short in (1, 2, request.destination))
        await self.say(reports.PathConfirm(0, request.destination, 0, request.metric, (there, there)))

    def confirm(self, handle, status=0):
        self.soon(reports.DataConfirm(status, handle))

    def join(self, eui64):
        self.soon(reports.JoinRequest(eui64))

    def from_device(self, short, payload, port=4059, to=0xF0B1):
        packet = ipv6.encode(ipv6.Datagram(ipv6.address(PAN, short), ipv6.address(PAN, 0), port, to, payload))
        self.soon(reports.DataIndication(90, packet))


class Rig:
    def __init__(self, network, modem, vault, told, notified):
        self.network, self.modem, self.vault, self.told, self.notified = network, modem, vault, told, notified
        self.openings = 0

    def changes(self):
        return [event.change for event in self.told]

    async def until(self, holds, within=60.0):
        async with asyncio.timeout(within):
            while not holds():
                await asyncio.sleep(0.05)

    async def joined(self, *numbers):
        for number in numbers:
            self.modem.join(eui(number))
        await self.until(lambda: all(eui(number) in self.network.plan.joined for number in numbers))


@asynccontextmanager
async def rig(meters=3, vault=None, modem=None, **changes):
    """A running network whose registered meters are eui(1)…eui(meters)."""
    vault, modem = vault or MemoryVault(), modem or ScriptedModem()
    told, notified, serving = [], [], []

    async def opener():
        made.openings += 1
        near, far = stream_pair()
        serving.append(asyncio.ensure_future(modem.serve(far)))
        return near

    clock = LoopClock(datetime(2025, 11, 20, 12, tzinfo=UTC))
    settings = G3Settings("street", PAN, **changes)
    network = G3Network(settings, vault, opener, clock, lambda *what: notified.append(what))
    network.listen(told.append)
    network.expect(frozenset(eui(number) for number in range(1, meters + 1)))
    made = Rig(network, modem, vault, told, notified)
    running = asyncio.ensure_future(network.run())
    try:
        await made.until(lambda: network.modem is not None or running.done())
        if running.done():
            running.result()
        yield made
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await network.close()
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)
