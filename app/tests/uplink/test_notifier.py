"""The notifier: its packets lie ready, no counter is ever spent twice, and telling writes nothing."""

import asyncio
import socket
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import pytest

from dcu.clock import LoopClock
from dcu.collect.events import Events
from dcu.collect.services import Services
from dcu.cosem import security
from dcu.credentials import MeterKeys, Secret
from dcu.errors import KeysError
from dcu.keys.base import HEAD_END
from dcu.link import wrapper
from dcu.store import Store
from dcu.uplink.notifier import SPARE, Notifier, UdpSender

TITLE = bytes.fromhex("4443550000000001")
EPOCH = datetime(2025, 11, 20, 12, 2, tzinfo=UTC)


def keys(number=0):
    return MeterKeys(bytes.fromhex("4845530000000001"), Secret(bytes([number]) * 16), Secret(bytes(16)))


class Keys:
    def __init__(self):
        self.held = keys()

    def head_end(self):
        if self.held is None:
            raise KeysError("no keys of the head-end")
        return self.held


class Wire:
    """A sender that keeps what it is given."""

    def __init__(self):
        self.sent = []
        self.looked = 0

    async def ready(self):
        self.looked += 1

    def send(self, datagram):
        self.sent.append(datagram)
        return 2

    def close(self):
        pass


@asynccontextmanager
async def desk(path, *, known=0, repeat=3):
    clock = LoopClock(EPOCH)
    store = await Store.open(path, clock=clock, inline=True)
    if known is not None:
        for number in range(2):
            await store.raise_counter(HEAD_END, known, keys(number).fingerprint(TITLE))
    held = Keys()
    services = Services(clock, Random(1), store, held, Events(), TITLE)
    notifier = Notifier(services, Wire(), repeat=repeat)
    notifier.wire, notifier.held, notifier.store = notifier._sender, held, store
    try:
        yield notifier
    finally:
        store.thaw()
        await store.close()


def reused(sent):
    """Counters that two different datagrams share under one key: an oracle that is put to the test below."""
    seen, found = {}, []
    for key, datagram in sent:
        ciphered = security.parse(wrapper.decode(datagram).apdu)
        if seen.setdefault((key, ciphered.title, ciphered.counter), datagram) != datagram:
            found.append(ciphered.counter)
    return found


async def outages(directory, *, restarts=3, failures=7):
    """Power failures with restarts and a new key in between; every datagram that went out."""
    sent = []
    for restart in range(restarts):
        async with desk(directory) as notifier:
            for failure in range(failures):
                if failure % 3 == 0:
                    await notifier.prepare()
                if failure == 4:
                    notifier.held.held = keys(restart % 2)
                    await notifier.prepare()
                at = EPOCH.replace(second=failure, minute=restart)
                key = notifier.held.held.guek.reveal()
                await notifier.tell(at, 10.0 - failure)
                sent += [(key, datagram) for datagram in notifier.wire.sent]
                notifier.wire.sent.clear()
    return sent


@pytest.mark.looptime
async def test_no_counter_is_spent_twice_over_failures_restarts_and_new_keys(tmp_path):
    sent = await outages(tmp_path)
    assert len(sent) == 3 * 7 * 3
    assert reused(sent) == []


@pytest.mark.looptime
async def test_canary_a_counter_that_is_spent_twice_is_caught(tmp_path, monkeypatch):
    async def careless(store, meter, count, key):
        return range(count)

    monkeypatch.setattr(Store, "reserve_counters", careless)
    assert reused(await outages(tmp_path))


def contents(directory):
    return {path.name: path.read_bytes() for path in Path(directory).iterdir() if path.is_file()}


@pytest.mark.looptime
async def test_telling_writes_nothing_and_needs_no_store(tmp_path):
    async with desk(tmp_path) as notifier:
        await notifier.prepare()
        assert notifier.ready == SPARE
        notifier.store.freeze()
        before = contents(tmp_path)
        for _ in range(SPARE):
            assert await notifier.tell(EPOCH, 5.0) == 6  # three times, to two addresses
        assert contents(tmp_path) == before
        assert len({bytes(datagram) for datagram in notifier.wire.sent}) == SPARE
        assert await notifier.tell(EPOCH, 5.0) == 0  # the fifth outage in a row: nothing is left, nothing is reused
        notifier.store.thaw()
        await notifier.prepare()
        assert notifier.ready == SPARE


@pytest.mark.looptime
async def test_counters_are_reserved_before_and_only_for_what_was_used(tmp_path):
    async with desk(tmp_path, known=100) as notifier:
        await notifier.prepare()
        assert await notifier.store.counter(HEAD_END, keys().fingerprint(TITLE)) == 100 + SPARE
        await notifier.prepare()
        assert await notifier.store.counter(HEAD_END, keys().fingerprint(TITLE)) == 100 + SPARE
        await notifier.tell(EPOCH, 5.0)
        await notifier.prepare()
        assert await notifier.store.counter(HEAD_END, keys().fingerprint(TITLE)) == 101 + SPARE


@pytest.mark.looptime
async def test_without_a_known_counter_nothing_is_sealed(tmp_path, caplog):
    async with desk(tmp_path, known=None) as notifier:
        await notifier.prepare()
        await notifier.prepare()
        assert notifier.ready == 0
        assert await notifier.tell(EPOCH, 5.0) == 0
        assert notifier.wire.sent == []
        said = [record.message for record in caplog.records if "counter is not known" in record.message]
        assert len(said) == 1


@pytest.mark.looptime
@pytest.mark.parametrize("held", [None, MeterKeys(bytes(8), Secret(bytes(32)), Secret(bytes(16)))])
async def test_without_a_key_that_fits_nothing_lies_ready_until_there_is_one(tmp_path, held):
    async with desk(tmp_path) as notifier:
        notifier.held.held = held
        await notifier.prepare()
        assert notifier.ready == 0
        notifier.held.held = keys()
        await notifier.prepare()
        assert notifier.ready == SPARE


@pytest.mark.looptime
async def test_it_keeps_ready_and_gives_signs_of_life_but_not_while_the_store_is_frozen(tmp_path):
    beats = []
    async with desk(tmp_path) as notifier:
        task = asyncio.create_task(notifier.keep(lambda: beats.append(asyncio.get_running_loop().time())))
        await asyncio.sleep(150)
        assert notifier.ready == SPARE
        looked = notifier.wire.looked
        assert looked == 3
        notifier.store.freeze()
        count = len(beats)
        await asyncio.sleep(600)
        assert len(beats) >= count + 9
        assert notifier.wire.looked == looked
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
def listeners():
    made = []
    for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        listener = socket.socket(family, socket.SOCK_DGRAM)
        listener.bind((host, 0))
        listener.settimeout(2)
        made.append(listener)
    yield made
    for listener in made:
        listener.close()


async def test_datagrams_go_to_every_address_and_one_that_is_wrong_harms_no_other(listeners):
    where = [(host, listener.getsockname()[1]) for host, listener in zip(("127.0.0.1", "::1"), listeners, strict=True)]
    sender = UdpSender([*where, ("no-such-host.invalid", 4059)])
    await sender.ready()
    assert sender.send(b"gasp") == 2
    assert [listener.recv(100) for listener in listeners] == [b"gasp", b"gasp"]
    sender.close()
    assert sender.send(b"gasp") == 0
