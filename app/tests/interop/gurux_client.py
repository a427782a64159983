"""gurux-dlms (PyPI, GPL-2.0) as a client, for the tests of this folder: of our server, and of a meter of the street.

It makes frames and reads frames; what carries them is the test's. Where a test meets a defect of gurux's own, it says
so: "(gurux)". Keys are the Green Book's examples, or the street's.
"""

import time
from datetime import UTC, datetime, timedelta
from itertools import count

from gurux_dlms import GXDLMSAccessItem, GXReplyData
from gurux_dlms.ecdsa import GXPrivateKey, GXPublicKey
from gurux_dlms.enums import AssociationResult, DataType, InterfaceType, Security
from gurux_dlms.enums import Authentication as GXAuthentication
from gurux_dlms.GXDLMSException import GXDLMSException
from gurux_dlms.objects import GXDLMSData, GXDLMSDisconnectControl, GXDLMSProfileGeneric, GXDLMSRegister
from gurux_dlms.objects.enums import SecuritySuite
from gurux_dlms.secure import GXDLMSSecureClient

from dcu.cosem import axdr, data, profile
from dcu.cosem.apdu import Conformance
from dcu.cosem.association import SUPPORTED, Authentication, ServerAssociation
from dcu.cosem.datetimes import CosemDateTime, TimeZoneRule
from dcu.cosem.hls import aes_ecb
from dcu.cosem.profile import CLOCK, ByEntry, ByRange
from dcu.cosem.server import ServerSession
from dcu.link import wrapper
from neighbourhood.fleet import Fleet, Talk
from neighbourhood.meter import CONCENTRATOR, Habits
from tests.cosem.small_meter import CLIENT, CLIENT_TITLE, PROFILE, SmallMeter, context_of, protection_row

START = datetime(2026, 1, 1, tzinfo=UTC)
RULE = TimeZoneRule(UTC)
GENERAL_PROTECTION = SUPPORTED | Conformance.GENERAL_PROTECTION  # where this is agreed on, gurux uses it
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


def register():
    """Of active energy, of every meter."""
    return GXDLMSRegister("1.0.1.8.0.255")


def relay():
    return GXDLMSDisconnectControl("0.0.96.3.10.255")


def load_profile():
    return GXDLMSProfileGeneric("1.0.99.1.0.255")


def limit(value, kind=DataType.UINT32):
    """The small meter's limit, which is to become `value`."""
    item = GXDLMSData("0.0.94.91.0.255")
    item.value = value
    item.setDataType(2, kind)
    return item


def rows_of(reply):
    """(UTC, value) of the rows that gurux decoded, whose clocks it leaves as bytes."""
    return [(CosemDateTime.parse(bytes(clock)).utc(RULE), value) for clock, value in reply.value]


def general_row(context):
    """The row of a context's keys in general ciphering."""
    kind, _, suite = protection_row(context).partition("-")
    return f"general-{kind}-ciphering{suite}"


def secured(client, keys, title):
    """Give `client` the keys that its services are ciphered with."""
    ciphering = client.ciphering
    ciphering.security = Security.AUTHENTICATION_ENCRYPTION
    ciphering.systemTitle = title
    ciphering.securitySuite = SecuritySuite(keys.suite)
    ciphering.blockCipherKey, ciphering.authenticationKey = keys.guek.reveal(), keys.gak.reveal()
    return client


class Asking:
    """A gurux client, and how what it asks is carried to a meter: `carry` returns the frames that come back."""

    def __init__(self, client):
        self.client = client
        self.turned_down = 0

    def carry(self, frame):
        raise NotImplementedError

    def ask(self, frames):
        """Send what gurux built (frames, or lists of them), let it ask for the following blocks; return its reply."""
        reply = GXReplyData()
        for frame in [frames] if isinstance(frames, bytes | bytearray) else frames:
            if isinstance(frame, list):
                return self.ask(frame)
            reply.clear()
            self.exchange(frame, reply)
            while reply.isMoreData():
                self.exchange(self.client.receiverReady(reply), reply)
        return reply

    def exchange(self, frame, reply):
        for answer in self.carry(bytes(frame)):
            self.client.getData(answer, reply, GXReplyData())

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
        return self

    def value(self, item, attribute=2):
        """What gurux makes of an attribute; it stands in `item` from then on."""
        return self.client.updateValue(item, attribute, self.ask(self.client.read(item, attribute)).value)

    def read(self, item, *attributes):
        for number in attributes:
            self.value(item, number)
        return item


def accessed(gurux, *asked):
    """Ask all in one ACCESS; return their errors."""
    items = [GXDLMSAccessItem(*each, 2) for each in asked]
    reply = gurux.ask(gurux.client.accessRequest(None, items))
    gurux.client.parseAccessResponse(items, reply.data)
    return [item.error for item in items]


def session(meter, terms):
    return ServerSession(meter, {CLIENT: terms}, counter=count(5000).__next__)


class Served(Asking):
    """A gurux client and our server, joined by calls. `answers` keeps the APDUs that came back."""

    def __init__(self, client, terms):
        super().__init__(client)
        self.meter, self.answers = ProfileMeter(), []
        self.server = session(self.meter, terms)

    def carry(self, frame):
        request = wrapper.decode(frame)
        answer = self.server.receive(request.source, request.apdu)
        assert answer is not None
        for part in (answer,) if isinstance(answer, bytes) else answer:
            self.answers.append(part)
            yield wrapper.encode(request.destination, request.source, part)


