"""The registry's copy: a store that was lost is filled again by itself, with what was imported and nothing else."""

import json
import shutil
import sqlite3

import pytest

from dcu.collector import GENERATION_KEY
from dcu.platform import machine
from tests.collect import test_import
from tests.collect.test_import import collector, shipped, taken


@pytest.fixture(autouse=True)
def copies(tmp_path, monkeypatch):
    for name in ("persist", "twin"):
        (tmp_path / name).mkdir()
    kept = 'file = "persist/keys"\ntwin = "twin/keys"'
    monkeypatch.setattr(test_import, "CONFIG", test_import.CONFIG.replace('file = "keys"', kept))


async def told(made):
    return [(entry.action, entry.detail) for entry in await made.services.store.audit_log()]


async def alarms(made):
    return [json.loads(item.payload)["event"] for item in await made.services.store.pending(kind="alarm")]


async def test_a_lost_store_has_its_meters_again_and_knows_no_counter(tmp_path):
    async with collector(tmp_path) as made:
        await taken(made, shipped(tmp_path, 1, 20, address="tcp://192.0.2.9:4059"))
        for name in made.services.keys.names():
            await made.services.store.raise_counter(name, 100)
    shutil.rmtree(tmp_path / "store")
    async with collector(tmp_path) as made:
        assert len(made.fleet) == 20
        assert made.fleet.get("M7").address == "tcp://192.0.2.9:4059"
        store = made.services.store
        assert await store.counter("M7") is None
        assert await store.recall(GENERATION_KEY) == made.services.keys.generation.to_bytes(8, "big")
        assert "meters-restored" in [action for action, _ in await told(made)]
        assert await alarms(made) == ["meters-restored"]
    async with collector(tmp_path) as made:  # said once
        assert (await alarms(made)).count("meters-restored") == 1


async def test_meters_that_a_salvage_lost_come_back_beside_the_others(tmp_path):
    async with collector(tmp_path) as made:
        await taken(made, shipped(tmp_path, 1, 5))
    with sqlite3.connect(tmp_path / "store/critical.db") as db:
        db.execute("DELETE FROM meters WHERE name IN ('M2', 'M3')")
    db.close()
    async with collector(tmp_path) as made:
        assert {meter.name for meter in made.fleet} == {f"M{number}" for number in range(1, 6)}
        assert any("2 of its 5 meters" in detail for _, detail in await told(made))


@pytest.mark.parametrize("damage", [b"", b"noise" * 50])
async def test_one_damaged_copy_costs_nothing_and_two_are_written_anew_from_the_store(tmp_path, damage):
    async with collector(tmp_path) as made:
        await taken(made, shipped(tmp_path, 1, 5))
    (tmp_path / "persist/meters").write_bytes(damage)
    shutil.rmtree(tmp_path / "store")
    (tmp_path / "persist/keys").write_bytes(damage)
    async with collector(tmp_path) as made:
        assert len(made.fleet) == 5
        told_of = [entry.subject for entry in await made.services.store.audit_log() if entry.action == "restored"]
        assert sorted(map(_name, told_of)) == ["keys", "meters"]
    for copy in ("persist", "twin"):
        (tmp_path / copy / "meters").write_bytes(damage)
    async with collector(tmp_path) as made:
        assert len(made.fleet) == 5
        assert "registry-damaged" in await alarms(made)
    shutil.rmtree(tmp_path / "store")
    async with collector(tmp_path) as made:
        assert len(made.fleet) == 5


async def test_an_address_that_changed_in_the_store_is_what_the_copy_has_from_then_on(tmp_path):
    async with collector(tmp_path) as made:
        await taken(made, shipped(tmp_path, 1, 1))
    copy = (tmp_path / "persist/meters").read_bytes()
    async with collector(tmp_path) as made:
        await taken(made, shipped(tmp_path, 1, 1, address="tcp://192.0.2.77:4059"))
    assert (tmp_path / "persist/meters").read_bytes() != copy
    (tmp_path / "persist/meters").write_bytes(copy)  # older than its twin: by its generation
    shutil.rmtree(tmp_path / "store")
    async with collector(tmp_path) as made:
        assert made.fleet.get("M1").address == "tcp://192.0.2.77:4059"


async def test_a_thousand_meters_fit_and_a_copy_that_cannot_be_written_stops_nothing(tmp_path):
    async with collector(tmp_path) as made:
        await taken(made, shipped(tmp_path, 1, 1_000))
        assert 0 < (tmp_path / "persist/meters").stat().st_size < 100_000
        (tmp_path / "persist/meters").unlink()
        (tmp_path / "persist/meters.new").mkdir()  # in the way
        await taken(made, shipped(tmp_path, 2_000, 1))
        assert len(made.fleet) == 1_001


async def test_what_was_mended_before_the_start_is_told_once_a_boot(tmp_path, monkeypatch):
    board = machine.Machine(recreated=tmp_path / "recreated", restored=tmp_path / "restored")
    monkeypatch.setattr("dcu.collector.Machine", lambda: board)
    board.tell(["identity: a copy was damaged"])
    (tmp_path / "recreated").write_text("data: made anew\n")
    for _ in range(2):
        async with collector(tmp_path) as made:
            found = await told(made)
            assert sorted(found) == [
                ("made-anew", "data: made anew"),
                ("restored", "identity: a copy was damaged"),
            ]
            assert sorted(await alarms(made)) == ["made-anew", "restored"]


def _name(subject):
    return subject.rpartition("/")[2]
