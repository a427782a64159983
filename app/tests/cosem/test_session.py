"""Client and server sessions against each other, in every context: what is offered is agreed, what is asked arrives."""

from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dcu.cosem import apdu, axdr, data
from dcu.cosem.apdu import Conformance, DataAccessResult, DataNotification, GetRequestNormal
from dcu.cosem.association import SUPPORTED, MemoryFloors
from dcu.cosem.exchange import Unsent
from dcu.cosem.selection import Selection
from dcu.errors import AccessDenied, AssociationRefused, CounterReplayed, DcuError, LinkClosed, ServiceRefused

from .small_meter import (
    BROKEN,
    CLIENT,
    CLIENT_TITLE,
    CONNECTED,
    DISCONNECT,
    ENERGY,
    ENERGY_NOW,
    EVERY,
    LIMIT,
    METER_TITLE,
    MISSING,
    PROFILE,
    SCALER,
    SECURED,
    WHOLE,
    Pair,
    association_row,
    offered,
    protection_row,
    services_row,
)


@pytest.mark.parametrize("lossy", [False, True], ids=["stream", "lossy"])
@pytest.mark.conforms("Association", association_row, peer="ours")
@pytest.mark.conforms("Protection", protection_row, peer="ours")
@pytest.mark.conforms("Services", services_row, peer="GET")
@pytest.mark.conforms("Services", services_row, peer="SET")
@pytest.mark.conforms("Services", services_row, peer="ACTION")
@pytest.mark.parametrize("context", WHOLE)
def test_a_whole_session_works(context, lossy):
    pair = Pair(context, lossy=lossy)
    negotiated = pair.run(pair.client.associate())
    assert (negotiated.conformance, negotiated.server_title) == (offered(context), METER_TITLE)
    assert pair.run(pair.client.get(ENERGY)) == ENERGY_NOW
    pair.run(pair.client.set(LIMIT, axdr.encode(data.u32(7))))
    assert pair.run(pair.client.get(LIMIT)) == axdr.encode(data.u32(7))
    assert pair.run(pair.client.action(DISCONNECT, axdr.encode(data.i8(0)))) == axdr.encode(data.i8(0))
    assert pair.run(pair.client.get(CONNECTED)) == axdr.encode(data.boolean(False))
    pair.run(pair.client.release())
    assert not pair.client.associated
    assert not pair.server.associated(CLIENT)
    assert pair.client.refused.total == pair.server.refused.total == 0


@pytest.mark.parametrize("context", WHOLE)
def test_a_session_can_be_opened_again_after_its_release(context):
    pair = Pair(context).associated()
    pair.run(pair.client.release())
    with pytest.raises(LinkClosed, match="released"):
        pair.run(pair.client.get(ENERGY))
    pair.run(pair.client.associate())
    assert pair.run(pair.client.get(ENERGY)) == ENERGY_NOW


@pytest.mark.parametrize("context", SECURED)
def test_nothing_but_the_handshake_travels_in_the_clear(context):
    pair = Pair(context).associated()
    pair.run(pair.client.get(ENERGY))
    pair.run(pair.client.set(LIMIT, axdr.encode(data.u32(7))))
    pair.run(pair.client.release())
    wire = b"".join(pair.sent) + b"".join(pair.answered)
    for secret in (ENERGY_NOW, ENERGY.obis.raw, axdr.encode(data.u32(7)), b"\x5f\x1f\x04"):
        assert secret not in wire


def test_every_association_has_a_challenge_and_a_dedicated_key_of_its_own():
    drawn = []

    def random(size):
        drawn.append(bytes([len(drawn) + 1]) * size)
        return drawn[-1]

    pair = Pair("gmac, dedicated key", random=random)
    for _ in range(3):
        pair.run(pair.client.associate())
        assert pair.run(pair.client.get(ENERGY)) == ENERGY_NOW
        pair.run(pair.client.release())
    assert [len(random) for random in drawn] == [16] * 6
    assert {frame[0] for frame in pair.sent} == {0x60, 0xD3, 0xD0, 0x62}


@pytest.mark.conforms("Services", services_row, peer="GET in blocks")
@pytest.mark.parametrize("context", WHOLE)
@settings(max_examples=6, deadline=None)
@given(more=st.integers(0, 86))
def test_no_answer_is_longer_than_what_the_client_receives(context, more):
    max_pdu = (64 if context in EVERY else 500) + more
    pair = Pair(context, max_pdu=max_pdu)
    pair.meter.values[PROFILE] = axdr.encode(data.octets(bytes(at % 251 for at in range(2000))))
    pair.associated()
    assert pair.run(pair.client.get(PROFILE)) == pair.meter.values[PROFILE]
    assert max(map(len, pair.answered[2:])) <= max_pdu
    assert len(pair.answered) > 3