def terms_in(context, **more):
    """Our server's, for one of the small meter's contexts."""
    authentication, policy, _, _, held = context_of(context)
    maker = aes_ecb if authentication is Authentication.HIGH else None
    return ServerAssociation(authentication, held, CLIENT_TITLE, policy, manufacturer=maker, **more)


def client_in(context, *, room=0xFFFF, short=False, address=1, interface=InterfaceType.WRAPPER):
    """A gurux client set for one of the small meter's contexts; room: bytes that it takes."""
    authentication, policy, dedicated, held, _ = context_of(context)
    how, security = (SETTINGS | SIGNING | P_384 | LOW)[context]
    password = held.password.reveal() if authentication.secret else None
    client = GXDLMSSecureClient(not short, CLIENT, address, how, password, interface)
    secured(client, held, CLIENT_TITLE).ciphering.security = security
    client.ciphering.dedicatedKey = bytes(range(len(held.guek))) if dedicated else None
    if how == GXAuthentication.HIGH_ECDSA:
        client.ciphering.signingKeyPair = (
            GXPublicKey.fromRawBytes(held.signing.peer),
            GXPrivateKey.fromRawBytes(held.signing.private.reveal()),
        )
    client.maxReceivePDUSize = room
    client.useProtectedRelease = bool(policy.response)
    return client


class Gurux(Served):
    """A gurux client in one of the small meter's contexts."""

    def __init__(self, context, *, room=0xFFFF, names=None, **terms):
        """terms: of our server, beside those of the context."""
        client = client_in(context, room=room, short=names is not None)
        super().__init__(client, terms_in(context, names=names, **terms))

    def associate(self):
        super().associate()
        assert self.server.associated(CLIENT)
        return self


class ProfileMeter(SmallMeter):
    """The small meter with a load profile whose rows can be selected."""

    def get(self, client_sap, attribute, selection):
        if attribute != PROFILE:
            return super().get(client_sap, attribute, selection)
        self.asked.append((attribute, selection))
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


NOW = 1_763_640_000  # 2025-11-20T12:00:00Z
HLS = {
    Authentication.NONE: GXAuthentication.NONE,
    Authentication.LOW: GXAuthentication.LOW,
    Authentication.MD5: GXAuthentication.HIGH_MD5,
    Authentication.SHA256: GXAuthentication.HIGH_SHA256,
    Authentication.GMAC: GXAuthentication.HIGH_GMAC,
}


def client_of(meter, sap, address=1, interface=InterfaceType.WRAPPER, *, keys=None, user=-1):
    """A gurux client that is set for an association of a meter of the street."""
    terms, held = meter.associations()[sap], keys or meter.shipped_keys(sap)
    password = held.password.reveal() if terms.authentication.secret else None
    client = GXDLMSSecureClient(terms.names is None, sap, address, HLS[terms.authentication], password, interface)
    client.userId = user
    if terms.ciphered:
        secured(client, held, CLIENT_TITLE).ciphering.invocationCounter = meter.heard.highest + 1
    return client


class House(Asking):
    """A gurux client with an association, and a meter of the street whose clock stands until a test moves it."""

    def __init__(self, kind=Authentication.NONE, *, user=-1, prepare=None, **habits):
        """prepare: what is done to the meter before."""
        self.now = NOW
        self.fleet = Fleet(1, 1, lambda: self.now, habits=Habits(authentication=kind, **habits))
        self.meter = self.fleet.meters[0]
        if prepare:
            prepare(self.meter)
        self.open(user=user)

    def open(self, keys=None, *, user=-1):
        """Associate over a connection of its own."""
        self._talk = Talk(self.fleet, self.meter, lossy=False)
        super().__init__(client_of(self.meter, CONCENTRATOR, keys=keys, user=user))
        self.associate()

    def carry(self, frame):
        request = wrapper.decode(frame)
        answer = self._talk(request.source, request.destination, request.apdu)
        assert isinstance(answer, bytes)
        return [wrapper.encode(request.destination, request.source, answer)]


class Far(Asking):
    """A gurux client at the end of a wire, which `write` and `read_some` know; one frame comes back for each."""

    def write(self, frame):
        raise NotImplementedError

    def read_some(self):
        raise NotImplementedError

    def carry(self, frame):
        self.write(frame)
        until, heard = time.monotonic() + 5, b""
        while time.monotonic() < until:
            heard += self.read_some()
            if len(heard) >= (size := self._size(heard)):
                return [heard[:size]]
        raise AssertionError(f"no answer to {frame.hex()}: {heard.hex()}")

    def _size(self, heard):
        if self.client.interfaceType == InterfaceType.WRAPPER:
            return 8 + int.from_bytes(heard[6:8], "big")
        return (heard[1] << 8 & 0x700 | heard[2]) + 2 if len(heard) > 2 else 3

    def connect(self):
        """Over HDLC, too."""
        if self.client.interfaceType == InterfaceType.HDLC:
            self.client.parseUAResponse(self.ask(self.client.snrmRequest()).data)
        return self.associate()
