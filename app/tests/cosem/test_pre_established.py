"""Pre-established associations: no AARQ, no handshake; what is left to hold is the policy and the counters' floors."""

from dataclasses import replace
from itertools import count

import pytest

from dcu.cosem import admission, axdr, data
from dcu.cosem.association import (
    AUTHENTICATED_ENCRYPTED,
    UNPROTECTED,
    Association,
    Authentication,
    MemoryFloors,
    ServerAssociation,
)
from dcu.cosem.ciphering import Ciphering
from dcu.cosem.client import ClientSession
from dcu.cosem.exchange import drive
from dcu.cosem.security import Framing
from dcu.cosem.server import ServerSession
from dcu.cosem.short import ShortSession
from dcu.credentials import Secret
from dcu.errors import CounterReplayed, DcuError, ServiceRefused

from .small_meter import CLIENT, CLIENT_TITLE, DISCONNECT, ENERGY, ENERGY_NOW, KEYS, LIMIT, METER_TITLE, SmallMeter
from .test_short import NAMES, ListMeter

POLICIES = {"plain": UNPROTECTED, "ciphered": AUTHENTICATED_ENCRYPTED}
policies = pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)


class Line:
    """One meter whose floors outlive its connections; `client` begins a new session of ours."""

    def __init__(self, policy, pre_established=True):
        self.meter, self.floors, self.sent, self.answered = SmallMeter(), MemoryFloors(), [], []
        self._policy, self._ours, self._theirs = policy, count(1), count(5000)
        self._terms = ServerAssociation(
            keys=KEYS, client_title=CLIENT_TITLE, policy=policy, pre_established=pre_established
        )
        self.connect()

    def connect(self):
        self.server = ServerSession(
            self.meter, {CLIENT: self._terms}, counter=self._theirs.__next__, floors=self.floors
        )

    def client(self, floor=0):
        settings = Association(CLIENT, 1, keys=KEYS, client_title=CLIENT_TITLE, policy=self._policy)
        session = ClientSession(settings, counter=self._ours.__next__, receive_floor=floor)
        session.presume()
        return session

    def answer(self, frame):
        self.sent.append(frame)
        self.answered.append(self.server.receive(CLIENT, frame))
        return self.answered[-1]

    def run(self, exchange):
        return drive(exchange, self.answer)


@pytest.mark.conforms(
    "Association", lambda policy: f"pre-established, {'ciphered' if policy.request else 'plain'}", peer="ours"
)
@policies
def test_services_need_no_opening(policy):
    line = Line(policy)
    client = line.client()
    assert line.run(client.get(ENERGY)) == ENERGY_NOW
    line.run(client.set(LIMIT, axdr.encode(data.u32(7))))
    assert line.run(client.get(LIMIT)) == axdr.encode(data.u32(7))
    assert len(line.sent) == 3
    assert line.server.refused.total == 0


@policies
def test_short_names_are_read_first_and_need_no_opening_either(policy):
    terms = {"keys": KEYS, "client_title": CLIENT_TITLE, "policy": policy}
    server = ServerSession(
        ListMeter(), {CLIENT: ServerAssociation(pre_established=True, names=NAMES, **terms)}, counter=count(9).__next__
    )
    settings = Association(CLIENT, 1, short=True, **terms)
    client = ShortSession(settings, counter=count(1).__next__, receive_floor=0)
    client.presume()
    sent = []

    def run(exchange):
        return drive(exchange, lambda frame: sent.append(frame) or server.receive(CLIENT, frame))

    run(client.learn())
    run(client.set(LIMIT, axdr.encode(data.u32(7))))
    assert (run(client.get(ENERGY)), run(client.get(LIMIT))) == (ENERGY_NOW, axdr.encode(data.u32(7)))
    assert len(sent) == 4  # the list of names, once
    assert server.refused.total == 0


def test_a_replayed_request_does_nothing_in_a_new_connection_either():
    line = Line(AUTHENTICATED_ENCRYPTED)
    line.run(line.client().set(LIMIT, axdr.encode(data.u32(7))))
    line.connect()
    line.server.receive(CLIENT, line.sent[-1])
    assert len(line.meter.done) == 1
    assert line.server.refused.counter == 1


