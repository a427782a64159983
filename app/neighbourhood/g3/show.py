"""The demo over G3-PLC: a street joins, is read, loses a cable on the way, heals, and every reading is compared.

48 homes wake, find their network, prove their key, get addresses and the group key; LOADng builds routes; the
concentrator collects 24 h of profiles. When a good part is there, a main cable is opened: routes break, others are
found, and the last reading arrives. All of it in virtual time, in one process; what is left behind is one html file
that plays it.
"""

import asyncio
import io
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from dcu.errors import DcuError
from neighbourhood import truth, verdict
from neighbourhood.g3 import clockwork, floor, pcap
from neighbourhood.g3.decoded import kind_of
from neighbourhood.g3.feeder import Feeder
from neighbourhood.g3.line import Line
from neighbourhood.g3.street import STALL, Collecting, Scene, Street, collected, collecting
from neighbourhood.g3.trace import Event, Trace, to_file
from neighbourhood.g3.watched import Watched, gathered, least_air
from neighbourhood.processes import DemoFailed
from neighbourhood.verdict import Verdict

CUT_AT = 0.4  # of the readings are there when a cable is opened
STURDY = 34.0  # dB that a link may lose and still hold through an evening's noise

Tell = Callable[[float, int, int, int], None]  # simulated seconds, homes joined, readings expected, readings collected


@dataclass(frozen=True, slots=True)
class Way:
    """How a meter was reached at the end: hops from the concentrator, how each of them is modulated on the way up."""

    meter: str
    hops: int
    modulations: tuple[str, ...]
    readings: int


@dataclass(slots=True)
class Rogue:
    """A device with a wrong pre-shared key: how often it tried and was refused, and whether it ever got in."""

    eui64: str
    home: int
    attempts: int = 0
    refused: int = 0
    joined: bool = False

    @property
    def kept_out(self) -> bool:
        """One that never got to prove anything says nothing."""
        return self.refused > 0 and not self.joined


@dataclass(slots=True)
class Outcome:
    """What the demo found. joining, collecting: simulated seconds; floor: of the reading alone, in seconds of air."""

    verdict: Verdict
    joining: float = 0.0
    seconds: float = 0.0
    wall: float = 0.0
    floor: float = 0.0
    frames: int = 0
    lost: int = 0
    cable: int | None = None
    healed: int = 0  # routes that were found anew after the cut
    counter_reuse: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    air: dict[str, float] = field(default_factory=dict)
    ways: list[Way] = field(default_factory=list)
    rogues: list[Rogue] = field(default_factory=list)
    statistics: dict[str, int] = field(default_factory=dict)
    recording: str = ""
    kept: str = ""

    @property
    def good(self) -> bool:
        kept_out = all(rogue.kept_out for rogue in self.rogues)
        return self.verdict.good and kept_out and not self.counter_reuse and not self.refused

    @property
    def share(self) -> float:
        """Of the physical limit: the floor's time by the time that it took, from the first meter that had joined."""
        return self.floor / self.seconds if self.seconds else 0.0

    def plain(self) -> dict[str, Any]:
        """For machines."""
        return {"ok": self.good, "share_of_floor": round(self.share, 3), **asdict(self)}


@dataclass(frozen=True, slots=True)
class Options:
    """units, seconds: by how much the truth is bent, so that a test can see the comparison fail. recording, capture:
    what is left behind, for a browser and for tshark."""

    scene: Scene = field(default_factory=Scene)
    cut: bool = True
    recording: Path | None = None
    units: int = 0
    seconds: int = 0
    capture: Path | None = None


def run(options: Options, tell: Tell) -> Outcome:
    """Play the demo; on failure its directory stays, and the error names it. Raises DcuError."""
    folder = Path(tempfile.mkdtemp(prefix="dcu-street-"))
    began = time.monotonic()
    try:
        outcome = _Show(options, folder, tell).run()
    except (DcuError, TimeoutError) as error:
        raise DemoFailed(f"{error or 'the street stalled'}\n(kept: {folder})") from None
    outcome.wall = time.monotonic() - began
    if outcome.good:
        shutil.rmtree(folder)
    else:
        outcome = replace(outcome, kept=str(folder))
    return outcome


