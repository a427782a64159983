"""An HDLC link from SNRM to DISC, frame by frame."""

import pytest

from dcu.errors import LinkClosed, LinkError, LinkTimeout
from dcu.link.hdlc import Address, Control, Decoder, Frame, Kind, encode
from dcu.link.hdlc_client import ClientLink, Setup, State
from dcu.link.hdlc_echo import Echo
from dcu.link.hdlc_parameters import (
    DEFAULT,
    Parameters,
    Reason,
    Rejection,
    agree,
    decode_parameters,
    decode_rejection,
    encode_parameters,
)
from dcu.link.hdlc_server import Station, Terms

from .hdlc_line import CLIENT, SERVER, Fault, Line, parameters, windows

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


# --- parameters


def test_the_green_books_snrm_is_byte_exact():
    # Green Book, HDLC connection set-up: client 1, server 1/17 in four bytes, the default parameters
    link = ClientLink(Setup(Address(1), Address(1, 17, 4), DEFAULT))
    link.connect()
    assert link.output(0.0).hex() == "7ea0210002002303939a74818012050180060180070400000001080400000001533b7e"


def test_parameters_are_read_as_they_were_written():
    for terms in (DEFAULT, Parameters(2030, 32, 7, 3)):
        assert decode_parameters(encode_parameters(terms)) == terms


@pytest.mark.parametrize(
    ("information", "terms"),
    [
        pytest.param("", DEFAULT, id="nothing said"),
        pytest.param("818000", DEFAULT, id="an empty group"),
        pytest.param("8180080502040006020400", Parameters(1024, 1024), id="sizes alone"),
        pytest.param("818006070107080103", Parameters(128, 128, 7, 3), id="windows in one byte"),
        pytest.param("818004050400ff", None, id="cut short"),
        pytest.param("81800605040000ffff", Parameters(2030), id="more than a frame can carry"),
        pytest.param("8180060704000000ff", Parameters(128, 128, 7), id="more than the numbering can carry"),
        pytest.param("818003050100", None, id="an information field of nothing"),
        pytest.param("8180030601" + "40" + "f00312", None, id="a user group cut short"),
        pytest.param("8180030601" + "40" + "f00112", Parameters(128, 64), id="a user group behind"),
        pytest.param("82", None, id="another format"),
    ],
)
def test_parameters_of_a_peer_are_taken_as_far_as_they_make_sense(information, terms):
    if terms is None:
        with pytest.raises(Exception, match="HDLC"):
            decode_parameters(bytes.fromhex(information))
    else:
        assert decode_parameters(bytes.fromhex(information)) == terms


def test_nobody_sends_more_than_the_other_takes():
    ours, theirs = Parameters(1024, 512, 7, 3), Parameters(256, 128, 1, 2)
    assert agree(ours, theirs) == Parameters(128, 256, 2, 1)
    assert agree(theirs, ours) == Parameters(256, 128, 1, 2)


@pytest.mark.parametrize("broken", [(0, 128, 1, 1), (128, 2031, 1, 1), (128, 128, 8, 1), (128, 128, 1, 0)])
def test_parameters_that_cannot_be_are_the_callers_mistake(broken):
    with pytest.raises(ValueError, match="window"):
        Parameters(*broken)


def test_both_ends_know_what_was_agreed():
    line = Line(
        answer, setup=Setup(CLIENT, SERVER, Parameters(300, 1000, 2, 5)), terms=Terms(Parameters(500, 200, 7, 7))
    )
    assert line.connect()
    assert line.client.parameters.transmit == 200
    assert (line.client.parameters.transmit_window, line.client.parameters.receive_window) == (2, 5)
    assert (line.link.parameters.transmit, line.link.parameters.transmit_window) == (500, 5)


def test_an_snrm_without_parameters_gets_the_defaults():
    line = Line(answer, setup=Setup(CLIENT, SERVER, announce=False))
    assert line.connect()
    assert line.frames(Kind.SNRM)[0].information == b""
    assert (line.link.parameters.transmit, line.link.parameters.transmit_window) == (128, 1)
    assert line.ask(bytes(1000)) == bytes((16, 1)) + bytes(1000)
    assert max(len(frame.information) for _, frame in line.log) == 128


def test_a_ua_that_nobody_can_read_still_is_one():
    link = ClientLink(Setup(CLIENT, SERVER))
    link.connect()
    link.output(0.0)
    link.feed(reply(Kind.UA, b"\x81\x80\xff"), 0.0)
    assert link.state is State.CONNECTED
    assert link.parameters.transmit == 128


# --- the turns


