"""An HDLC link at its limits: what comes late, damaged, too long, from too many, or never ends."""

import asyncio
from itertools import count

import pytest

from dcu.errors import LinkTimeout
from dcu.link.hdlc import LLC_COMMAND, LLC_RESPONSE, Address, Control, Decoder, Frame, Kind, encode
from dcu.link.hdlc_channel import HdlcChannel
from dcu.link.hdlc_client import ALL_STATIONS, ClientLink, Setup, State
from dcu.link.hdlc_multidrop import Multidrop
from dcu.link.hdlc_numbered import Counted, Numbered
from dcu.link.hdlc_parameters import DEFAULT, Parameters, Reason, Rejection, decode_parameters, encode_parameters
from dcu.link.hdlc_server import Station, Terms
from dcu.link.line import Line as SharedLine
from dcu.link.memory import stream_pair
from dcu.link.segments import MAX_APDU

from .hdlc_line import CLIENT, SERVER, Line, parameters


def answer(client, server, apdu):
    return bytes((client, server)) + apdu


def up(kind, information=b"", *, final=True, send=0, receive=0, client=CLIENT, segmented=False):
    return encode(Frame(SERVER, client, Control(kind, final, send, receive), information, segmented))


def down(kind, information=b"", *, final=True, send=0, receive=0, segmented=False, to=CLIENT):
    return encode(Frame(to, SERVER, Control(kind, final, send, receive), information, segmented))


def heard(wire):
    return list(Decoder().feed(wire))


def kinds(wire):
    return [frame.control.kind.name for frame in heard(wire)]


def connected(**options):
    link = ClientLink(Setup(CLIENT, SERVER, **options))
    link.connect()
    link.output(0.0)
    link.feed(down(Kind.UA), 0.0)
    assert link.state is State.CONNECTED
    return link


# --- the client


@pytest.mark.parametrize("after", ["SNRM", "DISC"])
def test_a_short_answer_on_a_slow_line_is_not_waited_for_as_if_it_were_a_full_frame(after):
    """At 300 baud a frame of 1 kB takes 35 s, the answer to an SNRM or a DISC at most 2 s."""
    link = connected(parameters=Parameters(1024, 1024, 7, 7), timeout=1.0, byte_time=10 / 300)
    link.disconnect() if after == "DISC" else link.connect()
    wire = link.output(0.0)
    longest = up(Kind.UA, encode_parameters(Parameters(2030, 2030, 7, 7)))
    assert link.deadline == pytest.approx(1.0 + (len(wire) + 64) / 30)
    assert len(longest) < 64


def test_a_notification_to_all_stations_is_taken():
    link = connected()
    link.feed(down(Kind.UI, LLC_RESPONSE + b"\x0fall", final=False, to=ALL_STATIONS), 0.0)
    assert list(link.notifications) == [b"\x0fall"]


def test_a_notification_that_lost_a_piece_is_none():
    link = connected()
    first, second = (down(Kind.UI, part, final=False, segmented=more)
                     for part, more in ((LLC_RESPONSE + b"\x0fsome", True), (b"thing", False)))  # fmt: skip
    link.feed(first + b"\x7e\xa0noise" + second, 0.0)
    assert not link.notifications
    link.feed(first + second, 0.0)
    assert list(link.notifications) == [b"\x0fsomething"]


def test_a_meter_that_had_disconnected_already_ends_a_disconnection_with_dm():
    link = connected()
    link.disconnect()
    assert kinds(link.output(0.0)) == ["DISC"]
    link.feed(down(Kind.DM), 0.1)
    assert (link.state, link.error) == (State.DISCONNECTED, None)


def test_a_meter_that_rejects_the_snrm_is_not_asked_again():
    """Some take no parameters in it: its reason is told, in place of a time-out."""
    link = ClientLink(Setup(CLIENT, SERVER))
    link.connect()
    link.output(0.0)
    link.feed(down(Kind.FRMR, Rejection(0x93, 0, 0, Reason.INFORMATION).encode()), 0.0)
    assert link.state is State.DISCONNECTED
    assert "refuses the HDLC connection" in str(link.error)
    assert "control 93, information" in str(link.error)


