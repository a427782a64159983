"""The collector: wires configuration, keys, store, media, links, push listener, scheduler and control socket together.

`run` is the dcu-collector service: it hardens its process, starts everything, and stops cleanly on SIGTERM and SIGINT:
commands under way are followed up, associations closed, and what is buffered is committed.
"""

import asyncio
import gc
import logging
import signal
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from random import SystemRandom

from dcu.clock import Clock, SystemClock
from dcu.collect import process, settings
from dcu.collect.events import Events
from dcu.collect.fleet import Connect, Fleet, Media
from dcu.collect.meter_profile import Families
from dcu.collect.polling import Polling
from dcu.collect.pushes import Pushes
from dcu.collect.retry import Backoff
from dcu.collect.scheduler import Scheduler
from dcu.collect.services import OpenAssociations, Services
from dcu.collect.settings import CollectorConfig
from dcu.collect.vitals import Vitals
from dcu.control.api import Api
from dcu.control.server import ControlServer
from dcu.credentials import Secret
from dcu.errors import ConfigError
from dcu.keys import shipment
from dcu.keys.wrapped import WrappedKeys, load_kek
from dcu.link import tcp, udp
from dcu.link.channel import DatagramChannel, StreamChannel
from dcu.link.push import PushListener
from dcu.platform.watchdog import Progress
from dcu.store.check import check
from dcu.store.records import Settings, StoreReport
from dcu.store.store import Store
from dcu.streams import Channel

UPKEEP_EVERY = 60.0  # seconds: commits by age, retention, quarantines that end
GENERATION_KEY = "keys.generation"

log = logging.getLogger("dcu.collector")


class _TrustedByConfiguration:
    """The system's clock, trusted or not because the configuration says so."""

    def __init__(self, *, trusted: bool) -> None:
        self._clock = SystemClock()
        self.trusted = trusted
        self.now = self._clock.now


async def connect(address: str, client: int, server: int, within: float) -> Channel:
    """Open a channel to `tcp://HOST:PORT` or `udp://HOST:PORT`. Raises LinkError, ConfigError."""
    scheme, _, rest = address.partition("://")
    where = settings.endpoint(rest)
    if where is None or scheme not in ("tcp", "udp"):
        raise ConfigError(f"{address}: no address of a meter: tcp://HOST:PORT or udp://HOST:PORT")
    if scheme == "tcp":
        return StreamChannel(await tcp.connect(*where, timeout=within), client, server)
    return DatagramChannel(await udp.connect(*where, timeout=within), client, server)


