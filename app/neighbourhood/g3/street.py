"""The whole thing in one process: a line, a modem, meters, and the real collector on top.

Under virtual time (`clockwork.run`) everything is in memory and as fast as the machine; in real time the modem may sit
at a pseudo-terminal, and the collector is the same code. What is compared at the end is the store's files against the
truth, which knows nothing of any of it.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

from dcu.clock import Clock, LoopClock, epoch_seconds
from dcu.collect import settings
from dcu.collect.networks import StoreVault
from dcu.collector import Collector
from dcu.credentials import NetworkKeys, Secret
from dcu.fan.base import Change, Topology
from dcu.fan.g3.network import G3Network, Opener
from dcu.fan.g3.plan import Plan
from dcu.keys import network_file, shipment
from dcu.keys.wrapped import new_kek
from dcu.link.memory import stream_pair
from dcu.link.serial import Port, open_serial
from neighbourhood.fleet import Fleet
from neighbourhood.g3 import line as lines
from neighbourhood.g3 import port
from neighbourhood.g3.homes import Homes
from neighbourhood.g3.lbd import Device, Standing
from neighbourhood.g3.line import Line
from neighbourhood.g3.loadng import MAX_HOPS
from neighbourhood.g3.modem import Modem
from neighbourhood.g3.trace import Trace
from neighbourhood.identity import serial

NETWORK = "street"
START = datetime(2025, 11, 20, 12, 2, tzinfo=UTC)
SPREAD = 60.0  # seconds over which the homes' devices start to look for a network
STALL = 3600.0  # simulated seconds without a reading after which a collection is over
_SHOWN = frozenset(map(str, (s for s in Standing if s not in (Standing.OFF, Standing.IDLE))))

FAMILY = """\
name = "simulated"
description = "a meter of the simulated street, over G3-PLC"

[security]
counter = "0-0:43.1.0*255"

[session]
timeout = 40.0
idle = 200000.0

[clock]
adjust = "never"

[[poll]]
profile = "1-0:99.1.0*255"
every = {every}.0
delay = {delay}.0
scheduled = 86400.0
history = 86400.0
verify = 2592000.0
"""
CONFIG = """\
system_title = "{title}"
meter_profiles = "families"
trust_clock = "never"
log = "warning"

[keys]
file = "keys.wrapped"
kek = "kek"

[store]
directory = "store"

[control]
socket = "control.sock"

[power]
device = ""

[retry]
attempts = 10
first = 5.0

[limits]
open_associations = 10000
batch = 3

