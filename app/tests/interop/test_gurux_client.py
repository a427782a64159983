"""gurux-dlms (PyPI, GPL-2.0) as a client reads our server: a stack that shares nothing with ours, framing included.

It is driven without I/O: its frames go to a ServerSession in the same process. Where a test meets a defect of gurux's
own, it says so: "(gurux)". Keys are the Green Book's examples.
"""

import random
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest
from gurux_dlms import GXDateTime, GXReplyData
from gurux_dlms.ecdsa import GXPrivateKey, GXPublicKey
from gurux_dlms.enums import AssociationResult, DataType, InterfaceType, Security
from gurux_dlms.enums import Authentication as GXAuthentication
from gurux_dlms.GXDLMSException import GXDLMSException
from gurux_dlms.GXDLMSExceptionResponse import GXDLMSExceptionResponse
from gurux_dlms.GXSecure import GXSecure
from gurux_dlms.objects import (
    GXDLMSClock,
    GXDLMSData,
    GXDLMSDisconnectControl,
    GXDLMSProfileGeneric,
    GXDLMSRegister,
)
from gurux_dlms.objects.enums import SecuritySuite
from gurux_dlms.secure import GXDLMSSecureClient

from dcu.cosem import axdr, data, profile
from dcu.cosem.apdu import DataAccessResult
from dcu.cosem.association import Authentication, ServerAssociation
from dcu.cosem.datetimes import CosemDateTime, TimeZoneRule
from dcu.cosem.hls import aes_ecb
from dcu.cosem.profile import CLOCK, ByEntry, ByRange
from dcu.cosem.server import ServerSession
from dcu.cosem.short_names import CURRENT
from dcu.link import wrapper
from dcu.model import AttributeRef
from tests.cosem.small_meter import (
    CLIENT,
    CLIENT_TITLE,
    DISCONNECT,
    LIMIT,
    PROFILE,
    SmallMeter,
    association_row,
    context_of,
    protection_row,
)
from tests.cosem.test_short import NAMES

START = datetime(2026, 1, 1, tzinfo=UTC)
RULE = TimeZoneRule(UTC)
ROWS = [(START + timedelta(hours=hour), 1000 + hour) for hour in range(48)]

SETTINGS = {  # our context's name: how gurux is set for it
    "none": (GXAuthentication.NONE, Security.NONE),
    "low": (GXAuthentication.LOW, Security.NONE),
    "gmac, plain services": (GXAuthentication.HIGH_GMAC, Security.NONE),
    "gmac, global key": (GXAuthentication.HIGH_GMAC, Security.AUTHENTICATION_ENCRYPTION),
    "gmac, dedicated key": (GXAuthentication.HIGH_GMAC, Security.AUTHENTICATION_ENCRYPTION),
    **{
        f"{ours}, {how}": (theirs, security)
        for ours, theirs in (
            ("high", GXAuthentication.HIGH),
            ("md5", GXAuthentication.HIGH_MD5),
            ("sha1", GXAuthentication.HIGH_SHA1),
            ("sha256", GXAuthentication.HIGH_SHA256),
        )
        for how, security in (
            ("plain services", Security.NONE),
            ("global key", Security.AUTHENTICATION_ENCRYPTION),
        )
    },
    **{
        f"gmac, suite {suite}, {how} key": (GXAuthentication.HIGH_GMAC, Security.AUTHENTICATION_ENCRYPTION)
        for suite in (1, 2)
        for how in ("global", "dedicated")
    },
}
SIGNING = {
    "ecdsa, suite 1, plain services": (GXAuthentication.HIGH_ECDSA, Security.NONE),
    "ecdsa, suite 1, global key": (GXAuthentication.HIGH_ECDSA, Security.AUTHENTICATION_ENCRYPTION),
}
LOW = {"low, ciphered": (GXAuthentication.LOW, Security.AUTHENTICATION_ENCRYPTION)}
P_384 = {"ecdsa, suite 2, global key": (GXAuthentication.HIGH_ECDSA, Security.AUTHENTICATION_ENCRYPTION)}


class ProfileMeter(SmallMeter):
    """The small meter with a load profile whose rows can be selected."""

    def get(self, client_sap, attribute, selection):
        if attribute != PROFILE:
            return super().get(client_sap, attribute, selection)
        rows = ROWS
        wanted = profile.parse_selection(selection) if selection else None
        if isinstance(wanted, ByEntry):
            rows = rows[wanted.first - 1 : wanted.last or None]
        elif isinstance(wanted, ByRange):
            assert wanted.restricting == CLOCK
            first, last = (CosemDateTime.parse(end.value).utc(RULE) for end in (wanted.first, wanted.last))
            rows = [row for row in rows if first <= row[0] <= last]
        return axdr.encode(
            data.array(
                data.structure(data.octets(CosemDateTime.from_utc(at, RULE).encode()), data.u32(value))
                for at, value in rows
            )
        )


