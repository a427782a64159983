"""`dcu write` and `dcu action`: what changes a meter goes out once, is read back, and says what it did."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcu.cli import typed
from dcu.cosem import axdr, data
from dcu.cosem.data import BitString
from dcu.errors import ConfigError
from neighbourhood.meter import Relay
from tests.cli.street import ACTED, ACTION

MODE = "70,0-0:96.3.10*255,4"
DISCONNECT = "70,0-0:96.3.10*255,1"
SET, WRITTEN = 0xC9, 0xCD  # as a ciphered association sends them


def manager(street, carrier="tcp"):
    """The head-end's own client, which may configure."""
    return ["2" if each == "1" else each for each in street.options(carrier)]


# --- over a link of its own


def test_a_value_takes_the_type_of_what_the_meter_holds_and_is_read_back(dcu, street):
    here = street()
    done = dcu("write", *manager(here), MODE, "2", "--json")
    assert (done.code, here.meter.relay_mode) == (0, 2)
    assert done.json["confirmed"] is True
    done = dcu("write", *manager(here), MODE, "enum:4")
    assert (done.code, here.meter.relay_mode) == (0, 4)
    assert "→" in done.out


@pytest.mark.parametrize(
    ("value", "code", "says"),
    [
        ("u8:300", 3, "no u8"),
        ("maybe:1", 3, "is no enum"),
        ("raw:06", 3, "is no raw"),
        ("octets:0", 3, "is no octets"),
        ("enum:99", 6, "type-unmatched"),
    ],
)
def test_a_value_that_is_none_or_does_not_fit_changes_nothing_and_says_why(dcu, street, value, code, says):
    here = street()
    before = here.meter.relay_mode
    done = dcu("write", *manager(here), MODE, value)
    assert (done.code, here.meter.relay_mode) == (code, before), done
    assert says in done.err


def test_a_client_that_may_not_write_is_told_so(dcu, street):
    done = dcu("write", *street().options(), MODE, "enum:2")
    assert done.code == 6
    assert "read-write-denied" in done.err


def test_a_write_whose_answer_is_lost_is_read_back_and_not_sent_again(dcu, street):
    here = street()
    path = here.lossy(lambda path, first: first == WRITTEN)
    options = [f"127.0.0.1:{path.port}" if each == here.at("udp") else each for each in manager(here, "udp")]
    done = dcu("write", *options, "--timeout", "0.5", MODE, "enum:2")
    assert (done.code, here.meter.relay_mode) == (0, 2), done
    assert path.sent.count(SET) == 1


def test_a_write_that_never_arrived_is_told_as_such(dcu, street):
    here = street()
    before = here.meter.relay_mode
    path = here.lossy(lambda path, first: first == SET)
    options = [f"127.0.0.1:{path.port}" if each == here.at("udp") else each for each in manager(here, "udp")]
    done = dcu("write", *options, "--timeout", "0.5", MODE, "enum:2" if before != 2 else "enum:4")
    assert done.code == 9
    assert "was not written" in done.err
    assert path.sent.count(SET) == 1


def test_a_method_is_called_once(dcu, street):
    here = street()
    done = dcu("action", *here.options(), DISCONNECT, "i8:0")
    assert (done.code, done.out, here.meter.relay) == (0, "done\n", Relay.DISCONNECTED)


def test_an_action_whose_answer_is_lost_is_not_sent_again_and_the_operator_is_told(dcu, street):
    here = street()
    path = here.lossy(lambda path, first: first == ACTED and path.sent.count(ACTION) > 1)
    options = [f"127.0.0.1:{path.port}" if each == here.at("udp") else each for each in here.options("udp")]
    done = dcu("action", *options, "--timeout", "0.5", DISCONNECT, "i8:0")
    assert done.code == 9
    assert "whether the action took effect is unknown" in done.err
    assert path.sent.count(ACTION) == 2  # the proof of HLS, and the one call
    assert here.meter.relay is Relay.DISCONNECTED


def test_a_parameter_without_a_type_is_refused_before_anybody_is_asked(dcu):
    done = dcu("action", "--tcp", "127.0.0.1:1", DISCONNECT, "0")
    assert done.code == 3
    assert "a parameter says its type" in done.err


# --- values as one writes them


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("u32:0x10", data.u32(16)),
        ("i8:-1", data.i8(-1)),
        ("bool:on", data.boolean(True)),
        ("octets:0A0B", data.octets(b"\n\x0b")),
        ("text:a:b", data.visible("a:b")),
        ("bits:0101", data.Data(data.Tag.BIT_STRING, BitString(4, b"\x50"))),
        ("null", data.null()),
        ("raw:0600000007", data.u32(7)),
    ],
)
def test_types_are_written_by_name(text, value):
    assert typed.encoded(text) == axdr.encode(value)


def test_a_time_goes_out_as_a_date_time():
    raw = typed.encoded("time:2026-11-20T12:00:30")
    assert raw.hex() == "090c07ea0b14050c001e00" + raw.hex()[-6:]
    assert typed.like("2026-11-20T12:00:30", raw) == raw


@given(st.text(max_size=60))
def test_any_text_is_a_value_or_a_mistake_that_is_told(text):
    for read in (typed.encoded, lambda each: typed.like(each, axdr.encode(data.u32(1)))):
        with suppress(ConfigError):
            axdr.decode(read(text))
