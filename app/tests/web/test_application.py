"""The HTTP application: what strangers, viewers and operators get."""

import asyncio
import json
import re

import pytest
from aiohttp import CookieJar, WSMsgType, WSServerHandshakeError
from aiohttp.test_utils import TestClient, TestServer

from dcu.errors import ConfigError
from dcu.web import accounts, application
from dcu.web.accounts import Accounts, Role
from dcu.web.application import COOKIE, VIEWERS, Rules
from dcu.web.source import Hub

PAGE = "<!doctype html><title>street</title><script>let a = 1;</script><style>p{}</style>"
HELLO = '{"e":"hello","can":["cut","mend"],"why":""}'
PASSWORD = "correct horse battery"


class Street:
    can = ("cut", "mend")

    def __init__(self):
        self.hub = Hub()
        self.commands = []
        self.known = [b'{"e":"street"}', b'{"e":"join"}']

    def opening(self):
        return self.known

    async def command(self, wanted, actor):
        if wanted.get("do") != "cut":
            raise ConfigError("no such command: cut")
        self.commands.append((wanted, actor))
        return {"done": True}

    async def layers(self, frame):
        return [["MAC", [["source", "0000"]]]] if frame == 7 else None


@pytest.fixture
def street():
    return Street()


@pytest.fixture
async def served(street):
    """The application under given rules, and a client whose page it is."""
    opened = []

    async def serve(rules):
        client = TestClient(TestServer(application.application(PAGE, street, rules)), cookie_jar=CookieJar(unsafe=True))
        await client.start_server()
        opened.append(client)
        return client

    yield serve
    for client in opened:
        await client.close()


@pytest.fixture
async def open_house(served):
    return await served(Rules(None, commands=True))


@pytest.fixture
async def guarded(served, tmp_path, monkeypatch):
    users = tmp_path / "users.toml"
    accounts.put(users, "anna", Role.OPERATOR, PASSWORD)
    accounts.put(users, "vera", Role.VIEWER, PASSWORD)
    monkeypatch.setattr(application, "COOKIE", "dcu")  # the real name wants TLS
    return await served(Rules(Accounts(users, asyncio.get_running_loop().time), commands=True))


def own(client):
    return {"Origin": f"http://{client.host}:{client.port}"}


async def log_in(client, name):
    answer = await client.post("/api/login", json={"name": name, "password": PASSWORD}, headers=own(client))
    assert answer.status == 200, await answer.text()
    token = re.search(r"dcu=([^;]+)", answer.headers["Set-Cookie"])[1]  # Secure: the client's jar keeps it for TLS only
    client.session.headers["Cookie"] = f"dcu={token}"
    return await answer.json()


async def test_the_page_comes_whole_and_may_run_its_own_script_only(open_house):
    answer = await open_house.get("/")
    assert await answer.text() == PAGE
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'sha256-" in policy
    assert "unsafe-inline" not in re.search("script-src[^;]*", policy)[0]
    assert "frame-ancestors 'none'" in policy


@pytest.mark.parametrize("path", ["/", "/api/session"])
async def test_another_host_name_is_refused_in_an_open_house(open_house, path):
    answer = await open_house.get(path, headers={"Host": "evil.example"})
    assert answer.status == 403


@pytest.mark.parametrize("origin", [None, "http://evil.example", "null", "http://127.0.0.1:1"])
async def test_another_page_can_neither_command_nor_listen(open_house, street, origin):
    headers = {} if origin is None else {"Origin": origin}
    answer = await open_house.post("/api/command", json={"do": "cut", "cable": 3}, headers=headers)
    assert answer.status == 403
    with pytest.raises(WSServerHandshakeError) as refused:
        await open_house.ws_connect("/api/live", headers=headers)
    assert refused.value.status == 403
    assert not street.commands


async def test_a_command_of_our_page_is_done_and_a_mistake_is_explained(open_house, street):
    answer = await open_house.post("/api/command", json={"do": "cut", "cable": 3}, headers=own(open_house))
    assert (answer.status, await answer.json()) == (200, {"done": True})
    assert street.commands == [({"do": "cut", "cable": 3}, "web")]
    answer = await open_house.post("/api/command", json={"do": "jump"}, headers=own(open_house))
    assert (answer.status, await answer.json()) == (409, {"error": "no such command: cut"})


@pytest.mark.parametrize("body", ["", "[1]", "{", '"' * 9, "{" * 5000, "\ud800".encode("utf-8", "surrogatepass")])
async def test_a_body_that_is_none_is_refused(open_house, body):
    headers = {**own(open_house), "Content-Type": "application/json"}
    answer = await open_house.post("/api/command", data=body, headers=headers)
    assert answer.status == 400


async def test_a_body_is_bounded(open_house):
    answer = await open_house.post("/api/command", json={"do": "x" * 20_000}, headers=own(open_house))
    assert answer.status == 413


async def test_who_listens_gets_the_opening_and_then_each_event(open_house, street):
    async with open_house.ws_connect("/api/live", headers=own(open_house)) as channel:
        assert (await channel.receive_str()).splitlines() == [HELLO, '{"e":"street"}', '{"e":"join"}']
        street.hub.tell(b'{"e":"frame"}')
        assert await channel.receive_str() == '{"e":"frame"}'
    for _ in range(100):
        if not len(street.hub):
            break
        await asyncio.sleep(0.01)
    assert not len(street.hub)


