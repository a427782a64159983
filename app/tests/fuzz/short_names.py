"""Sessions by short names as fuzz targets: a server amid long requests, a client that sends and reads them."""

from itertools import chain, repeat

from dcu.cli import decoding_short
from dcu.cli.decoding_short import Blocks
from dcu.cosem import axdr
from dcu.cosem.apdu import DataAccessResult, service_name, short
from dcu.cosem.apdu.short import (
    Name,
    NextBlock,
    ReadBlock,
    ReadRequest,
    ReadResponse,
    RequestBlock,
    Taken,
    WriteRequest,
    WriteResponse,
)
from dcu.cosem.association import Association, ServerAssociation
from dcu.cosem.exchange import drive
from dcu.cosem.server import ServerSession
from dcu.cosem.short import ShortSession
from dcu.cosem.short_names import ShortNames, ShortObject
from dcu.errors import DcuError
from dcu.model import AttributeRef, MethodRef, Obis

from .engine import Target
from .kept import Prepared
from .sessions import Counting, Device, challenge

SAP = 1
SMALL = 60
VALUE = AttributeRef(1, Obis.parse("0-0:94.91.0*255"), 2)
METHOD = MethodRef(70, Obis.parse("0-0:96.3.10*255"), 1)
NAMES = ShortNames(ShortObject(base, ref.class_id, 0, ref.obis) for base, ref in ((0x0200, VALUE), (0x0400, METHOD)))
LONG = axdr.encode(axdr.octets(bytes(60)))  # two blocks
WRITTEN = WriteRequest((Name(0x0208), Name(0x0208)), (b"\x11\x05", axdr.encode(axdr.octets(b"abc"))))
TAKEN = {"read": short.encode(ReadResponse((Taken(1),))), "write": short.encode(WriteResponse((Taken(1),)))}
QUESTIONS = tuple(
    (question, taken)
    for question, block in (("get", ""), ("get_list", ""), ("set", "write"), ("set_list", "write"), ("action", "read"))
    for taken in (b"", TAKEN[block] if block else b"")
)
_ARGUMENTS = {
    "get": (VALUE,),
    "get_list": ([(VALUE, None), (VALUE, None)],),
    "set": (VALUE, LONG),
    "set_list": ([(VALUE, LONG), (VALUE, LONG)],),
    "action": (METHOD, LONG),
}
CALLED = ReadRequest((Name(0x0420, 0, b"\x0f\x00"),))


def sides():
    terms = ServerAssociation(max_pdu=SMALL, names=NAMES)
    server = ServerSession(Device(), {SAP: terms}, counter=Counting(), random=challenge(0x5E))
    settings = Association(SAP, 1, max_pdu=SMALL, short=True)
    client = ShortSession(settings, counter=Counting(), random=challenge(0xC1), names=NAMES)
    drive(client.associate(), lambda request: server.receive(SAP, request))
    return server, client


def write_block(last, number, raw):
    return short.encode(WriteRequest((RequestBlock(last, number),), (axdr.encode(axdr.octets(raw)),)))


def read_block(last, number, raw):
    return short.encode(ReadRequest((RequestBlock(last, number, raw),)))


class Server(Prepared):
    """It gets anything: at rest, in the middle of a long write, of a long read and of a long answer; and as what the
    blocks of either add up to."""

    def prepare(self):
        begun = (
            (),
            (write_block(False, 1, short.encode(WRITTEN)[1:6]),),
            (read_block(False, 1, short.encode(CALLED)[1:4]),),
            (short.encode(ReadRequest((Name(0x0218),))),),  # attribute 4 is long
        )
        self.servers = [sides()[0] for _ in begun]
        for server, frames in zip(self.servers, begun, strict=True):
            for frame in frames:
                server.receive(SAP, frame)
        return self.servers

    def take(self, frame):
        answers = [server.receive(SAP, frame) for server in self.servers]
        at_rest = self.servers[0]
        answers += [at_rest.receive(SAP, block(True, 1, frame[1:41])) for block in (write_block, read_block)]
        for server in self.servers:
            assert "while answering" not in str(server.refused.last), server.refused.last
        return tuple(map(_told, answers))


