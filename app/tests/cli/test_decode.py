"""`dcu decode` against captures of real meters, and against sessions that are put together here.

The captures and their `_decoded.xml` are from the project esphome-libs/dlms_parser (Apache-2.0).
"""

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dcu.cli import capture, main
from dcu.cli.decoding import Decoder, is_whole
from dcu.cosem import acse, apdu, axdr, gbt, security
from dcu.cosem.acse import Aare, Aarq, ApplicationContext, AssociationResult, Mechanism, UserDiagnostic
from dcu.cosem.apdu import (
    Conformance,
    DataNotification,
    GetRequestList,
    GetRequestNormal,
    GetResponseBlock,
    GetResponseNormal,
    InitiateRequest,
    InitiateResponse,
)
from dcu.cosem.security import Cipher, Framing, Protection
from dcu.credentials import Secret
from dcu.errors import DcuError, DecodeError
from dcu.link import hdlc, wrapper
from dcu.link.hdlc import Address, Control, Frame, Kind
from dcu.model import AttributeRef, Obis

CAPTURES = Path(__file__).parents[1] / "captures"
SOUND = [
    "hdlc_kaifa_ma304h3e",
    "hdlc_kamstrup_omnipower",
    "hdlc_norway_han_1phase",
    "raw_energomera",
    "raw_sagecom_xt211",
    "raw_salzburg_netz",
]
DAMAGED = CAPTURES / "hdlc_landis_gyr_zmf100.log"

# --- what `_decoded.xml` says, read as nested lists

TYPES = {
    "UINT8": "unsigned",
    "UINT16": "long-unsigned",
    "UINT32": "double-long-unsigned",
    "INT8": "integer",
    "INT16": "long",
    "INT32": "double-long",
    "ENUM": "enum",
    "OCTETSTRING": "octet-string",
    "VISIBLESTRING": "visible-string",
}
GURUX = {
    "UInt8": "UINT8",
    "UInt16": "UINT16",
    "UInt32": "UINT32",
    "Int8": "INT8",
    "Int16": "INT16",
    "Int32": "INT32",
    "Enum": "ENUM",
    "OctetString": "OCTETSTRING",
    "String": "VISIBLESTRING",
}


def expected(name: str) -> tuple[str | None, object]:
    """The date-time and the body, where a leaf is (type, value as written there)."""
    root = ElementTree.parse(CAPTURES / f"{name}_decoded.xml").getroot()
    notification = root if root.tag == "DataNotification" else root.find("DataNotification")
    date_time, body = notification
    return date_time.get("Value"), _expected(body)


def _expected(element: ElementTree.Element) -> object:
    if element.tag in ("STRUCTURE", "ARRAY"):
        assert len(element) == int(element.get("Qty"))
        return [_expected(child) for child in element]
    if element.tag == "AttributeDescriptor":
        class_id, instance, attribute = (child.get("Value") for child in element)
        return [("UINT16", str(int(class_id, 16))), ("OCTETSTRING", instance), ("INT8", str(int(attribute, 16)))]
    if element.tag == "NullData":
        return ("NULL", None)
    return (element.tag, element.get("Value"))


def assert_equal(node: dict, wanted: object) -> None:
    """A value of our JSON against what the other project says."""
    if isinstance(wanted, list):
        assert node["type"] in ("structure", "array")
        assert len(node["value"]) == len(wanted)
        for item, part in zip(node["value"], wanted, strict=True):
            assert_equal(item, part)
        return
    kind, text = wanted
    if kind == "NULL":
        assert node == {"type": "null", "value": None}
        return
    assert node["type"] == TYPES[kind]
    if kind == "OCTETSTRING" and re.fullmatch(r"\d+(\.\d+){5}", text):
        assert node["obis"] == str(Obis.parse(text))
    elif kind == "OCTETSTRING" and re.match(r"\d{4}-\d\d-\d\d \d\d:", text):
        assert_clock(node["date_time"], text)
    elif kind == "OCTETSTRING":
        assert node["text"] == text
    else:
        assert str(node["value"]).rstrip("\0") == text


def assert_clock(clock: dict, text: str) -> None:
    """`2022-11-12 16:54:00.00 -01:00`: what follows the time is the raw deviation, not an ISO offset."""
    local, sign, hours, minutes = re.fullmatch(r"([\d-]+ [\d:]+)(?:\.00)?(?: ([+-])(\d\d):(\d\d))?", text).groups()
    assert clock["local"] == local
    raw = None if sign is None else int(f"{sign}{int(hours) * 60 + int(minutes)}")
    assert clock["deviation"] == raw


