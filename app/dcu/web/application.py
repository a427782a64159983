"""The HTTP application: the page, its event stream over WebSocket, commands, log-in.

Everybody who can reach it is a stranger: requests are small and bounded, an answer tells what to do and nothing of the
inside. A command or a stream is taken only from a page that we served (Origin), and only under a name that is ours
(Host), so that no other page in the same browser can use it. The page runs the one script whose hash we send along.

Source: RFC 6455 (WebSocket); W3C Content Security Policy Level 3; OWASP Cross-Site Request Forgery cheat sheet.
"""

import asyncio
import base64
import gzip
import hashlib
import logging
import re
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

import msgspec
from aiohttp import WSCloseCode, WSMsgType, web

from dcu.errors import DcuError, DecodeError
from dcu.total import from_json
from dcu.web.accounts import Accounts, Role, Session, Throttled
from dcu.web.source import Source, Viewer

COOKIE = "__Host-dcu"
LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})
LARGEST = 16 << 10  # bytes of a request
VIEWERS = 16
PING = 20.0  # seconds between two signs of life of a WebSocket
ASKED = 10.0  # seconds that a log-in or a frame may take
COMMANDED = 120.0  # seconds that a command may take

log = logging.getLogger(__name__)

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Rules:
    """Who may do what. accounts: None where everybody who can reach it may (the simulation, on loopback).

    commands: whether anything may be commanded at all; why_not: what is said where not. hosts: the names under which it
    may be asked for; empty: any (where a log-in and TLS stand before it).
    """

    accounts: Accounts | None
    commands: bool
    why_not: str = ""
    hosts: frozenset[str] = LOOPBACK


class _LogIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    password: str


def application(page: str, source: Source, rules: Rules) -> web.Application:
    """What `aiohttp.web` serves. page: the HTML that `/` gives."""
    site = _Site(page, source, rules)
    app = web.Application(middlewares=[site.guard], client_max_size=LARGEST)
    app.router.add_get("/", site.page)
    app.router.add_get("/api/session", site.session)
    app.router.add_post("/api/login", site.log_in)
    app.router.add_post("/api/logout", site.log_out)
    app.router.add_get("/api/live", site.live)
    app.router.add_get("/api/frames/{number:[0-9]{1,12}}", site.frame)
    app.router.add_post("/api/command", site.command)
    app.on_shutdown.append(site.close)
    return app


