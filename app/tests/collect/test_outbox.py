"""What becomes of pushes: in the outbox together with their counter, or refused."""

import pytest

from dcu.collect.pushes import Pushes
from dcu.cosem import apdu
from dcu.cosem.apdu import DataNotification
from dcu.errors import CounterReplayed, DcuError, KeysError, TagMismatch
from neighbourhood.meter import Event
from neighbourhood.push import alarm
from tests.collect.rig import rig

pytestmark = pytest.mark.looptime


async def pushes(street, *, plain=False):
    made = Pushes(street.services, plain=plain)
    made.know(await street.store.meters())
    return made


async def test_a_push_is_in_the_outbox_under_its_meter_and_told(tmp_path):
    async with rig(tmp_path, meters=2) as street:
        listener = await pushes(street)
        await listener.received("192.0.2.7:1", 1, 1, alarm(street.simulated(1), Event.POWER_UP))
        (item,) = await street.store.pending()
        assert (item.meter, item.kind) == (street.meter(1).name, "push")
        assert isinstance(apdu.decode(item.payload), DataNotification)
        (told,) = street.events("alarm")
        assert told["meter"] == street.meter(1).name
        assert told["message"] == f"push of {len(item.payload)} bytes, outbox {item.seq}"
        assert listener.accepted == 1


async def test_a_push_that_comes_again_is_refused_also_after_a_restart(tmp_path):
    async with rig(tmp_path) as street:
        listener = await pushes(street)
        frame = alarm(street.simulated(), Event.POWER_UP)
        await listener.received("192.0.2.7:1", 1, 1, frame)
        for again in (listener, await pushes(street)):
            with pytest.raises(CounterReplayed):
                await again.received("192.0.2.7:1", 1, 1, frame)
        assert len(await street.store.pending()) == 1
        assert listener.refused == 1


async def test_a_forged_push_leaves_nothing(tmp_path):
    async with rig(tmp_path) as street:
        listener = await pushes(street)
        frame = bytearray(alarm(street.simulated(), Event.POWER_UP))
        frame[-1] ^= 1
        with pytest.raises(TagMismatch):
            await listener.received("192.0.2.7:1", 1, 1, bytes(frame))
        assert not await street.store.pending()
        await listener.received("192.0.2.7:1", 1, 1, alarm(street.simulated(), Event.POWER_UP))


@pytest.mark.parametrize("plain", [False, True])
async def test_a_plain_push_is_taken_only_where_the_configuration_says_so(tmp_path, plain):
    frame = apdu.encode(DataNotification(1, b"", bytes.fromhex("1101")))
    async with rig(tmp_path) as street:
        listener = await pushes(street, plain=plain)
        if plain:
            await listener.received("192.0.2.7:1", 1, 1, frame)
            (item,) = await street.store.pending()
            assert item.meter is None
            (told,) = street.events("alarm")
            assert told["meter"] is None  # anybody could have made it up
            assert told["message"].endswith("unprotected, from 192.0.2.7:1")
        else:
            with pytest.raises(DcuError):
                await listener.received("192.0.2.7:1", 1, 1, frame)


async def test_a_plain_push_is_nobodys_also_where_a_meter_has_no_system_title(tmp_path):
    async with rig(tmp_path) as street:
        listener = await pushes(street, plain=True)
        listener.know(await street.store.add_meters([("untitled", "mem://untitled", "generic", b"")]))
        await listener.received("192.0.2.7:1", 1, 1, apdu.encode(DataNotification(1, b"", bytes.fromhex("1101"))))
        (told,) = street.events("alarm")
        assert told["meter"] is None


async def test_a_meter_that_nobody_knows_is_refused_and_fills_no_log(tmp_path, caplog):
    async with rig(tmp_path, meters=2) as street:
        listener = Pushes(street.services, plain=False)
        listener.know((await street.store.meters())[:1])
        with pytest.raises(KeysError, match="which no meter here has"):
            await listener.received("192.0.2.7:1", 1, 1, alarm(street.simulated(1), Event.POWER_UP))
        assert not [entry for entry in caplog.records if entry.levelname == "WARNING"]  # anybody may send such a thing
