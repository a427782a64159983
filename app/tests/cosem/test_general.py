"""general-ciphering and general-signing: the Green Book's examples, then what a changed, foreign or replayed one meets.

Examples: Ed. 8, tables 41 and C.2, as public sources give them. Their text deciphers and their keys and signatures fit;
their tags fit no input of the tag that we tried, and those who printed the vectors left that check out, too.
"""

from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dcu.cosem import axdr, data, general, security
from dcu.cosem.association import AUTHENTICATED_ENCRYPTED, UNPROTECTED, Association, Authentication, StaleAnswer
from dcu.cosem.general import Header
from dcu.cosem.security import KEYED, Cipher, Framing, Protection
from dcu.credentials import Secret
from dcu.errors import (
    AuthenticationFailed,
    DcuError,
    DecodeError,
    MalformedAnswer,
    PolicyViolated,
    SecurityError,
    ServiceRefused,
    TagMismatch,
)
from dcu.suites import SUITES

from .small_meter import CLIENT, ENERGY, ENERGY_NOW, GENERAL_CONTEXTS, LIMIT, PROFILE, Pair, context_of, protection_of
from .suite_keys import CLIENT_TITLE, METER_TITLE, keys

h = bytes.fromhex
GET = h("C001C100030100010800FF0200")
# The book's client has the title that our tests give the meter.
BOOKS_CLIENT, BOOKS_SERVER = METER_TITLE, CLIENT_TITLE
ACCESS = h(
    "D94000000000040100010000600100FF020100080000010000FF0202001400000D0000FF0702001400000D0000FF0804000001040203090100"
    "090CFFFFFFFFFFFFFF00000000000901FF0203090101090CFFFFFFFFFFFFFF00000000000901FF0203090102090CFFFFFFFFFFFFFF00000000"
    "000901FF0203090103090CFFFFFFFFFFFFFF00000000000901FF0104020809010011FF11FF11FF11FF11FF11FF11FF02080901011102110111"
    "011101110111011101020809010211FF11FF11FF11FF11FF11FF11FF02080901031101110211021102110211021102"
)
ONE_PASS = h(
    "DD080102030405060708084D4D4D0000BC614E084D4D4D00000000010000010201018180C323C2BD45711DE4688637D919F92E9DB8FB2DFC213A"
    "88D21C9DC8DCBA917D8170511DE1BADB360D50058F794B0960AE11FA28D392CFF907A62D13E3357B1DC0B51BE089D0B682863B2217201E73A1A9"
    "031968A9B4121DCBC3281A69739AF87429F5B3AC5471E7B6A04A2C0F2F8A25FD772A317DF97FC5463FEAC248EB8AB8BE81EB3100000000F43506"
    "9679270C5BF4425EE5777402A6C8D51C620EED52DBB188378B836E2857D5C053E6DDF27FA87409AEF502CD9618AE47017C010224FD109CC0BEB2"
    "1E742D44AB40CD11908743EC90EC8C40E221D517F72228E1A26E827F43DC18ED27B5F458D66508B05A2A4CC6FED178C881AFC3BC67064689BE8B"
    "B41C80ABB3C114A31F4CB03B8B64C7E0B4CE77B2399C93347858888F92239713B38DF01C4858245827A92EF334172EA636B31CBBDF2A96AD5D03"
    "5F66AA38F1A2D97D4BBA99622E6B5F18789CECB2DFB3937D9F3E17F8B472098E6563238F37528374809836002AEA6E7012D2ADFAA7"
)
STATIC_TEXT = h(
    "607581D83815281B561904E6A72B83BF3FB0B1F2A0A23A82A804B39911F6CB1B4EF9B6F76C6338ED058014FFBF4A13A162E0EED11EEB8F597757"
    "A18215F28E1D3FC2D44586C4B8AFE4500B535B579506CDB925CBEFF7F1CF6BF96C583B9CF588FE8F6B01A574824D7CEC597F057FFA8700AF12AD"
    "63A7FA72040439F4392C089B265F9EB1AC308239906DC04E1A8712ABE383CF92349842EBA166EF2E9EB2F53D0DBA025D79875463398BBC3007BC"
    "4A6FC12780C21EE1ABF080BF0FA926242834C0AC30D55A1EF8856E7DED48621F17FDF4D5B54EDDADD8741192"
)


