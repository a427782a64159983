"""A Channel over HDLC: over memory under virtual time, over TCP, with whole sessions on top; and what it costs."""

import asyncio
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest

from dcu.collect.dialogue import converse
from dcu.cosem import axdr, data, profile
from dcu.cosem.association import AUTHENTICATED_ENCRYPTED, Association, Authentication, ServerAssociation
from dcu.cosem.client import ClientSession
from dcu.cosem.datetimes import CosemDateTime, TimeZoneRule
from dcu.cosem.profile import CLOCK
from dcu.cosem.server import ServerSession
from dcu.errors import LinkClosed, LinkTimeout
from dcu.link import tcp, udp
from dcu.link.hdlc import Address
from dcu.link.hdlc_channel import HdlcChannel, open_hdlc
from dcu.link.hdlc_client import Setup, State
from dcu.link.hdlc_listen import Talks, serve_hdlc_stream, serve_hdlc_tcp
from dcu.link.hdlc_parameters import Parameters
from dcu.link.hdlc_server import CLIENTS, Station, Terms
from dcu.link.hdlc_udp import serve_hdlc_udp
from dcu.link.memory import stream_pair
from dcu.streams import Channel
from tests.cosem.small_meter import CLIENT, CLIENT_TITLE, KEYS, PROFILE, SmallMeter

SERVER = Address(1, 17, 4)
SETUP = Setup(Address(CLIENT), SERVER, Parameters(128, 128, 7, 7))
START = datetime(2026, 1, 1, tzinfo=UTC)
RULE = TimeZoneRule(UTC)


def answer(client, server, apdu):
    return None if apdu == b"hush" else bytes((client, server)) + apdu


async def opened(handler=answer, setup=SETUP, **station):
    near, far = stream_pair(delay=0.01)
    serving = asyncio.create_task(serve_hdlc_stream(far, Station(handler, **station)))
    return await open_hdlc(near, setup), serving


@pytest.mark.looptime
async def test_a_channel_carries_apdus_of_any_length_and_counts_its_bytes():
    channel, serving = await opened()
    typed: Channel = channel
    for size in (1, 125, 126, 5000, 60000):
        await typed.send(bytes(size))
        assert await typed.receive() == bytes((CLIENT, 1)) + bytes(size)
    assert channel.link.counted.repeated == 0
    assert 2 * 65252 < channel.sent + channel.received < 2 * 65252 * 1.2
    await channel.close()
    await serving
    with pytest.raises(LinkClosed):
        await channel.send(b"more")


@pytest.mark.looptime
async def test_a_receive_that_was_cancelled_loses_nothing():
    channel, serving = await opened()
    await channel.send(bytes(3000))
    for _ in range(200):
        try:
            async with asyncio.timeout(0.005):
                got = await channel.receive()
                break
        except TimeoutError:
            continue
    assert got == bytes((CLIENT, 1)) + bytes(3000)
    await channel.close()
    await serving


@pytest.mark.looptime
async def test_a_meter_that_has_no_answer_is_polled_and_the_callers_timeout_counts():
    channel, serving = await opened()
    await channel.send(b"hush")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(5):
            await channel.receive()
    assert channel.link.state is State.CONNECTED
    await channel.send(b"ask")
    assert await channel.receive() == bytes((CLIENT, 1)) + b"ask"
    await channel.close()
    await serving


@pytest.mark.looptime
@pytest.mark.parametrize("window", [1, 3, 7])
async def test_several_answers_to_one_request_are_fetched_though_a_window_ends_between_them(window):
    """As the blocks of a general-block-transfer are: nobody asks for each, and the meter waits for its turn."""
    said = tuple(bytes((number,)) * 100 for number in range(9))
    setup = Setup(Address(CLIENT), SERVER, Parameters(128, 128, window, window))
    channel, serving = await opened(lambda client, server, apdu: said if apdu == b"ask" else apdu, setup)
    await channel.send(b"ask")
    async with asyncio.timeout(5):
        assert [await channel.receive() for _ in said] == list(said)
    await channel.send(b"more")
    assert await channel.receive() == b"more"
    await channel.close()
    await serving


@pytest.mark.looptime
async def test_nobody_at_the_other_end_is_a_timeout():
    near, _ = stream_pair()
    started = asyncio.get_running_loop().time()
    with pytest.raises(LinkTimeout, match="connecting"):
        await open_hdlc(near, SETUP)
    assert 12 <= asyncio.get_running_loop().time() - started < 13
    with pytest.raises(LinkClosed):
        await near.write(b"closed")


@pytest.mark.looptime
async def test_a_meter_that_falls_silent_is_a_timeout_and_closing_takes_a_second_at_most():
    near, far = stream_pair()
    serving = asyncio.create_task(serve_hdlc_stream(far, Station(answer)))
    channel = await open_hdlc(near, SETUP)
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)
    with pytest.raises(LinkClosed):
        await channel.send(b"ask")

    near, far = stream_pair()
    channel = HdlcChannel(near, SETUP)
    station = Station(answer)
    connecting = asyncio.create_task(channel.connect())
    await far.write(station.feed(await far.read(), 0.0))
    await connecting
    await channel.send(b"ask")
    with pytest.raises(LinkTimeout):
        await channel.receive()
    started = asyncio.get_running_loop().time()
    await channel.close()
    assert asyncio.get_running_loop().time() - started <= 1.1


