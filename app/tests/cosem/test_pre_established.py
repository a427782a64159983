"""Pre-established associations: no AARQ, no handshake; what is left to hold is the policy and the counters' floors."""

from itertools import count

import pytest

from dcu.cosem import axdr, data
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
from dcu.cosem.server import ServerSession
from dcu.errors import CounterReplayed, DcuError

from .small_meter import CLIENT, CLIENT_TITLE, ENERGY, ENERGY_NOW, KEYS, LIMIT, METER_TITLE, SmallMeter

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