@pytest.fixture
def without_tags(monkeypatch):
    """What the books' text deciphers to, whatever its tag."""

    def text(cipher, control, nonce, content, header=b""):
        return cipher._keystream(nonce, content[: -security.TAG_SIZE])

    monkeypatch.setattr(Cipher, "open", text)


@pytest.mark.conforms(
    "Protection", "general-ciphering, C(1e,1s), suite 1", peer="published vector", link="Green Book, but for the tag"
)
def test_the_books_one_pass_frame_opens_to_its_access_request(without_tags):
    _, server = keys(1)
    ciphered = general.parse(ONE_PASS)
    assert ciphered.framing is Framing.ONE_PASS
    assert ciphered.header == Header(h("0102030405060708"), BOOKS_CLIENT, BOOKS_SERVER)
    assert ciphered.header.encoded() == ONE_PASS[1:30]
    assert (ciphered.control.byte, ciphered.counter) == (0x31, 0)
    assert general.unprotect(server, ciphered, required=Protection.BOTH) == ACCESS


@pytest.mark.conforms(
    "Protection", "general-ciphering, C(0e,2s), suite 1", peer="published vector", link="Green Book, but for the tag"
)
def test_the_books_static_text_opens_to_its_access_request(without_tags):
    _, server = keys(1)
    header = Header(h("0102030405060708"), BOOKS_CLIENT, BOOKS_SERVER)
    control = security.SecurityControl.read(0x31)
    ciphered = general.Ciphered(header, Framing.STATIC, False, b"", control, 0, STATIC_TEXT + bytes(12))
    assert general._key(server, ciphered) == Secret(h("56C46B57DF675515C31025455822514A"))
    assert general.unprotect(server, ciphered, required=Protection.BOTH) == ACCESS


def test_a_tag_that_does_not_fit_is_refused_the_books_own_included():
    with pytest.raises(TagMismatch, match="check the GAK, the master or agreement keys"):
        general.unprotect(keys(1)[1], general.parse(ONE_PASS), required=Protection.BOTH)


# --- what we make is what we take

MADE = [(number, framing) for number in range(3) for framing in KEYED if number or framing in KEYED[:2]]
made = pytest.mark.parametrize(("number", "framing"), MADE)
HEADER = Header(bytes(8), CLIENT_TITLE, METER_TITLE)


def protected(number, framing, protection=Protection.BOTH, header=HEADER):
    client, _ = keys(number)
    return general.protect(client, GET, framing=framing, header=header, protection=protection, counter=7)


@made
@pytest.mark.parametrize("protection", [Protection.AUTHENTICATED, Protection.ENCRYPTED, Protection.BOTH], ids=str)
def test_what_one_side_makes_the_other_opens(number, framing, protection):
    _, meter = keys(number)
    ciphered = general.parse(protected(number, framing, protection))
    assert (ciphered.framing, ciphered.header, ciphered.counter) == (framing, HEADER, 7)
    assert ciphered.control.suite == number
    assert general.unprotect(meter, ciphered, required=protection) == GET


def received(meter, framing, frame):
    """As a session takes it."""
    ciphered = general.parse(frame)
    ciphered.header.require(CLIENT_TITLE, METER_TITLE)
    if ciphered.framing is not framing:
        raise PolicyViolated("another key")
    return general.unprotect(meter, ciphered, required=Protection.BOTH)


@made
def test_any_changed_bit_is_refused(number, framing):
    _, meter = keys(number)
    frame = protected(number, framing)
    for at in range(1, len(frame)):
        changed = frame[:at] + bytes((frame[at] ^ 1 << at % 8,)) + frame[at + 1 :]
        with pytest.raises((DecodeError, SecurityError)):
            received(meter, framing, changed)


