"""What a picture tells of a frame is what was sent."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neighbourhood.g3 import explained, frames, lbp, messages
from neighbourhood.g3.line import Line
from neighbourhood.g3.phy import Modulation
from neighbourhood.g3.trace import Trace

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
        assert all(set(told(event["layers"])) >= {"PHY", "MAC", f"LOADng {event['kind']}"} for event in sent)
