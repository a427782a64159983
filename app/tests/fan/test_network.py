"""The coordinator over a scripted modem, under virtual time."""

import asyncio

import pytest

from dcu.errors import LinkClosed, LinkError, LinkTimeout
from dcu.fan.base import Change, Standing, Unreachable
from dcu.fan.g3 import ipv6, pib, reports, requests
from dcu.fan.g3.pib import Mac
from tests.fan.scripted import OURS, PAN, PSK, MemoryVault, ScriptedModem, eui, rig

pytestmark = pytest.mark.looptime


async def test_a_modem_is_brought_up_in_order_and_the_pan_started():
    async with rig() as street:
        modem = street.modem
        assert [type(each).__name__ for each in modem.log] == [
            "MacGet", "Reset", "Initialise", "MacSet", "MacGet", "LbpSet", "LbpSet", "Set", "Set", "MacSet",
            "Set", "MacSet",
            "StartNetwork", "MacGet",
        ]  # fmt: skip
        assert modem.psk == PSK.reveal()
        assert modem.pib["pan"] == PAN.to_bytes(2, "big")
        topology = street.network.topology()
        assert (topology.up, topology.root, topology.pan, len(topology.nodes)) == (True, OURS, PAN, 3)


async def test_the_group_key_and_its_counters_are_kept_before_the_modem_is_given_them():
    vault = MemoryVault()
    modem = ScriptedModem()
    seen = []
    take = modem.take

    async def watched(request):
        if isinstance(request, requests.LbpSet | requests.MacSet):
            seen.append((type(request).__name__, request.attribute, list(vault.writes)))
        await take(request)

    modem.take = watched
    async with rig(vault=vault, modem=modem):
        counter = next(writes for name, attribute, writes in seen if attribute == Mac.FRAME_COUNTER)
        assert counter == ["keys", "begin", "counters"]
        assert vault.kept.group[0].reveal() == modem.keys[0]


async def test_a_registered_meter_joins_with_an_address_that_was_noted_before():
    async with rig() as street:
        noted = []
        assign = street.modem.on_assignshort

        async def watched(request):
            noted.append(street.network.plan.restored(street.vault.notes, PAN).short(request.eui64) == request.short)
            await assign(request)

        street.modem.on_assignshort = watched
        await street.joined(1, 2)
        assert noted == [True, True]
        first, second = street.modem.assigned[eui(1)], street.modem.assigned[eui(2)]
        assert first != second
        nodes = {node.eui64: node for node in street.network.topology().nodes}
        assert nodes[eui(1)].standing is Standing.JOINED
        assert nodes[eui(1)].address == first
        assert nodes[eui(3)].standing is Standing.EXPECTED
        assert street.changes().count(Change.JOINED) == 2


async def test_a_join_whose_end_got_lost_on_the_line_is_found_out():
    async with rig() as street:
        street.modem.bend = lambda report: [] if isinstance(report, reports.JoinComplete) else None
        for number in (1, 2):
            street.modem.join(eui(number))
        await street.until(lambda: len(street.modem.assigned) == 2)
        nodes = {node.eui64: node for node in street.network.topology().nodes}
        assert nodes[eui(1)].standing is Standing.JOINING
        street.modem.answering = {street.modem.assigned[eui(2)]}
        await street.until(lambda: eui(2) in street.network.plan.joined, 1500)
        assert street.changes().count(Change.JOINED) == 1
        assert eui(1) not in street.network.plan.joined  # nobody answers for it: it is no member
        await street.network.datagram(eui(2))
        street.modem.bend = lambda report: None
        await street.joined(1)
        asked = len(street.modem.log)
        await asyncio.sleep(1500)
        assert not any(isinstance(each, requests.DiscoverRoute) for each in street.modem.log[asked:])


async def test_a_stranger_is_declined_and_told_of_once():
    async with rig() as street:
        for _ in range(3):
            street.modem.join(eui(99))
            await asyncio.sleep(1)
        declined = [each for each in street.modem.log if isinstance(each, requests.AssignShort)]
        assert declined == [requests.AssignShort(eui(99), 0xFFFF)] * 3
        assert street.changes().count(Change.REFUSED) == 1
        assert eui(99) not in street.network.plan.joined


async def test_a_meter_of_the_white_list_joins_unregistered():
    async with rig(allowed=frozenset({eui(50)})) as street:
        await street.joined(50)


