"""The control socket from outside: what the `dcu` command and the gateway use (contract: docs/control.md)."""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec

from dcu.control.messages import DEFAULT_SOCKET, MAX_RESPONSE, Event, Incoming, Request, revive
from dcu.errors import DecodeError, LinkClosed, LinkError
from dcu.total import from_json

KEPT_EVENTS = 10_000  # for who does not ask for them; the oldest go


def running(socket: Path | str = DEFAULT_SOCKET) -> bool:
    """Whether there is a socket; only connecting tells whether somebody listens."""
    return Path(socket).is_socket()


def ask(socket: Path | str, method: str, **params: Any) -> Any:
    """One call, without an event loop around it. Raises what the collector raised, LinkError where it is not there."""

    async def once() -> Any:
        async with await ControlClient.connect(socket) as client:
            return await client.call(method, **params)

    return asyncio.run(once())


class ControlClient:
    """A connection to the collector; calls may overlap. Use `async with await ControlClient.connect(path)`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._calls: dict[int, asyncio.Future[Any]] = {}
        self._events: deque[Event] = deque(maxlen=KEPT_EVENTS)
        self._heard = asyncio.Event()
        self._last = 0
        self._task = asyncio.create_task(self._listen())

    @classmethod
    async def connect(cls, socket: Path | str = DEFAULT_SOCKET) -> "ControlClient":
        """Raises LinkError: no collector, or not permitted."""
        try:
            reader, writer = await asyncio.open_unix_connection(str(socket), limit=MAX_RESPONSE)
        except (FileNotFoundError, ConnectionRefusedError):
            raise LinkError(f"no collector listens on {socket}: start it with `dcu run --config FILE`") from None
        except PermissionError:
            raise LinkError(f"{socket}: not permitted: the socket is for its owner and group") from None
        except OSError as error:
            raise LinkError(f"{socket}: {error.strerror or error}") from None
        return cls(reader, writer)

    async def call(self, method: str, **params: Any) -> Any:
        """Ask for `method` and return its result. Raises the collector's error as it was raised there."""
        if self._task.done():
            raise LinkClosed("the collector closed the control socket")
        self._last = number = self._last + 1
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._calls[number] = answer
        try:
            self._writer.write(msgspec.json.encode(Request(number, method, params)) + b"\n")
            await self._writer.drain()
            return await answer
        except ConnectionError:
            raise LinkClosed("the collector closed the control socket") from None
        finally:
            self._calls.pop(number, None)

    async def subscribe(self, *topics: str) -> None:
        """From now on `events` brings what happens under `topics` (none: under all)."""
        await self.call("subscribe", topics=list(topics))

    async def events(self) -> AsyncIterator[Event]:
        """Events until the collector goes."""
        while True:
            while self._events:
                yield self._events.popleft()
            if self._task.done():
                return
            self._heard.clear()
            await self._heard.wait()

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    async def __aenter__(self) -> "ControlClient":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _listen(self) -> None:
        try:
            while line := await self._reader.readline():
                self._sort(from_json(line, Incoming))
        except (OSError, ValueError, DecodeError):
            pass  # the line is no longer usable: whoever waits learns it below
        finally:
            asyncio.get_running_loop().call_soon(self._heard.set)  # when this task is done
            for answer in self._calls.values():
                if not answer.done():
                    answer.set_exception(LinkClosed("the collector closed the control socket"))

    def _sort(self, message: Incoming) -> None:
        if message.id is None:
            self._events.append(Event(message.topic, message.data))
            self._heard.set()
        elif (answer := self._calls.get(message.id)) and not answer.done():
            if message.error:
                answer.set_exception(revive(message.error))
            else:
                answer.set_result(message.result)
