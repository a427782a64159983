"""The simulated street as fuzz targets: what its modem hears from a host, and its devices from one another."""

from contextlib import suppress
from random import Random

from dcu.errors import DecodeError, SecurityError
from neighbourhood.g3 import adp, adp_codec, eap_psk, frames, iphc, lbp, lowpan, messages, usi
from neighbourhood.g3.events import Scheduler
from neighbourhood.g3.frames import Frame, Kind, Segment
from neighbourhood.g3.lbd import Device
from neighbourhood.g3.lbs import Server
from neighbourhood.g3.line import Line
from neighbourhood.g3.lowpan import Mesh, Reassembly
from neighbourhood.g3.modem import OPENING, Modem

from .engine import Target
from .kept import Prepared
from .streams import cut

_EUI = bytes.fromhex("0004a3fffe000017")
_KEY = bytes(16)
_PAN = 0x781D
_PACKET = bytes.fromhex("60000000000c1140") + iphc.address(_PAN, 1) + iphc.address(_PAN, 0) \
    + bytes.fromhex("0fdb0fdb000cabcd01020304")  # fmt: skip
_PARTS = lowpan.pieces(
    _PACKET[:4] + b"\x01\xf8" + _PACKET[6:44] + b"\x01\xf8" + _PACKET[46:] + bytes(492), _PAN, 1, 0, 9
)
_REQUESTS = (
    adp.Initialise(0, 1),
    adp.Data(1, 1, 0, _PACKET),
    adp.Start(_PAN),
    adp.Get(0x0C, 0),
    adp.MacSet(0x77, 0, bytes(4)),
    adp.LbpSet(2, 0, _KEY),
    adp.Rekey(1, _EUI, 1),
    adp.AssignShort(_EUI, 1),
    adp.PathDiscovery(1, 15),
)
_REPORTS = (
    adp.NetworkStatus(_PAN, 1, _EUI, 0xE4, 5, 0, 0),
    adp.PathConfirm(0, 1, 0, 15, ((adp.Hop(1, 0, 4, 0, 0, 0),), ())),
    adp.MacGetConfirm(0, 0x10A, 0, bytes(19)),
    adp.DataIndication(90, _PACKET),
)


def _eap():
    """The messages of one run, each side's."""
    server = eap_psk.Server(_KEY, b"server00", Random(1).randbytes)
    peer = eap_psk.Peer(_KEY, b"peer0000", Random(2).randbytes)
    said = [server.start()]
    while (answer := peer.receive(said[-1])) is not None:
        said += [answer, server.receive(answer)]
    return tuple(said)


_EAP = _eap()
_LBP = (
    lbp.Message(lbp.Code.JOINING, _EUI).encode(),
    *(lbp.of_eap(code, _EUI, packet).encode() for code, packet in zip((0xA, 0x1, 0xA, 0x1, 0x9), _EAP, strict=True)),
    lbp.Message(lbp.Code.ACCEPTED, _EUI, lbp.encode_parameters(lbp.Gmk(1, _KEY), lbp.Activation(1))).encode(),
    lbp.Message(lbp.Code.KICK_TO_DEVICE, _EUI).encode(),
)
_FRAMES = (
    frames.encode(Frame(Kind.DATA, 1, _PAN, 0, 5, Segment(), b"\x40\x01" + bytes(12), key=0, counter=7), _KEY),
    frames.encode(Frame(Kind.DATA, 1, _PAN, 0, _EUI, Segment(), b"\x40\x02" + _LBP[0])),
    frames.encode(Frame(Kind.BEACON, 1, _PAN, 0xFFFF, 0, Segment(), b"\xff\x0f\x00\x00\x00\x00")),
)


def usi_stream(data):
    receiver = usi.Receiver()
    found = [frame for part in cut(data) for frame in receiver.feed(part)]
    return bool(found), bool(receiver.spoilt)


def request(data):
    asked = adp_codec.decode_request(data)
    assert adp_codec.decode_request(adp_codec.encode(asked)) == asked
    return type(asked).__name__


def report(data):
    return type(adp_codec.decode_report(data)).__name__


class OpenModem(Prepared):
    """A modem that is open hears payloads of commands, one after another: a byte says how long each is."""

    def prepare(self):
        self.line = line = Line(1, 1, quiet=True)
        self.modem = Modem(line.nodes[0], line.scheduler, Random(1))
        self.told = []
        self.modem.uart.say = self.told.append
        self.modem.feed(usi.encode(usi.ADP, b"\x0a\x00\x01"))
        line.scheduler.run_until(OPENING + 0.1)
        return line, self.modem, self.told

    def take(self, data):
        modem = self.modem
        at = 0
        while at < min(len(data), 400):
            size = data[at] % 64
            modem.feed(usi.encode(usi.ADP, data[at + 1 : at + 1 + size]))
            at += 1 + size
        self.line.scheduler.run_until(2.0)
        return modem.counts.refused > 0, modem.server is None, modem.node.short == 0, len(self.told) > 3


