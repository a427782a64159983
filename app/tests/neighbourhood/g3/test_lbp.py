from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcu.errors import DecodeError
from neighbourhood.g3 import lbp
from neighbourhood.g3.events import Scheduler
from neighbourhood.g3.lbd import Device, Standing
from neighbourhood.g3.lbs import RETIRE, Server
from neighbourhood.g3.tables import NOT_JOINED

from .plain_air import Air

PSK = bytes.fromhex("0123456789abcdef0123456789abcdef")
GMK, NEW_GMK = bytes(range(16)), bytes(range(16, 32))
PAN = 0x781D


def eui(number):
    return bytes.fromhex("0004a3fffe") + number.to_bytes(3, "big")


class Street:
    """A coordinator, and devices in a row: each hears the one before it and the one behind."""

    def __init__(self, devices, *, psk=PSK, seed=1):
        self.scheduler = Scheduler()
        self.air = Air(self.scheduler)
        random = Random(seed)
        self.node = self.air.node(eui(0))
        self.server = Server(self.node, self.scheduler, random)
        self.server.psk = PSK
        self.server.set_gmk(0, GMK)
        self.server.join_request = self.asked
        self.server.join_complete = lambda *what: self.complete.append(what)
        self.server.left = lambda short: self.gone.append(short)
        self.node.start_pan(PAN)
        self.allowed = {eui(number): number for number in range(1, devices + 1)}
        self.complete, self.gone, self.requests = [], [], []
        self.devices, self.ladder = [], []
        last = self.node
        for number in range(1, devices + 1):
            last = self.air.node(eui(number), last)
            announce = lambda standing, short, number=number: self.ladder.append((number, standing))  # noqa: E731
            self.devices.append(Device(last, self.scheduler, random, psk, announce=announce))

    def asked(self, eui64):
        self.requests.append(eui64)
        self.server.assign(eui64, self.allowed.get(eui64, 0xFFFF))

    def start(self):
        for device in self.devices:
            device.start()
        return self

    def run(self, seconds):
        self.scheduler.run_until(self.scheduler.now + seconds)
        return self

    def lengths(self):
        return [len(lbp.DISPATCH) + len(payload) for _, _, payload in self.air.heard]


def test_the_messages_of_a_join_have_the_lengths_of_the_standard():
    street = Street(1).start().run(20)
    assert street.lengths() == [12, 42, 74, 98, 55, 16]
    assert [payload[0] for _, _, payload in street.air.heard] == [0x10, 0xA0, 0x10, 0xA0, 0x10, 0x90]
    assert [payload[10] for _, _, payload in street.air.heard[1:]] == [0x04, 0x08, 0x04, 0x08, 0x0C]
    assert all(payload[1:10] == b"\0" + eui(1) for _, _, payload in street.air.heard)


def test_a_device_climbs_the_ladder_and_has_what_the_coordinator_gave_it():
    street = Street(1).start().run(20)
    (device,) = street.devices
    assert [standing for _, standing in street.ladder] == [
        Standing.SCAN,
        Standing.JOINING,
        Standing.CHALLENGE1,
        Standing.CHALLENGE2,
        Standing.ACCEPTED,
        Standing.JOINED,
    ]
    assert (device.node.pan, device.node.short, device.node.keys, device.node.active_key) == (PAN, 1, {0: GMK}, 0)
    assert street.complete == [(eui(1), 1)]
    assert not street.server.slots


def test_devices_out_of_reach_join_through_agents():
    street = Street(4).start().run(400)
    assert [device.node.short for device in street.devices] == [1, 2, 3, 4]
    assert sorted(street.complete) == [(eui(number), number) for number in range(1, 5)]
    assert street.devices[2].relayed >= 6
    assert street.devices[3].relayed == 0
    assert (2, 0) in {(source, destination) for source, destination, _ in street.air.heard}
    assert not any(
        source == 3 and isinstance(destination, int) and destination for source, destination, _ in street.air.heard
    )


def test_a_device_with_another_key_never_joins():
    street = Street(1, psk=bytes(16)).start().run(3000)
    (rogue,) = street.devices
    assert rogue.node.short == NOT_JOINED
    assert not rogue.node.keys
    assert street.server.refused > 3
    assert not street.complete
    assert not any(GMK in payload for _, _, payload in street.air.heard)
    rogue.psk = PSK  # the canary: what keeps it out is the key, and nothing else
    assert street.run(1500).complete == [(eui(1), 1)]


