import asyncio
from random import Random

import pytest

from dcu.link.memory import stream_pair
from dcu.link.serial import Port, open_serial
from neighbourhood.g3 import adp, adp_codec, usi
from neighbourhood.g3.lbd import Device, Standing
from neighbourhood.g3.line import PAN, Line
from neighbourhood.g3.modem import BOOTING, INVALID_REQUEST, OPENING, Modem
from neighbourhood.g3.pib import ADP_INVALID
from neighbourhood.g3.port import Pty, serve
from neighbourhood.g3.tables import NOT_JOINED

from .host import GMK, NEW_GMK, PSK, Host, Street, datagram
from .paced import Paced


@pytest.fixture
def host():
    line = Line(2, 7, quiet=True)
    return Host(Modem(line.nodes[0], line.scheduler, Random(1)))


def test_init_is_answered_once_the_stack_is_ready_and_nothing_is_allowed_before(host):
    assert host.ask(adp.Get(0x1C, 0), 0.1) == [adp.Status(1, 18)]
    assert host.ask(adp.Initialise(0, 1), OPENING * 0.9) == []
    assert host.ask(adp.Start(PAN), OPENING * 0.3) == [adp.Status(1, 13), adp.Status(0, 10)]
    assert host.ask(adp.Start(PAN)) == [adp.StartConfirm(0)]
    assert host.ask(adp.Start(PAN)) == [adp.StartConfirm(0xA1)]


def test_what_is_no_command_or_is_cut_short_is_told_and_moves_nothing(host):
    host.start()
    host.modem.feed(usi.encode(usi.ADP, b"\x13"))
    host.modem.feed(usi.encode(usi.ADP, b"\x0d\x01"))
    host.modem.feed(usi.encode(usi.ADP, b""))
    host.modem.feed(usi.encode(usi.MAC, b"\x10"))
    host.run(1)
    assert host.reports[-2:] == [adp.Status(2, 0x13), adp.Status(3, 0x0D)]
    assert host.modem.node.short == 0


@pytest.mark.parametrize("request_", [adp.Join(PAN, 0, 0), adp.Leave(), adp.ForceRegister(bytes(8), 1, PAN, GMK)])
def test_a_coordinator_is_no_device(host, request_):
    host.start()
    (status,) = host.ask(request_)
    assert (status.verdict, type(status)) == (1, adp.Status)


def test_information_bases_are_read_and_set(host):
    host.start()
    assert host.ask(adp.Get(0x0F, 0)) == [adp.GetConfirm(0, 0x0F, 0, b"\x08")]
    assert host.ask(adp.Set(0x0F, 0, b"\x05")) == [adp.SetConfirm(0, 0x0F, 0)]
    assert host.ask(adp.Get(0x0F, 0)) == [adp.GetConfirm(0, 0x0F, 0, b"\x05")]
    assert host.modem.node.loadng.max_hops == 5
    assert host.ask(adp.Set(0x16, 0, b"\x07")) == [adp.SetConfirm(0, 0x16, 0)]
    assert host.modem.node.loadng.weights.kq == 7
    assert host.ask(adp.Get(0x20, 0)) == [adp.GetConfirm(0, 0x20, 0, b"\x00\x14")]
    assert host.ask(adp.Get(0x1C, 0))[0].value == bytes((0, 23, 7, 5, 3, 0))
    assert host.ask(adp.Get(0xF00, 0)) == [adp.GetConfirm(0xB1, 0xF00, 0, b"")]
    assert host.ask(adp.Set(0x1C, 0, bytes(6))) == [adp.SetConfirm(0xB0, 0x1C, 0)]
    assert host.ask(adp.Set(0x0F, 0, bytes(2))) == [adp.SetConfirm(0xA8, 0x0F, 0)]
    assert host.ask(adp.MacGet(0x50, 0)) == [adp.MacGetConfirm(0, 0x50, 0, b"\x78\x1d")]
    assert host.ask(adp.MacGet(0x71, 0)) == [adp.MacGetConfirm(0xE2, 0x71, 0, b"")]
    assert host.ask(adp.MacGet(0x10A, 0)) == [adp.MacGetConfirm(0xF9, 0x10A, 0, b"")]
    assert host.ask(adp.MacSet(0x77, 0, b"\0\1\0\0")) == [adp.MacSetConfirm(0, 0x77, 0)]
    assert host.modem.node.frame_counter == 0x10000
    assert host.ask(adp.MacSet(0x71, 1, b"")) == [adp.MacSetConfirm(0, 0x71, 1)]
    assert host.ask(adp.LbpSet(2, 0, bytes(15))) == [adp.LbpSetConfirm(4, 2, 0)]
    assert host.ask(adp.LbpSet(3, 2, bytes(16))) == [adp.LbpSetConfirm(3, 3, 2)]
    assert host.ask(adp.LbpSet(9, 0, b"")) == [adp.LbpSetConfirm(2, 9, 0)]


