"""Frames of our own making, and what either end of a link says to them."""

from dcu.link.hdlc import Control, Decoder, Frame, Kind, encode
from dcu.link.hdlc_client import ClientLink, Setup, State
from dcu.link.hdlc_parameters import (
    encode_parameters,
)

from .hdlc_line import CLIENT, SERVER

LLC, BACK = b"\xe6\xe6\x00", b"\xe6\xe7\x00"


def answer(client, server, apdu):
    return bytes((client, server)) + apdu


def raw(station, *frames, now=0.0):
    """What `station` answers to frames of our own making."""
    return list(Decoder().feed(station.feed(b"".join(map(encode, frames)), now)))


def command(kind, information=b"", *, final=True, send=0, receive=0, client=CLIENT, server=SERVER, segmented=False):
    return Frame(server, client, Control(kind, final, send, receive), information, segmented)


def reply(kind, information=b"", *, final=True, send=0, receive=0, segmented=False):
    return encode(Frame(CLIENT, SERVER, Control(kind, final, send, receive), information, segmented))


def connected(**options):
    """A client that has had its UA, with the frames of the meter in the test's hands."""
    link = ClientLink(Setup(CLIENT, SERVER, **options))
    link.connect()
    link.output(0.0)
    link.feed(reply(Kind.UA, encode_parameters(link.setup.parameters)), 0.0)
    assert link.state is State.CONNECTED
    return link


def said(link, now=0.0):
    return [
        (f.control.kind.name, f.control.final, f.control.send, f.control.receive)
        for f in Decoder().feed(link.output(now))
    ]
