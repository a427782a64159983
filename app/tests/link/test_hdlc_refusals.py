"""What ends an HDLC link, or is refused on it: REJ, FRMR, DM, DISC, other stations, silence."""

import pytest

from dcu.errors import LinkClosed, LinkError, LinkTimeout
from dcu.link.hdlc import Address, Control, Frame, Kind
from dcu.link.hdlc_client import ClientLink, Setup, State
from dcu.link.hdlc_echo import Echo
from dcu.link.hdlc_parameters import (
    DEFAULT,
    Reason,
    Rejection,
    decode_rejection,
)
from dcu.link.hdlc_server import Station, Terms

from .hdlc_frames import BACK, LLC, answer, command, connected, raw, reply, said
from .hdlc_line import CLIENT, SERVER, Fault, Line, parameters

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