@pytest.mark.parametrize("server", [Address(1), Address(1, 17, 2), Address(1, 17, 4), Address(16382, 16382, 4)])
def test_an_exchange_over_every_length_of_address(server):
    line = Line(answer if server.upper < 256 else lambda *it: b"\x10\x01" + it[2], server=server)
    assert line.connect()
    assert line.ask(b"ask") == b"\x10\x01ask"
    assert line.ask(b"again") == b"\x10\x01again"
    assert [f.control.kind.name for f in line.frames()] == ["SNRM", "UA", "I", "I", "I", "I"]


def test_more_than_one_frame_goes_between_two_polls_both_ways():
    line = Line(answer, setup=Setup(CLIENT, SERVER, parameters(100, 7)), terms=Terms(parameters(100, 5)))
    assert line.connect()
    apdu = bytes(range(200)) * 10
    assert line.ask(apdu) == b"\x10\x01" + apdu
    assert windows(line, up=True) == [5, 5, 5, 5, 1]  # 2003 bytes, the meter's window
    assert windows(line, up=False) == [5, 5, 5, 5, 1]
    assert line.client.counted.repeated == 0


def test_window_one_polls_behind_every_frame():
    line = Line(answer, setup=Setup(CLIENT, SERVER, parameters(100, 1)))
    assert line.connect()
    assert line.ask(bytes(350)) == b"\x10\x01" + bytes(350)
    assert windows(line, up=True) == windows(line, up=False) == [1] * 4
    assert all(frame.control.final for frame in line.frames())


def test_the_last_frame_of_a_turn_has_the_poll_bit_and_no_other():
    link = connected(parameters=parameters(10, 3))
    link.send(bytes(40))
    assert said(link) == [("I", False, 0, 0), ("I", False, 1, 0), ("I", True, 2, 0)]
    assert said(link) == []  # not our turn
    link.feed(reply(Kind.RR, receive=3), 0.1)
    assert said(link, 0.1) == [("I", False, 3, 0), ("I", True, 4, 0)]


# --- recovery


def test_what_the_checkpoint_does_not_acknowledge_is_sent_again_from_there_on():
    link = connected(parameters=parameters(10, 3))
    link.send(bytes(40))
    said(link)
    link.feed(reply(Kind.RR, receive=1), 0.1)
    assert said(link, 0.1) == [("I", False, 1, 0), ("I", False, 2, 0), ("I", True, 3, 0)]
    assert link.counted.repeated == 2


def test_an_answer_that_does_not_come_is_asked_for_without_repeating_the_question():
    link = connected(timeout=2.0)
    link.send(b"ask")
    assert said(link) == [("I", True, 0, 0)]
    link.tick(1.9)
    assert said(link, 1.9) == []
    link.tick(2.0)
    assert said(link, 2.0) == [("RR", True, 0, 0)]
    link.feed(reply(Kind.I, BACK + b"answer", receive=1), 2.1)
    assert link.received.popleft() == b"answer"
    assert said(link, 2.1) == []


@pytest.mark.parametrize("lost", range(14))
@pytest.mark.parametrize("kind", ["drop", "flip", "cut", "twice", "split", "noise"])
def test_one_fault_anywhere_costs_nothing_but_time(lost, kind):
    line = Line(answer, setup=Setup(CLIENT, SERVER, parameters(40, 3), inter_octet=0.3))
    line.faults.extend([Fault("late", 0)] * lost + [Fault(kind, 77)])
    assert line.connect()
    apdu = bytes(range(150))
    assert line.ask(apdu) == b"\x10\x01" + apdu
    assert line.ask(b"next") == b"\x10\x01next"


def test_a_meter_that_answers_with_nr_0_is_not_asked_twice():
    # jDLMS: 0x10 where 0x30 is right
    link = connected()
    for asked in range(10):
        link.send(b"ask %d" % asked)
        assert said(link) == [("I", True, asked & 7, asked & 7)]
        link.feed(encode(Frame(CLIENT, SERVER, Control(Kind.I, True, asked & 7, 0), BACK + b"answer")), 0.0)
        assert link.received.popleft() == b"answer"
        assert said(link) == []
    assert link.counted.repeated == 0


def test_with_the_tolerance_off_nr_0_asks_for_the_frame_again():
    link = connected(answer_acknowledges=False)
    link.send(b"ask")
    said(link)
    link.feed(reply(Kind.I, BACK + b"answer"), 0.0)
    assert said(link) == [("I", True, 0, 1)]


