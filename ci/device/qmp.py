"""QEMU's machine protocol over its unix socket: one command, one answer, events kept aside."""

import json
import socket
from pathlib import Path
from typing import Any


class QmpError(Exception):
    """QEMU refused a command, or is gone."""


class Qmp:
    def __init__(self, path: Path, timeout: float = 10.0) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(timeout)
        self._socket.connect(str(path))
        self._lines = self._socket.makefile("rwb")
        self.events: list[dict[str, Any]] = []
        self._next()  # the greeting
        self.command("qmp_capabilities")

    def command(self, name: str, **arguments: Any) -> Any:
        """Execute `name` and return its result. Raises QmpError."""
        try:
            self._lines.write(json.dumps({"execute": name, "arguments": arguments}).encode() + b"\n")
            self._lines.flush()
            while True:
                answer = self._next()
                if "return" in answer:
                    return answer["return"]
                if "error" in answer:
                    raise QmpError(f"{name}: {answer['error'].get('desc')}")
                self.events.append(answer)
        except OSError as error:
            raise QmpError(f"{name}: {error}") from None

    def close(self) -> None:
        self._socket.close()

    def _next(self) -> dict[str, Any]:
        line = self._lines.readline()
        if not line:
            raise QmpError("QEMU closed its socket")
        answer: dict[str, Any] = json.loads(line)
        return answer
