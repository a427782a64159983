"""ACSE: byte-exact against the Green Book, what real meters make of it, then the properties of the codec."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcu.cosem.acse import (
    Aare,
    Aarq,
    ApplicationContext,
    AssociationResult,
    Mechanism,
    ProviderDiagnostic,
    Rlre,
    Rlrq,
    UserDiagnostic,
    decode,
    encode,
)
from dcu.errors import DecodeError

from .strategies_apdu import acses, mutated

INITIATE = bytes.fromhex("01000000065F1F0400007E1F04B0")
ANSWER = bytes.fromhex("0800065F1F040000501F01F40007")
CIPHERED = bytes.fromhex(
    "21303001234567801302FF8A7874133D414CED25B42534D28DB0047720606B175BD52211BE6841DB204D39EE6FDB8E356855"
)
CIPHERED_ANSWER = bytes.fromhex("281F3001234567891214A0845E475714383F65BC19745CA235906525E4F3E1C893")


@pytest.mark.parametrize(
    ("apdu", "wire"),
    [  # AARQ and AARE: the Green Book's examples (11); RLRQ and RLRE: written by hand from 9.4.2
        pytest.param(
            Aarq(ApplicationContext.LN, user_information=INITIATE),
            "601DA109060760857405080101BE10040E01000000065F1F0400007E1F04B0",
            id="AARQ, no security",
        ),
        pytest.param(
            Aarq(ApplicationContext.LN, None, Mechanism.LOW, b"12345678", INITIATE),
            "6036A1090607608574050801018A0207808B0760857405080201AC0A80083132333435363738"
            "BE10040E01000000065F1F0400007E1F04B0",
            id="AARQ, LLS",
        ),
        pytest.param(
            Aarq(ApplicationContext.LN, None, Mechanism.HIGH, b"K56iVagY", INITIATE),
            "6036A1090607608574050801018A0207808B0760857405080202AC0A80084B35366956616759"
            "BE10040E01000000065F1F0400007E1F04B0",
            id="AARQ, HLS",
        ),
        pytest.param(
            Aarq(
                ApplicationContext.LN_CIPHERED, bytes.fromhex("4D4D4D0000BC614E"), Mechanism.LOW, b"12345678", CIPHERED
            ),
            "6066A109060760857405080103A60A04084D4D4D0000BC614E8A0207808B0760857405080201AC0A80083132333435363738"
            "BE34043221303001234567801302FF8A7874133D414CED25B42534D28DB0047720606B175BD52211BE6841DB204D39EE6FDB8E356855",
            id="AARQ, ciphered",
        ),
        pytest.param(
            Aarq(ApplicationContext.LN, user_information=INITIATE, user=7),
            "6022A109060760857405080101A903020107BE10040E01000000065F1F0400007E1F04B0",
            id="AARQ, a user",
        ),
        pytest.param(
            Aare(ApplicationContext.LN, AssociationResult.ACCEPTED, UserDiagnostic.NULL, user_information=ANSWER),
            "6129A109060760857405080101A203020100A305A103020100BE10040E0800065F1F040000501F01F40007",
            id="AARE, accepted",
        ),
        pytest.param(
            Aare(
                ApplicationContext.LN,
                AssociationResult.ACCEPTED,
                UserDiagnostic.AUTHENTICATION_REQUIRED,
                None,
                Mechanism.HIGH,
                b"P6wRJ21F",
                ANSWER,
            ),
            "6142A109060760857405080101A203020100A305A10302010E88020780890760857405080202AA0A8008503677524A323146"
            "BE10040E0800065F1F040000501F01F40007",
            id="AARE, HLS goes on",
        ),
        pytest.param(
            Aare(
                ApplicationContext.LN_CIPHERED,
                AssociationResult.ACCEPTED,
                UserDiagnostic.NULL,
                bytes.fromhex("4D4D4D0000BC614F"),
                user_information=CIPHERED_ANSWER,
            ),
            "6148A109060760857405080103A203020100A305A103020100A40A04084D4D4D0000BC614F"
            "BE230421281F3001234567891214A0845E475714383F65BC19745CA235906525E4F3E1C893",
            id="AARE, ciphered",
        ),
        pytest.param(Rlrq(0), "6203800100", id="RLRQ"),
        pytest.param(Rlre(0), "6303800100", id="RLRE"),
        pytest.param(Rlrq(), "6200", id="RLRQ of EPRI's stack"),
    ],
)
def test_apdu_is_byte_exact_both_ways(apdu, wire):
    assert encode(apdu) == bytes.fromhex(wire)
    assert decode(bytes.fromhex(wire)) == apdu


def test_an_aare_with_protocol_version_is_read():
    plain = bytes.fromhex("6129A109060760857405080101A203020100A305A103020100BE10040E0800065F1F040000501F01F40007")
    wire = b"\x61\x2d\x80\x02\x02\x84" + plain[2:]
    assert decode(wire) == decode(plain)


def test_an_aare_of_the_provider_is_read():
    wire = bytes.fromhex("6117A109060760857405080101A203020101A305A203020102")
    answer = decode(wire)
    assert isinstance(answer, Aare)
    assert f"{answer.result}, {answer.diagnostic}" == "rejected-permanent (1), no-common-acse-version (2)"
    assert answer.diagnostic is ProviderDiagnostic.NO_COMMON_ACSE_VERSION


def test_an_rlre_whose_lengths_are_counted_short_is_read():
    sealed = CIPHERED_ANSWER  # Gurux's Java server counts the user information, but not the headers around it
    wire = bytes((0x63, len(sealed) + 3, 0x80, 1, 0, 0xBE, len(sealed) + 1, 4, len(sealed))) + sealed
    assert decode(wire) == Rlre(0, sealed)


@pytest.mark.parametrize(
    ("wire", "says"),
    [
        ("", "not with nothing"),
        ("C0", "not with C0"),
        ("601EA109060760857405080101BE10040E01000000065F1F0400007E1F04B0", "aarq announces 30 bytes, 29 follow"),
        ("6003800100", "aarq without application context"),
        ("600BA109060760857405080109", "application context 9 is unknown"),
        ("600BA109060760857405090101", "not the object identifier of a DLMS application context"),
        ("6016A109060760857405080101A109060760857405080103", "field A1 comes twice"),
        ("6014A1090607608574050801018B0760857405080209", "authentication mechanism 9 is unknown"),
        ("610BA109060760857405080101", "aare without result"),
        ("60021F00", "goes on in further bytes"),
        ("6002A109", "announces 9 bytes, 0 are left"),
        ("6304800200", "cut short"),
        ("630580020100", "no number of one byte"),
    ],
)
def test_a_refusal_says_what_it_found(wire, says):
    with pytest.raises(DecodeError, match=says):
        decode(bytes.fromhex(wire))


def test_a_release_reason_of_two_bytes_cannot_be_sent():
    with pytest.raises(ValueError, match="a release reason is"):
        encode(Rlrq(256))


def test_passwords_and_challenges_do_not_show():
    assert "12345678" not in repr(Aarq(ApplicationContext.LN, None, Mechanism.LOW, b"12345678", b"12345678"))


@pytest.mark.parametrize("field", ["A90402020107", "A903040107", "A900", "A9020200"])
def test_an_invocation_identifier_that_is_no_user_is_left_alone(field):
    wire = bytes.fromhex("60" + f"{11 + len(field) // 2:02X}" + "A109060760857405080101" + field)
    assert decode(wire) == Aarq(ApplicationContext.LN)


@given(acses)
def test_what_is_encoded_is_decoded(apdu):
    assert decode(encode(apdu)) == apdu


@given(acses.filter(lambda apdu: isinstance(apdu, Aarq | Aare)), st.data())
def test_a_truncated_association_is_refused(apdu, data):
    wire = encode(apdu)
    with pytest.raises(DecodeError):
        decode(wire[: data.draw(st.integers(0, len(wire) - 1))])


@given(st.binary(max_size=200) | mutated(acses.map(encode)))
def test_decode_is_total(noise):
    try:
        apdu = decode(noise)
    except DecodeError:
        return
    assert decode(encode(apdu)) == apdu