def test_meters_join_and_datagrams_go_both_ways():
    street = Street(4).join()
    host = street.host
    assert sorted(report.short for report in host.of(adp.JoinComplete)) == [1, 2, 3, 4]
    for device in street.devices:
        device.node.on_ipv6 = lambda packet, lqi, node=device.node: node.send_ipv6(
            0, datagram(node.short, 0, packet[48:][::-1]), lambda status: None
        )
    sent = datagram(0, 3, b"question")
    reports = host.ask(adp.Data(9, 1, 0, sent), 20)
    assert adp.DataConfirm(0, 9) in reports
    (answer,) = [report for report in reports if isinstance(report, adp.DataIndication)]
    assert answer.packet == datagram(3, 0, b"noitseuq")
    (row,) = [report.value for report in host.ask(adp.MacGet(0x10A, 0))]
    assert len(row) == 19
    assert int.from_bytes(row[:2], "big") in range(1, 5)
    (route,) = [report.value for report in host.ask(adp.Get(0x0C, 0))]
    assert len(route) == 10
    (path,) = host.ask(adp.PathDiscovery(3, 15), 20)
    assert (path.status, path.destination, path.path[0][-1].short, path.path[1][-1].short) == (0, 3, 3, 0)
    assert host.ask(adp.RouteDiscovery(3, 8), 30)[-1] == adp.RouteConfirm(0)


def test_more_hops_than_a_route_request_can_say_are_refused():
    street = Street(1).join()
    host = street.host
    assert host.ask(adp.RouteDiscovery(1, 16), 30)[-1] == adp.RouteConfirm(INVALID_REQUEST)
    (kept,) = host.ask(adp.Set(0x0F, 0, b"\x10"))
    assert kept.status == ADP_INVALID
    assert host.ask(adp.RouteDiscovery(1, 15), 60)[-1] == adp.RouteConfirm(0)


def test_who_has_no_buffer_is_refused_and_told_when_there_is_one():
    street = Street(1).join()
    host = street.host
    before = len(host.reports)
    for handle in range(12):
        host.say(adp.Data(handle, 1, 0, datagram(0, 1, bytes(40))))
    host.run(60)
    confirms = {report.handle: report.status for report in host.reports[before:] if isinstance(report, adp.DataConfirm)}
    assert confirms == {handle: 0 if handle < 7 else 0xB4 for handle in range(12)}
    bitmaps = [report.free for report in host.reports[before:] if isinstance(report, adp.BufferIndication)]
    assert bitmaps[:3] == [3, 1, 0]
    assert bitmaps[-1] == 7


def test_a_datagram_to_nobody_fails_with_a_route_error_and_one_to_another_network_at_once():
    street = Street(1).join()
    host = street.host
    assert host.ask(adp.Data(1, 1, 0, datagram(0, 77, b"?")), 120)[-1] == adp.DataConfirm(0xA5, 1)
    packet = bytearray(datagram(0, 1, b"?"))
    packet[32:34] = b"\x11\x11"
    assert host.ask(adp.Data(2, 1, 0, bytes(packet)), 1) == [adp.DataConfirm(0xA1, 2)]
    assert host.ask(adp.Data(3, 1, 0, b"no packet"), 1) == [adp.DataConfirm(0xA1, 3)]


def test_discovery_shows_who_sends_beacons():
    street = Street(3).join()
    reports = street.host.ask(adp.Discovery(8), 9)
    assert reports[-1] == adp.DiscoveryConfirm(0)
    found = {report.agent for report in reports[:-1]}
    assert found
    assert found <= {1, 2, 3}
    assert {report.pan for report in reports[:-1]} == {PAN}


