"""Security suites and certificates: published vectors first, then what must hold for every input.

Vectors: the Green Book's examples (Ed. 8, tables C.1 and C.2) as public sources give them; RFC 5903 (ECDH on P-256 and
P-384), RFC 6979 A.2 (ECDSA: its signatures verify), RFC 3394 (AES key wrap).
"""

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.kdf.concatkdf import ConcatKDFHash
from cryptography.hazmat.primitives.keywrap import aes_key_wrap
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from dcu import certificates
from dcu.certificates import Purpose
from dcu.credentials import Secret
from dcu.errors import AuthenticationFailed, DecodeError
from dcu.suites import SUITES, Use
from tests.cosem.certificates import authority, issued
from tests.cosem.suite_keys import CLIENT_TITLE, METER_TITLE, PRIVATE

h = bytes.fromhex
CURVED = pytest.mark.parametrize("suite", SUITES[1:], ids=str)


@pytest.mark.parametrize(
    ("number", "private", "public", "shared"),
    [
        pytest.param(
            1,
            "47DAB03842E5B6E74828EF4F449B378D7DD1A5DAE1FFCA5AE0B0BE0AD18EC57E",
            "A653565B0E06070BAE9FBE140A5D2156812AEE2DD525053E3EFC850BF13BFDFF"
            "CB240BC7B77BFF5883344E7275908D2287BEFA3725017295A096989D2338290B",
            "0D4385BA0DD756CBCAB9887EB538396EE8F090A14C1079B4359F115B977F4615",
            id="Green Book, C(1e,1s), client to server",
        ),
        pytest.param(
            1,
            "A51C16FF5C498FCC89323D4A9267CD71BF81FD6F6A891CD240DA7F3D6F283E65",
            "6439724714B47CD9CB988897D8424AB946DCD083D37A954637616011B9C23787"
            "73295F0F850D8DAFD1BBE9FE666E53E4F097CD10B38B69622152724A90987444",
            "2B4302DC49790E2E78D990CFB52ED6E2F273DECE441A2D95E4301B93812A9FAC",
            id="Green Book, C(1e,1s), server to client",
        ),
        pytest.param(
            1,
            "34A8C23A34DBB519D09B245754C85A6CFE05D14A063EFA5AA41545AA8241EFAE",
            "2914D60E10AB705F62ED6CC349D7CB99B9AB3F3978E59278C7AF595B3AF98794"
            "1372DAB6D5AF1FA867E134167E6F23DE664A6693E05F43414611058D1B48F894",
            "C1CF8FE7891AEF3617D7190795E61FE6C24EFC3CCA2E08469BAD1A225CE6EA08",
            id="Green Book, C(2e,0s)",
        ),
        pytest.param(
            1,
            "C88F01F510D9AC3F70A292DAA2316DE544E9AAB8AFE84049C62A9C57862D1433",
            "D12DFB5289C8D4F81208B70270398C342296970A0BCCB74C736FC7554494BF63"
            "56FBF3CA366CC23E8157854C13C58D6AAC23F046ADA30F8353E74F33039872AB",
            "D6840F6B42F6EDAFD13116E0E12565202FEF8E9ECE7DCE03812464D04B9442DE",
            id="RFC 5903 8.1, P-256",
        ),
        pytest.param(
            2,
            "099F3C7034D4A2C699884D73A375A67F7624EF7C6B3C0F160647B67414DCE655E35B538041E649EE3FAEF896783AB194",
            "E558DBEF53EECDE3D3FCCFC1AEA08A89A987475D12FD950D83CFA41732BC509D0D1AC43A0336DEF96FDA41D0774A3571"
            "DCFBEC7AACF3196472169E838430367F66EEBE3C6E70C416DD5F0C68759DD1FFF83FA40142209DFF5EAAD96DB9E6386C",
            "11187331C279962D93D604243FD592CB9D0A926F422E47187521287E7156C5C4D603135569B9E9D09CF5D4A270F59746",
            id="RFC 5903 8.2, P-384",
        ),
    ],
)
def test_a_shared_secret_is_as_published(number, private, public, shared):
    assert SUITES[number].agree(Secret(h(private)), h(public)) == Secret(h(shared))


