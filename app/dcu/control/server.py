"""The control socket's server: lines in, lines out; the methods are in `api` (contract: docs/control.md).

A peer is local and permitted, yet not trusted to behave: lines are bounded, calls of one connection are bounded, and
each holds its place until its answer is written. Who does not take an answer is cut off; who subscribed and does not
read loses events. Answers that wait are bounded over all connections. Who does nothing at all makes way for others.
"""

import asyncio
import logging
import os
import socket
import struct
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from dcu.collect.events import TOPICS, Events
from dcu.control.messages import (
    MAX_EVENT_BYTES,
    MAX_EVENTS,
    MAX_REQUEST,
    MAX_RESPONSE,
    Event,
    Fault,
    Request,
    Response,
    fault,
)
from dcu.errors import ConfigError, DcuError, DecodeError
from dcu.total import from_json

CONNECTIONS = 32
CALLS = 64  # of one connection at a time
UNWRITTEN = 2 * MAX_RESPONSE  # bytes of answers that wait for their readers, of all connections
STALLED = 30.0  # seconds that a peer may take to read an answer
IDLE = 600.0  # seconds without a call or a subscription, after which a connection is closed
OTHERS = "[control] others"
_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid: SO_PEERCRED

Handler = Callable[[str, str, dict[str, Any]], Awaitable[Any]]  # method, actor, parameters → result

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Permitted:
    """Who may call what. others: the methods of everybody but `masters`; None: all.

    The kernel says who calls. Where the collector has a user namespace of its own, everybody else is 65534 to it: no
    master, so the rule holds there as well.
    """

    masters: frozenset[int] = frozenset()
    others: frozenset[str] | None = None

    def refuse(self, uid: int, method: str) -> None:
        """Raises ConfigError where this user may not."""
        if self.others is not None and uid not in self.masters and method not in self.others:
            raise ConfigError(f"user {uid} may not call {method!r}: {OTHERS} in the collector's configuration allows")


class ControlServer:
    """Serves `handler` on a unix socket. Use `await ControlServer.start(...)`."""

    def __init__(self, path: Path, handler: Handler, events: Events, permitted: Permitted) -> None:
        self.path = path
        self.handler = handler
        self.events = events
        self.permitted = permitted
        self.unwritten = 0
        self._connections: set[_Connection] = set()
        self._server: asyncio.Server | None = None
        self._closing = False

    @classmethod
    async def start(
        cls, path: Path, handler: Handler, events: Events, permitted: "Permitted | None" = None
    ) -> "ControlServer":
        """Listen with mode 0660. permitted: who may do what; None: whoever may open it may do everything.

        Raises ConfigError where the socket cannot be made.
        """
        server = cls(path, handler, events, permitted or Permitted())
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
        task = asyncio.current_task()
        assert task is not None
        connection = _Connection(self, reader, writer, task)
        if self._closing or not self._room_for(connection.uid):
            text = f"{CONNECTIONS} connections are open: try again later"
            writer.write(msgspec.json.encode(Response(0, error=Fault("JobError", text))) + b"\n")
            writer.close()
            return
        self._connections.add(connection)
        try:
            await connection.serve()
        except asyncio.CancelledError:
            pass  # the collector stops, or somebody else needs the place
        finally:
            self._connections.discard(connection)

    def _room_for(self, uid: int) -> bool:
        """Whether one more may come. The longest idle makes way; for a user without any, one of the user with most."""
        if len(self._connections) < CONNECTIONS:
            return True
        idle = [connection for connection in self._connections if connection.idle]
        if not idle:
            number = Counter(connection.uid for connection in self._connections)
            most = max(number, key=lambda other: number[other])
            if number[uid] or number[most] < 2:
                return False
            idle = [connection for connection in self._connections if connection.uid == most]
        leaving = min(idle, key=lambda connection: connection.since)
        self._connections.discard(leaving)
        leaving.task.cancel()
        return True


