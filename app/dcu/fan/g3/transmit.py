"""Datagrams on their way into the modem: as many at a time as it has buffers for, each until it is confirmed.

Flow control: the modem says when it has no buffer (buffer indication), and refuses what comes in spite of it (BUSY,
NO_BUFFERS, TIMEOUT): that is tried again a little later, a few times. A confirm that gets lost costs patience and
nothing else: the datagram may have gone out, so it is not repeated here, and an answer of the device counts as confirm.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager

from dcu.errors import LinkError, LinkTimeout
from dcu.fan.base import Unreachable
from dcu.fan.g3.message import Status, named
from dcu.fan.g3.modem import Modem
from dcu.fan.g3.reports import BufferIndication, DataConfirm
from dcu.fan.g3.requests import Data
from dcu.fan.g3.settings import G3Settings

AGAIN = frozenset({Status.BUSY, Status.NO_BUFFERS, Status.TIMEOUT})
TRIES = 5
PAUSE = 0.5  # seconds before the second try, twice as long before each further one
HANDLES = 256
FORGOTTEN = 300.0  # seconds after which a handle whose confirm never came is used again
STUCK = 30.0  # seconds without a buffer, and without a confirm: the indication that there is one was lost


class Transmitter:
    """Of one network; `modem` None: it is down."""

    def __init__(self, settings: G3Settings, counts: Counter[str]) -> None:
        self._settings = settings
        self._counts = counts
        self._modem: Modem | None = None
        self._up = asyncio.Event()
        self._buffers = asyncio.Event()
        self._free = settings.window
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._pending: dict[int, tuple[int, asyncio.Future[int]]] = {}  # by handle: to whom, what it is confirmed with
        self._forgotten: dict[int, float] = {}
        self._next = 0

    @property
    def in_flight(self) -> int:
        return len(self._pending)

    def up(self, modem: Modem) -> None:
        self._modem = modem
        self._buffers.set()
        self._up.set()

    def down(self) -> None:
        """What is under way is lost, or is not: who sent it has to find out."""
        self._modem = None
        self._up.clear()
        self._forgotten.clear()
        error = f"network {self._settings.name}: the modem went away with the datagram"
        for _, future in self._pending.values():
            if not future.done():
                future.set_exception(LinkTimeout(error))

    def confirmed(self, confirm: DataConfirm) -> None:
        waiting = self._pending.get(confirm.handle)
        self._buffers.set()
        if waiting and not waiting[1].done():
            waiting[1].set_result(confirm.status)
        elif self._forgotten.pop(confirm.handle, None) is None:
            self._counts["late-confirms"] += 1

    def heard(self, short: int) -> None:
        """The device said something: it has what it was sent."""
        for to, future in self._pending.values():
            if to == short and not future.done():
                future.set_result(Status.SUCCESS)

    def buffers(self, indication: BufferIndication) -> None:
        if indication.ready:
            self._buffers.set()
        else:
            self._buffers.clear()
            self._counts["buffers-full"] += 1

    async def send(self, short: int, packet: bytes) -> None:
        """Raises Unreachable: no route; LinkError: the network is down, or the modem takes nothing."""
        pause = PAUSE
        for attempt in range(TRIES):
            await self._ready()
            await self._take_slot()
            try:
                status = await self._once(short, packet)
            finally:
                self._give_slot()
            if status == Status.SUCCESS:
                self._counts["datagrams-sent"] += 1
                return
            self._counts[f"data-{named(status).split(' ')[0].lower()}"] += 1
            if status not in AGAIN:
                raise Unreachable(f"network {self._settings.name}: no way to device {short:04X}: {named(status)}")
            if attempt + 1 < TRIES:
                await asyncio.sleep(pause)
                pause *= 2
        raise LinkError(f"network {self._settings.name}: the modem takes no more: {named(status)}")

    async def _ready(self) -> None:
        if self._up.is_set():
            return
        try:
            async with asyncio.timeout(self._settings.down):
                await self._up.wait()
        except TimeoutError:
            raise LinkTimeout(f"network {self._settings.name} is down: see `dcu network`") from None

    async def _once(self, short: int, packet: bytes) -> int:
        if not self._buffers.is_set():
            try:
                async with asyncio.timeout(STUCK):
                    await self._buffers.wait()
            except TimeoutError:
                self._buffers.set()
        modem = self._modem
        if modem is None:
            raise LinkTimeout(f"network {self._settings.name} went down")
        with self._handle(short) as (handle, future):
            await modem.send(Data(handle, discover_route=True, quality=0, packet=packet))
            try:
                async with asyncio.timeout(self._settings.confirm):
                    return await future
            except TimeoutError:
                self._counts["confirms-missed"] += 1
                return Status.SUCCESS  # for all we know

    @contextmanager
    def _handle(self, short: int) -> Iterator[tuple[int, asyncio.Future[int]]]:
        now = asyncio.get_running_loop().time()
        for _ in range(HANDLES):
            handle, self._next = self._next, (self._next + 1) % HANDLES
            if handle not in self._pending and self._forgotten.get(handle, 0.0) <= now:
                break
        else:
            raise LinkError(f"network {self._settings.name}: the modem owes {HANDLES} confirms")
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._pending[handle] = short, future
        try:
            yield handle, future
        finally:
            del self._pending[handle]
            if not future.done() or future.cancelled():
                self._forgotten[handle] = now + FORGOTTEN  # its confirm may still come
            elif not future.cancelled():
                future.exception()

    # --- the window, in the order of coming

    async def _take_slot(self) -> None:
        if self._free > 0 and not self._waiting:
            self._free -= 1
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        try:
            await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():
                self._give_slot()
            raise

    def _give_slot(self) -> None:
        while self._waiting:
            future = self._waiting.popleft()
            if not future.done():
                future.set_result(None)
                return
        self._free += 1