@pytest.mark.parametrize("number", [1, 2])
def test_a_signature_covers_every_field_and_the_apdu(number):
    client, meter = keys(number)
    frame = general.sign(client, GET, HEADER)
    general.verify(meter, general.parse_signed(frame))
    for at in range(1, len(frame)):
        changed = frame[:at] + bytes((frame[at] ^ 0x10,)) + frame[at + 1 :]
        with pytest.raises((DecodeError, SecurityError)):
            general.verify(meter, general.parse_signed(changed))


def test_broadcast_keys_unknown_keys_and_signatures_within_signatures_are_refused():
    frame = protected(0, Framing.IDENTIFIED)
    at = 1 + len(HEADER.encoded()) + 1
    broadcast = frame[: at + 1] + b"\x01" + frame[at + 2 :]
    with pytest.raises(PolicyViolated, match="broadcast key"):
        general.unprotect(keys(0)[1], general.parse(broadcast), required=Protection.BOTH)
    for changed, said in (
        (b"\x00\x02", "key 2 is neither"),
        (b"\x01\x01", "not the master key"),
        (b"\x03\x00", "3 is no"),
    ):
        with pytest.raises(DecodeError, match=said):
            general.parse(frame[:at] + changed + frame[at + 2 :])
    client, _ = keys(1)
    with pytest.raises(DecodeError, match="another of its kind"):
        general.parse_signed(general.sign(client, general.sign(client, GET, HEADER), HEADER))


def test_a_key_that_came_along_where_both_have_it_is_refused():
    """C(0e,2s) brings nothing along; key-info is not in the tag's input, so nothing else would find it out."""
    client, _ = keys(1)
    frame = general.protect(client, GET, framing=Framing.STATIC, header=HEADER, protection=Protection.BOTH, counter=1)
    at = len(bytes((general.CIPHERING,)) + HEADER.encoded()) + 4  # flag, choice, parameters: the key's length
    assert frame[at] == 0
    with pytest.raises(DecodeError, match="none of ours"):
        general.parse(frame[:at] + b"\x01\x00" + frame[at + 1 :])


def test_a_frame_of_another_suite_is_refused_though_its_keys_have_the_size():
    """Suites 0 and 1 cipher alike: what the frame says is held against what is configured."""
    client, meter = keys(0)
    frame = general.protect(
        replace(client, suite=1),
        GET,
        framing=Framing.IDENTIFIED,
        header=HEADER,
        protection=Protection.BOTH,
        counter=1,
    )
    with pytest.raises(PolicyViolated, match="of security suite 1, configured is 0"):
        general.unprotect(meter, general.parse(frame), required=Protection.BOTH)


@given(st.binary(max_size=400))
@settings(deadline=None)
def test_noise_raises_nothing_but_decode_errors(noise):
    for parse, tag in ((general.parse, b"\xdd"), (general.parse_signed, b"\xdf")):
        for raw in (noise, tag + noise):
            with suppress(DecodeError):
                parse(raw)


# --- sessions

contexts = pytest.mark.parametrize("context", GENERAL_CONTEXTS)


@contexts
def test_every_service_travels_as_configured(context):
    pair = Pair(context).associated()
    pair.run(pair.client.get(ENERGY))
    _, _, framing, signed = GENERAL_CONTEXTS[context]
    for frame in (*pair.sent[1:], *pair.answered[1:]):
        if signed:
            assert frame[0] == general.SIGNING
            frame = general.parse_signed(frame).apdu
        if framing in KEYED:
            assert general.parse(frame).framing is framing
        else:
            assert security.parse(frame).framing is framing


@contexts
def test_blocks_fit_what_the_client_takes(context):
    pair = Pair(context, max_pdu=700).associated()
    assert pair.run(pair.client.get(PROFILE)) == pair.meter.values[PROFILE]
    assert max(map(len, pair.answered)) <= 700


