"""A foreign encoder and decoder: gurux-dlms reads what we write, and we read what it writes, plain and ciphered."""

import xml.etree.ElementTree as ET

import pytest
from gurux_dlms import GXByteBuffer, GXDLMSClient, GXReplyData
from gurux_dlms.enums import Authentication, Conformance, DataType, InterfaceType, Security, TranslatorOutputType
from gurux_dlms.GXDLMSTranslator import GXDLMSTranslator
from gurux_dlms.objects import GXDLMSData, GXDLMSDisconnectControl, GXDLMSProfileGeneric, GXDLMSRegister
from gurux_dlms.secure import GXDLMSSecureClient

from dcu.cosem import acse, apdu, axdr
from dcu.cosem.hls import hls_answer, hls_verify
from dcu.cosem.security import Cipher, Framing, Opened, Protection, parse, protect, unprotect
from dcu.cosem.selection import Selection
from dcu.credentials import Secret
from dcu.model import AttributeRef, MethodRef, Obis

ENERGY = AttributeRef(3, Obis.parse("1-0:1.8.0*255"), 2)
EK, AK = bytes(range(16)), bytes(range(0xD0, 0xE0))  # the Green Book's
CLIENT, METER = bytes.fromhex("4D4D4D0000000001"), bytes.fromhex("4D4D4D0000BC614E")
STOC = b"P6wRJ21FP6wRJ21F"


def payload(frames):
    """What gurux would send, without the wrapper's header."""
    assert len(frames) == 1
    return bytes(frames[0])[8:]


def fed(client, sent):
    reply = GXReplyData()
    wrapper = b"\x00\x01\x00\x01\x00\x01" + len(sent).to_bytes(2, "big")
    assert client.getData(GXByteBuffer(wrapper + sent), reply, GXReplyData())
    return reply


@pytest.fixture
def plain_client():
    client = GXDLMSClient(True, 1, 1, Authentication.LOW, b"12345678", InterfaceType.WRAPPER)
    client.negotiatedConformance = Conformance.MULTIPLE_REFERENCES | Conformance.SELECTIVE_ACCESS | Conformance.GET
    return client


def test_its_aarq_is_read(plain_client):
    request = acse.decode(payload(plain_client.aarqRequest()))
    assert isinstance(request, acse.Aarq)
    assert (request.context, request.mechanism) == (acse.ApplicationContext.LN, acse.Mechanism.LOW)
    assert request.authentication_value == b"12345678"
    initiate = apdu.decode(request.user_information)
    assert isinstance(initiate, apdu.InitiateRequest)
    assert (initiate.max_pdu, initiate.version) == (0xFFFF, 6)
    assert apdu.Conformance.GET | apdu.Conformance.SELECTIVE_ACCESS in initiate.conformance


def test_its_requests_are_read_and_made_again_byte_for_byte(plain_client):
    register = GXDLMSRegister("1.0.1.8.0.255")
    name = GXDLMSData("0.0.128.0.0.255")
    name.value = bytearray(b"abc")
    name.setDataType(2, DataType.OCTET_STRING)
    relay = GXDLMSDisconnectControl("0.0.96.3.10.255")
    profile = GXDLMSProfileGeneric("1.0.99.1.0.255")
    profile.captureObjects.append((register, None))
    value = AttributeRef(1, Obis.parse("0-0:128.0.0*255"), 2)
    by_entry = Selection(2, bytes.fromhex("0204 0600000001 0600000018 120001 120000"))
    for wire, meaning in (
        (plain_client.read(register, 2), apdu.GetRequestNormal(0xC1, ENERGY)),
        (
            plain_client.readList([(register, 2), (name, 2)])[0],
            apdu.GetRequestList(0xC1, ((ENERGY, None), (value, None))),
        ),
        (plain_client.write(name, 2), apdu.SetRequestNormal(0xC1, value, None, b"\x09\x03abc")),
        (
            plain_client.method(relay, 1, 0, DataType.INT8),
            apdu.ActionRequestNormal(0xC1, MethodRef(70, Obis.parse("0-0:96.3.10*255"), 1), b"\x0f\x00"),
        ),
        (
            plain_client.readRowsByEntry(profile, 1, 24),
            apdu.GetRequestNormal(0xC1, AttributeRef(7, Obis.parse("1-0:99.1.0*255"), 2), by_entry),
        ),
    ):
        assert apdu.decode(payload(wire)) == meaning
        assert apdu.encode(meaning) == payload(wire)