class Gurux:
    """A gurux client and our server, joined by calls."""

    def __init__(self, context, *, max_pdu=0xFFFF, protected_release=True, names=None):
        authentication, policy, dedicated, held, meters = context_of(context)
        self.meter = ProfileMeter()
        maker = aes_ecb if authentication is Authentication.HIGH else None
        terms = ServerAssociation(authentication, meters, CLIENT_TITLE, policy, manufacturer=maker, names=names)
        self.server = ServerSession(self.meter, {CLIENT: terms}, counter=count(5000).__next__)
        how, security = (SETTINGS | SIGNING | P_384 | LOW)[context]
        password = held.password.reveal() if authentication.secret else None
        self.client = client = GXDLMSSecureClient(names is None, CLIENT, 1, how, password, InterfaceType.WRAPPER)
        client.ciphering.security = security
        client.ciphering.systemTitle = CLIENT_TITLE
        client.ciphering.securitySuite = SecuritySuite(held.suite)
        client.ciphering.blockCipherKey = held.guek.reveal()
        client.ciphering.authenticationKey = held.gak.reveal()
        client.ciphering.dedicatedKey = bytes(range(len(held.guek))) if dedicated else None
        if how == GXAuthentication.HIGH_ECDSA:
            pair = (
                GXPublicKey.fromRawBytes(held.signing.peer),
                GXPrivateKey.fromRawBytes(held.signing.private.reveal()),
            )
            client.ciphering.signingKeyPair = pair
        client.maxReceivePDUSize = max_pdu
        client.useProtectedRelease = protected_release and bool(policy.response)
        self.answers = []
        self.turned_down = 0

    def ask(self, frames):
        """Send what gurux built (frames, or lists of them), let it ask for the following blocks; return its reply."""
        reply = GXReplyData()
        for frame in [frames] if isinstance(frames, bytes | bytearray) else frames:
            if isinstance(frame, list):
                return self.ask(frame)
            reply.clear()
            self._exchange(frame, reply)
            while reply.isMoreData():
                self._exchange(self.client.receiverReady(reply), reply)
        return reply

    def _exchange(self, frame, reply):
        request = wrapper.decode(bytes(frame))
        answer = self.server.receive(request.source, request.apdu)
        assert answer is not None
        self.answers.append(answer)
        self.client.getData(wrapper.encode(request.destination, request.source, answer), reply, GXReplyData())

    def associate(self):
        for left in reversed(range(5)):
            try:
                self.client.parseAareResponse(self.ask(self.client.aarqRequest()).data)
                break
            except GXDLMSException as refused:
                # (gurux) It draws any bytes: one challenge in twelve looks like an APDU, and is turned down for now.
                if refused.result != AssociationResult.TRANSIENT_REJECTED or not left:
                    raise
                self.turned_down += 1
        if self.client.getIsAuthenticationRequired():
            proof = self.ask(self.client.getApplicationAssociationRequest())
            self.client.parseApplicationAssociationResponse(proof.data)
        assert self.server.associated(CLIENT)
        return self


def rows_of(reply):
    """(UTC, value) of the rows that gurux decoded, whose clocks it leaves as bytes."""
    return [(CosemDateTime.parse(bytes(clock)).utc(RULE), value) for clock, value in reply.value]


everywhere = pytest.mark.parametrize("context", SETTINGS)


@pytest.mark.conforms("Association", association_row, peer="gurux-dlms client", link="wrapper")
@pytest.mark.conforms("Protection", protection_row, peer="gurux-dlms client", link="wrapper")
@pytest.mark.conforms("Service", "GET", peer="gurux-dlms client", link="wrapper")
@everywhere
def test_gurux_reads_a_register(context):
    gurux = Gurux(context).associate()
    register = GXDLMSRegister("1.0.1.8.0.255")
    gurux.client.updateValue(register, 3, gurux.ask(gurux.client.read(register, 3)).value)
    gurux.client.updateValue(register, 2, gurux.ask(gurux.client.read(register, 2)).value)
    assert (register.value, register.scaler) == (123_456_789, 1)
    assert gurux.server.refused.total == gurux.turned_down