async def test_a_meter_keeps_its_address_over_leaving_restart_and_a_new_modem():
    async with rig() as street:
        await street.joined(1, 2, 3)
        before = dict(street.modem.assigned)
        street.modem.soon(reports.LeaveReport(before[eui(2)]))
        await street.until(lambda: eui(2) not in street.network.plan.joined)
        assert street.told[-1].change is Change.LEFT
        await street.joined(2)
        assert street.modem.assigned == before
        await asyncio.sleep(60)
    async with rig(vault=street.vault) as again:
        assert again.network.plan.joined == {eui(1), eui(2), eui(3)}
        again.modem.join(eui(3))
        await again.until(lambda: eui(3) in again.modem.assigned)
        assert again.modem.assigned[eui(3)] == before[eui(3)]


async def test_datagrams_go_both_ways_and_to_whom_they_are_for():
    async with rig() as street:
        await street.joined(1, 2)
        sent = []

        def answer(modem, handle, packet):
            datagram = ipv6.decode(packet)
            sent.append(datagram)
            modem.confirm(handle)
            short = ipv6.short_address(datagram.destination, PAN)
            modem.from_device(short, b"re: " + datagram.payload, to=datagram.source_port)

        street.modem.deliver = answer
        one, two = await street.network.datagram(eui(1)), await street.network.datagram(eui(2))
        await one.send(b"to one")
        await two.send(b"to two")
        assert await two.receive() == b"re: to two"
        assert await one.receive() == b"re: to one"
        assert {ipv6.short_address(each.destination, PAN) for each in sent} == set(street.modem.assigned.values())
        assert all(each.destination_port == 4059 for each in sent)


async def test_what_a_meter_says_unasked_goes_to_the_listener():
    async with rig() as street:
        await street.joined(1)
        street.modem.from_device(street.modem.assigned[eui(1)], b"alarm", to=4059)
        await asyncio.sleep(1)
        assert street.notified == [(eui(1), b"alarm")]


@pytest.mark.parametrize("lost", [True, False], ids=["ours", "of another"])
async def test_a_route_that_breaks_on_the_way_ends_the_wait_for_its_meter_and_no_other(lost):
    async with rig() as street:
        await street.joined(1, 2)
        one, two = await street.network.datagram(eui(1)), await street.network.datagram(eui(2))
        assigned = street.modem.assigned
        await one.send(b"?")
        await two.send(b"?")
        waiting = [asyncio.ensure_future(each.receive()) for each in (one, two)]
        await asyncio.sleep(0.1)
        source = 0 if lost else assigned[eui(2)]
        street.modem.soon(
            reports.RouteNotFound(source, assigned[eui(1)], assigned[eui(2)], 0xFFFF, 0xFFFF, 0, 0, True, False, b"")
        )
        await asyncio.sleep(1)
        assert [each.done() for each in waiting] == [lost, False]
        if lost:
            with pytest.raises(Unreachable, match="no way on"):
                await waiting[0]
        for each in waiting:
            each.cancel()
        assert street.network.counts["route-not-found"] == 1


async def test_no_route_is_said_at_once_and_no_meter_without_an_address_is_tried():
    async with rig() as street:
        await street.joined(1)
        street.modem.deliver = lambda modem, handle, packet: modem.confirm(handle, 0xA5)
        endpoint = await street.network.datagram(eui(1))
        with pytest.raises(Unreachable, match="ROUTE_ERROR"):
            await endpoint.send(b"?")
        with pytest.raises(Unreachable, match="has not joined"):
            await street.network.datagram(eui(2))


async def test_a_busy_modem_is_tried_again_and_a_full_one_waited_for():
    async with rig(window=2) as street:
        await street.joined(1)
        loop, statuses = asyncio.get_running_loop(), [0xB3, 0xB4, 0xA6, 0]
        street.modem.deliver = lambda modem, handle, packet: modem.confirm(handle, statuses.pop(0))
        endpoint = await street.network.datagram(eui(1))
        await endpoint.send(b"x")
        assert statuses == []
        street.modem.deliver = lambda modem, handle, packet: modem.confirm(handle)
        street.modem.soon(reports.BufferIndication(0))
        await asyncio.sleep(0.1)
        began = loop.time()
        sending = asyncio.ensure_future(endpoint.send(b"y"))
        await asyncio.sleep(5)
        assert not sending.done()
        street.modem.soon(reports.BufferIndication(7))
        await sending
        assert loop.time() - began == pytest.approx(5, abs=0.2)


async def test_at_most_the_window_is_under_way_in_the_order_of_coming():
    async with rig(window=2) as street:
        await street.joined(1)
        under_way, most, order = [], [0], []

        def slow(modem, handle, packet):
            under_way.append(handle)
            most[0] = max(most[0], len(under_way))
            order.append(ipv6.decode(packet).payload)

            def done():
                under_way.remove(handle)
                modem.confirm(handle)

            asyncio.get_running_loop().call_later(1, done)

        street.modem.deliver = slow
        endpoint = await street.network.datagram(eui(1))
        await asyncio.gather(*(endpoint.send(b"%d" % number) for number in range(6)))
        assert most == [2]
        assert order == [b"%d" % number for number in range(6)]


