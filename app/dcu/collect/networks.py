"""The collector's field networks: one for each medium with a modem; kept up, told of, and spoken over.

What a network must keep goes to the store (short addresses, frame counters) and into the key file (its keys). What it
tells becomes events; what is an alarm goes to the head-end's outbox and the audit log as well. A meter that joins is
polled.
"""

import asyncio
import hmac
import logging
from collections.abc import Callable, Coroutine, Iterable, Iterator
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import msgspec

from dcu.collect.keyring import Keyring
from dcu.collect.meter_profile import MeterProfile
from dcu.collect.reach import Reach
from dcu.collect.services import Services
from dcu.collect.settings import MediumTable
from dcu.credentials import NetworkKeys, Secret
from dcu.errors import ConfigError, DcuError, KeysError, StoreError
from dcu.fan.base import ALARMS, Change, Event, FieldNetwork, written
from dcu.link.channel import DatagramChannel
from dcu.link.serial import open_serial
from dcu.model import Priority
from dcu.store.records import MeterRecord
from dcu.streams import Channel

if TYPE_CHECKING:
    from dcu.fan.g3.network import Opener

COUNTER_END = 1 << 32
AGAIN = 60.0  # seconds until a network that had no key, or no disk, is tried again
GENERATION_KEY = "keys.generation"

Notified = Callable[[str, bytes], None]  # who, as text; the wrapper datagram that it sent unasked
Joined = Callable[[str], None]  # the meter's name

log = logging.getLogger(__name__)


class StoreVault:
    """A Vault in the collector's store and key file."""

    def __init__(self, name: str, services: Services, keyring: Keyring) -> None:
        self._name = name
        self._services = services
        self._keyring = keyring
        self._owner = f"@network {name}"

    async def keys(self) -> NetworkKeys:
        return await asyncio.to_thread(self._keyring.network, self._name)

    async def keep_keys(self, keys: NetworkKeys) -> None:
        await asyncio.to_thread(self._keyring.put_network, self._name, keys)
        generation = self._keyring.generation.to_bytes(8, "big")
        await self._services.store.remember(GENERATION_KEY, generation)

    async def recall(self) -> bytes | None:
        return await self._services.store.recall(f"network.{self._name}")

    async def remember(self, notes: bytes) -> None:
        await self._services.store.remember(f"network.{self._name}", notes)

    async def reserve(self, count: int, key: Secret) -> range | None:
        store, mark = self._services.store, _mark(key)
        known = await store.counter(self._owner, mark)
        if known is None or known + count > COUNTER_END:
            return None
        return await store.reserve_counters(self._owner, count, mark)

    async def begin(self, floor: int, key: Secret) -> None:
        await self._services.store.raise_counter(self._owner, floor, _mark(key))


