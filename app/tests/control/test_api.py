"""The methods of the control socket against simulated meters, under virtual time (docs/control.md)."""

import asyncio
import re
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from dcu.collect.networks import Networks
from dcu.collect.polling import Polling
from dcu.collect.retry import Backoff
from dcu.control.api import Api
from dcu.cosem import objects
from dcu.errors import ConfigError, JobError, JobExpired, PolicyViolated
from dcu.platform.watchdog import Progress
from neighbourhood import truth
from neighbourhood.relay import Relay
from tests.collect.rig import DAY, HOUR, LOSE_REQUEST, imaging, rig

pytestmark = pytest.mark.looptime


class Upkeep:
    async def import_shipment(self, text, transport_key, actor):
        return [text, transport_key]

    def progress(self):
        return (Progress("event loop", True, 0.5, 15.0),)


@asynccontextmanager
async def api(path, meters=1, **options):
    async with rig(path, meters, delay=0.05, **options) as street:
        polling = Polling(street.services, street.fleet, street.scheduler, retry=Backoff())
        made = Api(street.services, street.fleet, street.scheduler, polling, Upkeep(), imaging(street, path))

        async def call(method, **params):
            return await made.handle(method, "the test", params)

        street.polling = polling
        yield street, call
        await polling.stop()


async def test_every_method_of_the_contract_is_there_and_no_other(tmp_path):
    text = (Path(__file__).parents[3] / "docs" / "control.md").read_text()
    documented = set(re.findall(r"^\| `([a-z.]+)` \| ", text.split("## Methods")[1].split("## Events")[0], re.M))
    async with rig(tmp_path) as street:
        polling = Polling(street.services, street.fleet, street.scheduler, retry=Backoff())
        images = imaging(street, tmp_path)
        networks = Networks((), street.services, street.services.keys, notified=lambda who, what: None)
        made = Api(street.services, street.fleet, street.scheduler, polling, Upkeep(), images, networks)
        known = set(made._methods)
    assert documented == known | {"subscribe"}


async def test_wrong_parameters_name_what_is_wrong(tmp_path):
    async with api(tmp_path) as (street, call):
        name = street.meter().name
        for method, params, text in (
            ("reed", {}, "no method"),
            ("read", {}, "meter"),
            ("read", {"meter": name, "objects": []}, "say what to read"),
            ("read", {"meter": name, "objects": ["1.8.0"]}, "no OBIS code"),
            ("read", {"meter": "nobody", "objects": ["1-0:1.8.0*255"]}, "no meter 'nobody'"),
            ("profile", {"meter": name, "from": 5, "to": 5}, "from is below to"),
            ("command", {"meter": name, "command": "explode"}, "command"),
            ("opaque", {"meter": name, "apdu": "xx"}, "hexadecimal"),
            ("status", {"more": 1}, "more"),
        ):
            with pytest.raises(ConfigError, match=text):
                await call(method, **params)
        assert not street.seen


async def test_status_counts_what_there_is(tmp_path):
    async with api(tmp_path, 2) as (_, call):
        await call("poll")
        await asyncio.sleep(60)
        status = await call("status")
        assert status["meters"]["ok"] == 2
        assert status["readings"] > 48
        assert status["progress"]["complete"]
        assert status["progress"]["collected"] == status["progress"]["expected"] == 48
        assert status["media"][0]["exchanges"] > 0
        assert status["jobs"]["running"] == 0
        assert status["store"]["days"] >= 0
        assert status["subsystems"] == [{"name": "event loop", "alive": True, "quiet": 0.5, "within": 15.0}]


async def test_meters_says_who_is_quarantined_and_why_and_release_ends_it(tmp_path):
    async with api(tmp_path, 2) as (street, call):
        await street.meter(1).quarantine("it answers nonsense")
        rows = {row["name"]: row for row in await call("meters")}
        assert rows[street.meter(1).name]["reason"] == "it answers nonsense"
        assert (await call("meters", names=[street.meter(0).name]))[0]["state"] == "new"
        await call("meters.release", meter=street.meter(1).name)
        assert street.meter(1).state == "new"
        assert (await call("audit"))[0]["action"] == "release"


async def test_releasing_what_is_not_quarantined_leaves_no_trace(tmp_path):
    """The audit log is bounded: nobody is to wash it out by asking for nothing."""
    async with api(tmp_path) as (street, call):
        for _ in range(3):
            await call("meters.release", meter=street.meter().name)
        assert await call("audit") == []


async def test_an_operator_has_a_counter_believed_and_that_is_written_down(tmp_path):
    async with api(tmp_path) as (street, call):
        name = street.meter().name
        street.simulated().heard.accept(b"another.", 0xF8000000)
        with pytest.raises(PolicyViolated, match="dcu meters counter"):
            await call("read", meter=name, objects=["1-0:1.8.0*255"])
        await call("meters.counter", meter=name)
        assert await call("read", meter=name, objects=["1-0:1.8.0*255"])
        assert "the test" in [entry["actor"] for entry in await call("audit") if entry["action"] == "counter"]


