"""The collector as a process, over sockets: a street is imported, collected, restarted and stopped in good order."""

import asyncio
import os
import re
import resource
import socket
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from dcu.collect import process
from dcu.control.client import ControlClient
from dcu.errors import LinkError
from dcu.keys.wrapped import new_kek
from neighbourhood import verdict
from neighbourhood.fleet import Addressing, Fleet
from neighbourhood.meter import Habits
from neighbourhood.optical import State
from neighbourhood.push import Listener
from neighbourhood.push import run as push_alarms
from neighbourhood.running import Shipping, ship, street_time
from neighbourhood.wires import Wiring
from tests.collect.rig import DAY, HOUR

CONFIG = """
system_title = "4443550000000001"
trust_clock = "always"
meter_profiles = "families"
[keys]
file = "keys"
kek = "kek"
[store]
directory = "store"
[control]
socket = "control.sock"
[push]
tcp = "127.0.0.1:{push}"
[[medium]]
name = "loopback"
addresses = ["*"]
"""
FAMILY = """
name = "simulated"
[security]
counter = "0-0:43.1.0*255"
[session]
timeout = 2.0
[[poll]]
profile = "1-0:99.1.0*255"
history = 172800.0
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@asynccontextmanager
async def street(folder, meters, *, udp=False, addressing=None, **more):
    addressing = addressing or (Addressing(tcp=None, udp=0) if udp else Addressing())
    fleet = Fleet(meters, 3, street_time(None, 1.0), addressing=addressing, **more)
    await fleet.listen()
    ship(fleet, Shipping(folder / "shipment.toml", folder / "transport.key", "simulated"))
    try:
        yield fleet
    finally:
        await fleet.close()


@asynccontextmanager
async def collector(folder, environment=None):
    """A running collector, stopped by SIGTERM, which must end well."""
    running = await asyncio.create_subprocess_exec(
        sys.executable, "-c", "from dcu.cli.main import main; main()", "run", "--config", "collector.toml",
        cwd=folder, env={**os.environ, **(environment or {})}, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(20):
            while True:
                try:
                    client = await ControlClient.connect(folder / "control.sock")
                    break
                except LinkError:
                    assert running.returncode is None, (await running.stderr.read()).decode()
                    await asyncio.sleep(0.02)
        async with client:
            yield running, client
    finally:
        if running.returncode is None:
            running.terminate()
        _, log = await running.communicate()
    assert running.returncode == 0, log.decode()
    assert b"Traceback" not in log


@pytest.fixture
def folder(tmp_path):
    new_kek(tmp_path / "kek")
    (tmp_path / "families").mkdir()
    (tmp_path / "families" / "simulated.toml").write_text(FAMILY)
    (tmp_path / "collector.toml").write_text(CONFIG.format(push=free_port()))
    return tmp_path


async def imported(client, folder):
    text, key = (folder / "shipment.toml").read_text(), (folder / "transport.key").read_text().strip()
    return (await client.call("meters.import", shipment=text, transport_key=key))["imported"]


async def idle(client):
    async with asyncio.timeout(60):
        while await client.call("jobs"):
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("udp", [False, True], ids=["tcp", "udp"])
async def test_a_street_is_collected_over_sockets_and_every_reading_is_the_truth(folder, udp):
    async with street(folder, 6, udp=udp) as fleet:
        async with collector(folder) as (_, client):
            names = await imported(client, folder)
            assert len(names) == 6
            await idle(client)
            status = await client.call("status")
            assert status["meters"]["ok"] == 6
            value = (await client.call("read", meter=names[0], objects=["1-0:1.8.0*255"]))[0]
            assert value["unit"] == "Wh"
            assert (await client.call("command", meter=names[1], command="disconnect"))["confirmed"]
        assert_collected(folder, fleet)


def assert_collected(folder, fleet):
    """Two days of every meter are in the store, and are what happened."""
    last = int(fleet.meters[0].now() - 60) // HOUR * HOUR
    numbers = {meter.serial: meter.number for meter in fleet.meters}
    found = (row for row in verdict.stored(folder / "store") if row.timestamp <= last)
    judged = verdict.judge(found, numbers, last - 2 * DAY + HOUR, last, HOUR, verdict.truth_of(3))
    assert judged.good, judged
    assert fleet.status()["counter_reuse"] == 0
    assert fleet.status()["refused"] == {}


HEAD = """
[[medium]]
name = "head"
device = "{line}"
{mode_e}
"""


def family_with(folder, **session):
    added = "".join(f"{key} = {value}\n" for key, value in session.items())
    family = folder / "families" / "simulated.toml"
    family.write_text(family.read_text().replace("[session]\n", f"[session]\n{added}"))


def at_a_head(folder, *, mode_e=True):
    config = folder / "collector.toml"
    table = HEAD.format(line=folder / "line", mode_e="mode_e = true" if mode_e else "")
    config.write_text(config.read_text().replace("[[medium]]", f"{table}[[medium]]", 1))
    return Addressing(wiring=Wiring(folder / "line", name="head", head="E"))


@pytest.mark.conforms("Link", "HDLC after a sign-on in mode E, the collector", peer="ours", link="serial")
async def test_a_meter_behind_an_optical_head_is_signed_on_at_and_collected(folder):
    async with street(folder, 1, addressing=at_a_head(folder)) as fleet:
        async with collector(folder) as (_, client):
            await imported(client, folder)
            await idle(client)
            assert fleet.wires.head.speed == 9600
        assert_collected(folder, fleet)
        async with asyncio.timeout(20):  # the HDLC link was ended in order, and with it the sign-on
            while fleet.wires.head.state is not State.IDLE:
                await asyncio.sleep(0.05)
        async with collector(folder) as (_, client):
            (meter,) = await client.call("meters")
            assert (await client.call("read", meter=meter["name"], objects=["1-0:1.8.0*255"]))[0]["unit"] == "Wh"


@pytest.mark.slow
@pytest.mark.parametrize("baud", [9600, 2400], ids=["by a collector that was killed", "by another client"])
async def test_a_head_in_an_hdlc_that_nobody_ended_is_taken_over(folder, baud):
    async with street(folder, 1, addressing=at_a_head(folder)) as fleet:
        async with collector(folder) as (running, client):
            (meter,) = await imported(client, folder)
            await idle(client)
            running.kill()
            await running.wait()
            running._transport._returncode = 0  # killed on purpose
        assert fleet.wires.head.state is State.HDLC
        fleet.wires.head.speed = baud
        async with collector(folder) as (_, client):
            assert (await client.call("read", meter=meter, objects=["1-0:1.8.0*255"]))[0]["unit"] == "Wh"


async def test_canary_a_head_is_not_reached_without_a_sign_on(folder):
    async with street(folder, 1, addressing=at_a_head(folder, mode_e=False)) as fleet:
        async with collector(folder) as (_, client):
            await imported(client, folder)
            await asyncio.sleep(2)
            assert (await client.call("status"))["meters"]["ok"] == 0
        assert fleet.wires.head.garbled


@pytest.mark.conforms("Referencing", "SN, HLS 5 GMAC, glo-, suite 0, the collector", peer="ours", link="wrapper")
async def test_meters_by_short_names_are_collected_over_sockets(folder):
    family_with(folder, referencing='"sn"')
    async with street(folder, 2, habits=Habits(short=True)) as fleet:
        async with collector(folder) as (_, client):
            await imported(client, folder)
            await idle(client)
        assert_collected(folder, fleet)


@pytest.mark.conforms("Service", "general block transfer, the collector", peer="ours", link="wrapper")
async def test_meters_that_send_general_blocks_are_collected_over_sockets(folder):
    family_with(folder, general_blocks="true", max_pdu=256)
    async with street(folder, 2, habits=Habits(general_blocks=True, max_pdu=256)) as fleet:
        async with collector(folder) as (_, client):
            await imported(client, folder)
            await idle(client)
        assert_collected(folder, fleet)


@pytest.mark.conforms("Association", "several logical devices", peer="ours", link="HDLC, wrapper")
@pytest.mark.parametrize("hdlc", [False, True], ids=["wrapper", "hdlc"])
async def test_the_logical_devices_of_meters_are_collected_over_sockets(folder, hdlc):
    async with street(folder, 4, logical=2, addressing=Addressing(hdlc=hdlc)) as fleet:
        assert len({fleet.place(meter).tcp for meter in fleet.meters}) == 2
        async with collector(folder) as (_, client):
            await imported(client, folder)
            await idle(client)
        assert_collected(folder, fleet)


async def test_after_a_restart_it_goes_on_where_it_was(folder):
    async with street(folder, 3) as fleet:
        async with collector(folder) as (_, client):
            names = await imported(client, folder)
            await idle(client)
        frames = fleet.counts.frames
        async with collector(folder) as (_, client):
            await idle(client)
            assert [meter["name"] for meter in await client.call("meters")] == names
            await client.call("read", meter=names[0], objects=["3,1-0:1.8.0*255,2"])
        assert fleet.counts.frames - frames < 20  # nothing was collected again
        assert fleet.status()["counter_reuse"] == 0


async def test_pushes_reach_the_outbox(folder):
    port = int((folder / "collector.toml").read_text().split('tcp = "127.0.0.1:')[1].split('"')[0])
    async with street(folder, 2) as fleet, collector(folder) as (_, client):
        await imported(client, folder)
        await client.subscribe("alarm")
        await push_alarms(fleet, Listener("tcp", "127.0.0.1", port), 0)
        heard = client.events()
        async with asyncio.timeout(20):
            meters = {(await anext(heard)).data["meter"] for _ in range(2)}
        assert meters == {meter.serial for meter in fleet.meters}


async def test_systemd_is_told_and_its_watchdog_fed(folder):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(folder / "notify"))
        systemd.settimeout(10)
        async with street(folder, 1):
            async with collector(folder, {"NOTIFY_SOCKET": str(folder / "notify"), "WATCHDOG_USEC": "400000"}):
                said = [systemd.recv(64) for _ in range(3)]
            while b"STOPPING=1" not in said:
                said.append(systemd.recv(64))
        assert said[:3] == [b"READY=1", b"WATCHDOG=1", b"WATCHDOG=1"]


async def test_a_running_collector_leaves_no_core(folder):
    async with collector(folder) as (running, _):
        limits = Path(f"/proc/{running.pid}/limits").read_text()
        assert re.search(r"Max core file size +0 +0 ", limits), limits


def test_the_hardened_process_is_not_dumpable():
    code = """