def test_each_connection_has_all_its_attempts():
    line = Line(answer)
    line.silent = True
    for tries in (4, 8):
        assert not line.connect()
        assert len(line.frames(Kind.SNRM)) == tries


def test_what_a_broken_off_link_left_of_a_frame_does_not_swallow_the_next_ua():
    link = connected()
    link.feed(down(Kind.I, LLC_RESPONSE + bytes(100))[:-30], 0.0)
    link.give_up()
    link.connect()
    link.output(0.0)
    link.feed(down(Kind.UA), 0.0)
    assert link.state is State.CONNECTED


def test_longer_frames_than_agreed_are_put_up_with_as_far_as_they_were_offered():
    link = connected(parameters=Parameters(300, 300))
    assert link.parameters.receive == 300  # though the UA, with nothing in it, says 128
    link.feed(down(Kind.I, LLC_RESPONSE + bytes(250)), 0.0)
    assert [len(apdu) for apdu in link.received] == [250]
    link.feed(down(Kind.I, bytes(301), send=1), 0.0)
    assert "301 bytes of information, at most 300 were agreed" in str(link.error)


# --- numbers, windows, readiness


def numbered(window=3, **options):
    return Numbered(Parameters(128, 128, window, window), LLC_COMMAND, Counted(), **options)


def test_only_the_end_of_a_turn_says_that_a_busy_station_is_ready():
    """An I frame in the middle of a turn says nothing of it: RNR may follow."""
    mine = numbered()
    mine.hear(Frame(CLIENT, SERVER, Control(Kind.RNR, True)))
    mine.hear(Frame(CLIENT, SERVER, Control(Kind.I, False, 0), LLC_RESPONSE))
    assert mine.peer_busy
    mine.hear(Frame(CLIENT, SERVER, Control(Kind.I, True, 1), LLC_RESPONSE))
    assert not mine.peer_busy


def test_an_acknowledgement_of_what_was_sent_is_taken_also_behind_a_checkpoint():
    mine = numbered()
    mine.queue(bytes(300))
    assert len(mine.turn(SERVER, CLIENT)) == 3
    mine.hear(Frame(CLIENT, SERVER, Control(Kind.RR, True)))  # none of them arrived, it says
    mine.hear(Frame(CLIENT, SERVER, Control(Kind.RR, True, 0, 2)))  # two of them did after all
    assert (mine.unacknowledged, mine.send) == (1, 2)


@pytest.mark.parametrize("size", [101, 100_000])
def test_an_apdu_that_is_too_long_reaches_nobody_and_is_not_kept(size):
    taken = []
    station = Station(lambda *it: taken.append(it[2]), terms=Terms(Parameters(1000, 1000), max_apdu=100))
    station.feed(up(Kind.SNRM, encode_parameters(Parameters(1000, 1000))), 0.0)
    (link,) = station.links.values()
    whole = LLC_COMMAND + bytes(size)
    parts = [whole[at : at + 1000] for at in range(0, len(whole), 1000)]
    for number, part in enumerate(parts):
        more = number < len(parts) - 1
        wire = station.feed(up(Kind.I, part, send=number & 7, segmented=more), 0.0)
        assert kinds(wire) == ["RR"]
        assert len(link._numbered._joined) <= 1200
    assert (taken, link.counted.overlong) == ([], 1)
    station.feed(up(Kind.I, LLC_COMMAND + b"ask", send=len(parts) & 7), 0.0)
    assert taken == [b"ask"]


def test_a_client_that_asks_and_never_takes_the_answers_is_told_that_the_meter_is_busy():
    station = Station(lambda *_: bytes(MAX_APDU))
    station.feed(up(Kind.SNRM), 0.0)
    (link,) = station.links.values()
    last = [heard(station.feed(up(Kind.I, LLC_COMMAND + b"ask", send=number & 7), 0.0))[-1] for number in range(9)]
    assert {frame.control.kind for frame in last[:3]} == {Kind.I}
    assert {frame.control.kind for frame in last[3:]} == {Kind.RNR}
    assert link._numbered._owed < 5 * (MAX_APDU + 4)