class _Show:
    def __init__(self, options: Options, folder: Path, tell: Tell) -> None:
        self._options = options
        self._folder = folder
        self._tell = tell
        self._text = io.StringIO()
        self._trace = Trace(bytes_too=False, layers_too=bool(options.recording))
        self._watched = Watched(self._trace)
        for sink in (self._watched.count, self._count, *([to_file(self._text)] if options.recording else [])):
            self._trace.listen(sink)
        self._trace.kind_of = kind_of
        self.street = Street.build(options.scene, self._trace)
        self._outcome = Outcome(Verdict())
        rogues = zip(self.street.line.nodes[options.scene.meters + 1 :], options.scene.intruders, strict=True)
        self._outcome.rogues = [Rogue(node.eui64.hex(), home) for node, home in rogues]
        self._tried = asyncio.Event()  # every rogue has, and knows what became of it
        self._judge_rogues()
        self._cut_at = -1.0

    def run(self) -> Outcome:
        street, outcome, scene = self.street, self._outcome, self._options.scene
        with pcap.recording(self._options.capture, street.line) if self._options.capture else nullcontext():
            clockwork.run(self._play, street.line.scheduler)
        last = int(scene.start.timestamp() - scene.delay) // truth.HOUR * truth.HOUR
        found = verdict.stored(self._folder / "store")
        what = verdict.truth_of(scene.seed, units=self._options.units, seconds=self._options.seconds)
        names = street.names()
        kept = (row for row in found if row.timestamp <= last)
        outcome.verdict = verdict.judge(kept, names, last - (truth.HOURS - 1) * truth.HOUR, last, truth.HOUR, what)
        status = street.fleet.status()
        outcome.counter_reuse, outcome.refused = status["counter_reuse"], status["refused"]
        counts, air = self._watched.counts, self._watched.air
        outcome.frames, outcome.lost = counts["frames"], counts["lost"]
        outcome.air = {kind: round(seconds, 3) for kind, seconds in sorted(air.items())}
        if self._options.recording:
            self._leave(self._options.recording)
        return outcome

    async def _play(self, loop: clockwork.VirtualLoop) -> None:
        street, outcome = self.street, self._outcome
        async with collecting(street, self._folder, loop.enter) as house:
            self._watched.follow(house, loop.time)
            await house.up()
            await house.register()
            loop.enter(street.wake)

            def heard(readings: int) -> None:
                wanted = self._options.scene.meters * truth.HOURS
                self._tell(loop.time(), street.joined, wanted, readings)
                self._watched.progress(street, loop.time(), readings)
                if self._options.cut and outcome.cable is None and readings >= CUT_AT * wanted:
                    self._break(loop)

            await self._until_all(house, heard)
            outcome.seconds = loop.time() - max(self._watched.first, 0.0)
            outcome.joining = self._joined_at
            await self._until_tried()
            outcome.statistics = house.network.statistics()
            self._reckon(house)
            for name in street.names() if self._options.recording else ():
                await self._watched.profile(house, name, loop.time())
            self._watched.progress(street, loop.time(), gathered(house))
            self._trace.emit("end", loop.time())
            await house.collector.services.store.flush()

    async def _until_all(self, house: Collecting, heard: Callable[[int], None]) -> None:
        """A round ends also where a meter could not be read: then the next poll is asked for, as the hour would."""
        scene = self._options.scene
        for _ in range(20):
            await collected(house, tell=lambda *_: heard(gathered(house)))
            missing = [meter for meter in house.collector.fleet if meter.readings < truth.HOURS]
            if not missing:
                return
            await asyncio.sleep(30)
            house.collector.polling.poll_now(missing)
        raise TimeoutError(f"{gathered(house)} of {scene.meters * truth.HOURS} readings")

    async def _until_tried(self) -> None:
        """A small street is read before a rogue has even found it."""
        with suppress(TimeoutError):  # then the outcome says that it was never heard
            async with asyncio.timeout(STALL):
                await self._tried.wait()

    # --- what is seen

    _joined_at = 0.0

    def _count(self, event: Event) -> None:
        meters = self._options.scene.meters
        match event["e"]:
            case "join" if event["node"] > meters:
                rogue = self._outcome.rogues[event["node"] - meters - 1]
                rogue.attempts += event["state"] == "joining"
                rogue.refused += event["state"] == "declined"
                rogue.joined |= event["state"] == "joined"
                self._judge_rogues()
            case "route" if event["next"] is not None and self._cut_at >= 0:
                self._outcome.healed += 1
            case "join" if event["state"] == "joined" and self.street.joined >= meters:
                self._joined_at = self._joined_at or event["t"]

    def _judge_rogues(self) -> None:
        if all(rogue.refused or rogue.joined for rogue in self._outcome.rogues):
            self._tried.set()

    def _break(self, loop: clockwork.VirtualLoop) -> None:
        """Open a main cable in the middle: behind it there is more to read, and another way to get at it."""
        cable = main_cable(self.street.line)
        if cable is None:
            return
        self._outcome.cable, self._cut_at = cable, loop.time()
        loop.enter(self.street.line.cut, cable)

    def _reckon(self, house: Collecting) -> None:
        street, outcome = self.street, self._outcome
        outcome.floor = least_air(street)
        for name, home in street.names().items():
            node = street.line.nodes[home]
            try:
                hops = floor.way(street.line, node, 0)
            except LookupError:
                hops = []
            modulations = tuple(hop.modulation.name for hop in hops)
            readings = house.collector.fleet.get(name).readings
            outcome.ways.append(Way(name, len(hops), modulations, readings))

    def _leave(self, path: Path) -> None:
        from dcu.web import page

        path.write_text(page.embed(page.html(), self._text.getvalue()), encoding="utf-8")
        self._outcome.recording = str(path)


def main_cable(line: Line) -> int | None:
    """A cable that carries many homes, and not all of a feeder, and without which everybody is still heard by somebody:
    where a cut is felt, and can be healed."""
    loads, homes = _behind(line.feeder), line.homes
    inner = [cable for cable, load in loads.items() if homes * 0.12 <= load <= homes * 0.45]
    inner.sort(key=lambda cable: (-loads[cable], cable))
    return next((cable for cable in inner if _connected_without(line.feeder, cable)), None)


def _connected_without(feeder: Feeder, cable: int) -> bool:
    feeder.cut.add(cable)
    try:
        known, waiting = {0}, [0]
        while waiting:
            for other, loss in feeder.reach(waiting.pop()).items():
                if loss <= STURDY and other not in known:
                    known.add(other)
                    waiting.append(other)
        return len(known) == len(feeder.places)
    finally:
        feeder.cut.discard(cable)


def _behind(feeder: Feeder) -> dict[int, int]:
    """Homes behind each cable."""
    loads: Counter[int] = Counter()
    root = feeder.places[0].junction
    for place in feeder.places[1:]:
        for cable in feeder.between(root, place.junction):
            loads[cable.id] += 1
    return dict(loads)