def test_the_host_changes_the_group_key():
    street = Street(3).join()
    host = street.host
    host.ask(adp.LbpSet(4, 0, NEW_GMK))
    host.ask(adp.RekeyPhase(1))
    for distribute in (1, 0):
        for device in street.devices:
            before = len(host.of(adp.JoinComplete))
            host.ask(adp.Rekey(device.node.short, device.node.eui64, distribute), 20)
            assert host.of(adp.JoinComplete)[before:] == [adp.JoinComplete(device.node.eui64, device.node.short)]
    host.ask(adp.ActivateKey())
    host.ask(adp.RekeyPhase(0))
    for node in street.line.nodes:
        assert (node.active_key, node.keys[1]) == (1, NEW_GMK)
    assert adp.DataConfirm(0, 1) in host.ask(adp.Data(1, 1, 0, datagram(0, 2, b"!")), 20)


def test_the_host_sends_a_meter_away_and_hears_one_leave():
    street = Street(2).join()
    first, second = street.devices
    street.host.ask(adp.Kick(first.node.short, first.node.eui64), 10)
    assert first.node.short == NOT_JOINED
    second.leave()
    street.host.run(10)
    assert street.host.reports[-1] == adp.Left(2)


def test_a_reboot_breaks_off_what_is_said_and_forgets_everything():
    street = Street(2).join()
    host, modem = street.host, street.modem
    host.say(adp.MacGet(0x77, 0))
    host.run(0.0008)  # in the middle of the answer
    spoken = []
    modem.uart.say = spoken.append
    modem.reboot()
    assert 0 < len(b"".join(spoken)) < 15
    modem.uart.say = host.heard
    assert host.ask(adp.Get(0x1C, 0), BOOTING) == []  # deaf
    assert modem.uart.overrun
    assert host.ask(adp.Get(0x1C, 0)) == [adp.Status(1, 18)]
    assert (modem.node.short, modem.node.keys, modem.node.frame_counter) == (NOT_JOINED, {}, 0)
    host.start()
    host.ask(adp.MacSet(0x77, 0, (1 << 16).to_bytes(4, "big")))
    assert host.ask(adp.Data(1, 1, 0, datagram(0, 2, b"!")), 30)[-1] == adp.DataConfirm(0, 1)  # meters are still joined


def test_with_its_old_frame_counter_a_rebooted_modem_is_not_understood():
    street = Street(1).join()
    street.host.ask(adp.Data(1, 1, 0, datagram(0, 1, b"!")), 30)
    street.modem.reboot()
    street.host.run(BOOTING)
    street.host.start()
    heard = []
    street.devices[0].node.on_ipv6 = lambda packet, lqi: heard.append(packet)
    street.host.ask(adp.Data(1, 1, 0, datagram(0, 1, b"!")), 60)
    assert heard == []
    assert street.devices[0].node.counters.replayed


def test_what_was_asked_before_a_reboot_is_confirmed_to_nobody():
    street = Street(1).join()
    street.host.say(adp.Data(1, 1, 0, datagram(0, 1, b"!")))
    street.modem.reboot()
    street.host.run(BOOTING)
    before = len(street.host.reports)
    street.host.start()
    street.host.run(60)
    assert not [report for report in street.host.reports[before:] if isinstance(report, adp.DataConfirm)]


def test_a_modem_that_hangs_answers_nothing_and_then_goes_on(host):
    host.start()
    host.modem.hang(5)
    assert host.ask(adp.Get(0x1C, 0), 4) == []
    host.run(2)
    assert len(host.ask(adp.Get(0x1C, 0))) == 1


def test_noise_and_lost_confirms_are_what_was_asked_for(host):
    host.start()
    host.modem.lose_confirms = 0.1
    answers = sum(len(host.ask(adp.Get(0x1C, 0), 0.1)) for _ in range(1000))
    assert 860 < answers < 940
    assert host.modem.counts.confirms_lost == 1000 - answers
    host.modem.lose_confirms, host.modem.uart.noise = 0.0, 0.01
    answers = sum(bool(host.ask(adp.Get(0x1C, 0), 0.1)) for _ in range(1000))
    assert 500 < answers < 850  # about 40 bytes to and fro
    assert host.receiver.spoilt > 50
    assert host.modem.uart.receiver.spoilt > 50


