"""Ciphering: byte-exact against published vectors and a real meter, then what an attacker can do to a frame."""

import random
import traceback

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcu.cosem import apdu, axdr
from dcu.cosem.hls import hls_answer, hls_verify
from dcu.cosem.security import (
    KEYED,
    Cipher,
    Framing,
    Protection,
    SecurityControl,
    parse,
    protect,
    unprotect,
)
from dcu.credentials import Secret
from dcu.errors import AuthenticationFailed, DecodeError, PolicyViolated, SecurityError, TagMismatch
from dcu.model import AttributeRef, Obis

from .strategies_apdu import mutated

# Green Book, security suite 0: the keys of its examples
TITLE = bytes.fromhex("4D4D4D0000BC614E")
CLIENT = bytes.fromhex("4D4D4D0000000001")
EK = Secret(bytes.fromhex("000102030405060708090A0B0C0D0E0F"))
AK = Secret(bytes.fromhex("D0D1D2D3D4D5D6D7D8D9DADBDCDDDEDF"))
COUNTER = 0x01234567
GET = bytes.fromhex("C0010000080000010000FF0200")
CIPHER = Cipher(EK, AK)

protections = st.sampled_from([Protection.AUTHENTICATED, Protection.ENCRYPTED, Protection.BOTH])
framings = st.sampled_from([each for each in Framing if each not in KEYED])  # the others are general-ciphering
plain = st.binary(max_size=300).map(lambda rest: b"\xc4" + rest)
counters = st.integers(0, 0xFFFFFFFF)
titles = st.binary(min_size=8, max_size=8)


# --- published vectors


@pytest.mark.parametrize(
    ("protection", "wire"),
    [
        (Protection.AUTHENTICATED, "C81E1001234567C0010000080000010000FF020006725D910F9221D263877516"),
        (Protection.ENCRYPTED, "C8122001234567411312FF935A47566827C467BC"),
        (Protection.BOTH, "C81E3001234567411312FF935A47566827C467BC7D825C3BE4A77C3FCC056B6B"),
    ],
)
def test_get_request_of_the_green_book_is_byte_exact_both_ways(protection, wire):
    assert protect(CIPHER, GET, protection=protection, title=TITLE, counter=COUNTER) == bytes.fromhex(wire)
    opened = unprotect(CIPHER, bytes.fromhex(wire), title=TITLE, required=protection)
    assert (opened.apdu, opened.protection, opened.counter) == (GET, protection, COUNTER)
    assert (opened.title, opened.framing) == (TITLE, Framing.GLOBAL)


@pytest.mark.parametrize(
    ("wire", "content"),
    [
        pytest.param(
            "21303001234567801302FF8A7874133D414CED25B42534D28DB0047720606B175BD52211BE6841DB204D39EE6FDB8E356855",
            "01011000112233445566778899AABBCCDDEEFF0000065F1F0400007E1F04B0",
            id="glo-initiate-request",
        ),
        pytest.param(
            "281F3001234567891214A0845E475714383F65BC19745CA235906525E4F3E1C893",
            "0800065F1F0400007C1F04000007",
            id="glo-initiate-response",
        ),
    ],
)
def test_initiate_of_the_green_book_is_byte_exact_both_ways(wire, content):
    opened = unprotect(CIPHER, bytes.fromhex(wire), title=TITLE)
    assert opened.apdu == bytes.fromhex(content)
    assert protect(CIPHER, opened.apdu, protection=Protection.BOTH, title=TITLE, counter=COUNTER) == bytes.fromhex(wire)


@pytest.mark.conforms("Association", "HLS 5 GMAC", peer="published vector")
def test_hls_5_of_the_green_book_is_byte_exact_both_ways():
    for title, counter, challenge, answer in (
        (CLIENT, 1, b"P6wRJ21F", "10000000011A52FE7DD3E72748973C1E28"),
        (TITLE, COUNTER, b"K56iVagY", "1001234567FE1466AFB3DBCD4F9389E2B7"),
    ):
        assert hls_answer(CIPHER, title=title, counter=counter, challenge=challenge) == bytes.fromhex(answer)
        assert hls_verify(CIPHER, bytes.fromhex(answer), title=title, challenge=challenge) == counter


