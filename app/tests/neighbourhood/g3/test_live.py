"""The live street: it goes on, is watched from its first word, takes commands, and stands still where it is told to."""

import asyncio
import json

import pytest

from dcu.errors import ConfigError
from neighbourhood.g3.clockwork import PacedLoop
from neighbourhood.g3.events import Scheduler
from neighbourhood.g3.live import Live
from neighbourhood.g3.street import Scene

METERS = 3
FAST = 200.0


@pytest.fixture
async def street():
    live = Live(Scene(meters=METERS, every=900), FAST)
    live.start()
    yield live
    await live.close()
    assert live.failed is None
    assert not live._thread.is_alive()


def told(street, kind):
    return [event for event in map(json.loads, street.opening()) if event["e"] == kind]


async def until(condition, within=60.0):
    async with asyncio.timeout(within):
        while not condition():
            await asyncio.sleep(0.05)


async def test_a_street_joins_is_read_and_takes_what_is_done_to_it(street):
    viewer = street.hub.join()
    await until(lambda: sum(event["rows"] == 24 for event in told(street, "reading")) == METERS)
    assert {event["state"] for event in told(street, "join")} == {"joined"}
    assert len(told(street, "profile")[0]["rows"]) == 24
    frames = [json.loads(line) for line in (await viewer.batch()).splitlines() if b'"frame"' in line]
    assert frames
    assert "layers" not in frames[0]
    assert await street.layers(frames[0]["id"])
    assert await street.layers(1 << 40) is None
    await street.command({"do": "cut", "cable": 0}, "web")
    assert told(street, "cable") == [{"t": told(street, "cable")[0]["t"], "e": "cable", "id": 0, "state": "cut"}]
    await street.command({"do": "mend", "cable": 0}, "web")
    await street.command({"do": "off", "node": 1}, "web")
    assert [event["state"] for event in told(street, "node")] == ["off"]
    await street.command({"do": "noise", "junction": 1, "db": 30, "seconds": 60}, "web")
    await street.command({"do": "poll", "node": 2}, "web")


def states(street):
    """The newest word on each device's power, and on each one's joining."""
    power = {event["id"]: event["state"] for event in told(street, "node")}
    return power, {event["node"]: event["state"] for event in told(street, "join")}


async def test_a_meter_reboots_and_joins_again_and_the_whole_street_loses_its_power_and_comes_back(street):
    everybody = range(1, METERS + 1)
    await until(lambda: states(street)[1] == dict.fromkeys(everybody, "joined"))
    joined = {event["node"]: event["t"] for event in told(street, "join")}
    await street.command({"do": "reboot", "node": 2}, "web")
    assert states(street)[0] == {2: "off"}
    with pytest.raises(ConfigError, match="no power"):
        await street.command({"do": "reboot", "node": 2}, "web")
    await until(lambda: states(street)[0] == {2: "on"})

    def again(node):
        return any(event["t"] > joined[node] for event in told(street, "join")
                   if event["node"] == node and event["state"] == "joined")  # fmt: skip

    await until(lambda: again(2))
    joined = {event["node"]: event["t"] for event in told(street, "join")}

    await street.command({"do": "blackout"}, "web")
    assert states(street)[0] == dict.fromkeys(everybody, "off")
    await street.command({"do": "restore"}, "web")
    assert states(street)[0] == dict.fromkeys(everybody, "on")
    await until(lambda: all(map(again, everybody)))


async def test_it_stands_still_goes_one_frame_and_goes_on(street):
    await until(lambda: told(street, "join"))
    await street.command({"do": "pause"}, "web")
    still = told(street, "clock")[0]
    assert still["paused"] is True
    frames = street._trace.frames
    await asyncio.sleep(0.3)
    assert street._trace.frames == frames
    await street.command({"do": "step"}, "web")
    assert street._trace.frames == frames + 1
    await street.command({"do": "speed", "factor": 100}, "web")
    assert (told(street, "clock")[0]["factor"], told(street, "clock")[0]["paused"]) == (100.0, True)
    await street.command({"do": "resume"}, "web")
    await until(lambda: street._trace.frames > frames + 1)


@pytest.mark.parametrize(
    "wanted",
    [
        {},
        {"do": "jump"},
        {"do": "cut"},
        {"do": "cut", "cable": -1},
        {"do": "cut", "cable": 10**6},
        {"do": "off", "node": 0},
        {"do": "off", "node": "1"},
        {"do": "reboot"},
        {"do": "reboot", "node": 0},
        {"do": "reboot", "node": METERS + 1},
        {"do": "reboot", "node": "1"},
        {"do": "blackout", "node": 1},
        {"do": "restore", "node": 1},
        {"do": "noise", "junction": 0, "db": 1e9, "seconds": 1},
        {"do": "noise", "junction": 0, "db": float("nan"), "seconds": 1},
        {"do": "speed", "factor": 0},
        {"do": "speed", "factor": 1e9},
        {"do": "poll", "node": 99},
        {"do": "poll", "node": [1]},
    ],
)
async def test_what_cannot_be_done_is_refused_with_what_could(wanted):
    live = Live(Scene(meters=METERS), FAST)
    live.start()
    try:
        with pytest.raises(ConfigError):
            await live.command(wanted, "web")
    finally:
        await live.close()


def test_a_paced_loop_never_passes_a_timer_or_an_event():
    """Whoever is woken by the line has his turn before his own time limit has passed, however late the machine is."""
    scheduler = Scheduler()
    loop = PacedLoop(scheduler, factor=1e6)
    seen = []

    async def asks():
        for _ in range(50):
            answer = loop.create_future()
            scheduler.at(loop.time() + 0.010, answer.set_result, None)
            async with asyncio.timeout(0.011):
                await answer
            seen.append(loop.time())

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(asks())
    assert len(seen) == 50
    assert seen[-1] == pytest.approx(0.5)


def test_a_paced_loop_takes_the_wall_clocks_time():
    loop = PacedLoop(Scheduler(), factor=20.0)

    async def waits():
        began = asyncio.get_running_loop().time()
        await asyncio.sleep(4.0)
        return asyncio.get_running_loop().time() - began

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        import time

        began = time.monotonic()
        assert runner.run(waits()) == pytest.approx(4.0, abs=0.5)
        assert 0.15 <= time.monotonic() - began < 3.0
