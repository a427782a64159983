"""What the command's tests talk to: a street of meters on a loop of its own, and a UDP path that loses what it is told.

The command runs in the test's thread as it does in a terminal, its event loop included; so the street has a thread.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from neighbourhood import truth
from neighbourhood.faults import Fault
from neighbourhood.fleet import Addressing, Fleet, StreetTime
from neighbourhood.meter import Habits, Meter
from neighbourhood.running import bench_keys, generate_keys

T = TypeVar("T")

SEED = 7
ENERGY = "1-0:1.8.0*255"
LOAD = "1-0:99.1.0*255"
EVENTS = "0-0:99.98.0*255"
NAME = "0-0:42.0.0*255"
HOUR, DAY = truth.HOUR, truth.DAY
AARQ, GET, ACTION, RLRQ = 0x60, 0xC8, 0xCB, 0x62  # APDUs by their first byte, as a ciphered association sends them
GOT, ACTED, RLRE = 0xCC, 0xCF, 0x63


class Background:
    """An event loop in a thread."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


class Street:
    """Meters on loopback, TCP and UDP; client 1 of the first has the keys of `keys`. ahead: seconds, of true time."""

    def __init__(
        self,
        folder: Path,
        *,
        count: int = 1,
        ahead: float = 0.0,
        faults: tuple[Any, ...] = (),
        place: Addressing | None = None,
        suite: int = 0,
        **habits: Any,
    ) -> None:
        self._background = Background()
        self._paths: list[Lossy] = []
        true_time = StreetTime(ahead, 0.0, time.time)
        place = place or Addressing("127.0.0.1", 0, 0)
        self.fleet = Fleet(count, SEED, true_time, habits=Habits(**habits), addressing=place, faults=faults)
        self.keys = folder / "keys.toml"
        generate_keys(self.keys, suite)
        self.meter.given = bench_keys(self.keys)
        self._background.run(self.fleet.listen())

    @property
    def meter(self) -> Meter:
        return self.fleet.meters[0]

    def at(self, carrier: str = "tcp") -> str:
        place = self.fleet.place(self.meter)
        return f"{place.host}:{place.udp if carrier == 'udp' else place.tcp}"

    def options(self, carrier: str = "tcp", auth: str = "gmac") -> list[str]:
        """How a command line names the first meter and its client 1."""
        return [f"--{carrier}", self.at(carrier), "--client", "1", "--auth", auth, "--keys", str(self.keys)]

    def lossy(self, loses: "Callable[[Lossy, int], bool]") -> "Lossy":
        """A way to the first meter that loses datagrams: see Lossy."""
        port = self.fleet.place(self.meter).udp
        assert port
        path = Lossy(loses)
        self._background.run(path.open(port))
        self._paths.append(path)
        return path

    def close(self) -> None:
        for path in self._paths:
            self._background.run(path.close())
        self._background.run(self.fleet.close())
        self._background.close()


class Lossy(asyncio.DatagramProtocol):
    """Carries datagrams to a meter and back, but for those of which `loses(self, first byte of the APDU)` says so.

    sent: first bytes of the APDUs that the client sent, lost ones included.
    """

    def __init__(self, loses: "Callable[[Lossy, int], bool]") -> None:
        self.sent: list[int] = []
        self.port = 0
        self._loses = loses
        self._client: Any = None
        self._there: dict[Any, asyncio.DatagramTransport] = {}

    async def open(self, meter: int) -> None:
        self._meter = ("127.0.0.1", meter)
        loop = asyncio.get_running_loop()
        self._here, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=("127.0.0.1", 0))
        self.port = self._here.get_extra_info("sockname")[1]

    async def close(self) -> None:
        for transport in (self._here, *self._there.values()):
            transport.close()
        await asyncio.sleep(0)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.sent.append(data[8])
        if not self._loses(self, data[8]):
            asyncio.get_running_loop().create_task(self._carry(data, addr))

    async def _carry(self, data: bytes, client: Any) -> None:
        if client not in self._there:
            loop = asyncio.get_running_loop()
            back = _Back(self, client)
            self._there[client], _ = await loop.create_datagram_endpoint(lambda: back, remote_addr=self._meter)
        self._there[client].sendto(data)

    def returned(self, data: bytes, client: Any) -> None:
        if not self._loses(self, data[8]):
            self._here.sendto(data, client)


class _Back(asyncio.DatagramProtocol):
    def __init__(self, path: Lossy, client: Any) -> None:
        self._path = path
        self._client = client

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self._path.returned(data, self._client)


def iso(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def stamp(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%d %H:%M:%S")


def truths(first: int, last: int, number: int = 1) -> list[list[Any]]:
    """What the load profile of a meter holds, as rows of JSON."""
    return [[iso(row.timestamp), *row.registers] for row in truth.rows(SEED, number, first, last)]


def without_status(rows: list[list[Any]]) -> list[list[Any]]:
    return [[row[0], *row[2:]] for row in rows]


def fault(written: str) -> dict[str, Any]:
    """An option of Street."""
    return {"faults": (Fault.parse(written),)}


def counter_file(tmp_path: Path) -> Path:
    """The one that the command keeps for the user of the tests."""
    (found,) = (tmp_path / "state" / "dcu" / "counters").iterdir()
    return found