async def test_a_lost_confirm_costs_patience_and_an_answer_is_as_good():
    async with rig(confirm=20.0) as street:
        await street.joined(1)
        short, loop = street.modem.assigned[eui(1)], asyncio.get_running_loop()
        street.modem.deliver = lambda modem, handle, packet: None
        endpoint = await street.network.datagram(eui(1))
        began = loop.time()
        await endpoint.send(b"x")
        assert loop.time() - began == pytest.approx(20, abs=0.1)
        street.modem.deliver = lambda modem, handle, packet: modem.from_device(short, b"y")
        began = loop.time()
        await endpoint.send(b"x")
        assert loop.time() - began < 1


async def test_a_modem_that_rebooted_is_set_up_again_and_no_counter_is_used_twice():
    async with rig() as street:
        await street.joined(1, 2)
        assigned = dict(street.modem.assigned)
        endpoint = await street.network.datagram(eui(1))
        for _ in range(3):
            await endpoint.send(b"x")
            street.modem.reboot()
            with pytest.raises(LinkError):
                await endpoint.send(b"lost with the modem's memory")
            await street.until(lambda: street.network.modem is not None)
            await endpoint.send(b"x")
        assert len(street.modem.frame_counters) == len(set(street.modem.frame_counters))
        assert street.network.plan.joined == {eui(1), eui(2)}
        street.modem.join(eui(2))
        await street.until(lambda: eui(2) in street.modem.assigned)
        assert street.modem.assigned[eui(2)] == assigned[eui(2)]
        assert street.network.counts["reboots"] == 3


async def test_canary_a_vault_that_forgets_a_reservation_is_found_out():
    """The check above would see a counter that is used twice."""

    class Forgetful(MemoryVault):
        async def reserve(self, count, key):
            given = await super().reserve(count, key)
            self.floors[key.reveal()] = 0
            return given

    async with rig(vault=Forgetful()) as street:
        await street.joined(1)
        street.modem.reboot()
        endpoint = await street.network.datagram(eui(1))
        with pytest.raises(LinkError):
            await endpoint.send(b"x")
        await street.until(lambda: street.network.modem is not None)
        await endpoint.send(b"x")
        assert len(street.modem.frame_counters) != len(set(street.modem.frame_counters))


async def test_a_silent_modem_is_found_out_and_opened_again():
    async with rig(probe=10.0) as street:
        await street.joined(1)
        street.modem.dead = True
        await street.until(lambda: street.network.modem is None)
        assert street.changes()[-2:] == [Change.TROUBLE, Change.DOWN]
        street.modem.dead = False
        await street.until(lambda: street.network.modem is not None, within=120)
        assert street.changes()[-1] is Change.UP
        assert street.openings > 1
        assert eui(1) in street.network.plan.joined


async def test_a_line_that_ends_is_opened_again_and_told_of_once():
    async with rig() as street:
        for _ in range(3):
            await street.modem.stream.close()
            await street.until(lambda: street.network.modem is None)
            await street.until(lambda: street.network.modem is not None)
        assert street.changes().count(Change.UP) == 4


async def test_where_counters_were_lost_the_key_is_given_up():
    async with rig() as street:
        await street.joined(1, 2)
        old = street.modem.keys[0]
        await asyncio.sleep(60)
    street.vault.floors.clear()
    async with rig(vault=street.vault) as again:
        assert old not in again.modem.keys.values()
        assert Change.KEYS_LOST in again.changes()
        assert again.network.plan.joined == set()
        await again.joined(1)


async def test_a_modem_that_went_on_alone_is_followed_not_set_back():
    async with rig() as street:
        await street.joined(1)
        street.modem.counter = 1_000_000  # it sent that much while nobody kept its book
        await street.modem.stream.close()
        await street.until(lambda: street.network.modem is None)
        await street.until(lambda: street.network.modem is not None)
        assert street.modem.counter > 1_000_000


async def test_counters_are_reserved_ahead_of_a_busy_modem():
    async with rig(counter_block=1_000) as street:
        modem = street.modem
        for _ in range(20):
            for _ in range(300):
                modem.secured()
            await asyncio.sleep(31)
            assert street.vault.floors[modem.keys[0]] > modem.counter
        assert street.network.modem is not None


async def test_a_meter_unheard_for_its_limit_is_an_alarm_and_heard_again_is_told():
    async with rig(silent_after=3600.0) as street:
        await street.joined(1, 2)
        for _ in range(9):
            street.modem.from_device(street.modem.assigned[eui(1)], b"here", to=4059)
            await asyncio.sleep(600)
        silent = {event.eui64 for event in street.told if event.change is Change.SILENT}
        assert silent == {eui(2), eui(3)}
        assert "has not joined" in next(e.text for e in street.told if e.eui64 == eui(3))
        street.modem.from_device(street.modem.assigned[eui(2)], b"here", to=4059)
        await asyncio.sleep(1)
        assert (street.told[-1].change, street.told[-1].eui64) == (Change.HEARD, eui(2))


