"""TCP and UDP streams on the loopback interface, real time."""

import asyncio
import socket
import struct

import pytest

from dcu.errors import LinkClosed, LinkError, LinkTimeout
from dcu.link import tcp, udp

from .ends import flood

HOSTS = ["127.0.0.1"] + (["::1"] if socket.has_ipv6 else [])


async def tcp_peer(host="127.0.0.1"):
    """A plain server; returns its port, a future of its first client's reader and writer, and the server."""
    client = asyncio.get_running_loop().create_future()
    server = await asyncio.start_server(lambda *ends: client.done() or client.set_result(ends), host, 0)
    return server.sockets[0].getsockname()[1], client, server


@pytest.mark.parametrize("host", HOSTS)
async def test_tcp_carries_bytes_both_ways_and_sees_the_end(host):
    port, client, server = await tcp_peer(host)
    stream = await tcp.connect(host, port)
    reader, writer = await client
    await stream.write(b"ask")
    assert await reader.read(100) == b"ask"
    writer.write(b"answer")
    assert await stream.read(3) == b"ans"
    assert await stream.read() == b"wer"
    writer.close()
    assert await stream.read() == b""
    assert await stream.read() == b""
    await asyncio.sleep(0)
    with pytest.raises(LinkClosed, match="closed"):
        await stream.write(b"late")
    await stream.close()
    server.close()


async def test_a_connection_is_quick_and_notices_a_vanished_peer():
    port, client, server = await tcp_peer()
    stream = await tcp.connect("127.0.0.1", port)
    sock = stream._transport.get_extra_info("socket")
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 90_000
    await stream.close()
    (await client)[1].close()
    server.close()


async def test_a_refused_connection_says_which_port_to_check():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with pytest.raises(LinkError, match=rf"127\.0\.0\.1:{port} refuses.*check the port"):
            await tcp.connect("127.0.0.1", port)


async def test_a_host_that_does_not_answer_is_a_timeout():
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        port = deaf.getsockname()[1]
        waiting = [socket.socket() for _ in range(4)]
        try:
            for one in waiting:  # until the backlog is full, when the kernel answers nobody
                one.setblocking(False)
                one.connect_ex(("127.0.0.1", port))
            with pytest.raises(LinkTimeout, match=rf"127\.0\.0\.1:{port} accepts no connection within 0\.2 s"):
                await tcp.connect("127.0.0.1", port, timeout=0.2)
        finally:
            for one in waiting:
                one.close()


@pytest.mark.parametrize("connect", [tcp.connect, udp.connect])
async def test_an_unknown_name_is_a_link_error(connect, monkeypatch):
    async def unknown(*args, **options):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", unknown)
    with pytest.raises(LinkError, match=r"meter\.invalid:4059: the host's name is not known"):
        await connect("meter.invalid", 4059)


async def test_an_unreachable_network_is_a_link_error():
    with pytest.raises(LinkError, match="cannot be reached"):
        await tcp.connect("255.255.255.255", 4059, timeout=1)


async def test_a_reset_connection_says_so():
    port, client, server = await tcp_peer()
    stream = await tcp.connect("127.0.0.1", port)
    _, writer = await client
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # close() then sends a RST
    writer.transport.abort()
    with pytest.raises(LinkClosed, match=rf"127\.0\.0\.1:{port} dropped the connection"):
        await stream.read()
    with pytest.raises(LinkClosed, match="closed"):
        await stream.write(b"x")
    server.close()


async def test_a_cancelled_tcp_read_loses_nothing():
    port, client, server = await tcp_peer()
    stream = await tcp.connect("127.0.0.1", port)
    _, writer = await client
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await stream.read()
    writer.write(b"kept")
    assert await stream.read() == b"kept"
    writer.close()
    await stream.close()
    server.close()


async def test_a_peer_that_sends_and_sends_is_held_back_until_somebody_reads():
    port, client, server = await tcp_peer()
    stream = await tcp.connect("127.0.0.1", port)
    _, writer = await client
    total = 8 << 20
    writer.write(bytes(total))
    await asyncio.sleep(0.1)
    assert len(stream._buffer) < tcp.READ_AHEAD + (1 << 18)
    got = 0
    while got < total:
        got += len(await stream.read())
    writer.close()
    await stream.close()
    server.close()


