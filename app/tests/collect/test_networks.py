"""The whole collector over a G3 network: a scripted modem, and real meters behind it, under virtual time."""

import asyncio
import secrets
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime

import pytest

from dcu.clock import LoopClock, epoch_seconds
from dcu.collect import settings
from dcu.collector import Collector
from dcu.credentials import Secret
from dcu.errors import ConfigError, KeysError, LinkError
from dcu.fan.base import written
from dcu.fan.g3 import ipv6, reports
from dcu.keys import network_file, shipment
from dcu.keys.wrapped import WrappedKeys, load_kek, new_kek
from dcu.link import wrapper
from dcu.link.memory import stream_pair
from dcu.model import Obis
from dcu.streams import each
from neighbourhood import fleet as street
from neighbourhood import push
from neighbourhood.demo import FAMILY
from neighbourhood.meter import Event
from tests.fan.scripted import PAN, PSK, ScriptedModem, eui

pytestmark = pytest.mark.looptime
START = datetime(2025, 11, 20, 12, 2, tzinfo=UTC)
TRANSPORT = "00112233445566778899aabbccddeeff"
CONFIG = f"""\
system_title = "4443550000000001"
meter_profiles = "families"
[keys]
file = "keys"
kek = "kek"
[store]
directory = "store"
[control]
socket = "control.sock"
[power]
device = ""
[[medium]]
name = "street"
modem = "g3"
device = "modem.tty"
pan = {PAN}
"""


class Peer:
    local = remote = ("street", 0)


class House:
    def __init__(self, collector, modem, meters, told):
        self.collector, self.modem, self.street, self.told = collector, modem, meters, told

    def call(self, method, **params):
        return self.collector.api.handle(method, "test", params)

    def changes(self):
        return [data["change"] for topic, data in self.told if topic == "network"]

    async def until(self, holds, within=300.0):
        async with asyncio.timeout(within):
            while not holds():
                await asyncio.sleep(0.1)


@asynccontextmanager
async def house(path, meters=3, *, keyed=True):
    (path / "store").mkdir()
    (path / "families").mkdir()
    (path / "families" / "simulated.toml").write_text(FAMILY.format(delay=60, seconds=86400))
    (path / "collector.toml").write_text(CONFIG)
    new_kek(path / "kek")
    clock = LoopClock(START)
    simulated = street.Fleet(meters, 1, lambda: epoch_seconds(clock.now()))
    modem, serving, talks = ScriptedModem(), [], {}

    def deliver(modem, handle, packet):
        datagram = ipv6.decode(packet)
        short = ipv6.short_address(datagram.destination, PAN)
        number = next(n for n in range(1, meters + 1) if modem.assigned.get(eui(n)) == short)
        frame = wrapper.decode(datagram.payload)
        talk = talks.setdefault(short, simulated.talk(simulated.meters[number - 1], Peer(), lossy=True))
        modem.confirm(handle)
        for apdu in each(talk(frame.source, frame.destination, frame.apdu)):
            answer = wrapper.encode(frame.destination, frame.source, apdu)
            modem.from_device(short, answer, to=datagram.source_port)

    modem.deliver = deliver

    async def opener():
        near, far = stream_pair()
        serving.append(asyncio.ensure_future(modem.serve(far)))
        return near

    async with AsyncExitStack() as stack:
        config = settings.load(path / "collector.toml")
        collector = await Collector.open(stack, config, clock=clock, modem=lambda name: opener, inline=True)
        told = []
        collector.services.events.listen(lambda topic, data: told.append((topic, data)))
        duties = [asyncio.ensure_future(duty) for duty in collector.networks.duties()]
        made = House(collector, modem, simulated, told)
        if keyed:
            network_file.write(path / "psk.toml", "TK", Secret(bytes.fromhex(TRANSPORT)), PSK)
            text = (path / "psk.toml").read_text()
            await made.call("network.import", network="street", file=text, transport_key=TRANSPORT)
            await made.until(lambda: "network-up" in made.changes())
        try:
            yield made
        finally:
            for task in (*duties, *serving):
                task.cancel()
            await asyncio.gather(*duties, *serving, return_exceptions=True)


async def register(made, path, meters=3):
    new = [
        (shipment.NewMeter(m.serial, f"g3://{written(eui(n))}", "simulated"), m.shipped_keys())
        for n, m in enumerate(made.street.meters[:meters], 1)
    ]
    shipment.write(path / "shipment.toml", "Example", "TK", Secret(bytes.fromhex(TRANSPORT)), new)
    text = (path / "shipment.toml").read_text()
    return await made.call("meters.import", shipment=text, transport_key=TRANSPORT)


