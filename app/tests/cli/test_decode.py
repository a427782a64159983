"""`dcu decode`: however hex is written, and whatever comes."""

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dcu.cli import capture
from dcu.cli.decoding import Decoder, is_whole
from dcu.cosem import apdu
from dcu.cosem.apdu import (
    GetRequestNormal,
)
from dcu.errors import DcuError, DecodeError
from dcu.link import hdlc, wrapper
from dcu.link.hdlc import Address, Control, Frame, Kind
from dcu.model import AttributeRef, Obis
from tests.cli.captured import CAPTURES, SOUND

ENERGY = AttributeRef(3, Obis.parse("1-0:1.8.0"), 2)
GET = apdu.encode(GetRequestNormal(0xC1, ENERGY))
NEXT = apdu.encode(GetRequestNormal(0xC2, ENERGY))


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(f"{GET.hex()}\n{NEXT.hex()}\n", id="one a line"),
        pytest.param(f"{GET.hex(' ')}\n\n{NEXT.hex(' ', 4)}", id="spaced, paragraphs"),
        pytest.param(f"{GET.hex(' ')[:20]}\n{GET.hex(' ')[21:]}\n\n{NEXT.hex()}", id="a paragraph each, in lines"),
        pytest.param(f"'{GET.hex()}',\n'{NEXT.hex()}',", id="quoted, with commas"),
        pytest.param(f'["{GET.hex()}", "{NEXT.hex()}"]', id="a JSON array"),
        pytest.param(f"# request\n{GET.hex(':').upper()}\n// again\n{NEXT.hex('-').replace('-', ';')}", id="comments"),
        pytest.param("\n".join(" ".join(f"0x{b:02X}," for b in raw) for raw in (GET, NEXT)), id="a C array"),
        pytest.param((wrapper.encode(1, 16, GET) + wrapper.encode(1, 16, NEXT)).hex(), id="wrapper, in one piece"),
        pytest.param(f"{(hdlc.LLC_COMMAND + GET).hex()}\n{(hdlc.LLC_COMMAND + NEXT).hex()}", id="LLC, without HDLC"),
        pytest.param(
            "\n".join(
                hdlc.encode(Frame(Address(1), Address(16), Control(Kind.I, send=n), hdlc.LLC_COMMAND + raw))[1:-1].hex()
                for n, raw in ((0, GET),)
            )
            + f'"{NEXT.hex()}"',
            id="HDLC without its flags, then a bare APDU",
        ),
    ],
)
def test_hex_is_read_however_it_is_written(text):
    assert [item.apdu for item in capture.read(text, is_whole)] == [GET, NEXT]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "no hex"),
        ("# nothing\n", "no hex"),
        ("c0 01\nc1 zz", "line 2: 'z' is no hex digit"),
        ("c0 0", "line 1: an odd number"),
        ("c0 01 c1", "too early"),
        (GET.hex() + "00", "1 bytes follow"),
        ("7ea007032193", "cut short"),
        (hdlc.encode(Frame(Address(1), Address(16), Control(Kind.RR))).hex() + "0102", "no frame"),
        ("0001000100100005c001", "cut short"),
        ("000100010010000000020000", "version 0002"),
        ("0f40000000000203", "the value of a data-notification: 3 elements in 0 bytes"),
        ("ff00", "begins no known APDU"),
    ],
)
def test_what_cannot_be_decoded_is_said_in_one_line(text, complaint, decode):
    code, _, err = decode(text)
    assert code == 8
    assert complaint in err
    assert err.startswith("dcu: ")
    assert err.count("\n") == 1


def test_what_came_before_an_error_is_shown(decode):
    frames = [wrapper.encode(1, 16, GET), wrapper.encode(1, 16, b"\xff")]
    code, out, err = decode(b"".join(frames).hex(), "--json")
    assert code == 8
    assert [item["apdu"]["service"] for item in json.loads(out)] == ["get-request-normal"]
    assert "begins no known APDU" in err


def test_a_service_in_a_form_that_nobody_knows_is_shown_as_it_came(decode):
    code, out, _ = decode(wrapper.encode(1, 16, bytes.fromhex("c004c100")).hex(), "--json")
    assert code == 0
    [found] = json.loads(out)
    assert found["apdu"] == {"service": "get-request", "raw": "c004c100"}
    assert "variant 4 is not supported" in found["notes"][0]


def test_a_zone_that_is_none_is_a_mistake_of_the_command_line(decode):
    code, _, err = decode(GET.hex(), "--json", "--zone", "Middle/Earth")
    assert code == 3
    assert "Middle/Earth" in err


# --- whatever comes


@given(st.text(max_size=200) | st.text("0123456789abcdefACE7 \n'", max_size=400))
@settings(max_examples=150, deadline=None)
def test_any_text_is_decoded_or_refused_with_a_decode_error(text):
    try:
        captured = list(capture.read(text, is_whole))
    except DecodeError:
        return
    for item in captured:
        try:
            Decoder().take(item)
        except DcuError:
            continue


@given(st.sampled_from(SOUND), st.data())
@settings(max_examples=100, deadline=None)
def test_a_mutated_capture_is_decoded_or_refused_with_an_error_of_ours(name, data):
    raw = bytearray.fromhex(re.sub("[^0-9A-Fa-f]", "", (CAPTURES / f"{name}.log").read_text()))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    decoder = Decoder()
    try:
        for item in capture.read(raw.hex(), is_whole, ignore_fcs=True):
            decoder.take(item)
    except DcuError:
        return