@pytest.mark.parametrize(
    ("shared", "u", "v", "key"),
    [
        pytest.param(
            "0D4385BA0DD756CBCAB9887EB538396EE8F090A14C1079B4359F115B977F4615",
            METER_TITLE,
            CLIENT_TITLE,
            "59A71FD81C929A86A99438DA17A66C05",
            id="client to server",
        ),
        pytest.param(
            "2B4302DC49790E2E78D990CFB52ED6E2F273DECE441A2D95E4301B93812A9FAC",
            CLIENT_TITLE,
            METER_TITLE,
            "F0184BDA9466BFA4601A64A7EF46504A",
            id="server to client",
        ),
    ],
)
def test_a_derived_key_is_the_green_books(shared, u, v, key):
    """Its client has the title that our tests give the meter, and the other way round."""
    assert SUITES[1].derive(Secret(h(shared)), Use.CIPHERING, u, v) == Secret(h(key))


@pytest.mark.parametrize(
    ("number", "public", "message", "signature"),
    [
        pytest.param(
            1,
            "BAAFFDE06A8CB1C9DAE8D94023C601DBBB249254BA22EDD827E820BCA2BCC643"
            "62FBB83D86A82B87BB8B7161D2AAB5521911A946B97A284A90F7785CD9047D25",
            h(
                "002914D60E10AB705F62ED6CC349D7CB99B9AB3F3978E59278C7AF595B3AF98794"
                "1372DAB6D5AF1FA867E134167E6F23DE664A6693E05F43414611058D1B48F894"
            ),
            "06F0607702AA0E2435A183E2F6B1ECD19629712E389A213610C03F77B2590860"
            "EA840AF5C3FA1F2BCDF055D4744E9A01CE9A0E55026BCAA4EEBEB764CED64BB3",
            id="Green Book C.1, key_agreement",
        ),
        pytest.param(
            1,
            "60FED4BA255A9D31C961EB74C6356D68C049B8923B61FA6CE669622E60F29FB6"
            "7903FE1008B8BC99A41AE9E95628BC64F2F1B20C2D7E9F5177A3C294D4462299",
            b"sample",
            "EFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716"
            "F7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8",
            id="RFC 6979 A.2.5, P-256, SHA-256",
        ),
        pytest.param(
            2,
            "EC3A4E415B4E19A4568618029F427FA5DA9A8BC4AE92E02E06AAE5286B300C64DEF8F0EA9055866064A254515480BC13"
            "8015D9B72D7D57244EA8EF9AC0C621896708A59367F9DFB9F54CA84B3F1C9DB1288B231C3AE0D4FE7344FD2533264720",
            b"sample",
            "94EDBB92A5ECB8AAD4736E56C691916B3F88140666CE9FA73D64C4EA95AD133C81A648152E44ACF96E36DD1E80FABE46"
            "99EF4AEB15F178CEA1FE40DB2603138F130E740A19624526203B6351D0A3A94FA329C145786E679E7B82C71A38628AC8",
            id="RFC 6979 A.2.6, P-384, SHA-384",
        ),
    ],
)
def test_a_published_signature_verifies_and_not_with_a_bit_changed(number, public, message, signature):
    suite = SUITES[number]
    suite.verify(h(public), message, h(signature), "the book")
    for at in range(0, suite.signature_size, 7):
        changed = bytearray(h(signature))
        changed[at] ^= 1
        with pytest.raises(AuthenticationFailed, match="the signature of the book does not fit"):
            suite.verify(h(public), message, bytes(changed), "the book")


