"""LOADng's promises on random graphs: no loops, the least cost, healing, bounded floods; each with a canary."""

from dataclasses import replace
from heapq import heappop, heappush
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from neighbourhood.g3 import loadng, messages
from neighbourhood.g3.loadng import MOST_COPIES, RREQ_RETRIES, Loadng, newer
from neighbourhood.g3.messages import Preq, Rerr, Rlc, Rreq
from neighbourhood.g3.tables import BROADCAST, Path, Status

from .loadng_web import Edges, Web

some = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def graphs(draw, most: int = 8) -> Edges:
    """Connected: a random tree, and more edges; LQI from hardly heard to loud. The tree is at most eight hops deep."""
    count = draw(st.integers(3, most))
    lqi = st.integers(46, 90)
    edges = {(draw(st.integers(0, node - 1)), node): draw(lqi) for node in range(1, count)}
    pairs = [(one, other) for one in range(count) for other in range(one + 1, count)]
    for pair in draw(st.lists(st.sampled_from(pairs), max_size=count + 2)):
        edges.setdefault(pair, draw(lqi))
    return edges


def cheapest(web: Web, origin: int, destination: int) -> tuple[int, int]:
    """(weak links, cost) of the best way, by Dijkstra: nothing of the code under test."""
    heap, done = [((0, 0), origin)], set()
    while heap:
        price, node = heappop(heap)
        if node == destination:
            return price
        if node in done:
            continue
        done.add(node)
        for other in web.nodes:
            if other not in done and web.hears(node, other):
                weak, more = web.price([node, other])
                heappush(heap, ((price[0] + weak, price[1] + more), other))
    raise AssertionError("not connected")


def quiet(web: Web) -> Web:
    """Without suppression: whatever is cheaper is passed on."""
    for node in web.nodes.values():
        node.suppress = False
    return web


@some
@given(graphs(), st.integers(0, 99))
def test_the_route_found_is_the_cheapest(edges, seed):
    web = quiet(Web(edges, seed))
    last = len(web.nodes) - 1
    assert web.discover(0, last) is Status.OK
    there, back = web.walk(0, last), web.walk(last, 0)
    assert (there[-1], back[-1]) == (last, 0)
    assert web.price(there) == cheapest(web, 0, last)
    assert (web.nodes[0].routes[last].weak, web.nodes[0].routes[last].cost) == web.price(there)


def test_canary_first_come_first_served_is_not_the_cheapest(monkeypatch):
    """With every copy's rank the same, the first one to come would win: the test above sees it."""
    edges = {(0, 1): 90, (1, 2): 90, (0, 2): 53}
    monkeypatch.setattr(loadng, "DELAY", 0.0)
    web = quiet(Web(edges))
    assert web.discover(0, 2) is Status.OK
    assert web.walk(0, 2) == [0, 1, 2]
    monkeypatch.setattr(loadng, "rank", lambda message: (0, 0, 0))
    web = quiet(Web(edges))
    assert web.discover(0, 2) is Status.OK
    assert web.price(web.walk(0, 2)) != cheapest(web, 0, 2)


journeys = st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), min_size=1, max_size=6)


def live(web: Web, wishes, cuts) -> None:
    """Discoveries that overlap, while links break and are noticed; looked at after every half second."""
    nodes = len(web.nodes)
    edges = sorted(web.edges)
    for number, (origin, destination) in enumerate(wishes):
        if origin % nodes != destination % nodes:
            web.nodes[origin % nodes].discover(destination % nodes, lambda status: None)
        if number < len(cuts):
            edge = edges[cuts[number] % len(edges)]
            web.cut.add(edge)
            for here, there in (edge, edge[::-1]):
                for other in web.nodes:
                    web.nodes[here].broken(other, there)
        for _ in range(11):
            web.scheduler.run_until(web.scheduler.now + 0.5)
            assert web.loops() == []
    web.scheduler.run_until(web.scheduler.now + 60)
    assert web.loops() == []


@some
@given(graphs(), journeys, st.lists(st.integers(0, 99), max_size=3), st.integers(0, 99))
def test_no_route_ever_loops(edges, wishes, cuts, seed):
    live(Web(edges, seed), wishes, cuts)


