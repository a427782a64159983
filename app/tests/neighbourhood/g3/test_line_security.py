"""The street's line under its keys: what is replayed, of another key, or unsecured, reaches nobody."""

import pytest

from neighbourhood.g3.line import PAN, Line
from neighbourhood.g3.mac import Mac

from .test_line import KEY, joined, send, settled


def test_bootstrapping_goes_unsecured_to_one_hop_and_secured_over_routes():
    line = joined(48)
    stranger = line.nodes[1]
    stranger.reset()
    stranger.pan = PAN
    heard: list[tuple[object, bytes]] = []
    line.nodes[0].on_lbp = lambda sender, payload: heard.append((sender, payload))
    stranger.on_lbp = lambda sender, payload: heard.append((sender, payload))
    stranger.send_lbp(0, b"\x10joining", lambda status: None)
    line.scheduler.run_until(5.0)
    line.nodes[0].send_lbp(stranger.eui64, b"\xa0challenge", lambda status: None)
    line.scheduler.run_until(10.0)
    line.nodes[48].send_lbp(0, b"\x10relayed", lambda status: None)
    line.scheduler.run_until(40.0)
    assert heard == [(stranger.eui64, b"\x10joining"), (0, b"\xa0challenge"), (48, b"\x10relayed")]


def eavesdrop(line: Line) -> list[bytes]:
    frames: list[bytes] = []
    line.channel.reports.append(lambda sent, got, attenuation, lost: frames.append(sent.raw) if sent.raw else None)
    return frames


def test_a_replayed_frame_is_dropped():
    assert replayed() == 1


def test_canary_without_the_counter_a_replay_is_delivered_again(monkeypatch):
    monkeypatch.setattr(Mac, "fresh", staticmethod(lambda counter, last: True))
    assert replayed() == 2


def replayed() -> int:
    """How often a datagram arrives that an intruder sends again."""
    line = settled(intruders=[1])
    frames = eavesdrop(line)
    _, arrived = send(line, 0, 1, b"switch off")
    send(line, 0, 1, b"later")
    line.nodes[1].on_ipv6 = lambda whole, lqi: arrived.append(whole)
    line.replay(49, frames[0], 1)
    line.scheduler.run_until(line.scheduler.now + 5)
    return sum(whole[48:] == b"switch off" for whole in arrived)


@pytest.mark.parametrize("canary", [False, True])
def test_a_frame_under_an_old_or_foreign_key_is_refused(canary):
    """After re-keying the old GMK is refused; the canary keeps it."""
    line = settled()
    home = line.nodes[1]
    home.keys = {1: bytes(16)} | ({0: KEY} if canary else {})
    home.active_key = 1
    arrived = send(line, 0, 1, b"old key")[1]
    assert (len(arrived), home.counters.unknown_key > 0) == ((1, False) if canary else (0, True))
    line.nodes[0].keys = {1: KEY}  # the right index, the wrong key
    line.nodes[0].active_key = 1
    assert send(line, 0, 1, b"wrong key")[1] == []
    assert home.counters.bad_mic > 0


def test_what_is_unsecured_reaches_nobody_but_bootstrapping():
    line = settled(intruders=[1])
    stranger = line.nodes[49]
    stranger.pan = PAN
    stranger.mac.keys = {0: bytes(16)}
    stranger.short = 60
    arrived = send(line, 49, 1, b"let me in", discover=False)[1]
    assert arrived == []
    assert line.nodes[1].counters.bad_mic == 0  # it has no route, and its RREQ would fail as well
    stranger.loadng.discover(1, lambda status: None)
    line.scheduler.run_until(line.scheduler.now + 60)
    assert line.nodes[1].counters.bad_mic > 0
    assert 60 not in line.nodes[1].neighbours
