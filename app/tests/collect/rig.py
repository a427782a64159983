"""A street of simulated meters and a collector's inside in one event loop, under virtual time, over in-memory lines."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random

import msgspec

from dcu.clock import LoopClock
from dcu.collect.events import Events
from dcu.collect.fleet import Fleet, Media
from dcu.collect.imaging import Imaging
from dcu.collect.medium import Medium
from dcu.collect.meter_profile import Families, MeterProfile, Poll
from dcu.collect.scheduler import Scheduler
from dcu.collect.services import Services
from dcu.errors import KeysError, LinkClosed
from dcu.link.channel import DatagramChannel, StreamChannel
from dcu.link.listen import serve_datagram, serve_stream
from dcu.link.memory import datagram_pair, stream_pair
from dcu.store import Store
from neighbourhood import fleet as street
from neighbourhood.meter import Habits

EPOCH = datetime(2025, 11, 20, 12, 2, tzinfo=UTC)
PROFILE = "1-0:99.1.0*255"
HOUR, DAY = 3600, 86400
OUR_TITLE = bytes.fromhex("4443550000000001")
AARQ, GLO_GET, GLO_SET, GLO_ACTION, GET = 0x60, 0xC8, 0xC9, 0xCB, 0xC0

ANSWER, LOSE_REQUEST, LOSE_ANSWER = "answer", "lose the request", "lose the answer"


@dataclass
class Seen:
    """One request that reached a meter: when, which meter, which client SAP, the APDU's tag."""

    at: float
    meter: str
    client: int
    tag: int
    size: int = 0


@dataclass
class Forged:
    """The meter takes the request, and somebody else's answer comes in place of its own."""

    answer: bytes


@dataclass
class Rig:
    """What a test works with. `weather` decides what becomes of each request (ANSWER, LOSE_..., or bytes to answer)."""

    services: Services
    fleet: Fleet
    scheduler: Scheduler
    street: street.Fleet
    medium: Medium
    seen: list[Seen] = field(default_factory=list)
    heard: list[tuple[str, dict]] = field(default_factory=list)
    weather: Callable[[Seen], object] = lambda seen: ANSWER
    dials: int = 0

    @property
    def store(self):
        return self.services.store

    def now(self):
        return asyncio.get_running_loop().time()

    def second(self):
        return int(self.services.clock.now().timestamp())

    def meter(self, index=0):
        return self.fleet.get(self.street.meters[index].serial)

    def simulated(self, index=0):
        return self.street.meters[index]

    async def counter(self, index=0):
        """The next invocation counter that we send with, under the meter's key; None where it is not known."""
        name = self.meter(index).name
        return await self.store.counter(name, self.services.keys.meter(name).fingerprint(OUR_TITLE))

    def events(self, topic):
        return [data for name, data in self.heard if name == topic]

    def tags(self, meter=None):
        return [seen.tag for seen in self.seen if meter is None or seen.meter == meter.name]


class _Keys:
    def __init__(self, meters):
        self._keys = {meter.serial: meter.shipped_keys() for meter in meters}

    def meter(self, name):
        if name not in self._keys:
            raise KeysError(f"no keys of {name}")
        return self._keys[name]

    def names(self):
        return sorted(self._keys)


class _Peer:
    local = remote = ("memory", 0)

    def push(self, server_sap, client_sap, apdu):
        raise LinkClosed("no pushes here")

    def close(self):
        pass


def family(**changes):
    """The generic family with tables changed: family(session={"timeout": 3})."""
    raw = msgspec.to_builtins(Families().get("generic"))
    for table, values in changes.items():
        raw[table] = {**raw[table], **values} if isinstance(values, dict) else values
    return msgspec.convert(raw, MeterProfile)


@asynccontextmanager
async def rig(
    path,
    meters=1,
    *,
    delay=0.5,
    lossy=False,
    habits=None,
    profile=None,
    medium=None,
    trusted=True,
    seed=1,
    faults=(),
    block=1_000,
    start=EPOCH,
    again=None,
    logical=1,
):
    """`meters` meters that answer `2 × delay` seconds after a request; the store is new unless `path` holds one.

    again: a rig of before, whose street and clock go on; logical: so many in a row are the logical devices of one.
    """
    clock = again.services.clock if again else LoopClock(start, trusted=trusted)
    simulated = (
        again.street
        if again
        else street.Fleet(
            meters,
            seed,
            lambda: int(clock.now().timestamp()),
            habits=habits or Habits(),
            faults=faults,
            logical=logical,
        )
    )
    by_name = {meter.serial: meter for meter in simulated.meters}
    chosen = profile or family()
    async with AsyncExitStack() as stack:
        store = await Store.open(path, clock=clock, inline=True)
        stack.push_async_callback(store.close)
        services = Services(clock, Random(7), store, _Keys(simulated.meters), Events(), OUR_TITLE, counter_block=block)
        shared = medium or Medium("line")
        tasks = []

        async def connect(address, client, profile):
            made.dials += 1
            reach, _, sap = address.removeprefix("mem://").partition("#")
            meter, server = by_name[reach], int(sap or profile.addresses.server)
            handler = simulated.talk(meter, _Peer(), lossy=lossy)

            def answer(client_sap, server_sap, apdu):
                seen = Seen(asyncio.get_running_loop().time(), meter.serial, client_sap, apdu[0], len(apdu))
                made.seen.append(seen)
                what = made.weather(seen)
                if isinstance(what, bytes):
                    return what
                if isinstance(what, Forged):
                    handler(client_sap, server_sap, apdu)
                    return what.answer
                answered = None if what == LOSE_REQUEST else handler(client_sap, server_sap, apdu)
                return answered if what == ANSWER else None

            if lossy:
                near, far = datagram_pair(delay=delay)
                tasks.append(asyncio.create_task(serve_datagram(far, answer)))
                return DatagramChannel(near, client, server)
            near, far = stream_pair(delay=delay)
            tasks.append(asyncio.create_task(serve_stream(far, answer)))
            return StreamChannel(near, client, server)

        families = Families()
        families._profiles["generic"] = chosen
        fleet = Fleet(services, families, Media([(("mem://*",), shared)]), connect)
        made = Rig(services, fleet, Scheduler(services), simulated, shared)
        services.events.listen(lambda topic, data: made.heard.append((topic, data)))
        for record in await store.add_meters(
            [
                (each.serial, f"mem://{first.serial}{f'#{each.sap}' if others else ''}", "generic", each.system_title)
                for first, *others in simulated.physical
                for each in (first, *others)
            ]
        ):
            fleet.take(record)
        try:
            yield made
        finally:
            await made.scheduler.close()
            await fleet.close()
            await services.settled()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def imaging(street, path):
    """The image orders of a rig whose files lie in `path`."""
    return Imaging(street.services, street.fleet, street.scheduler, path / "images")


class SteppedClock:
    """A clock that somebody sets: it is `by` ahead of the one it stands on."""

    trusted = True

    def __init__(self, inner, by=timedelta(0)):
        self._inner = inner
        self.by = by

    def now(self):
        return self._inner.now() + self.by


def stepped(street, **by):
    """Put our clock ahead of the meters'; what is returned can be stepped again."""
    clock = SteppedClock(street.services.clock, timedelta(**by))
    object.__setattr__(street.services, "clock", clock)
    street.store.archive._clock = clock
    return clock


POLL = Poll(profile=PROFILE)