def replayed_answer(line):
    """An answer of an earlier session, given to a new one that asks the same."""
    client = line.client()
    line.run(client.get(ENERGY))
    recorded = line.answered[-1]
    again = line.client(client.floor)
    return drive(again.get(ENERGY), lambda frame: recorded)


def test_a_recorded_answer_is_refused_by_the_floor_of_before():
    with pytest.raises(CounterReplayed):
        replayed_answer(Line(AUTHENTICATED_ENCRYPTED))


def test_canary_without_the_floor_a_recorded_answer_is_taken(monkeypatch):
    monkeypatch.setattr(Ciphering, "require_above", staticmethod(lambda floor, counter: None))
    assert replayed_answer(Line(AUTHENTICATED_ENCRYPTED)) == ENERGY_NOW


def test_without_a_floor_none_is_taken_up():
    settings = Association(CLIENT, 1, keys=KEYS, client_title=CLIENT_TITLE, policy=AUTHENTICATED_ENCRYPTED)
    with pytest.raises(ValueError, match="receive floor of before"):
        ClientSession(settings, counter=count(1).__next__).presume()


def test_what_proves_itself_is_not_pre_established():
    with pytest.raises(ValueError, match="nobody authenticates"):
        ServerAssociation(Authentication.GMAC, KEYS, CLIENT_TITLE, AUTHENTICATED_ENCRYPTED, pre_established=True)
    with pytest.raises(ValueError, match="client's system title"):
        ServerAssociation(keys=KEYS, policy=AUTHENTICATED_ENCRYPTED, pre_established=True)
    settings = Association(CLIENT, 1, Authentication.GMAC, KEYS, CLIENT_TITLE, AUTHENTICATED_ENCRYPTED)
    with pytest.raises(ValueError, match="neither a handshake"):
        ClientSession(settings, counter=count(1).__next__, receive_floor=0).presume()


@policies
def test_a_meter_without_it_answers_nothing(policy):
    line = Line(policy, pre_established=False)
    with pytest.raises(DcuError):
        line.run(line.client().get(ENERGY))
    assert line.meter.asked == []


def test_a_plain_request_to_a_ciphered_one_does_nothing():
    line = Line(AUTHENTICATED_ENCRYPTED)
    line.server.receive(
        CLIENT, bytes.fromhex("c001c1") + ENERGY.class_id.to_bytes(2, "big") + ENERGY.obis.raw + b"\x02\x00"
    )
    assert line.meter.asked == []
    assert line.server.refused.policy == 1
    assert KEYS.system_title == METER_TITLE


# --- broadcast


WIDE = 103  # a client SAP
GBEK = Secret(bytes(range(32, 48)))
SHARED = replace(KEYS, broadcast=GBEK)
WRITTEN = axdr.encode(data.u32(9))


class Wide:
    """Meters that hear one broadcast; each has a unicast association with the same client, too."""

    def __init__(self, number=2):
        held = [replace(SHARED, system_title=b"MTR0000%d" % at) for at in range(number)]
        self.meters, self.floors = [SmallMeter() for _ in held], [MemoryFloors() for _ in held]
        self.servers = [
            ServerSession(
                meter,
                {
                    CLIENT: ServerAssociation(Authentication.GMAC, keys, CLIENT_TITLE, AUTHENTICATED_ENCRYPTED),
                    WIDE: ServerAssociation(
                        keys=keys,
                        client_title=CLIENT_TITLE,
                        policy=AUTHENTICATED_ENCRYPTED,
                        pre_established=True,
                        broadcast=True,
                    ),
                },
                counter=count(5000).__next__,
                floors=floors,
            )
            for meter, keys, floors in zip(self.meters, held, self.floors, strict=True)
        ]
        self.client = ClientSession(
            Association(
                WIDE, 1, keys=SHARED, client_title=CLIENT_TITLE, policy=AUTHENTICATED_ENCRYPTED, broadcast=True
            ),
            counter=count(1).__next__,
        )
        self.client.presume()

    def hear(self, frame, sap=WIDE):
        return [server.receive(sap, frame) for server in self.servers]

    @property
    def done(self):
        return [meter.done for meter in self.meters]