def test_a_frame_that_came_twice_is_taken_once():
    link = connected()
    link.send(b"ask")
    said(link)
    wire = reply(Kind.I, BACK + b"answer", receive=1)
    link.feed(wire + wire, 0.0)
    assert list(link.received) == [b"answer"]
    assert link.counted.disordered == 1


# --- REJ, FRMR, DM, DISC


def test_a_rej_is_answered_with_frmr_until_the_link_is_set_up_anew():
    station = Station(answer)
    assert raw(station, command(Kind.SNRM))[0].control.kind is Kind.UA
    (frame,) = raw(station, command(Kind.REJ, receive=0))
    assert frame.control == Control(Kind.FRMR, True)
    assert frame.information.hex() == "190001"  # the control byte, V(S) = V(R) = 0, w
    assert decode_rejection(frame.information) == Rejection(0x19, 0, 0, Reason.CONTROL)
    (frame,) = raw(station, command(Kind.I, LLC + b"ask"))
    assert frame.control.kind is Kind.FRMR
    assert raw(station, command(Kind.SNRM))[0].control.kind is Kind.UA
    assert raw(station, command(Kind.I, LLC + b"ask"))[0].information == BACK + b"\x10\x01ask"


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        pytest.param(command(Kind.OTHER, send=0xAF), Reason.CONTROL, id="XID"),
        pytest.param(command(Kind.OTHER, b"x", send=0xE3), Reason.CONTROL, id="TEST"),
        pytest.param(command(Kind.OTHER, send=0x0D), Reason.CONTROL, id="SREJ"),
        pytest.param(command(Kind.RR, receive=3), Reason.NUMBER, id="N(R) of nothing"),
        pytest.param(command(Kind.RR, b"x"), Reason.INFORMATION, id="RR with information"),
        pytest.param(command(Kind.I, bytes(200)), Reason.LENGTH, id="too long"),
    ],
)
def test_what_no_standard_allows_is_rejected_with_its_reason(frame, reason):
    station = Station(answer, terms=Terms(DEFAULT))
    raw(station, command(Kind.SNRM))
    (rejected,) = raw(station, frame)
    assert decode_rejection(rejected.information).reason == reason
    assert rejected.information[0] == frame.control.encode()


def test_what_a_rejected_frame_brings_reaches_nobody():
    heard = []
    station = Station(lambda *it: heard.append(it) or b"done")
    raw(station, command(Kind.SNRM))
    (rejected,) = raw(station, command(Kind.I, LLC + b"disconnect", receive=5))
    assert decode_rejection(rejected.information) == Rejection(0xB0, 0, 0, Reason.NUMBER)  # V(R) stays, too
    assert heard == []


def test_a_frmr_ends_the_link_with_its_reason_and_it_can_be_set_up_again():
    link = connected()
    link.send(b"ask")
    said(link)
    link.feed(reply(Kind.FRMR, Rejection(0x10, 0, 0, Reason.LENGTH).encode()), 0.0)
    assert link.state is State.DISCONNECTED
    with pytest.raises(LinkError, match=r"control 10, length"):
        link.send(b"more")
    link.connect()
    assert said(link) == [("SNRM", True, 0, 0)]
    link.feed(reply(Kind.UA), 0.0)
    assert link.state is State.CONNECTED


def test_a_rej_of_the_meter_is_a_checkpoint_as_any_other():
    link = connected()
    link.send(b"ask")
    said(link)
    link.feed(reply(Kind.REJ, receive=0), 0.0)
    assert said(link) == [("I", True, 0, 0)]


def test_before_snrm_and_behind_disc_the_meter_is_in_disconnected_mode():
    station = Station(answer)
    kinds = [raw(station, command(kind))[0].control.kind.name for kind in (Kind.RR, Kind.DISC, Kind.SNRM, Kind.DISC)]
    assert kinds == ["DM", "DM", "UA", "UA"]
    assert raw(station, command(Kind.I, LLC + b"ask"))[0].control.kind is Kind.DM
    assert raw(station, command(Kind.I, LLC + b"ask", final=False)) == []


def test_a_meter_that_restarted_ends_the_link_with_dm():
    line = Line(answer)
    assert line.connect()
    line.meter.links.clear()
    with pytest.raises(LinkClosed, match="DM"):
        line.ask(b"ask")
    assert line.connect()
    assert line.ask(b"ask") == b"\x10\x01ask"


def test_a_dm_to_snrm_is_a_refusal():
    link = ClientLink(Setup(CLIENT, SERVER))
    link.connect()
    link.output(0.0)
    link.feed(reply(Kind.DM), 0.0)
    assert (link.state, type(link.error)) == (State.DISCONNECTED, LinkError)


