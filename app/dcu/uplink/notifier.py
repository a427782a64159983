"""Who tells the head-end that the mains have failed: packets that lie ready, and sockets that need no name service.

What a failure needs is there before it: the key schedule, a few counters reserved in the store, resolved addresses.
So telling writes nothing, waits for nobody, and costs microseconds. After each failure, when the key changes and every
minute what is missing is made ready again.
"""

import asyncio
import errno
import logging
import socket
from collections import deque
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Protocol

from dcu.collect.services import Services
from dcu.cosem.security import Cipher
from dcu.credentials import MeterKeys
from dcu.errors import DcuError, StoreError
from dcu.keys.base import HEAD_END
from dcu.uplink.packet import Packet

SPARE = 4  # packets that lie ready: failures that may follow each other faster than the store thaws
SPACING = 0.2  # seconds between two repetitions
EVERY = 60.0  # seconds between two looks at what is ready
RESOLVE_WITHIN = 20.0  # seconds for a name service

log = logging.getLogger(__name__)


class Sender(Protocol):
    """Where packets go."""

    async def ready(self) -> None:
        """Find out where to send, ahead of time. Raises nothing."""
        ...

    def send(self, datagram: bytes) -> int:
        """Send to each address at once, without waiting; return how many took it. Raises nothing."""
        ...

    def close(self) -> None: ...


class Notifier:
    """Implements `dcu.collect.outage.Notifier`. `repeat`: how often a packet is sent to each address."""

    def __init__(self, services: Services, sender: Sender, *, repeat: int) -> None:
        self._services = services
        self._sender = sender
        self._repeat = repeat
        self._keys: MeterKeys | None = None
        self._cipher: Cipher | None = None
        self._ready: deque[Packet] = deque()
        self._lock = asyncio.Lock()
        self._complaint = ""

    @property
    def ready(self) -> int:
        """Packets that lie ready."""
        return len(self._ready)

    async def prepare(self) -> None:
        """Make ready what the next failure needs. Raises nothing: what is missing is logged, once."""
        async with self._lock:
            await self._sender.ready()
            try:
                self._take_key()
                await self._make_packets()
            except (DcuError, ValueError) as error:
                self._complain(f"the head-end could not be told of a power failure: {error}")
            else:
                self._complain("")

    async def tell(self, at: datetime, left: float) -> int:
        """Seal one packet and send it to each address, again and again; return how many datagrams left us."""
        if not self._ready:
            log.error("no packet lies ready: the head-end is not told that the mains failed")
            return 0
        datagram = self._ready.popleft().seal(at, left, doubtful=not self._services.clock.trusted)
        sent = self._sender.send(datagram)
        for _ in range(self._repeat - 1):
            await asyncio.sleep(SPACING)
            sent += self._sender.send(datagram)
        log.info("last gasp: %d datagrams of %d bytes sent", sent, len(datagram))
        return sent

    async def keep(self, beat: Callable[[], None]) -> None:
        """Keep everything ready, for as long as the collector runs; `beat` is told with each turn."""
        while True:
            beat()
            if not self._services.store.frozen:
                await self.prepare()
                beat()
            await asyncio.sleep(EVERY)

    def _take_key(self) -> None:
        keys = self._services.keys.head_end()
        if keys == self._keys:
            return
        self._ready.clear()  # sealed under the old key nobody would understand them
        self._keys = None
        self._cipher = Cipher(keys.guek, keys.gak)
        self._keys = keys

    async def _make_packets(self) -> None:
        assert self._cipher is not None
        assert self._keys is not None
        missing = SPARE - len(self._ready)
        if missing <= 0:
            return
        store, key = self._services.store, self._keys.fingerprint(self._services.client_title)
        if await store.counter(HEAD_END, key) is None:
            raise StoreError("its invocation counter is not known any more: import the head-end's keys (last-gasp.md)")
        for counter in await store.reserve_counters(HEAD_END, missing, key):
            self._ready.append(Packet(self._cipher, self._services.client_title, counter))

    def _complain(self, what: str) -> None:
        if what and what != self._complaint:
            log.warning("%s", what)
        self._complaint = what


class UdpSender:
    """Datagrams to each of `addresses`. Not connected: a route that changes does not leave a stale socket behind."""

    def __init__(self, addresses: Sequence[tuple[str, int]]) -> None:
        self._addresses = tuple(addresses)
        self._known: dict[tuple[str, int], tuple[int, Any]] = {}  # address → family, socket address
        self._sockets: dict[int, socket.socket] = {}

    async def ready(self) -> None:
        for host, port in self._addresses:
            try:
                family, where = await _resolved(host, port)
                if family not in self._sockets:
                    self._sockets[family] = _socket(family)
            except (OSError, TimeoutError) as error:  # what was known stays
                log.warning("head-end %s: %s", host, error or "its name was not resolved in time")
            else:
                self._known[host, port] = (family, where)

    def send(self, datagram: bytes) -> int:
        sent = 0
        for family, where in self._known.values():
            try:
                self._sockets[family].sendto(datagram, where)
                sent += 1
            except OSError as error:  # also: the queue is full, and nobody waits now
                log.warning("last gasp to %s: %s", where[0], errno.errorcode.get(error.errno or 0, "failed"))
        return sent

    def close(self) -> None:
        for one in self._sockets.values():
            one.close()
        self._sockets.clear()
        self._known.clear()


def _socket(family: int) -> socket.socket:
    made = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    made.setblocking(False)
    return made


async def _resolved(host: str, port: int) -> tuple[int, Any]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM, flags=socket.AI_NUMERICHOST)  # asks nobody
    except socket.gaierror:
        async with asyncio.timeout(RESOLVE_WITHIN):
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_DGRAM)
    family, _, _, _, where = found[0]
    return family, where