import ctypes, resource
from dcu.collect import process
print(process.harden())
print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), resource.getrlimit(resource.RLIMIT_CORE))
"""  # 3: PR_GET_DUMPABLE
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.splitlines()
    assert said[1] == "0 (0, 0)"
    assert "dump" not in said[0]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (("4443550000000001", "44"), "key system_title: 16 hexadecimal digits"),
        (('kek = "kek"', 'kek = "none"'), "key-encryption key cannot be read"),
        (("[store]", "[stores]"), "stores"),
    ],
)
def test_a_mistake_is_one_line_and_no_traceback(folder, change, text):
    path = folder / "collector.toml"
    path.write_text(path.read_text().replace(*change))
    done = subprocess.run(
        [sys.executable, "-c", "from dcu.cli.main import main; main()", "run", "--config", str(path)],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode in (3, 4)
    assert text in done.stderr
    assert "Traceback" not in done.stderr


def test_what_the_collector_has_no_use_for_is_not_in_its_memory():
    heavy = ("rich", "click", "email", "neighbourhood", "gurux_dlms", "cryptography.hazmat.primitives.asymmetric.ec")
    code = f"import sys, dcu.collector; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


def test_the_descriptor_limit_is_raised_within_what_is_allowed():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    process.raise_descriptor_limit()
    after, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert after == max(soft, min(hard, process.DESCRIPTORS)) or soft == resource.RLIM_INFINITY
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
