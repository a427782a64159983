"""The server's side: meters that listen."""

import asyncio
import resource
import tracemalloc

import pytest

from dcu.errors import LinkClosed
from dcu.link import listen, tcp, udp, wrapper
from dcu.link.channel import DatagramChannel, StreamChannel

from .ends import ended, trickle

HOST = "127.0.0.1"


def echo(client, server, apdu):
    return None if apdu == b"hush" else bytes((client, server)) + apdu


async def test_a_meter_answers_over_tcp():
    server = await listen.serve_tcp(HOST, 0, lambda peer: echo)
    channel = StreamChannel(await tcp.connect(HOST, server.port), 16, 1)
    await channel.send(b"hush")
    await channel.send(b"ask")
    assert await channel.receive() == b"\x10\x01ask"
    await channel.close()
    await server.close()


async def test_a_meter_answers_over_udp():
    server = await listen.serve_udp(HOST, 0, lambda peer: echo)
    channel = DatagramChannel(await udp.connect(HOST, server.port), 16, 1)
    await channel._datagram.send(b"noise")
    await channel.send(b"hush")
    await channel.send(b"ask")
    assert await channel.receive() == b"\x10\x01ask"
    assert server.malformed == 1
    await channel.close()
    await server.close()


@pytest.mark.parametrize("serve", [listen.serve_tcp, listen.serve_udp])
async def test_a_meter_knows_where_it_was_called_and_can_push(serve):
    peers = []
    server = await serve(HOST, 0, lambda peer: peers.append(peer) or echo)
    if serve is listen.serve_tcp:
        channel = StreamChannel(await tcp.connect(HOST, server.port), 16, 1)
    else:
        channel = DatagramChannel(await udp.connect(HOST, server.port), 16, 1)
    await channel.send(b"ask")
    await channel.receive()
    (peer,) = peers
    assert peer.local == (HOST, server.port)
    assert peer.remote[0] == HOST
    peer.push(1, 16, b"unasked")
    assert await channel.receive() == b"unasked"
    await server.close()
    with pytest.raises(LinkClosed):
        peer.push(1, 16, b"late")
    await channel.close()


async def test_a_client_that_the_factory_turns_away_or_that_is_one_too_many_is_refused():
    answers = [None, echo]
    server = await listen.serve_tcp(HOST, 0, lambda peer: answers.pop(0), limit=1)
    unknown = await tcp.connect(HOST, server.port)
    assert await ended(unknown)
    welcome = StreamChannel(await tcp.connect(HOST, server.port), 16, 1)
    await welcome.send(b"ask")
    await welcome.receive()
    surplus = await tcp.connect(HOST, server.port)
    assert await ended(surplus)
    assert server.refused == 2
    await welcome.close()
    await server.close()


async def test_a_stream_that_is_not_the_wrapper_is_closed_after_its_good_frames():
    server = await listen.serve_tcp(HOST, 0, lambda peer: echo)
    stream = await tcp.connect(HOST, server.port)
    await stream.write(wrapper.encode(16, 1, b"ask") + b"\xff\xff")
    assert await stream.read() == wrapper.encode(1, 16, b"\x10\x01ask")
    assert await stream.read() == b""
    assert server.malformed == 1
    await server.close()


async def test_an_idle_client_is_cut_off_even_if_it_trickles_bytes():
    server = await listen.serve_tcp(HOST, 0, lambda peer: echo, idle=0.15)
    stream = await tcp.connect(HOST, server.port)
    assert await trickle(stream, wrapper.encode(16, 1, bytes(1000))) < 100
    assert server.expired == 1
    await server.close()


async def test_an_active_client_is_not_cut_off():
    server = await listen.serve_tcp(HOST, 0, lambda peer: echo, idle=0.2)
    channel = StreamChannel(await tcp.connect(HOST, server.port), 16, 1)
    for _ in range(4):
        await channel.send(b"ask")
        await channel.receive()
        await asyncio.sleep(0.1)
    await channel.close()
    await server.close()


async def test_a_client_that_asks_and_does_not_read_is_not_heard_again_until_it_reads():
    asked = 0

    def talkative(client, server, apdu):
        nonlocal asked
        asked += 1
        return bytes(60_000)

    server = await listen.serve_tcp(HOST, 0, lambda peer: talkative)
    stream = await tcp.connect(HOST, server.port)
    count = 1000
    await stream.write(wrapper.encode(16, 1, b"?") * count)
    await asyncio.sleep(0.2)
    assert asked < 400  # what the kernel's buffers took, no more
    decoder, answers = wrapper.Decoder(), 0
    while answers < count:
        answers += sum(1 for _ in decoder.feed(await stream.read()))
    assert asked == count
    await stream.close()
    await server.close()


async def test_closing_lets_every_client_go_also_one_that_never_reads(monkeypatch):
    monkeypatch.setattr(listen, "GRACE", 0.05)
    server = await listen.serve_tcp(HOST, 0, lambda peer: lambda *ask: bytes(60_000))
    deaf = await tcp.connect(HOST, server.port)
    await deaf.write(wrapper.encode(16, 1, b"?") * 1000)
    clients = [await tcp.connect(HOST, server.port) for _ in range(5)]
    await asyncio.sleep(0.1)
    await server.close()
    assert not server.peers
    assert [await client.read() for client in clients] == [b""] * 5
    deaf.abort()


async def test_udp_remembers_a_bounded_number_of_peers_and_forgets_silent_ones():
    server = await listen.serve_udp(HOST, 0, lambda peer: echo, limit=3, idle=0.1)

    async def ask():
        channel = DatagramChannel(await udp.connect(HOST, server.port), 16, 1)
        await channel.send(b"ask")
        await channel.receive()
        await channel.close()

    for _ in range(5):
        await ask()
    assert (len(server.peers), server.refused) == (3, 2)
    await asyncio.sleep(0.15)
    await ask()
    assert (len(server.peers), server.expired) == (1, 3)
    await server.close()


async def test_a_thousand_connections_stay_within_bounded_memory():
    count = 1000
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 2 * count + 100:
        pytest.skip(f"{hard} open files are allowed, {2 * count + 100} needed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2 * count + 100), hard))
    server = await listen.serve_tcp(HOST, 0, lambda peer: echo)
    tracemalloc.start()
    streams = []
    for _ in range(count // 50):
        streams += await asyncio.gather(*(tcp.connect(HOST, server.port) for _ in range(50)))
    channels = [StreamChannel(stream, 16, 1) for stream in streams]
    for channel in channels:
        await channel.send(b"ask")
    assert {await channel.receive() for channel in channels} == {b"\x10\x01ask"}
    used = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert len(server.peers) == count
    assert used < count * 16_000  # both ends of a connection; StreamReader and StreamWriter alone take as much
    for channel in channels:
        await channel.close()
    await server.close()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    print(f"{used / count:.0f} bytes a connection, both ends")