def test_a_device_that_is_not_known_is_declined_and_asks_again_later():
    street = Street(1)
    street.allowed.clear()
    street.start().run(60)
    assert Standing.DECLINED in {standing for _, standing in street.ladder}
    assert street.lengths()[:2] == [12, 16]
    street.allowed[eui(1)] = 5
    assert street.run(1000).devices[0].node.short == 5


@pytest.mark.parametrize("lost", range(6))
def test_a_join_survives_the_loss_of_any_message(lost):
    street = Street(1)
    count = iter(range(1000))
    street.air.lose = lambda payload: next(count) == lost
    street.start().run(100)
    assert street.devices[0].node.short == 1


def test_a_street_joins_though_every_tenth_message_is_lost():
    street = Street(6, seed=5)
    weather = Random(7)
    street.air.lose = lambda payload: weather.random() < 0.1
    street.start().run(20000)
    assert [device.node.short for device in street.devices] == [1, 2, 3, 4, 5, 6]


def rekeyed(street):
    street.server.new_gmk = NEW_GMK
    street.server.rekeying = True
    for distribute in (True, False):
        for device in street.devices:
            street.server.rekey(device.node.short, device.node.eui64, distribute)
            street.run(5)
    street.server.activate()
    street.server.rekeying = False
    return street


def test_a_new_group_key_is_handed_out_and_then_used_and_the_old_one_is_forgotten():
    street = Street(3).start().run(400)
    assert len(street.complete) == 3
    del street.air.heard[:]
    rekeyed(street)
    assert [len(lbp.DISPATCH) + len(payload) for _, _, payload in street.air.heard[:5]] == [42, 74, 91, 55, 16]
    for device in street.devices:
        assert (device.node.keys, device.node.active_key) == ({0: GMK, 1: NEW_GMK}, 1)
    assert (street.node.keys, street.node.active_key) == ({0: GMK, 1: NEW_GMK}, 1)
    street.run(RETIRE + 10)
    assert [node.keys for node in street.air.nodes] == [{1: NEW_GMK}] * 4


def test_a_device_that_joins_while_the_key_is_changed_gets_both():
    street = Street(1)
    street.server.new_gmk, street.server.rekeying = NEW_GMK, True
    street.start().run(20)
    assert street.devices[0].node.keys == {0: GMK, 1: NEW_GMK}
    assert street.devices[0].node.active_key == 0


def test_after_the_change_joining_devices_get_the_new_key():
    street = rekeyed(Street(1).start().run(20))
    late = street.air.node(eui(9), street.node)
    street.allowed[eui(9)] = 9
    device = Device(late, street.scheduler, Random(9), PSK)
    device.start()
    street.run(30)
    assert (late.short, late.keys, late.active_key) == (9, {1: NEW_GMK}, 1)


def test_a_key_is_removed_when_the_coordinator_says_so_but_never_the_active_one():
    street = rekeyed(Street(1).start().run(20))
    node = street.devices[0].node
    street.server.remove(1, node.eui64, 1)
    assert street.run(2).devices[0].node.keys == {0: GMK, 1: NEW_GMK}
    street.server.remove(1, node.eui64, 0)
    assert street.run(2).devices[0].node.keys == {1: NEW_GMK}


def test_a_device_that_is_sent_away_leaves_and_comes_back():
    street = Street(1).start().run(20)
    street.server.kick(1, eui(1))
    street.run(3)
    assert (1, Standing.KICKED) in street.ladder
    assert street.devices[0].node.short == NOT_JOINED
    assert street.run(60).devices[0].node.short == 1
    assert len(street.complete) == 2


def test_a_device_that_leaves_says_so():
    street = Street(1).start().run(20)
    street.devices[0].leave()
    street.run(5)
    assert street.gone == [1]
    assert (street.devices[0].standing, street.devices[0].node.short) == (Standing.LEFT, NOT_JOINED)


