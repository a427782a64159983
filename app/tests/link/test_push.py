"""The push listener, and what it survives."""

import asyncio
import random
import re
import socket
from dataclasses import asdict
from pathlib import Path

import pytest

from dcu.errors import TagMismatch
from dcu.link import hdlc, tcp, udp, wrapper
from dcu.link.push import PushListener

from .ends import ended, flood, trickle

HOST = "127.0.0.1"
CAPTURES = Path(__file__).parents[1] / "captures"
METER, HEAD_END = hdlc.Address(1, 17, 2), hdlc.Address(102)


class Inbox:
    """What arrived, and a way to wait for it."""

    def __init__(self):
        self.got = []
        self.peers = []
        self.hold = None
        self.error = None

    async def take(self, peer, source, destination, apdu):
        if self.hold is not None:
            await self.hold.wait()
        self.got.append((source, destination, apdu))
        self.peers.append(peer)
        if self.error:
            raise self.error

    async def filled(self, count):
        async with asyncio.timeout(5):
            while len(self.got) < count:
                await asyncio.sleep(0.005)
        return self.got


@pytest.fixture
def inbox():
    return Inbox()


def hdlc_wire(apdu, information=hdlc.MAX_INFORMATION):
    frames = hdlc.notification(HEAD_END, METER, apdu, max_information=information)
    return b"".join(map(hdlc.encode, frames))


async def send_tcp(port, *parts):
    stream = await tcp.connect(HOST, port)
    for part in parts:
        await stream.write(part)
        await asyncio.sleep(0)
    return stream


def ours(end):
    """Our own address, as the listener has to see it."""
    return tcp.address(*tcp.name_of(end._transport, "sockname"))


@pytest.mark.parametrize(
    "wire",
    [
        pytest.param(wrapper.encode(1, 102, b"pushed"), id="wrapper"),
        pytest.param(hdlc_wire(b"pushed"), id="HDLC"),
        pytest.param(hdlc_wire(b"pushed", 4), id="HDLC in segments"),
    ],
)
async def test_pushes_over_tcp_are_handed_on_however_they_are_framed_and_cut(inbox, wire):
    listener = PushListener(inbox.take)
    port = await listener.listen_tcp(HOST, 0)
    stream = await send_tcp(port, *(wire[at : at + 3] for at in range(0, len(wire), 3)), wire)
    assert await inbox.filled(2) == [(1, 102, b"pushed")] * 2
    assert inbox.peers == [ours(stream)] * 2
    await stream.close()
    await listener.close()
    assert (listener.tally.apdus, listener.tally.connections) == (2, 1)


@pytest.mark.parametrize("host", [HOST, "::1"])
async def test_pushes_over_udp_are_handed_on_and_name_their_sender(inbox, host):
    listener = PushListener(inbox.take)
    endpoint = await udp.connect(host, await listener.listen_udp(host, 0))
    await endpoint.send(wrapper.encode(1, 102, b"pushed"))
    assert await inbox.filled(1) == [(1, 102, b"pushed")]
    assert inbox.peers == [ours(endpoint)]
    await endpoint.close()
    await listener.close()


async def test_datagrams_are_dealt_with_one_at_a_time_whichever_port_they_came_to(inbox):
    inbox.hold = asyncio.Event()
    listener = PushListener(inbox.take)
    endpoints = [await udp.connect(HOST, await listener.listen_udp(HOST, 0)) for _ in range(2)]
    for endpoint in endpoints:
        await endpoint.send(wrapper.encode(1, 102, b"at once"))
    await asyncio.sleep(0.05)
    assert listener.tally.apdus == 1  # handed on; the other waits
    inbox.hold.set()
    await inbox.filled(2)
    for endpoint in endpoints:
        await endpoint.close()
    await listener.close()


@pytest.mark.parametrize(
    ("name", "source"), [("hdlc_kaifa_ma304h3e", 1), ("hdlc_kamstrup_omnipower", 1), ("hdlc_norway_han_1phase", 4)]
)
async def test_pushes_of_real_meters_are_handed_on(inbox, name, source):
    wire = bytes.fromhex(re.sub(r"[^0-9A-Fa-f]", "", (CAPTURES / f"{name}.log").read_text()))
    listener = PushListener(inbox.take)
    stream = await send_tcp(await listener.listen_tcp(HOST, 0), wire)
    ((sap, _, apdu),) = await inbox.filled(1)
    assert sap == source
    assert apdu[0] in (0x0F, 0xDB)
    await stream.close()
    await listener.close()


