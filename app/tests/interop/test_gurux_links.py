"""gurux-dlms at our server over every link: a serial line, TCP and UDP, in HDLC and in the wrapper, nothing left out.

Our servers listen on loopback and at a pseudo-terminal, in a thread; gurux's frames go there as they are. The APDUs are
long enough that client and meter need blocks, and HDLC segments.
"""

import asyncio
import socket
import time
from contextlib import contextmanager

import pytest
from gurux_dlms import GXReplyData
from gurux_dlms.enums import AccessServiceCommandType, DataType, ErrorCode, InterfaceType, ServiceClass
from gurux_dlms.objects import GXDLMSData, GXDLMSSapAssignment

from dcu.cosem import axdr, data
from dcu.cosem.association import Authentication
from dcu.cosem.short_names import CURRENT
from dcu.link import wrapper
from dcu.link.hdlc_listen import serve_hdlc_stream, serve_hdlc_tcp
from dcu.link.hdlc_server import Station
from dcu.link.hdlc_udp import serve_hdlc_udp
from dcu.link.listen import serve_tcp, serve_udp
from dcu.link.serial import Port, open_serial
from dcu.model import AttributeRef
from neighbourhood.fleet import Fleet
from neighbourhood.meter import CONCENTRATOR, Habits
from tests.cli.street import Background
from tests.conformance import EVERY_LINK
from tests.cosem.small_meter import CLIENT, DISCONNECT, LIMIT, association_row, protection_row, text
from tests.cosem.test_short import NAMES
from tests.link.pty import Pty

from .gurux_client import (
    GENERAL_PROTECTION,
    NOW,
    ROWS,
    Asking,
    Far,
    ProfileMeter,
    accessed,
    client_in,
    client_of,
    general_row,
    limit,
    load_profile,
    register,
    relay,
    rows_of,
    session,
    terms_in,
)

LINKS = sorted(EVERY_LINK)
CONTEXTS = ("none", "low", "md5, plain services", "sha256, global key", "gmac, plain services", "gmac, global key",
            "gmac, dedicated key", "gmac, suite 1, global key", "gmac, suite 2, dedicated key")  # fmt: skip
SERVICES = ("GET", "GET in blocks", "GET with list", "SET", "SET in blocks", "ACTION", "ACTION in blocks")
GENERAL = [f"gmac, {suite}{key} key" for suite in ("", "suite 1, ", "suite 2, ") for key in ("global", "dedicated")]
ROOM = 250
LONG = bytes(at % 251 for at in range(700))


class Socket:
    def __init__(self, port, *, datagrams):
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM if datagrams else socket.SOCK_STREAM)
        self._socket.settimeout(5)
        self._socket.connect(("127.0.0.1", port))
        self.write, self.unplug = self._socket.sendall, self._socket.close

    def read(self):
        return self._socket.recv(0x10000)


@contextmanager
def listening(link, handler):
    """Our server, which answers as `handler` does; yields the other end of a way to it."""
    background = Background()

    def factory(_peer):
        return handler

    async def at_line(path):
        stream = await open_serial(Port(path))
        return asyncio.create_task(serve_hdlc_stream(stream, Station(handler, physical=17)))

    async def ended(task):
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    if link == "HDLC":
        end = Pty()
        serving = background.run(at_line(end.path))
        closing = ended(serving)
    else:
        datagrams = link.endswith("UDP")
        if link.startswith("HDLC"):
            serve = serve_hdlc_udp if datagrams else serve_hdlc_tcp
            server = background.run(serve("127.0.0.1", 0, factory, physical=17))
        else:
            server = background.run((serve_udp if datagrams else serve_tcp)("127.0.0.1", 0, factory))
        end = Socket(server.port, datagrams=datagrams)
        closing = server.close()
    try:
        yield end
    finally:
        background.run(closing)
        end.unplug()
        background.close()


class Remote(Far):
    """A gurux client at one end of a link."""

    def __init__(self, client, end):
        super().__init__(client)
        self._end = end
        self.written = []

    def write(self, frame):
        self.written.append(frame)
        self._end.write(frame)

    def read_some(self):
        time.sleep(0.0002)
        return self._end.read()