async def test_who_does_not_read_is_told_what_was_lost_and_begins_anew(open_house, street):
    street.hub._waiting = 100
    async with open_house.ws_connect("/api/live", headers=own(open_house)) as channel:
        await channel.receive_str()
        for _ in range(50):
            street.hub.tell(b'{"e":"frame"}')
        lines = []
        while not any('"lost"' in line for line in lines):
            lines += (await channel.receive_str()).splitlines()
        lost = next(json.loads(line) for line in lines if '"lost"' in line)
        assert lost["events"] + sum("frame" in line for line in lines) == 50
        assert (await channel.receive_str()).splitlines() == [HELLO, '{"e":"street"}', '{"e":"join"}']


async def test_listeners_are_bounded(open_house, street):
    viewers = [street.hub.join() for _ in range(VIEWERS)]
    with pytest.raises(WSServerHandshakeError) as refused:
        await open_house.ws_connect("/api/live", headers=own(open_house))
    assert refused.value.status == 503
    street.hub.leave(viewers[0])
    async with open_house.ws_connect("/api/live", headers=own(open_house)) as channel:
        assert await channel.receive_str()


async def test_a_frame_is_shown_layer_by_layer(open_house):
    assert await (await open_house.get("/api/frames/7")).json() == [["MAC", [["source", "0000"]]]]
    assert (await open_house.get("/api/frames/8")).status == 404
    assert (await open_house.get("/api/frames/x")).status == 404
    assert (await open_house.get(f"/api/frames/{'9' * 50}")).status == 404


@pytest.mark.parametrize(("method", "path"), [("GET", "/api/live"), ("GET", "/api/frames/7"), ("POST", "/api/command")])
async def test_without_a_log_in_there_is_the_page_and_nothing_else(guarded, street, method, path):
    answer = await guarded.request(method, path, json={"do": "cut"}, headers=own(guarded))
    assert answer.status == 401
    assert await (await guarded.get("/api/session")).json() == {
        "user": None, "login": True, "commands": False, "why_not": "only an operator gives commands"
    }  # fmt: skip
    assert (await guarded.get("/")).status == 200
    assert not street.commands


async def test_a_viewer_looks_and_does_not_command(guarded, street):
    assert (await log_in(guarded, "vera"))["commands"] is False
    async with guarded.ws_connect("/api/live", headers=own(guarded)) as channel:
        assert json.loads((await channel.receive_str()).splitlines()[0])["can"] == []
    assert (await guarded.get("/api/live")).status == 426
    assert (await guarded.get("/api/frames/7")).status == 200
    answer = await guarded.post("/api/command", json={"do": "cut"}, headers=own(guarded))
    assert answer.status == 403
    assert not street.commands


async def test_an_operator_commands_under_his_name_until_he_logs_out(guarded, street):
    assert await log_in(guarded, "anna") == {"user": "anna", "login": False, "commands": True, "why_not": ""}
    answer = await guarded.post("/api/command", json={"do": "cut"}, headers=own(guarded))
    assert answer.status == 200
    assert street.commands[0][1] == "web anna"
    await guarded.post("/api/logout", headers=own(guarded))
    assert (await guarded.post("/api/command", json={"do": "cut"}, headers=own(guarded))).status == 401


async def test_a_device_that_is_not_commissioned_takes_no_command_of_anybody(served, street):
    client = await served(Rules(None, commands=False, why_not="not commissioned"))
    answer = await client.post("/api/command", json={"do": "cut"}, headers=own(client))
    assert (answer.status, await answer.json()) == (403, {"error": "not commissioned"})
    assert not street.commands


async def test_a_stream_ends_with_its_session(guarded, street):
    await log_in(guarded, "vera")
    async with guarded.ws_connect("/api/live", headers=own(guarded)) as channel:
        await channel.receive_str()
        await guarded.post("/api/logout", headers=own(guarded))
        street.hub.tell(b'{"e":"one"}')
        street.hub.tell(b'{"e":"two"}')
        kinds = [(await channel.receive()).type for _ in range(2)]
    assert WSMsgType.CLOSE in kinds


async def test_the_cookie_is_for_tls_and_for_no_script(guarded):
    answer = await guarded.post("/api/login", json={"name": "anna", "password": PASSWORD}, headers=own(guarded))
    assert COOKIE.startswith("__Host-")
    for flag in ("HttpOnly", "Secure", "SameSite=Strict", "Path=/"):
        assert flag in answer.headers["Set-Cookie"]


async def test_a_wrong_password_says_no_more_than_that(guarded):
    for name in ("anna", "nobody"):
        answer = await guarded.post(
            "/api/login", json={"name": name, "password": "wrong wrong wrong"}, headers=own(guarded)
        )
        assert (answer.status, await answer.json()) == (401, {"error": "the name or the password is wrong"})


async def test_a_bug_tells_a_stranger_nothing(open_house, street):
    async def broken(wanted, actor):
        raise ZeroDivisionError("secret inside")

    street.command = broken
    answer = await open_house.post("/api/command", json={}, headers=own(open_house))
    assert answer.status == 500
    assert "secret" not in await answer.text()
