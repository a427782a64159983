"""What an attacker on the line gets: nothing. The canaries are the same attacks with the defence taken away."""

from random import Random

import pytest

from dcu.errors import AuthenticationFailed
from neighbourhood.g3 import adp, eap_psk, frames, lbp, lowpan, phy
from neighbourhood.g3.frames import Frame, Kind, Segment
from neighbourhood.g3.lbd import Standing
from neighbourhood.g3.lbs import RETIRE
from neighbourhood.g3.line import PAN
from neighbourhood.g3.mac import Mac
from neighbourhood.g3.phy import Modulation
from neighbourhood.g3.tables import NOT_JOINED
from neighbourhood.g3.trace import Tag

from .host import GMK, NEW_GMK, PSK, Street, datagram

HOMES = 4


def attacked():
    """A street that has joined, with a foreign device at the mains of the first home."""
    street = Street(HOMES, intruders=(1,))
    assert len(street.devices) == HOMES + 1
    return street.join(spread=2.0), street.devices[HOMES]


def sent(street, device, raw, target):
    """The intruder puts a frame on the line."""
    tag = Tag(device.node.number, None, "DATA")
    channel = street.line.channel
    channel.transmit(device.node.number, raw, Modulation.ROBO, phy.ALL_TONES, PAN, target, False, tag)
    street.host.run(1)


def recorded(street, sender=0):
    """Every secured data frame of a device from now on."""
    kept = []

    def report(transmission, got, attenuation, lost):
        if transmission.raw and transmission.sender == sender and lost is None:
            frame = transmission.decoded().frame
            if frame.key is not None and frame.kind == Kind.DATA:
                kept.append((transmission.raw, frame.destination))

    street.line.channel.reports.append(report)
    return kept


def test_a_rogue_never_joins_and_learns_no_key():
    street, rogue = attacked()
    street.host.run(3600)
    assert rogue.node.short == NOT_JOINED
    assert rogue.node.keys == {}
    assert street.modem.server.refused >= 3
    assert (rogue.node.eui64, 5) not in {(report.eui64, report.short) for report in street.host.of(adp.JoinComplete)}


def test_canary_with_the_key_it_joins():
    street, rogue = attacked()
    rogue.psk = PSK
    street.host.run(3600)
    assert rogue.standing is Standing.JOINED
    assert rogue.node.keys == {0: GMK}


def test_canary_a_server_that_checks_no_proof_lets_the_rogue_further(monkeypatch):
    street, rogue = attacked()
    ladder = []
    rogue._announce = lambda standing, short: ladder.append(standing)
    street.host.run(600)
    assert Standing.CHALLENGE2 not in ladder
    monkeypatch.setattr(eap_psk.hmac, "compare_digest", lambda one, other: True)
    street.host.run(1200)
    assert Standing.CHALLENGE2 in ladder


def rekeyed():
    street, intruder = attacked()
    host = street.host
    host.ask(adp.LbpSet(4, 0, NEW_GMK))
    host.ask(adp.RekeyPhase(1))
    for distribute in (1, 0):
        for device in street.devices[:HOMES]:
            host.ask(adp.Rekey(device.node.short, device.node.eui64, distribute), 30)
    host.ask(adp.ActivateKey())
    host.ask(adp.RekeyPhase(0))
    assert {device.node.active_key for device in street.devices[:HOMES]} == {1}
    return street, intruder


def under_the_old_key(street, intruder, counter):
    """A datagram to the first meter as if from the coordinator: whoever still has the old key could send it."""
    packet = datagram(0, 1, b"forged")
    (piece,) = lowpan.pieces(packet, PAN, 0, 1, 0)
    mesh = lowpan.encode_mesh(lowpan.Mesh(8, 0, 1, None, piece))
    raw = frames.encode(Frame(Kind.DATA, counter & 0xFF, PAN, 1, 0, Segment(), mesh, key=0, counter=counter), GMK)
    sent(street, intruder, raw, 1)
    return packet


