"""The collector: wires configuration, keys, store, media, links, push listener, scheduler and control socket together.

As a process of its own it is `dcu.running`'s. It stops in good order: what is buffered is committed, commands under way
are followed up, associations closed. Each has a bound, half a minute in all, so that systemd's patience is never tried.
"""

import asyncio
import logging
import os
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from random import SystemRandom
from typing import TYPE_CHECKING, Any

import msgspec

from dcu.clock import Clock, SystemClock, epoch_seconds
from dcu.collect import process, settings
from dcu.collect.events import Events
from dcu.collect.fleet import Connect, Fleet, Media
from dcu.collect.imaging import Imaging
from dcu.collect.keyring import Keyring
from dcu.collect.links import Links
from dcu.collect.mains import open_line
from dcu.collect.meter_profile import Families
from dcu.collect.networks import Networks
from dcu.collect.outage import Outage
from dcu.collect.polling import Polling
from dcu.collect.pushes import Pushes
from dcu.collect.reach import endpoint
from dcu.collect.registry import Registry, tell
from dcu.collect.retry import Backoff
from dcu.collect.scheduler import Scheduler
from dcu.collect.services import OpenAssociations, Services
from dcu.collect.settings import CollectorConfig
from dcu.collect.standing import State
from dcu.collect.vitals import Vitals
from dcu.control.api import Api
from dcu.control.server import ControlServer, Permitted
from dcu.credentials import Secret
from dcu.errors import ConfigError, StoreError
from dcu.keys import shipment
from dcu.keys.base import HEAD_END
from dcu.link.push import PushListener
from dcu.platform.doubly import Doubly
from dcu.platform.machine import Machine
from dcu.platform.watchdog import Progress
from dcu.store.check import check
from dcu.store.records import Settings, StoreReport
from dcu.store.store import Store

if TYPE_CHECKING:
    from dcu.fan.g3.network import Opener
    from dcu.uplink.notifier import Notifier

UPKEEP_EVERY = 60.0  # seconds: commits by age, retention, quarantines that end
UPLINK_WITHIN = 300.0  # seconds: the notifier looks every minute, and may wait for a name service
GENERATION_KEY = "keys.generation"
TOLD_KEY = "device.told"
AUDITED_NAMES = 50  # of the meters of a shipment
COUNTERS_SINCE = 1_577_836_800  # 2020-01-01: what is sent to the head-end is far less than one packet a second

log = logging.getLogger("dcu.collector")


class _TrustedByConfiguration:
    """The system's clock, trusted or not because the configuration says so."""

    def __init__(self, *, trusted: bool) -> None:
        self._clock = SystemClock()
        self.trusted = trusted
        self.now = self._clock.now