def test_nobody_but_the_coordinator_configures_a_joined_device():
    street = Street(2).start().run(100)
    device = street.devices[1]
    evil = lbp.encode_parameters(lbp.Gmk(1, bytes(16)), lbp.Activation(1))
    for source in (1, 0x1234, eui(7)):
        device.heard(source, lbp.Message(lbp.Code.ACCEPTED, eui(2), evil).encode())
        device.heard(source, lbp.Message(lbp.Code.KICK_TO_DEVICE, eui(2)).encode())
    street.run(10)
    assert (device.standing, device.node.keys) == (Standing.JOINED, {0: GMK})
    assert device.ignored >= 6


def test_an_agent_forwards_only_what_either_side_may_say():
    street = Street(2).start().run(100)
    agent = street.devices[0]
    before = len(street.air.heard)
    agent.heard(eui(8), lbp.Message(lbp.Code.JOINING, eui(9)).encode())  # somebody speaks in another's name
    agent.heard(5, lbp.Message(lbp.Code.CHALLENGE, eui(9)).encode())  # a challenge that is not the coordinator's
    agent.heard(eui(8), lbp.Message(lbp.Code.KICK_FROM_DEVICE, eui(8)).encode())
    assert len(street.air.heard) == before
    agent.heard(eui(8), lbp.Message(lbp.Code.JOINING, eui(8)).encode())
    assert street.air.heard[before][:2] == (1, 0)


def test_only_so_many_join_at_a_time_and_the_rest_come_later():
    street = Street(0)
    street.server.limit = 2
    random = Random(3)
    for number in range(1, 9):
        street.allowed[eui(number)] = number
        street.devices.append(Device(street.air.node(eui(number), street.node), street.scheduler, random, PSK))
    most = []
    street.server.join_request = lambda eui64: (street.asked(eui64), most.append(len(street.server.slots)))
    street.start().run(2000)
    assert max(most) == 2
    assert {device.node.short for device in street.devices} == set(range(1, 9))


def test_a_device_that_gave_up_does_not_keep_others_out():
    street = Street(0)
    street.server.limit = 1
    street.allowed |= {eui(1): 1, eui(7): 7}
    mute = street.air.node(eui(7), street.node)
    mute.pan = PAN
    street.server.heard(eui(7), lbp.Message(lbp.Code.JOINING, eui(7)).encode())  # and it never says anything else
    device = Device(street.air.node(eui(1), street.node), street.scheduler, Random(3), PSK)
    device.start()
    street.run(20)
    assert device.node.short == NOT_JOINED
    street.run(60)
    assert device.node.short == 1


parameters = st.one_of(
    st.builds(lbp.ShortAddress, st.integers(0, 65535)),
    st.builds(lbp.Gmk, st.integers(0, 255), st.binary(min_size=16, max_size=16)),
    st.builds(lbp.Activation, st.integers(0, 255)),
    st.builds(lbp.Removal, st.integers(0, 255)),
    st.builds(lbp.Answer, st.integers(0, 255), st.integers(0, 255)),
)


@given(st.lists(parameters, max_size=5))
def test_parameters_survive_the_wire(sent):
    assert lbp.decode_parameters(lbp.encode_parameters(*sent)) == tuple(sent)


@pytest.mark.parametrize(
    ("parameter", "wire"),
    [
        (lbp.ShortAddress(0x0102), "1d020102"),
        (lbp.Gmk(1, GMK), "271101" + GMK.hex()),
        (lbp.Activation(1), "2b0101"),
        (lbp.Removal(0), "2f0100"),
        (lbp.Answer(9, 2), "31020902"),
    ],
)
def test_parameter_is_byte_exact(parameter, wire):
    assert lbp.encode_parameters(parameter).hex() == wire


@given(st.binary(max_size=120))
def test_noise_gives_decode_errors_only(noise):
    for decode in (lbp.decode, lbp.decode_parameters):
        try:
            decode(noise)
        except DecodeError:
            continue


def test_noise_moves_no_device_and_no_server():
    street = Street(1).start().run(20)
    random = Random(11)
    for _ in range(3000):
        noise = bytearray(random.choice(street.air.heard)[2])
        for _ in range(random.randrange(1, 4)):
            noise[random.randrange(len(noise))] = random.randrange(256)
        source = random.choice((0, 1, 7, eui(1), eui(7)))
        street.server.heard(source, bytes(noise))
        if source != 0:  # what comes from there is secured
            street.devices[0].heard(source, bytes(noise[: random.randrange(len(noise) + 1)]))
    assert (street.devices[0].standing, street.devices[0].node.keys) == (Standing.JOINED, {0: GMK})
