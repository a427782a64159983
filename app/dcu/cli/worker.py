"""The client of the gurux worker: a confined process beside us, asked over pipes, never trusted (design decision 2).

A frame is a length of 4 bytes and that much JSON; the worker's first frame says what confines it. Whatever goes wrong
with it — it hangs, dies, answers nonsense or too much — ends in a WorkerError and a dead process, and the next request
starts a fresh one. On a device systemd starts it, as a user of its own, for each who connects to a socket; elsewhere we
do, and it is our child. This module imports nothing of the worker: it is another program, under another licence.
"""

import os
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import msgspec

from dcu.cli.terminal import line, printable
from dcu.errors import DecodeError, WorkerError
from dcu.total import from_json

MAX_REQUEST = 1 << 20  # the worker's own bounds
MAX_ANSWER = 4 << 20
TIMEOUT = 10.0  # seconds a request; the slowest honest one takes half a second
START_TIMEOUT = 20.0  # a small device, with cold caches

SERVED = Path("/run/dcu-gurux.sock")  # dcu-gurux.socket of the device
_COMMAND = (sys.executable, "-I", "-m", "dcu_gurux")  # -I: neither our environment nor the current folder

T = TypeVar("T")


class _Failure(msgspec.Struct):
    kind: str
    message: str


class _Answer(msgspec.Struct):
    id: int | None
    result: msgspec.Raw = msgspec.Raw()
    error: _Failure | None = None


class _Hello(msgspec.Struct):
    ready: list[str] = []
    fatal: str = ""


class AttributeObject(msgspec.Struct, frozen=True, rename={"class_name": "class"}):
    """An attribute's value as gurux-dlms understands it.

    known: whether it knows the class (else the only field is `value`); class_name: its name for it; fields: typed JSON;
    exact: whether it would write the same bytes again. Where it would not, do not write what it makes.
    """

    known: bool
    class_name: str | None
    fields: dict[str, Any]
    exact: bool


class Worker:
    """One worker process, started at the first request. Not to be shared between threads."""

    def __init__(self, command: Sequence[str] = _COMMAND, *, timeout: float = TIMEOUT) -> None:
        self._command = tuple(command)
        self._timeout = timeout
        self._process: _Process | None = None
        self._number = 0
        self.walls: tuple[str, ...] = ()  # what confines it, by its own word
        self.started = 0  # how many processes it took so far

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End the process, if there is one."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()  # it holds nothing that could be lost
            for pipe in (process.stdin, process.stdout):
                assert pipe is not None
                pipe.close()
            process.wait()

    def apdu_to_xml(self, apdu: bytes, *, comments: bool = False) -> str:
        """The XML of an authenticated plaintext APDU, in the Gurux translator's simple form."""
        arguments = {"apdu": apdu.hex(), "comments": comments}
        xml = self.ask("apdu_to_xml", arguments, str).replace("\r\n", "\n")
        return printable(xml)

    def xml_to_apdu(self, xml: str) -> bytes:
        return _unhex(self.ask("xml_to_apdu", {"xml": xml}, str))

    def value_to_object(self, class_id: int, version: int, attribute: int, value: bytes) -> AttributeObject:
        """What an attribute's A-XDR value means, for any class that gurux-dlms knows."""
        arguments = {"class_id": class_id, "version": version, "attribute": attribute, "value": value.hex()}
        return self.ask("value_to_object", arguments, AttributeObject)

    def object_to_value(self, class_id: int, version: int, attribute: int, fields: Mapping[str, Any]) -> bytes:
        """The A-XDR value of an attribute whose fields are given as `value_to_object` gives them."""
        arguments = {"class_id": class_id, "version": version, "attribute": attribute, "fields": dict(fields)}
        return _unhex(self.ask("object_to_value", arguments, str))

    def ask(self, verb: str, arguments: Mapping[str, object], kind: type[T]) -> T:
        """Ask and return the answer as `kind`. Raises DecodeError (malformed input) or WorkerError."""
        self._number += 1
        request = msgspec.json.encode({"id": self._number, "verb": verb, "arguments": arguments})
        if len(request) > MAX_REQUEST:
            raise WorkerError(f"{verb}: {len(request)} bytes are too much for the gurux worker, at most {MAX_REQUEST}")
        answer = self._exchange(verb, request)
        if answer.error is not None:
            message = line(answer.error.message)
            raise DecodeError(message) if answer.error.kind == "malformed" else WorkerError(f"{verb}: {message}")
        try:
            return from_json(bytes(answer.result), kind)
        except DecodeError:
            self.close()
            raise WorkerError(f"{verb}: the gurux worker answered nonsense and was ended") from None

    def _exchange(self, verb: str, request: bytes) -> _Answer:
        process = self._running()
        deadline = time.monotonic() + self._timeout
        try:
            _write(process, len(request).to_bytes(4, "big") + request, deadline)
            answer = from_json(_read(process, deadline), _Answer)
            if answer.id != self._number:
                raise DecodeError("another request's answer")
        except TimeoutError:
            reason = f"did not answer within {self._timeout:g} s"
        except DecodeError:
            reason = "answered nonsense"
        except OSError as error:  # EPIPE, or the end of the stream
            reason = f"died ({error})"
        else:
            return answer
        self.close()
        raise WorkerError(f"{verb}: the gurux worker {reason} and was ended; the next request starts a new one")

    def _running(self) -> "_Process":
        if self._process is not None and self._process.poll() is None:
            return self._process
        self.close()
        self._process = process = self._start()
        try:
            hello = from_json(_read(process, time.monotonic() + START_TIMEOUT), _Hello)
        except (OSError, DecodeError):
            hello = _Hello(fatal="is the package grid-dcu-gurux installed?")
        if hello.fatal or "seccomp" not in hello.ready:
            self.close()
            raise WorkerError(f"the gurux worker does not start: {line(hello.fatal) or 'not confined'}")
        self.walls = tuple(hello.ready)
        self.started += 1
        return process

    def _start(self) -> "_Process":
        try:
            process = self._served() or subprocess.Popen(  # noqa: S603 -- our own interpreter and module
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                env={},
                cwd="/",
                start_new_session=True,  # Ctrl-C is for us
            )
        except OSError as error:
            raise WorkerError(f"the gurux worker does not start: {error.strerror}") from None
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            os.set_blocking(pipe.fileno(), False)
        return process

    def _served(self) -> "_Served | None":
        return _Served(SERVED) if self._command == _COMMAND and SERVED.is_socket() else None


