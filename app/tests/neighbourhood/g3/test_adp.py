from dataclasses import fields

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dcu.errors import DecodeError
from neighbourhood.g3 import adp
from neighbourhood.g3.adp_codec import (
    REPORTS,
    REQUESTS,
    UnknownCommand,
    decode_report,
    decode_request,
    encode,
)

EUI = bytes.fromhex("0004a3fffe000017")


@pytest.mark.parametrize(
    ("message", "wire"),
    [
        (adp.Initialise(0, 1), "0a 00 01"),
        (adp.Start(0x781D), "0d 781d"),
        (adp.Reset(), "10"),
        (adp.Get(0x1C, 0), "12 0000001c 0000"),
        (adp.MacGet(0x10A, 0), "17 0000010a 0000"),
        (adp.Data(7, 1, 0, b"\x60\x00"), "0b 07 01 00 0002 6000"),
        (adp.LbpSet(2, 0, bytes(16)), "3c 00000002 0000 10" + "00" * 16),
        (adp.Kick(0x0102, EUI), "3e 0102 0004a3fffe000017"),
        (adp.Rekey(0x0102, EUI, 1), "3f 0102 0004a3fffe000017 01"),
        (adp.AssignShort(EUI, 0x0102), "42 0004a3fffe000017 0102"),
        (adp.Status(0, 10), "00 00 0a"),
        (adp.DataConfirm(0xA5, 7), "1e a5 07"),
        (adp.NetworkStatus(1, 2, EUI, 0xE4, 5, 0, 0), "20 0001 02 0002 08 0004a3fffe000017 e4 05 00 00"),
        (
            adp.PathConfirm(0, 9, 0, 15, ((adp.Hop(5, 0, 12, 1, 0, 0),), (adp.Hop(6, 0, 13, 2, 0, 0),))),
            "2c 00 0009 0000 0f 01 01 0005 00 0c 01 00 00 0006 00 0d 02 00 00",
        ),
        (adp.BufferIndication(7), "2f 07"),
        (adp.JoinRequest(EUI), "47 0004a3fffe000017"),
        (adp.JoinComplete(EUI, 9), "48 0004a3fffe000017 0009"),
        (adp.Left(9), "49 0009"),
        (adp.MacGetConfirm(0, 0x50, 0, b"\x78\x1d"), "2e 00 00000050 0000 02 781d"),
    ],
)
def test_message_is_byte_exact(message, wire):
    assert encode(message) == bytes.fromhex(wire)


def test_a_row_of_the_neighbour_table_is_longer_than_it_says():
    wire = encode(adp.MacGetConfirm(0, 0x10A, 0, bytes(19)))
    assert (wire[8], len(wire[9:])) == (18, 19)
    assert decode_report(wire).value == bytes(19)


OF = {
    "b": st.integers(0, 255),
    "h": st.integers(0, 65535),
    "i": st.integers(0, 2**32 - 1),
    "e": st.binary(min_size=8, max_size=8),
    "k": st.binary(min_size=16, max_size=16),
    "n": st.binary(max_size=300),
    "v": st.binary(max_size=255),
    "g": st.binary(max_size=255),
    "a": st.integers(0, 65535) | st.binary(min_size=8, max_size=8),
}
hops = st.lists(st.builds(adp.Hop, OF["h"], *[OF["b"]] * 5), max_size=4).map(tuple)
OF["p"] = st.tuples(hops, hops)


@settings(max_examples=15)
@given(st.data())
@pytest.mark.parametrize("kind", [*REQUESTS, *REPORTS], ids=lambda kind: kind.__name__)
def test_every_message_survives_the_wire(kind, data):
    table, decode = (REQUESTS, decode_request) if kind in REQUESTS else (REPORTS, decode_report)
    message = kind(*(data.draw(OF[letter]) for letter in table[kind][1]))
    assert decode(encode(message)) == message
    if len(fields(message)) and not isinstance(message, adp.GetConfirm | adp.MacGetConfirm):
        with pytest.raises(DecodeError):
            decode(encode(message)[:-1])


def test_no_two_messages_have_the_same_command():
    commands = [command for command, _ in (*REQUESTS.values(), *REPORTS.values())]
    assert len(commands) == len(set(commands))


def test_an_unknown_command_is_told_from_a_wrong_one():
    with pytest.raises(UnknownCommand):
        decode_request(b"\x13")
    with pytest.raises(DecodeError) as caught:
        decode_request(b"\x0d\x00")
    assert not isinstance(caught.value, UnknownCommand)


@given(st.binary(max_size=100))
def test_noise_gives_decode_errors_only(noise):
    for decode in (decode_request, decode_report):
        try:
            decode(noise)
        except DecodeError:
            continue
