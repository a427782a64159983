"""The store as the event loop sees it: every call that touches a disk runs on one writer thread, in order.

With `inline=True` calls run where they are made, so that nothing leaves a loop on virtual time. Invocation counters
that are asked for while a commit is under way share the next one (group commit).

Frozen (the mains failed), nothing is written: who wants to write waits until it is thawed, and then goes on.
"""

import asyncio
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ParamSpec, TypeVar

from dcu.clock import Clock
from dcu.model import Column, Obis, Priority, Reading
from dcu.store.archive import Archive
from dcu.store.files import FrozenError
from dcu.store.records import AuditEntry, Flushed, MeterRecord, OutboxItem, Settings, StoreStatus

P = ParamSpec("P")
R = TypeVar("R")


class Store:
    """Day files, buffer and critical file of one directory, asynchronously. Use `await Store.open(...)`."""

    def __init__(self, archive: Archive, thread: ThreadPoolExecutor | None) -> None:
        self.archive = archive
        self._critical = archive.critical
        self._thread = thread
        self._wanted: list[tuple[str, int, bytes, asyncio.Future[range]]] = []
        self._lock = threading.Lock()  # of _wanted, which both threads change
        self._thawed = asyncio.Event()
        self._thawed.set()

    @classmethod
    async def open(
        cls, directory: Path, *, clock: Clock, settings: Settings | None = None, inline: bool = False
    ) -> "Store":
        """Open or create the store in `directory`. Raises StoreError: in use, written by a newer program."""
        if inline:
            return cls(Archive.open(directory, clock=clock, settings=settings), None)
        thread = ThreadPoolExecutor(1, "store")
        try:
            loop = asyncio.get_running_loop()
            archive = await loop.run_in_executor(
                thread, lambda: Archive.open(directory, clock=clock, settings=settings)
            )
        except BaseException:
            thread.shutdown(wait=False)
            raise
        return cls(archive, thread)

    async def _run(self, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        while True:
            try:
                return await self._once(call, *args, **kwargs)
            except FrozenError:  # nothing was committed: it is done once the mains are back
                await self._thawed.wait()

    async def _once(self, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        if self._thread is None:
            return call(*args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self._thread, lambda: call(*args, **kwargs))

    async def close(self) -> None:
        """Commit what is buffered and let go of the directory; frozen: only let go of it."""
        await self._once(self.archive.close)
        if self._thread is not None:
            self._thread.shutdown()

    async def flush(self) -> None:
        """Commit every buffered reading now (before a stop, on power failure)."""
        await self._run(self.archive.flush)

    async def flush_within(self, seconds: float) -> Flushed:
        """Commit what can be committed in so many seconds from now; see Archive.flush_within."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        return await self._once(self.archive.flush_within, lambda: until - loop.time())

    def freeze(self) -> None:
        """From now on nothing is written; a commit that is under way in this moment ends. Never waits."""
        self.archive.gate.shut = True
        self._thawed.clear()

    def thaw(self) -> None:
        """Write again, first what waited."""
        self.archive.gate.shut = False
        self._thawed.set()

    @property
    def frozen(self) -> bool:
        return self.archive.gate.shut

    async def maintain(self) -> None:
        """What time brings: commit what waited long enough, unlink old days, restore the ballast. Every minute."""
        await self._run(self.archive.maintain)

    async def status(self) -> StoreStatus:
        return await self._run(self.archive.status)

    # Readings

    async def add(self, meter: str, profile: Obis, readings: Sequence[Reading]) -> int:
        """Keep readings (again: no harm done); return how many were accepted: not the too old, nor the future's."""
        return await self._run(self.archive.add, meter, profile, readings)

    async def readings(self, meter: str, profile: Obis, start: int, end: int) -> list[Reading]:
        """Return the readings with start ≤ timestamp < end in order of time, buffered ones included."""
        return await self._run(self.archive.readings, meter, profile, start, end)

    async def mend(self, day: int) -> None:
        """Look through the file of a day (days since 1970); what is damaged is dropped, and collected again."""
        await self._run(self.archive.mend, day)

    async def gaps(
        self, meter: str, profile: Obis, start: int, end: int, period: int, phase: int = 0
    ) -> list[tuple[int, int]]:
        """Return the half-open ranges of [start, end) in which readings are missing: see Archive.gaps."""
        return await self._run(self.archive.gaps, meter, profile, start, end, period, phase)

    async def kept_since(self) -> int:
        """Return the UTC second from which on readings are kept: older ones are refused."""
        return await self._run(self.archive.kept_since)

    async def all_gaps(
        self, meters: Iterable[str], profile: Obis, start: int, end: int, period: int, phase: int = 0
    ) -> dict[str, list[tuple[int, int]]]:
        """`gaps` of many meters in one call; meters without a gap are left out."""
        return await self._run(self.archive.all_gaps, meters, profile, start, end, period, phase)

    async def set_layout(self, meter: str, profile: Obis, columns: Sequence[Column], since: int | None = None) -> None:
        """Say what the values of a profile's rows are; where it changed, from `since` on (None: now)."""
        await self._run(self._critical.set_layout, meter, profile, columns, since)

    async def layout(self, meter: str, profile: Obis, at: int | None = None) -> tuple[Column, ...] | None:
        """Return the columns of rows dated `at` (None: the newest), or None where none were ever set."""
        return await self._run(self._critical.layout, meter, profile, at)

    async def profiles(self, meter: str) -> list[Obis]:
        """Return the profiles of which a layout is known."""
        return await self._run(self._critical.profiles, meter)

    # Meters

    async def add_meter(self, name: str, address: str, profile: str, system_title: bytes) -> MeterRecord:
        """Register a meter, or change what is registered; id and state stay."""
        return await self._run(self._critical.add_meter, name, address, profile, system_title)

    async def add_meters(self, meters: Iterable[tuple[str, str, str, bytes]]) -> list[MeterRecord]:
        """`add_meter` of many in one commit: (name, address, profile, system title)."""
        return await self._run(self._critical.add_meters, meters)

    async def meters(self) -> list[MeterRecord]:
        return await self._run(self._critical.meters)

    async def meter(self, name: str) -> MeterRecord:
        """Raises StoreError when it is not registered."""
        return await self._run(self._critical.meter, name)

    async def quarantine(self, name: str, reason: str) -> None:
        await self._run(self._critical.quarantine, name, reason)

    async def release(self, name: str) -> None:
        """End a quarantine."""
        await self._run(self._critical.release, name)

    # Invocation counters (design decision 6)

    # `key`: what `MeterKeys.fingerprint` gives, of our system title for what is sent, of the meter's for what is
    # received; empty: the meter's name stands for its key.

    async def counter(self, meter: str, key: bytes = b"") -> int | None:
        """Return the next counter that was never reserved, or None: read the meter's counter object, then learn it."""
        return await self._run(self._critical.counter, meter, key)

    async def raise_counter(self, meter: str, floor: int, key: bytes = b"") -> int:
        """Set the next counter to max(persisted, floor) and return it; durable when it returns."""
        return await self._run(self._critical.raise_counter, meter, floor, key)

    async def learn_counter(self, meter: str, last_used: int, margin: int = 0, key: bytes = b"") -> int:
        """Go on above what the meter says was used, with a margin where nothing was known; return the next counter."""
        return await self._run(self._critical.learn_counter, meter, last_used, margin, key)

    async def doubt_counters(self, why: str) -> int:
        """An older store was put back: every counter is read from its meter first. Return how many."""
        return await self._run(self._critical.doubt_counters, why)

    async def reserve_counters(self, meter: str, count: int, key: bytes = b"") -> range:
        """Take `count` counters that nobody else ever gets, durable before this returns. StoreError: none known yet."""
        while True:
            try:
                return await self._reserved(meter, count, key)
            except FrozenError:
                await self._thawed.wait()

    async def _reserved(self, meter: str, count: int, key: bytes) -> range:
        if self._thread is None:
            return self._critical.reserve_counters(meter, count, key)
        loop = asyncio.get_running_loop()
        wanted: asyncio.Future[range] = loop.create_future()
        with self._lock:
            self._wanted.append((meter, count, key, wanted))
            first = len(self._wanted) == 1
        if first:
            self._thread.submit(self._reserve, loop)
        return await wanted

    def _reserve(self, loop: asyncio.AbstractEventLoop) -> None:
        with self._lock:
            batch, self._wanted = self._wanted, []
        results: Sequence[range | BaseException]
        try:
            results = self._critical.reserve_each([(meter, count, key) for meter, count, key, _ in batch])
        except BaseException as error:
            results = [error] * len(batch)
        loop.call_soon_threadsafe(_settle, [future for *_, future in batch], results)

    async def receive_floor(self, meter: str, key: bytes = b"") -> int:
        """Return the highest counter that a push was accepted with under this key, -1 where there was none."""
        return await self._run(self._critical.receive_floor, meter, key)

    async def accept_push(
        self,
        meter: str,
        counter: int,
        payload: bytes,
        kind: str = "push",
        priority: Priority = Priority.ALARM,
        key: bytes = b"",
    ) -> int:
        """Raise the receive floor and put the outbox row, both or neither; return seq. Raises CounterReplayed."""
        return await self._run(self._critical.accept_push, meter, counter, payload, kind, priority, key)

    # Outbox, audit, state

    async def put(
        self, kind: str, payload: bytes, priority: Priority = Priority.ALARM, meter: str | None = None
    ) -> int:
        """Put something for the head-end; return its seq. Durable when it returns, also on a full disk."""
        return await self._run(self._critical.put, kind, payload, priority, meter)

    async def pending(self, limit: int = 100, kind: str | None = None) -> list[OutboxItem]:
        """Return what waits, most urgent first, then in order."""
        return await self._run(self._critical.pending, limit, kind)

    async def ack(self, seqs: Iterable[int]) -> int:
        """Forget acknowledged items; return how many there were."""
        return await self._run(self._critical.ack, seqs)

    async def audit(self, actor: str, action: str, subject: str = "", detail: str = "") -> int:
        return await self._run(self._critical.audit, actor, action, subject, detail)

    async def audit_log(self, limit: int = 100, before: int | None = None) -> list[AuditEntry]:
        """Return the newest entries, newest first; `before` is the seq to page from."""
        return await self._run(self._critical.audit_log, limit, before)

    async def remember(self, key: str, value: bytes) -> None:
        await self._run(self._critical.remember, key, value)

    async def recall(self, key: str) -> bytes | None:
        return await self._run(self._critical.recall, key)

    async def recall_all(self, prefix: str) -> dict[str, bytes]:
        """Return what is remembered under keys that begin with `prefix`."""
        return await self._run(self._critical.recall_all, prefix)

    async def remember_all(self, values: Mapping[str, bytes]) -> None:
        await self._run(self._critical.remember_all, values)


def _settle(futures: Sequence[asyncio.Future[range]], results: Sequence[range | BaseException]) -> None:
    for future, result in zip(futures, results, strict=True):
        if future.done():  # cancelled: its counters are lost, which is safe
            continue
        if isinstance(result, BaseException):
            future.set_exception(result)
        else:
            future.set_result(result)