def test_a_second_snrm_begins_anew_and_ends_the_association():
    ended = []
    station = Station(answer, ended=lambda *link: ended.append(link))
    for _ in range(2):
        assert raw(station, command(Kind.SNRM))[0].control.kind is Kind.UA
        assert raw(station, command(Kind.I, LLC + b"ask"))[0].control == Control(Kind.I, True, 0, 1)
    raw(station, command(Kind.DISC))
    assert ended == [(16, 1), (16, 1)]


def test_a_ua_that_comes_twice_changes_nothing():
    line = Line(answer)
    line.faults.extend([Fault("twice"), Fault("twice")])
    assert line.connect()
    assert line.ask(b"ask") == b"\x10\x01ask"


def test_disconnecting_waits_for_ua_or_dm():
    line = Line(answer)
    assert line.connect()
    line.client.disconnect()
    line.run(1)
    assert line.client.state is State.DISCONNECTED
    assert line.client.error is None
    assert not line.link.connected


# --- flow control


def test_a_busy_meter_says_rnr_and_gets_nothing_until_it_says_rr():
    got = []
    line = Line(lambda *it: got.append(it[2]), terms=Terms(parameters(128, 7), backlog=2))
    assert line.connect()
    line.meter.held = True
    sent = [b"%d" % n for n in range(6)]
    for apdu in sent:
        line.client.send(apdu)
    line.run(2)
    assert line.frames(Kind.RNR, up=False)
    assert got == []
    before = len(line.frames(Kind.I, up=True))
    line.run(2)
    assert len(line.frames(Kind.I, up=True)) == before  # only polls
    assert line.client.error is None
    line.meter.held = False
    line.meter._handle(line.link)
    line.run(5)
    assert got == sent


def test_a_busy_client_says_rnr_and_takes_the_rest_later():
    line = Line(lambda *it: None, setup=Setup(CLIENT, SERVER, backlog=2))
    assert line.connect()
    sent = [b"%d" % n for n in range(6)]
    for apdu in sent:
        line.link.send(apdu)
    line.client.poll()
    line.run(5)
    assert list(line.client.received) == sent[:2]
    line.client.send(b"I can speak all the same")
    line.run(5)
    assert line.frames(Kind.RNR, up=True)
    taken = []
    for _ in range(6):
        while line.client.received:
            taken.append(line.client.received.popleft())
        line.run(5)
    assert taken == sent


# --- notifications, echoes, other stations


def test_a_notification_comes_in_ui_frames_segmented_where_needed():
    line = Line(answer)
    assert line.connect()
    for apdu in (b"\x0fshort", b"\x0f" + bytes(3000)):
        line.transmit(line.meter.push(1, 16, apdu), False)
    line.run(1)
    assert [len(apdu) for apdu in line.client.notifications] == [6, 3001]
    assert line.ask(b"ask") == b"\x10\x01ask"


@pytest.mark.parametrize(
    "destination",
    [
        pytest.param(Address(0x7F), id="all, in one byte"),
        pytest.param(Address(0x7F, 0x7F, 2), id="all, in two"),
        pytest.param(Address(0x3FFF, 0x3FFF, 4), id="all, in four"),
        pytest.param(Address(1, 0x7F, 2), id="one logical device of all meters, in two"),
        pytest.param(Address(1, 0x3FFF, 4), id="one logical device of all meters, in four"),
        pytest.param(Address(0x7F, 17, 2), id="all logical devices of one meter"),
    ],
)
def test_a_broadcast_in_a_ui_frame_is_heard_and_not_answered(destination):
    heard = []
    station = Station(lambda *it: heard.append(it) or b"answer", physical=17)
    assert raw(station, Frame(destination, CLIENT, Control(Kind.UI, True), LLC + b"all")) == []
    assert heard == [(16, destination.upper, b"all")]


@pytest.mark.parametrize("destination", [Address(0x7F, 17, 2), Address(1, 0x3FFF, 4)])
def test_a_link_to_many_is_none(destination):
    station = Station(answer, physical=17)
    assert raw(station, command(Kind.SNRM, server=destination)) == []
    assert not station.links


@pytest.mark.parametrize("same", [False, True], ids=["different addresses", "client 1 at meter 1"])
def test_a_line_that_echoes_is_no_different(same):
    client, server = (Address(1), Address(1)) if same else (CLIENT, SERVER)
    line = Line(answer, setup=Setup(client, server, parameters(100, 3), echo=same), server=server, echo=True,
                terms=Terms(echo=same))  # fmt: skip
    assert line.connect()
    for size in (3, 1000):
        assert line.ask(bytes(size)) == bytes((client.upper, 1)) + bytes(size)
    assert line.client.counted.strays
    assert line.client.counted.repeated == line.client.counted.timeouts == 0


