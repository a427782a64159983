"""Pushes on their way into the store: kept once, and not lost where the store could not keep them at first."""

import asyncio
from contextlib import suppress
from dataclasses import replace
from itertools import product

import pytest

from dcu.collect.associations import FRAMINGS
from dcu.collect.meter_profile import Security
from dcu.collect.pushes import Pushes
from dcu.cosem import apdu, axdr, security
from dcu.cosem.apdu import DataNotification
from dcu.cosem.association import MemoryFloors
from dcu.cosem.ciphering import Ciphering
from dcu.cosem.security import Cipher, Framing, Protection
from dcu.credentials import MeterKeys, Secret
from dcu.errors import CounterReplayed, DcuError, KeysError, StoreError, TagMismatch
from tests.cosem.suite_keys import keys

from .rig import OUR_TITLE, rig


def pushed(meter, counter, title=None):
    keys = meter.shipped_keys()
    return security.protect(
        Cipher(keys.guek, keys.gak),
        apdu.encode(DataNotification(1, b"", axdr.encode(axdr.u32(counter)))),
        protection=Protection.BOTH,
        title=title or meter.system_title,
        counter=counter,
        framing=Framing.GENERAL_GLOBAL,
    )


async def receiving(street):
    pushes = Pushes(street.services, plain=False)
    pushes.know(await street.store.meters())
    return pushes


@pytest.mark.looptime
async def test_a_push_that_the_store_could_not_keep_is_kept_when_it_is_sent_again(tmp_path, monkeypatch):
    async with rig(tmp_path) as street:
        pushes = await receiving(street)
        frame = pushed(street.simulated(), 7)

        async def full(*arguments, **key):
            raise StoreError("the disk is full")

        with monkeypatch.context() as broken:
            broken.setattr(street.store, "accept_push", full)
            with pytest.raises(StoreError):
                await pushes.received("peer", 1, 1, frame)
        await pushes.received("peer", 1, 1, frame)
        with pytest.raises(CounterReplayed):
            await pushes.received("peer", 1, 1, frame)
        assert (pushes.accepted, pushes.refused, len(await street.store.pending())) == (1, 1, 1)


@pytest.mark.looptime
async def test_of_two_copies_at_the_same_moment_one_is_kept(tmp_path):
    async with rig(tmp_path) as street:
        pushes = await receiving(street)
        frame = pushed(street.simulated(), 7)
        gate = asyncio.Event()
        accept = street.store.accept_push

        async def slow(*arguments, **key):
            await gate.wait()
            return await accept(*arguments, **key)

        street.store.accept_push = slow
        both = [asyncio.create_task(pushes.received("peer", 1, 1, frame)) for _ in range(2)]
        await asyncio.sleep(0)
        gate.set()
        outcomes = await asyncio.gather(*both, return_exceptions=True)
        assert sorted(map(type, outcomes), key=str) == sorted((type(None), CounterReplayed), key=str)
        assert (pushes.accepted, pushes.refused, len(await street.store.pending())) == (1, 1, 1)


@pytest.mark.looptime
async def test_a_push_that_was_kept_before_a_restart_reaches_the_store_once_and_then_no_more(tmp_path, monkeypatch):
    """Who records a push and sends it over and over does not keep the store busy."""
    async with rig(tmp_path) as street:
        frame, other = pushed(street.simulated(), 7), pushed(street.simulated(), 8)
        await (await receiving(street)).received("peer", 1, 1, frame)
        pushes, looks, accept = await receiving(street), [], street.store.accept_push

        async def counted(name, counter, *rest, **key):
            looks.append(counter)
            return await accept(name, counter, *rest, **key)

        monkeypatch.setattr(street.store, "accept_push", counted)
        for _ in range(3):
            with pytest.raises(CounterReplayed):
                await pushes.received("peer", 1, 1, frame)
        await pushes.received("peer", 1, 1, other)
        for each in (other, frame):
            with pytest.raises(CounterReplayed):
                await pushes.received("peer", 1, 1, each)
        assert (looks, pushes.refused, pushes.accepted) == ([7, 8], 5, 1)


@pytest.mark.looptime
async def test_a_new_meters_first_counter_may_be_nought(tmp_path):
    async with rig(tmp_path) as street:
        pushes = await receiving(street)
        await pushes.received("peer", 1, 1, pushed(street.simulated(), 0))
        with pytest.raises(CounterReplayed):
            await pushes.received("peer", 1, 1, pushed(street.simulated(), 0))
        assert len(await street.store.pending()) == 1