@pytest.mark.parametrize(
    ("number", "wrapping", "key", "wrapped"),
    [
        pytest.param(
            0,
            "000102030405060708090A0B0C0D0E0F",
            "00112233445566778899AABBCCDDEEFF",
            "1FA68B0A8112B447AEF34BD8FB5A7B829D3E862371D2CFE5",
            id="RFC 3394 4.1",
        ),
        pytest.param(
            2,
            "000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F",
            "00112233445566778899AABBCCDDEEFF000102030405060708090A0B0C0D0E0F",
            "28C9F404C4B810F4CBCCB35CFB87F8263F5786E2D80ED326CBC7F0E71A99F43BFB988B9B7A02DD21",
            id="RFC 3394 4.6",
        ),
    ],
)
def test_a_wrapped_key_is_the_rfcs(number, wrapping, key, wrapped):
    suite = SUITES[number]
    assert suite.wrap(Secret(h(wrapping)), Secret(h(key))) == h(wrapped)
    assert suite.unwrap(Secret(h(wrapping)), h(wrapped)) == Secret(h(key))
    for size in (0, 8, 16, len(h(wrapped)) - 1):
        with pytest.raises(AuthenticationFailed, match="does not unwrap: check the master key"):
            suite.unwrap(Secret(h(wrapping)), h(wrapped)[:size])


@CURVED
@given(message=st.binary(max_size=100), other=st.binary(max_size=100))
@settings(max_examples=20, deadline=None)
def test_what_is_signed_verifies_and_nothing_else(suite, message, other):
    private = PRIVATE[suite.number][0]
    signature = suite.sign(private, message)
    suite.verify(suite.public(private), message, signature, "us")
    if other != message:
        with pytest.raises(AuthenticationFailed):
            suite.verify(suite.public(private), other, signature, "us")


@CURVED
def test_both_parties_agree_on_a_key_and_each_use_has_its_own(suite):
    ours, theirs = suite.new_private(), suite.new_private()
    shared = suite.agree(ours, suite.public(theirs))
    assert shared == suite.agree(theirs, suite.public(ours))
    keys = [suite.derive(shared, use, CLIENT_TITLE, METER_TITLE) for use in Use]
    assert len({key.reveal() for key in keys}) == 2
    assert {len(key) for key in keys} == {suite.key_size}


@CURVED
def test_what_is_no_point_and_no_scalar_is_refused_without_being_shown(suite):
    for raw in (bytes(2 * suite.width), b"\xff" * 2 * suite.width, bytes(3)):
        with pytest.raises(DecodeError, match="public key"):
            suite.check_public(raw)
        with pytest.raises(DecodeError):
            suite.agree(suite.new_private(), raw)
    for private in (bytes(suite.width), b"\xff" * suite.width, bytes(5)):
        with pytest.raises(ValueError, match="private key") as refused:
            suite.check_private(Secret(private))
        assert "ff" not in str(refused.value)


def test_suite_0_has_no_signatures():
    with pytest.raises(ValueError, match="suites 1 and 2 have"):
        SUITES[0].new_private()


@pytest.mark.parametrize(
    ("number", "use", "algorithm"),
    [
        (1, Use.CIPHERING, "60857405080300"),  # AES-GCM-128
        (2, Use.CIPHERING, "60857405080301"),  # AES-GCM-256
        (1, Use.WRAPPING, "60857405080302"),  # AES-WRAP-128
        (2, Use.WRAPPING, "60857405080303"),  # AES-WRAP-256
    ],
)
def test_a_key_is_derived_as_the_standards_function_does_for_its_algorithm(number, use, algorithm):
    """Against `cryptography`'s concatenation KDF; the Green Book's identifiers of AES-GCM and AES-WRAP."""
    shared = bytes(range(32 if number == 1 else 48))
    info = bytes.fromhex(algorithm) + CLIENT_TITLE + METER_TITLE
    digest, size = (hashes.SHA256(), 16) if number == 1 else (hashes.SHA384(), 32)
    expected = ConcatKDFHash(digest, size, info).derive(shared)
    assert SUITES[number].derive(Secret(shared), use, CLIENT_TITLE, METER_TITLE).reveal() == expected