def assert_equal_xml(element: ElementTree.Element, wanted: object) -> None:
    """A value of the Gurux XML, where everything is hex, against what the other project says."""
    if isinstance(wanted, list):
        assert element.tag in ("Structure", "Array")
        assert len(element) == len(wanted) == int(element.get("Qty"), 16)
        for child, part in zip(element, wanted, strict=True):
            assert_equal_xml(child, part)
        return
    kind, text = wanted
    if kind == "NULL":
        assert element.tag == "None"
        return
    assert GURUX[element.tag] == kind
    value = element.get("Value")
    if kind == "VISIBLESTRING":
        assert value.rstrip("\0") == text
    elif kind != "OCTETSTRING":
        number = int(value, 16)
        bits = 4 * len(value)
        assert str(number - (1 << bits) if kind.startswith("INT") and number >> bits - 1 else number) == text
    elif re.fullmatch(r"\d+(\.\d+){5}", text):
        assert bytes.fromhex(value) == Obis.parse(text).raw
    elif not re.match(r"\d{4}-\d\d-\d\d \d\d:", text):
        assert bytes.fromhex(value).rstrip(b"\0").decode() == text


# --- running the command


@pytest.fixture
def keys(tmp_path):
    """The Kamstrup capture's keys as a keys file; published test material."""
    gak, guek = (CAPTURES.joinpath(f"hdlc_kamstrup_omnipower.{kind}").read_text().strip() for kind in ("gak", "key"))
    return keys_file(tmp_path / "keys.toml", system_title="4B414D4501349083", guek=guek, gak=gak)


def keys_file(path: Path, **keys: str) -> Path:
    path.write_text("".join(f'{name} = "{value}"\n' for name, value in keys.items()))
    path.chmod(0o600)
    return path


@pytest.fixture
def decode(capfd, tmp_path):
    """Run `dcu decode` on a file or on text: exit code, what was printed, what was complained of."""

    def run(source: Path | str, *options: object) -> tuple[int, str, str]:
        if isinstance(source, str):
            path = tmp_path / "capture.log"
            path.write_text(source)
            source = path
        code = main.run(["decode", *map(str, options), str(source)])
        out, err = capfd.readouterr()
        return code, out, err

    return run


@pytest.fixture
def decode_json(decode):
    def run(source: Path | str, *options: object) -> list[dict]:
        code, out, err = decode(source, "--json", *options)
        assert (code, err) == (0, "")
        return json.loads(out)

    return run


# --- captures of real meters


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


# --- sessions put together here

CLIENT, METER = b"DCU\0\0\0\0\1", b"MTR\0\0\0\0\2"
GUEK, GAK, DEDICATED = bytes(range(16)), bytes(range(16, 32)), bytes(range(32, 48))
GLOBAL = Cipher(Secret(GUEK), Secret(GAK))
ENERGY = AttributeRef(3, Obis.parse("1-0:1.8.0"), 2)


@pytest.fixture
def session_keys(tmp_path):
    return keys_file(
        tmp_path / "session.toml",
        system_title=METER.hex(),
        client_title=CLIENT.hex(),
        guek=GUEK.hex(),
        gak=GAK.hex(),
    )


def sealed(plain: apdu.Apdu, title: bytes, counter: int, cipher: Cipher = GLOBAL, framing=Framing.GLOBAL) -> bytes:
    return security.protect(
        cipher, apdu.encode(plain), protection=Protection.BOTH, title=title, counter=counter, framing=framing
    )


def session() -> list[tuple[int, int, bytes]]:
    """A whole ciphered association with a dedicated key, as (from, to, APDU)."""
    dedicated = Cipher(Secret(DEDICATED), Secret(GAK))
    proposed = InitiateRequest(Conformance.GET, 1024, Secret(DEDICATED))
    granted = InitiateResponse(Conformance.GET, 512)
    context, gmac = ApplicationContext.LN_CIPHERED, Mechanism.HIGH_GMAC
    asked = Aarq(context, CLIENT, gmac, b"challenge-client", sealed(proposed, CLIENT, 1))
    required = UserDiagnostic.AUTHENTICATION_REQUIRED
    answered = Aare(
        context, AssociationResult.ACCEPTED, required, METER, gmac, b"challenge-server", sealed(granted, METER, 1)
    )
    value = axdr.encode(axdr.u32(5))
    get = GetRequestNormal(0xC1, ENERGY)
    got = GetResponseNormal(0xC1, value)
    return [
        (1, 16, acse.encode(asked)),
        (16, 1, acse.encode(answered)),
        (1, 16, sealed(get, CLIENT, 2, dedicated, Framing.DEDICATED)),
        (16, 1, sealed(got, METER, 2, dedicated, Framing.DEDICATED)),
    ]


