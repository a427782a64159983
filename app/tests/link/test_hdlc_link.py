"""An HDLC link from SNRM to DISC, frame by frame."""

import pytest

from dcu.link.hdlc import Address, Control, Frame, Kind, encode
from dcu.link.hdlc_client import ClientLink, Setup, State
from dcu.link.hdlc_parameters import (
    DEFAULT,
    Parameters,
    agree,
    decode_parameters,
    encode_parameters,
)
from dcu.link.hdlc_server import Terms

from .hdlc_frames import BACK, answer, connected, reply, said
from .hdlc_line import CLIENT, SERVER, Fault, Line, parameters, windows

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