def test_canary_without_sequence_numbers_routes_loop(monkeypatch):
    """Whoever takes what is older for news soon sends in circles: the property above sees it on some graph."""
    monkeypatch.setattr(loadng, "newer", lambda sequence, than: sequence != than)
    monkeypatch.setattr(loadng, "rank", lambda message: (0, -message.cost, 0))
    ladder = {(0, 1): 60, (0, 2): 70, (1, 3): 80, (2, 3): 50, (3, 4): 60, (2, 4): 90, (1, 2): 60}

    def any_of_many() -> None:
        for seed in range(60):
            live(quiet(Web(ladder, seed)), [(0, 4), (4, 0), (1, 4), (3, 0)], [2, 4])

    with pytest.raises(AssertionError):
        any_of_many()


@some
@given(graphs(), st.integers(0, 99), st.integers(0, 99))
def test_a_cut_that_leaves_the_graph_connected_heals(edges, at, seed):
    web = Web(edges, seed)
    last = len(web.nodes) - 1
    assert web.discover(0, last) is Status.OK
    way = list(pairwise(web.walk(0, last)))
    here, there = way[at % len(way)]
    web.cut.add((min(here, there), max(here, there)))
    assume(connected(web))
    heal(web, here, there, last)


def heal(web: Web, here: int, there: int, last: int) -> None:
    notice(web, here, there, last)
    if web.nodes[0].next_hop(last) is None:
        assert web.discover(0, last) is Status.OK
    healed = web.walk(0, last)
    assert healed[-1] == last
    assert all(web.hears(*hop) for hop in pairwise(healed))


def notice(web: Web, here: int, there: int, destination: int) -> None:
    """What a relay does when its neighbour does not answer: it breaks the route and tells the origin."""
    web.nodes[here].broken(destination, there)
    if here != 0:
        web.nodes[here].report(destination, 0)
    web.scheduler.run_until(web.scheduler.now + 5)


def test_canary_without_a_route_error_nothing_heals(monkeypatch):
    square = {(0, 1): 80, (1, 2): 80, (2, 3): 80, (0, 4): 60, (4, 3): 60}
    monkeypatch.setattr(Loadng, "report", lambda *_: None)
    web = Web(square)
    web.discover(0, 3)
    web.cut.add((1, 2))
    with pytest.raises(AssertionError):
        heal(web, 1, 2, 3)


def connected(web: Web) -> bool:
    found, edge = {0}, [0]
    while edge:
        here = edge.pop()
        for other in web.nodes:
            if other not in found and web.hears(here, other):
                found.add(other)
                edge.append(other)
    return len(found) == len(web.nodes)


def floods(web: Web) -> dict[tuple[int, int, int], int]:
    """How often each device sent each flood."""
    found: dict[tuple[int, int, int], int] = {}
    for sender, destination, message in web.sent:
        if destination == BROADCAST and isinstance(message, Rreq):
            key = sender, message.originator, message.sequence
            found[key] = found.get(key, 0) + 1
    return found


def bounded(web: Web) -> None:
    web.discover(0, len(web.nodes) + 5)  # nobody: the flood goes everywhere
    sent = floods(web)
    assert max(sent.values()) <= MOST_COPIES
    assert len({key[1:] for key in sent}) == 1 + RREQ_RETRIES
    assert sum(sent.values()) <= MOST_COPIES * len(web.nodes) * (1 + RREQ_RETRIES)


@some
@given(graphs(), st.integers(0, 99))
def test_a_flood_is_bounded(edges, seed):
    bounded(Web(edges, seed))


def test_canary_what_forgets_its_floods_is_unbounded(monkeypatch):
    def passes_on_all(self, came, sender):
        if came.hop_limit:
            here = replace(came, hop_limit=came.hop_limit - 1, hops=came.hops + 1)
            self.scheduler.after(0.1, self.send, BROADCAST, here, None)

    monkeypatch.setattr(Loadng, "_rreq", passes_on_all)
    with pytest.raises(AssertionError):
        bounded(Web({(0, 1): 80, (1, 2): 80, (0, 2): 80, (2, 3): 80}))


def test_a_dense_flood_is_thinned_and_still_arrives():
    everybody = {(one, other): 70 for one in range(20) for other in range(one + 1, 20)}
    everybody |= {(19, 20): 70, (20, 21): 70}
    web = Web(everybody)
    assert web.discover(0, 20) is Status.OK
    thinned = sum(floods(web).values())
    loud = quiet(Web(everybody))
    assert loud.discover(0, 20) is Status.OK
    assert thinned < sum(floods(loud).values()) / 2