# --- the meter


def test_a_ua_says_terms_only_where_they_are_not_those_that_hold_unsaid():
    (plain,) = heard(Station(answer).feed(up(Kind.SNRM), 0.0))
    assert plain.information == b""
    (less,) = heard(Station(answer, terms=Terms(Parameters(64, 64))).feed(up(Kind.SNRM), 0.0))
    assert decode_parameters(less.information) == Parameters(64, 64)


def test_parameters_that_nobody_can_read_are_refused_and_end_the_link_that_stood():
    station = Station(answer)
    for information, kind in ((b"", "UA"), (b"\x81\x80\x05\x01", "DM")):
        assert kinds(station.feed(up(Kind.SNRM, information), 0.0)) == [kind]
    assert kinds(station.feed(up(Kind.I, LLC_COMMAND + b"ask"), 0.0)) == ["DM"]


def test_a_client_that_sends_more_than_was_agreed_is_put_up_with_as_far_as_it_can_be_taken():
    station = Station(answer, terms=Terms(Parameters(300, 300)))
    station.feed(up(Kind.SNRM), 0.0)
    (frame,) = heard(station.feed(up(Kind.I, LLC_COMMAND + bytes(100)), 0.0))
    assert len(frame.information) == 105
    assert kinds(station.feed(up(Kind.I, LLC_COMMAND + bytes(200), send=1, receive=1), 0.0)) == ["I"]
    assert kinds(station.feed(up(Kind.I, bytes(301), send=2, receive=1), 0.0)) == ["FRMR"]


def test_what_the_meter_said_itself_is_not_taken_for_a_command():
    """It comes back by a loop in the wiring that nobody knows of, long after the echo was given up."""
    station = Station(answer, physical=17)
    station.feed(up(Kind.SNRM), 0.0)
    assert station.feed(down(Kind.I, LLC_RESPONSE + b"old"), 1.0) == b""
    assert station.strays == 1


@pytest.mark.parametrize("bus", [False, True], ids=["alone", "on a bus"])
@pytest.mark.parametrize("size", [7, 1000], ids=["in many reads", "in one read"])
def test_a_command_in_ui_frames_that_lost_a_piece_is_none(bus, size):
    taken = []
    station = Station(lambda *it: taken.append(it[2]), physical=17)
    ear = Multidrop({17: station}) if bus else station
    first, second = (up(Kind.UI, part, final=False, segmented=more)
                     for part, more in ((LLC_COMMAND + b"some", True), (b"thing", False)))  # fmt: skip
    wire = first + b"\x7e\xa0noise" + second
    for at in range(0, len(wire), size):
        ear.feed(wire[at : at + size], 0.0)
    assert taken == []
    ear.feed(first + second, 0.0)
    assert taken == [b"something"]


def test_the_client_that_was_silent_longest_makes_room():
    ended = []
    station = Station(answer, clients=3, ended=lambda *link: ended.append(link[0]))
    for number in (1, 2, 3):
        station.feed(up(Kind.SNRM, client=Address(number)), float(number))
    station.feed(up(Kind.RR, client=Address(1)), 4.0)
    station.feed(up(Kind.SNRM, client=Address(4)), 5.0)
    assert ended == [2]


# --- the channel


class Given:
    """A floor that notes when it was given back, and whether an answer may still come."""

    def __init__(self):
        self.at = []

    async def take(self):
        pass

    def give(self, until=None):
        self.at.append((asyncio.get_running_loop().time(), until))


