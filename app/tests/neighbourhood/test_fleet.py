"""A street of meters on sockets: many of them, their faults, their pushes, and what they cost."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest

from dcu.collect.dialogue import converse
from dcu.cosem.association import AUTHENTICATED_ENCRYPTED, Association, Authentication
from dcu.cosem.client import ClientSession
from dcu.cosem.push import PushReceiver, PushSource
from dcu.credentials import Secret
from dcu.errors import DcuError, LinkClosed, LinkTimeout, MalformedAnswer, SecurityError
from dcu.keys import shipment
from dcu.link import tcp, udp
from dcu.link.channel import DatagramChannel, StreamChannel
from dcu.link.push import PushListener
from dcu.model import AttributeRef
from neighbourhood import push, truth
from neighbourhood.faults import Fault
from neighbourhood.fleet import Addressing, Fleet
from neighbourhood.meter import Event, Habits

from .conversation import NOW, TITLE

LOAD = AttributeRef.parse("7,1-0:99.1.0*255,2")
IMPORT = AttributeRef.parse("3,1-0:1.8.0*255,2")


class Street:
    """A listening street; `async with`."""

    def __init__(self, meters: int = 2, *faults: str, udp_too: bool = False, **options: object) -> None:
        ports = Addressing(udp=0 if udp_too else None)
        self.fleet = Fleet(meters, 7, lambda: NOW, addressing=ports, faults=map(Fault.parse, faults), **options)

    async def __aenter__(self) -> Fleet:
        await self.fleet.listen()
        return self.fleet

    async def __aexit__(self, *_: object) -> None:
        await self.fleet.close()


async def read(fleet: Fleet, number: int, *, over_udp: bool = False, timeout: float = 2.0, first: int = 5_000) -> bytes:
    """One secured session: associate, read the import register, release."""
    meter = fleet.meters[number - 1]
    place = fleet.place(meter)
    counters = count(first)
    terms = Association(
        1,
        1,
        authentication=Authentication.GMAC,
        keys=meter.shipped_keys(),
        client_title=TITLE,
        policy=AUTHENTICATED_ENCRYPTED,
    )
    session = ClientSession(terms, counter=lambda: next(counters), lossy=over_udp)
    if over_udp:
        channel = DatagramChannel(await udp.connect(place.host, place.udp), 1, 1)
    else:
        channel = StreamChannel(await tcp.connect(place.host, place.tcp), 1, 1)
    try:
        await converse(session.associate(), channel, timeout=timeout)
        value = await converse(session.get(IMPORT), channel, timeout=timeout)
        await converse(session.release(), channel, timeout=timeout)
        return value
    finally:
        await channel.close()


@pytest.mark.parametrize("over_udp", [False, True], ids=["TCP", "UDP"])
async def test_a_meter_of_the_street_is_read_over_sockets(over_udp):
    async with Street(udp_too=True) as fleet:
        for number in (1, 2):
            value = await read(fleet, number, over_udp=over_udp)
            assert value == b"\x06" + truth.registers(7, number, NOW).active_import.to_bytes(4, "big")
        assert fleet.status()["frames"] == 8


async def test_counters_are_remembered_from_connection_to_connection():
    async with Street() as fleet:
        await read(fleet, 1, first=5_000)
        await read(fleet, 1, first=6_000)
        with pytest.raises(DcuError):
            await read(fleet, 1, first=5_500)
        status = fleet.status()
        assert status["counter_reuse"] == 1
        assert status["counters"] == {fleet.meters[0].serial: 6_004}


async def test_a_silent_meter_says_nothing():
    async with Street(2, "silent:1") as fleet:
        with pytest.raises(LinkTimeout):
            await read(fleet, 1, timeout=0.1)
        await read(fleet, 2)


async def test_a_slow_meter_answers_late():
    async with Street(2, "slow=0.1:1") as fleet:
        with pytest.raises(LinkTimeout):
            await read(fleet, 1, timeout=0.03)
        started = time.monotonic()
        assert await read(fleet, 1, first=6_000)
        assert time.monotonic() - started >= 0.4


async def test_a_meter_that_drops_hangs_up():
    async with Street(2, "drops=2:1") as fleet:
        with pytest.raises(LinkClosed):
            await read(fleet, 1)


async def test_a_meter_whose_key_is_not_the_shipped_one_is_refused():
    async with Street(3, "wrong-key:2-3") as fleet:
        await read(fleet, 1)
        for number in (2, 3):
            with pytest.raises(DcuError):
                await read(fleet, number)


async def test_nonsense_is_authentic_and_no_value():
    from dcu.cosem import axdr
    from dcu.errors import DecodeError

    async with Street(1, "nonsense:1") as fleet:
        value = await read(fleet, 1)
        with pytest.raises(DecodeError):
            axdr.decode(value)


async def test_garbage_and_replays_never_reach_the_reader():
    async with Street(2, "garbage:1", "replays:2") as fleet:
        with pytest.raises((MalformedAnswer, SecurityError)):
            await read(fleet, 1)
        with pytest.raises((MalformedAnswer, SecurityError)):
            await read(fleet, 2)


@pytest.mark.parametrize(
    "text", ["silent", "silent:", "loud:3", "silent=3:1", "silent:0-2", "slow=x:1", "silent:4", "drops:3-2"]
)
def test_a_fault_that_makes_no_sense_is_refused_with_what_is_allowed(text):
    with pytest.raises(ValueError, match=r"KIND|there are 1-3"):
        Fleet(3, 7, lambda: NOW, faults=[Fault.parse(text)])


@pytest.mark.parametrize("scheme", ["tcp", "udp"])
async def test_every_meter_pushes_a_ciphered_alarm_that_the_push_receiver_accepts(scheme):
    async with Street(3) as fleet:
        sources = {meter.system_title: PushSource(meter.shipped_keys()) for meter in fleet.meters}
        receiver = PushReceiver(sources.get, lambda _: -1)
        received = []

        async def on_apdu(_peer: str, _source: int, _destination: int, apdu: bytes) -> None:
            received.append(receiver.receive(apdu))

        listener = PushListener(on_apdu)
        port = await getattr(listener, f"listen_{scheme}")("127.0.0.1", 0)
        fleet_spread, push.SPREAD = push.SPREAD, 0.01
        try:
            await push.run(fleet, push.Listener.parse(f"{scheme}://127.0.0.1:{port}"), 0)
            async with asyncio.timeout(5):
                while len(received) < 3:
                    await asyncio.sleep(0.01)
        finally:
            push.SPREAD = fleet_spread
            await listener.close()
        assert {one.title for one in received} == set(sources)
        for one in received:
            assert one.notification.body[-1] == Event.POWER_UP
        assert fleet.status()["pushes"] == 3


@contextmanager
def street_process(folder: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen, dict]]:
    """The command at work, and what it said when it was ready; ended, and well, on leaving."""
    command = [sys.executable, "-m", "neighbourhood", "meters", "--json", "--seed", "7", "--status", "st.json"]
    shipping = ["--shipment", "s.toml", "--transport-key", "t.key"]
    with subprocess.Popen([*command, *shipping, *arguments], stdout=subprocess.PIPE, text=True, cwd=folder) as process:
        line = process.stdout.readline()
        assert line, process.wait()
        try:
            yield process, json.loads(line)
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0


def resident(pid: int) -> int:
    """Bytes."""
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM:")) << 10


def test_the_command_ships_serves_reports_on_sigusr1_and_ends_on_sigterm(tmp_path):
    with street_process(tmp_path, "--count", "3") as (process, ready):
        assert ready["meters"] == 3
        shipped = shipment.read(tmp_path / "s.toml")
        keys = shipment.unwrap(shipped.meters[1], shipment.load_transport_key(tmp_path / "t.key"))
        expected = Fleet(3, 7, lambda: NOW).meters[1]
        assert keys == expected.shipped_keys()
        assert (shipped.meters[1].name, shipped.meters[2].address) == (expected.serial, ready["last"]["address"])
        os.kill(process.pid, signal.SIGUSR1)
        deadline = time.monotonic() + 5
        while not (tmp_path / "st.json").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert json.loads((tmp_path / "st.json").read_text())["counter_reuse"] == 0


async def test_a_thousand_meters_that_are_all_read_stay_below_a_hundred_megabytes(tmp_path):
    options = ("--count", "1000", "--udp", "--start", "2025-11-20T12:00:00Z")
    with street_process(tmp_path, *options) as (process, _):
        shipped = shipment.read(tmp_path / "s.toml")
        transport_key = shipment.load_transport_key(tmp_path / "t.key")
        assert len(shipped.meters) == 1_000
        gate = asyncio.Semaphore(50)
        started = time.monotonic()
        await asyncio.gather(*(_day(meter, transport_key, gate) for meter in shipped.meters))
        took = time.monotonic() - started
        size = resident(process.pid)
    print(f"{size / 1e6:.1f} MB, {1_000 / took:.0f} sessions/s")
    assert size < 100_000_000
    status = json.loads((tmp_path / "st.json").read_text())
    assert (status["connections"], status["counter_reuse"], status["refused"]) == (1_000, 0, {})


async def _day(shipped: shipment.ShippedMeter, transport_key: Secret, gate: asyncio.Semaphore) -> None:
    """A day's profile in a session of its own, the association left open to the end."""
    from dcu.cosem.profile import by_entry

    async with gate:
        keys = shipment.unwrap(shipped, transport_key)
        terms = Association(
            1, 1, authentication=Authentication.GMAC, keys=keys, client_title=TITLE, policy=AUTHENTICATED_ENCRYPTED
        )
        counters = count(5_000)
        session = ClientSession(terms, counter=lambda: next(counters))
        host, _, port = shipped.address.removeprefix("tcp://").rpartition(":")
        channel = StreamChannel(await tcp.connect(host, int(port)), 1, 1)
        try:
            await converse(session.associate(), channel, timeout=30)
            value = await converse(session.get(LOAD, by_entry(2_977, 0)), channel, timeout=30)
            assert value[:2] == b"\x01\x18"
            await converse(session.release(), channel, timeout=30)
        finally:
            await channel.close()


def test_a_meter_costs_little_before_anybody_talks_to_it():
    import tracemalloc

    Fleet(1, 7, lambda: NOW, habits=Habits())
    tracemalloc.start()
    fleet = Fleet(1_000, 8, lambda: NOW)
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(fleet.meters) == 1_000
    assert used < 2_500_000
