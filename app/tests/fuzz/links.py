"""HDLC links as fuzz targets: what arrives at a client in the middle of a session, and at a meter's station."""

from contextlib import suppress

from dcu.cli.decoding import Decoder
from dcu.cli.sniff import Tap
from dcu.collect.reach import Reach
from dcu.errors import DecodeError
from dcu.link import hdlc, hdlc_parameters, mode_e
from dcu.link.hdlc import LLC_COMMAND, LLC_RESPONSE, Address, Control, Frame, Kind
from dcu.link.hdlc_client import ClientLink, Setup
from dcu.link.hdlc_multidrop import Multidrop
from dcu.link.hdlc_parameters import Parameters, Reason, Rejection
from dcu.link.hdlc_server import Station, Terms

from .kept import Prepared
from .streams import cut

CLIENT, SERVER = Address(16), Address(1, 17, 2)
_TERMS = Parameters(64, 64, 7, 7)


def _up(kind, information=b"", *, final=True, send=0, receive=0, segmented=False):
    return hdlc.encode(Frame(SERVER, CLIENT, Control(kind, final, send, receive), information, segmented))


def _down(kind, information=b"", *, final=True, send=0, receive=0, segmented=False):
    return hdlc.encode(Frame(CLIENT, SERVER, Control(kind, final, send, receive), information, segmented))


def terms(data):
    decoded = hdlc_parameters.decode_parameters(data)
    assert hdlc_parameters.decode_parameters(hdlc_parameters.encode_parameters(decoded)) == decoded
    return hdlc_parameters.agree(decoded, hdlc_parameters.DEFAULT) == hdlc_parameters.DEFAULT


def rejection(data):
    decoded = hdlc_parameters.decode_rejection(data)
    assert hdlc_parameters.decode_rejection(decoded.encode()) == decoded
    return decoded.reason


def station(data):
    """A meter hears pieces as long as their first byte says, a tenth of a second apart."""
    meter = Station(lambda client, server, apdu: apdu, physical=17, terms=Terms(_TERMS, max_apdu=4096), clients=4)
    wire = b""
    now = 0.0
    for part in cut(data):
        now += 0.1
        wire += meter.feed(part, now) + meter.tick(now)
    assert len(meter.links) <= 4
    return tuple(sorted({frame.control.kind.name for frame in hdlc.Decoder().feed(wire)}))


def multidrop(data):
    """Three meters on one line; a tenth of a second from piece to piece."""
    stations = {
        number: Station(lambda client, server, apdu: apdu, physical=number, terms=Terms(_TERMS, max_apdu=4096))
        for number in (16, 17, 18)
    }
    meters = Multidrop(stations, inter_octet=0.5)
    wire = b""
    now = 0.0
    for part in cut(data):
        now += 0.1
        wire += meters.feed(part, now) + meters.tick(now)
    spoken = {(frame.source.lower, frame.control.kind.name) for frame in hdlc.Decoder().feed(wire)}
    return tuple(sorted(spoken)), bool(meters.strays)


def signed_on(data):
    """At least one of the three must fit for a good outcome."""
    fits = []
    for decode in (mode_e.decode_identification, mode_e.decode_acknowledgement, mode_e.decode_readout):
        with suppress(DecodeError):
            fits.append((decode.__name__, type(decode(data)).__name__))
    if not fits:
        raise DecodeError("none fits")
    return tuple(fits)


def lines(data):
    heard = mode_e.Lines()
    for part in cut(data):
        heard.feed(part)
    return tuple(sorted({kind for kind, _ in heard.ready})), heard.in_block


def sniffed(data):
    tap = Tap(Decoder())
    found = [item for part in cut(data) for item in tap.feed(part)] + list(tap.silence())
    return tuple(sorted({item.get("frame", "") for item in found})), any("apdu" in item for item in found)


def reach(data):
    found = Reach.parse(data.decode())
    return found.hdlc, found.carrier, found.physical is not None


class Client(Prepared):
    """The same for a client that has just asked something and wants its answer."""

    def prepare(self):
        self.link = link = ClientLink(Setup(CLIENT, SERVER, _TERMS, max_apdu=4096))
        link.connect()
        link.output(0.0)
        link.feed(_down(Kind.UA), 0.0)
        link.send(bytes(100))
        link.listening = True
        return (link,)

    def take(self, data):
        link = self.link
        now = 0.0
        for part in cut(data):
            now += 0.1
            link.output(now)
            link.feed(part, now)
            link.tick(now)
        return link.state.name, bool(link.received), bool(link.notifications), type(link.error).__name__


_PARAMETERS = hdlc_parameters.encode_parameters(_TERMS)
_REJECTED = Rejection(0x19, 1, 2, Reason.CONTROL).encode()
PARAMETERS = (_PARAMETERS, hdlc_parameters.encode_parameters(Parameters(1024, 2030, 3, 1)), b"\x81\x80\x00")
REJECTIONS = (_REJECTED,)
UP = (
    _up(Kind.SNRM, _PARAMETERS),
    _up(Kind.SNRM),
    _up(Kind.I, LLC_COMMAND + b"ask"),
    _up(Kind.I, LLC_COMMAND + bytes(50), segmented=True) + _up(Kind.I, b"end", send=1),
    _up(Kind.RR, receive=1),
    _up(Kind.RNR),
    _up(Kind.REJ),
    _up(Kind.UI, LLC_COMMAND + b"ask"),
    _up(Kind.DISC),
)
DOWN = (
    _down(Kind.I, LLC_RESPONSE + b"answer", receive=2),
    _down(Kind.I, LLC_RESPONSE + bytes(50), segmented=True, final=False) + _down(Kind.I, b"end", send=1),
    _down(Kind.RR, receive=1),
    _down(Kind.RNR, receive=2),
    _down(Kind.REJ),
    _down(Kind.UI, LLC_RESPONSE + b"\x0fpush", final=False),
    _down(Kind.FRMR, _REJECTED),
    _down(Kind.DM),
)
_READ_OUT = b"F.F(00000000)\r\n1.8.0(000123.456*kWh)\r\n1.6.1(00.123*kW)(2511201200)\r\n!\r\n"
SIGN_ONS = (
    b"/LGZ5\\2ZMD3104107.B32\r\n",
    b"/EMHAEHZ-ED\r\n",
    mode_e.encode_acknowledgement(9600, "E"),
    _READ_OUT,
    mode_e.encode_block(_READ_OUT),
)
REACHES = tuple(
    written.encode()
    for written in (
        "tcp://192.0.2.7:4059",
        "udp://[2001:db8::7]:4059",
        "hdlc+tcp://server.example:4000/17",
        "hdlc+serial://cabinet/1234",
        "hdlc+serial://head/17@12345678#2",
    )
)
STATION_SEEDS = (
    b"\x3f" + b"".join(UP),
    b"\x10" + UP[0] + UP[2] * 3,
    *(b"\x3f" + UP[0] + wire for wire in UP[2:]),  # short ones: what is made of them takes a third of the time
)
CLIENT_SEEDS = (b"\x3f" + b"".join(DOWN[:5]), b"\x10" + DOWN[0] * 2, *(b"\x3f" + wire for wire in DOWN))