async def test_a_writer_is_held_back_until_the_peer_reads_and_told_when_it_hangs_up():
    port, client, server = await tcp_peer()
    stream = await tcp.connect("127.0.0.1", port)
    _, writer = await client
    assert await flood(stream, bytes(1 << 20), 0.1)
    writer.transport.abort()
    with pytest.raises(LinkClosed):
        await stream.write(b"x")
    await stream.close()
    server.close()


@pytest.mark.parametrize("stuck", [False, True], ids=["peer reads", "peer reads nothing"])
async def test_a_closed_connection_is_closed_whatever_the_peer_does(stuck, monkeypatch):
    monkeypatch.setattr(tcp, "GRACE", 0.2)
    with socket.socket() as listener:  # nobody accepts: what is sent stays where it is
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        stream = await tcp.connect("127.0.0.1", listener.getsockname()[1])
        if stuck:
            assert await flood(stream, bytes(1 << 20), 0.1)
        sock = stream._transport.get_extra_info("socket")
        await asyncio.gather(stream.close(), stream.close())
        assert sock.fileno() == -1


async def udp_peer(host="127.0.0.1"):
    """A plain UDP socket; returns it with its port."""
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((host, 0))
    sock.setblocking(False)
    return sock, sock.getsockname()[1]


@pytest.mark.parametrize("host", HOSTS)
async def test_udp_carries_datagrams_both_ways(host):
    sock, port = await udp_peer(host)
    loop = asyncio.get_running_loop()
    with sock:
        endpoint = await udp.connect(host, port)
        await endpoint.send(b"ask")
        data, where = await loop.sock_recvfrom(sock, 100)
        assert data == b"ask"
        sock.sendto(b"answer", where)
        assert await endpoint.receive() == b"answer"
        await endpoint.close()
        with pytest.raises(LinkClosed):
            await endpoint.send(b"late")
        with pytest.raises(LinkClosed):
            await endpoint.receive()


async def test_udp_takes_datagrams_of_its_peer_only():
    sock, port = await udp_peer()
    stranger, _ = await udp_peer()
    with sock, stranger:
        endpoint = await udp.connect("127.0.0.1", port)
        mine = endpoint._transport.get_extra_info("sockname")
        stranger.sendto(b"forged", mine)
        sock.sendto(b"true", mine)
        assert await endpoint.receive() == b"true"
        await endpoint.close()


async def test_udp_drops_and_counts_what_nobody_takes():
    sock, port = await udp_peer()
    with sock:
        endpoint = await udp.connect("127.0.0.1", port, queue=2)
        mine = endpoint._transport.get_extra_info("sockname")
        for n in range(5):
            sock.sendto(bytes((n,)), mine)
        await asyncio.sleep(0.05)
        assert endpoint.dropped == 3
        assert await endpoint.receive() == b"\x00"
        await endpoint.close()


async def test_udp_to_a_port_where_nothing_listens_is_a_link_error_and_the_endpoint_stays_usable():
    sock, port = await udp_peer()
    sock.close()
    endpoint = await udp.connect("127.0.0.1", port)
    for _ in range(2):
        await endpoint.send(b"anybody?")
        with pytest.raises(LinkError, match=rf"127\.0\.0\.1:{port}: nothing listens on that UDP port"):
            await endpoint.receive()
    await endpoint.close()


async def test_what_does_not_fit_a_datagram_is_a_link_error():
    sock, port = await udp_peer()
    with sock:
        endpoint = await udp.connect("127.0.0.1", port)
        with pytest.raises(LinkError, match="65508 bytes do not fit"):
            await endpoint.send(bytes(65508))
        await endpoint.close()


def test_ipv6_addresses_are_written_in_brackets():
    assert tcp.address("2001:db8::1", 4059) == "[2001:db8::1]:4059"
    assert tcp.address("192.0.2.1", 4059) == "192.0.2.1:4059"
