"""The recording NBD server, as a client sees it, and what it writes down."""

import socket
import struct

import pytest

from ota.powercut import nbd
from ota.powercut.log import SECTOR, Flush, Mark, Write, read
from ota.powercut.recorder import Recorder
from tests.ota.powercut.recordings import sector

SIZE = 64 * SECTOR


opened = []


@pytest.fixture
def recorder(tmp_path):
    images = {}
    for name in ("card", "disk"):
        images[name] = tmp_path / f"{name}.img"
        images[name].write_bytes(sector(1) + bytes(SIZE - SECTOR))
    made = Recorder(tmp_path / "recording", images, ("card",))
    yield made
    while opened:
        opened.pop().close()
    made.close()


class Client:
    """A client that may send before it has read the answers."""

    def __init__(self, recorder, name):
        self.socket = socket.socket(socket.AF_UNIX)
        opened.append(self.socket)
        self.socket.settimeout(10)
        self.socket.connect(str(recorder.disks))
        magic, options, _ = struct.unpack(">QQH", self.take(18))
        assert (magic, options) == (nbd.MAGIC, nbd.OPTIONS)
        self.socket.sendall(struct.pack(">I", nbd.FIXED | nbd.NO_ZEROES))
        data = struct.pack(">I", len(name)) + name.encode() + struct.pack(">H", 0)
        self.socket.sendall(struct.pack(">QII", nbd.OPTIONS, nbd.OPT_GO, len(data)) + data)
        self.kinds, self.flags = [], None
        while nbd.REP_ACK not in self.kinds and not (self.kinds and self.kinds[-1] >> 31):
            _, _, kind, length = struct.unpack(">QIII", self.take(20))
            body = self.take(length)
            self.kinds.append(kind)
            if kind == nbd.REP_INFO and body[:2] == b"\0\0":
                _, self.size, self.flags = struct.unpack(">HQH", body)

    def take(self, length):
        content = b""
        while len(content) < length:
            more = self.socket.recv(length - len(content))
            assert more, "the server hung up"
            content += more
        return content

    def request(self, kind, offset=0, content=b"", length=None, flags=0):
        length = len(content) if length is None else length
        return struct.pack(">IHHQQI", nbd.REQUEST, flags, kind, 7, offset, length) + content

    def answer(self, length=0):
        magic, error, handle = struct.unpack(">IIQ", self.take(16))
        assert (magic, handle) == (nbd.REPLY, 7)
        return error, self.take(length if not error else 0)

    def ask(self, *args, answer=0, **kwargs):
        self.socket.sendall(self.request(*args, **kwargs))
        return self.answer(answer)


def test_what_two_disks_are_told_stands_in_one_order_with_the_marks(recorder):
    card, disk = Client(recorder, "card"), Client(recorder, "disk")
    assert disk.ask(nbd.WRITE, 0, sector(5)) == (0, b"")
    assert card.ask(nbd.WRITE, 2 * SECTOR, sector(6) * 2) == (0, b"")
    recorder.mark("installed", slot="b")
    assert disk.ask(nbd.FLUSH) == (0, b"")
    assert disk.ask(nbd.WRITE, SECTOR, sector(7), flags=nbd.COMMAND_FUA) == (0, b"")
    assert disk.ask(nbd.READ, 0, length=2 * SECTOR, answer=2 * SECTOR) == (0, sector(5) + sector(7))
    recorder.close()
    found = read(recorder.home)
    begin = found.begin
    assert [type(record) for record in found.records[begin:]] == [Write, Write, Mark, Flush, Write]
    assert [found.records[at].disk for at in (begin, begin + 1, begin + 4)] == [1, 0, 1]
    assert found.records[begin + 3].covers == begin + 1  # this disk's write, not the card's
    assert found.records[begin + 4].fua
    assert isinstance(found.records[0], Write)  # what the disks held before


def test_a_flush_that_was_sent_before_the_answer_does_not_cover_the_write(recorder):
    disk = Client(recorder, "disk")
    disk.socket.sendall(disk.request(nbd.WRITE, 0, sector(5)) + disk.request(nbd.FLUSH))
    assert [disk.answer(), disk.answer()] == [(0, b"")] * 2
    assert disk.ask(nbd.FLUSH) == (0, b"")
    recorder.close()
    found = read(recorder.home)
    first, second = (record for record in found.records if isinstance(record, Flush))
    assert first.covers <= found.begin < second.covers


def test_a_card_offers_no_flush(recorder):
    card = Client(recorder, "card")
    assert card.flags == nbd.HAS_FLAGS
    assert card.ask(nbd.FLUSH) == (nbd.EINVAL, b"")
    assert Client(recorder, "disk").flags == nbd.HAS_FLAGS | nbd.SEND_FLUSH | nbd.SEND_FUA


@pytest.mark.parametrize(
    ("kind", "offset", "length"),
    [(nbd.READ, SIZE, SECTOR), (nbd.READ, 1, SECTOR), (nbd.READ, 0, 100), (nbd.READ, 0, 0), (4, 0, SECTOR)],
    ids=["beyond the end", "between sectors", "part of a sector", "nothing", "trim"],
)
def test_what_cannot_be_done_is_refused_and_the_next_request_is_served(recorder, kind, offset, length):
    disk = Client(recorder, "disk")
    assert disk.ask(kind, offset, length=length) == (nbd.EINVAL, b"")
    assert disk.ask(nbd.READ, 0, length=SECTOR, answer=SECTOR) == (0, sector(1))


def test_an_unknown_disk_is_refused(recorder):
    assert Client(recorder, "tape").kinds == [nbd.REP_UNKNOWN]


def test_a_client_that_talks_nonsense_is_left_and_others_are_served(recorder):
    disk = Client(recorder, "disk")
    disk.socket.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".ljust(28))
    assert disk.socket.recv(1) == b""
    other = Client(recorder, "disk")
    assert other.ask(nbd.READ, 0, length=SECTOR, answer=SECTOR) == (0, sector(1))
