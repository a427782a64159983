"""Every service in every association over every link: our client at our server, with nothing left out between them.

A session of its own each: sockets on loopback, and for the serial line a pair of streams under HDLC. The APDUs are long
enough that every link has to cut them, and short enough that the client and the meter need blocks.
"""

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import count

import pytest

from dcu.collect.dialogue import converse
from dcu.cosem import axdr, data
from dcu.cosem.apdu import (
    AccessAction,
    Accessed,
    AccessGet,
    AccessSet,
    ActionResult,
    DataAccessResult,
    EventNotification,
    Returned,
)
from dcu.cosem.apdu.short import InformationReport, Name
from dcu.cosem.client import ClientSession
from dcu.cosem.server import ServerSession
from dcu.cosem.short import ShortSession
from dcu.link import tcp, udp
from dcu.link.channel import DatagramChannel, StreamChannel
from dcu.link.hdlc import Address
from dcu.link.hdlc_channel import open_hdlc
from dcu.link.hdlc_client import Setup
from dcu.link.hdlc_listen import serve_hdlc_stream, serve_hdlc_tcp
from dcu.link.hdlc_parameters import Parameters
from dcu.link.hdlc_server import Station, Terms
from dcu.link.hdlc_udp import serve_hdlc_udp
from dcu.link.listen import serve_tcp, serve_udp
from dcu.link.memory import stream_pair
from tests.conformance import EVERY_LINK, SERVICES
from tests.cosem.small_meter import (
    CLIENT,
    CONNECTED,
    DISCONNECT,
    ENERGY,
    ENERGY_NOW,
    GENERAL,
    LIMIT,
    MISSING,
    PROFILE,
    SCALER,
    SMALL,
    WHOLE,
    SmallMeter,
    association,
    context_of,
    least,
    server_terms,
    services_row,
    text,
)
from tests.cosem.test_short import CONTEXTS as SHORT_CONTEXTS
from tests.cosem.test_short import NAMES, ListMeter, short_row

LINKS = sorted(EVERY_LINK)
LOSSY = "wrapper over UDP"
SETUP = Setup(Address(CLIENT), Address(1, 17, 2), Parameters(128, 128, 7, 7))
TERMS = Terms(Parameters(128, 128, 7, 7))
OK = DataAccessResult.SUCCESS
EVENT = "event-notification, information-report"
SHORT = (
    *("GET", "GET in blocks", "GET with list", "SET", "SET in blocks", "ACTION", "ACTION in blocks"),
    *("unconfirmed SET", EVENT),
)


def conforms(row, services):
    def marked(test):
        for service in services:
            test = pytest.mark.conforms("Services", row, peer=service, link=lambda link: link)(test)
        return test

    return marked


@asynccontextmanager
async def carried(link, handler):
    """A client's channel over `link` to a server whose APDUs `handler` answers."""

    def factory(_peer):
        return handler

    if link == "HDLC":
        near, far = stream_pair()
        serving = asyncio.create_task(serve_hdlc_stream(far, Station(handler, physical=17, terms=TERMS)))
        channel = await open_hdlc(near, SETUP)
        yield channel
        await channel.close()
        await serving
        return
    over_tcp = link.endswith("TCP")
    if link.startswith("HDLC"):
        serve = serve_hdlc_tcp if over_tcp else serve_hdlc_udp
        server = await serve("127.0.0.1", 0, factory, terms=TERMS, physical=17)
    else:
        server = await (serve_tcp if over_tcp else serve_udp)("127.0.0.1", 0, factory)
    opened = await (tcp if over_tcp else udp).connect("127.0.0.1", server.port)
    if link.startswith("HDLC"):
        channel = await open_hdlc(opened if over_tcp else udp.DatagramStream(opened), SETUP)
    else:
        channel = (StreamChannel if over_tcp else DatagramChannel)(opened, CLIENT, 1)
    yield channel
    await channel.close()
    await server.close()


class Side:
    """The meter, what it has to say before its next answer, and a client; both sides' counters go on."""

    def __init__(self, meter, terms, *, lossy=False):
        self.meter = meter
        self.lossy = {"lossy": True} if lossy else {}
        self.server = ServerSession(meter, {CLIENT: terms}, counter=count(5000).__next__, **self.lossy)
        self.counter = count(1).__next__
        self.event = None
        self.channel = None
        self.client = None

    def answer(self, client, server, apdu):
        event, self.event = self.event, None
        said = () if event is None else (self.server.notification(client, event),)
        answered = self.server.receive(client, apdu)
        return (*said, *((answered,) if isinstance(answered, bytes) else answered or ())) or None

    async def run(self, exchange):
        return await converse(exchange, self.channel, timeout=20)

    async def associate(self, kind, settings):
        self.client = kind(settings, counter=self.counter, **self.lossy)
        await self.run(self.client.associate())

    async def told(self, event, asked):
        """What is asked is answered, though the meter has something else to say first."""
        self.event = event
        answer = await self.run(asked)
        assert [each.notification for each in self.client.notifications] == [event]
        return answer


