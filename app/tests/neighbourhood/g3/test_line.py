"""The street at work: what is sent arrives byte for byte, at the pace that is published, whatever becomes of cables."""

from collections import Counter
from itertools import pairwise
from random import Random

import pytest

from neighbourhood.g3 import floor, phy
from neighbourhood.g3.feeder import Cable, Feeder, Junction, Place, generate
from neighbourhood.g3.floor import Hop
from neighbourhood.g3.line import PAN, Line
from neighbourhood.g3.phy import Modulation
from neighbourhood.g3.tables import Beacon, Status
from neighbourhood.g3.trace import Trace

from .packets import packet

KEY = bytes.fromhex("000102030405060708090a0b0c0d0e0f")
NIGHT = 2 * 3600.0


def settled(homes: int = 48, seed: int = 1, **kwargs) -> Line:
    line = Line(homes, seed, start=NIGHT, **{"quiet": True} | kwargs)
    line.settle(KEY)
    return line


def joined(homes: int = 48, seed: int = 1, **kwargs) -> Line:
    """Keys and addresses, and nothing known of routes or neighbours."""
    line = Line(homes, seed, start=NIGHT, **{"quiet": True} | kwargs)
    for node in line.nodes[: homes + 1]:
        node.keys = {0: KEY}
        node.pan, node.short = PAN, node.number
    line.nodes[0].start_pan(PAN)
    return line


def send(
    line: Line, origin: int, final: int, payload: bytes, seconds: float = 60.0, **kwargs
) -> tuple[Status, list[bytes]]:
    """Send a datagram; what became of it, and what arrived."""
    arrived: list[bytes] = []
    ended: list[int] = []
    line.nodes[final].on_ipv6 = lambda whole, lqi: arrived.append(whole)
    line.nodes[origin].send_ipv6(final, packet(origin, final, payload), ended.append, **kwargs)
    line.scheduler.run_until(line.scheduler.now + seconds)
    assert len(ended) == 1
    return Status(ended[0]), arrived


def chain(metres: float, homes: int) -> Feeder:
    """One cable, all on one phase: each joint hears the next, and no further where the cable is long."""
    junctions = [Junction(number, metres * number, 0.0) for number in range(homes + 1)]
    cables = [Cable(number, number, number + 1, metres) for number in range(homes)]
    return Feeder(1, junctions, cables, [Place(number, "A") for number in range(homes + 1)])


def way(line: Line, origin: int, final: int) -> list[int]:
    found = [origin]
    while found[-1] != final and len(found) < 20:
        following = line.nodes[found[-1]].loadng.next_hop(final)
        if following is None:
            break
        found.append(following)
    return found


@pytest.mark.parametrize("size", [0, 70, 300, 900, 1200])
def test_a_datagram_arrives_byte_for_byte_over_several_hops(size):
    line = settled()
    far = max(range(1, 49), key=lambda home: line.nodes[home].routes[0].hops)
    assert line.nodes[far].routes[0].hops >= 3
    payload = bytes(range(256)) * 5
    assert send(line, 0, far, payload[:size]) == (Status.OK, [packet(0, far, payload[:size])])
    assert send(line, far, 0, payload[:size]) == (Status.OK, [packet(far, 0, payload[:size])])


@pytest.mark.parametrize(("hour", "most"), [(2, 3), (19, 5)])
def test_every_home_of_the_seed_s_street_is_reached_in_one_to_eight_hops(hour, most):
    line = Line(48, 1, start=hour * 3600.0)
    line.settle(KEY)
    hops = Counter(node.routes[0].hops for node in line.nodes[1:])
    assert set(hops) <= set(range(1, 9))
    assert max(hops) >= most  # the evening is loud: nearer neighbours, more hops
    assert hops[1] < 24


def test_routes_are_found_where_there_were_none():
    line = joined()
    for home in (7, 24, 48):
        assert send(line, 0, home, b"?")[0] is Status.OK
        assert way(line, home, 0) == way(line, 0, home)[::-1]
        assert send(line, home, 0, b"!", discover=False) == (Status.OK, [packet(home, 0, b"!")])


def test_one_seed_is_one_street_and_one_night():
    def night(seed: int) -> list[dict]:
        events: list[dict] = []
        line = settled(20, seed, quiet=False, trace=Trace(events.append, bytes_too=True))
        for home in (5, 11, 20):
            send(line, 0, home, bytes(300))
        return events

    assert night(3) == night(3)
    assert night(3) != night(4)