@pytest.mark.conforms("Services", services_row, peer="GET with list")
@pytest.mark.parametrize("max_pdu", [80, 0xFFFF])
@pytest.mark.parametrize("context", WHOLE)
def test_a_list_brings_values_and_refusals_in_order(context, max_pdu):
    pair = Pair(context, max_pdu=max(max_pdu, 80 if context in EVERY else 500)).associated()
    asked = [ENERGY, MISSING, PROFILE, BROKEN, SCALER]
    results = pair.run(pair.client.get_list([(attribute, None) for attribute in asked]))
    assert results == (
        ENERGY_NOW,
        DataAccessResult.OBJECT_UNDEFINED,
        pair.meter.values[PROFILE],
        DataAccessResult.OTHER_REASON,
        pair.meter.values[SCALER],
    )


def test_a_meter_without_lists_is_asked_one_by_one():
    pair = Pair("none")
    terms = pair.server._associations[CLIENT]
    limited = type(terms)(conformance=Conformance.GET | Conformance.BLOCK_TRANSFER_WITH_GET)
    pair.server._associations = {CLIENT: limited}
    pair.associated()
    assert pair.run(pair.client.get_list([(ENERGY, None), (MISSING, None)])) == (
        ENERGY_NOW,
        DataAccessResult.OBJECT_UNDEFINED,
    )
    with pytest.raises(ServiceRefused, match="selective access"):
        pair.run(pair.client.get(PROFILE, Selection(2, b"\x00")))
    with pytest.raises(ServiceRefused, match="service-not-supported"):
        pair.run(pair.client.set(LIMIT, b"\x00"))
    assert pair.meter.done == []


def test_selective_access_is_passed_through():
    pair = Pair().associated()
    selection = Selection(2, axdr.encode(data.structure(data.u32(1), data.u32(2), data.u16(1), data.u16(0))))
    pair.run(pair.client.get(PROFILE, selection))
    assert pair.meter.asked == [(PROFILE, selection)]


def test_refusals_name_the_object_and_the_reason():
    pair = Pair().associated()
    with pytest.raises(AccessDenied, match=r"3,1-0:9\.9\.9\*255,2: object-undefined \(4\)") as denied:
        pair.run(pair.client.get(MISSING))
    assert denied.value.result == 4
    with pytest.raises(AccessDenied, match=r"read-write-denied \(3\)"):
        pair.run(pair.client.set(ENERGY, ENERGY_NOW))
    with pytest.raises(AccessDenied, match="object-undefined"):
        pair.run(pair.client.action(type(DISCONNECT)(70, MISSING.obis, 1)))
    assert pair.run(pair.client.get(ENERGY)) == ENERGY_NOW


def test_an_application_that_breaks_costs_its_request_and_no_more():
    pair = Pair().associated()
    with pytest.raises(AccessDenied, match=r"other-reason \(250\)"):
        pair.run(pair.client.get(BROKEN))
    assert pair.run(pair.client.get(ENERGY)) == ENERGY_NOW


def test_an_opaque_apdu_goes_and_comes_as_it_is():
    pair = Pair("gmac, dedicated key").associated()
    request = apdu.encode(GetRequestNormal(0x81, ENERGY))
    assert pair.run(pair.client.opaque(request)) == bytes.fromhex("C4018100") + ENERGY_NOW


def test_a_notification_during_an_exchange_is_kept_and_the_answer_still_comes():
    pair = Pair().associated()
    pushed = DataNotification(0x40000001, b"", ENERGY_NOW)
    exchange = pair.client.get(ENERGY)
    request = next(exchange)
    assert exchange.send(pair.server.notification(CLIENT, pushed)) is None
    with pytest.raises(StopIteration) as stop:
        exchange.send(pair.answer(request))
    assert stop.value.value == ENERGY_NOW
    ((told, counter, _),) = pair.client.notifications
    assert (told, counter is not None) == (pushed, True)


def test_a_notification_outside_of_an_exchange_is_kept_once():
    pair = Pair("gmac, dedicated key", lossy=True).associated()
    frame = pair.server.notification(CLIENT, DataNotification(1, b"", ENERGY_NOW))
    pair.client.receive(frame)
    pair.client.receive(frame)
    pair.client.receive(b"\x0f\x00\x00\x00\x01\x00" + ENERGY_NOW)
    assert len(pair.client.notifications) == 1
    assert (pair.client.refused.counter, pair.client.refused.policy) == (1, 1)


def test_clients_counters_are_held_against_their_floor_across_associations():
    floors = MemoryFloors()
    pair = Pair(floors=floors).associated()
    pair.run(pair.client.get(ENERGY))
    used = floors.floor(CLIENT_TITLE)
    late = Pair(floors=floors, client_counter=count(2).__next__)
    with pytest.raises(ServiceRefused, match="invocation-counter-error") as refused:
        late.run(late.client.associate())
    assert refused.value.counter == used + 1
    with_hint = Pair(floors=floors, client_counter=count(refused.value.counter).__next__)
    with_hint.run(with_hint.client.associate())


def test_the_receive_floor_is_where_the_session_was_told_to_start():
    pair = Pair()
    client = type(pair.client)(pair.client.association, counter=count(1).__next__, receive_floor=5000)
    with pytest.raises(CounterReplayed) as replayed:
        pair.run(client.associate())
    assert (replayed.value.floor, replayed.value.received) == (5000, 5000)


