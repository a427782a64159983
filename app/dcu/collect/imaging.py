"""The firmware images on their way to meters: orders that outlive this process, a few under way on each medium.

An order stands in the critical file, its image in a file of its own beside it, named by its SHA-256 and shared by all
meters that get it. Each is a job at the lowest priority: any other exchange goes first. Where the line breaks the order
waits, longer each time that not one block got through, and another meter has its place.
"""

import asyncio
import contextlib
import hashlib
import logging
import os
from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from dcu.clock import epoch_seconds
from dcu.collect.fleet import Fleet
from dcu.collect.jobs.image import Image, Order, Phase, Transfer, Where, checked
from dcu.collect.medium import Medium
from dcu.collect.meter import Meter
from dcu.collect.retry import Backoff
from dcu.collect.scheduler import Job, Scheduler
from dcu.collect.services import Services
from dcu.cosem.client import ClientSession
from dcu.cosem.exchange import Exchange
from dcu.cosem.image import LARGEST
from dcu.errors import ConfigError, DcuError, JobCancelled, JobError, LinkError
from dcu.model import Obis, Priority

T = TypeVar("T")

AT_ONCE = 2  # orders under way on a medium: more would not make the line faster
AGAIN = Backoff(attempts=500, first=5.0, factor=2.0, longest=900.0)  # five days of a meter that is away
KEY = "image/"  # in the store, before the meter's name
_SCHEDULED_AFTER = 180.0  # seconds after the time of a scheduled activation at which it is looked at

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class OrderView:
    """What is told of an order. share: of the blocks; message: what goes on, or why it ended."""

    meter: str
    image: str
    size: int
    identifier: str
    phase: str
    share: float
    blocks: int
    count: int
    at: int
    since: int
    message: str


@dataclass(slots=True, eq=False)
class _Entry:
    """One meter's order, and how it is doing."""

    meter: Meter
    order: Order
    share: float = 0.0
    message: str = ""
    failed: int = 0
    job: Job | None = None
    withdrawn: bool = False
    wake: asyncio.TimerHandle | None = None