@pytest.mark.conforms("Association", "pre-established, broadcast", peer="ours")
def test_a_broadcast_is_carried_out_by_all_once_and_answered_by_none():
    wide = Wide()
    frame = wide.client.unconfirmed([(LIMIT, WRITTEN)])
    assert frame[2] == 0x70  # authenticated and encrypted, under the broadcast key
    assert wide.hear(frame) == [None, None]
    assert wide.hear(frame) == [None, None]  # a replay
    assert wide.hear(wide.client.unconfirmed_call(DISCONNECT, WRITTEN)) == [None, None]
    assert wide.done == [[(LIMIT, WRITTEN), (DISCONNECT, WRITTEN)]] * 2


@pytest.mark.parametrize("at", [0, 2, 6, 12, -1])
def test_nobody_answers_a_broadcast_that_is_not_good_either(at):
    wide = Wide()
    frame = bytearray(wide.client.unconfirmed([(LIMIT, WRITTEN)]))
    frame[at] ^= 0x10
    assert wide.hear(bytes(frame)) == [None, None]
    assert wide.hear(b"\xc1\x01\x81" + bytes(40)) == [None, None]  # nor one in the clear
    assert wide.hear(b"\x60\x00") == [None, None]  # nor who would open it
    assert wide.done == [[], []]


def test_the_broadcast_key_opens_nothing_else_and_no_other_key_a_broadcast():
    wide = Wide()
    frame = wide.client.unconfirmed([(LIMIT, WRITTEN)])
    assert [answer[:1] for answer in wide.hear(frame, CLIENT)] == [b"\xd8"] * 2
    unicast = Association(WIDE, 1, keys=KEYS, client_title=CLIENT_TITLE, policy=AUTHENTICATED_ENCRYPTED)
    session = ClientSession(unicast, counter=count(50).__next__, receive_floor=0)
    session.presume()
    assert wide.hear(session.unconfirmed([(LIMIT, WRITTEN)])) == [None, None]
    assert wide.done == [[], []]


def test_a_client_counts_under_each_key_by_itself():
    """Its broadcasts are many meters', and come out of another count than what it says to one."""
    wide = Wide(1)
    settings = Association(
        CLIENT,
        1,
        Authentication.GMAC,
        replace(KEYS, system_title=b"MTR00000"),
        CLIENT_TITLE,
        AUTHENTICATED_ENCRYPTED,
    )
    alone = ClientSession(settings, counter=count(70_000).__next__)
    drive(alone.associate(), lambda frame: wide.servers[0].receive(CLIENT, frame))
    wide.hear(wide.client.unconfirmed([(LIMIT, WRITTEN)]))
    assert wide.done == [[(LIMIT, WRITTEN)]]
    assert drive(alone.get(ENERGY), lambda frame: wide.servers[0].receive(CLIENT, frame)) == ENERGY_NOW


def test_canary_with_one_count_for_both_keys_the_broadcast_is_lost(monkeypatch):
    monkeypatch.setattr(admission, "BroadcastFloors", lambda floors: floors)
    with pytest.raises(AssertionError):
        test_a_client_counts_under_each_key_by_itself()


def test_a_client_does_not_wait_for_an_answer_to_a_broadcast():
    wide = Wide()
    with pytest.raises(ServiceRefused, match="nobody answers a broadcast"):
        next(wide.client.get(ENERGY))
    with pytest.raises(ValueError, match="it is presumed"):
        next(ClientSession(wide.client.association, counter=count(1).__next__).associate())


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"keys": KEYS}, "needs the broadcast key"),
        ({"policy": UNPROTECTED}, "needs the broadcast key, and a policy"),
        ({"authentication": Authentication.GMAC}, "no handshake"),
        ({"framing": Framing.IDENTIFIED}, "no other key"),
        ({"dedicated": True}, "no dedicated key"),
    ],
)
def test_settings_that_no_broadcast_can_have_are_refused(more, said):
    settings = {"keys": SHARED, "client_title": CLIENT_TITLE, "policy": AUTHENTICATED_ENCRYPTED} | more
    with pytest.raises(ValueError, match=said):
        Association(WIDE, 1, broadcast=True, **settings)
    if "dedicated" not in more:
        with pytest.raises(ValueError, match=r"broadcast|handshake"):
            ServerAssociation(broadcast=True, pre_established=True, **settings)
    with pytest.raises(ValueError, match="it is pre-established"):
        ServerAssociation(keys=SHARED, client_title=CLIENT_TITLE, policy=AUTHENTICATED_ENCRYPTED, broadcast=True)