@pytest.mark.conforms("Service", "GET with list", peer="gurux-dlms client", link="wrapper")
@everywhere
def test_gurux_reads_a_list(context):
    gurux = Gurux(context).associate()
    register = GXDLMSRegister("1.0.1.8.0.255")
    reply = gurux.ask(gurux.client.readList([(register, 2), (register, 3)]))
    assert reply.value == [123_456_789, [0, 30]]


@pytest.mark.conforms("Service", "GET in blocks", peer="gurux-dlms client", link="wrapper")
@pytest.mark.parametrize("max_pdu", [80, 200, 0xFFFF])
@everywhere
def test_gurux_reads_a_profile_in_blocks(context, max_pdu):
    gurux = Gurux(context, max_pdu=max_pdu).associate()
    opening = len(gurux.answers)
    reply = gurux.ask(gurux.client.read(GXDLMSProfileGeneric("1.0.99.1.0.255"), 2))
    assert rows_of(reply) == ROWS
    assert max(map(len, gurux.answers[opening:])) <= max_pdu


@everywhere
def test_gurux_reads_rows_by_entry(context):
    gurux = Gurux(context).associate()
    reply = gurux.ask(gurux.client.readRowsByEntry(GXDLMSProfileGeneric("1.0.99.1.0.255"), 5, 3))
    assert rows_of(reply) == ROWS[4:7]


@everywhere
def test_gurux_reads_rows_by_range(context):
    gurux = Gurux(context).associate()
    buffer = GXDLMSProfileGeneric("1.0.99.1.0.255")
    buffer.sortObject = GXDLMSClock("0.0.1.0.0.255")
    first, last = (GXDateTime(at) for at in (START + timedelta(hours=3), START + timedelta(hours=9)))
    reply = gurux.ask(gurux.client.readRowsByRange(buffer, first, last))
    assert rows_of(reply) == ROWS[3:10]


@pytest.mark.conforms("Service", "SET and ACTION", peer="gurux-dlms client", link="wrapper")
@everywhere
def test_gurux_writes_and_calls(context):
    gurux = Gurux(context).associate()
    limit = GXDLMSData("0.0.94.91.0.255")
    limit.value = 2500
    limit.setDataType(2, DataType.UINT32)
    assert gurux.ask(gurux.client.write(limit, 2)).error == 0
    relay = GXDLMSDisconnectControl("0.0.96.3.10.255")
    assert gurux.ask(relay.remoteDisconnect(gurux.client)).error == 0
    zero = axdr.encode(data.i8(0))
    assert gurux.meter.done == [(LIMIT, axdr.encode(data.u32(2500))), (DISCONNECT, zero)]


@everywhere
def test_gurux_is_told_why_it_may_not(context):
    gurux = Gurux(context).associate()
    missing = gurux.client.read(GXDLMSRegister("1.0.9.9.9.255"), 2)
    assert gurux.ask(missing).error == DataAccessResult.OBJECT_UNDEFINED
    assert gurux.ask(gurux.client.read(GXDLMSRegister("1.0.1.8.0.255"), 2)).value == 123_456_789


@everywhere
def test_gurux_releases_the_association(context):
    gurux = Gurux(context).associate()
    gurux.ask(gurux.client.releaseRequest())
    assert not gurux.server.associated(CLIENT)


def test_a_release_without_protection_is_refused_where_the_context_asks_for_it():
    """(gurux) Unless `useProtectedRelease` is set, it sends RLRQ bare in a ciphered association."""
    gurux = Gurux("gmac, global key", protected_release=False).associate()
    with pytest.raises(GXDLMSExceptionResponse):
        gurux.ask(gurux.client.releaseRequest())
    assert gurux.server.associated(CLIENT)


def test_the_proof_is_taken_under_the_global_key_though_a_dedicated_one_was_agreed():
    """(gurux) It turns to its dedicated key only after HLS: what we answer follows it."""
    gurux = Gurux("gmac, dedicated key").associate()
    gurux.ask(gurux.client.read(GXDLMSRegister("1.0.1.8.0.255"), 2))
    assert [answer[0] for answer in gurux.answers] == [0x61, 0xCF, 0xD4]


