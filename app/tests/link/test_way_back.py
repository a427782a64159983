"""A meter that a session which was cut off has left in HDLC, at some speed: it hears no sign-on, and is found."""

import asyncio

import pytest

from dcu.errors import LinkClosed, LinkError, LinkTimeout
from dcu.link import sign_on
from dcu.link.hdlc import Address, Control, Frame, Kind, encode
from dcu.link.hdlc_client import Setup
from dcu.link.hdlc_parameters import Parameters
from dcu.link.hdlc_server import Station
from dcu.link.line import Line
from dcu.link.mode_e import BAUDS
from dcu.link.serial import Port, open_serial
from dcu.link.sign_on import open_hdlc_signed_on
from neighbourhood.optical import State

from .optics import NUMBER, Optics

CLIENT, METER = Address(16), Address(1, 17, 2)
SETUP = Setup(CLIENT, METER, Parameters(1024, 1024, 7, 7), timeout=0.2, retries=2)
FASTEST_FIRST = [19200, 9600, 4800, 2400, 1200, 600, 300]


def reversing():
    """What a meter in HDLC says, that answers every request with its reverse."""
    station = Station(lambda client, server, apdu: apdu[::-1], physical=17)
    return lambda data: station.feed(data, asyncio.get_running_loop().time())


def refusing(data):
    return encode(Frame(CLIENT, METER, Control(Kind.DM, True)))


@pytest.fixture
async def meter(monkeypatch):
    """Makes a meter at a head; its `open` signs on at it as a command does."""
    monkeypatch.setattr(sign_on, "REACTION", 0.1)
    monkeypatch.setattr(sign_on, "GAP", 0.1)
    monkeypatch.setattr(sign_on, "_BITS", 1)  # ten times as fast as the speed says
    made = []

    def make(hear=None, **options):
        made.append(Optics(hear=hear or reversing(), **options))
        return made[-1]

    yield make
    for each in made:
        each.close()


async def opened(meter, address="", *, at_most=19200, agreed=None, setup=SETUP):
    stream = await open_serial(Port(meter.line.path))
    return await open_hdlc_signed_on(stream, setup, address, at_most=at_most, agreed=agreed)


async def works(channel):
    await channel.send(b"read me")
    return await channel.receive() == b"em daer"


@pytest.mark.parametrize("baud", FASTEST_FIRST)
async def test_a_meter_is_found_at_whichever_speed_it_was_left(meter, baud):
    left = meter()
    left.leave_in_hdlc(baud)
    channel = await opened(left)
    assert await works(channel)
    assert left.speed() == left.head.speed == baud
    assert left.heard == [300, *FASTEST_FIRST[: FASTEST_FIRST.index(baud) + 1]]  # the fastest, then the others
    assert channel.link.parameters.transmit == 1024  # nothing of the search is left in the link
    assert (channel.link.setup.retries, channel.link.setup.timeout) == (SETUP.retries, SETUP.timeout)
    await channel.close()


@pytest.mark.parametrize("number", ["", NUMBER])
async def test_the_speed_of_the_last_time_comes_first(meter, number):
    left, agreed = meter(baud=19200), {}
    channel = await opened(left, number, at_most=1200, agreed=agreed)
    assert await works(channel)
    await channel._stream.close()  # the cable is pulled out: nobody says DISC
    assert left.head.state is State.HDLC
    left.heard.clear()
    channel = await opened(left, number, agreed=agreed)
    assert await works(channel)
    assert left.heard == [300, 1200]
    assert agreed == {number: 1200}
    await channel.close()


async def test_the_speed_at_which_it_was_found_comes_first_the_next_time(meter):
    left, agreed = meter(), {}
    left.leave_in_hdlc(2400)
    channel = await opened(left, agreed=agreed)
    await channel._stream.close()
    left.heard.clear()
    channel = await opened(left, agreed=agreed)
    assert left.heard == [300, 2400]
    await channel.close()


async def test_a_session_that_is_cut_off_in_the_midst_of_the_change_knows_the_speed(meter, monkeypatch):
    """The meter has changed over, and its word for that is lost; who waits for it is interrupted."""
    left, agreed = meter(baud=4800, confirms=False), {}
    monkeypatch.setattr(sign_on, "REACTION", 5.0)
    opening = asyncio.create_task(opened(left, agreed=agreed))
    async with asyncio.timeout(5):
        while left.head.state is not State.HDLC:
            await asyncio.sleep(0.01)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    monkeypatch.setattr(sign_on, "REACTION", 0.1)
    left.heard.clear()
    channel = await opened(left, agreed=agreed)
    assert await works(channel)
    assert left.heard == [300, 4800]
    await channel.close()


async def test_what_is_agreed_with_one_meter_of_a_line_is_not_tried_at_another(meter):
    left = meter()
    left.leave_in_hdlc(19200)
    channel = await opened(left, NUMBER, agreed={"4711": 300, "": 600})
    assert left.heard == [300, 19200]
    await channel.close()


