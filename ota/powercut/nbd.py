"""An NBD server for one client a disk: fixed newstyle handshake, simple replies, reads, writes, FUA, flushes.

Several exports in one thread, so that the requests of all disks have one order. It offers neither trim nor "write
zeroes" (QEMU then writes the zeros), and tells clients to ask for whole sectors.

What a flush promises: "all write requests that the server has completed" when the flush was *sent*. Requests are served
in order, but a client may have sent a flush before it saw the answer of the write in front of it; such a write is not
covered. Told by bytes: what had arrived when a write was answered was sent without knowledge of that answer.

Source: the NBD project's doc/proto.md.
"""

import fcntl
import selectors
import socket
import struct
import termios
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

MAGIC = 0x4E42444D41474943  # "NBDMAGIC"
OPTIONS = 0x49484156454F5054  # "IHAVEOPT"
OPTION_REPLY = 0x3E889045565A9
REQUEST, REPLY = 0x25609513, 0x67446698
FIXED, NO_ZEROES = 1, 2
OPT_EXPORT_NAME, OPT_ABORT, OPT_LIST, OPT_INFO, OPT_GO = 1, 2, 3, 6, 7
REP_ACK, REP_SERVER, REP_INFO = 1, 2, 3
REP_UNSUPPORTED, REP_INVALID, REP_UNKNOWN = (1 << 31) + 1, (1 << 31) + 3, (1 << 31) + 6
INFO_EXPORT, INFO_BLOCK_SIZE = 0, 3
HAS_FLAGS, SEND_FLUSH, SEND_FUA = 1, 4, 8
READ, WRITE, DISCONNECT, FLUSH = 0, 1, 2, 3
COMMAND_FUA = 1
EINVAL, EIO = 22, 5
SECTOR, PREFERRED, LARGEST = 512, 4096, 32 << 20
_LONGEST_OPTION = 64 << 10
_HEADER = struct.Struct(">IHHQQI")


class Export(Protocol):
    """A disk. `covers` is of answered writes: the value of `answered` after the last of them."""

    size: int
    flushes: bool

    def read(self, offset: int, length: int) -> bytes: ...

    def write(self, offset: int, content: bytes, *, fua: bool) -> int:
        """Return the place in the global order, counted from 1."""
        ...

    def flush(self, covers: int) -> None: ...


class Gone(Exception):
    """The client has hung up, or speaks another protocol."""


@dataclass
class _Client:
    """read: bytes of the stream so far; answered: of each write (bytes that had arrived, its place), oldest first."""

    socket: socket.socket
    export: Export
    read: int = 0
    answered: deque[tuple[int, int]] = field(default_factory=deque)
    covered: int = 0

    def take(self, length: int) -> bytes:
        content = _take(self.socket, length)
        self.read += length
        return content

    def serve(self) -> bool:
        """Serve one request; False: the client takes its leave. Raises Gone."""
        began = self.read
        magic, flags, kind, handle, offset, length = _HEADER.unpack(self.take(_HEADER.size))
        if magic != REQUEST or length > LARGEST:
            raise Gone
        content = self.take(length) if kind == WRITE else b""
        inside = not (offset | length) % SECTOR and length and offset + length <= self.export.size
        if kind == DISCONNECT:
            return False
        error, answer = 0, b""
        if kind == READ and inside:
            answer = self.export.read(offset, length)
        elif kind == WRITE and inside:
            place = self.export.write(offset, content, fua=bool(flags & COMMAND_FUA))
            self.answered.append((self.read + _waiting(self.socket), place))
        elif kind == FLUSH and self.export.flushes:
            while self.answered and self.answered[0][0] <= began:
                self.covered = self.answered.popleft()[1]
            self.export.flush(self.covered)
        else:
            error = EINVAL
        self.socket.sendall(struct.pack(">IIQ", REPLY, error, handle) + answer)
        return True