class _Vector(Cipher):
    """A cipher whose additional data is a vector's, not DLMS's."""

    def _additional(self, control: SecurityControl) -> bytes:
        return bytes.fromhex("feedfacedeadbeeffeedfacedeadbeefabaddad2")


def test_gcm_is_byte_exact_with_test_case_4_of_the_gcm_specification():
    """McGrew and Viega, test case 4 (also in NIST's validation set), its tag cut to 12 bytes."""
    cipher = _Vector(Secret(bytes.fromhex("feffe9928665731c6d6a8f9467308308")), AK)
    nonce = bytes.fromhex("cafebabefacedbaddecaf888")
    text = bytes.fromhex(
        "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
        "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39"
    )
    sealed = bytes.fromhex(
        "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e"
        "21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091"
        "5bc94fbc3221a5db94fae95a"
    )
    both = SecurityControl(Protection.BOTH)
    assert cipher.seal(both, nonce, text) == sealed
    assert cipher.open(both, nonce, sealed) == text
    assert cipher.seal(SecurityControl(Protection.ENCRYPTED), nonce, text) == sealed[:-12]


def test_gcm_of_suite_2_is_byte_exact_with_test_case_16_of_the_gcm_specification():
    """McGrew and Viega, test case 16: AES-256, its tag cut to 12 bytes."""
    key = Secret(bytes.fromhex("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308"))
    cipher = _Vector(key, Secret(bytes(32)), suite=2)
    nonce = bytes.fromhex("cafebabefacedbaddecaf888")
    text = bytes.fromhex(
        "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
        "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39"
    )
    sealed = bytes.fromhex(
        "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
        "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662"
        "76fc6ece0f4e1768cddf8853"
    )
    both = SecurityControl(Protection.BOTH, suite=2)
    assert cipher.seal(both, nonce, text) == sealed
    assert cipher.open(both, nonce, sealed) == text


# A Kamstrup Omnipower's push (without its HDLC frame), published with its keys by esphome-libs/dlms_parser (Apache-2.0)
KAMSTRUP = bytes.fromhex(
    "DB084B414D45013490838201D030010F60A4AC4B6048A68093068D24FBC9225EA9AA8FE3441E02F54DBDA3D9ED58425A2FA099985243FDEF"
    "3390AFC26C90A9B81E774774C90CE2A381D6A64F3E148F1FCFE282C2A793F9FDC273CF3CDFF63C279F43635AB2F7FB31BD6DB83EDE632B9B"
    "5E1BC7C276A86A62F7C68D2B3E065E7DCEB00CE7655E0577A7A3E5E8F3E656E3A7E827E9B327970A61D17E27C0DB0987BFCF902C7BBAF5D9"
    "68C38EDF29BA2F1D9AEE13A6899C6C0325A2A00CAB915F519B55329270380EFFAE9F5E2A47CFDB9C84CDF5D2D3348AFB9D00DA1DEE1B9C33"
    "AF56784D9988CACA556F18D62F2E70D3F10744A86774CB78F5B3CA336F23D833937D8F5CF3F7A35DB8B37132488FE0C66703B845014EB6DF"
    "8455FE90383028342AD39B126AD26F969EA47E1AB090CFBECD10DC3E5DA3104BBA96184B14AFE9E960D51B4C62D5F01E82D467CA57198167"
    "1AB783C972349BCB98C89A19B1C98DB0EBA2670A9BCA21F8419B04C94DB510E75E3E426D75B2CFA91F8F4CAAF8758B33768DF7FE55FD8B49"
    "83B19A19DDE7A5891BC0F266A8029D2089B6EA0C2D11C2EF96A6E40365BC85D259DC169DD43E16499EBC6F080E4CCD8657DACE68939CE40E"
    "4F55A6B0CC40DFFC9DC1B4149DD09D72C7DDB5E0F10E31948B665168C6"
)
KAMSTRUP_CIPHER = Cipher(
    Secret(bytes.fromhex("00112233445566778899AABBCCDDEEFF")), Secret(bytes.fromhex("FFEEDDCCBBAA99887766554433221100"))
)