def everything(gurux, meter):
    """Every service that gurux has without lending it anything."""
    ask, client = gurux.ask, gurux.client
    assert gurux.value(register()) == 123_456_789
    assert rows_of(ask(client.read(load_profile(), 2))) == ROWS
    assert ask(client.write(limit(2500), 2)).error == 0
    assert ask(client.write(limit(LONG, DataType.OCTET_STRING), 2)).error == 0
    assert ask(relay().remoteDisconnect(client)).error == 0
    meter.action = lambda _client, method, parameter: meter.done.append((method, parameter)) or parameter
    reply = ask(client.method(relay(), 1, LONG, DataType.OCTET_STRING))
    assert (reply.error, bytes(reply.value)) == (0, LONG)
    assert meter.done == [
        (LIMIT, axdr.encode(data.u32(2500))),
        (LIMIT, text(700)),
        (DISCONNECT, axdr.encode(data.i8(0))),
        (DISCONNECT, text(700)),
    ]
    energy = register()
    assert ask(client.readList([(energy, 2), (energy, 3)])).value == [123_456_789, [0, 30]]


def claim(section, row, link, **more):
    return pytest.mark.conforms(section, row, peer="gurux-dlms client", link=link, **more)


def at(link):
    return link


def medium(link):
    return "serial" if link == "HDLC" else link.rpartition(" ")[2]


def of_link(row):
    """That row of section Link, where it is of the link."""
    return lambda link: row if link.startswith(row.partition(",")[0]) else None


def conforms(test):
    for service in SERVICES:
        test = claim("Service", service, at)(test)
    for row in ("HDLC", "HDLC, segmentation", "HDLC, SNRM without parameters", "wrapper"):
        test = claim("Link", of_link(row), medium)(test)
    return claim("Association", association_row, at)(claim("Protection", protection_row, at)(test))


@contextmanager
def associated(context, link, **terms):
    """gurux, our meter, and our server; terms: of the server, beside those of the context."""
    meter, hdlc = ProfileMeter(), link.startswith("HDLC")
    server = session(meter, terms_in(context, max_pdu=ROOM, **terms))
    how = {"address": 1 << 7 | 17, "interface": InterfaceType.HDLC} if hdlc else {}
    client = client_in(context, room=ROOM, short="names" in terms, **how)
    client.serverAddressSize = 2
    with listening(link, lambda sap, _, frame: server.receive(sap, frame)) as end:
        yield Remote(client, end).connect(), meter, server


@conforms
@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("context", CONTEXTS)
def test_gurux_has_every_service_over_the_link(context, link):
    with associated(context, link) as (gurux, meter, server):
        everything(gurux, meter)
        gurux.ask(gurux.client.releaseRequest())
        assert not server.associated(CLIENT)
        assert server.refused.total == gurux.turned_down
        if link.startswith("HDLC"):
            assert gurux.written[0][:3] == b"\x7e\xa0\x08"  # its SNRM: addresses, and no parameters


@claim("Protection", general_row, at)
@claim("Service", "ACCESS", at)
@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("context", GENERAL)
def test_gurux_asks_in_general_ciphering_over_the_link(context, link):
    with associated(context, link, conformance=GENERAL_PROTECTION) as (gurux, meter, server):
        energy = register()
        assert accessed(gurux, (AccessServiceCommandType.GET, energy)) == [ErrorCode.OK]
        assert energy.value == 123_456_789
        assert rows_of(gurux.ask(gurux.client.read(load_profile(), 2))) == ROWS
        assert gurux.ask(gurux.client.write(limit(2500), 2)).error == 0
        assert gurux.ask(relay().remoteDisconnect(gurux.client)).error == 0
        assert meter.done == [(LIMIT, axdr.encode(data.u32(2500))), (DISCONNECT, axdr.encode(data.i8(0)))]
        assert server.refused.total == gurux.turned_down


@claim("Referencing", lambda context: f"SN, {association_row(context)}, {protection_row(context)}", at)
@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("context", ["none", "low"])
def test_gurux_asks_by_short_names_over_the_link(context, link):
    """Whole: it takes no blocks."""
    with associated(context, link, names=NAMES) as (gurux, meter, server):
        meter.values[AttributeRef(12, CURRENT, 2)] = NAMES.encode()
        objects = gurux.client.parseObjects(gurux.ask(gurux.client.getObjectsRequest()).data, True)
        assert gurux.value(objects.findBySN(0x0100)) == 123_456_789
        item = objects.findBySN(0x0200)
        item.value = 2500
        item.setDataType(2, DataType.UINT32)
        assert gurux.ask(gurux.client.write(item, 2)).error == 0
        assert gurux.ask(objects.findBySN(0x0400).remoteDisconnect(gurux.client)).error == 0
        assert meter.done == [(LIMIT, axdr.encode(data.u32(2500))), (DISCONNECT, axdr.encode(data.i8(0)))]
        assert server.refused.total == 0


