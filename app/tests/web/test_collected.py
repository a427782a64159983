"""What a device's page is told, from a collector that comes, changes and goes."""

import asyncio
import json
from time import time

import pytest

from dcu.collect.events import Events
from dcu.control.server import ControlServer
from dcu.errors import ConfigError, LinkError
from dcu.web import collected
from dcu.web.collected import Collected

HOUR = 3600


class Collector:
    def __init__(self, path):
        self.path = path
        self.events = Events()
        self.meters = [self.meter("M2"), self.meter("M1")]
        self.polled = []
        self.nodes = []
        self.server = None

    @staticmethod
    def meter(name, state="ok"):
        return {"name": name, "address": f"g3://00000000000000{name[1:]}0", "state": state}

    async def start(self):
        self.server = await ControlServer.start(self.path, self.handle, self.events)

    async def stop(self):
        await self.server.close()

    async def handle(self, method, actor, params):
        match method:
            case "meters":
                return self.meters
            case "network":
                return [{"name": "street", "nodes": self.nodes}]
            case "poll":
                self.polled.append(params.get("meters"))
                return {"jobs": [1]}
            case "profile":
                last = int(time()) // HOUR * HOUR
                return {
                    "columns": [
                        {"attribute": "3,1-0:2.8.0*255,2", "scaler": 0, "unit": "Wh"},
                        {"attribute": "3,1-0:1.8.0*255,2", "scaler": 1, "unit": "Wh"},
                    ],
                    "rows": [[last - HOUR, None, 1, 70], [last, 0, 2, 71]],
                }
        raise ConfigError(method)


@pytest.fixture
async def collector(tmp_path):
    made = Collector(tmp_path / "control.sock")
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def source(collector, monkeypatch):
    monkeypatch.setattr(collected, "AGAIN", 0.05)
    source = Collected(collector.path, "kiosk 7")
    task = asyncio.create_task(source.keep())
    yield source
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def shown(source):
    return [json.loads(line) for line in source.opening()]


async def until(condition, within=5.0):
    async with asyncio.timeout(within):
        while not condition():
            await asyncio.sleep(0.01)


def of(source, kind, node):
    """The newest event of this kind and node that a newcomer gets; None where there is none yet."""
    return next((event for event in shown(source)[1:] if (event["e"], event["node"]) == (kind, node)), None)


async def test_meters_states_and_the_last_day_are_shown(source, collector):
    await until(lambda: of(source, "profile", 2))
    street = shown(source)[0]
    assert [node["name"] for node in street["nodes"]] == ["kiosk 7", "M1", "M2"]
    assert street["nodes"][1]["eui"] == "0000000000000010"
    assert of(source, "join", 1)["state"] == "joined"
    profile = of(source, "profile", 2)
    assert profile["unit"] == "Wh"
    assert [value for _, value in profile["rows"]] == [700, 710]


async def test_what_changes_is_told_to_those_who_look(source, collector):
    await until(lambda: len(shown(source)) > 2)
    viewer = source.hub.join()
    collector.events.tell("meter", meter="M1", state="unreachable", reason="no answer")
    collector.events.tell("progress", collected=3, expected=48, complete=False, meters=2, ended=0)
    collector.events.tell("alarm", meter="M2", kind="push", message="power failed")
    heard = []
    while len(heard) < 3:
        heard += [json.loads(line) for line in (await viewer.batch()).splitlines()]
    kinds = {event["e"]: event for event in heard}
    assert kinds["join"]["state"] == "left"
    assert kinds["progress"]["collected"] == 3
    assert (kinds["alarm"]["node"], kinds["alarm"]["message"]) == (2, "power failed")
    assert not any(event["e"] == "alarm" for event in shown(source)[1:])  # said once


def node(name, address, parent=None, hops=1, cost=9):
    eui64 = f"00000000000000{name[1:]}0"
    return {"eui64": eui64, "meter": name, "address": address, "parent": parent, "hops": hops, "cost": cost}


async def test_the_way_to_each_meter_is_shown_and_follows_what_the_network_says(source, collector):
    collector.nodes = [node("M1", 0x11), node("M2", 0x12, parent="0000000000000010", hops=2, cost=20)]
    await until(lambda: of(source, "route", 2))
    assert {key: of(source, "route", 2)[key] for key in ("to", "next", "cost", "hops")} == {
        "to": 0, "next": 1, "cost": 20, "hops": 2,
    }  # fmt: skip
    assert of(source, "route", 1)["next"] == 0
    assert of(source, "join", 2)["short"] == 0x12
    viewer = source.hub.join()
    collector.nodes = [node("M1", None, hops=None, cost=None), node("M2", 0x12, parent="000000000000DEAD", hops=2)]
    collector.events.tell("network", network="street", change="left", meter="M1", eui64="", text="")
    await until(lambda: of(source, "route", 2)["next"] is None)
    assert of(source, "route", 1)["next"] is None
    collector.nodes[1] = node("M2", 0x12, hops=1, cost=70)
    collector.events.tell("network", network="street", change="heard", meter="M2", eui64="", text="")
    await until(lambda: of(source, "route", 2)["next"] == 0)
    collector.events.tell("network", network="street", change="heard", meter="M2", eui64="", text="")
    collector.events.tell("meter", meter="M1", state="unreachable", reason="")
    heard = ""
    while "left" not in heard:
        heard += (await viewer.batch()).decode()
    assert heard.count('"route"') == 3  # what stays as it is is not said again


async def test_a_new_meter_makes_a_new_street(source, collector):
    await until(lambda: len(shown(source)) > 2)
    collector.meters.append(collector.meter("M0"))
    collector.events.tell("meter", meter="M0", state="new", reason="")
    await until(lambda: len(shown(source)[0]["nodes"]) == 4)


async def test_a_collector_that_goes_is_said_and_found_again(source, collector):
    await until(lambda: len(shown(source)) > 2)
    await collector.stop()
    await until(lambda: "'away'" in str(shown(source)))
    with pytest.raises(LinkError, match="does not run"):
        await source.command({"do": "poll"}, "web anna")
    await collector.start()
    await until(lambda: "'there'" in str(shown(source)))


async def test_one_meter_or_all_are_polled_and_nothing_else_is_taken(source, collector):
    await until(lambda: "'there'" in str(shown(source)))
    assert await source.command({"do": "poll", "node": 1}, "web anna") == {"jobs": [1]}
    await source.command({"do": "poll"}, "web anna")
    assert collector.polled == [["M1"], None]
    with pytest.raises(ConfigError, match="no meter has the number 9"):
        await source.command({"do": "poll", "node": 9}, "web anna")
    for wanted in ({"do": "cut", "cable": 1}, {"do": "poll", "node": "M1; rm"}, {"do": ["poll"]}, {}):
        with pytest.raises(ConfigError, match="a device takes only `poll`"):
            await source.command(wanted, "web anna")
    assert len(collector.polled) == 2