class Eap(Prepared):
    """Either side in the beginning, and the decoder."""

    def prepare(self):
        self.server = eap_psk.Server(_KEY, b"server00", Random(1).randbytes)
        self.peer = eap_psk.Peer(_KEY, b"peer0000", Random(2).randbytes)
        return self.server, self.peer

    def take(self, data):
        for side in (self.server, self.peer):
            with suppress(SecurityError, DecodeError):
                side.receive(data)
        packet = eap_psk.decode(data)
        assert eap_psk.decode(packet.encode()) == packet
        return packet.code, packet.step


def plain(data):
    result, extension = eap_psk.decode_plain(data)
    assert eap_psk.decode_plain(eap_psk.encode_plain(result, extension)) == (result, extension)
    return result


def bootstrapping(data):
    message = lbp.decode(data)
    assert lbp.decode(message.encode()) == message
    return message.code, type(lbp.decode_parameters(message.data)[:1])


class _Deaf:
    """A node that sends nothing."""

    def __init__(self, short):
        self.eui64, self.pan, self.short = _EUI, _PAN, short
        self.keys, self.active_key = {0: _KEY}, 0
        self.said = 0

    def send_lbp(self, destination, payload, done):
        self.said += 1

    def reset(self):
        self.short = 0xFFFF


class Sides(Prepared):
    """Server, joining device, joined device and agent, each told the same: none may raise anything."""

    def prepare(self):
        scheduler = Scheduler()
        server = Server(_Deaf(0), scheduler, Random(1))
        server.join_request = lambda eui64: server.assign(eui64, 1)
        joining = Device(_Deaf(0xFFFF), scheduler, Random(2), _KEY)
        joining.join(_PAN, 0)
        self.joined = Device(_Deaf(1), scheduler, Random(2), _KEY)
        self.joined.register(_PAN, 1, 0, _KEY)
        self.sides = (server, joining, self.joined)
        return self.sides

    def take(self, data):
        for side in self.sides:
            for source in (0, _EUI):
                side.heard(source, data)
        return tuple(side.node.said > 0 for side in self.sides), self.joined.node.short == 1


def mac(data):
    received = frames.decode(data)
    received.opened(_KEY)
    return received.frame.kind, received.frame.key


def mesh(data):
    found = lowpan.decode_mesh(data)
    assert lowpan.decode_mesh(lowpan.encode_mesh(found)).body == found.body
    return found.sequence is None


def reassembly(data):
    """Pieces in a row: a byte says how long each is."""
    joiner = Reassembly()
    whole, at = 0, 0
    while at < len(data):
        piece = data[at + 1 : at + 1 + data[at]]
        at += 1 + data[at]
        if piece:
            with suppress(DecodeError):
                whole += joiner.feed(Mesh(8, 1, 0, None, piece), _PAN, 0.0) is not None
    return whole > 0


def routing(data):
    return type(messages.decode(data)).__name__


_IPHC = iphc.compress(_PACKET, _PAN, 1, 0)[0]
TARGETS = (
    Target("street-usi", usi_stream, tuple(b"\x0f" + usi.encode(usi.ADP, adp_codec.encode(one)) for one in _REQUESTS),
           ("neighbourhood.g3.usi.Receiver.feed",), ()),
    Target("street-request", request, tuple(map(adp_codec.encode, _REQUESTS)),
           ("neighbourhood.g3.adp_codec.decode_request",)),
    Target("street-report", report, tuple(map(adp_codec.encode, _REPORTS)),
           ("neighbourhood.g3.adp_codec.decode_report",)),
    Target("street-modem", OpenModem(), tuple(bytes((len(raw),)) + raw for raw in map(adp_codec.encode, _REQUESTS)),
           ("neighbourhood.g3.modem.Modem.feed",), (), seconds=0.5),
    Target("street-eap", Eap(), _EAP, ("neighbourhood.g3.eap_psk.decode",)),
    Target("street-eap-channel", plain, (b"\x80", b"\xa0\x02\x1d\x02\x00\x01"),
           ("neighbourhood.g3.eap_psk.decode_plain",)),
    Target("street-lbp", bootstrapping, _LBP,
           ("neighbourhood.g3.lbp.decode", "neighbourhood.g3.lbp.decode_parameters")),
    Target("street-lbp-sides", Sides(), _LBP, allowed=(), seconds=0.1),
    Target("street-mac", mac, _FRAMES, ("neighbourhood.g3.frames.decode",)),
    Target("street-mesh", mesh, (lowpan.encode_mesh(Mesh(8, 1, 0, None, _IPHC)),
                                 lowpan.encode_mesh(Mesh(8, 1, 0xFFFF, 5, _IPHC))),
           ("neighbourhood.g3.lowpan.decode_mesh",)),
    Target("street-reassembly", reassembly, tuple(b"".join(bytes((min(len(p), 255),)) + p[:255] for p in parts)
                                                  for parts in (_PARTS, (_IPHC,))),
           ("neighbourhood.g3.lowpan.Reassembly.feed", "neighbourhood.g3.iphc.decompress"), (),
           longest=1 << 13),  # four times the longest datagram; a long row of empty pieces tries nothing
    Target("street-loadng", routing, (bytes(12), b"\x02" + bytes(8), b"\xfc" + bytes(16), b"\xff" + bytes(6)),
           ("neighbourhood.g3.messages.decode",)),
)  # fmt: skip