def test_a_modem_opened_as_a_device_joins_through_the_agent_that_its_host_chose():
    street = Street(1).join()
    line = street.line
    node = line.nodes[1]
    street.devices[0].stop()
    node.reset()
    meter = Host(Modem(node, line.scheduler, Random(5)))
    assert meter.ask(adp.Initialise(0, 0)) == [adp.Status(0, 10)]
    assert meter.ask(adp.Start(PAN)) == [adp.Status(1, 13)]
    found = meter.ask(adp.Discovery(8), 9)
    assert found[-1] == adp.DiscoveryConfirm(0)
    assert found[0].agent == 0
    meter.ask(adp.LbpSet(2, 0, bytes(16)))
    assert meter.ask(adp.Join(PAN, 0, 0), 30) == [adp.JoinConfirm(0xA4, NOT_JOINED, NOT_JOINED)]  # a wrong key
    meter.ask(adp.LbpSet(2, 0, PSK))
    assert meter.ask(adp.Join(PAN, 77, 0), 30) == [adp.JoinConfirm(0xA6, NOT_JOINED, NOT_JOINED)]  # nobody
    assert meter.ask(adp.Join(PAN, 0, 0), 30) == [adp.JoinConfirm(0, 1, PAN)]
    street.host.ask(adp.Data(3, 1, 0, datagram(0, 1, b"for the meter")), 30)
    assert meter.reports[-1].packet == datagram(0, 1, b"for the meter")
    assert meter.ask(adp.Leave(), 10) == [adp.LeaveConfirm(0)]
    assert meter.ask(adp.ForceRegister(node.eui64, 9, PAN, GMK)) == [adp.JoinConfirm(0, 9, PAN)]
    street.host.ask(adp.Kick(9, node.eui64), 60)
    assert meter.reports[-1] == adp.LeaveIndication()


def test_the_host_is_told_of_frames_that_are_not_taken_and_of_a_path_that_somebody_asks_for():
    street = Street(2, intruders=(1,)).join()
    host, (first, *_) = street.host, street.devices
    first.node.send_ipv6(0, datagram(1, 0, b"!"), lambda status: None)
    host.run(30)
    first.node.frame_counter = 0
    first.node.send_ipv6(0, datagram(1, 0, b"!"), lambda status: None)
    host.run(30)
    assert {(told.source, told.status) for told in host.of(adp.NetworkStatus)} == {(1, 0xDB)}
    first.node.keys[0] = bytes(16)
    first.node.frame_counter = 1000
    first.node.send_ipv6(0, datagram(1, 0, b"!"), lambda status: None)
    host.run(30)
    assert host.of(adp.NetworkStatus)[-1] == adp.NetworkStatus(PAN, 1, 0, 0xE4, 5, 0, 0)
    first.node.keys[0] = GMK
    first.node.discover_route(0, 8, lambda status: None)
    host.run(30)
    first.node.path(0, 15, lambda path: None)
    host.run(30)
    assert host.of(adp.PathRequestIndication) == [adp.PathRequestIndication()]


async def asked(stream, request):
    """The first report."""
    receiver = usi.Receiver()
    await stream.write(usi.encode(usi.ADP, adp_codec.encode(request)))
    async with asyncio.timeout(10):
        while True:
            for frame in receiver.feed(await stream.read()):
                return adp_codec.decode_report(frame.payload)


async def test_it_is_served_on_a_stream_in_memory(host):
    near, far = stream_pair()
    serving = asyncio.create_task(serve(host.modem, far, Paced(host.scheduler)))
    assert await asked(near, adp.Initialise(0, 1)) == adp.Status(0, 10)
    assert (await asked(near, adp.Get(0x1C, 0))).value
    await near.close()
    await asyncio.wait_for(serving, 5)


async def test_it_is_served_on_a_pseudo_terminal(host, tmp_path):
    pty = Pty(tmp_path / "modem")
    serving = asyncio.create_task(serve(host.modem, pty.stream, Paced(host.scheduler)))
    stream = await open_serial(Port(str(tmp_path / "modem")))
    assert await asked(stream, adp.Initialise(0, 1)) == adp.Status(0, 10)
    assert await asked(stream, adp.Start(PAN)) == adp.StartConfirm(0)
    await stream.close()
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)
    await pty.close()
    assert not (tmp_path / "modem").exists()


def test_a_street_of_forty_eight_joins_through_its_modem():
    street = Street(48).join(1200, spread=2.0)
    assert all(device.standing is Standing.JOINED for device in street.devices)
    assert len({device.node.short for device in street.devices}) == 48
    assert sum(device.relayed for device in street.devices) > 100
    assert {device.node.keys[0] for device in street.devices} == {GMK}
    assert isinstance(street.devices[0], Device)
