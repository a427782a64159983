"""`dcu decode` of sessions that are put together here: keys that change, blocks, segments, general blocks."""

import json
from xml.etree import ElementTree

import pytest

from dcu.cosem import acse, apdu, axdr, gbt, general, security
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
from dcu.link import hdlc, wrapper
from dcu.link.hdlc import Address, Control, Frame, Kind
from dcu.model import AttributeRef, Obis
from tests.attack.pushed import LISTENED, sender, way
from tests.cli.captured import keys_file
from tests.cosem.small_meter import protection_row
from tests.cosem.suite_keys import CLIENT_TITLE, METER_TITLE, keys

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


# --- general protection

HEADER = general.Header(bytes(8), METER_TITLE, CLIENT_TITLE)


@pytest.fixture
def suite_keys(tmp_path):
    """The keys file of a client in a suite; more: what else is to stand in it."""

    def make(suite, **more):
        held = keys(suite)[0]
        known = {
            "system_title": held.system_title,
            "client_title": CLIENT_TITLE,
            "guek": held.guek.reveal(),
            "gak": held.gak.reveal(),
            "master_key": held.master.reveal(),
        }
        if suite:
            known |= {"signing_key": held.signing.private.reveal(), "meter_signing": held.signing.peer}
            known |= {"agreement_key": held.agreement.private.reveal(), "meter_agreement": held.agreement.peer}
        path = keys_file(tmp_path / "suite.toml", **{name: value.hex() for name, value in (known | more).items()})
        path.write_text(path.read_text() + f"suite = {suite}\n")
        return path

    return make


@pytest.mark.parametrize("mode", LISTENED)
def test_what_is_protected_in_general_is_opened_both_ways_and_who_signed_it_is_told(decode_json, suite_keys, mode):
    suite, _, signed = way(mode)
    notification = apdu.encode(DataNotification(1, b"", axdr.encode(axdr.u32(5))))
    request = apdu.encode(GetRequestNormal(0xC1, ENERGY))
    theirs = sender(mode).seal(notification, 7)
    ours = sender(mode, keys(suite)[0], title=CLIENT_TITLE, peer=METER_TITLE).seal(request, 8)
    more = {"meter_agreement_key": keys(suite)[1].agreement.private.reveal()} if suite else {}
    for frame, title, counter, service in (
        (theirs, METER_TITLE, 7, "data-notification"),
        (ours, CLIENT_TITLE, 8, "get-request-normal"),
    ):
        (item,) = decode_json(frame.hex(), "--keys", suite_keys(suite, **more))
        assert item["apdu"]["service"] == service
        told = item["security"]
        assert (told["system_title"], told["invocation_counter"]) == (title.hex().upper(), counter)
        assert told["framing"] == protection_row(mode).partition(", general-signing")[0].partition(", suite")[0]
        assert item.get("notes", []) == [f"signed by system title {title.hex().upper()}"] * signed


def test_a_changed_signature_is_told_and_without_keys_whose_it_says_that_it_is(decode, decode_json, suite_keys):
    frame = sender("suite 1, general_global, signed").seal(apdu.encode(GetRequestNormal(0xC1, ENERGY)), 7)
    code, _, err = decode((frame[:-1] + bytes((frame[-1] ^ 1,))).hex(), "--keys", suite_keys(1))
    assert code == 7
    assert "signature" in err
    plain = general.sign(keys(1)[1], apdu.encode(GetRequestNormal(0xC1, ENERGY)), HEADER)
    (item,) = decode_json(plain.hex())
    assert item["apdu"]["service"] == "get-request-normal"
    assert "which was not verified" in item["notes"][0]


def test_general_ciphering_says_which_keys_it_needs(decode, suite_keys, session_keys):
    request = apdu.encode(GetRequestNormal(0xC1, ENERGY))
    theirs = sender("suite 1, one_pass").seal(request, 7)
    ours = sender("suite 1, one_pass", keys(1)[0], title=CLIENT_TITLE, peer=METER_TITLE).seal(request, 8)
    for frame, options, says in (
        (theirs, (), "authenticated and encrypted, from system title 4D4D4D0000BC614E, invocation counter 7: give the"),
        (theirs, ("--keys", session_keys), "agreement keys"),
        (ours, ("--keys", suite_keys(1)), "meter_agreement_key"),
    ):
        code, _, err = decode(frame.hex(), *options)
        assert code == 4
        assert says in err


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