def test_the_receive_floor_rises_with_every_accepted_frame():
    pair = Pair()
    assert pair.client.floor == -1
    pair.associated()
    floors = [pair.client.floor]
    for _ in range(3):
        pair.run(pair.client.get(ENERGY))
        floors.append(pair.client.floor)
    assert floors == [5020, 5030, 5040, 5050]  # AARE, proof, its answer; then one a GET


def test_one_counter_a_protected_frame_and_one_a_proof():
    drawn = []

    def counter():
        drawn.append(len(drawn) + 1)
        return drawn[-1]

    pair = Pair(client_counter=counter).associated()
    pair.run(pair.client.get(ENERGY))
    pair.run(pair.client.release())
    assert len(drawn) == 5  # AARQ, proof, the action that carries it, GET, RLRQ


def test_without_a_counter_nothing_is_sent():
    def exhausted():
        raise DcuError("no counter is left")

    pair = Pair(client_counter=exhausted)
    with pytest.raises(DcuError, match="no counter is left"):
        pair.run(pair.client.associate())
    assert pair.sent == []


def test_a_request_longer_than_the_meter_takes_is_not_sent():
    pair = Pair("none")
    small = type(pair.server._associations[CLIENT])(
        max_pdu=64, conformance=SUPPORTED & ~Conformance.BLOCK_TRANSFER_WITH_SET
    )
    pair.server._associations = {CLIENT: small}
    pair.associated()
    with pytest.raises(ServiceRefused, match="the meter takes 64"):
        pair.run(pair.client.set(LIMIT, axdr.encode(data.octets(bytes(80)))))
    assert len(pair.sent) == 1
    assert pair.run(pair.client.get(ENERGY)) == ENERGY_NOW


def test_a_wrong_authentication_key_says_what_to_check():
    pair = Pair()
    keys = pair.client.association.keys
    wrong = type(keys)(keys.system_title, keys.guek, type(keys.gak)(bytes(16)))
    settings_ = pair.client.association
    client = type(pair.client)(
        type(settings_)(CLIENT, 1, settings_.authentication, wrong, CLIENT_TITLE, settings_.policy),
        counter=count(1).__next__,
    )
    with pytest.raises(DcuError, match=r"authentication failed: .*check the GAK"):
        pair.run(client.associate())


def test_a_wrong_password_says_what_to_check():
    pair = Pair("low")
    keys = type(pair.client.association.keys)(METER_TITLE, *(2 * [pair.client.association.keys.guek]))
    pair.server._associations = {
        CLIENT: type(pair.server._associations[CLIENT])(
            pair.client.association.authentication,
            type(keys)(METER_TITLE, keys.guek, keys.gak, type(keys.guek)(b"87654321")),
        )
    }
    with pytest.raises(DcuError, match=r"authentication failed: .*the password"):
        pair.run(pair.client.associate())


def test_a_client_sap_that_the_meter_does_not_know_is_refused():
    pair = Pair("none")
    pair.server._associations = {}
    with pytest.raises(AssociationRefused, match="rejected-permanent"):
        pair.run(pair.client.associate())


@pytest.mark.parametrize("context", SECURED)
def test_lost_and_late_answers_cost_a_lossy_session_nothing(context):
    pair = Pair(context, lossy=True).associated()
    given_up = pair.client.get(SCALER)
    late = pair.answer(next(given_up))
    given_up.close()
    exchange = pair.client.get(ENERGY)
    request = next(exchange)
    assert exchange.send(late) is None
    assert exchange.send(late) is None
    with pytest.raises(StopIteration) as stop:
        exchange.send(pair.answer(request))
    assert stop.value.value == ENERGY_NOW
    assert (pair.client.refused.stale, pair.client.refused.counter) == (1, 1)
    assert pair.client.associated


def test_a_request_given_up_unanswered_ends_a_session_on_a_stream():
    pair = Pair().associated()
    given_up = pair.client.get(SCALER)
    pair.answer(next(given_up))
    given_up.close()
    assert not pair.client.associated
    with pytest.raises(LinkClosed, match="given up"):
        pair.run(pair.client.get(ENERGY))


@pytest.mark.parametrize("lossy", [False, True], ids=["stream", "lossy"])
def test_a_request_that_was_not_sent_costs_a_session_nothing(lossy):
    pair = Pair(max_pdu=100, lossy=lossy).associated()
    for _ in range(20):
        exchange = pair.client.get(PROFILE)
        exchange.send(pair.answer(next(exchange)))
        with pytest.raises(Unsent):
            exchange.throw(Unsent())
    assert pair.run(pair.client.get(ENERGY)) == ENERGY_NOW


@pytest.mark.parametrize("context", ["none", "gmac, global key"])
def test_a_meter_that_answers_with_exceptions_keeps_its_session_on_a_stream(context):
    pair = Pair(context).associated()
    for asked in range(40):
        exchange = pair.client.get(ENERGY)
        next(exchange)
        with pytest.raises(ServiceRefused):
            exchange.send(bytes.fromhex("d80101"))
        if asked % 10 == 0:
            assert pair.run(pair.client.get(ENERGY)) == ENERGY_NOW
    assert pair.client.associated