def test_a_push_of_a_kamstrup_meter_is_opened():
    frame = parse(KAMSTRUP)
    assert frame.title == b"KAME\x01\x34\x90\x83"
    opened = unprotect(KAMSTRUP_CIPHER, frame, title=frame.title, required=Protection.BOTH)
    assert (opened.counter, opened.framing) == (17784996, Framing.GENERAL_GLOBAL)
    push = apdu.decode(opened.apdu)
    assert isinstance(push, apdu.DataNotification)
    assert push.date_time[:8] == bytes.fromhex("07EA030C040F181E")  # 2026-03-12, a Thursday, 15:24:30
    values = axdr.decode(push.body).value
    assert isinstance(values, tuple)
    assert [value.value for value in values[:3]] == ["Kamstrup_V0001", bytes((1, 1, 1, 8, 0, 255)), 6307498]
    assert len(values) == 65


def test_a_push_of_a_kamstrup_meter_is_byte_exact_when_sealed_again():
    frame = parse(KAMSTRUP)
    opened = unprotect(KAMSTRUP_CIPHER, frame, title=frame.title)
    again = protect(
        KAMSTRUP_CIPHER,
        opened.apdu,
        protection=opened.protection,
        title=opened.title,
        counter=opened.counter,
        framing=opened.framing,
    )
    assert again == KAMSTRUP


def test_the_wrong_keys_are_named_in_the_refusal_and_not_shown():
    with pytest.raises(TagMismatch, match="4B414D4501349083, invocation counter 17784996, does not fit: check the GAK"):
        unprotect(CIPHER, KAMSTRUP, title=bytes.fromhex("4B414D4501349083"))


# --- refusals


def sealed(protection=Protection.BOTH, framing=Framing.GLOBAL, cipher=CIPHER, content=GET):
    return protect(cipher, content, protection=protection, title=TITLE, counter=COUNTER, framing=framing)


