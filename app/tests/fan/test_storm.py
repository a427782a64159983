"""Everything at once: damaged bytes both ways, split writes, a modem that reboots every minute, confirms that get lost.

Nothing that was acknowledged is lost: a datagram whose confirm said success had reached the modem whole. A confirm that
does not come in time is none, and the driver says for how many that was so.
"""

import asyncio
from dataclasses import dataclass, field
from functools import partial
from random import Random

import pytest

from dcu.errors import LinkError, LinkTimeout
from dcu.fan.g3 import ipv6, reports
from dcu.fan.g3.message import Status
from dcu.fan.g3.requests import Data
from dcu.fan.g3.transmit import Transmitter
from tests.fan.scripted import PAN, eui, rig

pytestmark = pytest.mark.looptime

CONFIRM = 5.0  # seconds of patience for a confirm
CONFIRMS = (reports.DataConfirm, reports.SetConfirm, reports.MacSetConfirm, reports.LbpSetConfirm, reports.StartConfirm)


@dataclass
class Storm:
    """What came of it: payloads that the modem had whole, and those that were acknowledged before patience ended."""

    arrived: set = field(default_factory=set)
    acknowledged: set = field(default_factory=set)
    answered: int = 0
    tries: int = 0
    counts: dict = field(default_factory=dict)
    counters: list = field(default_factory=list)
    joined: set = field(default_factory=set)


def noisy(random, wire):
    """One byte in a hundred has a bit turned."""
    return bytes(byte ^ 1 << random.randrange(8) if random.random() < 0.01 else byte for byte in wire)


def split(random, wire):
    at = random.randrange(len(wire))
    return [wire[:at], wire[at:]]


async def reboots(modem):
    while True:
        await asyncio.sleep(60)
        modem.reboot()


async def storm(seed):
    """Five meters are asked 40 questions each, again and again until each is answered."""
    random, found, loop = Random(seed), Storm(), asyncio.get_running_loop()

    def deliver(modem, handle, packet):
        datagram = ipv6.decode(packet)
        found.arrived.add(datagram.payload)
        modem.confirm(handle)
        modem.from_device(ipv6.short_address(datagram.destination, PAN), datagram.payload)

    async with rig(meters=5, confirm=CONFIRM) as street:
        await street.joined(1, 2, 3, 4, 5)
        modem = street.modem
        modem.bend = lambda report: [] if isinstance(report, CONFIRMS) and random.random() < 0.1 else None
        modem.spoil, modem.mishear = (lambda wire: split(random, noisy(random, wire))), partial(noisy, random)
        modem.deliver = deliver

        async def ask(endpoint, payload):
            began = loop.time()
            await endpoint.send(payload)
            if loop.time() - began < CONFIRM - 0.1:  # it did not run out of patience
                found.acknowledged.add(payload)
            async with asyncio.timeout(3):
                while await endpoint.receive() != payload:
                    pass

        async def talk(number):
            endpoint = await street.network.datagram(eui(number))
            for turn in range(40):
                for attempt in range(60):
                    found.tries += 1
                    try:
                        await ask(endpoint, b"%d/%d/%d" % (number, turn, attempt))
                        found.answered += 1
                        break
                    except (LinkError, TimeoutError):
                        await asyncio.sleep(1)
                await asyncio.sleep(5)

        rebooting = asyncio.ensure_future(reboots(modem))
        await asyncio.gather(*map(talk, range(1, 6)))
        rebooting.cancel()
        found.counts, found.counters = street.network.statistics(), modem.frame_counters
        found.joined = set(street.network.plan.joined)
    return found


@pytest.mark.parametrize("seed", range(3))
async def test_nothing_acknowledged_is_lost_in_a_storm(seed):
    found = await storm(seed)
    assert found.acknowledged <= found.arrived
    assert len(found.acknowledged) > 150
    assert found.answered == 200
    assert found.tries < 6 * 200
    assert found.counts["bad-frames"] > 0
    assert found.counts["reboots"] >= 4
    assert found.counts["confirms-missed"] > 0
    assert len(found.counters) == len(set(found.counters))
    assert found.joined == {eui(number) for number in range(1, 6)}


async def test_canary_who_takes_what_is_written_for_confirmed_loses_datagrams(monkeypatch):
    async def rash(self, short, packet):
        if self._modem is None:
            raise LinkTimeout("down")
        with self._handle(short) as (handle, _):
            await self._modem.send(Data(handle, discover_route=True, quality=0, packet=packet))
        return Status.SUCCESS

    monkeypatch.setattr(Transmitter, "_once", rash)
    found = await storm(1)
    assert not found.acknowledged <= found.arrived


async def test_a_fault_is_logged_once_however_often_it_comes(caplog):
    async with rig() as street:
        for _ in range(50):
            await street.modem.stream.write(b"\x7e\x7e\x01\x02\x03\x7e")
            await street.modem.stream.write(bytes.fromhex("7e00651065117e"))
            street.modem.soon(b"\x7e" + b"\x00")
            await asyncio.sleep(1)
        assert street.network.statistics()["bad-frames"] >= 100
        assert sum("bad-frames" in record.getMessage() for record in caplog.records) == 1