async def test_no_speed_is_tried_that_is_above_what_the_port_may_have(meter):
    left = meter()
    left.leave_in_hdlc(19200)
    with pytest.raises(LinkTimeout, match=r"no meter identifies itself .* in HDLC.* \(2400, 1200, 600, 300 baud\)"):
        await opened(left, at_most=2400)
    assert left.heard == [300, 2400, 1200, 600, 300]
    assert left.head.state is State.HDLC
    await (await open_serial(Port(left.line.path))).close()  # the port is free again


async def test_an_snrm_that_is_lost_at_the_likeliest_speed_is_sent_again(meter):
    left, lost = meter(), []

    def first(data):
        if not lost:
            lost.append(data)
            return b""
        return data

    left.spoil = first
    left.leave_in_hdlc(9600)
    channel = await opened(left, agreed={"": 9600})
    assert lost
    assert left.heard == [300, 9600]
    await channel.close()


async def test_a_meter_that_refuses_is_there_and_its_reason_is_told(meter):
    left = meter(refusing)
    left.leave_in_hdlc(4800)
    with pytest.raises(LinkError, match=r"refuses the HDLC connection \(DM\)"):
        await opened(left)
    assert left.heard[-1] == 4800


async def test_a_meter_that_falls_silent_once_it_was_found_is_told_so(meter):
    left, said = meter(), []

    def once(data):
        said.append(data)
        return data if len(said) == 1 else b""

    left.spoil = once
    left.leave_in_hdlc(9600)
    with pytest.raises(LinkTimeout, match="no answer from the meter over HDLC"):
        await opened(left)


async def test_an_adapter_that_is_pulled_out_ends_the_search_at_once(meter):
    left = meter()
    left.deaf = 1000
    opening = asyncio.create_task(opened(left))
    async with asyncio.timeout(5):
        while 19200 not in left.heard:
            await asyncio.sleep(0.01)
    left.close()
    with pytest.raises(LinkClosed, match="is the adapter plugged in"):
        async with asyncio.timeout(1):
            await opening
    left.close = lambda: None


class Hissing:
    """A line with nobody on it: silent, or with noise that never ends. It takes any speed."""

    def __init__(self, noise):
        self.noise = noise
        self.changes = []

    async def read(self, limit=65536):
        await asyncio.sleep(0.05 if self.noise else 3600)
        return self.noise

    async def write(self, data):
        pass

    async def change(self, baud, form):
        self.changes.append((baud, form))

    async def close(self):
        pass


@pytest.mark.looptime
@pytest.mark.parametrize("noise", [b"", b"\x55\xaa", b"\x7e\xa0", b"\x7e"], ids=["silence", "hiss", "a frame", "flags"])
async def test_the_search_ends_in_time_whatever_the_line_does(noise):
    """Ten retries of ten seconds and frames of 1 kB are what an association may want; here they are not waited for."""
    line, loop = Hissing(noise), asyncio.get_running_loop()
    setup = Setup(CLIENT, METER, Parameters(1024, 1024, 7, 7), timeout=10.0, retries=10)
    started = loop.time()
    with pytest.raises(LinkTimeout, match="19200, 9600, 4800, 2400, 1200, 600, 300 baud"):
        await open_hdlc_signed_on(line, setup, at_most=115200)
    assert [baud for baud, form in line.changes if form == "8N1"] == FASTEST_FIRST
    assert {baud for baud, form in line.changes if form == "7E1"} == {300}
    sign_ons = sign_on.ATTEMPTS * (sign_on.REACTION + (sign_on.LINE_TIME if noise else 0))
    assert 10.0 < loop.time() - started - sign_ons < 18.0


@pytest.mark.looptime
async def test_a_profile_with_shorter_times_is_searched_for_faster():
    line, loop = Hissing(b""), asyncio.get_running_loop()
    started = loop.time()
    with pytest.raises(LinkTimeout):
        await open_hdlc_signed_on(line, Setup(CLIENT, METER, timeout=0.5, retries=0), at_most=9600)
    assert loop.time() - started < sign_on.ATTEMPTS * sign_on.REACTION + 6 * 0.5 + 5.0


async def test_others_on_the_line_have_it_when_the_search_is_over(meter):
    left = meter()
    left.deaf = 1000
    line = Line(lambda: open_serial(Port(left.line.path)))
    seat = line.seat()
    with pytest.raises(LinkTimeout):
        await open_hdlc_signed_on(seat, SETUP, at_most=600, floor=seat)
    left.deaf = 0
    async with asyncio.timeout(5):
        channel = await open_hdlc_signed_on(seat := line.seat(), SETUP, at_most=9600, floor=seat)
    assert await works(channel)
    assert (seat.baud, left.head.speed) == (9600, 9600)
    await channel.close()
    await line.close()


def test_every_speed_of_the_standard_is_searched():
    assert sorted(FASTEST_FIRST) == sorted(BAUDS.values())
    assert list(sign_on._way_back(0, 19200)) == FASTEST_FIRST
    assert list(sign_on._way_back(1200, 19200)) == [1200, 19200, 9600, 4800, 2400, 600, 300]
    assert list(sign_on._way_back(0, 300)) == [300]
