"""The collector in a power failure: does what the state machine (`dcu.collect.powerfail`) says, and tells it what came.

What it works with stands behind small protocols: the line that tells of the mains (`/dev/lastgasp`), the notifier that
sends the packet, and what switches the device off. Waiting is the event loop's time.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import msgspec

from dcu.collect.fleet import Fleet
from dcu.collect.powerfail import Do, PowerFail, Stage, Terms
from dcu.collect.scheduler import Scheduler
from dcu.collect.services import Services
from dcu.errors import DcuError
from dcu.model import Priority

REOPEN = 60.0  # seconds before a line that broke is opened again

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PowerEvent:
    """at: when the line changed; notice: seconds from now to the forced end, None where the device forces none."""

    failing: bool
    at: datetime
    notice: float | None = None


class PowerLine(Protocol):
    """Who knows of the mains. Every method raises OSError or DcuError when the device is gone."""

    async def event(self) -> PowerEvent:
        """Return the next event, as soon as there is one."""
        ...

    def done(self) -> None:
        """Say that nothing is left to do but to wait for the mains, or for the end."""
        ...

    def off(self) -> None:
        """Have the device switched off now, unless the mains are just coming back: then it tells so as ever."""
        ...

    def close(self) -> None: ...


class Notifier(Protocol):
    """Who tells the head-end; what it sends was made ready long before."""

    async def tell(self, at: datetime, left: float) -> int:
        """Send that the mains failed at `at` and that `left` seconds are left; return how many packets left us."""
        ...

    async def prepare(self) -> None:
        """Make ready what the next failure needs. Raises nothing: what is missing is logged."""
        ...


@dataclass(slots=True)
class _Failure:
    at: datetime
    deadline: float  # of the event loop's time
    flushed: str = "the store was not asked"
    packets: int = 0


class Outage:
    """Guards one collector. `power_off` switches the device off, None: the line's own way does; `hold_up`: seconds,
    where the device names no end."""

    def __init__(
        self,
        services: Services,
        fleet: Fleet,
        scheduler: Scheduler,
        power_off: Callable[[], Awaitable[None]] | None,
        *,
        terms: Terms,
        hold_up: float,
        notifier: Notifier | None = None,
    ) -> None:
        self._services = services
        self._fleet = fleet
        self._scheduler = scheduler
        self._power_off = power_off
        self._hold_up = hold_up
        self._notifier = notifier
        self._machine = PowerFail(terms)
        self._answers: asyncio.Queue[Callable[[], tuple[Do, ...]]] = asyncio.Queue()
        self._line: PowerLine | None = None
        self._failure: _Failure | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def stage(self) -> Stage:
        return self._machine.stage

    async def watch(self, open_line: Callable[[], PowerLine]) -> None:
        """Guard until cancelled. A line that breaks is opened again."""
        reading = asyncio.create_task(self._read(open_line))
        try:
            while True:
                self._obey(await self._next())
        finally:
            for task in (reading, *self._tasks):
                task.cancel()
            await asyncio.gather(reading, *self._tasks, return_exceptions=True)
            self._resume()  # else nobody could close in good order; the store stays as it is

    # --- what comes

    async def _read(self, open_line: Callable[[], PowerLine]) -> None:
        complaint = ""
        while True:
            try:
                self._line = line = open_line()
                complaint = ""
                try:
                    while True:
                        self._hear(await line.event())
                finally:
                    self._line = None
                    line.close()
            except (OSError, DcuError) as error:
                if str(error) != complaint:
                    complaint = str(error)
                    log.warning("nobody tells us of the mains: %s", error)
            await asyncio.sleep(REOPEN)

    def _hear(self, event: PowerEvent) -> None:
        now = asyncio.get_running_loop().time()
        if event.failing:
            deadline = now + (self._hold_up if event.notice is None else event.notice)
            self._answers.put_nowait(lambda: self._failed(event, deadline))
        else:
            self._answers.put_nowait(self._returned)

    def _failed(self, event: PowerEvent, deadline: float) -> tuple[Do, ...]:
        now = asyncio.get_running_loop().time()
        if self.stage is Stage.POWERED:
            self._failure = _Failure(event.at, deadline)
            log.error("the mains failed at %s, %.1f s are left", event.at.isoformat(), deadline - now)
        return self._machine.failed(now, deadline)

    def _returned(self) -> tuple[Do, ...]:
        if self.stage is Stage.OFF:
            log.warning("the mains came back when switching off had begun")
        return self._machine.returned()

    async def _next(self) -> tuple[Do, ...]:
        """What is to be done next: because something came, or because it is time."""
        loop = asyncio.get_running_loop()
        until = self._machine.until
        if until is not None and until <= loop.time():
            return self._machine.late(loop.time())
        try:
            async with asyncio.timeout_at(until):
                answer = await self._answers.get()
        except TimeoutError:
            return self._machine.late(loop.time())
        return answer()

    # --- what is done

    def _obey(self, orders: tuple[Do, ...]) -> None:
        for order in orders:
            log.info("power failure: %s", order)
            match order:
                case Do.HALT:
                    self._fleet.hold()
                    self._scheduler.hold()
                case Do.FREEZE:
                    self._services.store.freeze()
                case Do.THAW:
                    self._services.store.thaw()
                case Do.RESUME:
                    self._resume()
                case Do.DONE:
                    self._say_done()
                case Do.COMMIT:
                    self._begin(self._commit(self._machine.outage))
                case Do.SEND:
                    self._begin(self._send(self._machine.outage))
                case Do.NOTE:
                    self._begin(self._note(self._machine.outage))
                case Do.OFF:
                    self._begin(self._switch_off())
                case Do.TELL:
                    self._begin(self._tell())

    def _begin(self, work: Awaitable[None]) -> None:
        async def guarded() -> None:
            try:
                await work
            except Exception as error:  # nothing that fails here may keep the rest from being done
                log.error("power failure: %s: %s", type(error).__name__, error)

        task = asyncio.get_running_loop().create_task(guarded())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _resume(self) -> None:
        self._fleet.release()
        self._scheduler.release()

    def _say_done(self) -> None:
        try:
            if self._line:
                self._line.done()
        except (OSError, DcuError) as error:
            log.warning("the driver was not told that we have finished: %s", error)

    async def _switch_off(self) -> None:
        if self._power_off:
            await self._power_off()
        elif self._line:
            self._line.off()
        else:
            log.error("nobody is there to switch off: the device ends it by itself")

    async def _commit(self, outage: int) -> None:
        loop = asyncio.get_running_loop()
        whole = False
        try:
            flushed = await self._services.store.flush_within((self._machine.until or 0.0) - loop.time())
            whole = not flushed.left
            if self._failure:
                text = f"{flushed.rows} readings committed in {flushed.seconds:.3f} s, {flushed.left} wait in RAM"
                self._failure.flushed = text
                log.info("power failure: %s", text)
        finally:
            self._answers.put_nowait(lambda: self._machine.committed(outage, loop.time(), whole=whole))

    async def _send(self, outage: int) -> None:
        loop = asyncio.get_running_loop()
        try:
            if self._notifier and (failure := self._failure):
                failure.packets = await self._notifier.tell(failure.at, max(0.0, failure.deadline - loop.time()))
        finally:
            self._answers.put_nowait(lambda: self._machine.sent(outage, loop.time()))

    async def _note(self, outage: int) -> None:
        loop = asyncio.get_running_loop()
        try:
            await self._keep("power-fail", self._said())
        finally:
            self._answers.put_nowait(lambda: self._machine.noted(outage, loop.time()))

    async def _tell(self) -> None:
        failure = self._failure
        if failure is None:
            return
        seconds = (self._services.clock.now() - failure.at).total_seconds()
        text = f"the mains failed for {seconds:.1f} s; {self._said()}"
        if self._notifier:
            await self._notifier.prepare()
        await self._keep("power-return", text)
        self._services.events.tell("alarm", meter=None, kind="power-return", message=text)

    def _said(self) -> str:
        failure = self._failure
        if failure is None:
            return ""
        return (
            f"since {failure.at.isoformat(timespec='milliseconds')}; {failure.flushed}; {failure.packets} packets sent"
        )

    async def _keep(self, kind: str, text: str) -> None:
        store = self._services.store
        payload = msgspec.json.encode({"event": kind, "subject": "mains", "text": text})
        await store.put("alarm", payload, Priority.ALARM, None)
        await store.audit("collector", kind, "mains", text)
