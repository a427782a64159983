"""A street that goes on until somebody stops it, with the page to watch it and to break it (`make live`).

The street, with the real collector on top, runs in a thread of its own, in a loop whose clock is the simulation's: it
may be slowed down, sped up, stopped, stepped. The page's server runs in the main thread, on the wall clock, so that it
answers whatever the street does. Between them go lines of JSON one way, and commands the other.
"""

import asyncio
import logging
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web

from dcu.errors import ConfigError, DcuError
from dcu.web import page
from dcu.web.application import Rules, application
from dcu.web.source import Hub
from neighbourhood.g3.clockwork import PacedLoop
from neighbourhood.g3.decoded import kind_of
from neighbourhood.g3.street import Collecting, Scene, Street, collecting
from neighbourhood.g3.trace import Event, Trace
from neighbourhood.g3.watched import Watched, gathered

FRAMES = 20_000  # whose layers are kept for who clicks them
EVERY = 2.0  # simulated seconds between two words on progress
FASTEST = 200.0
LOUDEST, LONGEST = 60.0, 3600.0  # dB and seconds of a burst of noise
ANSWER = 30.0  # seconds that a command may take

log = logging.getLogger(__name__)


class Live:
    """A `dcu.web.source.Source`. Make it in the loop of the page's server, and `start` it."""

    can = (
        "cut", "mend", "noise", "off", "on", "reboot", "blackout", "restore",
        "speed", "pause", "resume", "step", "poll",
    )  # fmt: skip

    def __init__(self, scene: Scene, factor: float) -> None:
        self.hub = Hub()
        self.failed: BaseException | None = None
        self.ended = asyncio.Event()
        self._server = asyncio.get_running_loop()
        self._trace = Trace(layers_too=True)
        self._trace.kind_of = kind_of
        self._watched = Watched(self._trace)
        self._trace.listen(self._watched.count)
        self._trace.listen(self._tell)
        self._state = _State()
        self._layers: OrderedDict[int, Any] = OrderedDict()
        self._street = Street.build(scene, self._trace)
        self._loop = PacedLoop(self._street.line.scheduler, factor)
        self._speed = factor
        self._house: Collecting | None = None
        self._read: set[str] = set()  # meters whose profile is to be told anew
        self._stop: asyncio.Event | None = None
        self._thread = threading.Thread(target=self._run, name="street", daemon=True)

    def start(self) -> None:
        self._thread.start()

    async def close(self) -> None:
        """Stop the street, and wait for the collector to end in good order."""
        self._loop.call_soon_threadsafe(self._stopped)
        await asyncio.to_thread(self._thread.join, ANSWER)

    # --- what the page's server asks (in its thread)

    def opening(self) -> Iterator[bytes]:
        return self._state.lines()

    async def layers(self, frame: int) -> list[Any] | None:
        return self._layers.get(frame)

    async def command(self, wanted: Mapping[str, Any], actor: str) -> dict[str, Any]:
        """Raises ConfigError for what cannot be done, with what could."""
        call = self._call(dict(wanted))
        done: Future[Any] = Future()

        def work() -> None:
            try:
                done.set_result(call())
            except Exception as error:
                done.set_exception(error)

        self._loop.call_soon_threadsafe(work)
        async with asyncio.timeout(ANSWER):
            return dict(await asyncio.wrap_future(done) or {})

    def _call(self, wanted: dict[str, Any]) -> Callable[[], Any]:
        line, loop = self._street.line, self._loop
        match wanted:
            case {"do": "cut" | "mend" as what, "cable": int(cable)} if 0 <= cable < len(line.feeder.cables):
                return lambda: loop.enter(getattr(line, what), cable)
            case {"do": "off" | "on" | "reboot" | "blackout" | "restore"}:
                return self._powered(wanted)
            case {
                "do": "noise",
                "junction": int(junction),
                "db": int() | float() as db,
                "seconds": int() | float() as s,
            }:
                if 0 <= junction < len(line.feeder.junctions) and 0 < db <= LOUDEST and 0 < s <= LONGEST:
                    return lambda: loop.enter(line.burst, junction, float(db), float(s))
                raise ConfigError(f"noise: a junction, up to {LOUDEST:g} dB, for up to {LONGEST:g} seconds")
            case {"do": "speed", "factor": int() | float() as factor} if 0 < factor <= FASTEST:
                return lambda: self._pace(float(factor), running=loop.factor > 0)
            case {"do": "speed"}:
                raise ConfigError(f"factor: above 0, at most {FASTEST:g}")
            case {"do": "pause" | "resume" as what}:
                return lambda: self._pace(self._speed, running=what == "resume")
            case {"do": "step"}:
                return self._step
            case {"do": "poll", **rest}:
                return lambda: self._poll(rest.get("node"))
        raise ConfigError(f"this street knows {', '.join(self.can)}, with what each needs")

    def _powered(self, wanted: dict[str, Any]) -> Callable[[], Any]:
        line, loop = self._street.line, self._loop
        match wanted:
            case {"do": "off" | "on" as what, "node": int(node)} if 0 < node < len(line.nodes):
                return lambda: loop.enter(getattr(line, what), node)
            case {"do": "reboot", "node": int(node)} if 0 < node < len(line.nodes):
                return lambda: self._reboot(node)
            case {"do": "blackout" | "restore" as what, **rest} if not rest:
                return lambda: loop.enter(getattr(line, what))
            case {"do": "blackout" | "restore" as what}:
                raise ConfigError(f"{what}: for the whole street, and it takes nothing else")
        raise ConfigError(f"node: 1..{len(line.nodes) - 1}; the concentrator has its own power")

    # --- in the street's thread

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                runner.run(self._live())
        except BaseException as error:
            log.exception("the street ended")
            self.failed = error
        finally:
            self._server.call_soon_threadsafe(self.ended.set)

    async def _live(self) -> None:
        street, loop = self._street, self._loop
        self._stop = asyncio.Event()
        with tempfile.TemporaryDirectory(prefix="dcu-live-") as folder:
            async with collecting(street, Path(folder), loop.enter) as house:
                self._house = house
                self._watched.follow(house, loop.time, self._read.add)
                self._clock()
                await house.up()
                await house.register()
                loop.enter(street.wake)
                telling = asyncio.create_task(self._talk(house))
                house.collector.polling.start()
                await self._stop.wait()
                telling.cancel()
                await asyncio.gather(telling, return_exceptions=True)

    async def _talk(self, house: Collecting) -> None:
        """Progress, the clock, and what was read, again and again."""
        while True:
            await asyncio.sleep(EVERY)
            self._watched.progress(self._street, self._loop.time(), gathered(house))
            self._clock()
            while self._read:
                name = self._read.pop()
                try:
                    await self._watched.profile(house, name, self._loop.time())
                except DcuError as error:
                    log.warning("%s: %s", name, error)

    def _stopped(self) -> None:
        if self._loop.factor == 0:
            self._loop.pace(1.0)
        if self._stop is not None:
            self._stop.set()

    def _pace(self, factor: float, *, running: bool) -> None:
        self._speed = factor
        self._loop.pace(factor if running else 0.0)
        self._clock()

    def _step(self) -> None:
        """One frame further, and stand still."""
        self._loop.pace(0.0)
        frames = self._trace.frames
        self._loop.step(lambda: self._trace.frames > frames)
        self._clock()

    def _reboot(self, node: int) -> None:
        if not self._street.line.nodes[node].up:
            raise ConfigError(f"node {node} has no power: on, or restore, gives it some")
        self._loop.enter(self._street.line.reboot, node)

    def _poll(self, node: object) -> None:
        if self._house is None:
            raise ConfigError("the collector is not up yet: wait a moment")
        names = {home: name for name, home in self._street.names().items()}
        if node is not None and node not in names:
            raise ConfigError(f"node: a meter, 1..{len(names)}")
        fleet = self._house.collector.fleet
        self._house.collector.polling.poll_now([fleet.get(names[node])] if isinstance(node, int) else list(fleet))

    def _clock(self) -> None:
        loop = self._loop
        self._trace.emit("clock", loop.time(), factor=self._speed, paused=loop.factor == 0)

    def _tell(self, event: Event) -> None:
        """Every event, on its way to the browsers: what is heavy stays here until it is asked for."""
        if event["e"] == "frame" and (layers := event.get("layers")):
            event = {key: value for key, value in event.items() if key != "layers"}
            self._layers[event["id"]] = layers
            while len(self._layers) > FRAMES:
                self._layers.popitem(last=False)
        line = msgspec.json.encode(event)
        self._state.take(event, line)
        self._server.call_soon_threadsafe(self.hub.tell, line)


class _State:
    """What a newcomer has to hear: the newest event of each thing. Written in one thread, read in another."""

    def __init__(self) -> None:
        self._lines: dict[tuple[Any, ...], bytes] = {}
        self._lock = threading.Lock()

    def take(self, event: Event, line: bytes) -> None:
        kind = event["e"]
        if kind not in ("frame", "noise"):
            of = tuple(event.get(key) for key in ("id", "node", "to"))
            with self._lock:
                self._lines[kind, *of] = line

    def lines(self) -> Iterator[bytes]:
        with self._lock:
            return iter(list(self._lines.values()))


async def serve(scene: Scene, *, port: int, factor: float, ready: Callable[[str], None]) -> None:
    """Until it is cancelled. ready: told where the page is. Raises ConfigError: the port is taken."""
    source = Live(scene, factor)
    runner = web.AppRunner(application(page.html(), source, Rules(None, commands=True)), access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        source.start()
        ready(f"http://127.0.0.1:{port}/")
        await source.ended.wait()
        if source.failed is not None:
            raise RuntimeError(f"the street ended: {source.failed}")
    except OSError as error:
        raise ConfigError(f"port {port}: {error.strerror or error}: choose another by --port") from None
    finally:
        await source.close()
        await runner.cleanup()