async def test_read_takes_names_and_attributes_and_says_the_scale(tmp_path):
    async with api(tmp_path) as (street, call):
        names = ["1-0:1.8.0*255", "1.0.2.8.0.255", "8,0-0:1.0.0*255,2", "3,1-0:77.77.0*255,2", "1-0:99.99.0*255"]
        energy, export, clock, denied, unknown = await call("read", meter=street.meter().name, objects=names)
        assert energy["unit"] == "Wh"
        assert energy["attribute"] == "3,1-0:1.8.0*255,2"
        value = objects.decode_int(bytes.fromhex(energy["raw"]))
        now = street.second()
        assert truth.registers(1, 1, now - 60).active_import <= value <= truth.registers(1, 1, now).active_import
        assert export["class_id"] == 3
        assert objects.decode_clock(bytes.fromhex(clock["raw"]))
        assert denied["error"]["kind"] == unknown["error"]["kind"] == "AccessDenied"


async def test_a_read_has_a_deadline(tmp_path):
    async with api(tmp_path) as (street, call):
        street.weather = lambda seen: LOSE_REQUEST
        with pytest.raises(JobExpired):
            await call("read", meter=street.meter().name, objects=["8,0-0:1.0.0*255,2"], timeout=4.0)
        assert street.now() == pytest.approx(4.0)


async def test_profile_gives_what_is_stored_and_fetches_what_is_missing_on_demand(tmp_path):
    async with api(tmp_path) as (street, call):
        name, end = street.meter().name, street.second() // HOUR * HOUR
        stored = await call("profile", **{"meter": name, "from": end - 2 * DAY, "to": end})
        assert stored["rows"] == []
        fetched = await call("profile", **{"meter": name, "from": end - 2 * DAY, "to": end, "fetch": True})
        assert len(fetched["rows"]) == 48
        assert fetched["gaps"] == []
        assert not fetched["more"]
        assert [column["unit"] for column in fetched["columns"]] == ["Wh", "Wh", "varh", "varh"]
        rows = list(truth.rows(1, 1, end - 2 * DAY, end - 1))
        assert [row[0] for row in fetched["rows"]] == [row.timestamp for row in rows]
        assert [tuple(row[2:]) for row in fetched["rows"]] == [tuple(row.registers) for row in rows]
        some = await call("profile", **{"meter": name, "from": end - 2 * DAY, "to": end, "limit": 5})
        assert len(some["rows"]) == 5
        assert some["more"]


async def test_objects_are_read_once_and_kept(tmp_path):
    async with api(tmp_path) as (street, call):
        raw = bytes.fromhex((await call("objects", meter=street.meter().name))["raw"])
        assert len(objects.decode_object_list(raw)) > 20
        street.seen.clear()
        await call("objects", meter=street.meter().name)
        assert not street.seen
        await call("objects", meter=street.meter().name, refresh=True)
        assert street.seen


async def test_commands_go_through_the_one_door(tmp_path):
    async with api(tmp_path) as (street, call):
        name = street.meter().name
        assert await call("command", meter=name, command="disconnect") == {
            "output": False,
            "state": "disconnected",
            "confirmed": True,
        }
        assert street.simulated().relay is Relay.DISCONNECTED
        assert [entry["actor"] for entry in await call("audit") if entry["action"] == "disconnect"] == ["the test"] * 2


async def test_clock_compares_and_sets(tmp_path):
    async with api(tmp_path) as (street, call):
        street.simulated().set_clock(street.second() + 30)
        seen = await call("clock", meter=street.meter().name)
        assert not seen["adjusted"]
        assert abs(seen["offset"] - 30) <= 2
        assert (await call("clock", meter=street.meter().name, sync=True))["adjusted"]


async def test_jobs_are_listed_and_cancelled(tmp_path):
    async with api(tmp_path) as (street, call):
        street.weather = lambda seen: LOSE_REQUEST
        await call("poll")
        await asyncio.sleep(1)
        (job,) = await call("jobs")
        assert (job["kind"], job["state"]) == ("poll", "running")
        await call("jobs.cancel", job=job["id"])
        await asyncio.sleep(1)
        assert await call("jobs") == []
        assert (await call("jobs", all=True))[0]["state"] == "failed"
        with pytest.raises(JobError):
            await call("jobs.cancel", job=job["id"])


async def test_opaque_requests_are_carried(tmp_path):
    async with api(tmp_path) as (street, call):
        answer = await call("opaque", meter=street.meter().name, apdu="c001c100030100010800ff0200")
        assert answer["apdu"].startswith("c401c100")
