"""`dcu decode` against captures of real meters."""

import re
from xml.etree import ElementTree

import pytest

from tests.cli.captured import (
    CAPTURES,
    DAMAGED,
    SOUND,
    assert_clock,
    assert_equal,
    assert_equal_xml,
    expected,
    keys_file,
)


@pytest.fixture
def keys(tmp_path):
    """The Kamstrup capture's keys as a keys file; published test material."""
    gak, guek = (CAPTURES.joinpath(f"hdlc_kamstrup_omnipower.{kind}").read_text().strip() for kind in ("gak", "key"))
    return keys_file(tmp_path / "keys.toml", system_title="4B414D4501349083", guek=guek, gak=gak)


@pytest.mark.parametrize("name", SOUND)
def test_every_value_of_a_capture_is_what_another_decoder_says(name, decode_json, keys):
    [found] = decode_json(CAPTURES / f"{name}.log", "--keys", keys)
    date_time, body = expected(name)
    assert found["apdu"]["service"] == "data-notification"
    if date_time is None:
        assert found["apdu"]["date_time"] is None
    else:
        assert_clock(found["apdu"]["date_time"], date_time)
    assert_equal(found["apdu"]["body"], body)


@pytest.mark.parametrize("name", SOUND)
def test_the_xml_holds_the_same_values(name, decode, keys):
    code, out, err = decode(CAPTURES / f"{name}.log", "--keys", keys)
    assert (code, err) == (0, "")
    [body] = ElementTree.fromstring(out).findall("NotificationBody/DataValue/*")
    assert_equal_xml(body, expected(name)[1])


@pytest.mark.parametrize(
    ("name", "options", "utc"),
    [
        pytest.param("raw_salzburg_netz", (), "2022-11-12T15:54:00Z", id="Austria, deviation -60"),
        pytest.param("raw_energomera", (), "2022-11-03T12:38:25Z", id="Russia, deviation -180"),
        pytest.param("hdlc_kaifa_ma304h3e", (), None, id="unspecified: nothing is made up"),
        pytest.param("hdlc_kaifa_ma304h3e", ("--zone", "Europe/Oslo"), "2017-09-15T03:33:40Z", id="unspecified, zoned"),
        pytest.param(
            "hdlc_kamstrup_omnipower", ("--zone", "Europe/Copenhagen"), "2026-03-12T14:24:30Z", id="ciphered, zoned"
        ),
        pytest.param(
            "raw_salzburg_netz", ("--opposite-deviation",), "2022-11-12T17:54:00Z", id="a meter of the other opinion"
        ),
    ],
)
def test_date_times_are_right_in_utc(name, options, utc, decode_json, keys):
    [found] = decode_json(CAPTURES / f"{name}.log", "--keys", keys, *options)
    assert found["apdu"]["date_time"]["utc"] == utc


def test_the_clock_inside_a_push_is_right_in_utc(decode_json):
    [found] = decode_json(CAPTURES / "raw_salzburg_netz.log")
    clock = found["apdu"]["body"]["value"][1]["date_time"]
    assert clock == {
        "raw": "07e60b0c0610360000ffc400",
        "local": "2022-11-12 16:54:00",
        "deviation": -60,
        "utc": "2022-11-12T15:54:00Z",
    }


def test_what_protected_a_push_is_told(decode_json, keys):
    [found] = decode_json(CAPTURES / "hdlc_kamstrup_omnipower.log", "--keys", keys)
    assert found["security"] == {
        "framing": "general-glo-ciphering",
        "protection": "authenticated and encrypted",
        "system_title": "4B414D4501349083",
        "invocation_counter": 17784996,
    }
    assert found["link"] == {"framing": "HDLC", "frame": "UI", "source": "1", "destination": "32", "segments": 1}


def test_a_broken_fcs_is_named_and_refused(decode):
    code, out, err = decode(DAMAGED, "--json")
    assert (code, out) == (8, "")
    assert err.startswith("dcu: HDLC frame 1: its FCS is wrong")
    assert "--ignore-fcs" in err


def test_a_broken_fcs_can_be_ignored_and_what_departs_from_the_standard_is_named(decode_json, decode):
    [found] = decode_json(DAMAGED, "--ignore-fcs")
    assert found["fault"] == "FCS"
    assert found["notes"] == ["not by the standard: OBIS codes with tag and length exchanged (06 09)"]
    sound = expected("hdlc_landis_gyr_zmf100")[1][:7]  # then come records that begin 06 09 in place of 09 06
    for node, wanted in zip(found["apdu"]["body"]["value"], sound, strict=False):
        assert_equal(node, wanted)
    assert len(found["apdu"]["body"]["value"]) == 18
    current = found["apdu"]["body"]["value"][7]["value"]
    assert (current[0]["obis"], current[1]["value"]) == ("1-0:31.7.0*255", 0x00F4)  # as the bytes say
    code, out, _ = decode(DAMAGED, "--ignore-fcs")
    assert code == 0
    assert "wrong FCS" in out
    [body] = ElementTree.fromstring(out).findall("NotificationBody/DataValue/*")
    assert_equal_xml(body[3], sound[3])


def test_a_wrong_key_says_what_to_check(decode, tmp_path):
    wrong = keys_file(tmp_path / "wrong.toml", system_title="4B414D4501349083", guek="00" * 16, gak="FF" * 16)
    code, out, err = decode(CAPTURES / "hdlc_kamstrup_omnipower.log", "--keys", wrong)
    assert (code, out) == (7, "")
    assert "check the GAK" in err
    assert "system title" in err


def test_a_flipped_bit_of_a_ciphered_push_is_not_shown(decode, keys, tmp_path):
    frame = bytearray.fromhex(re.sub("[^0-9A-F]", "", (CAPTURES / "hdlc_kamstrup_omnipower.log").read_text()))
    frame[100] ^= 1
    code, out, err = decode(frame.hex(), "--keys", keys, "--ignore-fcs")
    assert (code, out) == (7, "")
    assert "does not fit" in err


def test_without_keys_it_says_whose_are_needed(decode):
    code, _, err = decode(CAPTURES / "hdlc_kamstrup_omnipower.log")
    assert code == 4
    assert "4B414D4501349083" in err
    assert "--keys FILE" in err