def test_our_blocks_are_joined_by_it(plain_client):
    plain_client.read(GXDLMSRegister("1.0.1.8.0.255"), 2)  # it remembers what it asked for
    first = apdu.encode(apdu.GetResponseBlock(0xC1, False, 1, bytes.fromhex("0904 01")))
    reply = GXReplyData()
    for sent in (first, apdu.encode(apdu.GetResponseBlock(0xC1, True, 2, b"\x02\x03\x04"))):
        wrapper = b"\x00\x01\x00\x01\x00\x01" + len(sent).to_bytes(2, "big")
        assert plain_client.getData(GXByteBuffer(wrapper + sent), reply, GXReplyData())
        if reply.isMoreData():
            assert apdu.decode(payload([plain_client.receiverReady(reply)])) == apdu.GetRequestNext(0xC1, 1)
    assert bytes(reply.value) == b"\x01\x02\x03\x04"


@pytest.mark.parametrize(
    ("sent", "element", "expected"),
    [
        (
            apdu.GetRequestNormal(0xC1, ENERGY),
            "GetRequestNormal",
            {"InvokeIdAndPriority": "C1", "ClassId": "0003", "InstanceId": "0100010800FF", "AttributeId": "02"},
        ),
        (apdu.GetRequestNext(0xC1, 7), "GetRequestForNextDataBlock", {"BlockNumber": "00000007"}),
        (apdu.GetResponseNormal(0xC1, b"\x12\x00\x2a"), "GetResponseNormal", {"UInt16": "002A"}),
        (
            apdu.GetResponseNormal(0xC1, apdu.DataAccessResult.READ_WRITE_DENIED),
            "GetResponseNormal",
            {"DataAccessError": "ReadWriteDenied"},
        ),
        (apdu.SetRequestNormal(0xC1, ENERGY, None, b"\x12\x00\x2a"), "SetRequestNormal", {"UInt16": "002A"}),
        (apdu.SetResponseNormal(0xC1, apdu.DataAccessResult.SUCCESS), "SetResponseNormal", {"Result": "Success"}),
        (
            apdu.ActionRequestNormal(0xC1, MethodRef(70, Obis.parse("0-0:96.3.10*255"), 2), b"\x0f\x00"),
            "ActionRequestNormal",
            {"ClassId": "0046", "MethodId": "02", "Int8": "00"},
        ),
        (
            apdu.ActionResponseNormal(0xC1, apdu.ActionResult.SUCCESS),
            "ActionResponseNormal",
            {"Result": "Success"},
        ),
        (apdu.DataNotification(5, b"", b"\x12\x00\x2a"), "DataNotification", {"UInt16": "002A"}),
        (
            apdu.ExceptionResponse(apdu.ExceptionState(1), apdu.ExceptionService(2)),
            "ExceptionResponse",
            {"StateError": "ServiceNotAllowed", "ServiceError": "ServiceNotSupported"},
        ),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else value,
)
def test_our_apdus_are_read_by_its_translator(sent, element, expected):
    translator = GXDLMSTranslator(TranslatorOutputType.SIMPLE_XML)
    root = ET.fromstring(translator.pduToXml(apdu.encode(sent).hex().upper()))
    assert element in {node.tag for node in root.iter()}
    found = {node.tag: node.get("Value") for node in root.iter()}
    assert {name: found.get(name) for name in expected} == expected


@pytest.mark.parametrize(
    "framing", [Framing.GLOBAL, Framing.DEDICATED, Framing.GENERAL_GLOBAL, Framing.GENERAL_DEDICATED]
)
def test_a_whole_hls_5_association_with_it_works(framing, capsys):
    dedicated = framing in (Framing.DEDICATED, Framing.GENERAL_DEDICATED)
    general = framing in (Framing.GENERAL_GLOBAL, Framing.GENERAL_DEDICATED)
    client = GXDLMSSecureClient(True, 1, 1, Authentication.HIGH_GMAC, None, InterfaceType.WRAPPER)
    client.ciphering.security = Security.AUTHENTICATION_ENCRYPTION
    client.ciphering.systemTitle = bytearray(CLIENT)
    client.ciphering.blockCipherKey = bytearray(EK)
    client.ciphering.authenticationKey = bytearray(AK)
    client.ciphering.invocationCounter = 100
    if dedicated:
        client.ciphering.dedicatedKey = bytearray(range(16, 32))
    cipher = working = Cipher(Secret(EK), Secret(AK))

    def opened(wire: bytes, framing: Framing) -> Opened:
        assert parse(wire).framing == framing
        key = working if framing in (Framing.DEDICATED, Framing.GENERAL_DEDICATED) else cipher
        return unprotect(key, wire, title=CLIENT, required=Protection.BOTH)

    def sealed(answer: apdu.Apdu, counter: int, framing: Framing) -> bytes:
        key = working if framing in (Framing.DEDICATED, Framing.GENERAL_DEDICATED) else cipher
        return protect(
            key, apdu.encode(answer), protection=Protection.BOTH, title=METER, counter=counter, framing=framing
        )

    request = acse.decode(payload(client.aarqRequest()))
    assert isinstance(request, acse.Aarq)
    assert (request.mechanism, request.calling_title) == (acse.Mechanism.HIGH_GMAC, CLIENT)
    initiate = apdu.decode(opened(request.user_information, Framing.GLOBAL).apdu)
    assert isinstance(initiate, apdu.InitiateRequest)
    if dedicated:
        assert initiate.dedicated_key == Secret(bytes(range(16, 32)))
        working = Cipher(initiate.dedicated_key, Secret(AK))
    conformance = initiate.conformance if general else initiate.conformance & ~apdu.Conformance.GENERAL_PROTECTION
    granted = sealed(apdu.InitiateResponse(conformance, 1024), 10, Framing.GLOBAL)
    answer = acse.Aare(
        acse.ApplicationContext.LN_CIPHERED,
        acse.AssociationResult.ACCEPTED,
        acse.UserDiagnostic.AUTHENTICATION_REQUIRED,
        METER,
        acse.Mechanism.HIGH_GMAC,
        STOC,
        granted,
    )
    client.parseAareResponse(fed(client, acse.encode(answer)).data)

    wire = payload(client.getApplicationAssociationRequest())
    action = apdu.decode(opened(wire, Framing.GLOBAL).apdu)
    assert isinstance(action, apdu.ActionRequestNormal)
    assert hls_verify(cipher, axdr.decode(action.parameter).value, title=CLIENT, challenge=STOC) > 100
    proof = hls_answer(cipher, title=METER, counter=11, challenge=request.authentication_value)
    returned = apdu.ActionResponseNormal(action.invoke, apdu.ActionResult.SUCCESS, b"\x09\x11" + proof)
    reply = fed(client, sealed(returned, 12, Framing.GLOBAL))
    client.parseApplicationAssociationResponse(reply.data)  # raises unless our proof is right

    register = GXDLMSRegister("1.0.1.8.0.255")
    get = apdu.decode(opened(payload(client.read(register, 2)), framing).apdu)
    assert get == apdu.GetRequestNormal(0xC1, ENERGY)
    reply = fed(client, sealed(apdu.GetResponseNormal(0xC1, bytes.fromhex("0600003039")), 13, framing))
    assert client.updateValue(register, 2, reply.value) == 12345
    capsys.readouterr()  # it prints what it does