async def test_a_push_that_is_refused_is_counted_and_the_sender_may_go_on(inbox):
    inbox.error = TagMismatch("check the GAK and the system title")
    listener = PushListener(inbox.take)
    stream = await send_tcp(await listener.listen_tcp(HOST, 0), wrapper.encode(1, 102, b"forged") * 2)
    await inbox.filled(2)
    await asyncio.sleep(0)
    assert (listener.tally.apdus, listener.tally.rejected) == (2, 2)
    await stream.close()
    await listener.close()


async def test_a_bug_behind_the_listener_is_reported_and_stops_neither_tcp_nor_udp(inbox):
    reported = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, about: reported.append(about["exception"]))
    inbox.error = ZeroDivisionError()
    listener = PushListener(inbox.take)
    stream = await send_tcp(await listener.listen_tcp(HOST, 0), wrapper.encode(1, 102, b"x") * 2)
    endpoint = await udp.connect(HOST, await listener.listen_udp(HOST, 0))
    for _ in range(2):
        await endpoint.send(wrapper.encode(1, 102, b"x"))
    await inbox.filled(4)
    await asyncio.sleep(0.01)
    assert listener.tally.failed == len(reported) == 4
    await stream.close()
    await endpoint.close()
    await listener.close()


async def test_connections_beyond_the_limit_are_refused_and_a_place_is_free_again_after_one_ends(inbox):
    reported = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, about: reported.append(about))
    listener = PushListener(inbox.take, connections=2)
    port = await listener.listen_tcp(HOST, 0)
    first, _second = [await send_tcp(port) for _ in range(2)]
    third = await send_tcp(port, wrapper.encode(1, 102, b"one too many"))
    assert await ended(third)
    assert (listener.tally.overload, listener.tally.connections) == (1, 2)
    await first.close()
    await asyncio.sleep(0.02)
    await send_tcp(port, wrapper.encode(1, 102, b"in"))
    assert await inbox.filled(1) == [(1, 102, b"in")]
    assert reported == []
    await listener.close()


async def test_a_sender_that_was_heard_and_says_no_more_loses_its_place(inbox):
    listener = PushListener(inbox.take, idle=0.1)
    stream = await send_tcp(await listener.listen_tcp(HOST, 0), wrapper.encode(1, 102, b"pushed"))
    await inbox.filled(1)
    assert await ended(stream)
    assert (listener.tally.idle, listener.open) == (1, set())
    await listener.close()


async def test_who_has_hung_up_is_not_waited_for(inbox):
    """Before it said anything, and while what it said is dealt with."""
    listener = PushListener(inbox.take, idle=0.1)
    port = await listener.listen_tcp(HOST, 0)
    await (await send_tcp(port)).close()
    inbox.hold = asyncio.Event()
    stream = await send_tcp(port, wrapper.encode(1, 102, b"pushed"))
    async with asyncio.timeout(5):
        while not listener.tally.apdus:
            await asyncio.sleep(0.005)
    for sender in tuple(listener.open):
        sender.abort()
    await asyncio.sleep(0.01)
    inbox.hold.set()
    await asyncio.sleep(0.2)
    assert (listener.tally.idle, len(inbox.got)) == (0, 1)
    await stream.close()
    await listener.close()


async def test_a_meter_that_vanished_with_its_connection_is_noticed(inbox):
    """It never says so: the kernel asks."""
    listener = PushListener(inbox.take)
    stream = await send_tcp(await listener.listen_tcp(HOST, 0))
    await asyncio.sleep(0.02)
    (sender,) = listener.open
    connection = sender._transport.get_extra_info("socket")
    assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    await stream.close()
    await listener.close()


async def test_a_sender_that_trickles_bytes_loses_its_place(inbox):
    listener = PushListener(inbox.take, idle=0.15)
    stream = await send_tcp(await listener.listen_tcp(HOST, 0))
    assert await trickle(stream, wrapper.encode(1, 102, bytes(1000))) < 100
    assert listener.tally.idle == 1
    await listener.close()


async def test_a_sender_waits_while_its_apdu_is_dealt_with_and_is_not_idle_meanwhile(inbox):
    inbox.hold = asyncio.Event()
    listener = PushListener(inbox.take, idle=0.1)
    port = await listener.listen_tcp(HOST, 0)
    stream = await tcp.connect(HOST, port)
    assert await flood(stream, wrapper.encode(1, 102, bytes(10_000)), 0.3)
    assert (listener.tally.apdus, listener.tally.idle) == (1, 0)
    inbox.hold.set()
    await inbox.filled(50)
    stream.abort()
    await listener.close()