def test_after_the_key_was_changed_the_old_one_is_refused():
    street, intruder = rekeyed()
    node = street.devices[0].node
    heard = []
    node.on_ipv6 = lambda packet, lqi: heard.append(packet)
    packet = under_the_old_key(street, intruder, 1 << 20)
    assert heard == [packet]  # the canary: until it is retired the old key opens
    street.host.run(RETIRE + 60)
    before = node.counters.unknown_key
    under_the_old_key(street, intruder, 1 << 21)
    assert heard == [packet]
    assert node.counters.unknown_key == before + 1
    assert adp.DataConfirm(0, 7) in street.host.ask(adp.Data(7, 1, 0, datagram(0, 1, b"genuine")), 60)
    assert heard[1:] == [datagram(0, 1, b"genuine")]


def replayed(street, intruder):
    """How often a meter gets one datagram that was sent once, recorded, and put on the line again."""
    kept = recorded(street)
    got = []
    street.devices[0].node.on_ipv6 = lambda packet, lqi: got.append(packet)
    street.host.ask(adp.Data(1, 1, 0, datagram(0, 1, b"close the breaker")), 60)
    street.host.ask(adp.Data(2, 1, 0, datagram(0, 1, b"something else")), 60)
    assert len(got) == 2
    for raw, destination in list(kept):
        sent(street, intruder, raw, destination)
    return got.count(datagram(0, 1, b"close the breaker"))


def test_a_replayed_frame_is_dropped():
    street, intruder = attacked()
    assert replayed(street, intruder) == 1
    assert sum(node.counters.replayed for node in street.line.nodes)


def test_canary_a_mac_that_does_not_look_at_counters_takes_it_again(monkeypatch):
    monkeypatch.setattr(Mac, "fresh", staticmethod(lambda counter, last: True))
    street, intruder = attacked()
    assert replayed(street, intruder) == 2


@pytest.mark.parametrize("code", [lbp.Code.KICK_TO_DEVICE, lbp.Code.ACCEPTED])
def test_who_says_in_the_clear_that_it_is_the_coordinator_moves_no_joined_device(code):
    street, intruder = attacked()
    victim = street.devices[0]
    data = lbp.encode_parameters(lbp.Gmk(1, bytes(16)), lbp.Activation(1)) if code is lbp.Code.ACCEPTED else b""
    said = lbp.DISPATCH + lbp.Message(code, victim.node.eui64, data).encode()
    for target in (victim.node.eui64, 1):
        raw = frames.encode(Frame(Kind.DATA, 9, PAN, target, 0, Segment(), said))
        sent(street, intruder, raw, target)
    street.host.run(30)
    assert (victim.standing, victim.node.short, victim.node.active_key) == (Standing.JOINED, 1, 0)
    assert victim.node.keys == {0: GMK}
    victim.heard(0, said[2:])  # the canary: had the MAC passed it on, it would have moved
    street.host.run(5)
    moved = victim.node.short == NOT_JOINED or victim.node.active_key == 1
    assert moved


def test_a_frame_altered_on_the_way_is_not_delivered():
    street, intruder = attacked()
    kept = recorded(street)
    got = []
    street.devices[0].node.on_ipv6 = lambda packet, lqi: got.append(packet)
    street.host.ask(adp.Data(1, 1, 0, datagram(0, 1, b"genuine")), 60)
    raw, destination = kept[-1]
    body = bytearray(raw[:-2])
    at = body.index((street.line.nodes[0].frame_counter - 1).to_bytes(4, "little"))
    body[at : at + 4] = (1 << 24).to_bytes(4, "little")  # a counter that would be fresh
    before = street.devices[0].node.counters.bad_mic
    sent(street, intruder, bytes(body) + frames.fcs(bytes(body)), destination)
    assert len(got) == 1
    assert street.devices[0].node.counters.bad_mic == before + 1


def test_a_false_coordinator_learns_nothing_and_gives_no_key():
    """It has no key of ours, and offers its own network: the device finds out with the third message."""
    false = eap_psk.Server(bytes(16), b"false-01", Random(1).randbytes)
    device = eap_psk.Peer(PSK, b"meter-01", Random(2).randbytes)
    answer = device.receive(false.start())
    assert answer is not None
    with pytest.raises(AuthenticationFailed):
        false.receive(answer)
    forged = eap_psk.Packet(eap_psk.Code.REQUEST, 1, 2, false.rand_s + bytes(16) + bytes(30))
    with pytest.raises(AuthenticationFailed):
        device.receive(forged.encode())
