"""Everything at once: damaged bytes, split writes, a modem that reboots every minute, confirms that get lost.

Nothing that was acknowledged is lost: a datagram whose confirm said success had reached the modem whole.
"""

import asyncio
from random import Random

import pytest

from dcu.errors import LinkError
from dcu.fan.g3 import ipv6, reports
from tests.fan.scripted import PAN, eui, rig

pytestmark = pytest.mark.looptime

CONFIRMS = (reports.DataConfirm, reports.SetConfirm, reports.MacSetConfirm, reports.LbpSetConfirm, reports.StartConfirm)


@pytest.mark.parametrize("seed", range(3))
async def test_nothing_acknowledged_is_lost_in_a_storm(seed):
    random = Random(seed)
    async with rig(meters=5, confirm=5.0) as street:
        await street.joined(1, 2, 3, 4, 5)
        modem, arrived, acknowledged, answered, tries = street.modem, [], [], 0, 0

        def bend(report):
            return [] if isinstance(report, CONFIRMS) and random.random() < 0.1 else None

        def spoil(wire):
            spoilt = bytes(byte ^ 1 << random.randrange(8) if random.random() < 0.01 else byte for byte in wire)
            at = random.randrange(len(spoilt))
            return [spoilt[:at], spoilt[at:]]

        def deliver(modem, handle, packet):
            datagram = ipv6.decode(packet)
            arrived.append(datagram.payload)
            modem.confirm(handle)
            modem.from_device(ipv6.short_address(datagram.destination, PAN), datagram.payload)

        modem.bend, modem.spoil, modem.deliver = bend, spoil, deliver

        async def reboots():
            while True:
                await asyncio.sleep(60)
                modem.reboot()

        async def talk(number):
            nonlocal answered, tries
            endpoint = await street.network.datagram(eui(number))
            for turn in range(40):
                payload = b"%d/%d" % (number, turn)
                for _ in range(40):
                    tries += 1
                    try:
                        await endpoint.send(payload)
                        acknowledged.append(payload)
                        async with asyncio.timeout(3):
                            while await endpoint.receive() != payload:
                                pass
                        answered += 1
                        break
                    except (LinkError, TimeoutError):
                        await asyncio.sleep(1)
                await asyncio.sleep(5)

        rebooting = asyncio.ensure_future(reboots())
        await asyncio.gather(*map(talk, range(1, 6)))
        rebooting.cancel()
        counts = street.network.statistics()
        missed = set(acknowledged) - set(arrived)
        assert len(missed) <= counts["confirms-missed"], "a datagram is taken for sent only where no confirm came"
        assert answered == 200
        assert tries < 3 * 200
        assert counts["bad-frames"] > 0
        assert counts["reboots"] >= 4
        assert counts["confirms-missed"] > 0
        assert len(modem.frame_counters) == len(set(modem.frame_counters))
        assert street.network.plan.joined == {eui(number) for number in range(1, 6)}


async def test_a_fault_is_logged_once_however_often_it_comes(caplog):
    async with rig() as street:
        for _ in range(50):
            await street.modem.stream.write(b"\x7e\x7e\x01\x02\x03\x7e")
            await street.modem.stream.write(bytes.fromhex("7e00651065117e"))
            street.modem.soon(b"\x7e" + b"\x00")
            await asyncio.sleep(1)
        assert street.network.statistics()["bad-frames"] >= 100
        assert sum("bad-frames" in record.getMessage() for record in caplog.records) == 1