async def test_a_network_that_was_down_makes_no_meter_silent():
    async with rig(silent_after=3600.0, meters=1) as street:
        await street.joined(1)
        street.modem.dead = True
        await asyncio.sleep(7200)
        street.modem.dead = False
        await street.until(lambda: street.network.modem is not None)
        await asyncio.sleep(600)
        assert Change.SILENT not in street.changes()


async def test_the_tables_tell_the_topology_and_a_path_names_the_hops():
    async with rig() as street:
        await street.joined(1, 2, 3)
        modem = street.modem
        one, two, three = (modem.assigned[eui(number)] for number in (1, 2, 3))
        modem.routes = [
            pib.encode_route(pib.Route(one, one, 4, 0, 0, 0, 360)),
            pib.encode_route(pib.Route(two, one, 9, 2, 0, 0, 360)),
            pib.encode_route(pib.Route(three, one, 15, 3, 0, 0, 360)),
        ]
        modem.neighbours = [one.to_bytes(2, "big") + b"\x3f\x00\x00\x02" + bytes(8) + b"\x00\x00\x5a\x00\x0a"]
        await street.network.survey.read_tables(street.network.modem)
        nodes = {node.eui64: node for node in street.network.topology().nodes}
        assert (nodes[eui(1)].hops, nodes[eui(1)].parent) == (1, None)
        assert (nodes[eui(1)].link.quality, nodes[eui(1)].link.modulation) == (90, "DQPSK")
        assert (nodes[eui(2)].hops, nodes[eui(2)].parent) == (2, eui(1))
        hops = await street.network.path(eui(3))
        assert [hop.eui64 for hop in hops] == [eui(1), eui(2), eui(3)]
        assert hops[-1].parent == eui(2)


async def test_a_kicked_meter_is_gone_and_may_come_back():
    async with rig() as street:
        await street.joined(1)
        short = street.modem.assigned[eui(1)]
        await street.network.kick(eui(1))
        await asyncio.sleep(1)
        assert street.modem.log[-1] == requests.Kick(short, eui(1))
        assert street.told[-1].change is Change.LEFT
        with pytest.raises(Unreachable):
            await street.network.kick(eui(1))
        await street.joined(1)


async def test_a_network_that_is_down_says_so():
    async with rig(down=5.0) as street:
        await street.joined(1)
        endpoint = await street.network.datagram(eui(1))
        street.modem.dead = True
        await street.until(lambda: street.network.modem is None)
        with pytest.raises(LinkTimeout, match="down"):
            await endpoint.send(b"x")
        with pytest.raises(LinkClosed, match="down"):
            await street.network.path(eui(1))


async def test_who_waits_for_an_answer_is_told_at_once_that_the_network_went_down():
    async with rig() as street:
        await street.joined(1)
        short = street.modem.assigned[eui(1)]
        endpoint = await street.network.datagram(eui(1))
        await endpoint.send(b"x")
        waiting = asyncio.ensure_future(endpoint.receive())
        await asyncio.sleep(1)
        await street.modem.stream.close()
        with pytest.raises(LinkTimeout, match="went down before the answer"):
            await asyncio.wait_for(waiting, 1)
        await street.until(lambda: street.network.modem is not None)
        street.modem.from_device(short, b"y")
        assert await endpoint.receive() == b"y"


async def test_a_new_endpoint_takes_the_place_of_the_old():
    async with rig() as street:
        await street.joined(1)
        old = await street.network.datagram(eui(1))
        new = await street.network.datagram(eui(1))
        with pytest.raises(LinkClosed):
            await old.receive()
        street.modem.from_device(street.modem.assigned[eui(1)], b"x")
        assert await new.receive() == b"x"


async def test_bad_packets_are_counted_and_nothing_else():
    async with rig() as street:
        await street.joined(1)
        street.modem.soon(reports.DataIndication(90, b"\x60"))
        street.modem.from_device(0x7000, b"of nobody")
        street.modem.from_device(street.modem.assigned[eui(1)], b"to no port", to=99)
        street.modem.soon(reports.LeaveReport(0x7000))
        street.modem.soon(reports.JoinComplete(eui(2), 0x7000))
        await asyncio.sleep(1)
        counts = street.network.statistics()
        assert (counts["bad-packets"], counts["unclaimed"]) == (2, 1)
        assert (counts["leaves-unknown"], counts["joins-unknown"]) == (1, 1)