def test_the_published_throughput_comes_out():
    """13-17 kbit/s of UDP payload over one hop, and about 120 ms for it, as the G3 Alliance publishes them (DQPSK)."""
    line = settled(1, 1, cables=chain(60.0, 1))
    for node in line.nodes:
        for neighbour in node.neighbours.values():
            neighbour.modulation, neighbour.tones = Modulation.DQPSK, phy.ALL_TONES
    arrived: list[float] = []
    line.nodes[1].on_ipv6 = lambda whole, lqi: arrived.append(line.scheduler.now)
    payload = bytes(201)  # with its 14 bytes of headers it fills one frame

    def again(status: int) -> None:
        line.nodes[0].send_ipv6(1, packet(0, 1, payload), again)

    again(0)
    line.scheduler.run_until(60.0)
    assert 13.0 <= len(arrived) * len(payload) * 8 / 60.0 / 1000 <= 17.0
    assert sum(after - before for before, after in pairwise(arrived)) / (len(arrived) - 1) == pytest.approx(
        0.12, abs=0.03
    )


@pytest.mark.parametrize(
    ("modulation", "payload", "kbit"),
    [
        (Modulation.ROBO, 95, 3.3),
        (Modulation.DBPSK, 201, 11.5),
        (Modulation.DQPSK, 201, 16.0),
        (Modulation.D8PSK, 201, 18.6),
    ],
)
def test_the_floor_of_a_full_frame_is_the_table_s_throughput(modulation, payload, kbit):
    took = floor.message(packet(0, 5, bytes(payload)), PAN, 0, 5, [Hop(modulation, phy.ALL_TONES)])
    assert payload * 8 / took / 1000 == pytest.approx(kbit, abs=0.06)


def test_nothing_is_faster_than_the_floor_and_a_quiet_line_is_near_it():
    line = settled()
    homes = [home for home in range(1, 49) if line.nodes[home].routes[0].hops >= 2][:12]
    begun = line.scheduler.now
    for home in homes:
        line.nodes[home].on_ipv6 = lambda whole, lqi, home=home: line.nodes[home].send_ipv6(
            0, packet(home, 0, bytes(300)), lambda status: None
        )
        arrived: list[bytes] = []
        line.nodes[0].on_ipv6 = lambda whole, lqi, arrived=arrived: arrived.append(whole)
        line.nodes[0].send_ipv6(home, packet(0, home, bytes(60)), lambda status: None)
        assert line.scheduler.run_while(lambda arrived=arrived: not arrived, line.scheduler.now + 30)
    took = line.scheduler.now - begun
    least = floor.collection(line, [(home, 60, 300) for home in homes])
    assert 0.9 < took / least < 1.3


def reachable(line: Line, without: int = -1) -> set[int]:
    """What good links (4 dB and more, both ways) lead to from the coordinator."""
    found, edge = {0}, [0]
    while edge:
        here = edge.pop()
        for other in line.channel.reach[here]:
            links = line.channel.link(here, other), line.channel.link(other, here)
            if other not in found and other != without and all(link and link.lqi >= 56 for link in links):
                found.add(other)
                edge.append(other)
    return found


def breakable(line: Line) -> tuple[int, Cable, tuple[int, int]]:
    """A home, a cable whose cut a hop of its route does not survive though the street does, and that hop."""
    for far in range(1, 49):
        for hop in pairwise(way(line, 0, far)):
            for cable in line.feeder.between(*(line.feeder.places[number].junction for number in hop)):
                line.cut(cable.id)
                link = line.channel.link(*hop)
                good = (link is None or link.lqi < 30) and len(reachable(line)) == 49
                line.mend(cable.id)
                if good:
                    return far, cable, hop
    raise AssertionError("none such in this street")


def test_a_cut_cable_breaks_routes_and_they_heal_across_it():
    line = settled()
    far, cable, leap = breakable(line)
    before = way(line, 0, far)
    events: list[dict] = []
    line.trace.listen(events.append)
    line.channel.reports.append(line.trace.frame)
    line.cut(cable.id)
    send(line, 0, far, b"first", 90)
    assert send(line, 0, far, b"again", 90)[0] is Status.OK
    after = way(line, 0, far)
    assert after != before
    assert after[-1] == far
    assert any(event["e"] == "frame" and event["lost"] == "cut" for event in events)
    assert leap not in pairwise(after)
    lossy = line.channel.reach[leap[0]].get(leap[1], 99)
    line.mend(cable.id)
    assert line.channel.reach[leap[0]][leap[1]] < lossy - 10


