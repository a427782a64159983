"""512 kB of firmware through 50 cuts and 10 kills: the meter's image is exact, and no block goes out without need.

What is compared with stands in the simulated meter: its image, and its own account of what came twice.
"""

import asyncio
import shutil
from dataclasses import dataclass, field
from random import Random

import pytest

from dcu.collect.jobs import image as job
from dcu.collect.jobs.image import Phase
from neighbourhood.image import firmware
from tests.collect.images import ended, send
from tests.collect.rig import ANSWER, GLO_ACTION, LOSE_ANSWER, LOSE_REQUEST, imaging, rig

pytestmark = pytest.mark.looptime

OUTAGE = 90.0  # seconds for which some cuts last
BIG = 150  # bytes of a request that carries a block, and more than any other action


@dataclass
class Fate:
    """Which of the requests meet what. blocks: requests with a block that were sent; lost: of them, by the line."""

    cuts: dict
    kills: set
    blocks: int = 0
    lost: int = 0
    met: list = field(default_factory=list)
    down: float = 0.0
    dead: bool = False
    killed: asyncio.Event = field(default_factory=asyncio.Event)

    def weather(self, street, path, after):
        """What becomes of a request. A kill leaves the files as they stand in that moment, and nothing else."""

        def decide(seen):
            if self.dead:
                return LOSE_REQUEST
            carries = seen.tag == GLO_ACTION and seen.size > BIG
            self.blocks += carries
            if seen.at < self.down:
                self.lost += carries
                return LOSE_REQUEST
            if not carries:
                return ANSWER
            if self.blocks in self.kills:
                self.kills.discard(self.blocks)
                shutil.copytree(path, after)
                self.dead = True
                self.killed.set()
                lost = self.blocks % 2  # on the wire when the DCU dies, or not yet
                self.lost += lost
                return LOSE_REQUEST if lost else LOSE_ANSWER
            fate = self.cuts.pop(self.blocks, None)
            if fate is None:
                return ANSWER
            self.met.append(fate)
            if fate == "down":
                self.down = seen.at + OUTAGE
            self.lost += fate != LOSE_ANSWER
            return LOSE_ANSWER if fate == LOSE_ANSWER else LOSE_REQUEST

        return decide


async def carried(tmp_path, size, cuts, kills, seed=11):
    """Send an image through cuts and kills; return the meter's own account, and the line's."""
    random = Random(seed)
    raw = firmware("2.0.0", size)
    count = -(-size // 800)
    places = random.sample(range(2, count), cuts + kills)
    kinds = [random.choice([LOSE_REQUEST, LOSE_ANSWER, "down"]) for _ in range(cuts)]
    fate = Fate(dict(zip(places, kinds, strict=False)), set(places[cuts:]))
    before, path, lives = None, tmp_path / "0", 0
    while True:
        fate.dead, fate.killed = False, asyncio.Event()
        after = tmp_path / str(lives + 1)
        async with rig(path, again=before, delay=0.05) as street:
            made = imaging(street, path)
            street.weather = fate.weather(street, path, after)
            if lives == 0:
                await send(made, street, raw, activate=True)
            else:
                await made.resume()
            end = asyncio.ensure_future(ended(made))
            died = asyncio.ensure_future(fate.killed.wait())
            await asyncio.wait([end, died], return_when=asyncio.FIRST_COMPLETED)
            made.close()
            for task in (end, died):
                task.cancel()
            await asyncio.gather(end, died, return_exceptions=True)
            before, path, lives = street, after, lives + 1
            if not fate.dead:
                view = made.views()[0]
                break
    return raw, street.simulated().works.image, fate, lives, view


@pytest.mark.timeout(600)  # ten seconds of a machine of its own
@pytest.mark.conforms("Object", "image transfer", peer="ours")
async def test_an_image_of_512_kb_arrives_exactly_through_50_cuts_and_10_kills(tmp_path):
    raw, meter, fate, lives, view = await carried(tmp_path, 512 * 1024, 50, 10)
    assert view.phase == Phase.ACTIVE, view
    assert bytes(meter.image) == raw
    assert (meter.version, meter.initiated, meter.repeated) == ("2.0.0", 1, 0)
    assert lives == 11
    assert len(fate.met) == 50
    assert fate.blocks - fate.lost == meter.blocks == len(meter.held)  # each arrived once; sent again was what was lost


@pytest.mark.parametrize("habit", ["begins anew", "repeats the last block"])
async def test_canary_a_careless_resumption_would_be_seen(tmp_path, monkeypatch, habit):
    if habit == "begins anew":

        async def careless(self):
            await self._note(phase=Phase.SENDING, block_size=800)
            await self._ask(lambda image: image.initiate(self.order.identifier, self.order.size))
            return range(self.order.count)
    else:
        missing = job.Transfer._missing

        async def careless(self):
            found = await missing(self)
            return [max(0, found[0] - 1), *found]

    monkeypatch.setattr(job.Transfer, "_missing", careless)
    _, meter, fate, _, _ = await carried(tmp_path, 40_000, 4, 2)
    assert meter.repeated or meter.initiated > 1
    assert fate.blocks - fate.lost > len(meter.held)
