"""Records several disks: `python -m ota.powercut.recorder HOME NAME=IMAGE… [--card NAME]…`, and what starts it.

It serves HOME/disks.sock (NBD, an export a disk) and HOME/marks.sock: a line of JSON is a mark, put into the sequence
where it arrives and answered with its place. It ends, leaving a whole recording, when its marks connection is closed.
The images are written too: they are what the guest reads.
"""

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from ota.errors import OtaError
from ota.powercut.log import BEGIN, Disk, Writer
from ota.powercut.nbd import Server

DISKS, MARKS = "disks.sock", "marks.sock"
_CHUNK = 1 << 20
ROOT = Path(__file__).resolve().parents[2]


class Image:
    """A disk of the server: an image file, and the log of what is done to it."""

    def __init__(self, number: int, disk: Disk, path: Path, writer: Writer) -> None:
        self.size, self.flushes = disk.size, not disk.card
        self._number, self._writer = number, writer
        self._handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)

    def read(self, offset: int, length: int) -> bytes:
        return os.pread(self._handle, length, offset)

    def write(self, offset: int, content: bytes, *, fua: bool) -> int:
        self._writer.write(self._number, offset, content, fua=fua)
        os.pwrite(self._handle, content, offset)
        return self._writer.records

    def flush(self, covers: int) -> None:
        self._writer.flush(self._number, covers)

    def copy(self) -> None:
        """Put what it holds into the log."""
        at = 0
        while at < self.size:
            try:
                start = os.lseek(self._handle, at, os.SEEK_DATA) // 4096 * 4096
            except OSError:  # nothing but a hole
                return
            end = min(self.size, os.lseek(self._handle, start, os.SEEK_HOLE), start + _CHUNK)
            content = os.pread(self._handle, end - start, start)
            if content.count(0) != len(content):
                self._writer.write(self._number, start, content)
            at = end


class Recorder:
    """Starts a recorder; tells it marks; `close` ends the recording."""

    def __init__(self, home: Path, images: Mapping[str, Path], cards: tuple[str, ...] = ()) -> None:
        home.mkdir(parents=True, exist_ok=True)
        self.home = home
        self.disks = home / DISKS
        for name in (DISKS, MARKS):
            (home / name).unlink(missing_ok=True)
        command = [sys.executable, "-m", "ota.powercut.recorder", str(home)]
        command += [f"{name}={path}" for name, path in images.items()]
        command += [word for name in cards for word in ("--card", name)]
        path = os.pathsep.join([str(ROOT), str(ROOT / "app"), os.environ.get("PYTHONPATH", "")])
        self._process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": path})  # noqa: S603 - ourselves
        self._socket = socket.socket(socket.AF_UNIX)
        for _ in range(1200):  # a minute: it first reads the images
            try:
                self._socket.connect(str(home / MARKS))
                break
            except OSError:
                if self._process.poll() is not None:
                    raise OtaError(f"the recorder ended: exit {self._process.returncode}") from None
                time.sleep(0.05)
        else:
            self._process.kill()
            raise OtaError("the recorder did not start within a minute")
        self._lines = self._socket.makefile("rwb")

    def uri(self, name: str) -> str:
        """What QEMU and nbdfuse take for the disk."""
        return f"nbd+unix:///{name}?socket={self.disks}"

    def mark(self, what: str, **facts: Any) -> int:
        """Put a mark into the sequence, now; return its place. Raises OtaError: the recorder is gone."""
        try:
            self._lines.write(json.dumps({"what": what, **facts}).encode() + b"\n")
            self._lines.flush()
            return int(self._lines.readline())
        except (OSError, ValueError):
            raise OtaError("the recorder is gone") from None

    def close(self) -> None:
        """End the recording; once is enough. Raises OtaError."""
        if self._lines.closed:
            return
        self._lines.close()
        self._socket.close()
        try:
            code = self._process.wait(120)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise OtaError("the recorder did not end") from None
        if code:
            raise OtaError(f"the recorder failed: exit {code}")

    def __enter__(self) -> "Recorder":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def serve(home: Path, images: Mapping[str, Path], cards: frozenset[str]) -> None:
    """Record until the connection for marks is closed."""
    disks = [Disk(name, path.stat().st_size, name in cards) for name, path in images.items()]
    with Writer(home, disks) as writer:
        exports = {disk.name: Image(n, disk, images[disk.name], writer) for n, disk in enumerate(disks)}
        for export in exports.values():
            export.copy()
        writer.mark(BEGIN)
        server = Server(home / DISKS, exports)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(home / MARKS))
        listener.listen(1)
        teller, _ = listener.accept()
        pending = bytearray()

        def told() -> None:
            more = teller.recv(65536)
            if not more:
                server.stop()
                return
            pending.extend(more)
            while (end := pending.find(b"\n")) >= 0:
                facts = json.loads(pending[:end])
                del pending[: end + 1]
                writer.mark(facts.pop("what"), facts)
                teller.sendall(b"%d\n" % writer.records)

        server.watch(teller, told)
        server.run()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m ota.powercut.recorder")
    parser.add_argument("home", type=Path)
    parser.add_argument("images", nargs="+", metavar="NAME=IMAGE")
    parser.add_argument("--card", action="append", default=[], help="this disk is an SD card: it knows no flush")
    options = parser.parse_args()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever started it ends it
    images = {name: Path(path) for name, _, path in (each.partition("=") for each in options.images)}
    serve(options.home, images, frozenset(options.card))
    return 0


if __name__ == "__main__":
    sys.exit(main())
