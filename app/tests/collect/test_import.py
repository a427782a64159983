"""Importing shipments into a collector: one at a time, to the end, written down; and stopping keeps first."""

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from types import SimpleNamespace

import pytest

from dcu.collect import settings
from dcu.collector import AUDITED_NAMES, Collector
from dcu.credentials import MeterKeys, Secret
from dcu.errors import KeysError, LinkError
from dcu.keys import shipment
from dcu.keys.shipment import NewMeter
from dcu.keys.wrapped import new_kek
from dcu.model import Priority

CONFIG = """
system_title = "4443550000000001"
trust_clock = "always"
poll = false
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
name = "any"
addresses = ["*"]
"""
TRANSPORT = Secret(bytes(range(32)))


async def no_line(address, client, profile):
    raise LinkError("no line in this test")


@asynccontextmanager
async def collector(folder):
    if not (folder / "kek").exists():
        new_kek(folder / "kek")
    (folder / "collector.toml").write_text(CONFIG)
    async with AsyncExitStack() as stack:
        yield await Collector.open(stack, settings.load(folder / "collector.toml"), link=no_line)


def shipped(folder, first, number, address="tcp://192.0.2.1:4059", key=1):
    """The text of a shipment file."""
    meters = []
    for serial in range(first, first + number):
        keys = MeterKeys(b"TST" + serial.to_bytes(5, "big"), Secret(bytes([key]) * 16), Secret(bytes([key + 1]) * 16))
        meters.append((NewMeter(f"M{serial}", address, "generic"), keys))
    shipment.write(folder / "shipment.toml", "Test", "TK", TRANSPORT, meters)
    return (folder / "shipment.toml").read_text()


async def taken(made, text):
    return await made.import_shipment(text, TRANSPORT.reveal().hex(), "the test")


async def test_two_shipments_at_once_are_taken_one_after_the_other(tmp_path, monkeypatch):
    async with collector(tmp_path) as made:
        at_work = SimpleNamespace(now=0, most=0)
        work = made._import

        async def watched(*args):
            at_work.now += 1
            at_work.most = max(at_work.most, at_work.now)
            try:
                return await work(*args)
            finally:
                at_work.now -= 1

        monkeypatch.setattr(made, "_import", watched)
        texts = [shipped(tmp_path, first, 100) for first in (1_000, 2_000, 3_000)]
        names = await asyncio.gather(*(taken(made, text) for text in texts))
        assert at_work.most == 1
        assert sorted(made.services.keys.names()) == sorted(name for some in names for name in some)


async def test_an_import_whose_client_has_gone_is_finished(tmp_path):
    async with collector(tmp_path) as made:
        task = asyncio.create_task(taken(made, shipped(tmp_path, 1, 20)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await made.services.settled()
        assert len(made.fleet) == len(made.services.keys.names()) == 20


async def test_the_audit_log_names_the_meters_within_bounds(tmp_path):
    async with collector(tmp_path) as made:
        await taken(made, shipped(tmp_path, 1, 2))
        await taken(made, shipped(tmp_path, 1, AUDITED_NAMES + 7))
        many, few = await made.services.store.audit_log()
        assert (few.action, few.subject, few.detail) == ("import", "2 meters", "M1, M2")
        assert many.detail.endswith(" and 7 more")


@pytest.mark.parametrize("address", ["tcp://192.0.2.1:4059", "tcp://192.0.2.2:4059"])
async def test_a_meter_that_is_shipped_again_is_released(tmp_path, address):
    async with collector(tmp_path) as made:
        await taken(made, shipped(tmp_path, 1, 1))
        meter = made.fleet.get("M1")
        await meter.quarantine("it answers nonsense")
        await taken(made, shipped(tmp_path, 1, 1, address))
        assert made.fleet.get("M1") is meter
        assert meter.state == "new"
        await made.services.settled()
        assert meter.address == address
        assert (await made.services.store.meter("M1")).state == "ok"


async def test_stopping_commits_what_is_buffered_before_anything_else(tmp_path, monkeypatch):
    order = []
    async with collector(tmp_path) as made:
        flush = made.services.store.flush
        monkeypatch.setattr(made.services.store, "flush", lambda: order.append("flush") or flush())
        monkeypatch.setattr(made.polling, "stop", lambda: order.append("polling") or asyncio.sleep(0))
    assert order[0] == "flush"


@pytest.mark.parametrize(
    "damage", [lambda path: path.write_bytes(b"rot"), lambda path: path.unlink()], ids=["rot", "lost"]
)
async def test_without_its_key_file_the_collector_runs_says_so_and_begins_anew_on_an_operators_word(tmp_path, damage):
    async with collector(tmp_path) as made:
        await taken(made, shipped(tmp_path, 1, 3))
    damage(tmp_path / "keys")
    async with collector(tmp_path) as made:
        assert len(made.fleet) == 3
        (alarm,) = await made.services.store.pending(kind="alarm")
        assert b"keys-lost" in alarm.payload
        with pytest.raises(KeysError, match="dcu keys reset"):
            await made.fleet.get("M1").run(lambda session: session.release(), Priority.ON_DEMAND)
        assert made.fleet.get("M1").state == "refused"
        with pytest.raises(KeysError):
            await taken(made, shipped(tmp_path, 1, 3))
        aside = await made.reset_keys("the test")
        assert [(tmp_path / path).read_bytes() for path in aside] in ([b"rot"], [])
        await taken(made, shipped(tmp_path, 1, 3))
        assert (await made.services.store.audit_log())[1].action == "keys"
    async with collector(tmp_path) as made:
        assert made.services.keys.names() == ["M1", "M2", "M3"]
        with pytest.raises(KeysError, match="sound"):
            await made.reset_keys("the test")


async def test_a_key_file_that_is_newer_than_the_store_has_counters_doubted(tmp_path):
    async with collector(tmp_path) as made:
        await taken(made, shipped(tmp_path, 1, 1))
        store, key = made.services.store, made.services.keys.meter("M1").fingerprint(made.services.client_title)
        await store.raise_counter("M1", 7, key)
        await store.remember("keys.generation", (1).to_bytes(8, "big"))
    for _ in range(2):
        async with collector(tmp_path) as made:
            assert await made.services.store.counter("M1", key) is None
            assert len(await made.services.store.pending(kind="alarm")) == 1