class _Served:
    """The worker that systemd started for this connection: its standard input and output are the other end."""

    def __init__(self, path: Path) -> None:
        """Raises OSError."""
        self._socket = socket.socket(socket.AF_UNIX)
        try:
            self._socket.connect(str(path))
        except OSError:
            self._socket.close()
            raise
        self.stdin = self._socket.makefile("wb", buffering=0)
        self.stdout = self._socket.makefile("rb", buffering=0)

    def poll(self) -> int | None:
        """Whether it still lives shows when it is asked."""
        return None

    def kill(self) -> None:
        """It ends when its connection does; one that hangs is ended by systemd."""
        self._socket.close()

    def wait(self) -> int:
        return 0


_Process = subprocess.Popen[bytes] | _Served


def _write(process: _Process, data: bytes, deadline: float) -> None:
    assert process.stdin is not None
    view = memoryview(data)
    while view:
        _await(process.stdin.fileno(), selectors.EVENT_WRITE, deadline)
        view = view[os.write(process.stdin.fileno(), view) :]


def _read(process: _Process, deadline: float) -> bytes:
    """Return the next frame's body. Raises OSError (TimeoutError among them) or DecodeError when it is too long."""
    size = int.from_bytes(_read_exactly(process, 4, deadline), "big")
    if size > MAX_ANSWER:
        raise DecodeError("too long")
    return _read_exactly(process, size, deadline)


def _read_exactly(process: _Process, size: int, deadline: float) -> bytes:
    assert process.stdout is not None
    data = bytearray()
    while len(data) < size:
        _await(process.stdout.fileno(), selectors.EVENT_READ, deadline)
        chunk = os.read(process.stdout.fileno(), min(size - len(data), 65536))
        if not chunk:
            raise ConnectionError("end of its answers")
        data += chunk
    return bytes(data)


def _await(descriptor: int, event: int, deadline: float) -> None:
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, event)
        if not selector.select(max(0.0, deadline - time.monotonic())):
            raise TimeoutError


def _unhex(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise WorkerError("the gurux worker answered something that is not hex") from None