async def test_meters_are_served_over_tcp():
    peers = []

    def factory(peer):
        peers.append(peer)
        return answer if len(peers) < 3 else None

    server = await serve_hdlc_tcp("127.0.0.1", 0, factory, terms=Terms(Parameters(500, 500, 3, 3)), physical=17)
    channels = [await open_hdlc(await tcp.connect("127.0.0.1", server.port), SETUP) for _ in range(2)]
    for channel in channels:
        await channel.send(bytes(2000))
        assert await channel.receive() == bytes((CLIENT, 1)) + bytes(2000)
    peers[0].push(1, CLIENT, b"\x0fpush")
    assert await channels[0].receive() == b"\x0fpush"
    with pytest.raises(LinkClosed):
        await open_hdlc(await tcp.connect("127.0.0.1", server.port), SETUP)
    assert server.refused == 1
    await channels[0].close()
    await server.close()
    assert not server.peers
    with pytest.raises(LinkClosed):
        await channels[1].receive()
    await channels[1].close()


@pytest.mark.parametrize("carrier", ["tcp", "udp"])
async def test_an_association_ends_with_the_link_that_it_came_over(carrier):
    """The socket lives on: whoever connects next over it, or the same client anew, has to associate."""

    def factory(_peer):
        associated = set()

        def answers(client, _server, apdu):
            if apdu == b"aarq":
                associated.add(client)
            return b"yes" if client in associated else b"no"

        return answers

    serve = serve_hdlc_tcp if carrier == "tcp" else serve_hdlc_udp
    server = await serve("127.0.0.1", 0, factory, terms=Terms(Parameters(500, 500, 1, 1)))
    if carrier == "tcp":
        stream = await tcp.connect("127.0.0.1", server.port)
    else:
        stream = udp.DatagramStream(await udp.connect("127.0.0.1", server.port))
    channels = [HdlcChannel(stream, Setup(Address(client), SERVER)) for client in (1, 2)]

    async def ask(channel, apdu):
        await channel.send(apdu)
        return await channel.receive()

    for channel in channels:
        await channel.connect()
        assert await ask(channel, b"aarq") == b"yes"
    await channels[0].disconnect()
    await channels[0].connect()
    assert await ask(channels[0], b"get") == b"no"
    assert await ask(channels[1], b"get") == b"yes"  # its link stands
    channels[1].link.give_up()
    await channels[1].connect()  # SNRM on a link that stands begins a new one
    assert await ask(channels[1], b"get") == b"no"
    await channels[0].close()
    await server.close()


def test_frames_without_a_link_from_ever_new_addresses_are_not_remembered_for_ever():
    made = []
    talks = Talks(lambda: made.append(1) or (lambda client, server, apdu: apdu))
    for client in range(1000):
        assert talks(client, 1, b"x") == b"x"
    assert talks(999, 1, b"x") == b"x"
    assert len(made) == 1000
    assert len(talks._talks) == 2 * CLIENTS


# --- a session on top, and its bytes on the wire


class ProfileMeter(SmallMeter):
    """The small meter with a load profile of 24 rows, as a meter that compresses time stamps sends it."""

    def get(self, client_sap, attribute, selection):
        if attribute != PROFILE:
            return super().get(client_sap, attribute, selection)
        rows = [(START + timedelta(hours=hour), 100000 + hour) for hour in range(24)]
        return axdr.encode(
            data.array(
                data.structure(
                    data.null() if number else data.octets(CosemDateTime.from_utc(at, RULE).encode()), data.u32(value)
                )
                for number, (at, value) in enumerate(rows)
            )
        )


async def session(setup):
    terms = ServerAssociation(Authentication.GMAC, KEYS, CLIENT_TITLE, AUTHENTICATED_ENCRYPTED)
    peer = ServerSession(ProfileMeter(), {CLIENT: terms}, counter=count(5000).__next__)
    channel, serving = await opened(lambda client, server, apdu: peer.receive(client, apdu), setup, physical=17)
    mine = ClientSession(
        Association(CLIENT, 1, Authentication.GMAC, KEYS, CLIENT_TITLE, AUTHENTICATED_ENCRYPTED),
        counter=count(1).__next__,
    )
    await converse(mine.associate(), channel, timeout=10)
    return mine, channel, serving


@pytest.mark.looptime
@pytest.mark.parametrize(("size", "window", "floor"), [(128, 1, 374), (128, 7, 374), (1024, 1, 348)])
async def test_24_hourly_values_cost_what_the_standard_makes_them_cost(size, window, floor):
    """The floor: GET by range and its answer protected, LLC once per APDU, 14 bytes a frame, 12 an RR."""
    mine, channel, serving = await session(Setup(Address(CLIENT), SERVER, Parameters(size, size, window, window)))
    before = channel.sent + channel.received
    selection = profile.by_range(
        CLOCK, CosemDateTime.from_utc(START, RULE), CosemDateTime.from_utc(START + timedelta(hours=23), RULE)
    )
    value = await converse(mine.get(PROFILE, selection), channel, timeout=10)
    assert len(profile_rows(value)) == 24
    assert channel.sent + channel.received - before <= 1.05 * floor
    await channel.close()
    await serving


def profile_rows(value):
    return axdr.decode(value).value
