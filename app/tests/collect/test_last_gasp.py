"""A power failure over sockets: the collector as a process, its device a pty, its head-end a UDP socket."""

import asyncio
import json
import os
import pty
import re
import socket
import subprocess
import sys
import time
import tty
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dcu.cosem.push import PushReceiver, PushSource
from dcu.credentials import MeterKeys, Secret
from dcu.errors import ConfigError
from dcu.keys import shipment
from dcu.keys.wrapped import new_kek
from dcu.link import wrapper
from dcu.store import Critical
from dcu.store.check import check
from dcu.uplink.packet import decode
from tests.collect.test_collector import CONFIG, FAMILY, collector, free_port, idle, imported, street
from tests.collect.test_mains import event

TITLE = bytes.fromhex("4443550000000001")
HEAD_END = MeterKeys(bytes.fromhex("4845530000000001"), Secret(bytes(range(16))), Secret(bytes(range(16, 32))))
TRANSPORT = bytes(32)  # made up for this test
POWER = """
[headend]
addresses = ["127.0.0.1:{head_end}"]
repeat = 2
[power]
device = "{device}"
off_before = 0.5
off = ["{python}", "-c", "open('off', 'w').close()"]
"""


class Bench:
    """The folder of a collector, the far end of its power line, and a head-end that listens."""

    def __init__(self, folder):
        self.folder = folder
        self.mains, self.near = pty.openpty()
        tty.setraw(self.near)
        self.listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.listener.bind(("127.0.0.1", 0))
        self.listener.settimeout(5)
        port = self.listener.getsockname()[1]
        power = POWER.format(head_end=port, device=os.ttyname(self.near), python=sys.executable)
        new_kek(folder / "kek")
        (folder / "families").mkdir()
        (folder / "families" / "simulated.toml").write_text(FAMILY)
        (folder / "collector.toml").write_text(CONFIG.format(push=free_port()) + power)
        shipment.write_head_end(folder / "headend.toml", "TK-1", Secret(TRANSPORT), HEAD_END)

    def fails(self, seconds):
        os.write(self.mains, event(boot=time.clock_gettime_ns(time.CLOCK_BOOTTIME), real=time.time_ns(),
                                   deadline=int(seconds * 1000)))  # fmt: skip

    def comes_back(self):
        os.write(self.mains, event(kind=2, boot=time.clock_gettime_ns(time.CLOCK_BOOTTIME), real=time.time_ns()))

    async def done(self):
        return await asyncio.to_thread(os.read, self.mains, 100)

    async def heard(self):
        """The next datagram, as a head-end reads it."""
        datagram = await asyncio.to_thread(self.listener.recv, 2000)
        keys = {TITLE: PushSource(HEAD_END)}
        push = PushReceiver(keys.get, lambda title: -1).receive(wrapper.decode(datagram).apdu)
        return push.counter, decode(push.payload), datagram

    async def has_keys(self, client):
        text = (self.folder / "headend.toml").read_text()
        return await client.call("headend.import", file=text, transport_key=TRANSPORT.hex())

    def close(self):
        os.close(self.mains)
        os.close(self.near)
        self.listener.close()


@pytest.fixture
def bench(tmp_path):
    made = Bench(tmp_path)
    yield made
    made.close()


def contents(directory):
    return {path.name: path.read_bytes() for path in Path(directory).iterdir() if path.is_file()}


async def test_the_mains_fail_for_good(bench):
    async with street(bench.folder, 3):
        async with collector(bench.folder) as (running, client):
            first = (await bench.has_keys(client))["counter"]
            await imported(client, bench.folder)
            await idle(client)
            begun = time.monotonic()
            bench.fails(4.0)
            counter, said, datagram = await bench.heard()
            assert counter == first
            assert said.identity == b"DCU0000000001"
            assert 1.0 < said.left <= 4.0
            assert abs((said.at - datetime.now(UTC)).total_seconds()) < 5
            assert (await bench.heard())[2] == datagram
            assert await bench.done() == b"done"
            frozen = contents(bench.folder / "store")
            while not (bench.folder / "off").exists():
                assert time.monotonic() - begun < 10
                await asyncio.sleep(0.05)
            assert time.monotonic() - begun >= 3.4
            running.terminate()
            await running.wait()
            assert contents(bench.folder / "store") == frozen
        report = check(bench.folder / "store")
        assert report.ok
        assert report.readings > 3 * 24
        critical = Critical.open(bench.folder / "store" / "critical.db")
        kept = [json.loads(item.payload)["event"] for item in critical.pending(kind="alarm")]
        text = next(entry.detail for entry in critical.audit_log() if entry.action == "power-fail")
        critical.close()
        assert kept == ["power-fail"]
        assert re.search(r"\d+ readings committed in 0\.\d+ s, 0 wait in RAM; 2 packets sent", text)
        async with collector(bench.folder) as (_, client):  # the mains are back: it goes on, with a counter of its own
            await idle(client)
            bench.fails(4.0)
            assert (await bench.heard())[0] > counter


async def test_the_mains_come_back_inside_the_window(bench):
    async with street(bench.folder, 3), collector(bench.folder) as (running, client):
        await bench.has_keys(client)
        names = await imported(client, bench.folder)
        await idle(client)
        await client.subscribe("alarm")
        bench.fails(30.0)
        counter, _, _ = await bench.heard()
        assert await bench.done() == b"done"
        reading = asyncio.create_task(client.call("read", meter=names[0], objects=["3,1-0:1.8.0*255,2"]))
        await asyncio.sleep(0.3)
        assert not reading.done()
        bench.comes_back()
        assert (await reading)[0]["raw"]
        alarm = await anext(client.events())
        assert alarm.data["kind"] == "power-return"
        status = await client.call("status")
        assert {part["name"]: part["alive"] for part in status["subsystems"]}["uplink"]
        await bench.heard()  # the repetition
        bench.fails(30.0)
        assert (await bench.heard())[0] == counter + 1
        bench.comes_back()
        await asyncio.sleep(0.2)
        assert running.returncode is None
    assert not (bench.folder / "off").exists()


async def test_the_head_ends_keys_come_by_the_command(bench):
    (bench.folder / "transport.key").write_text(TRANSPORT.hex())
    command = [
        sys.executable, "-c", "from dcu.cli.main import main; main()", "headend", "import", "headend.toml",
        "--transport-key", "transport.key", "--socket", "control.sock",
    ]  # fmt: skip
    async with collector(bench.folder) as (_, client):
        done = await asyncio.to_thread(subprocess.run, command, cwd=bench.folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert "head-end 4845530000000001: keys imported, invocation counters from" in done.stdout
        assert "import" in [entry["action"] for entry in await client.call("audit")]
        assert [meter["name"] for meter in await client.call("meters")] == []


async def test_a_key_without_a_counter_needs_a_clock_that_is_right(bench):
    path = bench.folder / "collector.toml"
    path.write_text(path.read_text().replace('trust_clock = "always"', 'trust_clock = "never"'))
    async with collector(bench.folder) as (_, client):
        with pytest.raises(ConfigError, match="say by `counter`"):
            await bench.has_keys(client)
        shipment.write_head_end(bench.folder / "headend.toml", "TK-1", Secret(TRANSPORT), HEAD_END, 7)
        assert (await bench.has_keys(client))["counter"] == 7
        shipment.write_head_end(bench.folder / "headend.toml", "TK-1", Secret(TRANSPORT), HEAD_END, 3)
        assert (await bench.has_keys(client))["counter"] > 7  # never back