@contexts
def test_less_than_what_is_configured_is_refused_by_both_sides(context):
    """The same keys, the same policy, and every other way to send a service: neither side takes it."""
    _, _, framing, signed = GENERAL_CONTEXTS[context]
    held = context_of(context)[3]
    classic = framing is Framing.GLOBAL
    for other in (Framing.GLOBAL, Framing.GENERAL_GLOBAL, *KEYED):
        try:
            general.check_keys(held, other, signed=False)
        except ValueError:
            continue
        for unsigned in {False, signed}:
            if (other, unsigned) == (framing, signed):
                continue
            pair = Pair(context).associated()
            pair.client._ciphering._preferred, pair.client._ciphering._signed = other, unsigned
            if classic and other is Framing.GENERAL_GLOBAL and unsigned == signed:
                continue  # a server that asks for nothing special takes the general form of the same key
            with pytest.raises(DcuError):
                pair.run(pair.client.set(LIMIT, axdr.encode(data.u32(7))))
            assert pair.meter.done == []
            pair = Pair(context).associated()
            if framing is Framing.GENERAL_GLOBAL and other is Framing.GLOBAL and unsigned == signed:
                continue  # such a server answers as it was asked
            link = pair.server._links[CLIENT]
            link.ciphering._preferred, link.ciphering._signed = other, unsigned
            with pytest.raises(DcuError):
                pair.run(pair.client.get(ENERGY))


@contexts
def test_a_proof_comes_under_its_own_tag_where_general_glo_ciphering_is_configured_and_nothing_else_does(context):
    """As Gurux's clients send it: the same key, the same protection."""
    framing = GENERAL_CONTEXTS[context][2]
    pair = Pair(context)
    pair.client._ciphering._preferred = Framing.GLOBAL
    if framing in KEYED:
        with pytest.raises(ServiceRefused):
            pair.associated()
        assert not pair.server.associated(CLIENT)
        return
    pair.associated()
    if framing is Framing.GENERAL_GLOBAL:
        with pytest.raises(ServiceRefused):
            pair.run(pair.client.set(LIMIT, axdr.encode(data.u32(7))))
        assert "GENERAL_GLOBAL is required" in str(pair.server.refused.last)
        assert pair.meter.done == []


COMPRESSED = [
    "gmac, global key",
    "gmac, dedicated key",
    "suite 0, general_global",
    "suite 0, identified",
    "suite 2, one_pass",
]


@pytest.mark.conforms(
    "Protection", "compression (V.44)", peer="ours", defect="there is none: refused by both sides, which say so"
)
@pytest.mark.parametrize("context", COMPRESSED)
def test_compression_is_refused_by_both_sides_which_say_so(context):
    def compressed(frame):
        parsed = general.parse(frame) if frame[0] == general.CIPHERING else security.parse(frame)
        at = len(frame) - len(parsed.content) - 5  # of the security control
        return frame[:at] + bytes((frame[at] | 0x80,)) + frame[at + 1 :]

    pair = Pair(context).associated()
    exchange = pair.client.get(ENERGY)
    request = next(exchange)
    assert pair.answer(compressed(request))[:1] == b"\xd8"
    assert "compression (V.44) is not supported" in str(pair.server.refused.last)
    assert pair.meter.asked == []
    with pytest.raises(MalformedAnswer, match=r"compression \(V\.44\) is not supported: switch it off"):
        exchange.send(compressed(pair.answer(request)))