async def test_meters_join_and_a_day_is_collected_and_right(tmp_path):
    async with house(tmp_path) as made:
        await register(made, tmp_path)
        for number in (1, 2, 3):
            made.modem.join(eui(number))
        await made.until(lambda: sum(meter.readings for meter in made.collector.fleet) >= 3 * 24)
        profile = Obis.parse("1-0:99.1.0*255")
        for meter in made.street.meters:
            rows = await made.collector.services.store.readings(meter.serial, profile, 0, 1 << 40)
            assert len(rows) == 24
            assert rows[-1].timestamp == int(START.timestamp()) // 3600 * 3600
        (shown,) = await made.call("network")
        assert shown["up"]
        assert {node["standing"] for node in shown["nodes"]} == {"joined"}
        assert {node["meter"] for node in shown["nodes"]} == {meter.serial for meter in made.street.meters}
        assert made.street.status()["counter_reuse"] == 0
        assert len(made.modem.frame_counters) == len(set(made.modem.frame_counters))
        hops = await made.call("network.path", meter=made.street.meters[2].serial)
        assert hops[-1]["meter"] == made.street.meters[2].serial
        assert await made.call("network.rekey", network="street") == {"meters": 3}
        await made.call("network.kick", meter=made.street.meters[0].serial)
        assert made.changes()[-2:] == ["rekeyed", "left"]


async def test_a_meter_that_has_not_joined_is_out_of_reach_until_it_does(tmp_path):
    async with house(tmp_path, 1) as made:
        await register(made, tmp_path, 1)
        with pytest.raises(LinkError, match="has not joined"):
            await made.call("read", meter=made.street.meters[0].serial, objects=["8,0-0:1.0.0*255,2"], timeout=60.0)
        made.modem.join(eui(1))
        await made.until(lambda: sum(meter.readings for meter in made.collector.fleet) >= 24)


async def test_an_alarm_of_a_meter_is_kept_at_once(tmp_path):
    async with house(tmp_path, 1) as made:
        await register(made, tmp_path, 1)
        made.modem.join(eui(1))
        await made.until(lambda: "joined" in made.changes())
        frame = wrapper.encode(1, 1, push.alarm(made.street.meters[0], Event.POWER_UP))
        made.modem.from_device(made.modem.assigned[eui(1)], frame, to=4059)
        await asyncio.sleep(0.1)
        pushed = [data for topic, data in made.told if topic == "alarm" and data["kind"] == "push"]
        assert [data["meter"] for data in pushed] == [made.street.meters[0].serial]
        assert any(item.kind == "push" for item in await made.collector.services.store.pending())


async def test_a_stranger_and_a_silent_modem_are_alarms(tmp_path):
    async with house(tmp_path, 1) as made:
        made.modem.join(eui(77))
        await asyncio.sleep(1)
        made.modem.dead = True
        await made.until(lambda: "network-down" in made.changes())
        await asyncio.sleep(1)
        kinds = [entry.action for entry in await made.collector.services.store.audit_log()]
        assert {"network-join-refused", "network-trouble", "network-down"} <= set(kinds)


async def test_without_its_key_a_network_waits_for_it_and_says_so(tmp_path):
    async with house(tmp_path, 1, keyed=False) as made:
        await made.until(lambda: "trouble" in made.changes())
        assert "no pre-shared key" in made.told[-1][1].get("text", made.told[-1][1].get("message", ""))
        assert not (await made.call("network"))[0]["up"]


async def test_the_keys_of_a_network_are_in_the_key_file_and_nowhere_else(tmp_path):
    async with house(tmp_path, 1) as made:
        group = made.modem.keys[0]
        assert made.collector.services.keys.names() == []
    for file in tmp_path.rglob("*"):
        if file.is_file():
            raw = file.read_bytes()
            assert group not in raw
            assert PSK.reveal() not in raw
    keys = WrappedKeys.open(tmp_path / "keys", load_kek(tmp_path / "kek")).network("street")
    assert keys.psk == PSK
    assert keys.group[0] == Secret(group)


async def test_a_wrong_transport_key_changes_nothing(tmp_path):
    network_file.write(tmp_path / "psk.toml", "TK", Secret(secrets.token_bytes(16)), PSK)
    text = (tmp_path / "psk.toml").read_text()
    async with house(tmp_path, 1, keyed=False) as made:
        with pytest.raises(KeysError, match="another transport key"):
            await made.call("network.import", network="street", file=text, transport_key=TRANSPORT)
        with pytest.raises(ConfigError, match="no field network 'lane'"):
            await made.call("network.import", network="lane", file=text, transport_key=TRANSPORT)


async def test_the_loop_of_events_names_what_it_tells(tmp_path):
    async with house(tmp_path, 1) as made:
        made.modem.soon(reports.JoinRequest(eui(9)))
        await asyncio.sleep(1)
        data = next(data for topic, data in made.told if topic == "network" and data["change"] == "join-refused")
        assert data == {
            "network": "street",
            "change": "join-refused",
            "meter": None,
            "eui64": written(eui(9)),
            "text": "it is neither registered nor on the white-list",
        }