def test_what_thinning_left_out_is_found_by_the_repair():
    everybody = {(one, other): 70 for one in range(20) for other in range(one + 1, 20)}
    everybody |= {(19, 20): 70, (20, 21): 70}
    at_once = 0
    for seed in range(12):
        web = Web(everybody, seed)
        tries = next(tries for tries in range(6) if web.discover(0, 21) is Status.OK)
        assert web.walk(0, 21)[-1] == 21
        at_once += tries == 0
    assert at_once >= 7


def test_a_neighbour_that_does_not_hear_us_is_blacklisted_and_avoided():
    web = Web({(0, 1): 90, (1, 2): 90, (0, 3): 60, (3, 2): 60})
    web.deaf = {(2, 1), (1, 0)}  # the cheap way exists outward only
    assert web.discover(0, 2) is Status.OK
    assert web.walk(0, 2) == [0, 3, 2]
    assert 1 in web.nodes[2].blacklist


def test_few_weak_links_win_over_a_low_cost():
    web = quiet(Web({(0, 1): 51, (1, 2): 90, (0, 3): 60, (3, 4): 60, (4, 2): 60}))
    assert web.discover(0, 2) is Status.OK
    assert web.walk(0, 2) == [0, 3, 4, 2]


def test_a_path_discovery_names_each_hop_both_ways():
    web = Web({(0, 1): 80, (1, 2): 60, (2, 3): 70})
    web.discover(0, 3)
    found: list[Path] = []
    web.nodes[0].paths.find(3, messages.COMPOSITE, found.append)
    web.scheduler.run_until(web.scheduler.now + 5)
    (path,) = found
    assert (path.status, path.destination, path.originator) == (Status.OK, 3, 0)
    assert [hop.short for hop in path.forward] == [1, 2, 3]
    assert [hop.short for hop in path.reverse] == [2, 1, 0]
    assert sum(hop.cost for hop in path.forward) == web.price([0, 1, 2, 3])[1]


def test_a_path_that_ends_early_says_how_far_it_leads():
    web = Web({(0, 1): 80, (1, 2): 60, (2, 3): 70})
    web.discover(0, 3)
    web.nodes[2].broken(3, 3)
    found: list[Path] = []
    web.nodes[0].paths.find(3, messages.COMPOSITE, found.append)
    web.scheduler.run_until(web.scheduler.now + 5)
    assert found[0].status is Status.ROUTE_ERROR
    assert [hop.short for hop in found[0].forward] == [1, 2]


def test_the_cost_of_the_way_back_is_asked_for():
    web = Web({(0, 1): 80, (1, 2): 80})
    for table in web.neighbours.values():
        for neighbour in table.values():
            neighbour.reverse_lqi = None
    web.neighbours[0][1].lqi = 46  # 0 hardly hears 1
    for node in web.nodes.values():
        node.ask_reverse = True
    web.discover(0, 2)
    assert any(isinstance(message, Rlc) for _, _, message in web.sent)
    assert web.neighbours[1][0].reverse_cost == 9


def test_sequence_numbers_wrap():
    assert newer(0, 0xFFFF)
    assert not newer(0xFFFF, 0)
    assert not newer(5, 5)


@pytest.mark.parametrize(
    ("message", "wire"),
    [
        pytest.param(Rreq(0x0005, 0x0000, 0x1234), "00" "0005" "0000" "1234" "3c" "0000" "80" "00", id="RREQ"),
        pytest.param(
            Rreq(0, 5, 2, cost=21, hop_limit=6, hops=2, weak=1, reply=True, repair=True),
            "01" "0000" "0005" "0002" "bc" "0015" "62" "10", id="RREP",
        ),
        pytest.param(Rerr(0, 3, 5, 0, 8), "02" "0000" "0003" "00" "0005" "80", id="RERR"),
        pytest.param(Preq(5, 0, ((3, 0, 14),)), "fc" "0005" "0000" "f0000000" "0003000e", id="PREQ"),
        pytest.param(
            messages.Prep(0, 5, 3, ((3, 0, 14), (0, 1, 9))), "fd" "0000" "0005" "f000" "0003" "0003000e" "00000109",
            id="PREP",
        ),
        pytest.param(Rlc(1, 0), "fe" "0001" "0000" "f0", id="RLCREQ"),
        pytest.param(Rlc(0, 1, 9), "ff" "0000" "0001" "f0" "09", id="RLCREP"),
    ],
)  # fmt: skip
def test_a_message_is_byte_exact(message, wire):
    assert messages.encode(message).hex() == wire
    assert messages.decode(bytes.fromhex(wire)) == message