def test_a_signature_over_a_frame_of_another_transaction_is_refused():
    """Both are good by themselves: what is signed has to be of the transaction that the signature names."""
    pair = Pair("suite 1, static, signed").associated()
    ours = pair.client._ciphering
    header = Header(bytes(8), CLIENT_TITLE, METER_TITLE)
    held = context_of("suite 1, static, signed")[3]

    def asked(header, other):
        sealed = general.protect(
            held, GET, framing=Framing.STATIC, header=header, protection=Protection.BOTH, counter=ours.next_counter()
        )
        return pair.answer(general.sign(held, sealed, other))

    refused = pair.server.refused.policy
    assert asked(header, Header(b"\1" * 8, CLIENT_TITLE, METER_TITLE))[:1] == b"\xd8"
    assert pair.server.refused.policy == refused + 1
    assert pair.meter.asked == []
    assert asked(header, header)[:1] == bytes((general.SIGNING,))
    assert pair.meter.asked == [(ENERGY, None)]


def test_an_answer_of_an_earlier_transaction_is_stale():
    pair = Pair("suite 1, static", lossy=True).associated()
    ciphering = pair.server._links[CLIENT].ciphering
    honest = ciphering.seal_service
    ciphering_class = type(ciphering)
    taken = []

    def late(self, apdu, protection, framing, transaction=None):
        taken.append(transaction)
        return honest(apdu, protection, framing, bytes(8))

    original = ciphering_class.seal_service
    try:
        ciphering_class.seal_service = lambda self, *given: (
            late(self, *given) if self is ciphering else original(self, *given)
        )
        with pytest.raises(DcuError):
            pair.run(pair.client.get(ENERGY))
    finally:
        ciphering_class.seal_service = original
    assert pair.client.refused.stale == 1
    assert isinstance(pair.client.refused.last, StaleAnswer)
    assert pair.run(pair.client.get(ENERGY)) == ENERGY_NOW


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"framing": Framing.WRAPPED, "keys": replace(keys(1)[0], master=None)}, "needs the master key"),
        ({"framing": Framing.STATIC, "keys": keys(0)[0]}, "suite 1 or 2 and agreement keys"),
        ({"framing": Framing.ONE_PASS, "keys": replace(keys(1)[0], signing=None)}, "and signing keys"),
        ({"signed": True, "keys": keys(0)[0]}, "and signing keys"),
        ({"framing": Framing.IDENTIFIED, "policy": UNPROTECTED}, "authenticates both ways"),
        ({"framing": Framing.GENERAL_DEDICATED}, "takes the place of the global one by itself"),
        ({"framing": Framing.IDENTIFIED, "dedicated": True}, "there is no dedicated one"),
    ],
)
def test_settings_that_cannot_hold_are_refused(changes, said):
    sound = Association(1, 1, Authentication.GMAC, keys(1)[0], CLIENT_TITLE, AUTHENTICATED_ENCRYPTED)
    with pytest.raises(ValueError, match=said):
        replace(sound, **changes)


# --- canaries


def test_canary_without_the_framing_check_a_client_takes_an_answer_under_another_key(monkeypatch):
    pair = Pair("suite 1, one_pass").associated()
    monkeypatch.setattr("dcu.cosem.conversation.Conversation._framing", lambda self, plain: Framing.GENERAL_GLOBAL)
    monkeypatch.setattr("dcu.cosem.ciphering.Ciphering.require_framing", lambda self, framing, proof: None)
    link = pair.server._links[CLIENT]
    link.ciphering._preferred = Framing.GENERAL_GLOBAL
    assert pair.run(pair.client.get(ENERGY)) == ENERGY_NOW


def test_canary_without_the_signatures_check_any_signature_is_taken(monkeypatch):
    def wrong(keys, apdu, header):
        other = SUITES[keys.suite].new_private()
        return (
            bytes((general.SIGNING,))
            + header.encoded()
            + general.octets(apdu)
            + general.octets(SUITES[keys.suite].sign(other, header.encoded() + apdu))
        )

    monkeypatch.setattr(general, "sign", wrong)
    with pytest.raises(AuthenticationFailed):
        Pair("suite 1, global, signed").associated()
    monkeypatch.setattr(general, "verify", lambda keys, signed: None)
    assert protection_of("suite 1, global, signed")["signed"]
    Pair("suite 1, global, signed").associated()
