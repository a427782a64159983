"""The control socket: what a client may do, and what it cannot do to the collector."""

import asyncio
import contextlib
import json
import os
import socket
import stat

import pytest

from dcu.collect.events import Events
from dcu.control.client import ControlClient, ask, running
from dcu.control.messages import MAX_EVENTS, Fault, revive
from dcu.control.server import CALLS, CONNECTIONS, UNWRITTEN, ControlServer, Permitted
from dcu.errors import AccessDenied, ConfigError, DcuError, LinkClosed, LinkError, LinkTimeout


class Served:
    def __init__(self):
        self.actors = []
        self.cancelled = 0
        self.release = asyncio.Event()

    async def handle(self, method, actor, params):
        self.actors.append(actor)
        match method:
            case "echo":
                return params
            case "denied":
                raise AccessDenied("3,1-0:1.8.0*255,2: read-write-denied", 3)
            case "bug":
                raise ZeroDivisionError
            case "large":
                return "x" * (17 << 20)
            case "long":
                return "x" * (1 << 20)
            case "none":
                return object()
            case "forever":
                try:
                    await self.release.wait()
                except asyncio.CancelledError:
                    self.cancelled += 1
                    raise
        raise ConfigError(f"no method {method!r}")


@pytest.fixture
async def served():
    return Served()


@pytest.fixture
def events():
    return Events()


@pytest.fixture
async def server(tmp_path, served, events):
    server = await ControlServer.start(tmp_path / "run" / "control.sock", served.handle, events)
    yield server
    await server.close()
    assert not server.path.exists()


@pytest.fixture
async def client(server):
    async with await ControlClient.connect(server.path) as client:
        yield client


async def test_a_call_is_answered(client, served):
    assert await client.call("echo", number=1, text="Zähler") == {"number": 1, "text": "Zähler"}
    assert served.actors == [f"uid {os.getuid()}, pid {os.getpid()}"]


async def test_calls_overlap(client, served):
    slow = asyncio.create_task(client.call("forever"))
    assert await client.call("echo") == {}
    served.release.set()
    with pytest.raises(ConfigError):
        await slow


async def test_an_error_comes_back_as_what_it_was(client):
    with pytest.raises(AccessDenied, match="read-write-denied"):
        await client.call("denied")
    with pytest.raises(DcuError, match=r"internal error \(ZeroDivisionError\)"):
        await client.call("bug")


def test_an_unknown_kind_of_error_is_still_an_error():
    assert type(revive(Fault("NoSuchError", "text"))) is DcuError
    assert type(revive(Fault("Path", "text"))) is DcuError
    assert str(revive(Fault("CounterReplayed", "text"))) == "text"


async def test_the_socket_is_for_its_owner_and_group(server):
    assert stat.S_IMODE(server.path.stat().st_mode) == 0o660


async def test_what_is_no_request_is_answered_and_the_connection_lives(server):
    reader, writer = await asyncio.open_unix_connection(str(server.path))
    for line in (
        b"nonsense\n",
        b"{}\n",
        b'{"id": "x", "method": "echo"}\n',
        b'{"id": 1, "method": "echo", "more": 1}\n',
    ):
        writer.write(line)
        assert json.loads(await reader.readline())["error"]["kind"] == "ConfigError"
    writer.write(b'{"id": 7, "method": "echo"}\n')
    assert json.loads(await reader.readline()) == {"id": 7, "result": {}}
    writer.close()


async def test_a_request_without_end_ends_its_connection_only(server):
    reader, writer = await asyncio.open_unix_connection(str(server.path))
    writer.write(b"x" * (5 << 20))
    with contextlib.suppress(ConnectionError):  # where the system tells of the end before it gives the answer
        assert b"at most" in await reader.read()
    writer.close()
    async with await ControlClient.connect(server.path) as client:
        assert await client.call("echo") == {}


async def silent(server, line, seconds=0.3):
    """A peer that sends and never reads; returns its socket."""
    peer = socket.socket(socket.AF_UNIX)
    peer.connect(str(server.path))
    peer.setblocking(False)
    until = asyncio.get_running_loop().time() + seconds
    while asyncio.get_running_loop().time() < until:
        with contextlib.suppress(BlockingIOError, ConnectionError):
            peer.send(line)
        await asyncio.sleep(0.001)
    return peer