def test_a_session_is_followed_to_its_dedicated_key_which_is_not_shown(decode_json, decode, session_keys):
    text = "\n".join(wrapper.encode(*frame).hex() for frame in session())
    found = decode_json(text, "--keys", session_keys)
    assert [item["apdu"]["service"] for item in found] == ["aarq", "aare", "get-request-normal", "get-response-normal"]
    assert found[0]["apdu"]["calling_title"] == CLIENT.hex().upper()
    assert found[0]["apdu"]["user_information"]["conformance"] == ["get"]
    assert found[0]["notes"] == ["its dedicated key is not shown"]
    assert found[2]["security"]["framing"] == "ded-ciphering"
    assert found[2]["apdu"]["attribute"]["reference"] == "3,1-0:1.8.0*255,2"
    assert found[3]["apdu"]["result"] == {"type": "double-long-unsigned", "value": 5}
    code, out, _ = decode(text, "--keys", session_keys)
    assert code == 0
    for shown in (out, json.dumps(found)):
        assert DEDICATED.hex() not in shown.lower()
        assert GUEK.hex() not in shown.lower()
    assert "<ProposedConformance>" in out


def test_a_password_is_not_shown_and_does_not_reach_the_worker(decode, decode_json):
    asked = acse.encode(Aarq(ApplicationContext.LN, None, Mechanism.LOW, b"12345678", apdu.encode(
        InitiateRequest(Conformance.GET, 1024)
    )))  # fmt: skip
    [found] = decode_json(asked.hex())
    assert found["notes"] == ["the password is not shown"]
    for shown in (json.dumps(found), decode(asked.hex())[1]):
        assert b"12345678".hex() not in shown
        assert "12345678" not in shown


def test_a_capture_that_starts_after_the_aarq_says_that_the_dedicated_key_is_unknown(decode, session_keys):
    code, _, err = decode(session()[2][2].hex(), "--keys", session_keys)
    assert code == 4
    assert "dedicated key" in err


def test_the_client_s_title_is_needed_where_nothing_tells_it(decode, tmp_path):
    keys = keys_file(tmp_path / "k.toml", system_title=METER.hex(), guek=GUEK.hex(), gak=GAK.hex())
    code, _, err = decode(sealed(GetRequestNormal(0xC1, ENERGY), CLIENT, 7).hex(), "--keys", keys)
    assert code == 4
    assert "client_title is missing" in err


def test_encryption_without_a_tag_is_noted(decode_json, session_keys):
    frame = security.protect(
        GLOBAL, apdu.encode(GetResponseNormal(1, b"\x11\x05")), protection=Protection.ENCRYPTED, title=METER, counter=9
    )
    [found] = decode_json(frame.hex(), "--keys", session_keys)
    assert found["apdu"]["result"]["value"] == 5
    assert "nothing proves" in found["notes"][0]


# --- putting together

ROWS = axdr.encode(axdr.array(axdr.structure(axdr.u32(n), axdr.octets(bytes(40))) for n in range(40)))


def blocks(value: bytes, size: int = 300) -> list[bytes]:
    pieces = [value[at : at + size] for at in range(0, len(value), size)]
    return [
        apdu.encode(GetResponseBlock(0xC1, number == len(pieces), number, piece))
        for number, piece in enumerate(pieces, 1)
    ]


def test_blocks_are_put_together(decode_json, decode):
    frames = [wrapper.encode(16, 1, block) for block in blocks(ROWS)]
    frames.insert(2, frames[1])  # sent again
    text = "\n".join(frame.hex(" ") for frame in frames)
    [found] = decode_json(text)
    assert found["apdu"]["service"] == "get-response-normal"
    assert [row["value"][0]["value"] for row in found["apdu"]["result"]["value"]] == list(range(40))
    _, out, _ = decode(text)
    assert len(ElementTree.fromstring(out).findall(".//UInt32")) == 40


