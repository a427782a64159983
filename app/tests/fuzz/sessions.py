"""Sessions as fuzz targets: what arrives is changed on the wire, or sealed with the right keys around nonsense.

A server must answer anything; a client must let nothing but its typed errors out.
"""

from dcu.cosem import axdr, security
from dcu.cosem.apdu import DataAccessResult, DataNotification, GetRequestNormal
from dcu.cosem.apdu import encode as encode_apdu
from dcu.cosem.application import Denied
from dcu.cosem.association import AUTHENTICATED_ENCRYPTED, Association, Authentication, ServerAssociation
from dcu.cosem.client import ClientSession
from dcu.cosem.exchange import drive
from dcu.cosem.push import PushReceiver, PushSource
from dcu.cosem.security import Cipher, Framing, Protection
from dcu.cosem.server import ServerSession
from dcu.credentials import MeterKeys, Secret
from dcu.model import AttributeRef

from .kept import Kept, Prepared

CLIENT, SERVER = 1, 1
AARQ = 0x60
METER_TITLE, CLIENT_TITLE = b"FUZ\x00\x00\x00\x00\x01", b"DCU\x00\x00\x00\x00\x01"
KEYS = MeterKeys(METER_TITLE, Secret(bytes(range(16))), Secret(bytes(range(16, 32))))  # made up for this test
CIPHER = Cipher(KEYS.guek, KEYS.gak)
VALUE = AttributeRef.parse("3,1-0:1.8.0*255,2")
SECURED = Association(
    CLIENT, SERVER, Authentication.GMAC, KEYS, CLIENT_TITLE, AUTHENTICATED_ENCRYPTED, protected_release=True
)
PLAIN = Association(CLIENT, SERVER)
TERMS = {
    CLIENT: ServerAssociation(Authentication.GMAC, KEYS, None, AUTHENTICATED_ENCRYPTED),
    16: ServerAssociation(),
}


class Device:
    """Values short and long, and a refusal."""

    def get(self, client_sap, attribute, selection):
        if attribute.attribute == 3:
            raise Denied(DataAccessResult.OBJECT_UNDEFINED)
        return axdr.encode(axdr.octets(bytes(3000 if attribute.attribute == 4 else 4)))

    def set(self, client_sap, attribute, selection, value):
        axdr.decode(value)

    def action(self, client_sap, method, parameter):
        return parameter


class Counting:
    """An invocation counter that can be put back."""

    def __init__(self):
        self.last = 0

    def __call__(self):
        self.last += 1
        return self.last


def challenge(byte):
    """Randomness that is none, so that a run can be repeated."""
    return lambda size: bytes((byte,)) * size


def server(lossy=False):
    return ServerSession(Device(), TERMS, counter=Counting(), random=challenge(0x5E), lossy=lossy)


def client(association, lossy=False):
    return ClientSession(association, counter=Counting(), random=challenge(0xC1), lossy=lossy)


def recorded():
    """The frames of one whole secured session and one plain one: (requests, answers)."""
    requests, answers = [], []

    for association, sap in ((SECURED, CLIENT), (PLAIN, 16)):
        peer, session = server(), client(association)

        def answer(request, peer=peer, sap=sap):
            requests.append(request)
            answers.append(peer.receive(sap, request))
            return answers[-1]

        drive(session.associate(), answer)
        drive(session.get(VALUE), answer)
        drive(session.get(AttributeRef(VALUE.class_id, VALUE.obis, 4)), answer)
        drive(session.get_list([(VALUE, None), (VALUE, None)]), answer)
        drive(session.release(), answer)
    return tuple(requests), tuple(answers)


class Servers(Prepared):
    """A server gets anything: first of all, then within an association without and with security."""

    def prepare(self):
        self.fresh, self.plain, self.secured = server(), server(), server()
        drive(client(PLAIN).associate(), lambda request: self.plain.receive(16, request))
        drive(client(SECURED).associate(), lambda request: self.secured.receive(CLIENT, request))
        return self.fresh, self.plain, self.secured

    def take(self, frame):
        self.fresh.receive(CLIENT, frame)
        self.fresh.receive(16, frame)
        answers = (self.plain.receive(16, frame), self.secured.receive(CLIENT, frame))
        if frame and not security.is_ciphered(frame):  # nonsense from one who holds the keys
            sealed = security.protect(
                CIPHER,
                frame,
                protection=Protection.BOTH,
                title=CLIENT_TITLE,
                counter=10_000,
                framing=Framing.GENERAL_GLOBAL,
            )
            self.secured.receive(CLIENT, sealed)
        refused = (self.fresh.refused.last, self.plain.refused.last, self.secured.refused.last)
        for last in refused:
            assert "while answering" not in str(last), last
        return *(answer[:1].hex() if answer else None for answer in answers), *map(str, refused)


class Asking(Prepared):
    """A client whose meter is honest until it is asked for a value, and then answers what `answer_with` makes up."""

    def prepare(self, association, sap, answer_with):
        peer = server()
        self.session = client(association)
        drive(self.session.associate(), lambda request: peer.receive(sap, request))
        self.answer_with = answer_with
        return (self.session,)

    def take(self, frame):
        return drive(self.session.get(VALUE), lambda request: self.answer_with(frame))


class Associating(Prepared):
    """A client whose meter answers the AARQ with anything, and is honest from then on."""

    def prepare(self, association, sap):
        self.sap = sap
        self.session, self.peer = client(association), server()
        before = Kept(self.session)
        self.asked = next(self.session.associate())
        self.peer.receive(sap, self.asked)  # as it always is: whatever is answered, the meter has admitted the client
        before.restore()
        return self.session, self.peer

    def take(self, frame):
        return drive(self.session.associate(), lambda request: self._answer(request, frame))

    def _answer(self, request, frame):
        if request[0] != AARQ:
            return self.peer.receive(self.sap, request)
        assert request == self.asked
        return frame


def sealed(frame):
    """Nonsense from a meter that holds the keys; what cannot be sealed goes as it is."""
    if not frame or security.is_ciphered(frame):
        return frame
    tags = {0x0E, 0xC4, 0xC5, 0xC7, 0x08}
    framing = Framing.GLOBAL if frame[0] in tags else Framing.GENERAL_GLOBAL
    return security.protect(
        CIPHER, frame, protection=Protection.BOTH, title=METER_TITLE, counter=10_000, framing=framing
    )


def pushed(frame):
    """A push from anybody, and the same in the seal of one who may."""
    receiver = PushReceiver(lambda title: PushSource(KEYS) if title == METER_TITLE else None, lambda title: -1)
    if frame and not security.is_ciphered(frame):
        frame = security.protect(
            CIPHER, frame, protection=Protection.BOTH, title=METER_TITLE, counter=1, framing=Framing.GENERAL_GLOBAL
        )
    return receiver.receive(frame).protection


REQUESTS, ANSWERS = recorded()
NOTIFICATION = encode_apdu(DataNotification(1, b"", axdr.encode(axdr.structure(axdr.u32(1), axdr.octets(b"x")))))
PUSH = security.protect(
    CIPHER, NOTIFICATION, protection=Protection.BOTH, title=METER_TITLE, counter=1, framing=Framing.GENERAL_GLOBAL
)
GET = encode_apdu(GetRequestNormal(0xC1, VALUE, None))