async def gone(server, left=0):
    async with asyncio.timeout(5):
        while len(server._connections) > left:
            await asyncio.sleep(0.01)


async def test_peers_that_do_not_read_what_is_wrong_with_their_lines_leave_no_connection_behind(server):
    for peer in await asyncio.gather(*(silent(server, b"x\n" * 1_000) for _ in range(CONNECTIONS))):
        peer.close()
    await gone(server)
    async with await ControlClient.connect(server.path) as client:
        assert await client.call("echo") == {}


async def test_answers_that_nobody_reads_are_bounded_and_their_reader_is_cut_off(server, monkeypatch):
    monkeypatch.setattr("dcu.control.server.STALLED", 1.0)
    peer = await silent(server, b'{"id":1,"method":"long"}\n' * CALLS)
    (connection,) = server._connections
    assert len(connection._calls) <= CALLS
    assert 0 < server.unwritten <= UNWRITTEN + CALLS * 200
    await gone(server)
    assert server.unwritten == 0
    peer.close()


async def test_answers_without_a_reader_do_not_keep_the_small_ones_of_others_from_going_out(server):
    peer = await silent(server, b'{"id":1,"method":"long"}\n' * CALLS)
    async with await ControlClient.connect(server.path) as client:
        assert await client.call("echo") == {}
    peer.close()


async def test_an_idle_peer_makes_way_for_a_new_one_and_a_subscriber_does_not(server, events):
    async with contextlib.AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(await ControlClient.connect(server.path)) for _ in range(CONNECTIONS)
        ]
        await clients[0].subscribe("alarm")
        await asyncio.gather(*(client.call("echo") for client in clients))
        await clients[1].call("echo")
        late = await stack.enter_async_context(await ControlClient.connect(server.path))
        assert await late.call("echo") == {}
        assert await clients[1].call("echo") == {}
        assert len(server._connections) == CONNECTIONS
        events.tell("alarm", number=1)
        assert (await anext(clients[0].events())).data == {"number": 1}


async def test_where_all_are_at_work_a_new_user_gets_a_place_and_the_same_user_none(server, monkeypatch):
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(CONNECTIONS):
            client = await stack.enter_async_context(await ControlClient.connect(server.path))
            await client.subscribe("alarm")
        turned_away = await stack.enter_async_context(await ControlClient.connect(server.path))
        with pytest.raises(LinkClosed):
            await turned_away.call("echo")
        monkeypatch.setattr("dcu.control.server._peer", lambda writer: (4711, "another user"))
        welcome = await stack.enter_async_context(await ControlClient.connect(server.path))
        assert await welcome.call("echo") == {}


async def test_a_peer_that_does_nothing_is_closed_and_a_subscriber_is_not(server, monkeypatch):
    monkeypatch.setattr("dcu.control.server.IDLE", 0.5)
    async with await ControlClient.connect(server.path) as idle, await ControlClient.connect(server.path) as subscriber:
        await subscriber.subscribe("alarm")
        await idle.call("echo")
        await gone(server, 1)
        with pytest.raises(LinkClosed):
            await idle.call("echo")
        assert await subscriber.call("echo") == {}


async def test_what_no_answer_can_carry_and_an_id_beyond_all_numbers_are_errors(server, client):
    with pytest.raises(DcuError, match="internal error"):
        await client.call("none")
    reader, writer = await asyncio.open_unix_connection(str(server.path))
    writer.write(b'{"id": 18446744073709551616, "method": "echo"}\n')
    assert json.loads(await reader.readline())["error"]["kind"] == "ConfigError"
    writer.close()


async def test_an_answer_that_is_too_large_is_an_error(client):
    with pytest.raises(DcuError, match="ask for less"):
        await client.call("large")


async def test_calls_at_a_time_are_bounded(client, served):
    calls = [asyncio.create_task(client.call("forever")) for _ in range(CALLS)]
    await asyncio.sleep(0.1)
    with pytest.raises(DcuError, match="at most"):
        await client.call("echo")
    served.release.set()
    await asyncio.gather(*calls, return_exceptions=True)


async def test_a_client_that_goes_withdraws_its_calls(server, served):
    client = await ControlClient.connect(server.path)
    task = asyncio.create_task(client.call("forever"))
    await asyncio.sleep(0.05)
    await client.close()
    with pytest.raises(LinkClosed):
        await task
    for _ in range(100):
        await asyncio.sleep(0.01)
        if served.cancelled:
            break
    assert served.cancelled == 1