def test_blocks_of_a_list_are_put_together(decode_json):
    asked = apdu.encode(GetRequestList(0xC1, ((ENERGY, None), (ENERGY, None))))
    answers = b"\x02" + b"\x00\x11\x05" + b"\x01\x03"
    frames = [wrapper.encode(1, 16, asked), *(wrapper.encode(16, 1, block) for block in blocks(answers, 3))]
    found = decode_json("\n".join(frame.hex() for frame in frames))
    assert found[1]["apdu"]["results"] == [{"type": "unsigned", "value": 5}, "read-write-denied (3)"]


def test_a_missing_block_is_said(decode):
    frames = [wrapper.encode(16, 1, block) for block in blocks(ROWS)]
    code, _, err = decode(b"".join([frames[0], *frames[2:]]).hex())
    assert code == 8
    assert "block 3 came where block 2 is due" in err
    code, _, err = decode(b"".join(frames[:-1]).hex())
    assert code == 8
    assert "the last one is missing" in err


def general_blocks(raw: bytes, *, confirmed: bool = True) -> list[bytes]:
    """An APDU in windows of three blocks, each confirmed by an empty block of the other side."""
    sender, receiver = gbt.Transfer(200, limit=0, theirs=3), gbt.Transfer(200, limit=1 << 20, window=3, silent=True)
    frames, turn, whole = [], sender.say(raw), None
    while whole is None:
        for frame in turn:
            frames.append(frame)
            whole, answer = receiver.take(gbt.decode(frame))
        turn = ()
        for frame in answer if whole is None else ():
            frames += [frame] if confirmed else []
            _, turn = sender.take(gbt.decode(frame))
    return frames


@pytest.mark.parametrize("confirmed", [True, False], ids=["both directions", "one direction"])
@pytest.mark.parametrize("wrapped", [True, False], ids=["wrapper", "bare"])
def test_general_blocks_are_put_together_and_deciphered(decode_json, session_keys, confirmed, wrapped):
    plain = apdu.GetResponseNormal(0x81, ROWS)
    frames = general_blocks(sealed(plain, METER, 9), confirmed=confirmed)
    assert len(frames) > 5
    text = "\n".join((wrapper.encode(16, 1, each) if wrapped else each).hex() for each in frames)
    (shown,) = decode_json(text, "--keys", session_keys)
    assert [row["value"][0]["value"] for row in shown["apdu"]["result"]["value"]] == list(range(40))
    assert shown["security"]


def test_a_missing_general_block_is_said(decode, session_keys):
    frames = general_blocks(sealed(apdu.GetResponseNormal(0x81, ROWS), METER, 9))
    del frames[4]
    code, _, err = decode("\n".join(each.hex() for each in frames), "--keys", session_keys)
    assert code == 8
    assert "the general-block-transfer breaks off" in err


def hdlc_frames(raw: bytes, size: int) -> list[bytes]:
    return [hdlc.encode(frame) for frame in hdlc.notification(Address(16), Address(1), raw, max_information=size)]


def test_hdlc_segments_are_put_together(decode_json):
    raw = apdu.encode(DataNotification(1, b"", ROWS))
    [found] = decode_json(b"".join(hdlc_frames(raw, 200)).hex(":"))
    assert found["link"]["segments"] == len(hdlc_frames(raw, 200))
    assert len(found["apdu"]["body"]["value"]) == 40


def test_a_missing_segment_is_said(decode):
    frames = hdlc_frames(apdu.encode(DataNotification(1, b"", ROWS)), 200)
    code, _, err = decode(b"".join(frames[:-1]).hex())
    assert code == 8
    assert "the last of the HDLC segments is missing" in err


def test_an_hdlc_session_shows_its_control_frames_too(decode_json, decode):
    connect = hdlc.encode(Frame(Address(1), Address(16), Control(Kind.SNRM, final=True)))
    ask = hdlc.encode(
        Frame(
            Address(1),
            Address(16),
            Control(Kind.I, final=True),
            hdlc.LLC_COMMAND + apdu.encode(GetRequestNormal(0xC1, ENERGY)),
        )
    )
    found = decode_json((connect + ask).hex())
    assert found[0]["link"]["frame"] == "SNRM"
    assert found[0]["apdu"] is None
    assert found[1]["apdu"]["attribute"]["name"]
    assert "HDLC SNRM" in decode((connect + ask).hex())[1]


# --- how hex is written

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


def test_a_service_that_we_do_not_read_yet_is_shown_as_the_worker_reads_it(decode):
    code, out, _ = decode("05" + "01" + "02" + "fa00")  # short name referencing
    assert code == 0
    assert "unchecked" in out
    assert "<ReadRequest" in out


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