class _Site:
    def __init__(self, page: str, source: Source, rules: Rules) -> None:
        self._page = gzip.compress(page.encode(), mtime=0)
        self._headers = _security_headers(page, rules)
        self._source = source
        self._rules = rules
        self._open: set[web.WebSocketResponse] = set()

    @web.middleware
    async def guard(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        """What holds for every request, and what becomes of every error."""
        try:
            self._refuse_strangers(request)
            response = await handler(request)
        except web.HTTPException as refused:
            response = _told(refused.status, refused.reason)
        except Throttled as error:
            response = _told(429, str(error))
        except DcuError as error:
            response = _told(409, str(error))
        except TimeoutError:
            response = _told(504, "it took too long: try again")
        except Exception:  # a bug of ours: this request fails
            log.exception("%s %s", request.method, request.path)
            response = _told(500, "internal error: the log of the service has the details")
        if not response.prepared:
            response.headers.update(self._headers)
        return response

    def _refuse_strangers(self, request: web.Request) -> None:
        hosts = self._rules.hosts
        if hosts and _name(request.host) not in hosts:
            raise web.HTTPForbidden(reason="this name is not served here")
        origin = request.headers.get("Origin")
        needed = request.method != "GET" or "Upgrade" in request.headers
        if needed and (origin is None or urlsplit(origin).netloc != request.host):
            raise web.HTTPForbidden(reason="only the page that is served here may ask this")

    # --- the page and who looks at it

    async def page(self, request: web.Request) -> web.Response:
        headers = {"Content-Encoding": "gzip", "Cache-Control": "no-cache"}
        return web.Response(body=self._page, content_type="text/html", charset="utf-8", headers=headers)

    async def session(self, request: web.Request) -> web.Response:
        return web.json_response(self._standing(self._session(request)))

    async def log_in(self, request: web.Request) -> web.Response:
        accounts = self._rules.accounts
        if accounts is None:
            return web.json_response(self._standing(None))
        given = await _body(request, _LogIn)
        async with asyncio.timeout(ASKED):
            token = await accounts.log_in(given.name, given.password, request.remote or "")
        log.info("log-in of %r from %s: %s", given.name[:32], request.remote, "good" if token else "refused")
        if token is None:
            return _told(401, "the name or the password is wrong")
        response = web.json_response(self._standing(accounts.session(token)))
        response.set_cookie(COOKIE, token, secure=True, httponly=True, samesite="Strict", path="/")
        return response

    async def log_out(self, request: web.Request) -> web.Response:
        if self._rules.accounts:
            self._rules.accounts.log_out(request.cookies.get(COOKIE, ""))
        response = web.json_response({})
        response.del_cookie(COOKIE, secure=True, httponly=True, samesite="Strict", path="/")
        return response

    def _session(self, request: web.Request) -> Session | None:
        return self._rules.accounts.session(request.cookies.get(COOKIE, "")) if self._rules.accounts else None

    def _standing(self, session: Session | None) -> dict[str, Any]:
        """What the page has to know: whether to ask for a name, and whether to offer commands."""
        if self._rules.accounts is None:
            return {"user": None, "login": False, "commands": self._rules.commands, "why_not": self._rules.why_not}
        why = self._forbidden(session)
        user = session.user if session else None
        return {"user": user, "login": session is None, "commands": not why, "why_not": why}

    def _forbidden(self, session: Session | None) -> str:
        """Why this session may give no command; empty where it may."""
        if not self._rules.commands:
            return self._rules.why_not
        if self._rules.accounts and (session is None or session.role is not Role.OPERATOR):
            return "only an operator gives commands"
        return ""

    def _permitted(self, request: web.Request) -> Session | None:
        session = self._session(request)
        if self._rules.accounts and session is None:
            raise web.HTTPUnauthorized(reason="log in first")
        return session

    # --- what it shows and takes

    async def frame(self, request: web.Request) -> web.Response:
        self._permitted(request)
        async with asyncio.timeout(ASKED):
            layers = await self._source.layers(int(request.match_info["number"]))
        if layers is None:
            raise web.HTTPNotFound(reason="this frame is not kept any more")
        return web.json_response(layers)

    async def command(self, request: web.Request) -> web.Response:
        session = self._permitted(request)
        if why := self._forbidden(session):
            raise web.HTTPForbidden(reason=why)
        wanted = await _body(request, dict[str, Any])
        actor = f"web {session.user}" if session else "web"
        async with asyncio.timeout(COMMANDED):
            return web.json_response(await self._source.command(wanted, actor))

    async def live(self, request: web.Request) -> web.StreamResponse:
        self._permitted(request)
        if not web.WebSocketResponse().can_prepare(request):
            return _told(426, "this is a WebSocket")  # a page that was disconnected asks whether it is still logged in
        hub = self._source.hub
        if len(hub) >= VIEWERS:
            raise web.HTTPServiceUnavailable(reason=f"{VIEWERS} look at it already: try again later")
        channel = web.WebSocketResponse(heartbeat=PING, max_msg_size=LARGEST)
        channel.headers.update(self._headers)
        viewer = hub.join()
        try:
            await channel.prepare(request)
            self._open.add(channel)
            await self._show(request, channel, viewer)
        finally:
            hub.leave(viewer)
            self._open.discard(channel)
        return channel

    async def _show(self, request: web.Request, channel: web.WebSocketResponse, viewer: Viewer) -> None:
        """Send until the browser goes, or its session ends."""
        viewer.begin(self._opening(request))
        sending = asyncio.create_task(self._send(request, channel, viewer))
        try:
            async for message in channel:  # a page says nothing here; reading notices that it goes
                if message.type is not WSMsgType.PING:
                    break
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)

    async def _send(self, request: web.Request, channel: web.WebSocketResponse, viewer: Viewer) -> None:
        accounts, token = self._rules.accounts, request.cookies.get(COOKIE, "")
        try:
            while accounts is None or accounts.stands(token):
                await channel.send_str((await self._batch(request, viewer)).decode())
            await channel.close(code=WSCloseCode.POLICY_VIOLATION, message=b"log in again")
        except ConnectionError:
            pass  # the browser has gone
        except Exception:
            log.exception("a page's stream")
        finally:
            await channel.close()  # whoever waits for what the page says need not wait any more

    async def _batch(self, request: web.Request, viewer: Viewer) -> bytes:
        lines = await viewer.batch()
        if lines:
            return lines
        lost = viewer.lost
        viewer.begin(self._opening(request))
        return msgspec.json.encode({"e": "lost", "events": lost})

    def _opening(self, request: web.Request) -> Iterator[bytes]:
        """What this viewer may do, and what there is."""
        why = self._forbidden(self._session(request))
        yield msgspec.json.encode({"e": "hello", "can": [] if why else self._source.can, "why": why})
        yield from self._source.opening()

    async def close(self, app: web.Application) -> None:
        for channel in tuple(self._open):
            await channel.close(code=WSCloseCode.GOING_AWAY, message=b"the service ends")


async def _body(request: web.Request, kind: type[Any]) -> Any:
    """The JSON of a request. Raises web.HTTPBadRequest."""
    if request.content_type != "application/json":
        raise web.HTTPUnsupportedMediaType(reason="application/json")
    try:
        return from_json(await request.read(), kind)
    except DecodeError as error:
        raise web.HTTPBadRequest(reason=_one_line(f"not what is asked for: {error}")) from None


def _told(status: int, reason: str) -> web.Response:
    return web.json_response({"error": reason}, status=status)


def _one_line(text: str) -> str:
    return " ".join(text.split())[:300]


def _name(host: str) -> str:
    return host.rsplit(":", 1)[0] if not host.endswith("]") else host


def _security_headers(page: str, rules: Rules) -> dict[str, str]:
    scripts = re.findall(r"<script\b(?![^>]*application/octet-stream)[^>]*>(.*?)</script>", page, re.DOTALL)
    hashes = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(s.encode()).digest()).decode()}'" for s in scripts)
    policy = (
        f"default-src 'none'; script-src {hashes or _NONE}; style-src 'unsafe-inline'; img-src data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    headers = {
        "Content-Security-Policy": policy,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Server": "dcu",
    }
    if rules.accounts:
        headers["Strict-Transport-Security"] = "max-age=31536000"
    return headers


_NONE: Literal["'none'"] = "'none'"