class _Connection:
    def __init__(
        self,
        server: ControlServer,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        task: "asyncio.Task[None]",
    ) -> None:
        self.task = task
        self.since = asyncio.get_running_loop().time()  # when it last asked for something
        self._server = server
        self._reader = reader
        self._writer = writer
        self.uid, self._actor = _peer(writer)
        self._calls: set[asyncio.Task[None]] = set()
        self._writing = asyncio.Lock()
        self._events: deque[bytes] = deque()
        self._event_bytes = 0
        self._dropped = 0
        self._sender: asyncio.Task[None] | None = None
        self._heard = asyncio.Event()
        self._stop_listening: Callable[[], None] | None = None
        self._topics: frozenset[str] = frozenset()

    @property
    def idle(self) -> bool:
        return not self._calls and self._stop_listening is None

    async def serve(self) -> None:
        try:
            while line := await self._line():
                self.since = asyncio.get_running_loop().time()
                await self._take(line)
        except (ValueError, asyncio.LimitOverrunError):
            text = f"a request has at most {MAX_REQUEST} bytes"
            self._writer.write(msgspec.json.encode(Response(0, error=Fault("ConfigError", text))) + b"\n")
        except (ConnectionError, TimeoutError):
            pass
        finally:
            if self._stop_listening:
                self._stop_listening()
            tasks = [*self._calls, *([self._sender] if self._sender else [])]
            for task in tasks:
                task.cancel()
            self._hang_up()  # before anything is awaited: the collector may be stopping
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _line(self) -> bytes:
        """The next request; b"" at the end. Raises TimeoutError for a peer that has been idle for long."""
        reading = asyncio.ensure_future(self._reader.readline())
        try:
            while True:
                done, _ = await asyncio.wait([reading], timeout=max(1.0, IDLE / 10))
                if done:
                    line = reading.result()
                    return line if line.endswith(b"\n") else b""
                if self.idle and asyncio.get_running_loop().time() - self.since >= IDLE:
                    raise TimeoutError
        finally:
            reading.cancel()

    def _hang_up(self) -> None:
        """Close; what a peer has not read by now would stay in our memory as long as it likes."""
        transport = self._writer.transport
        if transport.get_write_buffer_size():
            transport.abort()
        self._writer.close()

    async def _take(self, line: bytes) -> None:
        try:
            request = from_json(line, Request)
        except DecodeError as error:
            await self._write(self._encoded(Response(0, error=Fault("ConfigError", f"not a request: {error}"))))
            return
        if len(self._calls) >= CALLS:
            text = f"at most {CALLS} calls at a time on one connection"
            await self._write(self._encoded(Response(request.id, error=Fault("JobError", text))))
            return
        task = asyncio.create_task(self._call(request))
        self._calls.add(task)
        task.add_done_callback(self._called)

    def _called(self, task: "asyncio.Task[None]") -> None:
        self._calls.discard(task)
        self.since = asyncio.get_running_loop().time()
        if not task.cancelled() and task.exception():  # the peer has gone, or does not read: the reader need not wait
            self._reader.feed_eof()

    async def _call(self, request: Request) -> None:
        await self._write(await self._response(request))

    async def _response(self, request: Request) -> bytes:
        """The answer as it is written: what it was made of is larger, and not kept while a peer takes its time."""
        try:
            self._server.permitted.refuse(self.uid, request.method)
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
        return self._encoded(response)

    def _subscribe(self, params: dict[str, Any]) -> dict[str, Any]:
        topics = params.get("topics") or TOPICS
        if not isinstance(topics, list | tuple) or any(topic not in TOPICS for topic in topics):
            raise ConfigError(f"subscribe: topics: a list of {', '.join(TOPICS)}")
        self._topics = frozenset(topics)
        if self._stop_listening is None:
            self._stop_listening = self._server.events.listen(self._hear)
            self._sender = asyncio.create_task(self._tell())
        return {"topics": sorted(self._topics)}

    def _hear(self, topic: str, data: dict[str, Any]) -> None:
        if topic not in self._topics:
            return
        if len(self._events) >= MAX_EVENTS or self._event_bytes >= MAX_EVENT_BYTES:
            self._dropped += 1
            return
        if self._dropped:
            data = {**data, "dropped": self._dropped}
            self._dropped = 0
        line = msgspec.json.encode(Event(topic, data)) + b"\n"
        self._events.append(line)
        self._event_bytes += len(line)
        self._heard.set()

    async def _tell(self) -> None:
        """Write events; the peer may take its time, it only loses the newest meanwhile."""
        try:
            while True:
                while self._events:
                    line = self._events.popleft()
                    self._event_bytes -= len(line)
                    async with self._writing:
                        self._writer.write(line)
                        await self._writer.drain()
                self._heard.clear()
                await self._heard.wait()
        except ConnectionError:
            self._reader.feed_eof()  # whoever asked has gone

    async def _write(self, line: bytes) -> None:
        """Write an answer. Raises ConnectionError where the peer does not take it in time."""
        self._server.unwritten += len(line)
        try:
            async with asyncio.timeout(STALLED), self._writing:
                self._writer.write(line)
                await self._writer.drain()
        except TimeoutError:
            self._writer.transport.abort()
            raise ConnectionAbortedError("answers are not read") from None
        finally:
            self._server.unwritten -= len(line)

    def _encoded(self, response: Response) -> bytes:
        try:
            line = msgspec.json.encode(response)
        except (OverflowError, TypeError, ValueError) as error:  # a bug of ours
            log.exception("control: an answer that is none")
            text = f"internal error ({type(error).__name__})"
            return msgspec.json.encode(Response(response.id, error=Fault("DcuError", text))) + b"\n"
        if len(line) > MAX_RESPONSE - 1:
            text = f"the answer has {len(line)} bytes, more than {MAX_RESPONSE}: ask for less"
            line = msgspec.json.encode(Response(response.id, error=Fault("DcuError", text)))
        elif self._server.unwritten + len(line) > UNWRITTEN:
            text = f"{self._server.unwritten} bytes of answers wait for their readers: read them, then ask again"
            line = msgspec.json.encode(Response(response.id, error=Fault("JobError", text)))
        return line + b"\n"


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


def _peer(writer: asyncio.StreamWriter) -> tuple[int, str]:
    """Who is on the other side: the user id, and all that is known for the audit log."""
    peer = writer.get_extra_info("socket")
    try:
        pid, uid, _ = _CREDENTIALS.unpack(peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    except (OSError, AttributeError, struct.error):
        return -1, "control"
    return uid, f"uid {uid}, pid {pid}"