class Collector:
    """Everything that one collector runs; made by `open`, undone by the stack given to it."""

    def __init__(
        self,
        config: CollectorConfig,
        services: Services,
        fleet: Fleet,
        keys: Keyring,
        pushes: Pushes,
        networks: Networks,
    ) -> None:
        retry = config.retry
        self.config = config
        self.services = services
        self.fleet = fleet
        self.scheduler = Scheduler(services, batch=config.limits.batch)
        backoff = Backoff(retry.attempts, retry.first, retry.factor, retry.longest)
        self.polling = Polling(services, fleet, self.scheduler, retry=backoff)
        self.pushes = pushes
        self.imaging = Imaging(services, fleet, self.scheduler, Path(config.store.directory) / "images")
        self.networks = networks
        air = max((t.longest_answer / t.duty for t in config.medium if t.bitrate or t.device), default=0.0)
        self.vitals = Vitals(services.store, self.polling, self.scheduler, fleet.media, air=air)
        self.notifier: Notifier | None = None
        self._keys = self.keyring = keys
        self._importing = asyncio.Lock()
        beside = [Path(each).with_name("meters") for each in (config.keys.file, config.keys.twin) if each]
        self._registry = Registry(Doubly(*beside) if len(beside) == 2 else None)

    @classmethod
    async def open(
        cls,
        stack: AsyncExitStack,
        config: CollectorConfig,
        *,
        clock: Clock | None = None,
        link: Connect | None = None,
        modem: "Callable[[str], Opener] | None" = None,
        inline: bool = False,
    ) -> "Collector":
        """Open keys and store, load the meters, start listening and polling; `stack` undoes it in order.

        modem: what opens the modem of a medium, by its name; inline: the store without a thread (virtual time).
        """
        clock = clock or _clock(config)
        store = await Store.open(
            Path(config.store.directory),
            clock=clock,
            inline=inline,
            settings=Settings(
                config.store.retention_days, config.store.commit_every, config.store.commit_rows, config.store.ballast
            ),
        )
        stack.push_async_callback(store.close)
        keys = await _open_keys(config.keys, store)
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
        media = Media((table.patterns, table.medium()) for table in config.medium)
        pushes = Pushes(services, plain=config.push.plain, security=lambda name: fleet.get(name).profile.security)
        listener = PushListener(pushes.received)
        networks = Networks(config.medium, services, keys, notified=listener.enqueue, modem=modem)
        links = Links(config.medium, networks)
        stack.push_async_callback(links.close)
        stack.push_async_callback(networks.close)
        stack.push_async_callback(services.settled)  # links are ended in order before their lines close
        fleet = Fleet(
            services,
            families,
            media,
            link or links.connect,
            hops=networks.hops,
            quarantine_seconds=limits.quarantine_hours * 3600,
        )
        collector = cls(config, services, fleet, keys, pushes, networks)
        await collector._start(stack, listener)
        return collector

    async def _start(self, stack: AsyncExitStack, listener: PushListener) -> None:
        await self._tell_of_repairs(Machine())
        records = await self._registry.reconcile(self.services.store)
        for record in records:
            self.fleet.take(record)
        self.pushes.know(records)
        self.networks.expect(records)
        self.networks.joined = self._joined
        stack.push_async_callback(self.fleet.close)
        stack.push_async_callback(self.scheduler.close)
        stack.callback(self.imaging.close)
        await self._listen_for_pushes(stack, listener)
        if self.config.headend.addresses:
            self._tell_the_head_end(stack)
        self.api = api = Api(self.services, self.fleet, self.scheduler, self.polling, self, self.imaging, self.networks)
        control = self.config.control
        permitted = Permitted(frozenset({0, os.getuid()}), frozenset(control.others))
        server = await ControlServer.start(Path(control.socket), api.handle, self.services.events, permitted)
        stack.push_async_callback(server.close)
        await self.imaging.resume()
        if self.config.poll:
            self.polling.start()
        stack.push_async_callback(self.polling.stop)
        stack.push_async_callback(self._keep)
        log.info("collecting from %d meters, control socket %s", len(self.fleet), self.config.control.socket)

    async def _tell_of_repairs(self, machine: Machine) -> None:
        """What was mended or made anew before we started; once a boot."""
        store, told = self.services.store, []
        for path, kind in ((machine.recreated, "made-anew"), (machine.restored, "restored")):
            with suppress(OSError):
                told += [(kind, text, f"{text} {path.stat().st_mtime_ns}".encode()) for text in machine.told(path)]
        known = await store.recall(TOLD_KEY) or b""
        for kind, text, mark in told:
            if mark not in known.split(b"\n"):
                await tell(store, kind, "persist" if kind == "restored" else text, text)
        if told and (marks := b"\n".join(mark for *_, mark in told)) != known:
            await store.remember(TOLD_KEY, marks)

    def _tell_the_head_end(self, stack: AsyncExitStack) -> None:
        from dcu.uplink.notifier import Notifier, UdpSender  # memory: only where there is a head-end

        where = map(endpoint, self.config.headend.addresses)
        sender = UdpSender([address for address in where if address])
        stack.callback(sender.close)
        self.notifier = Notifier(self.services, sender, repeat=self.config.headend.repeat)

    async def _keep(self) -> None:
        """The first thing when the collector stops: what takes long after it may be cut off."""
        try:
            if not self.services.store.frozen:
                await self.services.store.flush()
        except StoreError as error:
            log.error("%s", error)

    def _joined(self, name: str) -> None:
        """A meter has come into its network: poll it, it was out of reach before."""
        meter = self.fleet.get(name)
        self.scheduler.hurry(meter)
        if self.config.poll:
            self.polling.poll_now([meter])

    async def _listen_for_pushes(self, stack: AsyncExitStack, listener: PushListener) -> None:
        push = self.config.push
        stack.push_async_callback(listener.close)
        if self.networks:
            listener.serve_datagrams()
        for written, listen in ((push.tcp, listener.listen_tcp), (push.udp, listener.listen_udp)):
            where = endpoint(written)
            if where is None:
                continue
            try:
                await listen(*where)
            except OSError as error:
                raise ConfigError(f"push listener {written}: {error.strerror or error}") from None

    async def import_shipment(self, text: str, transport_key: str, actor: str) -> list[str]:
        """Take the meters of a shipment, one shipment at a time and to its end, also where who asked has gone."""
        key = _transport(transport_key)

        async def one_at_a_time() -> list[str]:
            async with self._importing:
                return await self._import(text, key, actor)

        return await self.services.finish(one_at_a_time())

    async def _import(self, text: str, key: Secret, actor: str) -> list[str]:
        """Keys first, so that no meter is registered without."""
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
        everybody = await store.meters()
        await self._registry.keep(everybody)
        names = [record.name for record in records]
        more = f" and {len(names) - AUDITED_NAMES} more" if len(names) > AUDITED_NAMES else ""
        await store.audit(actor, "import", f"{len(names)} meters", ", ".join(names[:AUDITED_NAMES]) + more)
        taken = [meter for record in records if (meter := self.fleet.take(record))]
        for meter in taken:
            if meter.state is State.QUARANTINED:  # with new keys, or another address, it may answer sense
                await meter.release()
        self.pushes.know(records)
        self.networks.expect(everybody)
        if self.config.poll:
            self.polling.poll_now(taken)
        return names

    async def reset_keys(self, actor: str) -> list[str]:
        """Begin an empty key file in place of a damaged or lost one. Raises KeysError where it is sound."""
        async with self._importing:
            aside = [str(path) for path in await asyncio.to_thread(self._keys.reset)]
            store = self.services.store
            await store.remember(GENERATION_KEY, self._keys.generation.to_bytes(8, "big"))
            await store.audit(actor, "keys", "reset", f"set aside: {', '.join(aside) or 'nothing, it was lost'}")
            return aside

    async def import_head_end(self, text: str, transport_key: str, actor: str) -> tuple[str, int]:
        """Take the head-end's keys; return its system title and the first invocation counter that we send with."""
        key = _transport(transport_key)

        async def one_at_a_time() -> tuple[str, int]:
            async with self._importing:
                return await self._import_head_end(text, key, actor)

        return await self.services.finish(one_at_a_time())

    async def _import_head_end(self, text: str, key: Secret, actor: str) -> tuple[str, int]:
        """The counter first, so that no key is there without.

        Where the file names no counter it begins at the seconds since 2020: the same file, imported again after the
        store was lost, then still spends no counter twice.
        """
        shipped = await asyncio.to_thread(shipment.parse_head_end, text.encode(), "head-end file")
        keys = shipment.unwrap(shipped.keys, key)
        store, clock = self.services.store, self.services.clock
        if shipped.counter is None and not clock.trusted:
            raise ConfigError(
                "head-end file: our clock is not synchronised: say by `counter` the first invocation counter that we "
                "never sent with under this key (0: it is new)"
            )
        first = epoch_seconds(clock.now()) - COUNTERS_SINCE if shipped.counter is None else shipped.counter
        first = await store.raise_counter(HEAD_END, max(0, first), keys.fingerprint(self.services.client_title))
        await asyncio.to_thread(self._keys.put, HEAD_END, keys)
        await store.remember(GENERATION_KEY, self._keys.generation.to_bytes(8, "big"))
        title = keys.system_title.hex()
        await store.audit(actor, "import", "head-end", f"system title {title}, invocation counters from {first}")
        if self.notifier:
            await self.notifier.prepare()
        return title, first

    async def check_store(self) -> StoreReport:
        """Look, mend what can be collected again, and report what is there then."""
        directory = Path(self.config.store.directory)
        report = await asyncio.to_thread(check, directory)
        for day in report.damaged:
            await self.services.store.mend(day)
        return await asyncio.to_thread(check, directory) if report.damaged else report

    async def keep_up(self) -> None:
        """What time brings, for as long as the collector runs."""
        while True:
            await asyncio.sleep(UPKEEP_EVERY)
            await self.services.store.maintain()
            await self.fleet.maintain()

    def progress(self) -> tuple[Progress, ...]:
        return self.vitals.look()

    def duties(self) -> list[Coroutine[Any, Any, None]]:
        """What goes on for as long as the collector runs."""
        found = [self.keep_up(), self.vitals.keep(), *self.networks.duties()]
        if self.notifier:
            found.append(self.notifier.keep(self.vitals.liveness.beating("uplink", UPLINK_WITHIN)))
        power = self.config.power
        if power.device:
            guard = Outage(
                self.services,
                self.fleet,
                self.scheduler,
                (lambda: process.switch_off(power.off)) if power.off else None,
                terms=power.terms,
                hold_up=power.hold_up,
                notifier=self.notifier,
            )
            found.append(guard.watch(lambda: open_line(Path(power.device))))
        return found