@pytest.mark.looptime
async def test_a_meter_that_was_exchanged_under_its_name_is_not_heard_by_its_old_title(tmp_path):
    """Also where the new one was given the keys of the old."""
    async with rig(tmp_path) as street:
        pushes, meter = await receiving(street), street.simulated()
        keys = replace(meter.shipped_keys(), system_title=b"NEWMETER")
        street.services.keys._keys[meter.serial] = keys
        pushes.know(
            await street.store.add_meters([(meter.serial, f"mem://{meter.serial}", "generic", keys.system_title)])
        )
        with pytest.raises(KeysError, match="which no meter here has"):
            await pushes.received("peer", 1, 1, pushed(meter, 7))
        await pushes.received("peer", 1, 1, pushed(meter, 7, b"NEWMETER"))
        assert [item.meter for item in await street.store.pending()] == [meter.serial]


@pytest.mark.looptime
@pytest.mark.parametrize("title", [None, b"NEWMETER"], ids=["another key", "another meter under the same name"])
async def test_with_another_key_counters_begin_anew(tmp_path, title):
    async with rig(tmp_path) as street:
        pushes, meter = await receiving(street), street.simulated()
        old = pushed(meter, 1_000_000)
        await pushes.received("peer", 1, 1, old)
        keys = MeterKeys(title or meter.system_title, Secret(b"n" * 16), Secret(b"m" * 16))
        meter.given = street.services.keys._keys[meter.serial] = keys
        pushes.know(
            await street.store.add_meters([(meter.serial, f"mem://{meter.serial}", "generic", keys.system_title)])
        )
        new = pushed(meter, 1, keys.system_title)
        await pushes.received("peer", 1, 1, new)
        for frame in (new, old):
            with pytest.raises((CounterReplayed, TagMismatch, KeysError)):
                await pushes.received("peer", 1, 1, frame)
        assert pushes.accepted == 2


@pytest.mark.looptime
@pytest.mark.parametrize("framing", ["service", "general", "identified", "static"])
@pytest.mark.parametrize("signed", [False, True])
async def test_a_meters_profile_says_how_its_pushes_are_protected_and_nothing_less_is_kept(tmp_path, framing, signed):
    """Sent by the meter's keys in every way: only the one of its profile is a push of that meter."""
    ours, theirs = keys(1)
    async with rig(tmp_path) as street:
        meter = street.simulated()
        ours, theirs = (replace(held, system_title=meter.system_title) for held in (ours, theirs))
        street.services.keys._keys[meter.serial] = ours
        security = Security(framing=framing, signed=signed)
        pushes = Pushes(street.services, plain=False, security=lambda name: security)
        pushes.know(await street.store.meters())
        kept = []
        for number, (kind, also) in enumerate(product(("general", "identified", "static"), (False, True))):
            counter = 100 + number
            ciphering = Ciphering(
                theirs,
                title=meter.system_title,
                peer=OUR_TITLE,
                counter=lambda counter=counter: counter,
                floors=MemoryFloors(),
                preferred=FRAMINGS[kind],
                signed=also,
            )
            plain = apdu.encode(DataNotification(1, b"", axdr.encode(axdr.u32(number))))
            frame = ciphering.seal_service(plain, Protection.BOTH, FRAMINGS[kind])
            with suppress(DcuError):
                await pushes.received("peer", 1, 1, frame)
                kept.append((kind, also))
        assert kept == [("general" if framing == "service" else framing, signed)]
        assert (pushes.accepted, pushes.refused, len(await street.store.pending())) == (1, 5, 1)


@pytest.mark.looptime
@pytest.mark.parametrize("missing", ["those of its profile", "all"])
async def test_a_meter_without_its_keys_has_no_pushes_and_the_log_says_why(tmp_path, caplog, missing):
    async with rig(tmp_path) as street:
        meter = street.simulated()
        security = Security(framing="static" if missing != "all" else "service")
        pushes = Pushes(street.services, plain=False, security=lambda name: security)
        pushes.know(await street.store.meters())
        if missing == "all":
            del street.services.keys._keys[meter.serial]
        with pytest.raises(KeysError):
            await pushes.received("peer", 1, 1, pushed(meter, 7))
        assert (pushes.refused, await street.store.pending()) == (1, [])
        why = f"no keys of {meter.serial}" if missing == "all" else "general-ciphering with agreed keys needs"
        assert f"push of {meter.serial}: {why}" in caplog.text