[[medium]]
name = "{network}"
modem = "g3"
device = "modem.tty"
baud = 115200
pan = {pan}
concurrency = {concurrency}
window = {window}
max_hops = {max_hops}
allowed = {allowed}
sweep = {sweep}.0
"""


@dataclass(frozen=True, slots=True)
class Scene:
    """What street. every, delay: of the poll, in seconds; max_hops: adpMaxHops of the concentrator and of all devices;
    joined: keys, addresses and routes are there from the start; intruders: homes at which a device with another key
    hangs; allowed: devices (their numbers) on the white-list."""

    meters: int = 48
    seed: int = 1
    start: datetime = START
    concurrency: int = 1
    window: int = 4
    every: int = 3600
    delay: int = 60
    sweep: int = 300
    max_hops: int = MAX_HOPS
    joined: bool = False
    intruders: tuple[int, ...] = ()
    allowed: tuple[int, ...] = ()

    def with_rogues(self, homes: Sequence[int]) -> "Scene":
        """With a device at each of these homes that is on the white-list, so that its wrong key is what stops it.

        Raises ValueError for a home that is not there.
        """
        if wrong := [home for home in homes if not 0 < home <= self.meters]:
            raise ValueError(f"home {wrong[0]}: there are 1..{self.meters}")
        first = self.meters + 1
        return replace(self, intruders=tuple(homes), allowed=tuple(range(first, first + len(homes))))


@dataclass(slots=True)
class Street:
    """The simulated half: line, modem, devices, meters."""

    scene: Scene
    line: Line
    modem: Modem
    fleet: Fleet
    homes: Homes
    psk: bytes
    devices: dict[int, Device] = field(default_factory=dict)

    @classmethod
    def build(cls, scene: Scene, trace: Trace | None = None, *, now: Callable[[], int] | None = None) -> "Street":
        """now: the time by the meters' clocks, UTC seconds; None: the line's."""
        line = Line(scene.meters, scene.seed, start=scene.start.timestamp(), trace=trace, intruders=scene.intruders)
        scheduler, chance = line.scheduler, Random(f"street {scene.seed}")  # noqa: S311 - the same for the same seed
        fleet = Fleet(scene.meters, scene.seed, now or (lambda: int(line.start + scheduler.now)))
        modem = Modem(line.nodes[0], scheduler, Random(chance.randrange(1 << 32)))  # noqa: S311
        psk = chance.randbytes(16)
        made = cls(scene, line, modem, fleet, Homes(fleet, line.nodes, scheduler), psk)
        for node in line.nodes[1:]:
            made._connect(node.number, chance)
        line.describe(f"{scene.meters} homes", [meter.serial for meter in fleet.meters])
        return made

    def _connect(self, number: int, chance: Random) -> None:
        """A device at its home: its side of joining, and what happens when its power comes and goes."""
        node, scheduler = self.line.nodes[number], self.line.scheduler
        node.loadng.max_hops = self.scene.max_hops
        psk = self.psk if number <= self.scene.meters else chance.randbytes(16)

        def announce(standing: Standing, short: int) -> None:
            if standing in _SHOWN:
                state = str(standing)
                self.line.trace.emit("join", scheduler.now, node=number, state=state, short=short)

        own = Random(chance.randrange(1 << 32))  # noqa: S311
        device = self.devices[number] = Device(node, scheduler, own, psk, announce=announce)
        node.mac.on_refused = device.refused

        def power(up: bool) -> None:
            if up:
                device.start(own.uniform(1.0, 5.0))
            else:
                device.stop()
                if number <= self.scene.meters:
                    self.homes.forget(number)

        node.on_power = power

    def wake(self, spread: float = SPREAD) -> None:
        """The homes' devices look for their network."""
        for number, device in self.devices.items():
            device.start(spread * number / len(self.devices))

    def settle(self, group_key: bytes) -> None:
        """Everybody has joined and knows his routes: see `Line.settle`."""
        for home in range(1, self.scene.meters + 1):
            self.devices[home].register(lines.PAN, home, 0, group_key)
        self.line.settle(group_key)

    @property
    def joined(self) -> int:
        return sum(device.standing is Standing.JOINED for device in self.devices.values())

    def plan(self) -> Plan:
        """The short addresses of a settled street: a home's number."""
        plan = Plan(lines.PAN)
        members = frozenset(self.line.nodes[home].eui64 for home in range(1, self.scene.meters + 1))
        plan.give(members, members)
        plan.joined = set(members)
        return plan

    def ship(self, path: Path, transport: Secret) -> None:
        """Write a shipment file of all meters: keys and addresses."""
        new = [
            (shipment.NewMeter(meter.serial, f"g3://{node.eui64.hex()}", "simulated"), meter.shipped_keys())
            for meter, node in zip(self.fleet.meters, self.line.nodes[1:], strict=False)
        ]
        shipment.write(path, "Neighbourhood", "TK", transport, new)

    def names(self) -> dict[str, int]:
        return {serial(self.scene.seed, home): home for home in range(1, self.scene.meters + 1)}


@dataclass(slots=True)
class Collecting:
    """The real half: a collector that is connected with the street."""

    street: Street
    collector: Collector
    folder: Path

    @property
    def network(self) -> G3Network:
        network = self.collector.networks.get(NETWORK)
        assert isinstance(network, G3Network)
        return network

    def topology(self) -> Topology:
        return self.network.topology()

    async def call(self, method: str, **params: Any) -> Any:
        return await self.collector.api.handle(method, "street", params)

    async def register(self) -> None:
        """Ship the meters: keys and addresses."""
        transport = Secret(secrets.token_bytes(16))
        path = self.folder / "shipment.toml"
        self.street.ship(path, transport)
        await self.call("meters.import", shipment=path.read_text(), transport_key=transport.reveal().hex())

    async def keyed(self) -> None:
        """Hand over the pre-shared key, as an operator does with `dcu network import`."""
        transport = Secret(secrets.token_bytes(16))
        path = self.folder / "psk.toml"
        network_file.write(path, "TK", transport, Secret(self.street.psk))
        await self.call(
            "network.import", network=NETWORK, file=path.read_text(), transport_key=transport.reveal().hex()
        )

    async def up(self) -> None:
        """Wait for the PAN."""
        up = asyncio.Event()
        forget = self.network.listen(lambda event: up.set() if event.change is Change.UP else None)
        if not self.topology().up:
            await up.wait()
        forget()
        if self.street.scene.joined:
            self.settle()

    def settle(self) -> None:
        """Everybody has joined and knows the routes of now. Call it inside the simulation's clock."""
        keys = self.network.started
        assert keys is not None
        group = keys.keys.group[keys.keys.active]
        assert group is not None
        self.street.settle(group.reveal())


