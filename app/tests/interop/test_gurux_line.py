"""gurux-dlms (PyPI, GPL-2.0) reads meters of our street over a serial line: HDLC on a pseudo-terminal, by pyserial.

Framing, numbering, segmentation, addressing and ciphering of the client are not ours. Its own limits: it negotiates
windows and never uses them, and acknowledges every frame.
"""

import time
from contextlib import contextmanager

import pytest
import serial
from gurux_dlms import GXReplyData
from gurux_dlms.enums import AssociationResult, InterfaceType, Security
from gurux_dlms.enums import Authentication as GXAuthentication
from gurux_dlms.GXDLMSException import GXDLMSException
from gurux_dlms.objects import GXDLMSData, GXDLMSProfileGeneric, GXDLMSRegister
from gurux_dlms.secure import GXDLMSSecureClient

from dcu.link.mode_e import encode_acknowledgement
from neighbourhood.fleet import Addressing
from neighbourhood.meter import CONCENTRATOR
from neighbourhood.wires import Wiring
from tests.cli.street import Street

CLIENT_TITLE = b"GRX\x00\x00\x00\x00\x01"


class Gurux:
    """A gurux client at a serial port."""

    def __init__(self, port, meter, physical, size=2, *, secured=True):
        self.port = port
        address = {2: 1 << 7 | physical, 4: 1 << 14 | physical}[size]
        how = GXAuthentication.HIGH_GMAC if secured else GXAuthentication.NONE
        client = GXDLMSSecureClient(True, 1 if secured else 16, address, how, None, InterfaceType.HDLC)
        client.serverAddressSize = size
        if secured:
            keys = meter.keys(CONCENTRATOR)
            client.ciphering.security = Security.AUTHENTICATION_ENCRYPTION
            client.ciphering.systemTitle = CLIENT_TITLE
            client.ciphering.blockCipherKey = keys.guek.reveal()
            client.ciphering.authenticationKey = keys.gak.reveal()
            client.ciphering.invocationCounter = meter.heard.highest + 1
        self.client = client

    def ask(self, frames):
        reply = GXReplyData()
        for frame in [frames] if isinstance(frames, bytes | bytearray) else frames:
            if isinstance(frame, list):
                return self.ask(frame)
            reply.clear()
            self._exchange(frame, reply)
            while reply.isMoreData():
                self._exchange(self.client.receiverReady(reply), reply)
        return reply

    def _exchange(self, frame, reply):
        self.port.write(bytes(frame))
        until, heard = time.monotonic() + 5, b""
        while time.monotonic() < until:
            heard += self.port.read(self.port.in_waiting or 1)
            if len(heard) > 2 and len(heard) >= (heard[1] << 8 & 0x700 | heard[2]) + 2:
                size = (heard[1] << 8 & 0x700 | heard[2]) + 2
                self.client.getData(heard[:size], reply, GXReplyData())
                return
        raise AssertionError(f"no answer to {bytes(frame).hex()}: {heard.hex()}")

    def connect(self):
        self.client.parseUAResponse(self.ask(self.client.snrmRequest()).data)
        for left in reversed(range(5)):
            try:
                self.client.parseAareResponse(self.ask(self.client.aarqRequest()).data)
                break
            except GXDLMSException as refused:
                # (gurux) It draws any bytes: one challenge in twelve looks like an APDU, and is turned down for now.
                if refused.result != AssociationResult.TRANSIENT_REJECTED or not left:
                    raise
        if self.client.authentication > GXAuthentication.LOW:
            proof = self.ask(self.client.getApplicationAssociationRequest())
            self.client.parseApplicationAssociationResponse(proof.data)
        return self

    def value(self, target, attribute=2):
        reply = self.ask(self.client.read(target, attribute))
        return self.client.updateValue(target, attribute, reply.value)

    def disconnect(self):
        self.ask(self.client.disconnectRequest())


@pytest.fixture
def line(tmp_path):
    """Makes streets on a line; yields the street, and the port at the other end."""

    @contextmanager
    def make(count=3, **wiring):
        street = Street(tmp_path, count=count, place=Addressing(wiring=Wiring(tmp_path / "bus", **wiring)))
        street.meter.given = None  # every meter has its own keys
        port = serial.Serial(str(tmp_path / "bus"), 9600, timeout=0.2)
        try:
            yield street, port
        finally:
            port.close()
            street.close()

    return make


@pytest.mark.conforms("Link", "HDLC, several meters on one line", peer="gurux-dlms client", link="serial")
@pytest.mark.parametrize("size", [2, 4])
def test_gurux_reads_each_meter_of_a_line(line, size):
    with line() as (street, port):
        for number, meter in enumerate(street.fleet.meters):
            gurux = Gurux(port, meter, 17 + number, size).connect()
            before = meter.registers(meter.now()).active_import
            assert before <= gurux.value(GXDLMSRegister("1.0.1.8.0.255")) <= meter.registers(meter.now()).active_import
            gurux.disconnect()
        assert street.fleet.status()["counter_reuse"] == 0


@pytest.mark.conforms("Link", "HDLC, segmentation", peer="gurux-dlms client", link="serial")
def test_gurux_joins_a_profile_that_comes_in_segments_and_blocks(line):
    with line(1) as (street, port):
        gurux = Gurux(port, street.meter, 17).connect()
        reply = gurux.ask(gurux.client.readRowsByEntry(GXDLMSProfileGeneric("1.0.99.1.0.255"), 1, 100))
        assert len(reply.value) == 100


def test_gurux_without_security_reads_the_meters_name(line):
    with line() as (street, port):
        gurux = Gurux(port, street.fleet.meters[1], 18, secured=False).connect()
        reply = gurux.ask(gurux.client.read(GXDLMSData("0.0.42.0.0.255"), 2))
        assert bytes(reply.value) == street.fleet.meters[1].device_name.encode()


@pytest.mark.conforms("Link", "HDLC after a sign-on in mode E", peer="gurux-dlms client", link="serial")
def test_gurux_signs_on_in_mode_e_and_reads(line):
    """The sign-on as gurux's own examples do it: at 300 baud, then the port is set anew."""
    with line(1, head="E") as (street, port):
        port.baudrate = 300
        port.write(b"/?!\r\n")
        told = port.read_until(b"\n")
        assert told[:3] == b"/GD"
        assert b"\\2" in told
        port.write(encode_acknowledgement(9600, "E"))
        assert port.read_until(b"\n") == encode_acknowledgement(9600, "E")
        port.baudrate = 9600
        gurux = Gurux(port, street.meter, 17).connect()
        assert gurux.value(GXDLMSRegister("1.0.1.8.0.255")) > 0
