"""gurux-dlms (PyPI, GPL-2.0) as an HDLC client of our station: framing, numbering and segmentation that are not ours.

It is driven without I/O. Its own limits: it negotiates windows and never uses them, and acknowledges every frame.
"""

from itertools import count

import pytest
from gurux_dlms import GXReplyData
from gurux_dlms.enums import Authentication as GXAuthentication
from gurux_dlms.enums import InterfaceType, Security
from gurux_dlms.objects import GXDLMSProfileGeneric, GXDLMSRegister
from gurux_dlms.secure import GXDLMSSecureClient

from dcu.cosem.association import ServerAssociation
from dcu.cosem.server import ServerSession
from dcu.link.hdlc import Decoder, Kind
from dcu.link.hdlc_parameters import Parameters
from dcu.link.hdlc_server import Station, Terms
from tests.cosem.small_meter import CLIENT, CLIENT_TITLE, CONTEXTS, KEYS, SmallMeter, association_row, protection_row
from tests.interop.gurux_client import Asking


class Gurux(Asking):
    """A gurux client and our station, joined by calls."""

    def __init__(self, context, size, terms=None):
        authentication, policy, _ = CONTEXTS[context]
        associations = {CLIENT: ServerAssociation(authentication, KEYS, CLIENT_TITLE, policy)}
        peer = ServerSession(SmallMeter(rows=300), associations, counter=count(5000).__next__)
        self.station = Station(lambda client, server, apdu: peer.receive(client, apdu), physical=17, terms=terms)
        how = {"none": GXAuthentication.NONE, "low": GXAuthentication.LOW}.get(context, GXAuthentication.HIGH_GMAC)
        address = {1: 1, 2: 1 << 7 | 17, 4: 1 << 14 | 17}[size]  # logical 1, physical 17
        password = KEYS.password.reveal() if context == "low" else None
        client = GXDLMSSecureClient(True, CLIENT, address, how, password, InterfaceType.HDLC)
        super().__init__(client)
        client.serverAddressSize = size
        client.ciphering.security = Security.AUTHENTICATION_ENCRYPTION if policy.response else Security.NONE
        client.ciphering.systemTitle = CLIENT_TITLE
        client.ciphering.blockCipherKey = KEYS.guek.reveal()
        client.ciphering.authenticationKey = KEYS.gak.reveal()
        self.heard = []
        self.said = []

    def carry(self, frame):
        wire = self.station.feed(frame, 0.0)
        self.heard += Decoder().feed(frame)
        self.said += Decoder().feed(wire)
        assert wire
        while wire:
            size = (wire[1] << 8 & 0x700 | wire[2]) + 2
            yield wire[:size]
            wire = wire[size:]

    def connect(self):
        self.client.parseUAResponse(self.ask(self.client.snrmRequest()).data)
        self.associate()


@pytest.mark.conforms("Association", association_row, peer="gurux-dlms client", link="HDLC")
@pytest.mark.conforms("Protection", protection_row, peer="gurux-dlms client", link="HDLC")
@pytest.mark.parametrize("size", [1, 2, 4])
@pytest.mark.parametrize("context", ["none", "low", "gmac, global key"])
def test_gurux_connects_associates_and_reads(context, size):
    gurux = Gurux(context, size)
    gurux.connect()
    assert gurux.value(GXDLMSRegister("1.0.1.8.0.255")) == 123_456_789
    assert gurux.heard[0].control.kind is Kind.SNRM
    assert gurux.heard[0].destination.size == size
    reply = GXReplyData()
    gurux.exchange(gurux.client.disconnectRequest(), reply)
    assert [frame.control.kind.name for frame in gurux.said[:2]] == ["UA", "I"]
    assert gurux.said[-1].control.kind is Kind.UA


def test_gurux_joins_what_our_station_segments():
    gurux = Gurux("none", 1, Terms(Parameters(64, 64, 1, 1)))
    gurux.connect()
    profile = gurux.ask(gurux.client.read(GXDLMSProfileGeneric("1.0.99.1.0.255"), 2))
    assert len(profile.value) == 300
    segments = [frame for frame in gurux.said if frame.segmented]
    assert len(segments) > 30
    assert max(len(frame.information) for frame in segments) == 64
    assert next(iter(gurux.station.links.values())).counted.repeated == 0
