"""What host and modem say to each other, byte by byte, and every message both ways."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcu.errors import DecodeError
from dcu.fan.g3 import messages, pib, reports, requests, usi
from dcu.fan.g3.fields import Address, Counted, Flag, Number, Octets
from dcu.fan.g3.message import Band
from dcu.fan.g3.pib import Adp, Lbp, Mac

EUI = bytes.fromhex("0004a3fffe000017")
KEY = bytes(range(16))


@pytest.mark.parametrize(
    ("message", "wire"),
    [
        pytest.param(requests.Initialise(Band.CENELEC_A), "7e00e50a00014e0c7e", id="initialise"),
        pytest.param(requests.StartNetwork(0x781D), "7e00e50d781d46f77e", id="start"),
        pytest.param(requests.Reset(), "7e00651065107e", id="reset"),
        pytest.param(requests.Get(Adp.SOFT_VERSION), "7e01e5120000001c0000e33c7e", id="version"),
        pytest.param(requests.MacGet(Mac.NEIGHBOUR_TABLE), "7e01e5170000010a000081ad7e", id="neighbour"),
    ],
)
def test_a_request_is_byte_exact_on_the_wire(message, wire):
    assert usi.encode(usi.Frame(usi.Protocol.ADP, messages.encode(message))).hex() == wire


REQUESTS = [
    (requests.Initialise(Band.ARIB, coordinator=False), "0a0300"),
    (requests.Data(7, True, 1, b"\x60pkt"), "0b07010100" + "0460706b74"),
    (requests.Discover(15), "0c0f"),
    (requests.StartNetwork(0x781D), "0d781d"),
    (requests.Join(0x781D, 0x0102, 1), "0e781d010201"),
    (requests.Leave(), "0f"),
    (requests.Reset(), "10"),
    (requests.Set(Adp.MAX_HOPS, 0, b"\x08"), "110000000f00000108"),
    (requests.Get(Adp.ROUTING_TABLE, 258), "120000000c0102"),
    (requests.DiscoverRoute(0x0102, 8), "14010208"),
    (requests.DiscoverPath(0x0102, 15), "1501020f"),
    (requests.MacSet(Mac.FRAME_COUNTER, 0, b"\x00\x01\x00\x00"), "160000007700000400010000"),
    (requests.MacGet(Mac.KEY_TABLE, 1), "17000000710001"),
    (requests.NoIpData(0x0102, 9, False, 0, b"abc"), "1801020900000003616263"),
    (requests.LbpSet(Lbp.PSK, 0, KEY), "3c0000000200001" + "0" + KEY.hex()),
    (requests.ForceRegister(EUI, 0x0102, 0x781D, KEY), "3d" + EUI.hex() + "0102781d" + KEY.hex()),
    (requests.Kick(0x0102, EUI), "3e0102" + EUI.hex()),
    (requests.Rekey(0x0102, EUI, True), "3f0102" + EUI.hex() + "01"),
    (requests.RekeyPhase(True), "4001"),
    (requests.ActivateKey(), "41"),
    (requests.AssignShort(EUI, 0xFFFF), "42" + EUI.hex() + "ffff"),
]
HOP = reports.Hop(0x0102, 0, 7, 3, 1, 0)
REPORTS = [
    (reports.ModemStatus(2, 99), "000263"),
    (reports.DataConfirm(0xA5, 7), "1ea507"),
    (reports.DataIndication(120, b"\x60"), "1f78000160"),
    (
        reports.NetworkStatus(0x781D, 0x0102, EUI, 0xDB, 5, 1, 0),
        "20781d02010208" + EUI.hex() + "db050100",
    ),
    (reports.DiscoverConfirm(0xA9), "21a9"),
    (reports.StartConfirm(0), "2200"),
    (reports.JoinConfirm(0, 0x0102, 0x781D), "23000102781d"),
    (reports.LeaveConfirm(0), "2400"),
    (reports.LeaveIndication(), "25"),
    (reports.ResetConfirm(0), "2600"),
    (reports.SetConfirm(0, Adp.MAX_HOPS, 0), "27000000000f0000"),
    (reports.GetConfirm(0, Adp.SOFT_VERSION, 0, b"\x01\x02"), "28000000001c0000020102"),
    (reports.RouteConfirm(0xA5), "2ba5"),
    (reports.PathConfirm(0, 0x0102, 0, 15, ((HOP,), (HOP, HOP))), "2c00010200000f0102" + "01020007030100" * 3),
    (reports.MacSetConfirm(0, Mac.FRAME_COUNTER, 0), "2d00000000770000"),
    (reports.MacGetConfirm(0, Mac.PAN_ID, 0, b"\x78\x1d"), "2e0000000050000002781d"),
    (reports.BufferIndication(0), "2f00"),
    (reports.DiscoverIndication(0x781D, 90, 0x0102, 30, 0), "30781d5a0102001e00"),
    (reports.PathRequestIndication(), "31"),
    (
        reports.RouteNotFound(1, 2, 3, 4, 5, 6, 7, True, False, b"xy"),
        "3300010002000300040005060701000002" + "7879",
    ),
    (reports.LbpSetConfirm(0, Lbp.GMK, 1), "4600000000030001"),
    (reports.JoinRequest(EUI), "47" + EUI.hex()),
    (reports.JoinComplete(EUI, 0x0102), "48" + EUI.hex() + "0102"),
    (reports.LeaveReport(0x0102), "490102"),
]


@pytest.mark.parametrize(("message", "wire"), REQUESTS, ids=lambda value: type(value).__name__)
def test_each_request_is_byte_exact_both_ways(message, wire):
    assert messages.encode(message).hex() == wire
    assert messages.decode_request(bytes.fromhex(wire)) == message


@pytest.mark.parametrize(("message", "wire"), REPORTS, ids=lambda value: type(value).__name__)
def test_each_report_is_byte_exact_both_ways(message, wire):
    assert messages.encode(message).hex() == wire
    assert messages.decode_report(bytes.fromhex(wire)) == message


def test_every_message_has_its_bytes_here():
    assert {type(message) for message, _ in REQUESTS} == set(messages.REQUESTS)
    assert {type(message) for message, _ in REPORTS} == set(messages.REPORTS)


def test_a_refused_get_has_no_value_whatever_its_length_says():
    assert messages.decode_report(bytes.fromhex("28b1000000990000" + "05")).value == b""
    assert messages.decode_report(bytes.fromhex("28b1000000990000")).value == b""


def test_a_report_may_be_longer_than_we_know_it_and_a_request_may_not():
    assert messages.decode_report(bytes.fromhex("1e000742")) == reports.DataConfirm(0, 7)
    with pytest.raises(DecodeError, match="behind"):
        messages.decode_request(bytes.fromhex("1042"))


def test_an_unknown_command_is_an_error_of_its_own():
    with pytest.raises(messages.UnknownCommand, match="command 99"):
        messages.decode_report(b"\x63")


def test_a_key_is_not_shown():
    assert KEY.hex() not in repr(requests.ForceRegister(EUI, 1, 2, KEY))
    for message in (requests.LbpSet(Lbp.PSK, 0, KEY), requests.MacSet(Mac.KEY_TABLE, 0, KEY)):
        assert KEY.hex() not in repr(message)
        assert repr(KEY) not in repr(message)


def values(field):
    match field:
        case Number(size):
            return st.integers(0, 256**size - 1)
        case Flag():
            return st.booleans()
        case Octets(size):
            return st.binary(min_size=size, max_size=size)
        case Counted(size):
            return st.binary(max_size=255 if size == 1 else 1280)
        case Address():
            return st.one_of(st.none(), st.integers(0, 0xFFFF), st.binary(min_size=8, max_size=8))
    hops = st.lists(st.builds(reports.Hop, st.integers(0, 0xFFFF), *[st.integers(0, 255)] * 5), max_size=14).map(tuple)
    return st.tuples(hops, hops) if type(field).__name__ == "_Hops" else st.binary(max_size=255)


@st.composite
def any_message(draw, kinds):
    kind = draw(st.sampled_from(kinds))
    drawn = {name: draw(values(field)) for name, field in kind.FIELDS}
    if "value" in drawn and "status" in drawn:
        drawn["status"] = 0
    return kind(**drawn)


@given(any_message(messages.REQUESTS))
def test_any_request_comes_back_as_it_was(message):
    assert messages.decode_request(messages.encode(message)) == message


@given(any_message(messages.REPORTS))
def test_any_report_comes_back_as_it_was(message):
    assert messages.decode_report(messages.encode(message)) == message


@given(st.binary(max_size=200))
def test_noise_raises_decode_error_and_nothing_else(noise):
    for decode in (messages.decode_report, messages.decode_request):
        try:
            message = decode(noise)
        except DecodeError:
            continue
        assert dataclasses.is_dataclass(message)


def test_entries_of_the_tables_are_byte_exact():
    assert pib.decode_route(bytes.fromhex("01020304000b" + "23" + "00" + "0168")) == pib.Route(
        0x0102, 0x0304, 11, hops=3, weak_links=2, media=0, minutes=360
    )
    raw = bytes.fromhex("0102" + "3f00ff" + "02" + "0a" + "01" + "000102030405" + "01" + "03" + "5a" + "000a")
    assert pib.decode_neighbour(raw) == pib.Neighbour(
        0x0102, b"\x3f\x00\xff", "DQPSK", 10, 1, bytes(range(6)), True, 3, 90, 10
    )
    assert pib.decode_seen(bytes.fromhex("01025a000a")) == pib.Seen(0x0102, 90, 10)
    assert pib.decode_blacklisted(bytes.fromhex("010200000a")) == pib.Blacklisted(0x0102, 0, 10)
    with pytest.raises(DecodeError, match="a neighbour table entry of 18"):
        pib.decode_neighbour(raw[:-1])
