"""The meters that the collector has: from the store's registry, each with its family and on its medium.

An address says the link (`tcp://192.0.2.7:4059`, `hdlc+serial://cabinet/17`: see `dcu.collect.reach`); which medium it
shares with others follows from the patterns of the configuration. What opens a channel is given from outside: no
sockets here.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator
from fnmatch import fnmatchcase
from weakref import WeakValueDictionary

from dcu.clock import epoch_seconds
from dcu.collect.medium import Lane, Medium
from dcu.collect.meter import Meter
from dcu.collect.meter_profile import Families, MeterProfile
from dcu.collect.reach import physical_part
from dcu.collect.services import Services
from dcu.collect.standing import Place, State
from dcu.errors import ConfigError
from dcu.store.records import MeterRecord, MeterState
from dcu.streams import Channel

Hops = Callable[[str], int | None]  # address → how many lie on the way
Connect = Callable[[str, int, MeterProfile], Awaitable[Channel]]  # address, client SAP, family → channel

log = logging.getLogger(__name__)


class Media:
    """Media by pattern of address; the first that fits holds."""

    def __init__(self, media: Iterable[tuple[tuple[str, ...], Medium]]) -> None:
        self._media = list(media)

    def __iter__(self) -> Iterator[Medium]:
        return (medium for _, medium in self._media)

    def of(self, address: str) -> Medium:
        """Raises ConfigError."""
        for patterns, medium in self._media:
            if any(fnmatchcase(address, pattern) for pattern in patterns):
                return medium
        raise ConfigError(f"no medium takes the address {address}: add a [[medium]] with a pattern that fits")


class Fleet:
    """Meters by name."""

    def __init__(
        self,
        services: Services,
        families: Families,
        media: Media,
        connect: Connect,
        *,
        hops: Hops = lambda address: None,
        quarantine_seconds: float = 0.0,
    ) -> None:
        self._services = services
        self._families = families
        self._connect = connect
        self._hops = hops
        self._quarantine_seconds = quarantine_seconds
        self._meters: dict[str, Meter] = {}
        self._lanes: WeakValueDictionary[str, Lane] = WeakValueDictionary()  # by physical meter
        self.media = media

    def __len__(self) -> int:
        return len(self._meters)

    def __iter__(self) -> Iterator[Meter]:
        return iter(list(self._meters.values()))

    @property
    def families(self) -> list[MeterProfile]:
        """Every family that there is, also those without a meter yet."""
        return list(self._families)

    def of(self, family: MeterProfile) -> list[Meter]:
        return [meter for meter in self._meters.values() if meter.profile is family]

    def get(self, name: str) -> Meter:
        """Raises ConfigError."""
        try:
            return self._meters[name]
        except KeyError:
            raise ConfigError(f"no meter {name!r} is registered: see `dcu meters`") from None

    def family(self, name: str) -> MeterProfile:
        """Raises ConfigError."""
        return self._families.get(name)

    def take(self, record: MeterRecord) -> Meter | None:
        """Have the meter of a record; one that is known goes where it says. None where it cannot be placed (logged)."""
        try:
            profile = self._families.get(record.profile)
            lane = self._lane(record.address)
        except ConfigError as error:
            log.error("meter %s is left out: %s", record.name, error)
            return None

        async def dial(client: int) -> Channel:
            return await self._connect(record.address, client, profile)

        place = Place(record.address, profile, lane, dial, lambda: self._hops(record.address))
        if known := self._meters.get(record.name):
            known.move(place)  # its jobs go on, and its exchanges stay one after the other
            return known
        meter = Meter(record.name, place, self._services)
        if record.state is MeterState.QUARANTINED:
            meter.standing.restore(State.QUARANTINED, record.reason, record.since)
        self._meters[record.name] = meter
        return meter

    def _lane(self, address: str) -> Lane:
        """Raises ConfigError."""
        medium, physical = self.media.of(address), physical_part(address)
        known = self._lanes.get(physical)
        if known is None or known.medium is not medium:
            known = self._lanes[physical] = Lane(medium)
        return known

    def hold(self) -> None:
        """Let no exchange begin on any medium."""
        for medium in self.media:
            medium.hold()

    def release(self) -> None:
        for medium in self.media:
            medium.release()

    async def maintain(self) -> None:
        """Give quarantined meters another chance after the configured time."""
        if not self._quarantine_seconds:
            return
        before = epoch_seconds(self._services.clock.now()) - self._quarantine_seconds
        for meter in self:
            if meter.state is State.QUARANTINED and meter.standing.since <= before:
                await meter.release()

    async def close(self, within: float = 5.0) -> None:
        """Close every association, telling those meters that want it as long as time is left."""
        parting = [asyncio.create_task(meter.part()) for meter in self if meter.associated]
        if parting:
            _, late = await asyncio.wait(parting, timeout=within)
            for task in late:
                task.cancel()
            await asyncio.gather(*parting, return_exceptions=True)
        for meter in self:
            meter.hang_up()