def test_a_relay_that_dies_is_gone_round_or_reported():
    line = settled()
    far, relay = next(
        (far, relay) for far in range(1, 49) for relay in way(line, 0, far)[1:-1] if len(reachable(line, relay)) == 48
    )
    line.off(relay)
    assert send(line, 0, far, b"?", 120) == (Status.OK, [packet(0, far, b"?")])
    assert relay not in way(line, 0, far)


def test_an_unreachable_device_is_reported_to_who_wants_it():
    line = settled()
    far = max(range(1, 49), key=lambda home: line.nodes[home].routes[0].hops)
    reports: list[tuple[int, int]] = []
    line.nodes[0].network_status = lambda unreachable, reporter: reports.append((unreachable, reporter))
    relay = way(line, 0, far)[-2]
    line.off(far)
    assert send(line, 0, far, b"?", 120)[1] == []
    assert reports == [(far, relay)]
    assert send(line, 0, far, b"?", 120)[0] is Status.ROUTE_ERROR


def test_a_device_that_reboots_comes_back_blank():
    line = settled(8)
    line.reboot(3, seconds=5.0)
    line.scheduler.run_until(line.scheduler.now + 4.9)
    assert not line.nodes[3].up
    line.scheduler.run_until(line.scheduler.now + 0.2)
    assert line.nodes[3].up
    assert (line.nodes[3].keys, line.nodes[3].routes) == ({}, {})


def test_a_reboot_ends_no_blackout_and_starts_nothing_that_was_off():
    line = settled(8)
    line.off(2)
    line.reboot(2)
    line.reboot(3)
    line.blackout()
    line.scheduler.run_until(line.scheduler.now + 60)
    assert not any(node.up for node in line.nodes[1:])


def test_a_blackout_silences_the_street_and_its_end_brings_devices_back_blank():
    line = settled()
    line.blackout()
    assert send(line, 0, 5, b"?", 60)[0] is Status.ROUTE_ERROR
    counter = line.nodes[5].frame_counter
    line.restore()
    assert (line.nodes[5].short, line.nodes[5].keys, line.nodes[5].frame_counter) == (0xFFFF, {}, counter)


def test_a_burst_of_noise_drowns_a_home_and_passes():
    line = settled(quiet=False)
    home = 1
    line.burst(line.feeder.places[home].junction, 60.0, 100.0)
    assert send(line, 0, home, b"?", 60, discover=False)[0] is not Status.OK
    line.scheduler.run_until(line.scheduler.now + 60)
    assert send(line, 0, home, b"?", 60)[0] is Status.OK


def test_a_scan_hears_the_neighbours_that_joined_and_them_only():
    line = joined(48)
    stranger = line.nodes[10]
    stranger.reset()
    line.nodes[11].reset()
    found: list[Beacon] = []
    stranger.scan(10.0, found.extend)
    line.scheduler.run_until(11.0)
    assert found
    assert 11 not in [beacon.short for beacon in found]
    assert {beacon.pan for beacon in found} == {PAN}
    assert all(line.channel.reach[beacon.short][10] < 60 for beacon in found)


def test_hidden_devices_collide_and_those_that_hear_each_other_do_not():
    """A - B - C, 0.38 km apart: A and C do not hear each other and meet at B; closer together they take turns."""
    collisions = {}
    for metres in (380.0, 60.0):
        line = settled(2, 1, cables=chain(metres, 2))
        assert (2 in line.channel.reach[0]) == (metres < 200)
        for _ in range(40):
            for origin in (0, 2):
                line.nodes[origin].send_ipv6(1, packet(origin, 1, bytes(60)), lambda status: None)
            line.scheduler.run_until(line.scheduler.now + 3)
        collisions[metres] = line.channel.collisions
    assert collisions[380.0] > 3 * collisions[60.0] + 10


def test_an_urgent_message_overtakes_what_waits():
    line = settled()
    order: list[bytes] = []
    line.nodes[1].on_ipv6 = lambda whole, lqi: order.append(whole[48:])
    for number in range(6):
        line.nodes[0].send_ipv6(1, packet(0, 1, b"%d" % number), lambda status: None)
    line.nodes[0].send_ipv6(1, packet(0, 1, b"urgent"), lambda status: None, priority=True)
    line.scheduler.run_until(30.0)
    assert order.index(b"urgent") <= 1
    assert len(order) == 7


