"""`dcu write` and `dcu action`: what changes a meter goes out once, is read back, and says what it did."""

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcu.cli import typed
from dcu.cosem import axdr, data
from dcu.cosem.data import BitString
from dcu.errors import ConfigError
from neighbourhood.relay import Relay
from tests.cli.street import ACTED, ACTION, GOT

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
        ("maybe:1", 3, "belongs here"),
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


def test_nothing_is_written_where_the_line_breaks_before(dcu, street):
    here = street()
    before = here.meter.relay_mode
    path = here.lossy(lambda path, first: first == GOT)
    options = [f"127.0.0.1:{path.port}" if each == here.at("udp") else each for each in manager(here, "udp")]
    done = dcu("write", *options, "--timeout", "0.3", MODE, "enum:2" if before != 2 else "enum:4")
    assert (done.code, here.meter.relay_mode) == (5, before), done
    assert path.sent.count(SET) == 0


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


# --- values by the names of their parts


def test_a_schedule_is_written_as_it_is_shown(dcu, street):
    here = street()
    schedule = "22,0-0:15.0.1*255,4"
    done = dcu("write", *manager(here), schedule, '[{"time": "22:00", "date": "*-12-24"}]', "--json")
    assert (done.code, done.json["confirmed"]) == (0, True), done
    assert done.json["after"] == [{"time": "22:00:00", "date": "****-12-24"}]
    shown = dcu("read", *manager(here), schedule, "22,0-0:15.0.1*255,2")
    assert "time 22:00:00, date ****-12-24" in shown.out
    assert "script_logical_name 0-0:10.0.106*255" in shown.out


def test_a_push_setup_is_written_in_whichever_version_the_parts_are(dcu, street):
    """The street's are of version 0, the catalogue's newest is 2."""
    here, pushed = street(), "40,0-0:25.9.0*255,2"
    objects = [{"class_id": 3, "logical_name": "1-0:1.8.0*255", "attribute_index": 2, "data_index": 0}]
    done = dcu("write", *manager(here), pushed, json.dumps(objects), "--json")
    assert (done.code, done.json["after"]) == (0, objects), done
    objects[0]["restriction"] = {"restriction_type": "none", "restriction_value": None}
    done = dcu("write", *manager(here), pushed, json.dumps(objects))
    assert done.code == 6, done  # the meter's is not of that version


def test_what_does_not_fit_the_parts_bothers_nobody(dcu):
    done = dcu("write", "--tcp", "127.0.0.1:9", "22,0-0:15.0.1*255,4", '[{"time": "25:00", "date": "*"}]')
    assert done.code == 3
    assert "no time of day" in done.err


def test_a_method_takes_what_the_catalogue_says(dcu, street):
    here = street()
    day = '{"index": 1, "specialday_date": "*-12-25", "day_id": 1}'
    assert dcu("action", *manager(here), "11,0-0:11.0.0*255,1", day).code == 0
    assert dcu("read", *manager(here), "11,0-0:11.0.0*255,2", "--json").json[0]["value"] == [
        {"index": 1, "specialday_date": "****-12-25", "day_id": 1}
    ]
    done = dcu("action", *manager(here), "9,0-0:10.0.106*255,1", "1")
    assert (done.code, here.meter.relay) == (0, Relay.DISCONNECTED), done


def test_an_enumeration_is_written_by_what_it_means(dcu, street):
    here = street()
    done = dcu("write", *manager(here), MODE, "none: always connected")
    assert (done.code, here.meter.relay_mode) == (0, 0), done


def test_events_are_told_by_name(dcu, street):
    here = street()
    assert dcu("disconnect", *here.options()).code == 0
    shown = dcu("read", *here.options(), "0-0:99.98.2")
    assert "62 remote disconnection" in shown.out
    assert "62 remote disconnection" in dcu("read", *here.options(), "0-0:96.11.2").out
    assert dcu("read", *here.options(), "0-0:96.11.2", "--json").json[0]["value"] == 62


# --- association objects: a list of users, a list of objects, by name


def test_a_method_is_called_by_its_name(dcu, street):
    here = street()
    done = dcu("action", *manager(here), "70,0-0:96.3.10*255,remote_disconnect", "i8:0")
    assert (done.code, here.meter.relay) == (0, Relay.DISCONNECTED), done
    done = dcu("action", "--tcp", "127.0.0.1:9", "70,0-0:96.3.10*255,switch_off", "i8:0")
    assert done.code == 3
    assert "class 70 has the methods remote_disconnect, remote_reconnect" in done.err


def test_a_meter_with_users_asks_who_we_are(dcu, street):
    here, users = street(), "15,0-0:40.0.0*255,10"
    entry = '{"user_id": 7, "user_name": "Anna"}'
    done = dcu("action", *manager(here), "15,0-0:40.0.0*255,add_user", entry)
    assert done.code == 0, done
    for who in ((), ("--user", "8")):
        done = dcu("read", *manager(here), *who, users)
        assert (done.code, "calling-ae-invocation-identifier" in done.err) == (6, True), done
    done = dcu("read", *manager(here), "--user", "7", users, "15,0-0:40.0.0*255,11", "--json")
    assert [each["value"] for each in done.json] == [
        [{"user_id": 7, "user_name": "Anna"}],
        {"user_id": 7, "user_name": "Anna"},
    ]
    assert dcu("action", *manager(here), "--user", "7", "15,0-0:40.0.0*255,remove_user", entry).code == 0
    assert dcu("read", *manager(here), users).code == 0


def test_an_object_is_taken_out_of_a_clients_list_and_put_back_with_fewer_rights(dcu, street):
    here, relay = street(), "70,0-0:96.3.10*255,3"
    rights = {"attribute_access": [[3, "read", None]], "method_access": [[2, "access"]]}
    entry = json.dumps({"class_id": 70, "version": 0, "logical_name": "0-0:96.3.10*255", "access_rights": rights})
    assert dcu("action", *manager(here), "15,0-0:40.0.2*255,remove_object", entry).code == 0
    assert "object-undefined" in dcu("read", *here.options(), relay).err
    assert dcu("action", *manager(here), "15,0-0:40.0.2*255,add_object", entry).code == 0
    assert dcu("read", *here.options(), relay).code == 0
    done = dcu("action", *here.options(), DISCONNECT, "i8:0")
    assert (done.code, here.meter.relay) == (6, Relay.CONNECTED), done
