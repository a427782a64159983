"""`dcu clock`, `disconnect`, `reconnect` over a link of their own: what acts goes out once, lost datagrams or not."""

import re
import time

import pytest

from dcu.clock import SystemClock
from neighbourhood.relay import Relay
from tests.cli.street import ACTED, ACTION, GET, GOT, RLRE

RIGHT = r"set; now (as|2 s behind) ours"  # a clock shows whole seconds: it may be one behind, and a slow machine's two

# --- the clock


def test_the_clock_is_shown_with_its_offset(dcu, street):
    here = street()
    error = here.meter.clock_error(int(time.time()))
    found = dcu("clock", *here.options(), "--json").json
    assert list(found) == ["meter_time", "offset", "adjusted", "after"]
    assert abs(found["offset"] - error) <= 2
    assert (found["adjusted"], found["after"]) == (False, None)


def test_the_clock_is_not_set_from_one_that_is_not_synchronised(dcu, street, monkeypatch):
    monkeypatch.setattr(SystemClock, "trusted", False)
    here = street(ahead=60)
    done = dcu("clock", *here.options(), "--sync")
    assert done.code == 9
    assert "this machine's own is not synchronised: nothing is set from it" in done.err
    assert here.meter._sets == []


@pytest.mark.parametrize("ahead", [60, -500])
def test_sync_shifts_the_clock_and_reads_it_back(dcu, street, monkeypatch, ahead):
    monkeypatch.setattr(SystemClock, "trusted", True)
    here = street(ahead=ahead)
    done = dcu("clock", *here.options(), "--sync")
    assert done.code == 0
    assert re.search(rf" UTC, \d+ s {'ahead of' if ahead > 0 else 'behind'} ours$", done.out, re.MULTILINE)
    assert re.fullmatch(RIGHT, done.out.splitlines()[1])
    assert abs(here.meter.shown() - time.time()) <= 2


def test_a_clock_within_tolerance_is_left_as_it_is(dcu, street, monkeypatch):
    monkeypatch.setattr(SystemClock, "trusted", True)
    here = street()
    here.meter.set_clock(int(time.time()))
    sets = list(here.meter._sets)
    assert dcu("clock", *here.options(), "--sync").out.splitlines()[1] == "left as it is"
    assert here.meter._sets == sets


def test_a_clock_that_is_far_off_is_set_where_the_family_allows_it(dcu, street, monkeypatch, tmp_path):
    monkeypatch.setattr(SystemClock, "trusted", True)
    here = street(ahead=-86400 * 400)
    refused = dcu("clock", *here.options(), "--sync")
    assert refused.code == 9
    assert "more than the 900 s that are set right (a --family's clock.largest)" in refused.err
    family = tmp_path / "bench.toml"
    family.write_text('name = "bench"\n[clock]\nlargest = 1e9\n')
    assert dcu("clock", *here.options(), "--sync", "--family", family).code == 0
    assert abs(here.meter.shown() - time.time()) <= 2
    family.write_text('name = "bench"\n[clock]\nadjust = "never"\n')
    here.meter.set_clock(0)
    done = dcu("clock", *here.options(), "--sync", "--family", family)
    assert done.code == 9
    assert "its family forbids to touch it (clock.adjust)" in done.err


# --- the relay


@pytest.mark.parametrize("carrier", ["tcp", "udp"])
def test_disconnect_and_reconnect_tell_what_the_relay_did(dcu, street, carrier):
    here = street()
    done = dcu("disconnect", *here.options(carrier))
    assert (done.code, done.out) == (0, "supply disconnected, relay disconnected\n")
    assert here.meter.relay is Relay.DISCONNECTED
    done = dcu("reconnect", *here.options(carrier), "--json")
    assert done.json == {"output": True, "state": "connected", "confirmed": True}
    assert here.meter.relay is Relay.CONNECTED


def test_a_meter_that_waits_for_the_button_is_ready(dcu, street):
    here = street(relay_mode=3)
    dcu("disconnect", *here.options())
    done = dcu("reconnect", *here.options(), "--json")
    assert done.json == {"output": False, "state": "ready_for_reconnection", "confirmed": True}


def test_a_mode_that_allows_nothing_is_the_meter_s_no(dcu, street):
    here = street(relay_mode=0)
    done = dcu("disconnect", *here.options())
    assert (done.code, done.out) == (6, "")
    assert here.meter.relay is Relay.CONNECTED


def test_a_relay_that_did_not_follow_is_told(dcu, street, monkeypatch):
    here = street()
    monkeypatch.setattr(type(here.meter), "switch", lambda self, trigger: True)
    done = dcu("disconnect", *here.options())
    assert (done.code, done.out) == (1, "supply connected, relay connected\n")
    assert "the meter took the disconnect, and its relay did not follow: look at its control mode" in done.err


# --- a path that loses