def _transport(key: str) -> Secret:
    try:
        return Secret(bytes.fromhex(key))
    except ValueError:
        raise ConfigError("transport_key: hexadecimal digits") from None


def _clock(config: CollectorConfig) -> Clock:
    if config.trust_clock == "kernel":
        return SystemClock()
    return _TrustedByConfiguration(trusted=config.trust_clock == "always")


async def _open_keys(table: settings.Keys, store: Store) -> Keyring:
    """The keys; without them the collector runs all the same. Counters are doubted where the store is the older one."""
    newest = int.from_bytes(await store.recall(GENERATION_KEY) or b"", "big")
    kek, twin = Path(table.kek) if table.kek else None, Path(table.twin) if table.twin else None
    keys = await asyncio.to_thread(Keyring.open, Path(table.file), kek, twin, newest)
    if keys.trouble:
        log.error("%s", keys.trouble)
        await store.audit("collector", "keys", table.file, keys.trouble)
        payload = msgspec.json.encode({"event": "keys-lost", "subject": table.file, "text": keys.trouble})
        await store.put("alarm", payload)
    elif keys.generation > newest:
        if newest:
            await store.doubt_counters("the key file was written after this store")
        await store.remember(GENERATION_KEY, keys.generation.to_bytes(8, "big"))
    if keys.mended:
        await tell(store, "restored", table.file, keys.mended)
    return keys
