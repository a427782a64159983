"""gurux-dlms (PyPI, GPL-2.0) reads meters of our street over a serial line: HDLC on a pseudo-terminal, by pyserial.

Framing, numbering, segmentation, addressing and ciphering of the client are not ours. Its own limits: it negotiates
windows and never uses them, and acknowledges every frame.
"""

from contextlib import contextmanager

import pytest
import serial
from gurux_dlms.enums import InterfaceType
from gurux_dlms.objects import GXDLMSData

from dcu.link.mode_e import encode_acknowledgement
from neighbourhood.fleet import Addressing
from neighbourhood.meter import CONCENTRATOR, PUBLIC
from neighbourhood.wires import Wiring
from tests.cli.street import Street

from .gurux_client import Far, client_of, load_profile, register


class Gurux(Far):
    """A gurux client at a serial port."""

    def __init__(self, port, meter, physical, size=2, *, secured=True):
        self.port = port
        address = {2: 1 << 7 | physical, 4: 1 << 14 | physical}[size]
        super().__init__(client_of(meter, CONCENTRATOR if secured else PUBLIC, address, InterfaceType.HDLC))
        self.client.serverAddressSize = size

    def write(self, frame):
        self.port.write(frame)

    def read_some(self):
        return self.port.read(self.port.in_waiting or 1)

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
            assert before <= gurux.value(register()) <= meter.registers(meter.now()).active_import
            gurux.disconnect()
        assert street.fleet.status()["counter_reuse"] == 0


@pytest.mark.conforms("Link", "HDLC, segmentation", peer="gurux-dlms client", link="serial")
def test_gurux_joins_a_profile_that_comes_in_segments_and_blocks(line):
    with line(1) as (street, port):
        gurux = Gurux(port, street.meter, 17).connect()
        reply = gurux.ask(gurux.client.readRowsByEntry(load_profile(), 1, 100))
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
        assert gurux.value(register()) > 0