class Server:
    """Serves `exports` on the unix socket `path` until `stop`. `other`: sockets of the caller with what reads them."""

    def __init__(self, path: Path, exports: Mapping[str, Export]) -> None:
        self._exports = exports
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._selector = selectors.DefaultSelector()
        self._stopped = False
        self.watch(self._listener, self._accept)

    def watch(self, on: socket.socket, ready: Callable[[], None]) -> None:
        """Call `ready` whenever `on` can be read."""
        self._selector.register(on, selectors.EVENT_READ, ready)

    def forget(self, on: socket.socket) -> None:
        self._selector.unregister(on)
        on.close()

    def stop(self) -> None:
        self._stopped = True

    def run(self) -> None:
        while not self._stopped:
            for key, _ in self._selector.select():
                key.data()
        for key in list(self._selector.get_map().values()):
            if isinstance(key.fileobj, socket.socket):
                key.fileobj.close()

    def _accept(self) -> None:
        connection, _ = self._listener.accept()
        connection.settimeout(30)  # a client that stops in mid-request must not stop the others for ever
        try:
            export = _handshake(connection, self._exports)
        except (Gone, OSError):
            connection.close()
            return
        client = _Client(connection, export)

        def ready() -> None:
            try:
                if client.serve():
                    return
            except (Gone, OSError):
                pass
            self.forget(connection)

        self.watch(connection, ready)


def _handshake(connection: socket.socket, exports: Mapping[str, Export]) -> Export:
    """Agree on an export. Raises Gone."""
    connection.sendall(struct.pack(">QQH", MAGIC, OPTIONS, FIXED | NO_ZEROES))
    no_zeroes = bool(struct.unpack(">I", _take(connection, 4))[0] & NO_ZEROES)
    while True:
        magic, option, length = struct.unpack(">QII", _take(connection, 16))
        if magic != OPTIONS or length > _LONGEST_OPTION:
            raise Gone
        data = _take(connection, length)

        def reply(kind: int, content: bytes = b"", option: int = option) -> None:
            connection.sendall(struct.pack(">QIII", OPTION_REPLY, option, kind, len(content)) + content)

        if option == OPT_EXPORT_NAME:
            export = exports.get(data.decode(errors="replace"))
            if export is None:
                raise Gone
            connection.sendall(struct.pack(">QH", export.size, _flags(export)) + bytes(0 if no_zeroes else 124))
            return export
        if option in (OPT_GO, OPT_INFO):
            export = _named(data, exports)
            if export is None:
                reply(REP_UNKNOWN)
                continue
            reply(REP_INFO, struct.pack(">HQH", INFO_EXPORT, export.size, _flags(export)))
            reply(REP_INFO, struct.pack(">HIII", INFO_BLOCK_SIZE, SECTOR, PREFERRED, LARGEST))
            reply(REP_ACK)
            if option == OPT_GO:
                return export
        elif option == OPT_LIST:
            for name in exports:
                reply(REP_SERVER, struct.pack(">I", len(name.encode())) + name.encode())
            reply(REP_ACK)
        elif option == OPT_ABORT:
            reply(REP_ACK)
            raise Gone
        else:
            reply(REP_UNSUPPORTED)


def _named(data: bytes, exports: Mapping[str, Export]) -> Export | None:
    length = int.from_bytes(data[:4], "big")
    return exports.get(data[4 : 4 + length].decode(errors="replace"))


def _flags(export: Export) -> int:
    return HAS_FLAGS | (SEND_FLUSH | SEND_FUA if export.flushes else 0)


def _waiting(connection: socket.socket) -> int:
    """Bytes that have arrived and are not read."""
    return int(struct.unpack("i", fcntl.ioctl(connection, termios.FIONREAD, bytes(4)))[0])


def _take(connection: socket.socket, length: int) -> bytes:
    """Raises Gone."""
    content = bytearray(length)
    view, at = memoryview(content), 0
    while at < length:
        got = connection.recv_into(view[at:])
        if not got:
            raise Gone
        at += got
    return bytes(content)