class Imaging:
    """Takes orders, and carries them out. `resume` goes on with those of before; `close` leaves them as they are."""

    def __init__(self, services: Services, fleet: Fleet, scheduler: Scheduler, folder: Path) -> None:
        self._services = services
        self._fleet = fleet
        self._scheduler = scheduler
        self._folder = folder
        self._entries: dict[str, _Entry] = {}
        self._waiting: defaultdict[Medium, deque[_Entry]] = defaultdict(deque)
        self._under_way: defaultdict[Medium, int] = defaultdict(int)
        self._closing = False

    async def resume(self) -> None:
        for key, raw in (await self._services.store.recall_all(KEY)).items():
            name = key.removeprefix(KEY)
            try:
                entry = _Entry(self._fleet.get(name), msgspec.msgpack.decode(raw, type=Order))
            except (ConfigError, JobError, msgspec.DecodeError) as error:
                log.warning("the image order of %s is left alone: %s", name, error)
                continue
            self._entries[name] = entry
            entry.share = entry.order.blocks / entry.order.count if entry.order.count else 0.0
            self._go_on(entry)
        await asyncio.to_thread(self._tidy, parts=True)

    def close(self) -> None:
        """Start nothing any more; the scheduler ends what is under way."""
        self._closing = True
        for entry in self._entries.values():
            if entry.wake:
                entry.wake.cancel()

    # --- images

    async def offer(self, sha256: str, size: int, offset: int, data: bytes) -> int:
        """Take a piece of an image; return how many bytes of it are there. Raises ConfigError."""
        if len(sha256) != 64 or not set(sha256) <= set("0123456789abcdef"):
            raise ConfigError("sha256: 64 hexadecimal digits, in small letters")
        if not 0 < size <= LARGEST:
            raise ConfigError(f"an image of {size} bytes: 1..{LARGEST}")
        if self._services.store.frozen:
            raise JobError("the mains failed: nothing is written now")
        return await asyncio.to_thread(self._offer, sha256, size, offset, data)

    def _offer(self, sha256: str, size: int, offset: int, data: bytes) -> int:
        whole, part = self._path(sha256), self._path(sha256).with_suffix(".part")
        try:
            if whole.exists():
                return whole.stat().st_size
            self._folder.mkdir(mode=0o700, exist_ok=True)
            with part.open("r+b" if part.exists() else "w+b") as file:
                there = file.seek(0, os.SEEK_END)
                if not data or offset != there or there + len(data) > size:
                    return there
                file.write(data)
                if there + len(data) < size:
                    return there + len(data)
                file.flush()
                os.fsync(file.fileno())
                file.seek(0)
                right = hashlib.file_digest(file, "sha256").hexdigest() == sha256
            if not right:
                part.unlink()
                raise ConfigError("the image that came is not the one that was announced: send it anew")
            part.rename(whole)
            return size
        except OSError as error:
            raise JobError(f"{part}: the image cannot be kept: {error.strerror}") from None

    # --- orders

    async def send(self, names: Iterable[str], order: Order, actor: str) -> list[OrderView]:
        """Order an image for meters. Where the same is on its way already it goes on. Raises ConfigError, JobError."""
        meters = [self._fleet.get(name) for name in dict.fromkeys(names)]
        order = msgspec.structs.replace(checked(order, self._now()), actor=actor, since=self._now())
        if not self._path(order.sha256).exists():
            raise ConfigError("the image is not here: offer it first")
        busy = [meter.name for meter in meters if self._differs(meter.name, order)]
        if busy:
            raise JobError(
                f"{', '.join(busy)}: another image is on its way there: cancel it first (`dcu image cancel`)"
            )
        for meter in meters:
            known = self._entries.get(meter.name)
            if known and not known.order.phase.ended:
                order_now = msgspec.structs.replace(known.order, activate=order.activate, at=order.at)
            else:
                order_now = self._taken_up(known, order)
            entry = known or _Entry(meter, order_now)
            await self._keep(entry, order_now, f"ordered by {actor}")
            self._entries[meter.name] = entry
            self._go_on(entry)
        return [_view(self._entries[meter.name]) for meter in meters]

    def _differs(self, name: str, order: Order) -> bool:
        known = self._entries.get(name)
        return bool(known and not known.order.phase.ended and known.order.sha256 != order.sha256)

    def _taken_up(self, known: _Entry | None, order: Order) -> Order:
        """An order that failed half way is gone on with, when the same is ordered again: the meter has the blocks."""
        old = known.order if known else None
        if old and old.phase is Phase.FAILED and (old.sha256, old.identifier) == (order.sha256, order.identifier):
            phase = Phase.SENDING if old.begun else Phase.BEGINNING
            return msgspec.structs.replace(
                order, phase=phase, begun=old.begun, block_size=old.block_size, blocks=old.blocks
            )
        return order

    async def activate(self, names: Iterable[str], at: int, actor: str) -> list[OrderView]:
        """Have verified images activated: at once, or at a time. Raises JobError where there is none."""
        entries = [self._entry(name) for name in dict.fromkeys(names)]
        for entry in entries:
            checked(msgspec.structs.replace(entry.order, at=at), self._now())
            if entry.order.phase not in (Phase.VERIFIED, Phase.SCHEDULED):
                raise JobError(
                    f"{entry.meter.name}: its image is {entry.order.phase}, and not verified: see `dcu image`"
                )
        for entry in entries:
            order = msgspec.structs.replace(entry.order, activate=not at, at=at, phase=Phase.VERIFYING, asked=0)
            when = f"at {at}" if at else "now"
            await self._keep(entry, order, f"to be activated {when}, by {actor}")
            self._go_on(entry)
        return [_view(entry) for entry in entries]

    async def cancel(self, names: Iterable[str], actor: str) -> list[OrderView]:
        """Send no more blocks. Raises JobError where the activation was asked for already."""
        entries = [self._entry(name) for name in dict.fromkeys(names)]
        for entry in entries:
            if entry.order.phase in (Phase.ACTIVATING, Phase.ACTIVE, Phase.SCHEDULED):
                schedule = entry.meter.profile.image.schedule
                text = f"{entry.meter.name}: its image is {entry.order.phase}: it cannot be called back"
                raise JobError(f"{text}; a time that is to come stands in the meter's schedule {schedule}")
        for entry in entries:
            if entry.order.phase.ended:
                continue
            if job := entry.job:
                entry.withdrawn = True
                self._scheduler.cancel(job.id)
                await asyncio.wait([job.result])
                entry.withdrawn = False
            await self._end(entry, f"cancelled by {actor}")
        return [_view(entry) for entry in entries]

    def views(self, names: Iterable[str] | None = None) -> list[OrderView]:
        if names is None:
            return [_view(entry) for entry in self._entries.values()]
        return [_view(self._entry(name)) for name in names]

    def _entry(self, name: str) -> _Entry:
        self._fleet.get(name)
        if name not in self._entries:
            raise JobError(f"{name}: no image was ordered for it")
        return self._entries[name]

    # --- how they go

    def _go_on(self, entry: _Entry) -> None:
        """Queue an order up, if there is something to do and nobody does it."""
        entry.wake = None
        phase, medium = entry.order.phase, entry.meter.lane.medium
        if self._closing or entry.job or entry in self._waiting[medium]:
            return
        if phase is Phase.SCHEDULED:
            delay = max(1.0, entry.order.at + _SCHEDULED_AFTER - self._now())
            entry.wake = asyncio.get_running_loop().call_later(delay, self._look_after, entry)
        elif not phase.ended:
            self._waiting[medium].append(entry)
            self._admit(medium)

    def _look_after(self, entry: _Entry) -> None:
        """The time of a scheduled activation has passed: see whether the meter did it."""
        if entry.order.phase is Phase.SCHEDULED and not self._closing:
            entry.order = msgspec.structs.replace(entry.order, phase=Phase.ACTIVATING, asked=2)
            self._go_on(entry)

    def _admit(self, medium: Medium) -> None:
        queue = self._waiting[medium]
        while queue and self._under_way[medium] < AT_ONCE and not self._closing:
            entry = queue.popleft()
            try:
                entry.job = self._scheduler.submit(
                    "image", entry.meter, Priority.BACKFILL, partial(self._carry, entry), paced=True
                )
            except JobError as error:
                entry.message = str(error)
                entry.wake = asyncio.get_running_loop().call_later(AGAIN.longest, self._go_on, entry)
                continue
            self._under_way[medium] += 1
            entry.job.result.add_done_callback(partial(self._ended, entry, medium))

    async def _carry(self, entry: _Entry, job: Job) -> None:
        meter = entry.meter

        async def keep(order: Order) -> None:
            changed = order.phase is not entry.order.phase or order.asked != entry.order.asked
            await self._keep(entry, order, str(order.phase) if changed else "")
            job.committed = order.phase is Phase.ACTIVATING and order.asked > 0

        def tell(share: float, message: str) -> None:
            if share > entry.share:
                entry.failed = 0
            entry.share, entry.message = share, message
            job.progress, job.message = share, message

        image = await asyncio.to_thread(Image, self._path(entry.order.sha256), entry.order)
        objects = meter.profile.image
        where = Where(Obis.parse(objects.object), Obis.parse(objects.schedule), meter.profile.time_rule)
        await Transfer(_ByMeter(meter), entry.order, image, where, keep, tell).run()

    def _ended(self, entry: _Entry, medium: Medium, result: "asyncio.Future[Any]") -> None:
        entry.job = None
        self._under_way[medium] -= 1
        error = result.exception() if not result.cancelled() else None
        if isinstance(error, LinkError):
            entry.failed += 1
            delay = AGAIN.delay(entry.failed, self._services.random)
            entry.message = f"waits: {error}"
            if delay is not None and not self._closing:
                entry.wake = asyncio.get_running_loop().call_later(delay, self._go_on, entry)
                error = None
        elif isinstance(error, JobCancelled) and (self._closing or entry.withdrawn):
            error = None  # it goes on after the next start; or who withdrew it writes that down
        if isinstance(error, DcuError) and not self._closing and not entry.order.phase.ended:
            self._services.aside(self._end(entry, str(error)))
        elif error is None and entry.order.phase.ended:
            entry.message = ""
            self._go_on(entry)
        self._admit(medium)

    async def _end(self, entry: _Entry, reason: str) -> None:
        if entry.wake:
            entry.wake.cancel()
        with contextlib.suppress(ValueError):
            self._waiting[entry.meter.lane.medium].remove(entry)
        order = msgspec.structs.replace(entry.order, phase=Phase.FAILED, reason=reason)
        await self._keep(entry, order, f"failed: {reason}")
        entry.message = reason

    async def _keep(self, entry: _Entry, order: Order, audited: str) -> None:
        """Durable, then true."""
        store, name = self._services.store, entry.meter.name
        await store.remember(KEY + name, msgspec.msgpack.encode(order))
        entry.order = order
        if audited:
            what = f"{_text(order.identifier)} ({order.sha256[:12]}…): {audited}"
            await store.audit(order.actor, "image", name, what)
            self._services.events.tell("image", meter=name, phase=str(order.phase), message=order.reason)
        if order.phase.ended:
            await asyncio.to_thread(self._tidy)

    def _tidy(self, *, parts: bool = False) -> None:
        """Unlink images that no order needs: who sends a failed one again brings it again."""
        over = (Phase.ACTIVE, Phase.FAILED)
        needed = {entry.order.sha256 for entry in self._entries.values() if entry.order.phase not in over}
        with contextlib.suppress(OSError):
            for path in self._folder.iterdir():
                if path.name not in needed and (parts or path.suffix != ".part"):
                    path.unlink()

    def _path(self, sha256: str) -> Path:
        return self._folder / sha256

    def _now(self) -> int:
        return epoch_seconds(self._services.clock.now())


class _ByMeter:
    """A `Do` over a meter of the collector."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self.ciphered = meter.ciphered

    async def __call__(self, make: Callable[[ClientSession], Exchange[T]]) -> T:
        return await self._meter.run(make, Priority.BACKFILL, repeatable=False)


def _view(entry: _Entry) -> OrderView:
    order = entry.order
    done = order.phase in (Phase.VERIFYING, Phase.VERIFIED, Phase.SCHEDULED, Phase.ACTIVATING, Phase.ACTIVE)
    share = 1.0 if done else entry.share
    return OrderView(
        entry.meter.name,
        order.sha256,
        order.size,
        _text(order.identifier),
        str(order.phase),
        share,
        round(share * order.count),
        order.count,
        order.at,
        order.since,
        order.reason or entry.message,
    )


def _text(identifier: bytes) -> str:
    return identifier.decode() if identifier.isascii() and identifier.decode().isprintable() else identifier.hex()


def plain(views: Iterable[OrderView]) -> list[dict[str, Any]]:
    return [asdict(view) for view in views]