@pytest.mark.parametrize("framing", Framing)
@pytest.mark.parametrize("protection", [Protection.AUTHENTICATED, Protection.BOTH])
def test_every_flipped_bit_is_refused(framing, protection):
    """Nothing is tolerated, not even in the header, which the tag does not cover."""
    wire = sealed(protection, framing)
    for bit in range(8 * len(wire)):
        flipped = bytearray(wire)
        flipped[bit // 8] ^= 0x80 >> bit % 8
        with pytest.raises((DecodeError, SecurityError)):
            unprotect(CIPHER, bytes(flipped), title=TITLE, required=protection)


def test_encryption_alone_proves_nothing_and_only_a_lax_policy_lets_it_pass():
    wire = bytearray(sealed(Protection.ENCRYPTED))
    wire[-1] ^= 1
    assert unprotect(CIPHER, bytes(wire), title=TITLE, required=Protection.ENCRYPTED).apdu != GET
    for required in (Protection.AUTHENTICATED, Protection.BOTH):
        with pytest.raises(PolicyViolated):
            unprotect(CIPHER, bytes(wire), title=TITLE, required=required)


@pytest.mark.parametrize("made", [Protection.AUTHENTICATED, Protection.ENCRYPTED])
def test_less_protection_than_required_is_refused(made):
    with pytest.raises(PolicyViolated, match=f"the frame is {made}, required is: authenticated and encrypted"):
        unprotect(CIPHER, sealed(made), title=TITLE, required=Protection.BOTH)


def test_a_ciphered_frame_without_protection_is_refused_though_nothing_is_required():
    wire = bytes.fromhex("C8120001234567") + GET
    with pytest.raises(PolicyViolated, match="the frame is unprotected"):
        unprotect(CIPHER, wire, title=TITLE)


def test_a_reflected_frame_is_refused():
    """What we sent ourselves does not come back as the peer's, whatever title it names."""
    ours = protect(CIPHER, GET, protection=Protection.BOTH, title=CLIENT, counter=COUNTER)
    with pytest.raises(TagMismatch):
        unprotect(CIPHER, ours, title=TITLE)
    ours = protect(
        CIPHER, GET, protection=Protection.BOTH, title=CLIENT, counter=COUNTER, framing=Framing.GENERAL_GLOBAL
    )
    with pytest.raises(AuthenticationFailed, match="names system title 4D4D4D0000000001, expected is 4D4D4D0000BC614E"):
        unprotect(CIPHER, ours, title=TITLE)


def test_a_general_frame_without_a_title_is_held_against_the_expected_one():
    wire = sealed(framing=Framing.GENERAL_GLOBAL)
    untitled = wire[:1] + b"\x00" + wire[10:]
    assert unprotect(CIPHER, untitled, title=TITLE).apdu == GET
    with pytest.raises(TagMismatch):
        unprotect(CIPHER, untitled, title=CLIENT)


def test_broadcast_and_unicast_keys_are_not_taken_for_each_other():
    broadcast = Cipher(EK, AK, broadcast=True)
    wire = sealed(cipher=broadcast)
    assert wire[2] == 0x70
    assert unprotect(broadcast, wire, title=TITLE).apdu == GET
    with pytest.raises(PolicyViolated, match="uses the broadcast key where the unicast key is required"):
        unprotect(CIPHER, wire, title=TITLE)
    with pytest.raises(PolicyViolated, match="uses the unicast key"):
        unprotect(broadcast, sealed(), title=TITLE)


@pytest.mark.parametrize("framing", [Framing.GLOBAL, Framing.DEDICATED])
def test_a_frame_that_holds_another_service_than_its_tag_promises_is_refused(framing):
    wire = sealed(framing=framing)
    response = sealed(framing=framing, content=b"\xc4" + GET[1:])
    with pytest.raises(DecodeError, match="does not hold get-response, as its tag says"):
        unprotect(CIPHER, response[:1] + wire[1:], title=TITLE)


def test_a_ciphered_frame_inside_a_ciphered_frame_is_refused():
    control = SecurityControl(Protection.BOTH)
    nonce = TITLE + COUNTER.to_bytes(4, "big")
    body = bytes((control.byte,)) + nonce[8:] + CIPHER.seal(control, nonce, sealed())
    wire = b"\xdb\x08" + TITLE + bytes((len(body),)) + body
    with pytest.raises(DecodeError, match="does not hold a plain APDU"):
        unprotect(CIPHER, wire, title=TITLE)


@pytest.mark.parametrize(
    ("wire", "says"),
    [
        ("", "nothing where a ciphered APDU is expected"),
        ("C0010000080000010000FF0200", "get-request where a ciphered APDU is expected"),
        ("C81E33" + "00" * 29, "there is no security suite 3"),
        ("C81E3F" + "00" * 29, "there is no security suite 15"),
        ("C81EB0" + "00" * 29, "compression .V.44. is not supported"),
        ("C81F30" + "00" * 29, "announces 31 bytes, 30 follow"),
        ("C81E30" + "00" * 30, "announces 30 bytes, 31 follow"),
        ("C80430000000", "do not hold SC and invocation counter"),
        ("C81130" + "00" * 16, "glo-get-request holds nothing"),
        ("C80520" + "00" * 4, "glo-get-request holds nothing"),
        ("DB074D4D4D0000BC61", "a system title has 8 bytes, not 7"),
        ("DB084D4D", "a system title has 8 bytes"),
        ("DB", "length is missing"),
    ],
)
def test_a_refusal_says_what_it_found(wire, says):
    with pytest.raises(DecodeError, match=says):
        unprotect(CIPHER, bytes.fromhex(wire), title=TITLE)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"protection": Protection.NONE}, "send it plain"),
        ({"title": b"short"}, "a system title has 8 bytes, not 5"),
        ({"counter": 1 << 32}, "an invocation counter is 0"),
        ({"counter": -1}, "an invocation counter is 0"),
        ({"apdu": b""}, "nothing cannot be ciphered"),
        ({"apdu": b"\xc8\x00"}, "glo-get-request cannot be ciphered"),
        ({"apdu": b"\x0f\x00"}, "data-notification has no global tag: use general ciphering"),
        ({"apdu": b"\x01\x00", "framing": Framing.DEDICATED}, "initiate-request has no dedicated tag"),
    ],
)
def test_what_must_not_be_sent_is_refused(changes, says):
    arguments = {"apdu": GET, "protection": Protection.BOTH, "title": TITLE, "counter": 1} | changes
    with pytest.raises(ValueError, match=says):
        protect(CIPHER, **arguments)


