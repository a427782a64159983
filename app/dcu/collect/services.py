"""What every meter and job of the collector shares: time, chance, the store, the keys, who is told what happens."""

import asyncio
import logging
from collections.abc import Coroutine
from dataclasses import dataclass, field
from random import Random
from typing import Any, TypeVar

from dcu.clock import Clock
from dcu.collect.counters import Reserved
from dcu.collect.events import Events
from dcu.collect.layout import Layouts
from dcu.keys.base import KeyStore
from dcu.store.store import Store

T = TypeVar("T")

log = logging.getLogger(__name__)


@dataclass(slots=True)
class OpenAssociations:
    """How many associations are open, and how many may stay so while nobody needs them."""

    limit: int
    count: int = 0

    @property
    def crowded(self) -> bool:
        return self.count > self.limit


@dataclass(frozen=True, slots=True)
class Services:
    """client_title: our own system title, 8 bytes; counter_block: invocation counters reserved at a time."""

    clock: Clock
    random: Random
    store: Store
    keys: KeyStore
    events: Events
    client_title: bytes
    counter_block: int = 1_000
    layouts: Layouts = field(default_factory=Layouts)
    reserved: Reserved = field(default_factory=dict)
    open: OpenAssociations = field(default_factory=lambda: OpenAssociations(256))
    _tasks: set["asyncio.Task[Any]"] = field(default_factory=set)

    def aside(self, work: Coroutine[Any, Any, Any]) -> None:
        """Do `work` without waiting for it."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: "asyncio.Task[Any]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.warning("%s", error)

    async def finish(self, work: Coroutine[Any, Any, T]) -> T:
        """Do `work` to its end, also where who waits for it is cancelled."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return await asyncio.shield(task)

    async def settled(self, within: float = 5.0) -> None:
        """Wait for what was put aside, and give up what takes too long."""
        until = asyncio.get_running_loop().time() + within
        while self._tasks:
            left = until - asyncio.get_running_loop().time()
            if left <= 0:
                for task in self._tasks:
                    task.cancel()
                await asyncio.gather(*self._tasks, return_exceptions=True)
                return
            await asyncio.wait(self._tasks, timeout=left)
