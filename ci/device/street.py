"""A street of simulated meters on this host, as the device reaches it through QEMU's user network (10.0.2.2)."""
# ruff: noqa: S603  (it runs our own program)

import json
import select
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

HOST = "10.0.2.2"  # this host's loopback, seen from the guest


class Street:
    """`with Street(3) as street:` the meters answer; .shipment and .transport_key are what the device imports."""

    def __init__(self, meters: int, *options: str) -> None:
        self._home = tempfile.TemporaryDirectory(prefix="dcu-street-")
        home = Path(self._home.name)
        self._shipment, self._key = home / "shipment.toml", home / "transport.key"
        self._command: Sequence[str] = [
            *(str(Path(sys.executable).with_name("neighbourhood")), "meters", "--json", "--count", str(meters)),
            *("--shipment", str(self._shipment), "--transport-key", str(self._key), *options),
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

    @property
    def shipment(self) -> bytes:
        return self._shipment.read_bytes().replace(b"127.0.0.1", HOST.encode())

    @property
    def transport_key(self) -> bytes:
        return self._key.read_bytes()
