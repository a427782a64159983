"""The control socket's server: lines in, lines out; the methods are in `api` (contract: docs/control.md).

A peer is local and permitted, yet not trusted to behave: lines are bounded, calls of one connection are bounded, and a
subscriber who does not read loses events instead of filling the memory.
"""

import asyncio
import logging
import os
import socket
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec

from dcu.collect.events import TOPICS, Events
from dcu.control.messages import MAX_EVENTS, MAX_REQUEST, MAX_RESPONSE, Event, Fault, Request, Response, fault
from dcu.errors import ConfigError, DcuError, DecodeError
from dcu.total import from_json

CONNECTIONS = 32
CALLS = 64  # of one connection at a time
_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid: SO_PEERCRED

Handler = Callable[[str, str, dict[str, Any]], Awaitable[Any]]  # method, actor, parameters → result

log = logging.getLogger(__name__)


class ControlServer:
    """Serves `handler` on a unix socket. Use `await ControlServer.start(...)`."""

    def __init__(self, path: Path, handler: Handler, events: Events) -> None:
        self.path = path
        self.handler = handler
        self.events = events
        self._connections: set[_Connection] = set()
        self._server: asyncio.Server | None = None
        self._closing = False

    @classmethod
    async def start(cls, path: Path, handler: Handler, events: Events) -> "ControlServer":
        """Listen with mode 0660. Raises ConfigError where the socket cannot be made."""
        server = cls(path, handler, events)
        await asyncio.to_thread(_make_way, path)
        mask = os.umask(0o117)  # the socket must never be open to others, not even for a moment
        try:
            server._server = await asyncio.start_unix_server(server._welcome, str(path), limit=MAX_REQUEST)
        except OSError as error:
            raise ConfigError(f"control socket {path}: {error.strerror or error}") from None
        finally:
            os.umask(mask)
        return server

    async def close(self) -> None:
        self._closing = True
        if self._server:
            self._server.close()
        await asyncio.sleep(0)  # who has just connected is welcomed on the loop's next turn
        tasks = [connection.task for connection in self._connections]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)  # the transports tell of their end on the loop's next turn
        self.path.unlink(missing_ok=True)

    async def _welcome(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._closing or len(self._connections) >= CONNECTIONS:
            writer.close()
            return
        task = asyncio.current_task()
        assert task is not None
        connection = _Connection(self, reader, writer, task)
        self._connections.add(connection)
        try:
            await connection.serve()
        except asyncio.CancelledError:
            pass  # the collector stops
        finally:
            self._connections.discard(connection)


class _Connection:
    def __init__(
        self,
        server: ControlServer,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        task: "asyncio.Task[None]",
    ) -> None:
        self.task = task
        self._server = server
        self._reader = reader
        self._writer = writer
        self._actor = _actor(writer)
        self._calls: set[asyncio.Task[None]] = set()
        self._outgoing: asyncio.Queue[bytes] = asyncio.Queue(MAX_EVENTS)
        self._dropped = 0
        self._stop_listening: Callable[[], None] | None = None
        self._topics: frozenset[str] = frozenset()

    async def serve(self) -> None:
        sender = asyncio.create_task(self._send())
        try:
            while line := await self._reader.readline():
                if not line.endswith(b"\n"):
                    break
                await self._take(line)
        except (ValueError, asyncio.LimitOverrunError):
            text = f"a request has at most {MAX_REQUEST} bytes"
            self._writer.write(msgspec.json.encode(Response(0, error=Fault("ConfigError", text))) + b"\n")
        except ConnectionError:
            pass
        finally:
            if self._stop_listening:
                self._stop_listening()
            for task in (*self._calls, sender):
                task.cancel()
            self._writer.close()  # before anything is awaited: the collector may be stopping
            await asyncio.gather(*self._calls, sender, return_exceptions=True)

    async def _take(self, line: bytes) -> None:
        try:
            request = from_json(line, Request)
        except DecodeError as error:
            await self._answer(Response(0, error=Fault("ConfigError", f"not a request: {error}")))
            return
        if len(self._calls) >= CALLS:
            text = f"at most {CALLS} calls at a time on one connection"
            await self._answer(Response(request.id, error=Fault("JobError", text)))
            return
        task = asyncio.create_task(self._call(request))
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)

    async def _call(self, request: Request) -> None:
        try:
            if request.method == "subscribe":
                result = self._subscribe(request.params)
            else:
                result = await self._server.handler(request.method, self._actor, request.params)
            response = Response(request.id, result=result)
        except DcuError as error:
            response = Response(request.id, error=fault(error))
        except Exception as error:  # a bug of ours: this call fails, the collector goes on
            log.exception("control: %s", request.method)
            response = Response(request.id, error=Fault("DcuError", f"internal error ({type(error).__name__})"))
        await self._answer(response)

    def _subscribe(self, params: dict[str, Any]) -> dict[str, Any]:
        topics = params.get("topics") or TOPICS
        if not isinstance(topics, list | tuple) or any(topic not in TOPICS for topic in topics):
            raise ConfigError(f"subscribe: topics: a list of {', '.join(TOPICS)}")
        self._topics = frozenset(topics)
        if self._stop_listening is None:
            self._stop_listening = self._server.events.listen(self._hear)
        return {"topics": sorted(self._topics)}

    def _hear(self, topic: str, data: dict[str, Any]) -> None:
        if topic not in self._topics:
            return
        if self._dropped:
            data = {**data, "dropped": self._dropped}
        try:
            self._outgoing.put_nowait(msgspec.json.encode(Event(topic, data)) + b"\n")
            self._dropped = 0
        except asyncio.QueueFull:
            self._dropped += 1

    async def _answer(self, response: Response) -> None:
        line = msgspec.json.encode(response)
        if len(line) > MAX_RESPONSE - 1:
            text = f"the answer has {len(line)} bytes, more than {MAX_RESPONSE}: ask for less"
            line = msgspec.json.encode(Response(response.id, error=Fault("DcuError", text)))
        await self._outgoing.put(line + b"\n")

    async def _send(self) -> None:
        try:
            while True:
                self._writer.write(await self._outgoing.get())
                await self._writer.drain()
        except ConnectionError:
            self._reader.feed_eof()  # whoever asked has gone


def _make_way(path: Path) -> None:
    """Remove the socket of a collector that died; one that lives is not pushed aside."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"control socket {path}: {error.strerror or error}") from None
    if not path.is_socket():
        if path.exists():
            raise ConfigError(f"control socket {path}: something else stands there")
        return
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1)
        try:
            probe.connect(str(path))
        except OSError:
            path.unlink(missing_ok=True)
            return
    raise ConfigError(f"control socket {path}: another collector listens there")


def _actor(writer: asyncio.StreamWriter) -> str:
    """Who is on the other side, for the audit log."""
    peer = writer.get_extra_info("socket")
    try:
        pid, uid, _ = _CREDENTIALS.unpack(peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    except (OSError, AttributeError, struct.error):
        return "control"
    return f"uid {uid}, pid {pid}"
