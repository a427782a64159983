"""What a device's page shows: meters, readings and progress, as the collector tells them through its control socket.

The collector sees no frames of the field network, so there are none here: the page draws the meters, who has joined,
the way to each as the network's coordinator knows it, and each meter's last day. Commands are few, and the collector
has the last word on each.
"""

import asyncio
import contextlib
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from time import time
from typing import Any

import msgspec

from dcu.control.client import ControlClient
from dcu.errors import ConfigError, DcuError, LinkClosed, LinkError
from dcu.web.source import Hub

AGAIN = 5.0  # seconds until a collector that is away is asked again
TOPOLOGY = 60.0  # seconds between two looks at the routes
DAY, HOUR = 86400, 3600
ENERGY = "1-0:1.8.0*255"  # active import: what a load profile is drawn of
CONCENTRATOR = 0  # the page's number of this device; meters follow
_STATES = {"ok": "joined", "unreachable": "left", "new": "scan", "refused": "declined", "quarantined": "declined"}

log = logging.getLogger(__name__)


class Collected:
    """A `dcu.web.source.Source` of a device; `keep` has to run."""

    can = ("poll",)

    def __init__(self, socket: Path, title: str) -> None:
        self.hub = Hub()
        self._socket = socket
        self._title = title
        self._began = time()
        self._client: ControlClient | None = None
        self._numbers: dict[str, int] = {}  # the page's number of each meter
        self._street = b""
        self._last: dict[tuple[str, int], bytes] = {}  # the newest event of each kind and node
        self._states: dict[str, str] = {}  # of each meter, as the collector sees it
        self._shorts: dict[int, int] = {}  # the short address of each meter that its network gave one
        self._routes: dict[int, tuple[int, int, int]] = {}  # of each meter: the next hop, cost, hops
        self._wanted: set[str] = set()  # meters whose profile is to be read again
        self._changed = asyncio.Event()
        self._moved = asyncio.Event()  # somebody joined, left, or the network came back

    def opening(self) -> Iterator[bytes]:
        yield self._street or self._described([])
        yield from self._last.values()

    async def layers(self, frame: int) -> None:
        return None

    async def command(self, wanted: Mapping[str, Any], actor: str) -> dict[str, Any]:
        """`{"do": "poll", "node": n}`: read now what is due or missing, of one meter or (without `node`) of all."""
        if self._client is None:
            raise LinkError("the collector does not run: `systemctl status dcu-collector`")
        match dict(wanted):
            case {"do": "poll", "node": int(number)}:
                names = [name for name, known in self._numbers.items() if known == number]
                if not names:
                    raise ConfigError(f"no meter has the number {number}: load the page anew")
                log.info("%s: poll %s", actor, names[0])
                return dict(await self._client.call("poll", meters=names))
            case {"do": "poll", **more} if not more:
                log.info("%s: poll all meters", actor)
                return dict(await self._client.call("poll"))
        raise ConfigError("a device takes only `poll`: what changes the street is for the simulation")

    async def keep(self) -> None:
        """Follow the collector for as long as this runs, also where it comes and goes."""
        told = ""
        while True:
            try:
                async with await ControlClient.connect(self._socket) as client:
                    log.info("the collector is there")
                    await self._follow(client)
                    told = ""
            except DcuError as error:
                if str(error) != told:
                    log.warning("%s", error)
                    told = str(error)
            finally:
                self._client = None
            self._tell("collector", CONCENTRATOR, {"state": "away"})
            await asyncio.sleep(AGAIN)

    async def _follow(self, client: ControlClient) -> None:
        await client.subscribe("meter", "reading", "progress", "alarm", "network")
        await self._list(client)
        self._client = client
        self._tell("collector", CONCENTRATOR, {"state": "there"})
        duties = [asyncio.create_task(self._profiles(client)), asyncio.create_task(self._watch(client))]
        try:
            async for event in client.events():
                await self._hear(client, event.topic, event.data)
        finally:
            for duty in duties:
                duty.cancel()
            await asyncio.gather(*duties, return_exceptions=True)
        raise LinkClosed("the collector closed the control socket")

    async def _list(self, client: ControlClient) -> None:
        """All meters, and from now on the numbers that the page knows them by."""
        meters = await client.call("meters")
        names = [meter["name"] for meter in meters]
        if set(names) != set(self._numbers) or not self._street:
            self._numbers = {name: number for number, name in enumerate(sorted(names), CONCENTRATOR + 1)}
            self._last.clear()
            self._routes.clear()
            self._shorts.clear()
            self._moved.set()
            self._street = self._described(meters)
            self.hub.tell(self._street)
        for meter in meters:
            self._joined(meter["name"], meter["state"])
        self._wanted.update(names)
        self._changed.set()

    async def _hear(self, client: ControlClient, topic: str, data: dict[str, Any]) -> None:
        name = data.get("meter", "")
        if data.get("dropped") or (name and name not in self._numbers and topic in ("meter", "reading")):
            await self._list(client)  # events were lost, or there are meters that we do not know
        number = self._numbers.get(name, CONCENTRATOR)
        if topic == "progress":
            shown = {"collected": data["collected"], "expected": data["expected"], "complete": data["complete"]}
            self._tell("progress", CONCENTRATOR, shown)
        elif topic == "meter":
            self._joined(name, data["state"])
        elif topic == "reading" and number:
            self._wanted.add(name)
            self._changed.set()
        elif topic == "network":
            self._moved.set()
        elif topic == "alarm":
            self._tell("alarm", number, {"kind": data.get("kind", ""), "message": data.get("message", "")})

    async def _profiles(self, client: ControlClient) -> None:
        """The last day of each meter that has news, one at a time: the collector's work goes first."""
        while True:
            while self._wanted:
                name = self._wanted.pop()
                try:
                    await self._profile(client, name)
                except LinkClosed:
                    return
                except DcuError as error:
                    log.debug("%s: no profile: %s", name, error)
            self._changed.clear()
            await self._changed.wait()

    async def _watch(self, client: ControlClient) -> None:
        """The ways to the meters, for as long as the collector answers: at each change, and now and then."""
        while True:
            self._moved.clear()
            try:
                for network in await client.call("network"):
                    self._topology(network["nodes"])
            except LinkClosed:
                return
            except DcuError as error:  # such as [control] others without it
                log.debug("no topology: %s", error)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TOPOLOGY):
                    await self._moved.wait()

    def _topology(self, nodes: list[dict[str, Any]]) -> None:
        """Tell what has changed of who goes through whom. A hop that is no meter of ours ends what can be drawn."""
        numbers = {node["eui64"]: self._numbers.get(node["meter"], 0) for node in nodes}
        for node in nodes:
            number = numbers[node["eui64"]]
            if not number:
                continue
            if node["address"] is not None and self._shorts.get(number) != node["address"]:
                self._shorts[number] = node["address"]
                self._joined(node["meter"], self._states.get(node["meter"], ""))
            known = node["hops"] is not None and (node["parent"] is None or numbers.get(node["parent"]))
            way = (numbers.get(node["parent"], CONCENTRATOR), node["cost"] or 0, node["hops"]) if known else None
            if way == self._routes.get(number):
                continue
            if way is None:
                del self._routes[number]
                self._tell("route", number, {"to": CONCENTRATOR, "next": None, "cost": 0, "hops": 0})
            else:
                self._routes[number] = way
                told = {"to": CONCENTRATOR, "next": way[0], "cost": way[1], "hops": way[2]}
                self._tell("route", number, told)

    async def _profile(self, client: ControlClient, name: str) -> None:
        now = int(time())
        told = await client.call("profile", meter=name, **{"from": now - DAY - HOUR, "to": now + HOUR})
        columns = told["columns"]
        at = next((i for i, column in enumerate(columns) if ENERGY in column["attribute"]), None)
        if at is None or name not in self._numbers:
            return
        unit, factor = columns[at]["unit"], 10 ** columns[at]["scaler"]
        rows = [[row[0], row[2 + at] * factor] for row in told["rows"] if isinstance(row[2 + at], int | float)]
        number = self._numbers[name]
        self._tell("reading", number, {"rows": len(rows), "of": 24})
        self._tell("profile", number, {"unit": unit, "rows": rows[-25:]})

    def _joined(self, name: str, state: str) -> None:
        self._states[name] = state
        if number := self._numbers.get(name):
            short = self._shorts.get(number, number)
            self._tell("join", number, {"state": _STATES.get(state, "scan"), "short": short})

    def _tell(self, kind: str, node: int, what: dict[str, Any]) -> None:
        """Say it to everybody, and keep it for who comes later; alarms are said once."""
        event = {"t": round(time() - self._began, 3), "e": kind, "node": node, **what}
        line = msgspec.json.encode(event)
        if kind != "alarm":
            self._last[kind, node] = line
        self.hub.tell(line)

    def _described(self, meters: list[dict[str, Any]]) -> bytes:
        nodes = [{"id": CONCENTRATOR, "role": "coordinator", "name": self._title, "phase": "ABC", "eui": ""}]
        for meter in sorted(meters, key=lambda each: str(each["name"])):
            address = str(meter["address"])
            eui = address.partition("://")[2] if address.startswith("g3://") else ""
            number = self._numbers[meter["name"]]
            nodes.append({"id": number, "role": "meter", "name": meter["name"], "phase": "", "eui": eui})
        street = {"e": "street", "version": 1, "start": self._began, "title": self._title, "live": True}
        return msgspec.json.encode({**street, "junctions": [], "cables": [], "nodes": nodes})