def test_an_echo_shows_itself_where_addresses_are_the_same():
    line = Line(answer, setup=Setup(Address(1), Address(1)), server=Address(1), echo=True)
    assert line.connect()
    assert line.ask(bytes(3000)) == b"\x01\x01" + bytes(3000)


def test_frames_for_another_meter_on_the_line_are_left_to_it():
    stations = [Station(answer, physical=number) for number in (17, 18)]
    replies = [raw(station, command(Kind.SNRM, server=Address(1, 18, 4))) for station in stations]
    assert [len(frames) for frames in replies] == [0, 1]


def test_a_station_keeps_a_bounded_number_of_links():
    ended = []
    station = Station(answer, clients=3, ended=lambda *link: ended.append(link))
    for client in range(1, 7):
        raw(station, command(Kind.SNRM, client=Address(client)))
    assert len(station.links) == 3
    assert ended == [(1, 1), (2, 1), (3, 1)]


def test_a_client_that_is_silent_for_too_long_is_disconnected():
    line = Line(answer, terms=Terms(inactivity=100.0))
    assert line.connect()
    line.run(99)
    assert line.meter.links
    line.run(2)
    assert not line.meter.links


# --- silence


@pytest.mark.parametrize("after", range(6))
def test_a_meter_that_falls_silent_anywhere_ends_in_a_timeout_and_the_link_is_usable(after):
    line = Line(answer, setup=Setup(CLIENT, SERVER, parameters(100, 2)))

    def session():
        if not line.connect():
            raise line.client.error
        line.ask(bytes(500))

    line.faults.extend([Fault("split", 3)] * after * 2 + [Fault("drop")] * 200)
    started = line.now
    with pytest.raises(LinkTimeout, match="over HDLC"):
        session()
    assert line.now - started < 60
    line.drain()
    session()


def test_a_meter_that_never_answers_disc_leaves_the_link_usable():
    line = Line(answer)
    assert line.connect()
    line.silent = True
    line.client.disconnect()
    line.run(60)
    assert (line.client.state, type(line.client.error)) == (State.DISCONNECTED, LinkTimeout)
    line.silent = False
    assert line.connect()
    assert line.ask(b"ask") == b"\x10\x01ask"


def test_a_gap_in_a_frame_ends_it_and_frees_the_frame_behind():
    link = connected(parameters=parameters(100, 7), inter_octet=0.2)
    link.poll()
    said(link)
    first, second = reply(Kind.I, BACK + bytes(50), final=False), reply(Kind.RR, receive=0)
    link.feed(first[:-20] + second, 0.1)
    assert said(link, 0.1) == []
    link.tick(link.deadline)
    assert link.idle  # the RR behind was found: the turn is ours again


def test_a_meter_that_talks_and_never_ends_its_turn_does_not_hold_the_link():
    link = connected(parameters=parameters(100, 7), timeout=1.0)
    link.poll()
    said(link)
    now = 0.0
    while link.state is State.CONNECTED and now < 100:
        now += 0.5
        link.feed(reply(Kind.I, b"x", final=False, send=link._numbered.receive, segmented=True), now)
        link.tick(now)
        link.output(now)
    assert isinstance(link.error, LinkTimeout)


def test_a_late_answer_before_the_echo_does_not_make_the_echo_an_answer():
    here = Address(1)
    ours, late = (Frame(here, here, Control(kind, True)) for kind in (Kind.RR, Kind.RNR))
    echo = Echo(known=True)
    echo.sent([ours])
    assert [echo.cancels(frame) for frame in (late, ours, ours)] == [False, True, False]


def test_a_meter_whose_segments_have_no_f_is_asked_for_the_next_after_a_moment():
    """(jDLMS) With a window of 1 a segment without F cannot be followed by another: the meter waits for us."""
    link = connected(parameters=parameters(100, 1), timeout=5.0, poll=0.1)
    link.poll()
    said(link)
    now, parts = 0.0, [BACK + b"a" * 50, b"b" * 50, b"c" * 50]
    for number, part in enumerate(parts):
        last = part is parts[-1]
        link.feed(reply(Kind.I, part, final=last, send=number, segmented=not last), now)
        if not last:
            assert said(link, now) == []
            now = link.deadline
            link.tick(now)
            assert [kind for kind, *_ in said(link, now)] == ["RR"]
    assert now < 1.0
    assert list(link.received) == [b"a" * 50 + b"b" * 50 + b"c" * 50]
    assert link.counted.timeouts == 0