@asynccontextmanager
async def collecting(
    street: Street,
    folder: Path,
    enter: port.Enter,
    *,
    pty: bool = False,
    clock: Clock | None = None,
    inline: bool = True,
) -> AsyncIterator[Collecting]:
    """A collector over the street's modem, its files in `folder`. pty: over a pseudo-terminal, in real time."""
    prepare(street.scene, folder)
    serving: list[asyncio.Task[None]] = []
    config = settings.load(folder / "collector.toml")
    async with AsyncExitStack() as stack:
        opener = await _terminal(stack, street, folder, enter, serving) if pty else _memory(street, enter, serving)
        clock = clock or LoopClock(street.scene.start)
        collector = await Collector.open(stack, config, clock=clock, modem=lambda name: opener, inline=inline)
        if street.scene.joined:
            await remembered(street, collector)
        house = Collecting(street, collector, folder)
        await house.keyed()  # before the network runs: without a key its first word would be an error
        duties = [asyncio.ensure_future(duty) for duty in collector.networks.duties()]
        try:
            yield house
        finally:
            for task in (*duties, *serving):
                task.cancel()
            await asyncio.gather(*duties, *serving, return_exceptions=True)


async def remembered(street: Street, collector: Collector) -> None:
    """Let a collector find that all have joined, as after a restart."""
    vault, group = StoreVault(NETWORK, collector.services, collector.keyring), Secret(secrets.token_bytes(16))
    await vault.keep_keys(NetworkKeys(Secret(street.psk), (group, None)))
    await vault.begin(0, group)
    await vault.remember(street.plan().noted())


def prepare(scene: Scene, folder: Path) -> None:
    """What a collector over this street needs: its configuration, the meters' profile, a key-encryption key."""
    new_kek(folder / "kek")
    (folder / "store").mkdir(mode=0o700)
    (folder / "families").mkdir()
    (folder / "families" / "simulated.toml").write_text(FAMILY.format(every=scene.every, delay=scene.delay))
    (folder / "collector.toml").write_text(
        CONFIG.format(
            title=(b"DCU" + secrets.token_bytes(5)).hex(),
            network=NETWORK,
            pan=lines.PAN,
            concurrency=scene.concurrency,
            window=scene.window,
            max_hops=scene.max_hops,
            allowed=[lines.eui64(number).hex() for number in scene.allowed],
            sweep=scene.sweep,
        )
    )


def _memory(street: Street, enter: port.Enter, serving: list[asyncio.Task[None]]) -> Opener:
    async def opener() -> Any:
        near, far = stream_pair()
        serving.append(asyncio.ensure_future(port.serve(street.modem, far, enter)))
        return near

    return opener


async def _terminal(
    stack: AsyncExitStack, street: Street, folder: Path, enter: port.Enter, serving: list[asyncio.Task[None]]
) -> Opener:
    terminal = port.Pty(folder / "modem.tty")
    stack.push_async_callback(terminal.close)
    serving.append(asyncio.ensure_future(port.serve(street.modem, terminal.stream, enter)))
    return lambda: open_serial(Port(str(folder / "modem.tty"), 115200))


async def collected(
    house: Collecting, *, tell: Callable[[int, int], Awaitable[None] | None] | None = None, stall: float = STALL
) -> float:
    """Wait until the round of polls is complete; return the loop's seconds that it took. Raises TimeoutError."""
    loop, began = asyncio.get_running_loop(), asyncio.get_running_loop().time()
    expected, last, since = house.street.scene.meters, -1, began
    while True:
        progress = house.collector.polling.progress
        if progress.collected != last:
            last, since = progress.collected, loop.time()
            if tell is not None and (waiting := tell(progress.expected, progress.collected)) is not None:
                await waiting
        if progress.complete and progress.meters >= expected:
            return loop.time() - began
        if loop.time() - since > stall:
            raise TimeoutError(f"{last} readings, and none more in {stall:g} s")
        await asyncio.sleep(0.5)


def second(clock: Clock) -> int:
    return epoch_seconds(clock.now())