def returned(sap, method, parameter):
    return parameter


async def simple(side):
    """GET, SET and ACTION, and an event among them: what short names have, too."""
    run, client, meter = side.run, side.client, side.meter
    assert await run(client.get(ENERGY)) == ENERGY_NOW
    assert await run(client.get(PROFILE)) == meter.values[PROFILE]
    listed = [ENERGY, PROFILE, SCALER]
    assert await run(client.get_list([(each, None) for each in listed])) == tuple(meter.values[each] for each in listed)
    await run(client.set(LIMIT, text(3)))
    assert await run(client.get(LIMIT)) == text(3)
    await side.channel.send(client.unconfirmed([(LIMIT, text(4))]))
    assert await run(client.get(LIMIT)) == text(4)
    assert await run(client.action(DISCONNECT, axdr.encode(data.i8(0)))) == axdr.encode(data.i8(0))
    assert await run(client.get(CONNECTED)) == axdr.encode(data.boolean(False))


async def in_blocks(side, room):
    run, client = side.run, side.client
    await run(client.set(LIMIT, text(5 * room)))
    assert await run(client.get(LIMIT)) == text(5 * room)
    side.meter.action = returned
    assert await run(client.action(DISCONNECT, text(4 * room))) == text(4 * room)


async def long(side, room):
    run, client = side.run, side.client
    await in_blocks(side, room)
    results = await run(client.set_list([(LIMIT, text(room)), (ENERGY, text(room)), (LIMIT, text(9))]))
    assert results == (OK, DataAccessResult.READ_WRITE_DENIED, OK)
    assert await run(client.access([AccessGet(ENERGY), AccessSet(LIMIT, text(5)), AccessGet(MISSING)])) == (
        Accessed(OK, ENERGY_NOW),
        Accessed(OK),
        Accessed(DataAccessResult.OBJECT_UNDEFINED),
    )
    assert await run(client.action_list([(DISCONNECT, text(room)), (DISCONNECT, text(2))])) == (
        Returned(ActionResult.SUCCESS, text(room)),
        Returned(ActionResult.SUCCESS, text(2)),
    )


async def general(side, room):
    run, client = side.run, side.client
    await run(client.set(LIMIT, text(5 * room)))
    assert await run(client.get(LIMIT)) == text(5 * room)
    assert await run(client.access([AccessGet(LIMIT), AccessAction(DISCONNECT, text(3 * room))])) == (
        Accessed(OK, text(5 * room)),
        Accessed(ActionResult.SUCCESS, text(3 * room)),
    )


@conforms(services_row, SERVICES)
@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("context", WHOLE)
async def test_every_service_works(context, link):
    room = least(context)
    terms = replace(server_terms(context), max_pdu=room)
    side = Side(SmallMeter(), terms, lossy=link == LOSSY)
    async with carried(link, side.answer) as side.channel:
        await side.associate(ClientSession, association(context, max_pdu=room))
        await simple(side)
        event = EventNotification(b"", LIMIT, text(3))
        assert await side.told(event, side.client.get(ENERGY)) == ENERGY_NOW
        await long(side, room)
        await side.run(side.client.release())

        side.server._associations = {CLIENT: replace(terms, conformance=GENERAL)}
        await side.associate(ClientSession, replace(association(context, max_pdu=room), conformance=GENERAL))
        await general(side, room)
        await side.run(side.client.release())
    assert side.client.refused.total == side.server.refused.total == 0


@conforms(short_row, SHORT)
@pytest.mark.parametrize(
    ("context", "link"),
    [
        (context, link)
        for context in SHORT_CONTEXTS
        for link in LINKS
        if link != LOSSY or context_of(context)[1].authentic  # without an invoke-id only counters tell datagrams apart
    ],
)
async def test_every_service_of_short_names_works(context, link):
    terms = replace(server_terms(context), max_pdu=SMALL, names=NAMES)
    side = Side(ListMeter(), terms, lossy=link == LOSSY)
    async with carried(link, side.answer) as side.channel:
        await side.associate(ShortSession, replace(association(context, max_pdu=SMALL), short=True))
        await simple(side)
        report = InformationReport(b"", (Name(0x0208),), (text(3),))
        side.event = report
        assert await side.run(side.client.get(ENERGY)) == ENERGY_NOW
        assert len(side.client.notifications) == 1
        await in_blocks(side, SMALL)
        await side.run(side.client.release())
    assert side.client.refused.total == side.server.refused.total == 0