@pytest.mark.conforms(
    "Association",
    association_row,
    peer="gurux-dlms client",
    link="wrapper",
    defect="its proof is taken; its challenge is too short, and it cannot check ours",
)
@pytest.mark.parametrize("context", SIGNING)
def test_guruxs_signature_is_taken_and_it_cannot_check_ours(context, monkeypatch, capsys):
    """(gurux) Its challenge has 16 bytes where HLS 7 takes 32 to 64; it prints its private key; and its arithmetic
    of the curve fails when it checks a signature, by an exception or by a wrong verdict that it then trips over."""
    with pytest.raises(GXDLMSException, match="Authentication failure"):
        Gurux(context).associate()
    gurux = Gurux(context)
    monkeypatch.setattr(GXSecure, "generateChallenge", lambda: bytes(random.randrange(256) for _ in range(32)))
    with pytest.raises((ValueError, UnboundLocalError), match=r"not invertible|cannot access"):
        gurux.associate()
    assert gurux.server.associated(CLIENT)
    assert "Private signed key" in capsys.readouterr().out


@pytest.mark.conforms(
    "Association", "HLS 7 ECDSA, suite 2", peer="gurux-dlms client", link="wrapper", defect="no P-384"
)
def test_gurux_cannot_sign_on_p_384(monkeypatch, capsys):
    """(gurux) Its arithmetic of the curve again, before anything is sent."""
    monkeypatch.setattr(GXSecure, "generateChallenge", lambda: bytes(random.randrange(256) for _ in range(32)))
    with pytest.raises(ValueError, match="Invalid"):
        Gurux("ecdsa, suite 2, global key").associate()
    assert "Private signed key" in capsys.readouterr().out


def test_gurux_asks_again_where_its_challenge_looks_like_an_apdu(monkeypatch):
    challenges = iter([b"\xc4\x01" * 8, b"P6wRJ21F" * 2])
    monkeypatch.setattr(GXSecure, "generateChallenge", lambda: next(challenges))
    gurux = Gurux("gmac, plain services").associate()
    assert [answer[0] for answer in gurux.answers] == [0x61, 0x61, 0xC7]


SHORT = ("none", "low")


@pytest.mark.conforms(
    "Referencing",
    lambda context: f"SN, {association_row(context)}, {protection_row(context)}",
    peer="gurux-dlms client",
    link="wrapper",
)
@pytest.mark.parametrize("context", SHORT)
def test_gurux_reads_and_writes_by_short_names(context):
    gurux = Gurux(context, names=NAMES).associate()
    gurux.meter.values[AttributeRef(12, CURRENT, 2)] = NAMES.encode()
    listed = gurux.client.parseObjects(gurux.ask(gurux.client.getObjectsRequest()).data, True)
    register = listed.findBySN(0x0100)
    assert str(register.logicalName) == "1.0.1.8.0.255"
    assert gurux.ask(gurux.client.read(register, 2)).value == 123_456_789
    limit = listed.findBySN(0x0200)
    limit.value = 2500
    limit.setDataType(2, DataType.UINT32)
    assert gurux.ask(gurux.client.write(limit, 2)).error == 0
    assert gurux.meter.done == [(LIMIT, axdr.encode(data.u32(2500)))]
    profile_rows = gurux.ask(gurux.client.read(listed.findBySN(0x0300), 2))
    assert rows_of(profile_rows) == ROWS
    assert gurux.server.refused.total == 0


@pytest.mark.conforms(
    "Referencing",
    "SN, LLS, glo-, suite 0",
    peer="gurux-dlms client",
    link="wrapper",
    defect="it trips over its own request by short names once it is ciphered",
)
def test_gurux_cannot_cipher_what_it_asks_by_short_names():
    """(gurux) An assertion of its own, before anything is sent."""
    gurux = Gurux("low, ciphered", names=NAMES).associate()
    with pytest.raises(AssertionError):
        gurux.client.getObjectsRequest()


def test_gurux_with_a_wrong_authentication_key_is_refused():
    gurux = Gurux("gmac, global key")
    gurux.client.ciphering.authenticationKey = bytes(16)
    with pytest.raises(Exception, match=r"(?i)authentication.?failure"):
        gurux.associate()
    assert not gurux.server.associated(CLIENT)


def test_gurux_with_a_used_counter_is_refused():
    """(gurux) It starts its counter at 1 whenever it is made: a meter that remembers does not let it in twice."""
    gurux = Gurux("gmac, global key").associate()
    gurux.client.ciphering.invocationCounter = 1
    with pytest.raises(GXDLMSExceptionResponse):
        gurux.ask(gurux.client.aarqRequest())
    gurux.client.ciphering.invocationCounter = 100
    assert gurux.associate().ask(gurux.client.read(GXDLMSRegister("1.0.1.8.0.255"), 2)).value == 123_456_789