class Client(Prepared):
    """A meter that answers anything; the input's first byte says to which question, and whether to its first block."""

    def prepare(self):
        self.session = sides()[1]
        return (self.session,)

    def take(self, data):
        client, (question, taken) = self.session, QUESTIONS[data[0] % len(QUESTIONS) if data else 0]
        answers = chain((taken,) if taken else (), repeat(data[1:]))
        return f"{question} {_outcome(getattr(client, question)(*_ARGUMENTS[question]), answers)}"


def measured(frame):
    return bytes((len(frame),)) + frame


def captured(data):
    """Frames as `dcu decode` takes them, each behind its length."""
    blocks, shown, rest = Blocks(1000), [], data
    while rest:
        frame, rest = rest[1 : 1 + rest[0]], rest[1 + rest[0] :]
        found = blocks.take(decoding_short.decode(frame))
        shown.append(type(found).__name__)
    blocks.finish()
    return tuple(shown)


def _told(answer):
    """What the answer says. A read or write response can be read, or the server is wrong."""
    if answer is None or answer[0] not in (short.READ_RESPONSE, short.WRITE_RESPONSE):
        return answer and service_name(answer[0])
    told = short.decode(answer)
    kinds = (str(each) if isinstance(each, DataAccessResult) else type(each).__name__ for each in told.results[:2])
    return " ".join((type(told).__name__, *kinds))


def _outcome(exchange, answers):
    try:
        return type(drive(exchange, lambda request: next(answers))).__name__
    except DcuError as error:
        return type(error).__name__


_REQUESTS = tuple(
    short.encode(request)
    for request in (
        WRITTEN,
        CALLED,
        ReadRequest((Name(0x0218),)),
        ReadRequest((NextBlock(1),)),
        ReadRequest((Name(0x0208, 2, b"\x11\x01"), Name(0x0210))),
    )
)
_BLOCKS = (
    write_block(False, 2, short.encode(WRITTEN)[6:9]),
    write_block(True, 2, short.encode(WRITTEN)[6:]),
    read_block(False, 2, short.encode(CALLED)[4:6]),
    read_block(True, 2, short.encode(CALLED)[4:]),
)
_ANSWERS = tuple(
    short.encode(answer)
    for answer in (
        ReadResponse((b"\x11\x05",)),
        ReadResponse((b"\x11\x05", b"\x00")),
        ReadResponse((ReadBlock(True, 1, b"\x01\x00\x11\x05"),)),
        ReadResponse((ReadBlock(True, 1, b"\x02\x00\x11\x05\x01\x04"),)),
        ReadResponse((Taken(1),)),
        WriteResponse((Taken(1),)),
        WriteResponse((DataAccessResult.SUCCESS,)),
        WriteResponse((DataAccessResult.SUCCESS, DataAccessResult.READ_WRITE_DENIED)),
    )
)
_ASKED = tuple(bytes((question,)) + answer for question in range(len(QUESTIONS)) for answer in _ANSWERS)
_FIRST = write_block(False, 1, short.encode(WRITTEN)[1:6])
_PIECES = [
    short.encode(ReadResponse((ReadBlock(number == 2, number, raw),)))
    for number, raw in enumerate((b"\x01\x00\x09", b"\x01A"), 1)
]
_CAPTURED = (
    *map(measured, (*_REQUESTS, *_ANSWERS)),
    b"".join(map(measured, (_FIRST, _ANSWERS[-1], _BLOCKS[1], b"\x0d\x01\x00"))),
    b"".join(map(measured, (_PIECES[0], _REQUESTS[3], _PIECES[1]))),
)
TARGETS = (
    Target("short-capture", captured, _CAPTURED, ("dcu.cli.decoding_short.decode",)),
    Target("short-server", Server(), (*_REQUESTS, *_BLOCKS), allowed=(), seconds=0.1),
    Target("short-client", Client(), _ASKED, allowed=(), seconds=0.1),
)