async def test_datagrams_beyond_the_queue_are_dropped_and_counted(inbox, monkeypatch):
    monkeypatch.setattr("dcu.link.push.DATAGRAMS", 4)
    inbox.hold = asyncio.Event()
    listener = PushListener(inbox.take)
    endpoint = await udp.connect(HOST, await listener.listen_udp(HOST, 0))
    for n in range(20):
        await endpoint.send(wrapper.encode(1, 102, bytes((n,))))
        await asyncio.sleep(0.001)
    await asyncio.sleep(0.02)
    assert listener.tally.dropped == 15  # one in hand, four in the queue
    inbox.hold.set()
    assert len(await inbox.filled(5)) == 5
    await endpoint.close()
    await listener.close()


async def test_a_push_longer_than_allowed_is_refused_at_its_header(inbox):
    listener = PushListener(inbox.take, max_apdu=100)
    stream = await send_tcp(await listener.listen_tcp(HOST, 0), wrapper.encode(1, 102, bytes(101))[:8])
    assert await ended(stream)
    assert listener.tally.framing == 1
    endpoint = await udp.connect(HOST, await listener.listen_udp(HOST, 0))
    await endpoint.send(wrapper.encode(1, 102, bytes(101)))
    await endpoint.send(wrapper.encode(1, 102, bytes(100)))
    assert await inbox.filled(1) == [(1, 102, bytes(100))]
    assert listener.tally.framing == 2
    await endpoint.close()
    await listener.close()


async def test_damaged_hdlc_frames_are_counted_and_the_next_is_heard(inbox):
    damaged = bytearray(hdlc_wire(b"damaged"))
    damaged[-4] ^= 1
    listener = PushListener(inbox.take)
    stream = await send_tcp(await listener.listen_tcp(HOST, 0), bytes(damaged), hdlc_wire(b"good"))
    assert await inbox.filled(1) == [(1, 102, b"good")]
    assert listener.tally.damaged == 1
    await stream.close()
    await listener.close()


async def test_hostile_noise_is_counted_never_raised(inbox):
    reported = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, about: reported.append(about))
    listener = PushListener(inbox.take)
    port = await listener.listen_tcp(HOST, 0)
    endpoint = await udp.connect(HOST, await listener.listen_udp(HOST, 0))
    dice = random.Random(1)
    for n in range(60):
        noise = (b"", b"\x7e", b"\x00\x01", b"\x7e\xa7\xff")[n % 4] + dice.randbytes(dice.randrange(3000))
        sock = socket.create_connection((HOST, port))
        sock.sendall(noise)
        if n % 2:
            sock.shutdown(socket.SHUT_WR)
        sock.close()
        await endpoint.send(noise)
        await asyncio.sleep(0)
    await asyncio.sleep(0.05)
    await send_tcp(port, wrapper.encode(1, 102, b"still here"))
    await asyncio.sleep(0.05)
    assert (1, 102, b"still here") in inbox.got
    assert reported == []
    assert listener.tally.framing > 20
    print(asdict(listener.tally))
    await endpoint.close()
    await listener.close()


async def test_closing_cancels_what_is_in_hand_and_leaves_nothing_behind(inbox):
    put_back = []

    async def busy(*push):
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.02)  # a transaction that is rolled back
            put_back.append(push)

    listener = PushListener(busy)
    stream = await send_tcp(await listener.listen_tcp(HOST, 0), wrapper.encode(1, 102, b"in hand"))
    endpoint = await udp.connect(HOST, await listener.listen_udp(HOST, 0))
    await endpoint.send(wrapper.encode(1, 102, b"in hand"))
    await asyncio.sleep(0.02)
    await listener.close()
    assert len(put_back) == 2
    assert not listener.open
    assert asyncio.all_tasks() == {asyncio.current_task()}
    await stream.close()
    await endpoint.close()


async def test_closing_hangs_up_on_who_says_nothing(inbox):
    listener = PushListener(inbox.take)
    stream = await send_tcp(await listener.listen_tcp(HOST, 0))
    async with asyncio.timeout(5):
        while not listener.open:
            await asyncio.sleep(0.005)
    await listener.close()
    assert not listener.open
    assert await ended(stream)
