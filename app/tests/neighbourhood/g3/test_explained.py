"""What a picture tells of a frame is what was sent."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neighbourhood.g3 import eap_psk, explained, frames, lbp, lowpan, messages
from neighbourhood.g3.line import Line
from neighbourhood.g3.phy import Modulation
from neighbourhood.g3.trace import Trace

from .host import datagram

KEY = bytes(range(16))


def told(layers):
    return {title: {str(field): value for field, value in rows} for title, rows in layers}


def test_a_secured_frame_tells_its_header():
    frame = frames.Frame(
        frames.Kind.DATA, 7, 0x781D, 0x1B, 0, frames.Segment(1, False), b"secret", True, key=1, counter=0x0D
    )
    layers = told(explained.line(frames.encode(frame, KEY), Modulation.DQPSK, 0.0568))
    assert layers["PHY"] == {"modulation": "DQPSK", "bytes": 30, "on the air": "56.8 ms"}
    assert layers["MAC"]["destination"] == "001B"
    assert layers["MAC"]["segment"] == "2, more follow"
    assert (layers["MAC"]["key"], layers["MAC"]["frame counter"]) == (1, 13)
    assert b"secret".hex() not in str(layers)


def test_a_route_request_and_a_bootstrapping_message_tell_their_fields():
    request = told(explained.message("RREQ", messages.encode(messages.Rreq(0x12, 0, 5, 40, 6, 2))))["LOADng RREQ"]
    assert (request["destination"], request["cost so far"], request["hops"]) == ("0012", 40, "2 of 8 at most")
    joining = lbp.Message(lbp.Code.JOINING, bytes(range(8)))
    assert told(explained.message("LBP", joining.encode()))["LBP"] == {
        "message": "JOINING", "device": "00:01:02:03:04:05:06:07", "medium": "power line", "bytes": 0
    }  # fmt: skip


def test_each_part_of_an_eap_message_has_its_name():
    server = eap_psk.Server(KEY, b"server-1", bytes)
    peer = eap_psk.Peer(KEY, b"meter-01", bytes)
    said, lengths = server.start(), []
    while said is not None:
        packet = lbp.of_eap(lbp.Code.CHALLENGE, bytes(8), said)
        rows = told(explained.message("LBP", packet.encode()))["EAP"]
        lengths.append({name: len(value) // 2 for name, value in rows.items() if name.isupper() or name == "tag"})
        said = (peer if len(lengths) % 2 else server).receive(said)
    assert lengths[:4] == [
        {"RAND_S": 16, "ID_S": 8},
        {"RAND_S": 16, "RAND_P": 16, "MAC_P": 16, "ID_P": 8},
        {"RAND_S": 16, "MAC_S": 16, "tag": 16},
        {"RAND_S": 16, "tag": 16},
    ]


def test_a_datagram_shows_its_mesh_header_at_every_hop_and_its_fragments():
    """Over three hops and back in fragments and segments; the tone maps that were asked for on the way."""
    events: list[dict] = []
    line = Line(48, 3, trace=Trace(events.append, layers_too=True), quiet=True)
    line.settle(KEY)
    for node in line.nodes:
        for neighbour in node.neighbours.values():
            neighbour.tones_until = 0.0
    far = max(line.nodes[1:], key=lambda node: node.routes[0].hops)
    far.on_ipv6 = lambda packet, lqi: far.send_ipv6(0, datagram(far.short, 0, bytes(900)), lambda status: None)
    line.nodes[0].send_ipv6(far.short, datagram(0, far.short, b"?"), lambda status: None)
    line.scheduler.run_until(30)
    layers = [told(event["layers"]) for event in events if "layers" in event]
    ways = [each["6LoWPAN"] for each in layers if "6LoWPAN" in each]
    down = [way["hops left"] for way in ways if way.get("to") == f"{far.short:04X}" and "compressed headers" in way]
    assert len(set(down)) == far.routes[0].hops > 1
    up = [way for way in ways if way.get("from") == f"{far.short:04X}" and "fragment of" in way]
    assert {way["fragment of"].partition(",")[0] for way in up} == {"948 bytes"}
    assert min(way["begins at"] for way in up) == 0 < max(way["begins at"] for way in up)
    assert any("tone map response" in each for each in layers)


@given(st.binary(max_size=40), st.sampled_from(frames.Kind), st.booleans())
def test_whatever_a_frame_carries_is_told(data, kind, meshed):
    frame = frames.Frame(kind, 1, 0x781D, 1, 0, frames.Segment(), b"")
    explained.carried(frame, (b"\xb7" if meshed else b"") + data)


def test_a_beacon_and_what_bootstrapping_travels_in_are_told():
    beacon = frames.Frame(frames.Kind.BEACON, 1, 0x781D, 0xFFFF, 3, frames.Segment(), b"")
    assert told(explained.carried(beacon, bytes.fromhex("ff0f00000a00")))["beacon"] == {
        "route cost to the concentrator": 10
    }
    frame = frames.Frame(frames.Kind.DATA, 1, 0x781D, 0, 3, frames.Segment(), b"")
    meshed = lowpan.encode_mesh(lowpan.Mesh(8, 3, 0, None, lowpan.LBP + bytes(10)))
    shown = told(explained.carried(frame, meshed))["6LoWPAN"]
    assert shown == {"from": "0003", "to": "0000", "hops left": 8, "dispatch": "40 02, bootstrapping"}


@given(st.sampled_from(["LBP", "RREQ", "RERR", "PREQ", "PREP", "RLCREQ", "TMR", "DATA"]), st.binary(max_size=80))
def test_whatever_was_sent_is_told_or_said_not_to_be_decoded(kind, data):
    explained.message(kind, data)
    explained.line(data, Modulation.ROBO, 0.1)


@pytest.mark.parametrize("layers", [False, True])
def test_a_recording_has_layers_where_they_are_wanted(layers):
    events: list[dict] = []
    line = Line(12, 3, trace=Trace(events.append, layers_too=layers), quiet=True)
    line.trace.layers_of = lambda packet: [["IPv6", [["bytes", len(packet)]]]]
    line.settle(KEY)
    line.nodes[0].discover_route(12, 8, lambda status: None)
    line.scheduler.run_until(20)
    sent = [event for event in events if event["e"] == "frame" and event["kind"] != "ACK"]
    assert {"RREQ", "RREP"} <= {event["kind"] for event in sent}
    assert all(("layers" in event) is layers for event in sent)
    if layers:
        there = {"PHY", "MAC", "6LoWPAN"}
        assert all(set(told(event["layers"])) >= there | {f"LOADng {event['kind']}"} for event in sent)