def test_a_key_of_another_suite_is_refused_by_its_length():
    with pytest.raises(ValueError, match="the authentication key has 32 bytes, security suite 0 takes 16"):
        Cipher(EK, Secret(bytes(32)))


def test_hls_5_is_refused_when_any_bit_is_flipped_or_the_answer_is_ours():
    answer = hls_answer(CIPHER, title=TITLE, counter=7, challenge=b"K56iVagY")
    for bit in range(8 * len(answer)):
        flipped = bytearray(answer)
        flipped[bit // 8] ^= 0x80 >> bit % 8
        with pytest.raises(AuthenticationFailed):
            hls_verify(CIPHER, bytes(flipped), title=TITLE, challenge=b"K56iVagY")
    for title, challenge in ((CLIENT, b"K56iVagY"), (TITLE, b"P6wRJ21F")):
        with pytest.raises(AuthenticationFailed, match="check the GAK"):
            hls_verify(CIPHER, answer, title=title, challenge=challenge)
    for cut in range(len(answer)):
        with pytest.raises(AuthenticationFailed):
            hls_verify(CIPHER, answer[:cut], title=TITLE, challenge=b"K56iVagY")


def test_keys_do_not_show_in_a_repr_nor_in_a_traceback_with_its_local_names():
    wire = bytearray(sealed())
    wire[-1] ^= 1
    shown = repr(CIPHER)
    for call in (
        lambda: unprotect(CIPHER, bytes(wire), title=TITLE),
        lambda: protect(CIPHER, GET, protection=Protection.BOTH, title=b"", counter=0),
        lambda: Cipher(EK, Secret(AK.reveal()[1:])),
        lambda: hls_verify(CIPHER, bytes(17), title=TITLE, challenge=b"12345678"),
    ):
        with pytest.raises((SecurityError, ValueError)) as caught:
            call()
        shown += "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
    for key in (EK, AK):
        for part in (key.reveal()[1:9], key.reveal()[8:]):
            assert repr(part)[2:-1] not in shown
            assert part.hex() not in shown.lower()


# --- properties


@given(plain, protections, titles, counters, framings)
def test_what_is_sealed_is_opened(content, protection, title, counter, framing):
    wire = protect(CIPHER, content, protection=protection, title=title, counter=counter, framing=framing)
    opened = unprotect(CIPHER, wire, title=title, required=protection)
    assert (opened.apdu, opened.protection, opened.counter) == (content, protection, counter)
    assert (opened.title, opened.framing) == (title, framing)


@given(st.binary(max_size=200) | mutated(st.sampled_from([sealed(framing=framing) for framing in Framing])))
def test_noise_is_refused_and_nothing_else_is_raised(noise):
    try:
        opened = unprotect(CIPHER, noise, title=TITLE, required=Protection.AUTHENTICATED)
    except (DecodeError, SecurityError):
        return
    assert opened.apdu == GET  # the mutation undid itself, or left out the title that we know


def test_flips_in_a_long_frame_are_refused():
    draw = random.Random(20)
    content = apdu.encode(apdu.GetResponseNormal(0xC1, b"\x09\x82\x10\x00" + bytes(4096)))
    wire = sealed(content=content)
    for _ in range(300):
        flipped = bytearray(wire)
        flipped[draw.randrange(len(wire))] ^= 1 << draw.randrange(8)
        with pytest.raises((DecodeError, SecurityError)):
            unprotect(CIPHER, bytes(flipped), title=TITLE, required=Protection.BOTH)


def test_an_attribute_survives_the_whole_way():
    request = apdu.GetRequestNormal(0xC1, AttributeRef(3, Obis.parse("1-0:1.8.0*255"), 2))
    wire = sealed(content=apdu.encode(request))
    assert apdu.decode(unprotect(CIPHER, wire, title=TITLE).apdu) == request