def written_unconfirmed(gurux):
    gurux.client.serviceClass = ServiceClass.UN_CONFIRMED
    (frame,) = gurux.client.write(limit(2600), 2)
    gurux.client.serviceClass = ServiceClass.CONFIRMED
    return bytes(frame)


@claim("Service", "unconfirmed SET", at)
@pytest.mark.parametrize("link", [link for link in LINKS if link.startswith("wrapper")])
@pytest.mark.parametrize("context", ["none", "gmac, global key"])
def test_what_gurux_writes_unconfirmed_is_not_answered(context, link):
    with associated(context, link) as (gurux, meter, _):
        gurux.write(written_unconfirmed(gurux))
        assert gurux.value(limit(0)) == 2600
        assert meter.done == [(LIMIT, axdr.encode(data.u32(2600)))]


@claim(
    "Service", "unconfirmed SET", at, defect="over HDLC it takes the confirmation for an answer: its next N(R) is wrong"
)
@pytest.mark.parametrize("link", [link for link in LINKS if link.startswith("HDLC")])
@pytest.mark.parametrize("context", ["none", "gmac, global key"])
def test_guruxs_next_frame_after_an_unconfirmed_one_is_refused_over_hdlc(context, link):
    """(gurux) What it wrote has arrived; then it confirms a frame of ours that there was not, and gets an FRMR."""
    with associated(context, link) as (gurux, meter, _):
        assert gurux.value(register()) == 123_456_789
        confirmed = gurux.written[-1][6] >> 5
        (receiver_ready,) = gurux.carry(written_unconfirmed(gurux))
        assert meter.done == [(LIMIT, axdr.encode(data.u32(2600)))]
        assert receiver_ready[6] & 0x0F == 0x01
        gurux.client.getData(receiver_ready, GXReplyData(), GXReplyData())
        (request,) = gurux.client.read(register(), 2)
        (refused,) = gurux.carry(bytes(request))
        assert (gurux.written[-1][6] >> 5, refused[6]) == (confirmed + 2, 0x97)


class Nobody:
    """Of the other end of a connection: where the meter would push to."""

    def push(self, server_sap, client_sap, apdu):
        raise AssertionError

    def close(self):
        pass


class Near(Asking):
    """A gurux client of one of several logical devices, joined by calls."""

    def __init__(self, fleet, sap, link):
        talk = fleet.talk(fleet.meters[0], Nobody())
        self._station = Station(talk, physical=17) if link == "HDLC" else None
        self._talk = talk
        address = sap << 7 | 17 if self._station else sap
        interface = InterfaceType.HDLC if self._station else InterfaceType.WRAPPER
        super().__init__(client_of(fleet.meters[sap - 1], CONCENTRATOR, address, interface))
        if self._station:
            self.client.parseUAResponse(self.ask(self.client.snrmRequest()).data)

    def carry(self, frame):
        if self._station:
            return [self._station.feed(frame, 0.0)]
        request = wrapper.decode(frame)
        answer = self._talk(request.source, request.destination, request.apdu)
        return [wrapper.encode(request.destination, request.source, answer)]


@claim("Association", "several logical devices", at)
@pytest.mark.parametrize("kind", [Authentication.NONE, Authentication.GMAC])
@pytest.mark.parametrize("link", ["HDLC", "wrapper"])
def test_gurux_reads_each_logical_device_by_its_address(link, kind):
    fleet = Fleet(2, 1, lambda: NOW, habits=Habits(authentication=kind), logical=2)
    names = [meter.device_name for meter in fleet.meters]
    for sap, name in enumerate(names, 1):
        gurux = Near(fleet, sap, link).associate()
        assert bytes(gurux.value(GXDLMSData("0.0.42.0.0.255"))).decode() == name
        if sap == 1:
            listed = gurux.read(GXDLMSSapAssignment("0.0.41.0.0.255"), 2).sapAssignmentList
            assert listed == list(enumerate(names, 1))