class Collector:
    """Everything that one collector runs; made by `open`, undone by the stack given to it."""

    def __init__(
        self, config: CollectorConfig, services: Services, fleet: Fleet, keys: WrappedKeys, pushes: Pushes
    ) -> None:
        retry = config.retry
        self.config = config
        self.services = services
        self.fleet = fleet
        self.scheduler = Scheduler(services, batch=config.limits.batch)
        backoff = Backoff(retry.attempts, retry.first, retry.factor, retry.longest)
        self.polling = Polling(services, fleet, self.scheduler, retry=backoff)
        self.pushes = pushes
        air = max((table.longest_answer / table.duty for table in config.medium if table.bitrate), default=0.0)
        self.vitals = Vitals(services.store, self.scheduler, fleet.media, air=air)
        self._keys = keys

    @classmethod
    async def open(
        cls, stack: AsyncExitStack, config: CollectorConfig, *, clock: Clock | None = None, link: Connect = connect
    ) -> "Collector":
        """Open keys and store, load the meters, start listening and polling; `stack` undoes it in order."""
        clock = clock or _clock(config)
        store = await Store.open(
            Path(config.store.directory),
            clock=clock,
            settings=Settings(
                config.store.retention_days, config.store.commit_every, config.store.commit_rows, config.store.ballast
            ),
        )
        stack.push_async_callback(store.close)
        keys = await _open_keys(config, store)
        limits = config.limits
        services = Services(
            clock,
            SystemRandom(),
            store,
            keys,
            Events(),
            config.client_title,
            counter_block=limits.counter_block,
            open=OpenAssociations(limits.open_associations),
        )
        stack.push_async_callback(services.settled)
        families = Families(Path(config.meter_profiles) if config.meter_profiles else None)
        media = Media((table.addresses, table.medium()) for table in config.medium)
        fleet = Fleet(services, families, media, link, quarantine_seconds=limits.quarantine_hours * 3600)
        collector = cls(config, services, fleet, keys, Pushes(services, plain=config.push.plain))
        await collector._start(stack)
        return collector

    async def _start(self, stack: AsyncExitStack) -> None:
        records = await self.services.store.meters()
        for record in records:
            self.fleet.take(record)
        await self.pushes.know(records)
        stack.push_async_callback(self.fleet.close)
        stack.push_async_callback(self.scheduler.close)
        await self._listen_for_pushes(stack)
        api = Api(self.services, self.fleet, self.scheduler, self.polling, self)
        server = await ControlServer.start(Path(self.config.control.socket), api.handle, self.services.events)
        stack.push_async_callback(server.close)
        if self.config.poll:
            self.polling.start()
        stack.push_async_callback(self.polling.stop)
        log.info("collecting from %d meters, control socket %s", len(self.fleet), self.config.control.socket)

    async def _listen_for_pushes(self, stack: AsyncExitStack) -> None:
        push = self.config.push
        if not push.tcp and not push.udp:
            return
        listener = PushListener(self.pushes.received)
        stack.push_async_callback(listener.close)
        for written, listen in ((push.tcp, listener.listen_tcp), (push.udp, listener.listen_udp)):
            where = settings.endpoint(written)
            if where is None:
                continue
            try:
                await listen(*where)
            except OSError as error:
                raise ConfigError(f"push listener {written}: {error.strerror or error}") from None

    async def import_shipment(self, text: str, transport_key: str, actor: str) -> list[str]:
        """Take the meters of a shipment: keys first, so that no meter is registered without."""
        try:
            key = Secret(bytes.fromhex(transport_key))
        except ValueError:
            raise ConfigError("transport_key: hexadecimal digits") from None
        shipped = (await asyncio.to_thread(shipment.parse, text.encode(), "shipment")).meters
        for item in shipped:
            self.fleet.media.of(item.address)
            self.fleet.family(item.profile)
        unwrapped = {item.name: shipment.unwrap(item, key) for item in shipped}
        await asyncio.to_thread(self._keys.put_all, unwrapped)
        store = self.services.store
        await store.remember(GENERATION_KEY, self._keys.generation.to_bytes(8, "big"))
        records = await store.add_meters(
            [(item.name, item.address, item.profile, item.system_title) for item in shipped]
        )
        await store.audit(actor, "import", f"{len(records)} meters", "")
        taken = [meter for record in records if (meter := self.fleet.take(record))]
        await self.pushes.know(records)
        if self.config.poll:
            self.polling.poll_now(taken)
        return [record.name for record in records]

    async def check_store(self) -> StoreReport:
        return await asyncio.to_thread(check, Path(self.config.store.directory))

    async def keep_up(self) -> None:
        """What time brings, for as long as the collector runs."""
        while True:
            await asyncio.sleep(UPKEEP_EVERY)
            await self.services.store.maintain()
            await self.fleet.maintain()

    def progress(self) -> tuple[Progress, ...]:
        return self.vitals.look()


async def run(config_path: Path) -> None:
    """Run the collector until SIGTERM or SIGINT. Raises ConfigError, KeysError, StoreError: it cannot start."""
    config = settings.load(config_path)
    logging.basicConfig(
        stream=sys.stderr, level=config.log.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    for line in process.harden():
        log.warning("%s", line)
    process.raise_descriptor_limit()
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with AsyncExitStack() as stack:
        collector = await Collector.open(stack, config)
        gc.freeze()  # what is there now stays: do not walk it again and again
        tasks = [asyncio.create_task(collector.keep_up()), asyncio.create_task(collector.vitals.keep())]
        if every := process.watchdog_seconds():
            tasks.append(asyncio.create_task(collector.vitals.feed(every)))
        process.notify("READY=1")
        waiting = asyncio.create_task(stop.wait())
        await asyncio.wait([waiting, *tasks], return_when=asyncio.FIRST_COMPLETED)
        process.notify("STOPPING=1")
        log.info("stopping")
        for task in (waiting, *tasks):
            task.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, Exception):
            raise outcome  # upkeep failed: better to be started anew than to run without
    log.info("stopped")


def _clock(config: CollectorConfig) -> Clock:
    if config.trust_clock == "kernel":
        return SystemClock()
    return _TrustedByConfiguration(trusted=config.trust_clock == "always")


async def _open_keys(config: CollectorConfig, store: Store) -> WrappedKeys:
    newest = int.from_bytes(await store.recall(GENERATION_KEY) or b"", "big")
    return await asyncio.to_thread(_keys, config.keys, newest)


def _keys(table: settings.Keys, newest: int) -> WrappedKeys:
    path, twin = Path(table.file), Path(table.twin) if table.twin else None
    kek = load_kek(Path(table.kek) if table.kek else None)
    if newest or path.exists() or (twin and twin.exists()):
        return WrappedKeys.open(path, kek, newest, twin)
    log.warning("%s: no key file yet: an empty one is made", path)
    return WrappedKeys.create(path, kek, twin)