@pytest.mark.looptime
async def test_the_line_is_given_back_when_the_meter_has_said_its_last_word():
    """Its answer is whole, its turn is not: who speaks now speaks into it."""
    near, far = stream_pair()
    floor = Given()
    channel = HdlcChannel(near, Setup(CLIENT, SERVER, parameters(128, 7)), floor)

    async def meter():
        await far.read()
        await far.write(down(Kind.UA, encode_parameters(parameters(128, 7))))
        await far.read()
        await far.write(down(Kind.I, LLC_RESPONSE + b"answer", final=False, receive=1))
        await asyncio.sleep(0.5)
        await far.write(down(Kind.RR, receive=1))

    serving = asyncio.create_task(meter())
    await channel.connect()
    await channel.send(b"ask")
    assert await channel.receive() == b"answer"
    assert floor.at[-1] == (pytest.approx(0.5, abs=0.1), None)
    await serving


class Murmur:
    """A line on which something always comes, and never a frame."""

    async def read(self, limit=65536):
        await asyncio.sleep(0.05)
        return b"\x55"

    async def write(self, data):
        pass

    async def close(self):
        pass


class Roar(Murmur):
    """Where there is always more to read, so that no timer of the loop ever fires."""

    def __init__(self):
        self.reads = 0

    async def read(self, limit=65536):
        self.reads += 1
        assert self.reads < 1_000_000, "it never looks at the clock"
        return b"\x55"


async def test_noise_that_never_ends_does_not_keep_a_meter_from_being_given_up():
    channel = HdlcChannel(Roar(), Setup(CLIENT, SERVER, DEFAULT, timeout=0.1, retries=1))
    with pytest.raises(LinkTimeout, match="over HDLC"):
        await channel.connect()


async def test_noise_that_never_ends_does_not_keep_a_line_from_the_next():
    async def opening():
        return Roar()

    line = SharedLine(opening)
    first, second = line.seat(), line.seat()
    await first.take()
    started = asyncio.get_running_loop().time()
    first.give(until=started + 0.2)
    await second.take()
    assert asyncio.get_running_loop().time() - started >= 0.2


@pytest.mark.looptime
async def test_a_timer_that_fires_early_does_not_stop_the_clock(monkeypatch):
    """The loop may call back by its clock's resolution too early: by its time the deadline has not come yet."""
    near, _far = stream_pair()
    channel = HdlcChannel(near, Setup(CLIENT, SERVER, DEFAULT, timeout=1.0, retries=0))
    loop = asyncio.get_running_loop()
    exact, asked = loop.time, count()

    def early(_loop):
        assert next(asked) < 10_000, "it waits for a deadline that it thinks has not come"
        return exact() - 0.001

    monkeypatch.setattr("dcu.link.hdlc_channel.asyncio.get_running_loop", lambda: type("Loop", (), {"time": early})())
    with pytest.raises(LinkTimeout):
        await channel.connect()


@pytest.mark.looptime
async def test_a_farewell_that_nobody_answers_takes_a_second():
    near, far = stream_pair()
    channel = HdlcChannel(near, Setup(CLIENT, SERVER, DEFAULT, timeout=3.0))
    connecting = asyncio.create_task(channel.connect())
    await far.read()
    await far.write(down(Kind.UA))
    await connecting
    started = asyncio.get_running_loop().time()
    await channel.close()
    assert asyncio.get_running_loop().time() - started == pytest.approx(1.0, abs=0.05)


class Late(Murmur):
    """A line on which bytes come every 50 ms from now until then."""

    def __init__(self, until):
        self.until = until

    async def read(self, limit=65536):
        if asyncio.get_running_loop().time() >= self.until:
            await asyncio.Event().wait()
        return await super().read(limit)


@pytest.mark.looptime
@pytest.mark.parametrize(
    ("comes", "taken"),
    [
        pytest.param(0.3, 0.4, id="an answer that is over frees the line a tenth of a second later"),
        pytest.param(1e9, 2.0, id="what never ends holds it no longer than an answer could come"),
    ],
)
async def test_a_line_is_let_fall_quiet_before_the_next_speaks(comes, taken):
    async def opening():
        return Late(comes)

    line = SharedLine(opening)
    first, second = line.seat(), line.seat()
    await first.take()
    first.give(until=2.0)
    await second.take()
    assert asyncio.get_running_loop().time() == pytest.approx(taken, abs=0.06)