def test_a_broadcast_reaches_everybody_once():
    line = settled()
    heard: Counter[int] = Counter()
    for node in line.nodes:
        node.on_ipv6 = lambda whole, lqi, node=node: heard.update([node.number])
    whole = bytearray(packet(0, 0, b"to all"))
    whole[24:40] = bytes.fromhex("ff020000000000000000000000000001")
    line.nodes[0].send_ipv6(0xFFFF, bytes(whole), lambda status: None)
    line.scheduler.run_until(60.0)
    assert set(heard.values()) == {1}
    assert len(heard) >= 47  # nobody acknowledges a broadcast: one may miss it


def test_a_generated_street_is_a_tree_with_a_home_at_each_end():
    for homes in (1, 2, 48, 300, 1000):
        tree = generate(homes, 7)
        assert len(tree.places) == homes + 1
        assert len(tree.cables) == len(tree.junctions) - 1
        assert all(tree.between(0, place.junction) for place in tree.places[1:])
        assert len({place.junction for place in tree.places}) == homes + 1
        assert tree.junctions == generate(homes, 7).junctions


def test_the_trace_tells_what_pictures_need():
    events: list[dict] = []
    line = settled(trace=Trace(events.append))
    line.describe("a street", [f"serial {home}" for home in range(1, 49)])
    line.trace.kind_of = lambda whole: "GET"
    send(line, 0, 24, bytes(60))
    street, *rest = [event for event in events if event["e"] in ("street", "frame")]
    assert [node["name"] for node in street["nodes"]][:2] == ["coordinator", "serial 1"]
    data = [event for event in rest if event["kind"] == "GET"]
    assert data[0]["src"] == 0
    assert data[-1]["dst"] == 24
    assert {(event["orig"], event["final"]) for event in data} == {(0, 24)}
    assert all(len(event["got"]) == len(event["att"]) for event in rest)
    assert any(event["kind"] == "ACK" for event in rest)


@pytest.mark.parametrize("seed", range(2))
def test_whatever_people_click_nothing_is_invented_and_every_request_ends(seed):
    """Cuts, mends, bursts, devices off and on, blackouts, at random over a busy street."""
    random = Random(seed)
    line = settled(20, seed + 1, quiet=False)
    asked, ended, sent, strange = 0, [], set(), []

    def arrived(whole: bytes, lqi: int) -> None:
        if whole not in sent:
            strange.append(whole)

    for node in line.nodes:
        node.on_ipv6 = arrived
    clicks = (
        lambda: line.cut(random.randrange(len(line.feeder.cables))),
        lambda: line.mend(random.randrange(len(line.feeder.cables))),
        lambda: line.burst(random.randrange(len(line.feeder.junctions)), random.uniform(5, 50), random.uniform(1, 60)),
        lambda: line.off(random.randrange(1, 21)),
        lambda: line.on(random.randrange(1, 21)),
        lambda: line.reboot(random.randrange(1, 21)),
        lambda: random.random() < 0.1 and (line.blackout(), line.restore()),
    )
    for _ in range(150):
        if random.random() < 0.4:
            random.choice(clicks)()
        for node in line.nodes[1:]:
            if node.up and node.short == 0xFFFF:  # it comes back as it was, without bootstrapping
                node.keys = {0: KEY}
                node.pan, node.short = PAN, node.number
        origin, final = random.sample(range(21), 2)
        whole = packet(origin, final, random.randbytes(random.randrange(900)))
        if line.nodes[origin].up:
            sent.add(whole)
            asked += 1
            line.nodes[origin].send_ipv6(final, whole, ended.append, priority=random.random() < 0.2)
        line.scheduler.run_until(line.scheduler.now + random.uniform(0, 4))
    line.scheduler.run_until(line.scheduler.now + 300)
    assert strange == []
    assert asked - 25 < len(ended) <= asked  # what a device held when its power went is gone with it
    assert ended.count(Status.OK) > asked / 4


def test_a_crowd_does_not_answer_a_beacon_request_all_at_once():
    line = joined(48)
    for node in line.nodes[1:]:
        node.mac.rc_coord = 4
    stranger = line.nodes[10]
    stranger.reset()
    found: list[Beacon] = []
    stranger.scan(10.0, found.extend)
    line.scheduler.run_until(11.0)
    assert 3 <= len(found) <= 9
    assert len(line.channel.reach[10]) > 12