async def test_events_come_to_who_subscribed(client, events):
    events.tell("meter", meter="m", state="ok")  # nobody hears
    await client.subscribe("meter", "alarm")
    events.tell("meter", meter="m", state="unreachable")
    events.tell("reading", meter="m")
    events.tell("alarm", meter="m")
    heard = client.events()
    assert (await anext(heard)).data == {"meter": "m", "state": "unreachable"}
    assert (await anext(heard)).topic == "alarm"
    with pytest.raises(ConfigError, match="topics"):
        await client.subscribe("weather")


async def test_a_subscriber_who_does_not_read_loses_events_and_learns_how_many(server, events):
    _, writer = reader, writer = await asyncio.open_unix_connection(str(server.path))
    writer.write(b'{"id": 1, "method": "subscribe"}\n')
    await reader.readline()
    for number in range(10 * MAX_EVENTS):
        events.tell("alarm", number=number, text="x" * 1_000)
        if number % 100 == 0:
            await asyncio.sleep(0)
    lost = 0
    seen = 0
    async with asyncio.timeout(10):
        while seen + lost < 10 * MAX_EVENTS:
            events.tell("alarm", number=-1)
            data = json.loads(await reader.readline())["data"]
            lost += data.get("dropped", 0)
            seen += data["number"] >= 0
    assert lost > 0
    writer.close()


async def test_the_end_of_the_collector_ends_events_and_calls(tmp_path, served, events):
    server = await ControlServer.start(tmp_path / "control.sock", served.handle, events)
    client = await ControlClient.connect(server.path)
    await client.subscribe()
    call = asyncio.create_task(client.call("forever"))
    await asyncio.sleep(0.05)
    await server.close()
    assert [event async for event in client.events()] == []
    with pytest.raises(LinkClosed):
        await call
    with pytest.raises(LinkClosed):
        await client.call("echo")
    await client.close()


async def test_a_second_collector_is_turned_away_and_a_dead_ones_socket_is_cleared(tmp_path, served, events):
    path = tmp_path / "control.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    server = await ControlServer.start(path, served.handle, events)
    with pytest.raises(ConfigError, match="another collector"):
        await ControlServer.start(path, served.handle, events)
    await asyncio.sleep(0.05)  # the first one sees the second knock, and leave
    await server.close()
    path.write_text("a file")
    with pytest.raises(ConfigError, match="something else"):
        await ControlServer.start(path, served.handle, events)


async def test_without_a_collector_the_client_says_how_to_start_one(tmp_path):
    with pytest.raises(LinkError, match="dcu run"):
        await ControlClient.connect(tmp_path / "none.sock")


def test_asking_without_a_loop(tmp_path):
    assert not running(tmp_path / "none.sock")
    with pytest.raises(LinkError):
        ask(tmp_path / "none.sock", "status")


def test_timeouts_revive_on_their_branch():
    assert isinstance(revive(Fault("LinkTimeout", "x")), LinkTimeout)


async def test_another_user_may_call_what_is_permitted_and_nothing_else(tmp_path, served, events):
    """As the gateway, taken over, would: to the server we are nobody's master."""
    permitted = Permitted(frozenset({os.getuid() + 1}), frozenset({"echo"}))
    server = await ControlServer.start(tmp_path / "control.sock", served.handle, events, permitted)
    try:
        async with await ControlClient.connect(server.path) as client:
            assert await client.call("echo", number=1) == {"number": 1}
            with pytest.raises(ConfigError, match=r"may not call 'denied': \[control\] others"):
                await client.call("denied")
            with pytest.raises(ConfigError, match="may not call 'subscribe'"):
                await client.subscribe()
            assert len(served.actors) == 1  # the refused ones never came to the handler
    finally:
        await server.close()


async def test_a_master_may_call_everything(tmp_path, served, events):
    permitted = Permitted(frozenset({os.getuid()}), frozenset())
    server = await ControlServer.start(tmp_path / "control.sock", served.handle, events, permitted)
    try:
        async with await ControlClient.connect(server.path) as client:
            assert await client.call("echo", number=1) == {"number": 1}
    finally:
        await server.close()
