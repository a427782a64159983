"""A street of simulated meters on this host, as the device reaches it through QEMU's user network (10.0.2.2)."""
# ruff: noqa: S603  (it runs our own program)

import json
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

HOST = "10.0.2.2"  # this host's loopback, seen from the guest


class Street:
    """`with Street(3) as street:` the meters answer; .shipment and .transport_key are what the device imports."""

    def __init__(self, meters: int, *options: str) -> None:
        self._home = tempfile.TemporaryDirectory(prefix="dcu-street-")
        home = Path(self._home.name)
        self._shipment, self._key, self._seen = home / "shipment.toml", home / "transport.key", home / "status.json"
        self._command: Sequence[str] = [
            *(str(Path(sys.executable).with_name("neighbourhood")), "meters", "--json", "--count", str(meters)),
            *("--shipment", str(self._shipment), "--transport-key", str(self._key), "--status", str(self._seen)),
            *options,
        ]

    def __enter__(self) -> "Street":
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout
        if not select.select([self._process.stdout], [], [], 60)[0]:
            raise TimeoutError("the street did not start within 60 s")
        self.described = json.loads(self._process.stdout.readline())
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.terminate()
        self._process.wait(20)
        self._home.cleanup()

    def status(self) -> dict[str, Any]:
        """What the meters have seen: `counters` (the highest that each accepted), `counter_reuse` and more."""
        self._seen.unlink(missing_ok=True)
        self._process.send_signal(signal.SIGUSR1)
        end = time.monotonic() + 30
        while not self._seen.exists():
            if time.monotonic() > end:
                raise TimeoutError("the street does not say what it has seen")
            time.sleep(0.02)
        seen: dict[str, Any] = json.loads(self._seen.read_text())
        return seen

    @property
    def shipment(self) -> bytes:
        return self._shipment.read_bytes().replace(b"127.0.0.1", HOST.encode())

    @property
    def transport_key(self) -> bytes:
        return self._key.read_bytes()