@pytest.mark.parametrize(("number", "size"), [(0, 32), (1, 24), (1, 32), (2, 16)])
def test_a_wrapped_key_of_another_size_is_refused(number, size):
    master = Secret(bytes(SUITES[number].key_size))
    wrapped = aes_key_wrap(master.reveal(), bytes(size))
    with pytest.raises(AuthenticationFailed, match="does not unwrap"):
        SUITES[number].unwrap(master, wrapped)


# --- certificates

WHOLE = issued(METER_TITLE, SUITES[1], SUITES[1].public(PRIVATE[1][1]), Purpose.SIGNING)


@CURVED
@pytest.mark.parametrize("purpose", Purpose)
def test_a_certificate_says_whose_key_it_is_and_what_for(suite, purpose):
    public = suite.public(PRIVATE[suite.number][1])
    raw = issued(METER_TITLE, suite, public, purpose)
    found = certificates.parse(raw)
    assert (found.title, found.purpose, found.suite, found.public) == (METER_TITLE, purpose, suite, public)
    found.require(METER_TITLE, purpose, suite.number)
    found.require_issuer(authority(suite))
    assert certificates.public_of(raw, METER_TITLE, purpose, suite.number) == public
    assert certificates.public_of(public, METER_TITLE, purpose, suite.number) == public


def test_a_certificate_of_another_party_use_suite_or_issuer_is_refused():
    suite = SUITES[1]
    found = certificates.parse(issued(METER_TITLE, suite, suite.public(PRIVATE[1][1]), Purpose.SIGNING))
    with pytest.raises(AuthenticationFailed, match="expected is 4d4d4d0000000001"):
        found.require(CLIENT_TITLE, Purpose.SIGNING, 1)
    with pytest.raises(AuthenticationFailed, match="needed is key agreement"):
        found.require(METER_TITLE, Purpose.AGREEMENT, 1)
    with pytest.raises(AuthenticationFailed, match="configured is suite 2"):
        found.require(METER_TITLE, Purpose.SIGNING, 2)
    with pytest.raises(AuthenticationFailed, match="was not issued by"):
        found.require_issuer(authority(SUITES[2]))
    with pytest.raises(AuthenticationFailed, match="valid from"):
        found.require_valid(found.not_after.replace(year=found.not_after.year + 1))


@CURVED
def test_a_certification_request_proves_to_hold_the_key(suite):
    key = ec.derive_private_key(int.from_bytes(PRIVATE[suite.number][1].reveal(), "big"), suite._curve())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, METER_TITLE.hex().upper())])
    made = x509.CertificateSigningRequestBuilder(name).sign(key, hashes.SHA256())
    raw = made.public_bytes(serialization.Encoding.DER)
    assert certificates.parse_request(raw) == (METER_TITLE, suite, suite.public(PRIVATE[suite.number][1]))
    with pytest.raises(DecodeError, match="does not prove to hold it"):
        certificates.parse_request(raw[:-1] + bytes((raw[-1] ^ 1,)))


@pytest.mark.parametrize("uses", [("digital_signature", "key_agreement"), ("key_encipherment",)])
def test_a_certificate_is_for_one_use_of_the_two(uses):
    """Who may sign with a key may not agree on keys with it: one that says both is nobody's."""
    suite = SUITES[1]
    raw = issued(METER_TITLE, suite, suite.public(PRIVATE[1][1]), Purpose.SIGNING, uses=uses)
    with pytest.raises(DecodeError, match="for neither digital signature nor key agreement, or for both"):
        certificates.parse(raw)


@given(st.binary(max_size=600), st.data())
@settings(deadline=None)
def test_mangled_certificates_raise_nothing_but_decode_errors(noise, data):
    whole = WHOLE
    at = data.draw(st.integers(0, len(whole) - 1))
    mangled = whole[:at] + noise[:3] + whole[at + 2 :]
    for raw in (noise, mangled, whole[:at]):
        try:
            certificates.parse(raw)
            certificates.parse_request(raw)
        except DecodeError:
            pass