class Networks:
    """By the media that have a modem. `modem` opens one by its medium's name; None: its serial device.

    joined: told of each registered meter that joins.
    """

    def __init__(
        self,
        tables: Iterable[MediumTable],
        services: Services,
        keyring: Keyring,
        *,
        notified: Notified,
        modem: "Callable[[str], Opener] | None" = None,
    ) -> None:
        self._services = services
        self._keyring = keyring
        self.joined: Joined = lambda name: None
        self._names: dict[bytes, str] = {}  # meters by EUI-64
        self._keyed = asyncio.Event()
        self._by_pattern: list[tuple[tuple[str, ...], FieldNetwork]] = []
        for table in tables:
            if (settings := table.g3) is None:
                continue
            from dcu.fan.g3.network import G3Network  # memory: only where there is a modem

            opener = modem(table.name) if modem else _opener(table)
            network = G3Network(
                settings,
                StoreVault(table.name, services, keyring),
                opener,
                services.clock,
                lambda eui64, payload: notified(self._who(eui64), payload),
            )
            network.listen(self._told)
            self._by_pattern.append((table.patterns, network))

    def __iter__(self) -> Iterator[FieldNetwork]:
        return (network for _, network in self._by_pattern)

    def __len__(self) -> int:
        return len(self._by_pattern)

    def get(self, name: str) -> FieldNetwork:
        """Raises ConfigError."""
        for _, network in self._by_pattern:
            if network.name == name:
                return network
        known = ", ".join(network.name for _, network in self._by_pattern) or "there is none"
        raise ConfigError(f"no field network {name!r}: {known}; a [[medium]] with a modem makes one")

    def of(self, address: str) -> tuple[FieldNetwork, bytes]:
        """The network that a meter's address belongs to, and its EUI-64. Raises ConfigError."""
        reach = Reach.parse(address)
        for patterns, network in self._by_pattern:
            if reach.eui64 and any(fnmatchcase(address, pattern) for pattern in patterns):
                return network, reach.eui64
        raise ConfigError(f"{address}: no field network takes it: [[medium]] needs a modem and a pattern that fits")

    async def connect(self, address: str, client: int, profile: MeterProfile) -> Channel:
        """Open a channel to a meter. Raises LinkError, ConfigError."""
        network, eui64 = self.of(address)
        server = Reach.parse(address).logical or profile.addresses.server
        return DatagramChannel(await network.datagram(eui64), client, server)

    def hops(self, address: str) -> int | None:
        """How many hops lie on the way to a meter; None where no network knows."""
        if not address.startswith("g3://"):
            return None
        try:
            network, eui64 = self.of(address)
        except ConfigError:
            return None
        return network.hops(eui64)

    def expect(self, records: Iterable[MeterRecord]) -> None:
        """Have each network know who is registered: all meters there are."""
        members: dict[str, set[bytes]] = {network.name: set() for _, network in self._by_pattern}
        self._names.clear()
        for record in records:
            if not record.address.startswith("g3://"):
                continue
            try:
                network, eui64 = self.of(record.address)
            except ConfigError as error:
                log.error("meter %s: %s", record.name, error)
                continue
            members[network.name].add(eui64)
            self._names[eui64] = record.name
        for _, network in self._by_pattern:
            network.expect(frozenset(members[network.name]))

    def name_of(self, eui64: bytes) -> str | None:
        """The registered name of a meter."""
        return self._names.get(eui64)

    async def import_psk(self, name: str, psk: Secret, actor: str) -> None:
        """Have a network use this pre-shared key, from its next start on where it has another. Raises DcuError."""
        self.get(name)
        try:
            keys = replace(await asyncio.to_thread(self._keyring.network, name), psk=psk)
        except KeysError:
            keys = NetworkKeys(psk)
        await asyncio.to_thread(self._keyring.put_network, name, keys)
        store = self._services.store
        await store.remember(GENERATION_KEY, self._keyring.generation.to_bytes(8, "big"))
        await store.audit(actor, "network-key", name, "pre-shared key imported")
        self._keyed.set()

    def duties(self) -> list[Coroutine[Any, Any, None]]:
        return [self._keep(network) for _, network in self._by_pattern]

    async def close(self) -> None:
        for _, network in self._by_pattern:
            await network.close()

    async def _keep(self, network: FieldNetwork) -> None:
        """For as long as the collector runs: without a key or a disk it waits for one."""
        said = ""
        while True:
            try:
                self._keyed.clear()
                await network.run()
            except (KeysError, StoreError) as error:
                if str(error) != said:
                    said = str(error)
                    self._told(Event(network.name, Change.TROUBLE, text=said))
                    log.error("network %s: %s", network.name, said)
            try:
                async with asyncio.timeout(AGAIN):
                    await self._keyed.wait()
            except TimeoutError:
                pass

    # --- what they tell

    def _who(self, eui64: bytes) -> str:
        return self._names.get(eui64) or written(eui64)

    def _told(self, event: Event) -> None:
        name = self._names.get(event.eui64)
        eui64 = written(event.eui64) if event.eui64 else ""
        self._services.events.tell(
            "network", network=event.network, change=str(event.change), meter=name, eui64=eui64, text=event.text
        )
        if event.change is Change.JOINED and name:
            self.joined(name)
        if event.change in ALARMS:
            self._services.aside(self._alarm(event, name or eui64))

    async def _alarm(self, event: Event, who: str) -> None:
        subject = who or event.network
        kind = f"network-{event.change}".replace("network-network", "network")
        text = f"network {event.network}: {event.text or event.change}"
        store = self._services.store
        try:
            await store.audit("collector", kind, subject, text)
            payload = msgspec.json.encode({"event": kind, "subject": subject, "text": text})
            await store.put("alarm", payload, Priority.ALARM, self._names.get(event.eui64))
        except DcuError as error:
            log.error("%s: %s: %s", kind, text, error)
        self._services.events.tell("alarm", meter=self._names.get(event.eui64), kind=kind, message=text)


def _mark(key: Secret) -> bytes:
    """Name a group key without giving it away: frame counters belong to it."""
    return hmac.digest(key.reveal(), b"grid-dcu frame counters 1", "sha256")[:16]


def _opener(table: MediumTable) -> "Opener":
    port = table.modem_port
    return lambda: open_serial(port)