def through(path) -> tuple[object, ...]:
    return "--udp", f"127.0.0.1:{path.port}", "--timeout", 0.5


def once(apdu: int, number: int = 1):
    """Loses the `number`th APDU that begins so."""
    seen = 0

    def loses(path, first: int) -> bool:
        nonlocal seen
        seen += first == apdu
        return first == apdu and seen == number

    return loses


@pytest.mark.parametrize("lost", [GET, GOT])
def test_a_get_is_repeated_whichever_way_it_was_lost(dcu, street, lost):
    here = street()
    path = here.lossy(once(lost))
    done = dcu("read", *here.options("udp"), *through(path), "1,0-0:42.0.0*255,2")
    assert done.code == 0
    assert path.sent.count(GET) == 2
    assert here.fleet.status()["counter_reuse"] == 0


def test_by_short_names_what_was_lost_is_asked_again_in_an_association_of_its_own(dcu, street):
    here = street(short=True)
    answers = 0x2C  # read-response: our proof, the object list, the value
    path = here.lossy(once(answers, 3))
    done = dcu("read", *here.options("udp"), *through(path), "--sn", "1,0-0:42.0.0*255,2")
    assert done.code == 0
    assert path.sent.count(0x60) == 3  # the public client's, ours, and ours again
    assert here.fleet.status()["counter_reuse"] == 0


def test_an_association_is_tried_again_and_a_lost_farewell_costs_nothing(dcu, street):
    here = street()
    path = here.lossy(once(ACTED))  # the meter's proof
    assert dcu("read", *here.options("udp"), *through(path), "1,0-0:42.0.0*255,2").code == 0
    path = here.lossy(once(RLRE))
    assert dcu("read", *here.options("udp"), *through(path), "1,0-0:42.0.0*255,2").code == 0


PROOF = 1  # the first ACTION of an association is the HLS one


def test_an_action_whose_answer_was_lost_is_not_sent_again_but_read_back(dcu, street):
    here = street()
    path = here.lossy(once(ACTED, PROOF + 1))
    done = dcu("disconnect", *here.options("udp"), *through(path))
    assert (done.code, done.out) == (0, "supply disconnected, relay disconnected\n")
    assert path.sent.count(ACTION) == PROOF + 1


def test_an_action_that_was_lost_itself_is_not_sent_again_either(dcu, street):
    here = street()
    path = here.lossy(once(ACTION, PROOF + 1))
    done = dcu("disconnect", *here.options("udp"), *through(path))
    assert done.code == 9
    assert "the disconnect was not executed" in done.err
    assert "the relay was read back, and did not move" in done.err
    assert path.sent.count(ACTION) == PROOF + 1
    assert here.meter.relay is Relay.CONNECTED


def test_canary_a_client_that_repeats_actions_is_found_out(dcu, street, monkeypatch):
    from dcu.cli.direct import Direct

    async def careless(self, method, raw):
        return await self._repeated(lambda: self._session.action(method, raw))

    monkeypatch.setattr(Direct, "action", careless)
    here = street()
    path = here.lossy(once(ACTED, PROOF + 1))
    dcu("disconnect", *here.options("udp"), *through(path))
    assert path.sent.count(ACTION) == PROOF + 2


def test_a_clock_shift_whose_answer_was_lost_is_not_sent_again(dcu, street, monkeypatch):
    monkeypatch.setattr(SystemClock, "trusted", True)
    here = street(ahead=100)
    path = here.lossy(once(ACTED, PROOF + 1))
    done = dcu("clock", *here.options("udp"), *through(path), "--sync")
    assert done.code == 0
    assert re.fullmatch(RIGHT, done.out.splitlines()[1])
    assert path.sent.count(ACTION) == PROOF + 1


def test_whether_it_was_done_is_unknown_when_the_meter_falls_silent(dcu, street):
    here = street()
    path = here.lossy(lambda path, first: path.sent.count(ACTION) > PROOF)
    done = dcu("disconnect", *here.options("udp"), *through(path))
    assert done.code == 9
    assert "whether the disconnect took effect is unknown" in done.err
    assert path.sent.count(ACTION) == PROOF + 1


def test_a_connection_that_breaks_on_a_command_is_opened_anew_to_read_back(dcu, street, monkeypatch):
    here = street()
    talk = here.fleet.talk

    def breaking(meter, peer, *, lossy=False):
        handler = talk(meter, peer, lossy=lossy)
        acted = 0

        def handle(client, server, apdu):
            nonlocal acted
            acted += apdu[0] == ACTION
            answer = handler(client, server, apdu)
            if apdu[0] == ACTION and acted > PROOF:
                peer.close()
                return None
            return answer

        return handle

    monkeypatch.setattr(here.fleet, "talk", breaking)
    done = dcu("disconnect", *here.options())
    assert (done.code, done.out) == (0, "supply disconnected, relay disconnected\n")
